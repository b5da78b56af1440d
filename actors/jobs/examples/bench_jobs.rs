//! Measures the queue on a scratch database: `bench_jobs URL COUNT CONCURRENCY`.

use publaryn_metadata::{Db, DbOptions};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [url, count, concurrency] = args.as_slice() else {
        return Err("usage: bench_jobs URL COUNT CONCURRENCY".into());
    };
    let db = Db::connect(url, &DbOptions::default()).await?;
    db.migrate().await?;
    let report = publaryn_jobs::bench_jobs(db, count.parse()?, concurrency.parse()?).await?;
    println!("{}", serde_json::to_string(&report)?);
    Ok(())
}

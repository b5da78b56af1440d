//! `publaryn bench jobs`: how fast the job queue is on this machine, on a database made for it.

use publaryn_config::{Config, DataDir};
use publaryn_jobs::{BenchError, bench_jobs};
use publaryn_metadata::{Db, DbOptions};

use crate::{
    cli::{BenchJobsArgs, CommonArgs},
    configuration, database,
    exit::{Exit, Failure},
};

pub fn run(common: &CommonArgs, args: &BenchJobsArgs) -> Result<Exit, Failure> {
    let config = configuration::load(common, Vec::new())?;
    let concurrency = args.concurrency.map_or(config.jobs.concurrency.as_usize(), |n| n as usize);
    configuration::block_on(async {
        // Removed when the measurement ends.
        let scratch = tempfile::tempdir();
        let scratch = scratch.map_err(|error| Failure::failed("cannot make a temporary directory", error))?;
        let db = match &args.database {
            Some(url) => connect(url, &config).await?,
            None if is_configured(&config) => {
                if config.is_embedded() {
                    DataDir::create(&config.data_dir)?;
                }
                database::connect(&config).await?
            }
            None => connect(&format!("sqlite://{}", scratch.path().join("bench.db").display()), &config).await?,
        };
        let report = measure(&db, args.count, concurrency).await;
        db.close().await;
        println!("{}", serde_json::json!(report?));
        Ok(Exit::Success)
    })
}

/// Somebody said which database this is about; silently measuring another would mislead.
fn is_configured(config: &Config) -> bool {
    ["database.url", "data_dir"].iter().any(|key| !config.origin_of(key).is_default())
}

async fn connect(url: &str, config: &Config) -> Result<Db, Failure> {
    if !["sqlite:", "postgres:", "postgresql:"].iter().any(|scheme| url.starts_with(scheme)) {
        let message = "error: --database: give sqlite://PATH or postgres://…";
        return Err(Failure::new(Exit::Usage, message));
    }
    let options = DbOptions {
        max_connections: config.database.max_connections.as_u32(),
        acquire_timeout: config.database.acquire_timeout_seconds.duration(),
    };
    Db::connect(url, &options)
        .await
        .map_err(|error| Failure::new(Exit::Unreachable, "--database: the database cannot be reached").because(error))
}

async fn measure(db: &Db, count: u32, concurrency: usize) -> Result<publaryn_jobs::BenchReport, Failure> {
    let failed = |error| Failure::failed("the database cannot be used", error);
    if !db.is_unused().await.map_err(failed)? {
        let message = "the database is not empty: measure on a scratch database of its own";
        return Err(Failure::new(Exit::Failed, message));
    }
    db.migrate().await.map_err(failed)?;
    bench_jobs(db.clone(), u64::from(count), concurrency).await.map_err(|error| match error {
        BenchError::NotEmpty => Failure::new(Exit::Failed, error.to_string()),
        BenchError::Db(error) => Failure::failed("the measurement stopped", error),
    })
}

//! Artifacts: small ones, of which an install fetches hundreds, and large ones.

use super::{Request, servers, take_turns};
use crate::{
    Error, Plan,
    contender::{Backend, Nginx, Publaryn},
    corpus::{crate_upload, npm_upload_of},
    http, process,
    publisher::put,
    report::{Row, Target},
    statistics::Sample,
    wrk::{Load, Outcome},
};

const SMALL_BYTES: usize = 50_000;
const LARGE_BYTES: usize = 100 << 20;
/// nginx's files are written once; the path tells them apart.
const SMALL: &str = "/npm/bench-small/-/bench-small-1.0.0.tgz";
const CRATE: &str = "/cargo/api/v1/crates/bench-small/1.0.0/download";
const LARGE: &str = "/npm/bench-large/-/bench-large-1.0.0.tgz";

pub(super) async fn measure(plan: &Plan) -> Result<Vec<Row>, Error> {
    let servers = servers(plan, "downloads").await?;
    let nginx = Nginx::start(&plan.scratch.join("downloads-nginx")).await?;
    for (_, server) in &servers {
        populate(server).await?;
    }
    let mut rows = Vec::new();
    let load = Load { threads: 2, connections: 64, turn: plan.turn };
    for (what, path, file) in [("tarball, 50 KB", SMALL, "small.tgz"), ("crate, 50 KB", CRATE, "small.crate")] {
        let outcomes = take_turns(load, plan.rounds, &requests(path, file, &servers, &nginx).await?).await?;
        let rate = |outcomes: &[Outcome]| Sample::of(outcomes.iter().map(|o| o.requests_per_second).collect());
        for ((backend, _), ours) in servers.iter().zip(&outcomes) {
            let row = Row::new(what, backend.name(), "requests/s", rate(ours));
            rows.push(wanting(row.against("nginx", rate(&outcomes[servers.len()])), backend, 0.6));
        }
    }
    rows.extend(large(plan, &servers, &nginx).await?);
    nginx.stop().await?;
    for (_, server) in servers {
        server.stop().await?;
    }
    Ok(rows)
}

async fn large(plan: &Plan, servers: &[(Backend, Publaryn)], nginx: &Nginx) -> Result<Vec<Row>, Error> {
    let load = Load { threads: 2, connections: 8, turn: plan.turn };
    let mut before = Vec::new();
    for (_, server) in servers {
        let pid = server.pid()?;
        before.push(process::memory(pid)?.own_rss);
        process::forget_peak(pid)?;
    }
    let outcomes = take_turns(load, plan.rounds, &requests(LARGE, "large.tgz", servers, nginx).await?).await?;
    let megabytes = |outcomes: &[Outcome]| Sample::of(outcomes.iter().map(|o| o.bytes_per_second / 1e6).collect());
    let mut rows = Vec::new();
    for (((backend, server), ours), before) in servers.iter().zip(&outcomes).zip(before) {
        let peak = process::peak_rss(server.pid()?)?;
        let note =
            format!("8 at once; resident memory {} MB before, {} MB at most", before / 1_000_000, peak / 1_000_000);
        let row = Row::new("tarball, 100 MB", backend.name(), "MB/s", megabytes(ours)).note(note);
        rows.push(wanting(row.against("nginx", megabytes(&outcomes[servers.len()])), backend, 0.8));
    }
    Ok(rows)
}

/// The targets are set for the embedded default; a download from S3 passes through two servers.
fn wanting(row: Row, backend: &Backend, share: f64) -> Row {
    if matches!(backend, Backend::Embedded) { row.wanting(Target::RatioAtLeast(share)) } else { row }
}

async fn populate(server: &Publaryn) -> Result<(), Error> {
    let account = server.account().await?;
    let client = http::client()?;
    for (name, size) in [("bench-small", SMALL_BYTES), ("bench-large", LARGE_BYTES)] {
        put(&client, &account.npm(), npm_upload_of(name, "1.0.0", size)?).await?;
    }
    put(&client, &account.cargo(), crate_upload("bench-small", "1.0.0", 145_000)?).await
}

/// Publaryn's addresses, then nginx's with the same bytes.
async fn requests(
    path: &str,
    file: &str,
    servers: &[(Backend, Publaryn)],
    nginx: &Nginx,
) -> Result<Vec<Request>, Error> {
    let mut urls: Vec<String> = servers.iter().map(|(_, server)| format!("{}{path}", server.base)).collect();
    let bytes = http::fetch(&urls[0], &[]).await?;
    eprintln!("{file}: {} bytes", bytes.len());
    urls.push(nginx.put(file, &bytes, None)?);
    Ok(urls.into_iter().map(|url| Request { url, headers: Vec::new() }).collect())
}

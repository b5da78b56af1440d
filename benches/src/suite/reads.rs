//! Packuments and sparse index files of a public package with 100 versions, compressed.

use bytes::Bytes;

use super::{Request, servers, take_turns};
use crate::{
    Error, Plan,
    contender::{Backend, Nginx, Publaryn, Registry, Verdaccio},
    corpus::crate_upload,
    http,
    publisher::{Work, put},
    report::{Row, Target},
    statistics::Sample,
    wrk::{Load, Outcome},
};

const PACKAGE: &str = "bench-read";
const VERSIONS: u32 = 100;
/// As a monorepo's install opens them.
const CONNECTIONS: u32 = 64;

/// A metadata document, as each contender knows it.
struct Document {
    what: &'static str,
    /// Path on Publaryn.
    path: &'static str,
    headers: Vec<(&'static str, &'static str)>,
    nginx_file: &'static str,
    is_npm: bool,
}

fn documents() -> [Document; 3] {
    let gzip = ("accept-encoding", "gzip");
    [
        Document {
            what: "packument, full",
            path: "/npm/bench-read",
            headers: vec![gzip, ("accept", "application/json")],
            nginx_file: "full.json",
            is_npm: true,
        },
        Document {
            what: "packument, abbreviated",
            path: "/npm/bench-read",
            headers: vec![gzip, ("accept", "application/vnd.npm.install-v1+json")],
            nginx_file: "abbreviated.short",
            is_npm: true,
        },
        Document {
            what: "sparse index file",
            path: "/cargo/index/be/nc/bench-read",
            headers: vec![gzip],
            nginx_file: "crate.index",
            is_npm: false,
        },
    ]
}

pub(super) async fn measure(plan: &Plan) -> Result<Vec<Row>, Error> {
    let servers = servers(plan, "reads").await?;
    let nginx = Nginx::start(&plan.scratch.join("reads-nginx")).await?;
    let verdaccio = Verdaccio::start(&plan.tools, &plan.scratch.join("reads-verdaccio")).await?;
    for (_, server) in &servers {
        populate(server).await?;
    }
    Work::one_package(PACKAGE, 1, 0..VERSIONS)?.publish(&verdaccio.npm).await?;

    let load = Load { threads: 2, connections: CONNECTIONS, turn: plan.turn };
    let mut rows = Vec::new();
    for document in documents() {
        let requests = requests(&document, &servers, &nginx, &verdaccio.npm).await?;
        let outcomes = take_turns(load, plan.rounds, &requests).await?;
        let rate = |outcomes: &[Outcome]| Sample::of(outcomes.iter().map(|o| o.requests_per_second).collect());
        let (ours, others) = outcomes.split_at(servers.len());
        for ((backend, _), outcomes) in servers.iter().zip(ours) {
            let share = if matches!(backend, Backend::Embedded) { 0.6 } else { 0.2 };
            let p99 = Sample::of(outcomes.iter().map(|o| o.p99_ms).collect()).median;
            let row =
                Row::new(document.what, backend.name(), "requests/s", rate(outcomes)).note(format!("p99 {p99:.1} ms"));
            rows.push(row.clone().against("nginx", rate(&others[0])).wanting(Target::RatioAtLeast(share)));
            if let Some(verdaccio) = others.get(1) {
                let row = row.against("verdaccio", rate(verdaccio));
                let is_embedded = matches!(backend, Backend::Embedded);
                rows.push(if is_embedded { row.wanting(Target::RatioAtLeast(100.0)) } else { row });
            }
        }
    }
    nginx.stop().await?;
    verdaccio.stop().await?;
    for (_, server) in servers {
        server.stop().await?;
    }
    Ok(rows)
}

async fn populate(server: &Publaryn) -> Result<(), Error> {
    let account = server.account().await?;
    Work::one_package(PACKAGE, 4, 0..VERSIONS)?.publish(&account.npm()).await?;
    let client = http::client()?;
    for n in 0..VERSIONS {
        let upload = crate_upload(PACKAGE, &format!("1.{n}.0"), 4_000)?;
        put(&client, &account.cargo(), upload).await?;
    }
    Ok(())
}

/// Publaryn's addresses first, then nginx's with the same bytes, then verdaccio's.
async fn requests(
    document: &Document,
    servers: &[(Backend, Publaryn)],
    nginx: &Nginx,
    verdaccio: &Registry,
) -> Result<Vec<Request>, Error> {
    let of = |url: String| Request { url, headers: document.headers.clone() };
    let mut requests: Vec<Request> =
        servers.iter().map(|(_, server)| of(format!("{}{}", server.base, document.path))).collect();
    let url = &requests[0].url;
    let packed = http::fetch(url, &document.headers).await?;
    let plain: Vec<_> = document.headers.iter().copied().filter(|(name, _)| *name != "accept-encoding").collect();
    let plain: Bytes = http::fetch(url, &plain).await?;
    eprintln!("{}: {} bytes, {} compressed", document.what, plain.len(), packed.len());
    requests.push(of(nginx.put(document.nginx_file, &plain, Some(&packed))?));
    if document.is_npm {
        requests.push(of(format!("{}/{PACKAGE}", verdaccio.base)));
    }
    Ok(requests)
}

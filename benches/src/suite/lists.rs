//! Lists and search of `/v1` in a registry of 100 000 packages with 1 000 000 releases and as many audit entries.

use std::time::{Duration, Instant};

use reqwest::{Client, Method};
use serde_json::Value;
use tokio::process::Command;

use super::servers;
use crate::{
    Error, Plan,
    contender::{Backend, Database, Registry},
    http, process,
    publisher::accepted,
    report::{Row, Target},
    statistics::{Sample, percentile},
};

/// What is in the registry: the same statements for both engines, with a few words of theirs filled in.
const WORLD: &str = include_str!("lists.sql");
/// Requests per turn; each is another one.
const REQUESTS: u32 = 300;
/// Requests at once.
const CLIENTS: u32 = 2;
const LIST_MS: f64 = 50.0;
const SEARCH_MS: f64 = 20.0;
const INDEXED_WITHIN: Duration = Duration::from_secs(1_200);

/// What is asked: the path of the n-th request.
type Paths = fn(u32) -> String;

const LISTS: [(&str, Paths); 8] = [
    ("releases of a package with 10 000", |n| format!("/packages/npm/amber-anchor-0/releases?page={}", 1 + n % 100)),
    ("releases of a package with 10", |n| format!("/packages/npm/{}/releases", name(n * 331))),
    ("packages of an organization", |n| format!("/orgs/org-{}/packages?page={}", n % 50, 1 + n % 7)),
    ("packages of a repository", |n| format!("/repositories/org-{}/packages?page={}", n % 50, 1 + n % 7)),
    ("audit log, newest first", |n| format!("/audit?page={}", 1 + n % 100)),
    ("audit log of one action", |n| format!("/audit?action=package_create&page={}", 1 + n % 100)),
    ("audit log of one organization", |n| format!("/orgs/org-{}/audit?page={}", n % 50, 1 + n % 5)),
    ("statistics", |_| "/stats".to_owned()),
];

const SEARCHES: [(&str, Paths); 4] = [
    ("search, a word", |n| format!("/search?q={}", SECOND[n as usize % SECOND.len()])),
    ("search, an exact name", |n| format!("/search?q={}", name(n * 331))),
    ("search, a word with a typo", |n| format!("/search?q={}", mistyped(SECOND[n as usize % SECOND.len()]))),
    ("search, everything by downloads", |n| format!("/search?sort=downloads&page={}", 1 + n % 20)),
];

/// The words that `lists.sql` makes names of.
const FIRST: [&str; 10] = ["amber", "brisk", "cedar", "dusty", "eager", "frost", "gentle", "hollow", "ivory", "jolly"];
const SECOND: [&str; 10] =
    ["anchor", "beacon", "compass", "dynamo", "engine", "falcon", "glacier", "harbor", "island", "jigsaw"];

/// The name of the n-th package.
fn name(n: u32) -> String {
    let n = n % 100_000;
    format!("{}-{}-{n}", FIRST[n as usize % 10], SECOND[n as usize / 10 % 10])
}

fn mistyped(word: &str) -> String {
    let (head, tail) = word.split_at(word.len() / 2);
    format!("{head}x{}", &tail[1..])
}

pub(super) async fn measure(plan: &Plan) -> Result<Vec<Row>, Error> {
    let mut rows = Vec::new();
    for (backend, server) in servers(plan, "lists").await? {
        let login = server.administrator().await?.bearer();
        let server = server.while_stopped(async |database| populate(plan, database).await).await?;
        let member = Registry { base: format!("{}/v1", server.base), login };
        index(&member).await?;
        for (what, paths) in LISTS {
            rows.push(row(plan, &backend, what, &member, paths, LIST_MS).await?);
        }
        let anybody = Registry::open_to_all(member.base.clone());
        for (what, paths) in SEARCHES {
            rows.push(row(plan, &backend, what, &anybody, paths, SEARCH_MS).await?);
            let what = format!("{what}, by a member of 50 organizations");
            rows.push(row(plan, &backend, &what, &member, paths, SEARCH_MS).await?);
        }
        server.stop().await?;
    }
    Ok(rows)
}

async fn row(
    plan: &Plan,
    backend: &Backend,
    what: &str,
    caller: &Registry,
    paths: Paths,
    wanted: f64,
) -> Result<Row, Error> {
    let client = http::client()?;
    let mut p95 = Vec::new();
    for round in 0..=plan.rounds {
        let latencies = turn(&client, caller, paths).await?;
        // The first one warms up.
        if round > 0 {
            p95.push(percentile(&latencies, 0.95));
        }
    }
    Ok(Row::new(format!("{what}, p95"), backend.name(), "ms", Sample::of(p95)).wanting(Target::AtMost(wanted)))
}

/// Milliseconds of each request.
async fn turn(client: &Client, caller: &Registry, paths: Paths) -> Result<Vec<f64>, Error> {
    let mut tasks = tokio::task::JoinSet::new();
    for hand in 0..CLIENTS {
        let (client, caller) = (client.clone(), caller.clone());
        tasks.spawn(async move {
            let mut latencies = Vec::new();
            for n in (hand..REQUESTS).step_by(CLIENTS as usize) {
                let sent = Instant::now();
                accepted(caller.request(&client, Method::GET, &paths(n))).await?.bytes().await?;
                latencies.push(sent.elapsed().as_secs_f64() * 1000.0);
            }
            Ok::<_, Error>(latencies)
        });
    }
    let mut all = Vec::new();
    while let Some(done) = tasks.join_next().await {
        all.extend(done??);
    }
    Ok(all)
}

/// Writes the world into the database of a server that does not run.
async fn populate(plan: &Plan, database: Database) -> Result<(), Error> {
    eprintln!("writing 1 000 000 releases and audit entries");
    let words = match database {
        Database::Sqlite(_) => [
            ("{id}", "randomblob(16)"),
            ("{no}", "0"),
            ("{key}", "CAST(1000000 + v.n AS BLOB)"),
            ("{now}", "unixepoch()"),
        ],
        Database::Postgres(_) => [
            ("{id}", "gen_random_uuid()"),
            ("{no}", "FALSE"),
            ("{key}", "convert_to((1000000 + v.n)::text, 'UTF8')"),
            ("{now}", "extract(epoch FROM now())::bigint"),
        ],
    };
    let sql = words.iter().fold(WORLD.to_owned(), |sql, (word, filled)| sql.replace(word, filled));
    let file = plan.scratch.join("world.sql");
    std::fs::write(&file, sql)?;
    let mut command = match database {
        Database::Sqlite(path) => {
            let mut python = Command::new("python3");
            let script = "import sqlite3, sys\nsqlite3.connect(sys.argv[1]).executescript(open(sys.argv[2]).read())";
            python.args(["-c", script]).arg(path).arg(&file);
            python
        }
        Database::Postgres(url) => {
            let mut psql = Command::new("psql");
            psql.args(["--no-psqlrc", "--quiet", "--single-transaction", "--set", "ON_ERROR_STOP=1", &url, "--file"])
                .arg(&file);
            psql
        }
    };
    process::output(&mut command).await.map(drop)
}

/// Has everything indexed, and waits for it.
async fn index(administrator: &Registry) -> Result<(), Error> {
    let client = http::client()?;
    let began = Instant::now();
    accepted(administrator.request(&client, Method::POST, "/admin/search/reindex")).await?.bytes().await?;
    while began.elapsed() < INDEXED_WITHIN {
        tokio::time::sleep(Duration::from_secs(2)).await;
        let answer = accepted(administrator.request(&client, Method::GET, "/search?per_page=1&sort=name")).await?;
        let found: Value = answer.json().await?;
        let stats =
            accepted(administrator.request(&client, Method::GET, "/admin/jobs?state=pending&per_page=1")).await?;
        let pending: Value = stats.json().await?;
        if found["total"].as_u64() >= Some(10_000) && pending["jobs"].as_array().is_some_and(Vec::is_empty) {
            eprintln!("indexed within {:.0} s", began.elapsed().as_secs_f64());
            return Ok(());
        }
    }
    Err("the search index was not complete in time".into())
}

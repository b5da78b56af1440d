//! Lists and search of `/v1` in a registry of 100 000 packages with 1 000 000 releases and as many audit entries.

use std::time::{Duration, Instant};

use reqwest::{Client, Method};
use serde_json::Value;
use tokio::process::Command;

use super::servers;
use crate::{
    Error, Plan,
    contender::{Database, Login, Registry},
    http, process,
    publisher::accepted,
    report::{Row, Target},
    statistics::{Sample, percentile},
};

/// What is in the registry: the same statements for both engines, with a few words of theirs filled in.
const WORLD: &str = include_str!("lists.sql");
/// Requests per turn; each is another one.
const REQUESTS: u32 = 200;
/// Requests at once.
const CLIENTS: u32 = 2;
const LIST_MS: f64 = 50.0;
const SEARCH_MS: f64 = 20.0;
const INDEXED_WITHIN: Duration = Duration::from_secs(1_200);

/// What is asked: the path of the n-th request.
type Paths = fn(u32) -> String;

/// Asked by a platform administrator who is a member of 50 organizations.
const LISTS: &[(&str, Paths)] = &[
    ("releases, 10 in all", |n| format!("/packages/{}/releases", package(n * 331))),
    ("releases, 10 000 in all, any page", |n| format!("{BIG}/releases?page={}", 1 + n * 37 % 500)),
    ("releases, 10 000 in all, by version", |n| format!("{BIG}/releases?sort=version&page={}", 1 + n * 37 % 500)),
    ("releases, 10 000 in all, of one state", |n| format!("{BIG}/releases?status=yanked&page={}", 1 + n % 5)),
    ("findings of a package with 10 000", |n| format!("{BIG}/security-findings?page={}", 1 + n * 37 % 500)),
    ("findings of a package, of one severity", |n| {
        format!("{BIG}/security-findings?severity=high&page={}", 1 + n % 100)
    }),
    ("trusted publishers", |n| format!("{BIG}/trusted-publishers?page={}", 1 + n % 2)),
    ("packages of a user with 2 000", |n| format!("/users/person-0/packages?page={}", 1 + n % 100)),
    ("packages of an organization with 900", |n| format!("/orgs/org-{}/packages?page={}", 1 + n % 49, 1 + n % 40)),
    ("packages of an organization with 10 000", |n| format!("/orgs/org-0/packages?page={}", 1 + n * 37 % 500)),
    ("packages of an organization, one ecosystem", |n| {
        format!("/orgs/org-0/packages?ecosystem=pypi&page={}", 1 + n % 70)
    }),
    ("packages of a repository with 9 300", |n| format!("/repositories/org-0/packages?page={}", 1 + n * 37 % 460)),
    ("packages by repository, 900", |n| format!("/orgs/org-{}/repository-package-coverage", 1 + n % 49)),
    ("workspace, 900 packages", |n| format!("/orgs/org-{}/workspace", 1 + n % 49)),
    ("repositories", |n| format!("/repositories?page={}", 1 + n % 100)),
    ("repositories of an organization", |n| format!("/orgs/org-{}/repositories", n % 50)),
    ("organizations of the caller", |_| "/users/me/organizations".to_owned()),
    ("members, 5 000 in all", |n| format!("/orgs/org-0/members?page={}", 1 + n % 50)),
    ("members, found by name", |n| format!("/orgs/org-0/members/search?query=son-{n}")),
    ("invitations, 2 000 in all", |n| format!("/orgs/org-0/invitations?page={}", 1 + n % 20)),
    ("teams", |_| "/orgs/org-0/teams".to_owned()),
    ("members of a team, 5 000 in all", |n| format!("/orgs/org-0/teams/team-0/members?page={}", 1 + n % 50)),
    ("grants of a team", |n| format!("/orgs/org-0/teams/team-0/package-access?page={}", 1 + n % 3)),
    ("namespace claims", |n| format!("/namespaces?page={}", 1 + n * 37 % 500)),
    ("tokens, 1 000 in all", |n| format!("/tokens?page={}", 1 + n % 10)),
    ("security overview of an organization", |_| "/orgs/org-0/security-findings".to_owned()),
    ("audit log, newest first", |n| format!("/audit?page={}", 1 + n % 100)),
    ("audit log, any page", |n| format!("/audit?page={}", 1 + n * 491 % 10_000)),
    ("audit log of an action", |n| format!("/audit?action=package_create&page={}", 1 + n % 100)),
    ("audit log of a period", |n| format!("/audit?occurred_from={}&occurred_until={}", day(n), day(n))),
    ("audit log of an organization", |n| format!("/orgs/org-{}/audit?page={}", n % 10 * 5, 1 + n % 100)),
    ("audit log of an organization, of an action", |n| format!("{AUDIT}?action=org_member_add&page={}", 1 + n % 100)),
    ("audit log of an organization, of no action", |_| format!("{AUDIT}?action=org_delete")),
    ("audit log of an organization, of a period", |n| format!("{AUDIT}?occurred_until={}&page={}", day(n), 1 + n % 50)),
    ("access history", |n| format!("/orgs/org-0/access-history?page={}", 1 + n % 4)),
    ("access history of a team and part of a name", |n| {
        format!("/orgs/org-0/access-history?team_slug=team-0&target={}", SECOND[n as usize % 10])
    }),
    ("users, 20 000 in all", |n| format!("/admin/users?page={}", 1 + n * 37 % 400)),
    ("users, found by part of a name", |n| format!("/admin/users?q=son-{n}")),
    ("jobs, 1 000 000 in all", |n| format!("/admin/jobs?page={}", 1 + n * 97 % 10_000)),
    ("jobs, dead", |n| format!("/admin/jobs?state=dead&page={}", 1 + n * 37 % 2_000)),
    ("jobs of a kind and state", |n| format!("/admin/jobs?kind=scan_artifact&state=completed&page={}", 1 + n % 100)),
    ("jobs of a kind without any", |_| "/admin/jobs?kind=deliver_webhook".to_owned()),
    ("queues", |_| "/admin/queues".to_owned()),
    ("statistics", |_| "/stats".to_owned()),
];

/// Files: the time to their first bytes.
const EXPORTS: &[(&str, Paths)] = &[
    ("audit log as CSV, first bytes", |_| "/audit/export".to_owned()),
    ("audit log of an organization as CSV, first bytes", |_| format!("{AUDIT}/export")),
    ("access history as CSV, first bytes", |_| "/orgs/org-0/access-history/export".to_owned()),
    ("security overview as CSV, first bytes", |_| "/orgs/org-0/security-findings/export".to_owned()),
];

/// Asked by an anonymous caller.
const OPEN_LISTS: &[(&str, Paths)] = &[
    ("packages of an organization with 10 000", |n| format!("/orgs/org-0/packages?page={}", 1 + n * 37 % 333)),
    ("packages of a user with 2 000", |n| format!("/users/person-0/packages?page={}", 1 + n % 66)),
    ("workspace, 900 packages", |n| format!("/orgs/org-{}/workspace", 1 + n % 49)),
    ("repositories", |n| format!("/repositories?page={}", 1 + n % 100)),
    ("security overview of an organization", |_| "/orgs/org-0/security-findings".to_owned()),
];

/// Asked by both.
const SEARCHES: &[(&str, Paths)] = &[
    ("search, a word", |n| format!("/search?q={}", SECOND[n as usize % 10])),
    ("search, two words", |n| format!("/search?q={}%20{}", FIRST[n as usize % 10], SECOND[n as usize / 10 % 10])),
    ("search, an exact name", |n| format!("/search?q={}", name(n * 331))),
    ("search, one letter", |n| format!("/search?q={}", &FIRST[n as usize % 10][..1])),
    ("search, a beginning", |n| format!("/search?q={}", &SECOND[n as usize % 10][..2 + n as usize % 3])),
    ("search, a word with a typo", |n| format!("/search?q={}", mistyped(SECOND[n as usize % 10]))),
    ("search, a name with a typo", |n| format!("/search?q={}-{}", mistyped(FIRST[n as usize % 10]), n * 331)),
    ("search, a word nobody used", |n| format!("/search?q=zanzibar{n}")),
    ("search, everything", |_| "/search".to_owned()),
    ("search, everything by downloads", |n| format!("/search?sort=downloads&page={}", 1 + n % 20)),
    ("search, everything by name", |n| format!("/search?sort=name&page={}", 1 + n % 20)),
    ("search, a word, one ecosystem", |n| format!("/search?q={}&ecosystem=cargo", SECOND[n as usize % 10])),
    ("search, a word, one organization", |n| format!("/search?q={}&org=org-{}", SECOND[n as usize % 10], n % 50)),
    ("search, a keyword and a licence", |n| format!("/search?keyword={}&license=MIT", FIRST[n as usize % 10])),
    ("search, far pages of 100", |n| {
        format!("/search?q={}&per_page=100&page={}", SECOND[n as usize % 10], 50 + n % 50)
    }),
];

/// Of native clients, as an npm client's user.
const NATIVE_SEARCHES: &[(&str, Paths)] = &[
    ("npm search, a word", |n| format!("/npm/-/v1/search?text={}&size=20", SECOND[n as usize % 10])),
    ("npm search, 250 hits", |n| format!("/npm/-/v1/search?text={}&size=250", SECOND[n as usize % 10])),
    ("cargo search, a word", |n| format!("/cargo/api/v1/crates?q={}&per_page=10", SECOND[n as usize % 10])),
    ("cargo search, 100 hits", |n| format!("/cargo/api/v1/crates?q={}&per_page=100", SECOND[n as usize % 10])),
];

/// The package with most releases.
const BIG: &str = "/packages/npm/amber-anchor-0";
const AUDIT: &str = "/orgs/org-0/audit";

/// The words that `lists.sql` makes names of.
const FIRST: [&str; 10] = ["amber", "brisk", "cedar", "dusty", "eager", "frost", "gentle", "hollow", "ivory", "jolly"];
const SECOND: [&str; 10] =
    ["anchor", "beacon", "compass", "dynamo", "engine", "falcon", "glacier", "harbor", "island", "jigsaw"];

/// The name of the n-th package.
fn name(n: u32) -> String {
    let n = n % 100_000;
    format!("{}-{}-{n}", FIRST[n as usize % 10], SECOND[n as usize / 10 % 10])
}

/// One of the large organization's npm packages in a path.
fn package(n: u32) -> String {
    format!("npm/{}", name(n % 1_000 * 7))
}

fn mistyped(word: &str) -> String {
    let (head, tail) = word.split_at(word.len() / 2);
    format!("{head}x{}", &tail[1..])
}

/// A day of the last two months.
fn day(n: u32) -> String {
    (time::OffsetDateTime::now_utc() - time::Duration::days(i64::from(n % 60))).date().to_string()
}

/// How an answer is awaited.
#[derive(Debug, Clone, Copy)]
enum Until {
    LastByte,
    FirstBytes,
}

/// Who asks a group of questions, and within which time the slow ones are to be answered.
struct Round<'a> {
    rounds: u32,
    backend: &'a str,
    caller: &'a Registry,
    /// Said behind what is asked.
    who: &'static str,
    until: Until,
    wanted_ms: f64,
}

pub(super) async fn measure(plan: &Plan) -> Result<Vec<Row>, Error> {
    let mut rows = Vec::new();
    for (backend, server) in servers(plan, "lists").await? {
        let login = server.administrator().await?.bearer();
        let server = server.while_stopped(async |database| populate(plan, database).await).await?;
        index(&Registry { base: format!("{}/v1", server.base), login: login.clone() }).await?;
        rows.extend(ask_all(plan.rounds, backend.name(), &server.base, login).await?);
        server.stop().await?;
    }
    Ok(rows)
}

/// Asks a server that has the world of `lists.sql` in it.
pub(crate) async fn ask_all(rounds: u32, backend: &str, base: &str, login: Login) -> Result<Vec<Row>, Error> {
    let member = Registry { base: format!("{base}/v1"), login };
    let anybody = Registry::open_to_all(member.base.clone());
    let client = Registry::open_to_all(base.to_owned());
    let mut rows = Vec::new();
    let by_member = Round { rounds, backend, caller: &member, who: "", until: Until::LastByte, wanted_ms: LIST_MS };
    let by_anybody = Round { caller: &anybody, who: ", anonymous", ..by_member };
    by_member.ask(LISTS, &mut rows).await?;
    Round { until: Until::FirstBytes, ..by_member }.ask(EXPORTS, &mut rows).await?;
    by_anybody.ask(OPEN_LISTS, &mut rows).await?;
    Round { wanted_ms: SEARCH_MS, ..by_anybody }.ask(SEARCHES, &mut rows).await?;
    let searching = Round { wanted_ms: SEARCH_MS, who: ", by a member of 50 organizations", ..by_member };
    searching.ask(SEARCHES, &mut rows).await?;
    Round { wanted_ms: SEARCH_MS, caller: &client, ..by_anybody }.ask(NATIVE_SEARCHES, &mut rows).await?;
    Ok(rows)
}

impl Round<'_> {
    async fn ask(&self, questions: &[(&str, Paths)], rows: &mut Vec<Row>) -> Result<(), Error> {
        for (what, paths) in questions {
            rows.push(self.row(what, *paths).await?);
        }
        Ok(())
    }

    async fn row(&self, what: &str, paths: Paths) -> Result<Row, Error> {
        let client = http::client()?;
        let (mut p50, mut p95) = (Vec::new(), Vec::new());
        for round in 0..=self.rounds {
            let latencies = self.turn(&client, paths).await?;
            // The first one warms up.
            if round > 0 {
                p50.push(percentile(&latencies, 0.5));
                p95.push(percentile(&latencies, 0.95));
            }
        }
        let (typical, slow) = (Sample::of(p50), Sample::of(p95));
        eprintln!("{:>8.1} {:>8.1} ms  {what}{}", typical.median, slow.median, self.who);
        let row = Row::new(format!("{what}{}, p95", self.who), self.backend, "ms", slow);
        Ok(row.note(format!("p50 {:.1} ms", typical.median)).wanting(Target::AtMost(self.wanted_ms)))
    }

    /// Milliseconds of each request.
    async fn turn(&self, client: &Client, paths: Paths) -> Result<Vec<f64>, Error> {
        let mut tasks = tokio::task::JoinSet::new();
        for hand in 0..CLIENTS {
            let (client, caller, until) = (client.clone(), self.caller.clone(), self.until);
            tasks.spawn(async move {
                let mut latencies = Vec::new();
                for n in (hand..REQUESTS).step_by(CLIENTS as usize) {
                    let sent = Instant::now();
                    let mut answer = accepted(caller.request(&client, Method::GET, &paths(n))).await?;
                    match until {
                        Until::LastByte => drop(answer.bytes().await?),
                        Until::FirstBytes => drop(answer.chunk().await?),
                    }
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
}

/// Writes the world into the database of a server that does not run.
async fn populate(plan: &Plan, database: Database) -> Result<(), Error> {
    eprintln!("writing 1 000 000 releases and audit entries");
    let began = Instant::now();
    let words = match database {
        Database::Sqlite(_) => [
            ("{id}", "randomblob(16)"),
            ("{no}", "0"),
            ("{key}", "CAST(1000000 + v.n AS BLOB)"),
            ("{digest}", "'sha256:' || printf('%064d', p.download_count)"),
            ("{now}", "unixepoch()"),
        ],
        Database::Postgres(_) => [
            ("{id}", "gen_random_uuid()"),
            ("{no}", "FALSE"),
            ("{key}", "convert_to((1000000 + v.n)::text, 'UTF8')"),
            ("{digest}", "'sha256:' || lpad(p.download_count::text, 64, '0')"),
            ("{now}", "extract(epoch FROM now())::bigint"),
        ],
    };
    let sql = words.iter().fold(WORLD.to_owned(), |sql, (word, filled)| sql.replace(word, filled));
    let file = plan.scratch.join("world.sql");
    std::fs::write(&file, sql)?;
    match database {
        Database::Sqlite(path) => {
            let mut python = Command::new("python3");
            let script = "import sqlite3, sys\n\
                          sqlite3.connect(sys.argv[1]).executescript(f'BEGIN; {open(sys.argv[2]).read()} COMMIT;')";
            process::output(python.args(["-c", script]).arg(path).arg(&file)).await?;
        }
        Database::Postgres(url) => {
            let psql = || {
                let mut psql = Command::new("psql");
                psql.args(["--no-psqlrc", "--quiet", "--set", "ON_ERROR_STOP=1", &url]);
                psql
            };
            process::output(psql().arg("--single-transaction").arg("--file").arg(&file)).await?;
            // What autovacuum would have done by the time that a registry is that large.
            process::output(psql().args(["--command", "VACUUM ANALYZE"])).await?;
        }
    }
    eprintln!("written within {:.0} s", began.elapsed().as_secs_f64());
    Ok(())
}

/// Has everything indexed, and waits for it.
async fn index(administrator: &Registry) -> Result<(), Error> {
    let client = http::client()?;
    let began = Instant::now();
    let ask = async |method, path: &str| -> Result<Value, Error> {
        Ok(accepted(administrator.request(&client, method, path)).await?.json().await?)
    };
    let job = ask(Method::POST, "/admin/search/reindex").await?;
    let job = format!("/admin/jobs/{}", job["job_id"].as_str().ok_or("no job was enqueued")?);
    while began.elapsed() < INDEXED_WITHIN {
        match ask(Method::GET, &job).await?["status"].as_str() {
            Some("completed") => {
                eprintln!("indexed within {:.0} s", began.elapsed().as_secs_f64());
                return Ok(());
            }
            Some("dead") => return Err("the search index could not be written".into()),
            _ => tokio::time::sleep(Duration::from_secs(1)).await,
        }
    }
    Err("the search index was not complete in time".into())
}

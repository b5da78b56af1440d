//! `publaryn-bench`: Publaryn beside nginx and other registries, in one run, on one machine, under one load.
//!
//! Every number it reports is a median over rounds in which the contenders take turns, so that a busy
//! machine slows all of them alike; the ratios are taken within a round. It asserts nothing: it writes
//! what it saw to a JSON file and renders that file as Markdown.

mod contender;
mod corpus;
mod http;
mod machine;
mod process;
mod publisher;
mod report;
mod statistics;
mod suite;
mod wrk;

use std::{path::PathBuf, process::ExitCode, time::Duration};

use clap::Parser;

use crate::{report::Report, suite::Suite};

/// Anything that ends a run.
pub(crate) type Error = Box<dyn std::error::Error + Send + Sync>;

/// Measures Publaryn side by side with nginx and the registries people host themselves.
///
/// With the variables of `benches/services/with-services.sh` set, PostgreSQL, Redis and S3 are measured, too.
#[derive(Debug, Parser)]
struct Cli {
    /// The release build to measure
    #[arg(long, value_name = "PATH")]
    publaryn: PathBuf,
    /// What is measured beside it, in the folder that `benches/services/bench-tools.sh` prints
    #[arg(long, value_name = "DIR")]
    tools: PathBuf,
    /// How often each contender has its turn
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// Length of one turn of a read measurement
    #[arg(long, value_name = "SECONDS", default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=60))]
    seconds: u64,
    /// Results are merged into FILE.json, and FILE.md is written from it
    #[arg(long, value_name = "FILE", default_value = "docs/benchmarks")]
    out: PathBuf,
    /// Where the contenders keep their data: all on one disk
    #[arg(long, value_name = "DIR", default_value = "/var/tmp")]
    scratch: PathBuf,
    /// Only publish to a server that runs already, and print what that gave: for profiling it
    #[arg(long, value_names = ["BASE", "TOKEN", "PREFIX", "CLIENTS", "VERSIONS"], num_args = 5, hide = true)]
    publish_to: Option<Vec<String>>,
    /// Only ask a server that runs already and has the world of the suite `lists` in it: for profiling it
    #[arg(long, value_names = ["BASE", "TOKEN"], num_args = 2, hide = true)]
    lists_of: Option<Vec<String>>,
    /// What to measure [default: everything]
    #[arg(value_enum)]
    suites: Vec<Suite>,
}

/// What every suite needs to know.
pub(crate) struct Plan {
    pub publaryn: PathBuf,
    pub tools: PathBuf,
    pub rounds: u32,
    pub turn: Duration,
    pub scratch: PathBuf,
}

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(cli).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("publaryn-bench: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(cli: Cli) -> Result<(), Error> {
    if let Some(arguments) = cli.publish_to {
        return publish_to(&arguments).await;
    }
    if let Some([base, token]) = cli.lists_of.as_deref() {
        let login = contender::Login::Bearer(token.clone());
        return suite::lists::ask_all(cli.rounds, "running", base, login).await.map(drop);
    }
    let scratch = tempfile::Builder::new().prefix("publaryn-bench.").tempdir_in(&cli.scratch)?;
    // nginx gives up its rights when it was started by root.
    process::let_others_read(scratch.path())?;
    let plan = Plan {
        publaryn: cli.publaryn.canonicalize().map_err(|e| format!("{}: {e}", cli.publaryn.display()))?,
        tools: cli.tools,
        rounds: cli.rounds,
        turn: Duration::from_secs(cli.seconds),
        scratch: scratch.path().to_owned(),
    };
    let suites = if cli.suites.is_empty() { Suite::ALL.to_vec() } else { cli.suites };
    let mut report = Report::open(&cli.out)?;
    for suite in suites {
        eprintln!("== {suite}");
        let began = std::time::Instant::now();
        let rows = suite.measure(&plan).await.map_err(|e| format!("{suite}: {e}"))?;
        report.put(suite, rows, machine::describe(&plan, began.elapsed()));
        // After each suite, so that a later failure loses nothing.
        report.save()?;
    }
    report.print();
    Ok(())
}

async fn publish_to(arguments: &[String]) -> Result<(), Error> {
    let [base, token, prefix, clients, versions] = arguments else {
        return Err("--publish-to takes five values".into());
    };
    let registry = contender::Registry {
        base: base.clone(),
        login: if token.is_empty() { contender::Login::Nobody } else { contender::Login::Bearer(token.clone()) },
    };
    let work = publisher::Work::own_packages(prefix, clients.parse()?, 0..versions.parse()?)?;
    let published = work.publish(&registry).await?;
    let p50 = statistics::percentile(&published.latencies_ms, 0.5);
    println!("{:.0} publishes/s, p50 {p50:.1} ms, p99 {:.1} ms", published.per_second, published.p99_ms());
    Ok(())
}

//! `publaryn bench jobs` on each database.

use serde::Deserialize;
use tokio::process::Command;

use super::backends;
use crate::{
    Error, Plan,
    contender::Backend,
    process,
    report::{Row, Target},
    statistics::Sample,
};

/// What the command prints (configuration.md §1).
#[derive(Deserialize)]
struct Printed {
    jobs_per_second: f64,
    p50_ms: f64,
    p99_ms: f64,
}

const COUNT: &str = "20000";
/// The targets are set for eight cores.
const TARGET_CORES: f64 = 8.0;

pub(super) async fn measure(plan: &Plan) -> Result<Vec<Row>, Error> {
    let cores = std::thread::available_parallelism()?.get() as f64;
    let mut rows = Vec::new();
    for (n, backend) in backends().into_iter().enumerate() {
        let (mut rates, mut p50, mut p99) = (Vec::new(), Vec::new(), Vec::new());
        for round in 0..plan.rounds {
            let mut command = Command::new(&plan.publaryn);
            command.args(["bench", "jobs", "--count", COUNT, "--data-dir"]);
            command.arg(plan.scratch.join(format!("jobs-{n}-{round}")));
            command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
            if let Backend::External(services) = &backend {
                command.env("PUBLARYN__DATABASE__URL", services.database().await?);
            }
            let text = match process::output(&mut command).await {
                Ok(text) => text,
                Err(error) if error.to_string().contains("not wired yet") => {
                    eprintln!("this build has no `publaryn bench jobs`");
                    return Ok(rows);
                }
                Err(error) => return Err(error),
            };
            let printed: Printed = serde_json::from_str(&text)?;
            rates.push(printed.jobs_per_second);
            p50.push(printed.p50_ms);
            p99.push(printed.p99_ms);
        }
        let (name, wanted) = match backend {
            Backend::Embedded => ("SQLite", 8_000.0),
            Backend::External(_) => ("PostgreSQL", 20_000.0),
        };
        let (p50, p99) = (Sample::of(p50).median, Sample::of(p99).median);
        let note =
            format!("p50 {p50:.1} ms, p99 {p99:.1} ms; the target is for {TARGET_CORES} cores, here are {cores}");
        rows.push(
            Row::new("no-op jobs", name, "jobs/s", Sample::of(rates)).note(note).wanting(Target::AtLeast(wanted)),
        );
    }
    Ok(rows)
}

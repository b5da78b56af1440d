//! From the start of the process to its first answer, and what it holds when nobody asks anything.

use std::time::Duration;

use super::backends;
use crate::{
    Error, Plan,
    contender::{Backend, Publaryn},
    process,
    report::{Row, Target},
    statistics::Sample,
};

/// After this long at rest nothing of the start is left.
const REST: Duration = Duration::from_secs(5);
const START_MS: f64 = 1_000.0;
const IDLE_MB: f64 = 60.0;

pub(super) async fn measure(plan: &Plan) -> Result<Vec<Row>, Error> {
    let mut rows = Vec::new();
    for (n, backend) in backends().into_iter().enumerate() {
        let (mut first, mut again, mut own, mut tree) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for round in 0..plan.rounds {
            let dir = plan.scratch.join(format!("start-{n}-{round}"));
            let server = Publaryn::start(&plan.publaryn, &backend, &dir).await?;
            first.push(server.started_within.as_secs_f64() * 1000.0);
            server.stop().await?;
            let server = Publaryn::start(&plan.publaryn, &backend, &dir).await?;
            again.push(server.started_within.as_secs_f64() * 1000.0);
            tokio::time::sleep(REST).await;
            let memory = process::memory(server.pid()?)?;
            own.push(memory.own_rss as f64 / 1e6);
            tree.push(memory.tree_pss as f64 / 1e6);
            server.stop().await?;
        }
        let name = backend.name();
        let own = Sample::of(own).median;
        let note = format!("the server's own resident set is {own:.0} MB");
        let first = Row::new("start to first 200, new installation", name, "ms", Sample::of(first));
        let again = Row::new("start to first 200, existing data", name, "ms", Sample::of(again));
        let idle = Row::new("memory at rest, scanner processes included", name, "MB", Sample::of(tree)).note(note);
        if matches!(backend, Backend::Embedded) {
            rows.push(first.wanting(Target::AtMost(START_MS)));
            rows.push(again.wanting(Target::AtMost(START_MS)));
            rows.push(idle.wanting(Target::AtMost(IDLE_MB)));
        } else {
            rows.extend([first, again, idle]);
        }
    }
    Ok(rows)
}

//! Checks of what the server does by itself: workers, jobs, stored bytes.

use std::{collections::BTreeSet, time::Duration};

use publaryn_api::backends;
use publaryn_config::{Config, DataDir, StorageBackend};
use publaryn_core::{Timestamp, job::JobState};
use publaryn_gc::{Collector, Extent, GcOptions, Unwatched};
use publaryn_metadata::{
    Db, DbResult,
    jobs::{JobCounts, NodeRow},
};

use super::{Check, checks::chain};

/// Clocks further apart than this disturb leases, token lifetimes and the collector's grace period.
const CLOCK_TOLERANCE: Duration = Duration::from_secs(5);
/// A job that waits longer than this is waiting for something that is broken.
const WAITS_TOO_LONG: i64 = 10 * 60;
/// Looking through the store may take longer than a person wants to wait.
const LOOK_FOR: Duration = Duration::from_secs(5);
/// Damaged blobs that are named.
const NAMED: i64 = 3;

/// Everything that can be told from a database with the current schema.
pub async fn all(config: &Config, db: &Db) -> Vec<Check> {
    let mut checks = vec![clock_skew(db).await];
    match facts(config, db).await {
        Ok(facts) => {
            checks.push(workers(config, &facts));
            checks.push(jobs(&facts));
            checks.extend(unknown_kinds(&facts));
            checks.extend(paused(&facts));
        }
        Err(error) => checks.push(Check::fail("jobs", chain(&error))),
    }
    checks.push(stored_bytes(db).await);
    checks.push(orphans(config, db).await);
    checks
}

async fn clock_skew(db: &Db) -> Check {
    let asked = Timestamp::now();
    match db.clock().await {
        Ok(theirs) => {
            let ours = Timestamp::now();
            // Somewhere between the question and the answer.
            let apart = theirs.since(ours).max(asked.since(theirs));
            let text = format!("the database's clock is {} ms from this machine's", apart.as_millis());
            if apart > CLOCK_TOLERANCE { Check::warn("clock_skew", text) } else { Check::ok("clock_skew", text) }
        }
        Err(error) => Check::fail("clock_skew", chain(&error)),
    }
}

struct Facts {
    nodes: Vec<NodeRow>,
    leader: Option<String>,
    counts: JobCounts,
    stale: i64,
    oldest_seconds: Option<i64>,
    paused: Vec<String>,
}

async fn facts(config: &Config, db: &Db) -> DbResult<Facts> {
    let timeout = config.jobs.node_timeout_seconds.duration();
    let summary = db.job_summary(timeout).await?;
    Ok(Facts {
        nodes: db.nodes(timeout).await?,
        leader: summary.leader,
        counts: db.job_counts().await?,
        stale: summary.stale_jobs_count,
        oldest_seconds: summary.oldest_pending_age_seconds,
        paused: summary.paused_kinds,
    })
}

impl Facts {
    fn alive(&self) -> impl Iterator<Item = &NodeRow> {
        self.nodes.iter().filter(|node| node.is_alive)
    }

    /// Kinds that some living node has a handler for.
    fn handled(&self) -> BTreeSet<String> {
        self.alive().flat_map(|node| serde_json::from_str::<Vec<String>>(&node.kinds).unwrap_or_default()).collect()
    }

    /// `3 scan_artifact, 1 index_package`, for one state.
    fn by_kind(&self, state: JobState) -> String {
        let kinds = self.counts.iter().filter(|(_, s, n)| *s == state && *n > 0);
        kinds.map(|(kind, _, n)| format!("{n} {kind}")).collect::<Vec<_>>().join(", ")
    }
}

fn workers(config: &Config, facts: &Facts) -> Check {
    let alive = facts.alive().count();
    if alive == 0 {
        let is_in_use = DataDir::create(&config.data_dir).is_ok_and(|dir| dir.is_in_use());
        return match config.is_embedded() && !is_in_use {
            true => Check::ok("workers", "no server is running"),
            false => Check::warn("workers", "no node is alive: jobs wait until one is"),
        };
    }
    if facts.handled().is_empty() {
        return Check::warn(
            "workers",
            format!("{alive} nodes are alive, but all have the role `api`: nobody runs jobs"),
        );
    }
    match &facts.leader {
        Some(leader) => Check::ok("workers", format!("{alive} nodes alive, {leader} leads")),
        None => Check::warn("workers", format!("{alive} nodes alive, none leads yet: schedules wait")),
    }
}

fn jobs(facts: &Facts) -> Check {
    let of = |state| facts.counts.in_state(state);
    let (pending, running, failed, dead) =
        (of(JobState::Pending), of(JobState::Running), of(JobState::Failed), of(JobState::Dead));
    let mut problems = Vec::new();
    if dead > 0 {
        problems
            .push(format!("{dead} dead ({}), see docs/operator/job-queue-recovery.md", facts.by_kind(JobState::Dead)));
    }
    if facts.stale > 0 {
        problems.push(format!("{} running without a living worker", facts.stale));
    }
    if let Some(age) = facts.oldest_seconds.filter(|age| *age > WAITS_TOO_LONG)
        && facts.alive().next().is_some()
    {
        problems.push(format!("the oldest has waited {} min", age / 60));
    }
    if problems.is_empty() {
        return Check::ok("jobs", format!("{pending} pending, {running} running, {failed} failed and waiting, 0 dead"));
    }
    Check::warn("jobs", problems.join("; "))
}

/// Work for which nobody here has the program: it waits for a newer node, or for none.
fn unknown_kinds(facts: &Facts) -> Option<Check> {
    facts.alive().next()?;
    let handled = facts.handled();
    let waiting = [JobState::Pending, JobState::Failed];
    let unknown: BTreeSet<_> = facts
        .counts
        .iter()
        .filter(|(kind, state, n)| *n > 0 && waiting.contains(state) && !handled.contains(*kind))
        .map(|(kind, _, _)| kind)
        .collect();
    if unknown.is_empty() {
        return None;
    }
    let kinds = unknown.into_iter().collect::<Vec<_>>().join(", ");
    Some(Check::warn("job_kinds", format!("no living node runs jobs of kind {kinds}; they wait for one that does")))
}

fn paused(facts: &Facts) -> Option<Check> {
    if facts.paused.is_empty() {
        return None;
    }
    Some(Check::warn("paused", format!("an operator paused {}", facts.paused.join(", "))))
}

async fn stored_bytes(db: &Db) -> Check {
    let asked = async {
        let usage = db.blob_usage().await?;
        let (named, damaged) = db.damaged_blobs(NAMED).await?;
        DbResult::Ok((usage, named, damaged))
    };
    match asked.await {
        Err(error) => Check::fail("blobs", chain(&error)),
        Ok((usage, _, 0)) => {
            Check::ok("blobs", format!("{} blobs, {} bytes, none known to be damaged", usage.objects, usage.bytes))
        }
        Ok((_, named, damaged)) => {
            let examples: Vec<_> = named
                .iter()
                .map(|blob| {
                    let owner = blob.used_by.as_deref().unwrap_or("used by no release");
                    format!("{} {} ({owner})", blob.digest, blob.damage)
                })
                .collect();
            Check::fail("blobs", format!("{damaged} damaged: {}", examples.join("; ")))
        }
    }
}

/// What the collector should have deleted by now.
async fn orphans(config: &Config, db: &Db) -> Check {
    if config.storage.backend == StorageBackend::Fs && !config.storage.fs.path.exists() {
        return Check::ok("orphans", "nothing has been stored yet");
    }
    let interval = config.gc.interval_minutes.duration();
    let options = GcOptions {
        grace: config.gc.grace_hours.duration() + interval * 2,
        upload_ttl: config.gc.upload_ttl_hours.duration() + interval * 2,
        extent: Extent::Everything,
        is_dry_run: true,
    };
    let look = async {
        let blobs = backends::stored_blobs(config).await.map_err(|error| error.to_string())?;
        let collector = Collector { db: db.clone(), blobs };
        collector.run(&options, &Unwatched).await.map_err(|error| chain(&error))
    };
    match tokio::time::timeout(LOOK_FOR, look).await {
        Err(_) => Check::ok("orphans", "too much is stored to look through now; `publaryn gc --dry-run` tells"),
        Ok(Err(error)) => Check::fail("orphans", error),
        Ok(Ok(report)) => match report.total() {
            total if total.objects == 0 => Check::ok("orphans", "nothing is overdue for collection"),
            total => Check::warn(
                "orphans",
                format!(
                    "{} objects, {} bytes that nothing refers to are overdue for collection; run `publaryn gc`",
                    total.objects, total.bytes
                ),
            ),
        },
    }
}

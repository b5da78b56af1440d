//! Heartbeat, notice of what no wake-up announced, and the leader's duties.

use std::{collections::HashMap, sync::Arc, time::Duration};

use publaryn_actors::Context;
use publaryn_core::{
    BoxError, Timestamp,
    job::{JobKind, JobState},
};
use publaryn_metadata::{
    Db, DbResult,
    jobs::{NewJob, NodeBeat},
};

use crate::{Handler, JobContext, JobError, Outcome, Schedule, engine::Shared};

const BEAT: Duration = Duration::from_secs(5);
const LEADER_TTL: Duration = Duration::from_secs(15);
/// Ticks come at whole seconds or slower.
const TICK: Duration = Duration::from_secs(1);
/// Finished jobs deleted per statement.
const PRUNE: i64 = 5_000;

/// `node`: says every 5 s that this process is alive; leaves in order.
pub(crate) async fn node(shared: Arc<Shared>, context: Context) -> Result<(), BoxError> {
    while !context.is_stopping() {
        let beat = NodeBeat {
            is_draining: shared.stopping.is_cancelled(),
            running_jobs: i64::try_from(shared.running.len()).unwrap_or(0),
            rss_bytes: resident_bytes(),
        };
        let told: DbResult<()> = async {
            let mut tx = shared.db.begin().await?;
            tx.beat_node(&shared.node, shared.incarnation(), beat).await?;
            tx.commit().await
        }
        .await;
        if let Err(error) = told {
            tracing::warn!(%error, "the node's heartbeat could not be stored");
        }
        tokio::select! {
            () = tokio::time::sleep(BEAT) => {}
            () = context.stopping() => {}
        }
    }
    let mut tx = shared.db.begin().await?;
    tx.leave_node(&shared.node, shared.incarnation()).await?;
    Ok(tx.commit().await?)
}

/// Memory the process holds, from the kernel's own count; 0 where it cannot be read.
fn resident_bytes() -> i64 {
    let pages = std::fs::read_to_string("/proc/self/statm")
        .ok()
        .and_then(|text| text.split_whitespace().nth(1).and_then(|n| n.parse::<i64>().ok()));
    pages.unwrap_or(0) * 4096
}

/// `dispatcher`: polls for due retries, pauses, cancellations, and jobs that other nodes enqueued.
pub(crate) async fn dispatcher(shared: Arc<Shared>, context: Context) -> Result<(), BoxError> {
    while !context.is_stopping() {
        let mut rest = shared.options.poll_interval;
        match shared.db.poll_jobs(&shared.node).await {
            Ok(polled) => {
                shared.paused.retain(|kind| polled.paused.contains(kind));
                for kind in &polled.paused {
                    shared.paused.insert(kind.clone());
                }
                for kind in &polled.ready {
                    shared.wake_word(kind);
                }
                for job in &polled.cancelled {
                    if let Some(run) = shared.running.get(job) {
                        run.cancel();
                    }
                }
                match polled.next_due {
                    Some(Duration::ZERO) => promote(&shared).await?,
                    Some(due) => rest = rest.min(due),
                    None => {}
                }
            }
            Err(error) => tracing::warn!(%error, "the job queue cannot be polled now"),
        }
        tokio::select! {
            () = tokio::time::sleep(rest) => {}
            () = context.stopping() => {}
        }
    }
    Ok(())
}

async fn promote(shared: &Shared) -> DbResult<()> {
    let mut tx = shared.db.begin().await?;
    let promoted = tx.promote_due_jobs().await?;
    tx.commit().await?;
    if promoted > 0 {
        for kind in JobKind::ALL {
            shared.wake_word(kind.as_str());
        }
    }
    Ok(())
}

/// `leader`: whoever holds the lease sweeps dead runs, ticks schedules and prunes what is finished.
pub(crate) async fn leader(
    shared: Arc<Shared>,
    schedules: Arc<Vec<Schedule>>,
    context: Context,
) -> Result<(), BoxError> {
    let mut leading = false;
    let mut offered = HashMap::new();
    let mut renewed = tokio::time::Instant::now() - BEAT;
    while !context.is_stopping() {
        if renewed.elapsed() >= BEAT {
            renewed = tokio::time::Instant::now();
            leading = match lead(&shared).await {
                Ok(leading) => leading,
                Err(error) => {
                    tracing::warn!(%error, "leadership cannot be renewed now");
                    false
                }
            };
            metrics::gauge!("publaryn_node_leader").set(if leading { 1.0 } else { 0.0 });
            if leading && let Err(error) = sweep(&shared).await {
                tracing::warn!(%error, "stale jobs cannot be swept now");
            }
        }
        if leading && let Err(error) = tick(&shared, &schedules, &mut offered).await {
            tracing::warn!(%error, "schedules cannot be ticked now");
        }
        tokio::select! {
            () = tokio::time::sleep(TICK) => {}
            () = context.stopping() => {}
        }
    }
    if leading {
        let mut tx = shared.db.begin().await?;
        tx.resign(&shared.node, shared.incarnation()).await?;
        tx.commit().await?;
    }
    Ok(())
}

async fn lead(shared: &Shared) -> DbResult<bool> {
    let mut tx = shared.db.begin().await?;
    let since = tx.lead(&shared.node, shared.incarnation(), LEADER_TTL).await?;
    tx.commit().await?;
    Ok(since.is_some())
}

async fn sweep(shared: &Shared) -> DbResult<()> {
    let mut tx = shared.db.begin().await?;
    let (from_nodes, from_leases) = tx.sweep_runs(shared.options.node_timeout, true).await?;
    tx.fold_job_counts().await?;
    tx.commit().await?;
    for (cause, jobs) in [("node_dead", from_nodes.len()), ("lease_expired", from_leases.len())] {
        if jobs > 0 {
            tracing::warn!(cause, jobs, "jobs of dead runs are taken up again");
            metrics::counter!("publaryn_jobs_recovered_total", "cause" => cause).increment(jobs as u64);
        }
    }
    Ok(())
}

/// Enqueues what is due. A tick that this process already offered is not offered again.
async fn tick(shared: &Shared, schedules: &[Schedule], offered: &mut HashMap<&'static str, Timestamp>) -> DbResult<()> {
    let now = Timestamp::now();
    for schedule in schedules {
        let (tick, next) = schedule.around(now);
        if offered.get(schedule.name) == Some(&tick) {
            continue;
        }
        let job = NewJob::new(schedule.kind, &serde_json::json!({})).unique("all".into());
        let mut tx = shared.db.begin().await?;
        tx.put_schedule(schedule.name, &schedule.pattern(), schedule.kind, tick, next).await?;
        tx.take_tick(schedule.name, &job, tick, next).await?;
        tx.commit().await?;
        offered.insert(schedule.name, tick);
    }
    Ok(())
}

/// The `prune_jobs` job: deletes finished jobs past their time, a batch at a time.
pub struct PruneJobs {
    pub db: Db,
    pub keep_completed: Duration,
    pub keep_dead: Duration,
}

#[async_trait::async_trait]
impl Handler for PruneJobs {
    fn kind(&self) -> JobKind {
        JobKind::PruneJobs
    }

    async fn run(&self, job: &JobContext) -> Result<Outcome, JobError> {
        let mut gone = 0;
        for (state, keep) in [(JobState::Completed, self.keep_completed), (JobState::Dead, self.keep_dead)] {
            loop {
                let mut tx = self.db.begin().await?;
                let batch = tx.prune_jobs(state, keep, PRUNE).await?;
                tx.commit().await?;
                gone += batch;
                if batch < PRUNE.unsigned_abs() {
                    break;
                }
                job.progress(gone, None).await?;
            }
        }
        Ok(Outcome::Done)
    }
}

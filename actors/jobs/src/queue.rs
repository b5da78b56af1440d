//! `queue.<kind>`: claims jobs of one kind as its workers come free, and runs them.
//!
//! The database is the queue: never more is claimed than can start now. A worker's panic is that
//! job's failure; a worker extends its lease from the task that runs the handler, so a stuck handler
//! stops extending and loses the job.

use std::{sync::Arc, time::Duration};

use publaryn_actors::{Context, Crash, Slots};
use publaryn_core::{BoxError, Timestamp, job::DeadReason, job::JobKind};
use publaryn_metadata::jobs::{ClaimRequest, ClaimedJob, JobEnd, Transition};
use rand::Rng;
use serde_json::json;

use crate::{Handler, JobContext, JobError, KindLimits, Outcome, engine::Shared};

/// Leases are extended this often.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// Owners looked into per claim, beyond the jobs wanted.
const PARTITIONS: i64 = 64;
/// How long a cancelled handler may take to stop by itself.
const STOP_WITHIN: Duration = Duration::from_secs(10);

pub(crate) async fn serve(
    shared: Arc<Shared>,
    handler: Arc<dyn Handler>,
    limits: KindLimits,
    context: Context,
) -> Result<(), BoxError> {
    let kind = handler.kind();
    let slots = Arc::new(context.slots(limits.concurrency));
    let wake = shared.wake(kind);
    let mut after_partition = String::new();
    while !context.is_stopping() {
        let free = slots.free();
        let claimed = if free == 0 || shared.is_paused(kind) {
            Vec::new()
        } else {
            let started = std::time::Instant::now();
            match claim(&shared, kind, &limits, free, &after_partition).await {
                Ok(claimed) => {
                    metrics::histogram!("publaryn_job_claim_seconds").record(started.elapsed());
                    claimed
                }
                Err(error) => {
                    tracing::warn!(%error, job.kind = %kind, "jobs cannot be claimed now");
                    tokio::time::sleep(Duration::from_millis(250)).await;
                    Vec::new()
                }
            }
        };
        let got = claimed.len();
        for job in claimed {
            after_partition.clone_from(&job.partition);
            start(&shared, &handler, &limits, &slots, job);
        }
        if got > 0 && slots.free() > 0 {
            continue;
        }
        // Owners after the last one had nothing: begin with the first again before resting.
        if got == 0 && free > 0 && !after_partition.is_empty() {
            after_partition.clear();
            continue;
        }
        tokio::select! {
            () = wake.notified() => {}
            () = context.stopping() => {}
            () = tokio::time::sleep(shared.options.poll_interval) => {}
        }
    }
    // Handlers were told to stop; what does not end is given back by `run`.
    let deadline = tokio::time::Instant::now() + STOP_WITHIN;
    while slots.free() < limits.concurrency && tokio::time::Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Ok(())
}

async fn claim(
    shared: &Shared,
    kind: JobKind,
    limits: &KindLimits,
    free: usize,
    after: &str,
) -> publaryn_metadata::DbResult<Vec<ClaimedJob>> {
    let mut tx = shared.db.begin().await?;
    let claimed = tx
        .claim_jobs(&ClaimRequest {
            kind,
            limit: i64::try_from(free).unwrap_or(i64::MAX),
            node_id: &shared.node,
            incarnation: shared.incarnation(),
            lease: shared.options.lease,
            max_attempts: limits.max_attempts,
            after_partition: after,
            partitions: PARTITIONS + i64::try_from(free).unwrap_or(0),
        })
        .await?;
    if claimed.is_empty() { tx.rollback().await? } else { tx.commit().await? }
    Ok(claimed)
}

fn start(shared: &Arc<Shared>, handler: &Arc<dyn Handler>, limits: &KindLimits, slots: &Arc<Slots>, job: ClaimedJob) {
    let (shared, handler, timeout) = (shared.clone(), handler.clone(), limits.timeout);
    let cancelled = shared.stopping.child_token();
    shared.running.insert(job.id, cancelled.clone());
    let kind = job.kind;
    let context = Arc::new(JobContext { db: shared.db.clone(), node: shared.node.clone(), job, cancelled });
    let waited = context.job.started_at.since(context.job.scheduled_at);
    metrics::histogram!("publaryn_jobs_wait_seconds", "kind" => kind.as_str()).record(waited);
    let state = json!({ "job_id": context.id(), "kind": kind.as_str() });
    let (work_context, wake) = (context.clone(), shared.wake(kind));
    let (work_shared, done_shared) = (shared.clone(), shared);
    let work = async move { run(&work_shared, &*handler, &work_context, timeout).await };
    let started = slots.start(state, work, move |outcome: Result<Option<JobEnd>, Crash>| {
        let end = outcome.unwrap_or_else(|crash| Some(JobEnd::Crashed { error: crash.0, delay: backoff(context.attempt()) }));
        done_shared.running.remove(&context.id());
        let run_time = Timestamp::now().since(context.job.started_at);
        metrics::histogram!("publaryn_jobs_run_seconds", "kind" => kind.as_str()).record(run_time);
        wake.notify_one();
        let Some(end) = end else { return };
        let transition = Transition::new(&context.facts(), end, Timestamp::now());
        let sender = done_shared.acks.sender.clone();
        tokio::spawn(async move {
            // A closed mailbox means the server ends; the lease runs out and the job runs again.
            let _ = sender.send(transition).await;
        });
    });
    if !started {
        tracing::error!(job.kind = %kind, "a claimed job found no worker; its lease will run out");
    }
}

/// Runs a handler to its end, its timeout, its cancellation or the loss of its lease. `None`: nothing to store.
async fn run(shared: &Shared, handler: &dyn Handler, job: &JobContext, timeout: Duration) -> Option<JobEnd> {
    let mut work = std::pin::pin!(handler.run(job));
    let mut heartbeat = tokio::time::interval_at(tokio::time::Instant::now() + HEARTBEAT, HEARTBEAT);
    let deadline = tokio::time::sleep(timeout);
    let mut deadline = std::pin::pin!(deadline);
    let mut forced = std::pin::pin!(async {
        job.cancelled.cancelled().await;
        tokio::time::sleep(STOP_WITHIN / 2).await;
    });
    let outcome = loop {
        tokio::select! {
            outcome = &mut work => break outcome,
            () = &mut deadline => {
                let error = format!("timed out after {} s", timeout.as_secs());
                return Some(JobEnd::Failed { error, delay: backoff(job.attempt()) });
            }
            () = &mut forced => return Some(interrupted(shared)),
            _ = heartbeat.tick() => match extend(shared, job).await {
                Ok(true) => {}
                Ok(false) => {
                    metrics::counter!("publaryn_jobs_lease_lost_total", "kind" => job.job.kind.as_str()).increment(1);
                    return None;
                }
                // The database is away; the lease is longer than two heartbeats.
                Err(error) => tracing::warn!(%error, "a lease could not be extended"),
            },
        }
    };
    Some(match outcome {
        Ok(Outcome::Done) => JobEnd::Completed,
        Ok(Outcome::Committed) | Err(JobError::LeaseLost) => return None,
        Ok(Outcome::RetryAfter(delay)) => JobEnd::Failed { error: "asked to run again later".into(), delay },
        Ok(Outcome::Snooze(delay)) => JobEnd::Snoozed { delay },
        Err(_) if job.cancelled.is_cancelled() => interrupted(shared),
        Err(JobError::Retry(error)) => {
            let error = chain(&*error);
            tracing::warn!(job.kind = %job.job.kind, job.id = %job.id(), job.attempt = job.attempt(), error, "job failed");
            JobEnd::Failed { error, delay: backoff(job.attempt()) }
        }
        Err(JobError::Permanent(error)) => {
            let error = chain(&*error);
            tracing::error!(job.kind = %job.job.kind, job.id = %job.id(), error, "job failed for good");
            JobEnd::Dead { error, reason: DeadReason::Permanent }
        }
    })
}

/// A draining server gives the attempt back; an operator's cancel ends the job.
fn interrupted(shared: &Shared) -> JobEnd {
    if shared.stopping.is_cancelled() {
        JobEnd::Interrupted
    } else {
        JobEnd::Dead { error: "cancelled by an operator".into(), reason: DeadReason::Cancelled }
    }
}

async fn extend(shared: &Shared, job: &JobContext) -> publaryn_metadata::DbResult<bool> {
    let mut tx = shared.db.begin().await?;
    let held = tx.extend_leases(&[(job.job.id, job.job.lease_id)], shared.options.lease).await?;
    tx.commit().await?;
    if held.iter().any(|(_, cancel)| *cancel) {
        job.cancelled.cancel();
    }
    Ok(!held.is_empty())
}

/// 10, 20, 40, 80 s … up to an hour, ± 20 % (jobs.md §3).
fn backoff(attempt: i64) -> Duration {
    let exponent = u32::try_from((attempt - 1).clamp(0, 12)).unwrap_or(12);
    let seconds = (10_u64 << exponent).min(3600);
    Duration::from_secs_f64(seconds as f64 * rand::rng().random_range(0.8..=1.2))
}

fn chain(error: &(dyn std::error::Error + Send + Sync)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

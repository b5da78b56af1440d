//! Stores the ends of runs and extends leases, in batches of at most 20 ms or 100 jobs.
//!
//! Owns nothing: ends wait in the engine until they are committed, so its crash loses none. Their number
//! is bounded because queues stop claiming when too many wait.

use std::{
    collections::HashMap,
    sync::{Arc, atomic::Ordering::SeqCst},
    time::{Duration, Instant},
};

use publaryn_actors::{ChildSpec, Context};
use publaryn_core::{BoxError, JobId, job::JobState};
use publaryn_metadata::{DbResult, jobs::Finished};

use crate::engine::{Engine, PendingEnd, StopReason};

const GATHER: Duration = Duration::from_millis(20);
const ENOUGH: usize = 100;
/// Ends per statement.
const BATCH: usize = 500;
const FOLD_EVERY: Duration = Duration::from_secs(1);

pub(crate) fn service(engine: Arc<Engine>) -> ChildSpec {
    ChildSpec::service("acks", move |context| serve(engine.clone(), context))
}

async fn serve(engine: Arc<Engine>, context: Context) -> Result<(), BoxError> {
    let mut folding = tokio::time::interval(FOLD_EVERY);
    folding.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut failures = 0_u32;
    loop {
        let is_waiting = engine.ends_waiting() > 0 || engine.has_extensions();
        if !is_waiting && context.is_stopping() {
            return Ok(());
        }
        if !is_waiting {
            tokio::select! {
                () = engine.ends_ready.notified() => {}
                _ = folding.tick() => fold(&engine).await,
                () = context.stopping() => {}
            }
            continue;
        }
        gather(&engine, &context).await;
        let began = Instant::now();
        match flush(&engine, failures >= 3).await {
            Ok(()) => {
                failures = 0;
                metrics::histogram!("publaryn_job_ack_seconds").record(began.elapsed().as_secs_f64());
            }
            Err(error) => {
                failures += 1;
                engine.note_outage();
                tracing::warn!(%error, waiting = engine.ends_waiting(), "storing results failed; trying again");
                let pause = Duration::from_millis(100).saturating_mul(1 << failures.min(5));
                tokio::time::sleep(pause).await;
            }
        }
        context.worked(began);
        context.set_state(serde_json::json!({"waiting": engine.ends_waiting()}));
    }
}

/// Waits for company: many jobs share one commit.
async fn gather(engine: &Engine, context: &Context) {
    let until = tokio::time::Instant::now() + GATHER;
    while engine.ends_waiting() < ENOUGH && !context.is_stopping() {
        tokio::select! {
            () = engine.ends_ready.notified() => {}
            () = tokio::time::sleep_until(until) => return,
        }
    }
}

/// Stores the next batch. `singly` isolates an end that keeps the others from being stored.
async fn flush(engine: &Engine, singly: bool) -> DbResult<()> {
    let ends = engine.first_ends(if singly { 1 } else { BATCH });
    let extensions = engine.take_extensions();
    let stored = store(engine, &ends, &extensions).await;
    let (finished, extended) = match stored {
        Ok(stored) => stored,
        Err(error) => {
            engine.return_extensions(extensions);
            return Err(error);
        }
    };
    engine.forget_ends(ends.len());
    engine.counts_changed.store(true, SeqCst);
    let finished: HashMap<JobId, Finished> = finished.into_iter().map(|f| (f.id, f)).collect();
    for end in ends {
        tell(engine, &end, finished.get(&end.running.facts.id));
    }
    for (job, lease) in extensions {
        let Some(running) = engine.running.get(&job).filter(|r| r.facts.lease_id == lease).map(|r| r.clone()) else {
            continue; // it ended meanwhile
        };
        match extended.get(&job) {
            Some(false) => {}
            Some(true) => running.told.cancel(),
            None => running.stop_now(StopReason::LeaseLost),
        }
    }
    Ok(())
}

type Stored = (Vec<Finished>, HashMap<JobId, bool>);

async fn store(
    engine: &Engine,
    ends: &[PendingEnd],
    extensions: &[(JobId, publaryn_core::LeaseId)],
) -> DbResult<Stored> {
    let transitions: Vec<_> = ends.iter().map(|end| end.transition.clone()).collect();
    let (db, extensions, lease) = (engine.db.clone(), extensions.to_vec(), engine.options.lease);
    let stored = async move {
        let mut tx = db.begin().await?;
        let finished = if transitions.is_empty() { Vec::new() } else { tx.finish_batch(&transitions).await? };
        let extended = match extensions.is_empty() {
            true => HashMap::new(),
            false => tx.extend_leases(&extensions, lease).await?.into_iter().collect(),
        };
        tx.commit().await?;
        Ok((finished, extended))
    };
    engine.db.beside_writer(stored).await
}

/// One end is stored, or was void because its lease was lost.
fn tell(engine: &Engine, end: &PendingEnd, finished: Option<&Finished>) {
    let kind = end.running.kind.as_str();
    engine.forget_run(&end.running);
    let Some(finished) = finished else {
        tracing::warn!(job.id = %end.running.facts.id, job.kind = kind, "a run lost its lease; its result is void");
        metrics::counter!("publaryn_jobs_lease_lost_total", "kind" => kind).increment(1);
        return;
    };
    let outcome = match finished.state {
        JobState::Dead => "dead",
        JobState::Completed => "completed",
        _ if end.outcome == "crashed" => "failed",
        _ => end.outcome,
    };
    metrics::counter!("publaryn_jobs_finished_total", "kind" => kind, "outcome" => outcome).increment(1);
    if let Some(reason) = finished.dead_reason {
        metrics::counter!("publaryn_jobs_dead_total", "kind" => kind, "reason" => reason.as_str()).increment(1);
        let error = end.error.as_deref().unwrap_or_default();
        tracing::error!(job.id = %finished.id, job.kind = kind, reason = %reason, error, "job is dead");
    } else if let Some(error) = &end.error {
        let attempt = end.running.facts.attempts;
        tracing::warn!(job.id = %finished.id, job.kind = kind, job.attempt = attempt, error, "job failed, will run again");
    }
    engine.event(&end.running, finished.state, Some(JobState::Running), end.error.clone());
}

/// Folds the counters of whatever happened here; an idle node does nothing.
async fn fold(engine: &Engine) {
    if !engine.counts_changed.swap(false, SeqCst) {
        return;
    }
    let folded = async {
        let mut tx = engine.db.begin().await?;
        let folded = tx.fold_job_counts().await?;
        tx.commit().await?;
        DbResult::Ok(folded)
    };
    match folded.await {
        Ok(folded) if folded >= 5000 => engine.counts_changed.store(true, SeqCst),
        Ok(_) => {}
        Err(error) => {
            engine.counts_changed.store(true, SeqCst);
            tracing::debug!(%error, "folding job counters failed");
        }
    }
}

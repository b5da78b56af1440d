//! Doing a job before the commit that makes it known.
//!
//! A job that takes less time than its own bookkeeping (a claim, a completion, each with a sync of its own) is
//! done by whoever is about to enqueue it and enters the table completed, together with its effect. Nothing else
//! changes: it is bounded as the queue is, listed and counted like any job, and whatever keeps the queue from
//! running it (a pause, a drain, an injected fault, a node without workers) sends it the usual way.

use std::{
    sync::{Arc, Mutex, atomic::Ordering::SeqCst},
    time::Instant,
};

use publaryn_core::{JobId, Timestamp, job::JobKind};
use publaryn_metadata::{
    DbResult, Tx,
    jobs::{DoneAhead, NewJob},
};
use smol_str::SmolStr;
use tokio::sync::OwnedSemaphorePermit;

use crate::{
    Jobs,
    engine::{Engine, Queue, lock},
};

/// Leave to do one job now.
pub struct Ahead {
    engine: Arc<Engine>,
    queue: Arc<Queue>,
    started_at: Timestamp,
    began: Instant,
    permit: Option<OwnedSemaphorePermit>,
    /// What it was last entered as; a transaction that lost a deadlock enters it again.
    entered: Mutex<Option<(JobId, SmolStr)>>,
}

impl Jobs {
    /// Leave to do a job of `kind` ahead, as soon as fewer than its concurrency are done so; `None` when it
    /// is to take the way through the queue.
    pub async fn ahead(&self, kind: JobKind) -> Option<Ahead> {
        let queue = self.0.queues.get(&kind)?;
        let may_run = || {
            let engine = &self.0;
            let is_held = queue.is_paused.load(SeqCst) || engine.is_superseded.load(SeqCst);
            !is_held && !engine.draining.is_cancelled() && !engine.faults.contains_key(&kind)
        };
        if !may_run() {
            return None;
        }
        let permit = queue.ahead.clone().acquire_owned().await.ok()?;
        // It may have waited for long.
        may_run().then(|| Ahead {
            engine: self.0.clone(),
            queue: queue.clone(),
            started_at: Timestamp::now(),
            began: Instant::now(),
            permit: Some(permit),
            entered: Mutex::default(),
        })
    }
}

impl Ahead {
    /// The work itself is over: somebody else may begin.
    pub fn worked(&mut self) {
        if self.permit.take().is_some() {
            self.queue.recorder.ran(self.began.elapsed(), false);
        }
    }

    /// Enters the job, completed, with the commit of its effect.
    pub async fn enqueue_in(&self, tx: &mut Tx, job: &NewJob) -> DbResult<()> {
        let done = DoneAhead { node_id: &self.engine.options.node_id, started_at: self.started_at };
        let id = tx.enqueue_done(job, &done, Timestamp::now()).await?;
        *lock(&self.entered) = Some((id, job.partition.as_deref().unwrap_or_default().into()));
        Ok(())
    }

    /// Counts and announces the job once it is committed.
    pub fn committed(&self) {
        self.engine.counts_changed.store(true, SeqCst);
        if let Some((id, partition)) = lock(&self.entered).take() {
            self.engine.event_done(id, self.queue.kind, partition);
        }
        let kind = self.queue.kind.as_str();
        metrics::counter!("publaryn_jobs_enqueued_total", "kind" => kind).increment(1);
        metrics::counter!("publaryn_jobs_finished_total", "kind" => kind, "outcome" => "completed").increment(1);
        metrics::histogram!("publaryn_jobs_run_seconds", "kind" => kind).record(self.began.elapsed().as_secs_f64());
    }
}

//! What a job does: the handler trait and what a running job may ask of the engine.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use async_trait::async_trait;
use publaryn_core::{BoxError, JobId, Timestamp, job::JobKind};
use publaryn_metadata::{
    Tx,
    jobs::{JobEnd, Transition},
};
use serde::de::DeserializeOwned;
use tokio::sync::Mutex;

use crate::{engine::Running, queue::Run};

/// Stored progress is at most this frequent; reports in between only show that the job is alive.
const PROGRESS_EVERY: Duration = Duration::from_secs(1);

/// Runs jobs of one kind. Running one twice must leave the same state as once (J4).
#[async_trait]
pub trait Handler: Send + Sync + 'static {
    fn kind(&self) -> JobKind;
    async fn run(&self, job: &JobContext) -> Result<Outcome, JobError>;
}

/// How a run ended well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    Done,
    /// Completed by [`JobContext::complete_in`], together with its effects.
    Committed,
    /// Not possible now; counts as an attempt, runs again after this time.
    RetryAfter(Duration),
    /// Not its time yet; uses no attempt.
    Snooze(Duration),
}

#[derive(Debug, thiserror::Error)]
pub enum JobError {
    /// May work next time.
    #[error("{0}")]
    Retry(#[source] BoxError),
    /// Will never work; the job is dead.
    #[error("{0}")]
    Permanent(#[source] BoxError),
    /// Another worker has the job, or it was cancelled for good; whatever this run does is void.
    #[error("the job's lease is lost")]
    LeaseLost,
}

impl JobError {
    pub fn retry(error: impl Into<BoxError>) -> Self {
        Self::Retry(error.into())
    }
    pub fn permanent(error: impl Into<BoxError>) -> Self {
        Self::Permanent(error.into())
    }
}

/// One run of one job.
pub struct JobContext {
    pub(crate) run: Arc<Run>,
    pub(crate) is_committed: AtomicBool,
    pub(crate) reported: Mutex<Option<Instant>>,
}

impl JobContext {
    pub(crate) fn new(run: Arc<Run>) -> Self {
        Self { run, is_committed: AtomicBool::new(false), reported: Mutex::new(None) }
    }

    fn running(&self) -> &Running {
        &self.run.running
    }

    pub fn id(&self) -> JobId {
        self.running().facts.id
    }

    pub fn kind(&self) -> JobKind {
        self.running().kind
    }

    /// From 1.
    pub fn attempt(&self) -> i64 {
        self.running().facts.attempts
    }

    /// Another failure would be the last.
    pub fn is_last_attempt(&self) -> bool {
        self.running().facts.attempts >= self.running().facts.max_attempts
    }

    pub fn request_id(&self) -> Option<&str> {
        self.run.request_id.as_deref()
    }

    /// # Errors
    /// `Permanent`: a payload this version cannot read will not become readable.
    pub fn payload<T: DeserializeOwned>(&self) -> Result<T, JobError> {
        serde_json::from_str(&self.run.payload).map_err(JobError::permanent)
    }

    /// Completes when an operator cancelled the job or the node wants it back: stop soon.
    pub async fn cancelled(&self) {
        self.running().told.cancelled().await;
    }

    pub fn is_cancelled(&self) -> bool {
        self.running().told.is_cancelled()
    }

    /// True once the job was cancelled or its node drains. A run that may take minutes asks now and then,
    /// and returns [`Outcome::Snooze`] with no delay: it goes on elsewhere, or after the restart, and the
    /// shutdown does not wait for it.
    pub fn should_stop(&self) -> bool {
        self.is_cancelled() || self.run.engine.draining.is_cancelled()
    }

    /// Ends the job inside `tx`, so that its effects and its completion commit together (J3).
    /// Return [`Outcome::Committed`] after committing.
    ///
    /// # Errors
    /// `LeaseLost` when another run has taken over: roll back.
    pub async fn complete_in(&self, tx: &mut Tx) -> Result<(), JobError> {
        let end = Transition::new(&self.running().facts, JobEnd::Completed, Timestamp::now());
        if tx.finish_jobs(&[end]).await.map_err(JobError::retry)?.is_empty() {
            return Err(JobError::LeaseLost);
        }
        self.is_committed.store(true, SeqCst);
        Ok(())
    }

    /// Reports how far the job is; shown to operators.
    ///
    /// # Errors
    /// `LeaseLost`: stop, somebody else runs it.
    pub async fn progress(&self, done: u64, total: Option<u64>) -> Result<(), JobError> {
        self.progress_with(done, total, None).await
    }

    /// As [`progress`](Self::progress), with words.
    pub async fn progress_with(&self, done: u64, total: Option<u64>, note: Option<&str>) -> Result<(), JobError> {
        let mut reported = self.reported.lock().await;
        if reported.is_some_and(|at| at.elapsed() < PROGRESS_EVERY) {
            return Ok(());
        }
        *reported = Some(Instant::now());
        let db = &self.run.engine.db;
        let number = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
        let facts = &self.running().facts;
        let mut tx = db.begin().await.map_err(JobError::retry)?;
        let held = tx
            .store_progress(facts.id, facts.lease_id, number(done), total.map(number), note)
            .await
            .map_err(JobError::retry)?;
        tx.commit().await.map_err(JobError::retry)?;
        self.run.engine.event_progress(self.running(), done, total);
        if held { Ok(()) } else { Err(JobError::LeaseLost) }
    }
}

//! What a kind of job does, and what it may ask of the queue while it runs.

use std::sync::Arc;

use publaryn_core::{BoxError, JobId, job::JobKind};
use publaryn_metadata::{
    Db, DbError, Tx,
    jobs::{ClaimedJob, JobEnd, RunFacts, Transition},
};
use serde::de::DeserializeOwned;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// One kind of job. Running it twice must leave the same state as once (J4).
#[async_trait::async_trait]
pub trait Handler: Send + Sync + 'static {
    fn kind(&self) -> JobKind;
    async fn run(&self, job: &JobContext) -> Result<Outcome, JobError>;
}

/// How a run ended well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    Done,
    /// The handler's own transaction completed the job ([`JobContext::complete_in`]).
    Committed,
    /// Runs again after the delay; the attempt counts.
    RetryAfter(Duration),
    /// Runs again after the delay; no attempt is used.
    Snooze(Duration),
}

/// Why a run failed.
#[derive(Debug, thiserror::Error)]
pub enum JobError {
    /// Worth another attempt.
    #[error("{0}")]
    Retry(BoxError),
    /// No attempt will ever succeed.
    #[error("{0}")]
    Permanent(BoxError),
    /// Another worker has the job now; whatever this one did must not be stored.
    #[error("the lease was lost")]
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

impl From<DbError> for JobError {
    fn from(error: DbError) -> Self {
        Self::retry(error)
    }
}

/// A running job under its lease.
pub struct JobContext {
    pub(crate) db: Db,
    pub(crate) job: ClaimedJob,
    pub(crate) node: Arc<str>,
    pub(crate) cancelled: CancellationToken,
}

impl JobContext {
    pub fn id(&self) -> JobId {
        self.job.id
    }
    /// 1 for the first.
    pub fn attempt(&self) -> i64 {
        self.job.attempts
    }

    /// The ids this job is about.
    ///
    /// # Errors
    /// `Permanent` when the payload is not of this shape: no attempt would change that.
    pub fn payload<T: DeserializeOwned>(&self) -> Result<T, JobError> {
        serde_json::from_str(&self.job.payload).map_err(JobError::permanent)
    }

    /// Stores progress for people to see.
    ///
    /// # Errors
    /// `LeaseLost` when another worker has the job.
    pub async fn progress(&self, done: u64, total: Option<u64>) -> Result<(), JobError> {
        let number = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
        let mut tx = self.db.begin().await?;
        let held =
            tx.store_progress(self.job.id, self.job.lease_id, number(done), total.map(number), None).await?;
        tx.commit().await?;
        if held { Ok(()) } else { Err(JobError::LeaseLost) }
    }

    /// An operator wants it stopped, or the server drains: finish early if you can.
    pub fn cancelled(&self) -> &CancellationToken {
        &self.cancelled
    }

    /// Completes the job in the handler's own transaction, if the lease still holds (J3).
    pub async fn complete_in(&self, tx: &mut Tx) -> Result<(), JobError> {
        let done = Transition::new(&self.facts(), JobEnd::Completed, publaryn_core::Timestamp::now());
        if tx.finish_jobs(&[done]).await?.is_empty() { Err(JobError::LeaseLost) } else { Ok(()) }
    }

    pub(crate) fn facts(&self) -> RunFacts {
        RunFacts {
            id: self.job.id,
            lease_id: self.job.lease_id,
            attempts: self.job.attempts,
            max_attempts: self.job.max_attempts,
            crashes: self.job.crashes,
            attempts_log: self.job.attempts_log.clone(),
            started_at: self.job.started_at,
            node_id: self.node.to_string(),
            cancel_requested: false,
        }
    }
}

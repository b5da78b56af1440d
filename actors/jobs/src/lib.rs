//! PLACEHOLDER until branch `actors` lands: only the signatures that the publish pipeline calls.

use publaryn_core::{BoxError, job::JobKind};
use publaryn_metadata::Tx;

pub struct JobContext(());

#[derive(Debug)]
pub enum Outcome {
    Done,
    Committed,
}

#[derive(Debug, thiserror::Error)]
pub enum JobError {
    #[error("{0}")]
    Retry(BoxError),
    #[error("{0}")]
    Permanent(BoxError),
}

impl JobError {
    pub fn retry(error: impl Into<BoxError>) -> Self {
        Self::Retry(error.into())
    }
    pub fn permanent(error: impl Into<BoxError>) -> Self {
        Self::Permanent(error.into())
    }
}

#[async_trait::async_trait]
pub trait Handler: Send + Sync + 'static {
    fn kind(&self) -> JobKind;
    async fn run(&self, job: &JobContext) -> Result<Outcome, JobError>;
}

impl JobContext {
    pub fn payload<T: serde::de::DeserializeOwned>(&self) -> Result<T, JobError> {
        Err(JobError::permanent("placeholder"))
    }
    pub async fn complete_in(&self, _tx: &mut Tx) -> Result<(), JobError> {
        Ok(())
    }
    pub async fn progress(&self, _done: u64, _total: Option<u64>) -> Result<(), JobError> {
        Ok(())
    }
}

//! PLACEHOLDER until branch `actors` lands: only the signatures that the publish pipeline calls.
//! The owner of the job queue replaces this file wholesale (and adapts names where theirs are better).

use publaryn_core::{JobId, job::JobKind};
use serde_json::Value;

use crate::{DbResult, Tx};

#[derive(Debug, Clone)]
pub struct NewJob {
    pub kind: JobKind,
    pub payload: Value,
    pub unique_key: Option<String>,
    pub partition: Option<String>,
}

impl NewJob {
    pub fn new(kind: JobKind, payload: &Value) -> Self {
        Self { kind, payload: payload.clone(), unique_key: None, partition: None }
    }
    pub fn unique(mut self, key: String) -> Self {
        self.unique_key = Some(key);
        self
    }
    pub fn partition(mut self, owner: String) -> Self {
        self.partition = Some(owner);
        self
    }
}

#[derive(Debug, Clone, Copy)]
pub enum JobState {
    Pending,
    Dead,
}
impl JobState {
    pub fn is_terminal(self) -> bool {
        matches!(self, Self::Dead)
    }
}

#[derive(Debug)]
pub struct LatestJob {
    pub id: JobId,
    pub state: JobState,
    pub last_error: Option<String>,
}

impl Tx {
    pub async fn enqueue(&mut self, job: &NewJob) -> DbResult<()> {
        let kind = job.kind.as_str().into();
        self.notice().job_kinds.push(kind);
        Ok(())
    }
    /// The newest job of a kind with that unique key, in any state.
    pub async fn latest_job(&mut self, _kind: JobKind, _unique_key: &str) -> DbResult<Option<LatestJob>> {
        Ok(None)
    }
}

//! Jobs that are done before they are enqueued.

use publaryn_core::{JobId, Timestamp, job::JobState};

use super::{Attempt, NewJob};
use crate::{DbResult, Tx};

/// Who did the job, and since when.
#[derive(Debug, Clone, Copy)]
pub struct DoneAhead<'a> {
    pub node_id: &'a str,
    pub started_at: Timestamp,
}

impl Tx {
    /// Adds a job that is completed already: its cause and its effect commit together, so nothing is left
    /// to claim. Its unique key must be one that no other job has or will have.
    pub async fn enqueue_done(&mut self, job: &NewJob, done: &DoneAhead<'_>, now: Timestamp) -> DbResult<JobId> {
        const SQL: &str = "INSERT INTO jobs (id, kind, payload, state, previous_state, ready, priority, rank, partition, \
             unique_key, keeps_key, target, attempts, max_attempts, scheduled_at, created_at, started_at, completed_at, \
             attempts_log, enqueued_by, request_id) VALUES ($1, $2, $3, 'completed', 'running', FALSE, $4, $5, $6, $7, $8, \
             $9, 1, $10, $11, $11, $11, $12, $13, $14, $15)";
        let id = JobId::new();
        let attempt = Attempt {
            attempt: 1,
            started_at: done.started_at,
            ended_at: now,
            node: done.node_id.to_owned(),
            outcome: "completed".into(),
            error: None,
        };
        let log = serde_json::to_string(&[attempt])
            .map_err(|source| crate::DbError::Corrupt { what: "attempts log", source })?;
        later!(
            self,
            SQL,
            id,
            job.kind,
            job.payload.to_string(),
            job.priority,
            done.started_at.as_micros() + job.priority * 60_000_000,
            job.partition_or_none().to_owned(),
            job.unique_key.clone(),
            job.kind.defaults().keeps_key_while_running,
            job.target(),
            job.max_attempts,
            done.started_at,
            now,
            log,
            job.enqueued_by.clone(),
            job.request_id.clone(),
        )?;
        self.count_jobs(&[(job.kind.as_str(), JobState::Completed, 1)]).await?;
        Ok(id)
    }
}

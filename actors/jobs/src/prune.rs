//! The `prune_jobs` job: finished jobs, old statistics and nodes long gone are forgotten.

use std::time::Duration;

use async_trait::async_trait;
use publaryn_core::job::{JobKind, JobState};
use publaryn_metadata::Db;

use crate::{Handler, JobContext, JobError, Outcome};

/// Rows per transaction: short enough that nobody waits for it.
const BATCH: i64 = 2000;
const NODES_KEPT: Duration = Duration::from_secs(24 * 3600);

/// Deletes what `retention.jobs_*` no longer keeps. Idempotent: it deletes by age.
pub struct PruneJobs {
    pub db: Db,
    pub keep_completed: Duration,
    pub keep_dead: Duration,
}

#[async_trait]
impl Handler for PruneJobs {
    fn kind(&self) -> JobKind {
        JobKind::PruneJobs
    }

    async fn run(&self, job: &JobContext) -> Result<Outcome, JobError> {
        let mut gone = 0;
        for (state, age) in [(JobState::Completed, self.keep_completed), (JobState::Dead, self.keep_dead)] {
            loop {
                let mut tx = self.db.begin().await.map_err(JobError::retry)?;
                let deleted = tx.prune_jobs(state, age, BATCH).await.map_err(JobError::retry)?;
                tx.commit().await.map_err(JobError::retry)?;
                gone += deleted;
                job.progress(gone, None).await?;
                if deleted < BATCH.unsigned_abs() || job.is_cancelled() {
                    break;
                }
            }
        }
        let mut tx = self.db.begin().await.map_err(JobError::retry)?;
        tx.prune_job_stats().await.map_err(JobError::retry)?;
        tx.prune_nodes(NODES_KEPT).await.map_err(JobError::retry)?;
        tx.commit().await.map_err(JobError::retry)?;
        Ok(Outcome::Done)
    }
}

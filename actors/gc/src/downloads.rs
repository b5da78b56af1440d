//! The `flush_downloads` job: adds what every process noted to the counters of the packages.
//!
//! Each process writes its own sums as notes (`root/storage/downloads`); one job for all of them adds the
//! notes up, so that no two nodes ever wait for each other's packages. The tallies of the instance are folded
//! on the way: they are noted and added up the same way.

use async_trait::async_trait;
use publaryn_core::job::JobKind;
use publaryn_jobs::{Handler, JobContext, JobError, Outcome};
use publaryn_metadata::{Db, downloads::Folded, search_documents::index_job};

/// Notes per transaction.
const BATCH: i64 = 2_000;
/// Packages that one job of the index takes along at the least.
const INDEXED_AT_ONCE: usize = 400;

pub struct FlushDownloads {
    pub db: Db,
}

#[async_trait]
impl Handler for FlushDownloads {
    fn kind(&self) -> JobKind {
        JobKind::FlushDownloads
    }

    async fn run(&self, job: &JobContext) -> Result<Outcome, JobError> {
        let mut summed = 0;
        loop {
            let mut tx = self.db.begin().await.map_err(JobError::retry)?;
            let Folded { notes: downloads, risen } = tx.fold_downloads(BATCH).await.map_err(JobError::retry)?;
            let folded = downloads.max(tx.fold_tallies(BATCH).await.map_err(JobError::retry)?);
            // Search sorts by what the index knows; one job brings up whatever is behind.
            tx.set_behind_index(risen.iter().map(|(package, _)| *package)).await.map_err(JobError::retry)?;
            for (package, owner) in risen.iter().step_by(INDEXED_AT_ONCE) {
                tx.enqueue(&index_job(*package, *owner)).await.map_err(JobError::retry)?;
            }
            tx.commit().await.map_err(JobError::retry)?;
            summed += downloads;
            if folded < BATCH.unsigned_abs() || job.should_stop() {
                return Ok(Outcome::Done);
            }
            job.progress(summed, None).await?;
        }
    }
}

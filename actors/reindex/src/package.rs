//! The `index_package` job: brings the document of one package up to date.

use std::sync::Arc;

use publaryn_core::{
    Clock, PackageId, SystemClock,
    crash::{self, CrashPoint},
    job::JobKind,
};
use publaryn_jobs::{Handler, JobContext, JobError, Outcome};
use publaryn_metadata::{Db, search_documents::SearchRow};
use publaryn_search::{IndexOp, SearchIndex};
use serde::Deserialize;

use crate::{ReindexError, document::index_op};

/// How often a package may change while it is being indexed before the job is put back.
const ROUNDS: usize = 5;

/// Indexes one package.
pub struct IndexPackage {
    pub db: Db,
    pub index: Arc<dyn SearchIndex>,
}

#[derive(Deserialize)]
struct Payload {
    package_id: PackageId,
}

#[async_trait::async_trait]
impl Handler for IndexPackage {
    fn kind(&self) -> JobKind {
        JobKind::IndexPackage
    }

    async fn run(&self, job: &JobContext) -> Result<Outcome, JobError> {
        crash::reached(CrashPoint::IndexStarted);
        let Payload { package_id } = job.payload()?;
        index_package(&self.db, &*self.index, package_id).await?;
        crash::reached(CrashPoint::IndexNoted);
        Ok(Outcome::Done)
    }
}

/// Writes what the row says, then looks whether it still says so.
///
/// Two runs for one package may cross: the one that read first may write last, and a removal
/// carries no revision that could stop it. Looking again closes that gap on every back end.
pub(crate) async fn index_package(db: &Db, index: &dyn SearchIndex, package: PackageId) -> Result<(), ReindexError> {
    let mut is_ghost = false;
    for _ in 0..ROUNDS {
        let read_at = SystemClock.now();
        let row = db.search_row(package).await?;
        let op = row.as_ref().map_or(IndexOp::Remove(package), |row| index_op(row, read_at));
        let batch = if is_ghost { vec![IndexOp::Remove(package), op] } else { vec![op] };
        let applied = index.apply(batch).await?;
        crash::reached(CrashPoint::IndexWritten);
        let now = db.search_row(package).await?;
        if !is_same(row.as_ref(), now.as_ref()) {
            is_ghost = false;
            continue;
        }
        if applied.superseded.is_empty() {
            if let Some(row) = now {
                note(db, &[row]).await?;
            }
            return Ok(());
        }
        // The index is ahead of the database, which therefore went back, as after restoring a backup.
        is_ghost = true;
    }
    Err(ReindexError::Restless)
}

/// Notes in the database what the index holds now.
pub(crate) async fn note(db: &Db, rows: &[SearchRow]) -> Result<(), ReindexError> {
    let revisions: Vec<_> = rows.iter().map(|row| (row.id, row.revision)).collect();
    let mut tx = db.begin().await?;
    tx.note_indexed(&revisions).await?;
    tx.commit().await?;
    Ok(())
}

/// Counters move without a change of revision and need no second look.
pub(crate) fn is_same(a: Option<&SearchRow>, b: Option<&SearchRow>) -> bool {
    match (a, b) {
        (Some(a), Some(b)) => *a == SearchRow { download_count: a.download_count, ..b.clone() },
        (None, None) => true,
        _ => false,
    }
}

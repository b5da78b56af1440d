//! The `index_package` job: brings the document of one package up to date.

use std::{collections::HashMap, sync::Arc, time::Duration};

use publaryn_core::{
    Clock, PackageId, SystemClock,
    crash::{self, CrashPoint},
    job::JobKind,
};
use publaryn_jobs::{Handler, JobContext, JobError, Outcome};
use publaryn_metadata::{Db, search_documents::SearchRow};
use publaryn_search::{IndexOp, SearchIndex};
use serde::Deserialize;
use tokio::{sync::Mutex, time::Instant};

use crate::{ReindexError, document::index_op};

/// How often a package may change while it is being indexed before the job is put back.
const ROUNDS: usize = 5;

/// Packages per commit of the index.
pub(crate) const BATCH: i64 = 500;

/// From one commit of the index to the next while packages keep changing: a commit costs as much as
/// several publishes (ADR 0008), and one holds any number of packages.
const PACE: Duration = Duration::from_millis(250);

/// Indexes one package, and with it whatever else is behind: the jobs of those find nothing left to do.
///
/// Behind is what `revision` and `indexed_revision` say: who changes what searches show, moves one of them.
pub struct IndexPackage {
    db: Db,
    index: Arc<dyn SearchIndex>,
    /// Held by who writes; says when the last write ended.
    turn: Mutex<Option<Instant>>,
}

#[derive(Deserialize)]
struct Payload {
    package_id: PackageId,
}

impl IndexPackage {
    pub fn new(db: Db, index: Arc<dyn SearchIndex>) -> Self {
        Self { db, index, turn: Mutex::default() }
    }

    pub(crate) async fn bring_up(&self, package: PackageId) -> Result<(), ReindexError> {
        let mut last = self.turn.lock().await;
        match self.db.is_behind_index(package).await? {
            Some(false) => return Ok(()),
            Some(true) => {}
            None => return index_package(&self.db, &*self.index, package).await,
        }
        if let Some(ended) = *last {
            tokio::time::sleep_until(ended + PACE).await;
        }
        let rows = self.db.search_rows_behind(BATCH).await?;
        let is_among = rows.iter().any(|row| row.id == package);
        let began = Instant::now();
        let written = write_rows(&self.db, &*self.index, rows).await;
        metrics::histogram!("publaryn_publish_stage_seconds", "stage" => "index").record(began.elapsed());
        *last = Some(Instant::now());
        written?;
        match is_among {
            true => Ok(()),
            false => index_package(&self.db, &*self.index, package).await,
        }
    }
}

#[async_trait::async_trait]
impl Handler for IndexPackage {
    fn kind(&self) -> JobKind {
        JobKind::IndexPackage
    }

    async fn run(&self, job: &JobContext) -> Result<Outcome, JobError> {
        crash::reached(CrashPoint::IndexStarted);
        let Payload { package_id } = job.payload()?;
        self.bring_up(package_id).await?;
        crash::reached(CrashPoint::IndexNoted);
        Ok(Outcome::Done)
    }
}

/// Writes many rows in one commit of the index. Those that changed meanwhile, and those that the index
/// refused because it is ahead of a restored database, are looked at once more, one by one.
pub(crate) async fn write_rows(db: &Db, index: &dyn SearchIndex, rows: Vec<SearchRow>) -> Result<(), ReindexError> {
    let read_at = SystemClock.now();
    let applied = index.apply(rows.iter().map(|row| index_op(row, read_at)).collect()).await?;
    crash::reached(CrashPoint::IndexWritten);
    let ids: Vec<PackageId> = rows.iter().map(|row| row.id).collect();
    let now: HashMap<PackageId, SearchRow> =
        db.search_rows_of(&ids).await?.into_iter().map(|row| (row.id, row)).collect();
    let is_settled = |row: &SearchRow| !applied.superseded.contains(&row.id) && is_same(Some(row), now.get(&row.id));
    let (settled, restless): (Vec<_>, Vec<_>) = rows.into_iter().partition(is_settled);
    note(db, &settled).await?;
    for row in restless {
        index_package(db, index, row.id).await?;
    }
    Ok(())
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
async fn note(db: &Db, rows: &[SearchRow]) -> Result<(), ReindexError> {
    let revisions: Vec<_> = rows.iter().map(|row| (row.id, row.revision)).collect();
    let mut tx = db.begin().await?;
    tx.note_indexed(&revisions).await?;
    tx.commit().await?;
    Ok(())
}

/// Counters move without a change of revision and need no second look.
fn is_same(a: Option<&SearchRow>, b: Option<&SearchRow>) -> bool {
    match (a, b) {
        (Some(a), Some(b)) => *a == SearchRow { download_count: a.download_count, ..b.clone() },
        (None, None) => true,
        _ => false,
    }
}

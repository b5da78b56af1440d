//! The `reindex_search` job: writes every package anew, then forgets what is no longer there.
//!
//! Searches go on with what the index holds meanwhile. The position is kept with the index, so a
//! run that was interrupted goes on there, and one whose index was lost starts over.

use std::{sync::Arc, time::Duration};

use publaryn_core::{Clock, PackageId, SystemClock, job::JobKind};
use publaryn_jobs::{Handler, JobContext, JobError, Outcome};
use publaryn_metadata::{Db, jobs::NewJob};
use publaryn_search::{RebuildCursor, RebuildState, SearchIndex};
use serde::Deserialize;

use crate::{
    ReindexError,
    package::{BATCH, index_package, write_rows},
};

/// How far the clocks of two replicas may be apart without a document written by the one being
/// taken for old by the other.
const CLOCK_SKEW: Duration = Duration::from_secs(5);

/// Rebuilds the index, or the document of one package.
pub struct ReindexSearch {
    pub db: Db,
    pub index: Arc<dyn SearchIndex>,
}

#[derive(Deserialize)]
struct Payload {
    package_id: Option<PackageId>,
}

impl ReindexSearch {
    /// For every package, or for one.
    pub fn job(package: Option<PackageId>) -> NewJob {
        let key = package.map_or_else(|| "all".to_owned(), |id| id.to_string());
        NewJob::new(JobKind::ReindexSearch, &serde_json::json!({ "package_id": package })).unique(key)
    }
}

#[async_trait::async_trait]
impl Handler for ReindexSearch {
    fn kind(&self) -> JobKind {
        JobKind::ReindexSearch
    }

    async fn run(&self, job: &JobContext) -> Result<Outcome, JobError> {
        match job.payload::<Payload>()?.package_id {
            Some(package) => index_package(&self.db, &*self.index, package).await?,
            None => {
                let total = self.db.count_packages().await.map_err(JobError::retry)?;
                let mut rebuild = Rebuild::resume(&self.db, &*self.index).await?;
                while rebuild.step().await? {
                    job.progress(rebuild.cursor.done, Some(total)).await?;
                    if job.should_stop() {
                        return Ok(Outcome::Snooze(Duration::ZERO));
                    }
                }
                rebuild.finish().await?;
            }
        }
        Ok(Outcome::Done)
    }
}

/// A full re-index under way.
pub(crate) struct Rebuild<'a> {
    db: &'a Db,
    index: &'a dyn SearchIndex,
    pub cursor: RebuildCursor,
}

impl<'a> Rebuild<'a> {
    /// Goes on with an interrupted run of this index, or begins one.
    pub async fn resume(db: &'a Db, index: &'a dyn SearchIndex) -> Result<Self, ReindexError> {
        let cursor = match index.rebuild_state().await? {
            RebuildState::Running(cursor) => cursor,
            RebuildState::Needed | RebuildState::Complete => {
                RebuildCursor { started_at: SystemClock.now(), after: None, done: 0 }
            }
        };
        Ok(Self { db, index, cursor })
    }

    /// Writes the next page; false when there is none.
    pub async fn step(&mut self) -> Result<bool, ReindexError> {
        let rows = self.db.search_rows(self.cursor.after, BATCH).await?;
        let Some(last) = rows.last().map(|row| row.id) else { return Ok(false) };
        let count = rows.len() as u64;
        write_rows(self.db, self.index, rows).await?;
        self.cursor.after = Some(last);
        self.cursor.done += count;
        self.index.note_rebuild(RebuildState::Running(self.cursor)).await?;
        Ok(true)
    }

    /// Forgets what has no row any more.
    pub async fn finish(self) -> Result<(), ReindexError> {
        self.index.sweep(self.cursor.started_at - CLOCK_SKEW).await?;
        self.index.note_rebuild(RebuildState::Complete).await?;
        tracing::info!(packages = self.cursor.done, "search index rebuilt");
        Ok(())
    }
}

//! The one writer of the embedded index.
//!
//! Made on the first change and dropped when idle: tantivy's writer holds about 15 MB and three
//! threads, too much for a server that is doing nothing.

use std::{collections::HashMap, sync::Arc};

use arc_swap::ArcSwap;
use publaryn_core::{BoxError, PackageId, Timestamp};
use tantivy::{
    DocSet, IndexWriter, Searcher, TERMINATED, TantivyDocument, TantivyError, Term, indexer::LogMergePolicy,
    query::RangeQuery, schema::IndexRecordOption,
};

use super::{
    files::{Files, Opened, State},
    schema::{Fields, REVISION},
};
use crate::{
    RebuildState,
    document::{Applied, IndexOp, resolve},
    write_queue::Write,
};

/// The smallest tantivy accepts; a larger one only pays for bulk loads.
const HEAP_BYTES: usize = 15_000_000;

pub(super) struct Writer {
    files: Files,
    current: Arc<ArcSwap<Opened>>,
    state: State,
    tantivy: Option<IndexWriter<TantivyDocument>>,
}

impl Writer {
    pub fn new(files: Files, current: Arc<ArcSwap<Opened>>, state: State) -> Self {
        Self { files, current, state, tantivy: None }
    }

    pub fn rebuild_state(&self) -> RebuildState {
        self.state.rebuild
    }

    /// Does one write; visible to searches when it returns. Blocks on the disk.
    ///
    /// # Errors
    /// Nothing of the write has happened, or all of it; repeating it is safe. An index that turns
    /// out to be lost is replaced by an empty one that needs a rebuild.
    pub fn act(&mut self, write: Write) -> Result<Applied, BoxError> {
        let done = match write {
            Write::Apply(ops) => self.apply(ops),
            Write::Sweep(run_start) => self.sweep(run_start),
            Write::Clear => self.clear(),
            Write::NoteRebuild(state) => self.note_rebuild(state),
        };
        done.inspect_err(|_| self.recover())
    }

    /// Gives back memory and threads, after the merges under way.
    pub fn rest(&mut self) -> Result<(), BoxError> {
        match self.tantivy.take() {
            Some(writer) => Ok(writer.wait_merging_threads()?),
            None => Ok(()),
        }
    }

    /// Drops a writer whose state is unknown, as after a panic.
    pub fn abandon(&mut self) {
        self.tantivy = None;
    }

    fn apply(&mut self, ops: Vec<IndexOp>) -> Result<Applied, BoxError> {
        let opened = self.current.load_full();
        let held = held_revisions(&opened.reader.searcher(), &opened.fields, &ops)?;
        let resolved = resolve(ops, held);
        if !(resolved.upserts.is_empty() && resolved.removals.is_empty()) {
            let writer = self.writer(&opened)?;
            for id in resolved.removals {
                writer.delete_term(opened.fields.id_term(id));
            }
            for package in &resolved.upserts {
                writer.delete_term(opened.fields.id_term(package.id));
                writer.add_document(opened.fields.document(package))?;
            }
            writer.commit()?;
            opened.reader.reload()?;
        }
        Ok(Applied { superseded: resolved.superseded })
    }

    fn sweep(&mut self, run_start: Timestamp) -> Result<Applied, BoxError> {
        let opened = self.current.load_full();
        let older = std::ops::Bound::Excluded(Term::from_field_i64(opened.fields.read_at, run_start.as_micros()));
        let writer = self.writer(&opened)?;
        writer.delete_query(Box::new(RangeQuery::new(std::ops::Bound::Unbounded, older)))?;
        writer.commit()?;
        opened.reader.reload()?;
        Ok(Applied::default())
    }

    fn clear(&mut self) -> Result<Applied, BoxError> {
        self.save(State::new(RebuildState::Needed))?;
        let opened = self.current.load_full();
        let writer = self.writer(&opened)?;
        writer.delete_all_documents()?;
        writer.commit()?;
        opened.reader.reload()?;
        Ok(Applied::default())
    }

    fn note_rebuild(&mut self, state: RebuildState) -> Result<Applied, BoxError> {
        self.save(State::new(state))?;
        Ok(Applied::default())
    }

    fn save(&mut self, state: State) -> Result<(), BoxError> {
        self.files.save(state)?;
        self.state = state;
        Ok(())
    }

    fn writer(&mut self, opened: &Opened) -> Result<&mut IndexWriter<TantivyDocument>, TantivyError> {
        match self.tantivy {
            Some(ref mut writer) => Ok(writer),
            None => {
                let writer = opened.index.writer_with_num_threads(1, HEAP_BYTES)?;
                writer.set_merge_policy(Box::new(LogMergePolicy::default()));
                Ok(self.tantivy.insert(writer))
            }
        }
    }

    /// After a failure: the next write starts with a fresh writer, on a fresh index if this one is gone.
    fn recover(&mut self) {
        self.abandon();
        if !self.files.is_lost(&self.current.load()) {
            return;
        }
        match self.files.recreate() {
            Ok(opened) => {
                tracing::warn!(path = %self.files.root().display(), "search index was lost, starting over");
                self.current.store(Arc::new(opened));
                self.state = State::new(RebuildState::Needed);
            }
            Err(error) => tracing::warn!(%error, "search index is lost and cannot be replaced"),
        }
    }
}

/// The revisions the index holds of the packages that `ops` would write.
fn held_revisions(
    searcher: &Searcher,
    fields: &Fields,
    ops: &[IndexOp],
) -> Result<HashMap<PackageId, i64>, TantivyError> {
    let mut held = HashMap::new();
    for segment in searcher.segment_readers() {
        let ids = segment.inverted_index(fields.id)?;
        let revisions = segment.fast_fields().i64(REVISION)?;
        for op in ops {
            let IndexOp::Upsert(package) = op else { continue };
            let Some(mut postings) = ids.read_postings(&fields.id_term(package.id), IndexRecordOption::Basic)? else {
                continue;
            };
            let mut doc = postings.doc();
            while doc != TERMINATED {
                if !segment.is_deleted(doc)
                    && let Some(revision) = revisions.first(doc)
                {
                    held.insert(package.id, revision);
                }
                doc = postings.advance();
            }
        }
    }
    Ok(held)
}

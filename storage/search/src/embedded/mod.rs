//! The embedded index: tantivy on the local disk, for servers without Meilisearch.
//!
//! Queries run on blocking threads against memory-mapped segments; writes go through
//! [`WriteQueue`] to a single [`Writer`]. Belongs to one process: tantivy locks the directory.

mod files;
mod ranking;
mod schema;
mod writer;

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use arc_swap::ArcSwap;
use async_trait::async_trait;
use publaryn_core::{BoxError, Clock, PackageId, SystemClock, Timestamp};
use tantivy::{
    DocAddress, Order, Searcher, TantivyError,
    collector::{Collector, Count, TopDocs},
    query::Query,
};
use tokio::sync::Semaphore;
use uuid::Uuid;

use self::{
    files::{Files, Opened},
    schema::{DOWNLOADS, ID, NAME, REVISION, UPDATED_AT},
    writer::Writer,
};
use crate::{
    Applied, Audience, Hit, IndexOp, QUERY_DEADLINE, RebuildState, SearchError, SearchIndex, SearchPage, SearchQuery,
    SearchStatus, Sort, Total, measured,
    write_queue::{Turn, Write, WriteQueue},
};

/// After this long without a write the writer's memory and threads are given back.
const WRITER_IDLE: Duration = Duration::from_secs(10);

const BACKEND: &str = "embedded";

/// The embedded back end.
pub struct EmbeddedIndex {
    current: Arc<ArcSwap<Opened>>,
    /// Only ever locked on blocking threads.
    writer: Arc<Mutex<Writer>>,
    queue: WriteQueue,
    /// Bounds the blocking threads that search at the same time.
    turns: Arc<Semaphore>,
}

impl EmbeddedIndex {
    /// Opens the index below `dir`, making an empty one where none can be used; then
    /// [`SearchIndex::needs_rebuild`] is true. Reads every file once to check it.
    ///
    /// # Errors
    /// `Unavailable` when the directory cannot be read or written.
    pub async fn open(dir: PathBuf) -> Result<Self, SearchError> {
        let files = Files::new(dir);
        let (opened, state) = blocking({
            let files = files.clone();
            move || files.open()
        })
        .await?;
        let current = Arc::new(ArcSwap::from_pointee(opened));
        let parallel = std::thread::available_parallelism().map_or(2, usize::from);
        Ok(Self {
            writer: Arc::new(Mutex::new(Writer::new(files, current.clone(), state))),
            current,
            queue: WriteQueue::new(),
            turns: Arc::new(Semaphore::new(parallel.max(2))),
        })
    }
}

#[async_trait]
impl SearchIndex for EmbeddedIndex {
    fn backend(&self) -> &'static str {
        BACKEND
    }

    async fn apply(&self, batch: Vec<IndexOp>) -> Result<Applied, SearchError> {
        self.queue.submit(Write::Apply(batch)).await
    }

    async fn query(&self, query: &SearchQuery, audience: &Audience) -> Result<SearchPage, SearchError> {
        measured(BACKEND, async {
            let turn = tokio::time::timeout(QUERY_DEADLINE, self.turns.clone().acquire_owned())
                .await
                .map_err(|_| SearchError::Overloaded)?
                .map_err(SearchError::unavailable)?;
            let opened = self.current.load_full();
            let (query, audience) = (query.clone(), audience.clone());
            blocking(move || {
                let _turn = turn;
                Ok(search(&opened, &query, &audience, SystemClock.now())?)
            })
            .await
        })
        .await
    }

    async fn sweep(&self, run_start: Timestamp) -> Result<(), SearchError> {
        self.queue.submit(Write::Sweep(run_start)).await.map(drop)
    }

    async fn clear(&self) -> Result<(), SearchError> {
        self.queue.submit(Write::Clear).await.map(drop)
    }

    async fn probe(&self) -> Result<(), SearchError> {
        let opened = self.current.load_full();
        blocking(move || Ok(opened.index.load_metas().map(drop)?)).await
    }

    async fn rebuild_state(&self) -> Result<RebuildState, SearchError> {
        let writer = self.writer.clone();
        blocking(move || Ok(lock(&writer).rebuild_state())).await
    }

    async fn note_rebuild(&self, state: RebuildState) -> Result<(), SearchError> {
        self.queue.submit(Write::NoteRebuild(state)).await.map(drop)
    }

    async fn run(&self) {
        self.queue
            .serve(WRITER_IDLE, |turn| {
                let writer = self.writer.clone();
                blocking(move || {
                    let mut writer = lock(&writer);
                    match turn {
                        Turn::Write(write) => writer.act(write),
                        Turn::Idle => writer.rest().map(|()| Applied::default()),
                    }
                })
            })
            .await;
    }

    fn status(&self) -> SearchStatus {
        self.queue.status(BACKEND, Some(self.current.load().reader.searcher().num_docs()))
    }
}

/// A writer that panicked may be in any state; it starts over from the last commit.
fn lock(writer: &Mutex<Writer>) -> MutexGuard<'_, Writer> {
    writer.lock().unwrap_or_else(|poisoned: PoisonError<_>| {
        writer.clear_poison();
        let mut writer = poisoned.into_inner();
        writer.abandon();
        writer
    })
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, BoxError> + Send + 'static,
) -> Result<T, SearchError> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(SearchError::unavailable)?
        .map_err(|cause| SearchError::Unavailable(Arc::from(cause)))
}

fn search(
    opened: &Opened,
    query: &SearchQuery,
    audience: &Audience,
    now: Timestamp,
) -> Result<SearchPage, TantivyError> {
    let searcher = opened.reader.searcher();
    let matching = ranking::matching(&opened.fields, query, audience);
    let limit = query.bounded_limit();
    if limit == 0 {
        let count = searcher.search(&matching, &Count)?;
        return Ok(SearchPage { hits: Vec::new(), total: Total::counted(count) });
    }
    let top = TopDocs::with_limit(limit).and_offset(query.offset);
    match query.effective_sort() {
        Sort::Relevance => page(&searcher, &*matching, top.tweak_score(ranking::relevance(now)), |score: &f32| *score),
        Sort::Updated => page(&searcher, &*matching, top.order_by_fast_field::<i64>(UPDATED_AT, Order::Desc), unscored),
        Sort::Downloads => {
            page(&searcher, &*matching, top.order_by_fast_field::<u64>(DOWNLOADS, Order::Desc), unscored)
        }
        Sort::Name => page(&searcher, &*matching, top.order_by_string_fast_field(NAME, Order::Asc), unscored),
    }
}

fn unscored<T>(_: &T) -> f32 {
    0.0
}

fn page<K: Send + 'static>(
    searcher: &Searcher,
    matching: &dyn Query,
    top: impl Collector<Fruit = Vec<(K, DocAddress)>>,
    score: fn(&K) -> f32,
) -> Result<SearchPage, TantivyError> {
    let (found, count) = searcher.search(matching, &(top, Count))?;
    let hits = found.iter().map(|(key, address)| hit(searcher, *address, score(key))).collect::<Result<_, _>>()?;
    Ok(SearchPage { hits, total: Total::counted(count) })
}

fn hit(searcher: &Searcher, address: DocAddress, score: f32) -> Result<Hit, TantivyError> {
    let fast = searcher.segment_reader(address.segment_ord).fast_fields();
    let missing = || TantivyError::SchemaError("a document without id or revision".to_owned());
    let ids = fast.bytes(ID)?.ok_or_else(missing)?;
    let mut id = Vec::with_capacity(16);
    let ord = ids.term_ords(address.doc_id).next().ok_or_else(missing)?;
    ids.ord_to_bytes(ord, &mut id)?;
    let id = PackageId(Uuid::from_slice(&id).map_err(|_| missing())?);
    let revision = fast.i64(REVISION)?.first(address.doc_id).ok_or_else(missing)?;
    Ok(Hit { id, score, revision })
}

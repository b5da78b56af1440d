//! Full-text search over packages: one trait, an embedded index (tantivy) and Meilisearch.
//!
//! The index is a derived, eventually consistent view that can be rebuilt from the database at any
//! time. It narrows by audience; who may really see a hit is decided by the registry.

mod audience;
mod document;
mod embedded;
mod meilisearch;
mod query;
pub mod text;
mod write_queue;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use publaryn_core::{BoxError, PackageId, Timestamp};
use serde::{Deserialize, Serialize};

pub use audience::{Audience, AudienceTag, Discoverability};
pub use document::{Applied, IndexOp, PackageDocument};
pub use embedded::EmbeddedIndex;
pub use meilisearch::{Meilisearch, MeilisearchConfig, MeilisearchConfigError};
pub use query::{EXACT_TOTAL, Hit, MAX_LIMIT, MAX_WINDOW, SearchPage, SearchQuery, Sort, Total};
pub use text::{SearchText, TextTooLong};

/// A search back end.
///
/// Writes are queued and committed in groups by whoever drives [`SearchIndex::run`]; reads need
/// nobody. All operations are bounded in time and safe to repeat.
#[async_trait]
pub trait SearchIndex: Send + Sync + 'static {
    /// The metric label: `embedded` or `meilisearch`.
    fn backend(&self) -> &'static str;

    /// Writes a batch; when it returns, every later query sees it. Idempotent.
    ///
    /// Concurrent callers share a commit. At most [`MAX_BATCH`] operations.
    async fn apply(&self, batch: Vec<IndexOp>) -> Result<Applied, SearchError>;

    /// The packages that match and that `audience` may find.
    async fn query(&self, query: &SearchQuery, audience: &Audience) -> Result<SearchPage, SearchError>;

    /// Forgets every document whose row was read before `run_start`: the end of a full re-index.
    async fn sweep(&self, run_start: Timestamp) -> Result<(), SearchError>;

    /// Forgets everything; from then on the index needs a rebuild.
    async fn clear(&self) -> Result<(), SearchError>;

    /// Answers when the index can be searched.
    async fn probe(&self) -> Result<(), SearchError>;

    /// How complete the index is. Kept with the index, so losing one loses the other.
    async fn rebuild_state(&self) -> Result<RebuildState, SearchError>;

    /// Notes how far a full re-index has come. Survives restarts.
    async fn note_rebuild(&self, state: RebuildState) -> Result<(), SearchError>;

    /// Whether a full re-index has to run or to go on.
    async fn needs_rebuild(&self) -> Result<bool, SearchError> {
        Ok(self.rebuild_state().await? != RebuildState::Complete)
    }

    /// The owner of the writer. Never returns; to be run under supervision, one at a time.
    ///
    /// It may be dropped or panic at any moment and simply run again: queued writes wait in the
    /// meantime, those in flight fail with a retryable error.
    async fn run(&self);

    /// What the back end reports about itself.
    fn status(&self) -> SearchStatus;
}

/// How complete an index is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum RebuildState {
    /// New, lost or emptied: nothing but single changes is in it.
    Needed,
    /// A full re-index is under way, or was interrupted.
    Running(RebuildCursor),
    /// A full re-index has finished since the index was created.
    Complete,
}

/// Where a full re-index goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RebuildCursor {
    pub started_at: Timestamp,
    /// The last package written; they are visited in the order of their ids.
    pub after: Option<PackageId>,
    /// Packages visited.
    pub done: u64,
}

/// Largest batch for [`SearchIndex::apply`], and the largest group one commit takes.
pub const MAX_BATCH: usize = 1_000;

/// How long a write may wait for its commit, a query for its turn.
pub(crate) const WRITE_DEADLINE: Duration = Duration::from_secs(30);
pub(crate) const QUERY_DEADLINE: Duration = Duration::from_secs(5);

/// The state of a back end for the operator surface.
#[derive(Debug, Clone, Default, Serialize)]
pub struct SearchStatus {
    pub backend: &'static str,
    /// Writes waiting for a commit, and how many may wait before newcomers are refused.
    pub queue_depth: usize,
    pub queue_capacity: usize,
    pub commits_total: u64,
    pub failed_commits_total: u64,
    /// Documents, where the back end knows without asking.
    pub documents: Option<u64>,
    pub last_error: Option<String>,
}

/// Why the index could not do something. Every case is worth a retry.
#[derive(Debug, Clone, thiserror::Error)]
pub enum SearchError {
    /// The back end is away, broken or answered with an error.
    #[error("search is unavailable")]
    Unavailable(#[source] Arc<dyn std::error::Error + Send + Sync>),
    /// Too much is waiting already, or the deadline passed.
    #[error("search is overloaded")]
    Overloaded,
}

impl SearchError {
    pub(crate) fn unavailable(cause: impl Into<BoxError>) -> Self {
        Self::Unavailable(Arc::from(cause.into()))
    }
}

/// Counts and times one query (configuration.md §9).
pub(crate) async fn measured<T>(backend: &'static str, query: impl Future<Output = T>) -> T {
    let start = std::time::Instant::now();
    let answer = query.await;
    metrics::counter!("publaryn_search_queries_total", "backend" => backend).increment(1);
    metrics::histogram!("publaryn_search_duration_seconds", "backend" => backend).record(start.elapsed().as_secs_f64());
    answer
}

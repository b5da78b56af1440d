//! Search through a Meilisearch server, for installations with several replicas.
//!
//! Nothing is asked of the server until the first operation, so Publaryn starts without it; index
//! and settings are put in place then, and again whenever the index turns out to be gone.

mod wire;

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use meilisearch_sdk::{
    client::Client,
    documents::{DocumentDeletionQuery, DocumentsQuery},
    errors::{Error, ErrorCode, MeilisearchError},
    indexes::Index,
    search::{MatchingStrategies, Selectors},
    task_info::TaskInfo,
    tasks::Task,
};
use publaryn_core::{PackageId, Timestamp};
use tokio::sync::Mutex;
use url::Url;

use self::wire::{Held, Marker, StoredPackage};
use crate::{
    Applied, Audience, Hit, IndexOp, QUERY_DEADLINE, RebuildState, SearchError, SearchIndex, SearchPage, SearchQuery,
    SearchStatus, Total,
    document::resolve,
    measured,
    write_queue::{Turn, Write, WriteQueue},
};

const BACKEND: &str = "meilisearch";

/// How long one task of the server may take. Shorter than the deadline of the waiting callers.
const TASK_DEADLINE: Duration = Duration::from_secs(20);
const TASK_POLL: Duration = Duration::from_millis(20);

/// Only wakes the queue's server; Meilisearch has no writer to put to rest.
const IDLE: Duration = Duration::from_secs(60);

/// How to reach the server.
#[derive(Clone)]
pub struct MeilisearchConfig {
    /// `http(s)://host[:port][/path]`.
    pub url: Url,
    /// A key that may manage documents, settings, tasks and indexes named `<index_prefix>_*`.
    pub api_key: Option<String>,
    /// Keeps installations apart that share a server: letters, digits, `-`, `_`.
    pub index_prefix: String,
}

impl fmt::Debug for MeilisearchConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let api_key = self.api_key.as_ref().map(|_| "[redacted]");
        f.debug_struct("MeilisearchConfig")
            .field("url", &self.url.as_str())
            .field("api_key", &api_key)
            .field("index_prefix", &self.index_prefix)
            .finish()
    }
}

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum MeilisearchConfigError {
    #[error("`search.url` must be an http or https address without user, query or fragment")]
    Url,
    #[error("`search.index_prefix` must be 1 to 64 letters, digits, `-` or `_`")]
    IndexPrefix,
    #[error("`search.api_key` holds characters that cannot be sent")]
    ApiKey,
}

/// The Meilisearch back end.
pub struct Meilisearch {
    server: Arc<Server>,
    queue: WriteQueue,
}

impl Meilisearch {
    /// Prepares the client; does not connect.
    ///
    /// # Errors
    /// When the configuration cannot be right, whatever the server says.
    pub fn new(config: &MeilisearchConfig) -> Result<Self, MeilisearchConfigError> {
        let url = &config.url;
        let is_plain = matches!(url.scheme(), "http" | "https")
            && url.has_host()
            && url.username().is_empty()
            && url.password().is_none()
            && url.query().is_none()
            && url.fragment().is_none();
        if !is_plain {
            return Err(MeilisearchConfigError::Url);
        }
        let is_index_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        if !(1..=64).contains(&config.index_prefix.len()) || !config.index_prefix.chars().all(is_index_name) {
            return Err(MeilisearchConfigError::IndexPrefix);
        }
        if config.api_key.as_ref().is_some_and(|key| !key.chars().all(|c| c.is_ascii_graphic())) {
            return Err(MeilisearchConfigError::ApiKey);
        }
        let client = Client::new(url.as_str().trim_end_matches('/'), config.api_key.as_deref())
            .map_err(|_| MeilisearchConfigError::ApiKey)?;
        let server = Server {
            packages: client.index(format!("{}_packages_v{}", config.index_prefix, wire::SCHEMA_VERSION)),
            markers: client.index(format!("{}_state", config.index_prefix)),
            client,
            is_ready: AtomicBool::new(false),
            preparing: Mutex::new(()),
        };
        Ok(Self { server: Arc::new(server), queue: WriteQueue::new() })
    }
}

#[async_trait]
impl SearchIndex for Meilisearch {
    fn backend(&self) -> &'static str {
        BACKEND
    }

    async fn apply(&self, batch: Vec<IndexOp>) -> Result<Applied, SearchError> {
        self.queue.submit(Write::Apply(batch)).await
    }

    async fn query(&self, query: &SearchQuery, audience: &Audience) -> Result<SearchPage, SearchError> {
        measured(BACKEND, self.server.within(QUERY_DEADLINE, self.server.search(query, audience))).await
    }

    async fn sweep(&self, run_start: Timestamp) -> Result<(), SearchError> {
        self.queue.submit(Write::Sweep(run_start)).await.map(drop)
    }

    async fn clear(&self) -> Result<(), SearchError> {
        self.queue.submit(Write::Clear).await.map(drop)
    }

    async fn probe(&self) -> Result<(), SearchError> {
        self.server
            .within(QUERY_DEADLINE, async {
                self.server.client.health().await?;
                // Proves the key and the index, in a form that has not changed between versions.
                self.server.client.get_raw_index(&self.server.packages.uid).await.map(drop)
            })
            .await
    }

    async fn rebuild_state(&self) -> Result<RebuildState, SearchError> {
        self.server.within(QUERY_DEADLINE, self.server.rebuild_state()).await
    }

    async fn note_rebuild(&self, state: RebuildState) -> Result<(), SearchError> {
        self.queue.submit(Write::NoteRebuild(state)).await.map(drop)
    }

    async fn run(&self) {
        self.queue
            .serve(IDLE, |turn| {
                let server = self.server.clone();
                async move {
                    match turn {
                        Turn::Write(write) => server.within(TASK_DEADLINE, server.act(write)).await,
                        Turn::Idle => Ok(Applied::default()),
                    }
                }
            })
            .await;
    }

    fn status(&self) -> SearchStatus {
        self.queue.status(BACKEND, None)
    }
}

/// The server and what is known of it.
struct Server {
    client: Client,
    packages: Index,
    markers: Index,
    /// Index and settings are in place.
    is_ready: AtomicBool,
    preparing: Mutex<()>,
}

impl Server {
    /// Does `work` on a prepared index, within `deadline`.
    async fn within<T>(
        &self,
        deadline: Duration,
        work: impl Future<Output = Result<T, Error>> + Send,
    ) -> Result<T, SearchError> {
        let done = tokio::time::timeout(deadline, async {
            self.prepare().await?;
            work.await
        })
        .await
        .unwrap_or(Err(Error::Timeout));
        if matches!(&done, Err(error) if is_code(error, &ErrorCode::IndexNotFound)) {
            self.is_ready.store(false, Ordering::Release);
        }
        done.map_err(SearchError::unavailable)
    }

    /// Creates what is missing and applies the settings, once.
    async fn prepare(&self) -> Result<(), Error> {
        if self.is_ready.load(Ordering::Acquire) {
            return Ok(());
        }
        let _preparing = self.preparing.lock().await;
        if self.is_ready.load(Ordering::Acquire) {
            return Ok(());
        }
        self.create_if_missing(&self.markers).await?;
        if self.create_if_missing(&self.packages).await? {
            tracing::info!(index = %self.packages.uid, "created the search index");
            self.note_rebuild(RebuildState::Needed).await?;
        }
        self.finish(self.packages.set_settings(&wire::settings()).await?).await?;
        self.is_ready.store(true, Ordering::Release);
        Ok(())
    }

    /// True when the index was not there.
    async fn create_if_missing(&self, index: &Index) -> Result<bool, Error> {
        match self.client.get_raw_index(&index.uid).await {
            Ok(_) => return Ok(false),
            Err(error) if is_code(&error, &ErrorCode::IndexNotFound) => {}
            Err(error) => return Err(error),
        }
        match self.finish(self.client.create_index(&index.uid, Some("id")).await?).await {
            Ok(()) => Ok(true),
            // Another replica was faster.
            Err(error) if is_code(&error, &ErrorCode::IndexAlreadyExists) => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn act(&self, write: Write) -> Result<Applied, Error> {
        match write {
            Write::Apply(ops) => return self.apply(ops).await,
            Write::Sweep(run_start) => {
                let older = wire::read_before(run_start);
                let query = DocumentDeletionQuery { index: &self.packages, filter: Some(&older) };
                self.finish(self.packages.delete_documents_with(&query).await?).await?;
            }
            Write::Clear => {
                self.note_rebuild(RebuildState::Needed).await?;
                self.finish(self.packages.delete_all_documents().await?).await?;
            }
            Write::NoteRebuild(state) => self.note_rebuild(state).await?,
        }
        Ok(Applied::default())
    }

    /// Meilisearch has no conditional write: revisions are compared here, before writing. Two
    /// replicas may still cross; `index_package` therefore looks again after writing.
    async fn apply(&self, ops: Vec<IndexOp>) -> Result<Applied, Error> {
        let resolved = resolve(ops.clone(), self.held_revisions(&ops).await?);
        let mut tasks = Vec::new();
        if !resolved.removals.is_empty() {
            let ids: Vec<String> = resolved.removals.iter().map(ToString::to_string).collect();
            tasks.push(self.packages.delete_documents(&ids).await?);
        }
        if !resolved.upserts.is_empty() {
            let documents: Vec<StoredPackage> = resolved.upserts.iter().map(StoredPackage::of).collect();
            tasks.push(self.packages.add_or_replace(&documents, Some("id")).await?);
        }
        for task in tasks {
            self.finish(task).await?;
        }
        Ok(Applied { superseded: resolved.superseded })
    }

    async fn held_revisions(&self, ops: &[IndexOp]) -> Result<std::collections::HashMap<PackageId, i64>, Error> {
        let ids: Vec<PackageId> = ops
            .iter()
            .filter_map(|op| match op {
                IndexOp::Upsert(package) => Some(package.id),
                IndexOp::Remove(_) => None,
            })
            .collect();
        if ids.is_empty() {
            return Ok(std::collections::HashMap::new());
        }
        let filter = wire::any_of(&ids);
        let mut query = DocumentsQuery::new(&self.packages);
        query.filter = Some(&filter);
        query.fields = Some(vec!["id", "revision"]);
        query.limit = Some(ids.len());
        let found = self.packages.get_documents_with::<Held>(&query).await?;
        Ok(found.results.into_iter().map(|held| (held.id, held.revision)).collect())
    }

    async fn search(&self, query: &SearchQuery, audience: &Audience) -> Result<SearchPage, Error> {
        let text = query.text.terms().join(" ");
        let filter = wire::filter(query, audience);
        let sort = wire::sort(query.effective_sort());
        let mut request = self.packages.search();
        request
            .with_query(&text)
            .with_filter(&filter)
            .with_sort(sort)
            .with_offset(query.offset)
            .with_limit(query.bounded_limit())
            .with_matching_strategy(MatchingStrategies::ALL)
            .with_attributes_to_retrieve(Selectors::Some(&["id", "revision"]))
            .with_show_ranking_score(true);
        let found = request.execute::<Held>().await?;
        let is_scored = sort.is_empty();
        let hits = found.hits.iter().map(|hit| Hit {
            id: hit.result.id,
            score: if is_scored { hit.ranking_score.unwrap_or_default() as f32 } else { 0.0 },
            revision: hit.result.revision,
        });
        Ok(SearchPage {
            hits: hits.collect(),
            total: Total::counted(found.estimated_total_hits.or(found.total_hits).unwrap_or_default()),
        })
    }

    async fn rebuild_state(&self) -> Result<RebuildState, Error> {
        match self.markers.get_document::<Marker>(&self.packages.uid).await {
            Ok(marker) => Ok(marker.rebuild),
            Err(error) if is_code(&error, &ErrorCode::DocumentNotFound) => Ok(RebuildState::Needed),
            Err(error) => Err(error),
        }
    }

    async fn note_rebuild(&self, rebuild: RebuildState) -> Result<(), Error> {
        let marker = Marker { id: self.packages.uid.clone(), rebuild };
        self.finish(self.markers.add_or_replace(&[marker], Some("id")).await?).await
    }

    /// Waits for a task of the server; a failed one is an error.
    async fn finish(&self, task: TaskInfo) -> Result<(), Error> {
        match self.client.wait_for_task(task, Some(TASK_POLL), Some(TASK_DEADLINE)).await? {
            Task::Succeeded { .. } => Ok(()),
            Task::Failed { content } => Err(Error::Meilisearch(content.error)),
            Task::Enqueued { .. } | Task::Processing { .. } => Err(Error::Timeout),
        }
    }
}

fn is_code(error: &Error, code: &ErrorCode) -> bool {
    matches!(error, Error::Meilisearch(MeilisearchError { error_code, .. }) if error_code == code)
}

//! Blobs in a directory of the local file system.
//!
//! Layout: `sha256/<2 hex>/<62 hex>-<generation>` for blobs, `tmp/` for uploads in progress, both on
//! one file system; `uploads/` for those that go on in later requests. A blob is written under a
//! temporary name; promoting it renames it, then syncs the file and its directory. A name in `sha256/`
//! whose content a power cut took is one that no promotion ever answered for: no row refers to it, and
//! gc removes it.

mod dir_sync;
mod layout;
mod listing;
mod reading;
mod resuming;
mod writing;

use std::{ops::Range, path::PathBuf, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use publaryn_core::Timestamp;
use tokio::task::spawn_blocking;

use crate::{
    AbandonedUpload, AppendPlan, Appended, BlobBody, BlobError, BlobKey, BlobMeta, BlobStore, BufferGauge, ByteStream,
    CHECKPOINT_BYTES, Checkpoint, LocalBlob, StagePlan, Staged, StaleUpload, UploadState, blob::StalePlace,
    intake::Intake, stage::StagedPlace, upload::AbandonedPlace,
};
use layout::Layout;
use resuming::Appender;
use writing::Writer;

pub use layout::{DiskConfig, TEMP_DIR, UPLOADS_DIR};
pub(crate) use writing::TempFile;

/// Size of one read or write, in bytes: large enough to make the hop to the blocking pool cheap
/// (about 5 µs against 100 µs for hashing it), small enough for 1000 transfers in 0.5 GiB.
pub const BLOCK_BYTES: usize = 256 * 1024;

/// See the module documentation. Cheap to clone; clones share the directory.
#[derive(Debug, Clone)]
pub struct DiskStore {
    layout: Arc<Layout>,
    buffers: BufferGauge,
}

impl DiskStore {
    /// Opens the store, creating its directories where they are missing.
    ///
    /// Directories that vanish later (an unmounted volume) are not created again: writing to the
    /// disk underneath would be worse than failing.
    ///
    /// # Errors
    /// [`BlobError::Unavailable`] when the directories cannot be created.
    pub async fn open(config: DiskConfig) -> Result<Self, BlobError> {
        let layout = blocking(move || Layout::create(config)).await?;
        Ok(Self { layout: Arc::new(layout), buffers: BufferGauge::default() })
    }

    /// Content held in memory by transfers in progress.
    pub fn buffers(&self) -> &BufferGauge {
        &self.buffers
    }

    /// Where the blob's file is, for tools that copy the store (backup).
    pub fn path(&self, key: &BlobKey) -> Option<PathBuf> {
        self.layout.blob_path(key)
    }

    /// An upload without its file: completed by a request that ended before it could say so, or lost.
    async fn completed_before(&self, upload: UploadState) -> Result<Appended, BlobError> {
        let (layout, state) = (self.layout.clone(), upload.clone());
        match blocking(move || resuming::is_completed(&layout, &state)).await? {
            true => Ok(Appended { state: upload, trouble: None }),
            false => Err(BlobError::UploadLost),
        }
    }

    fn known_path(&self, key: &BlobKey) -> Result<PathBuf, BlobError> {
        self.path(key).ok_or_else(|| BlobError::missing(key))
    }
}

#[async_trait]
impl BlobStore for DiskStore {
    async fn stage(&self, body: ByteStream, plan: StagePlan) -> Result<Staged, BlobError> {
        let mut intake = Intake::new(body, &plan, &self.buffers);
        let first = intake.next_block(BLOCK_BYTES).await?;
        if first.len() < BLOCK_BYTES {
            return self.stage_bytes(first.bytes(), plan).await;
        }
        // One block is hashed and written while the next one arrives.
        let layout = self.layout.clone();
        let opening = plan.clone();
        let mut writing = spawn_blocking(move || Writer::create(&layout, &opening)?.write(&first));
        loop {
            let next = intake.next_block(BLOCK_BYTES).await;
            // Waited for even after an error, so that the temporary file is gone when we answer.
            let writer = writing.await.map_err(BlobError::unavailable)??;
            let block = match next {
                Ok(block) => block,
                Err(error) => {
                    let _gone = spawn_blocking(move || drop(writer)).await;
                    return Err(error);
                }
            };
            if block.is_empty() {
                return blocking(move || writer.finish(&plan)).await;
            }
            writing = spawn_blocking(move || writer.write(&block));
        }
    }

    async fn stage_bytes(&self, body: Bytes, plan: StagePlan) -> Result<Staged, BlobError> {
        if body.len() as u64 > plan.limit_bytes {
            return Err(BlobError::TooLarge { limit_name: plan.limit_name, limit_bytes: plan.limit_bytes });
        }
        let layout = self.layout.clone();
        blocking(move || Writer::create(&layout, &plan)?.write(&body)?.finish(&plan)).await
    }

    async fn promote(&self, staged: &Staged) -> Result<BlobKey, BlobError> {
        let key = staged.key().clone();
        let StagedPlace::Temp(temp) = staged.place() else {
            return Err(BlobError::unavailable("staged in another store"));
        };
        let (layout, temp) = (self.layout.clone(), temp.clone());
        blocking(move || writing::promote(&layout, &temp, &key)).await?;
        staged.mark_settled();
        Ok(staged.key().clone())
    }

    async fn discard(&self, staged: Staged) {
        // Dropping removes the file; only a panic in the pool could fail here.
        let _dropped = spawn_blocking(move || drop(staged)).await;
    }

    async fn append(
        &self,
        upload: UploadState,
        body: ByteStream,
        plan: AppendPlan,
        checkpoint: &dyn Checkpoint,
    ) -> Result<Appended, BlobError> {
        let mut intake = Intake::continuing(body, &upload, plan, &self.buffers);
        let layout = self.layout.clone();
        let mut saved_at = upload.size_bytes();
        let mut received = saved_at;
        // One block is hashed and written while the next one arrives.
        let begun = upload.clone();
        let mut writing = spawn_blocking(move || Appender::open(&layout, begun));
        let trouble = loop {
            let (block, trouble) = intake.fill(BLOCK_BYTES).await;
            let mut appender = match writing.await.map_err(BlobError::unavailable)? {
                Err(BlobError::UploadLost) if block.is_empty() && trouble.is_none() => {
                    return self.completed_before(upload).await;
                }
                appender => appender?,
            };
            let is_end = trouble.is_some() || block.len() < BLOCK_BYTES;
            received += block.len() as u64;
            if received - saved_at > CHECKPOINT_BYTES {
                let layout = self.layout.clone();
                let (so_far, state) = blocking(move || appender.save(&layout)).await?;
                checkpoint.save(&state).await?;
                appender = so_far;
                saved_at = state.size_bytes();
            }
            writing = spawn_blocking(move || if block.is_empty() { Ok(appender) } else { appender.write(&block) });
            if is_end {
                break trouble;
            }
        };
        let appender = writing.await.map_err(BlobError::unavailable)??;
        let layout = self.layout.clone();
        let state = blocking(move || appender.save(&layout).map(|(_, state)| state)).await?;
        Ok(Appended { state, trouble })
    }

    async fn complete(&self, upload: &UploadState) -> Result<BlobKey, BlobError> {
        let (layout, upload) = (self.layout.clone(), upload.clone());
        blocking(move || resuming::complete(&layout, &upload)).await
    }

    async fn abandon(&self, upload: &UploadState) -> Result<(), BlobError> {
        let (layout, id) = (self.layout.clone(), upload.id());
        blocking(move || resuming::abandon(&layout, id)).await
    }

    async fn open(&self, key: &BlobKey, range: Option<Range<u64>>) -> Result<BlobBody, BlobError> {
        let (path, key, buffers) = (self.known_path(key)?, key.clone(), self.buffers.clone());
        blocking(move || reading::open(&path, &key, range, &buffers)).await
    }

    async fn open_local(&self, key: &BlobKey) -> Result<Option<LocalBlob>, BlobError> {
        let (path, key) = (self.known_path(key)?, key.clone());
        blocking(move || reading::open_local(&path, &key).map(Some)).await
    }

    async fn stat(&self, key: &BlobKey) -> Result<Option<u64>, BlobError> {
        let Some(path) = self.path(key) else { return Ok(None) };
        blocking(move || match std::fs::metadata(path) {
            Ok(metadata) => Ok(Some(metadata.len())),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(BlobError::from_io(e)),
        })
        .await
    }

    async fn delete(&self, key: &BlobKey) -> Result<(), BlobError> {
        let Some(path) = self.path(key) else { return Ok(()) };
        blocking(move || writing::remove(&path)).await
    }

    fn list(&self) -> BoxStream<'static, Result<BlobMeta, BlobError>> {
        listing::blobs(self.layout.clone())
    }

    fn stale_uploads(&self, before: Timestamp) -> BoxStream<'static, Result<StaleUpload, BlobError>> {
        listing::stale_uploads(self.layout.clone(), before)
    }

    async fn remove_stale(&self, upload: &StaleUpload) -> Result<(), BlobError> {
        let StalePlace::TempFile { name } = &upload.place else { return Ok(()) };
        let path = self.layout.temp_path(name);
        blocking(move || writing::remove(&path)).await
    }

    fn abandoned(&self, before: Timestamp) -> BoxStream<'static, Result<AbandonedUpload, BlobError>> {
        listing::abandoned(self.layout.clone(), before)
    }

    async fn remove_abandoned(&self, upload: &AbandonedUpload) -> Result<(), BlobError> {
        let AbandonedPlace::File = upload.place else { return Ok(()) };
        let (layout, id) = (self.layout.clone(), upload.id);
        blocking(move || resuming::abandon(&layout, id)).await
    }

    async fn probe(&self) -> Result<(), BlobError> {
        let layout = self.layout.clone();
        blocking(move || writing::probe(&layout)).await
    }
}

/// Runs file system calls where they may block.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, BlobError> + Send + 'static,
) -> Result<T, BlobError> {
    // Fails only when `work` panicked or the runtime is shutting down.
    spawn_blocking(work).await.map_err(BlobError::unavailable)?
}

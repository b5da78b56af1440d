//! Small blobs kept in memory in front of another store.

use std::{ops::Range, sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use moka::future::Cache;
use publaryn_core::Timestamp;

use crate::{
    AbandonedUpload, AppendPlan, Appended, BlobBody, BlobError, BlobKey, BlobMeta, BlobStore, ByteStream, Checkpoint,
    LocalBlob, SignedUrl, StagePlan, Staged, StaleUpload, UploadState, body::resolve_range,
};

/// Largest blob that is cached, in bytes: what a disk store reads in one call.
pub const MAX_HOT_BYTES: u64 = crate::disk::BLOCK_BYTES as u64;

/// A store with the most used small blobs of another one in memory.
///
/// Sound because content under a key never changes. A blob deleted by another process may still be
/// served from here, which is why access is decided from the database and never by what exists here.
pub struct HotBlobs {
    inner: Arc<dyn BlobStore>,
    cache: Cache<BlobKey, Bytes>,
}

impl HotBlobs {
    /// Keeps up to about `capacity_bytes` of content.
    pub fn new(inner: Arc<dyn BlobStore>, capacity_bytes: u64) -> Self {
        // Entry overhead counts too, or a cache full of tiny blobs would outgrow its bound.
        let weigh = |key: &BlobKey, bytes: &Bytes| (bytes.len() + key.as_str().len() + 128) as u32;
        Self { inner, cache: Cache::builder().max_capacity(capacity_bytes).weigher(weigh).build() }
    }
}

#[async_trait]
impl BlobStore for HotBlobs {
    async fn stage(&self, body: ByteStream, plan: StagePlan) -> Result<Staged, BlobError> {
        self.inner.stage(body, plan).await
    }
    async fn stage_bytes(&self, body: Bytes, plan: StagePlan) -> Result<Staged, BlobError> {
        self.inner.stage_bytes(body, plan).await
    }
    async fn promote(&self, staged: &Staged) -> Result<BlobKey, BlobError> {
        self.inner.promote(staged).await
    }
    async fn discard(&self, staged: Staged) {
        self.inner.discard(staged).await;
    }

    async fn append(
        &self,
        upload: UploadState,
        body: ByteStream,
        plan: AppendPlan,
        checkpoint: &dyn Checkpoint,
    ) -> Result<Appended, BlobError> {
        self.inner.append(upload, body, plan, checkpoint).await
    }
    async fn complete(&self, upload: &UploadState) -> Result<BlobKey, BlobError> {
        self.inner.complete(upload).await
    }
    async fn abandon(&self, upload: &UploadState) -> Result<(), BlobError> {
        self.inner.abandon(upload).await
    }
    async fn open(&self, key: &BlobKey, range: Option<Range<u64>>) -> Result<BlobBody, BlobError> {
        if let Some(bytes) = self.cache.get(key).await {
            let size_bytes = bytes.len() as u64;
            let range = resolve_range(range, size_bytes)?;
            let part = bytes.slice(range.start as usize..range.end as usize);
            return Ok(BlobBody::whole(size_bytes, range, part));
        }
        let body = self.inner.open(key, range.clone()).await?;
        if range.is_some() || body.size_bytes() > MAX_HOT_BYTES {
            return Ok(body);
        }
        let (size_bytes, range) = (body.size_bytes(), body.range());
        let read = body.into_bytes(MAX_HOT_BYTES).await?;
        // A copy of its own: `read` may be a slice that pins a larger buffer.
        let bytes = Bytes::copy_from_slice(&read);
        self.cache.insert(key.clone(), bytes.clone()).await;
        Ok(BlobBody::whole(size_bytes, range, bytes))
    }

    async fn open_local(&self, key: &BlobKey) -> Result<Option<LocalBlob>, BlobError> {
        self.inner.open_local(key).await
    }
    async fn presign(
        &self,
        key: &BlobKey,
        ttl: Duration,
        filename: &str,
        content_type: &str,
    ) -> Result<Option<SignedUrl>, BlobError> {
        self.inner.presign(key, ttl, filename, content_type).await
    }
    async fn stat(&self, key: &BlobKey) -> Result<Option<u64>, BlobError> {
        self.inner.stat(key).await
    }

    async fn delete(&self, key: &BlobKey) -> Result<(), BlobError> {
        let deleted = self.inner.delete(key).await;
        // Afterwards, so that a reader in between cannot leave an entry behind for long.
        self.cache.invalidate(key).await;
        deleted
    }

    fn list(&self) -> BoxStream<'static, Result<BlobMeta, BlobError>> {
        self.inner.list()
    }
    fn stale_uploads(&self, before: Timestamp) -> BoxStream<'static, Result<StaleUpload, BlobError>> {
        self.inner.stale_uploads(before)
    }
    async fn remove_stale(&self, upload: &StaleUpload) -> Result<(), BlobError> {
        self.inner.remove_stale(upload).await
    }
    fn abandoned(&self, before: Timestamp) -> BoxStream<'static, Result<AbandonedUpload, BlobError>> {
        self.inner.abandoned(before)
    }
    async fn remove_abandoned(&self, upload: &AbandonedUpload) -> Result<(), BlobError> {
        self.inner.remove_abandoned(upload).await
    }
    async fn probe(&self) -> Result<(), BlobError> {
        self.inner.probe().await
    }
}

//! Counts and times the operations of a store.

use std::{ops::Range, sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use metrics::{counter, histogram};
use publaryn_core::Timestamp;
use tokio::time::Instant;

use crate::{
    AbandonedUpload, AppendPlan, Appended, BlobBody, BlobError, BlobKey, BlobMeta, BlobStore, ByteStream, Checkpoint,
    LocalBlob, SignedUrl, StagePlan, Staged, StaleUpload, UploadState,
};

/// A store that reports `publaryn_storage_operations_total` and `publaryn_storage_operation_seconds`,
/// both labelled `op` and `outcome` (`ok` or [`BlobError::outcome`]).
///
/// `open` ends with the first byte; `stage` includes waiting for the sender. Listings are not timed.
pub struct Metered(Arc<dyn BlobStore>);

impl Metered {
    pub fn new(inner: Arc<dyn BlobStore>) -> Self {
        Self(inner)
    }
}

async fn measured<T>(op: &'static str, work: impl Future<Output = Result<T, BlobError>>) -> Result<T, BlobError> {
    let begun = Instant::now();
    let result = work.await;
    let outcome = result.as_ref().map_or_else(BlobError::outcome, |_| "ok");
    counter!("publaryn_storage_operations_total", "op" => op, "outcome" => outcome).increment(1);
    histogram!("publaryn_storage_operation_seconds", "op" => op, "outcome" => outcome).record(begun.elapsed());
    result
}

#[async_trait]
impl BlobStore for Metered {
    async fn stage(&self, body: ByteStream, plan: StagePlan) -> Result<Staged, BlobError> {
        measured("stage", self.0.stage(body, plan)).await
    }
    async fn stage_bytes(&self, body: Bytes, plan: StagePlan) -> Result<Staged, BlobError> {
        measured("stage", self.0.stage_bytes(body, plan)).await
    }
    async fn promote(&self, staged: &Staged) -> Result<BlobKey, BlobError> {
        measured("promote", self.0.promote(staged)).await
    }
    async fn discard(&self, staged: Staged) {
        self.0.discard(staged).await;
    }
    async fn append(
        &self,
        upload: UploadState,
        body: ByteStream,
        plan: AppendPlan,
        checkpoint: &dyn Checkpoint,
    ) -> Result<Appended, BlobError> {
        measured("append", self.0.append(upload, body, plan, checkpoint)).await
    }
    async fn complete(&self, upload: &UploadState) -> Result<BlobKey, BlobError> {
        measured("complete", self.0.complete(upload)).await
    }
    async fn abandon(&self, upload: &UploadState) -> Result<(), BlobError> {
        measured("delete", self.0.abandon(upload)).await
    }
    async fn open(&self, key: &BlobKey, range: Option<Range<u64>>) -> Result<BlobBody, BlobError> {
        measured("open", self.0.open(key, range)).await
    }
    async fn open_local(&self, key: &BlobKey) -> Result<Option<LocalBlob>, BlobError> {
        measured("open", self.0.open_local(key)).await
    }
    async fn presign(
        &self,
        key: &BlobKey,
        ttl: Duration,
        filename: &str,
        content_type: &str,
    ) -> Result<Option<SignedUrl>, BlobError> {
        measured("presign", self.0.presign(key, ttl, filename, content_type)).await
    }
    async fn stat(&self, key: &BlobKey) -> Result<Option<u64>, BlobError> {
        measured("stat", self.0.stat(key)).await
    }
    async fn delete(&self, key: &BlobKey) -> Result<(), BlobError> {
        measured("delete", self.0.delete(key)).await
    }
    fn list(&self) -> BoxStream<'static, Result<BlobMeta, BlobError>> {
        self.0.list()
    }
    fn stale_uploads(&self, before: Timestamp) -> BoxStream<'static, Result<StaleUpload, BlobError>> {
        self.0.stale_uploads(before)
    }
    async fn remove_stale(&self, upload: &StaleUpload) -> Result<(), BlobError> {
        measured("delete", self.0.remove_stale(upload)).await
    }
    fn abandoned(&self, before: Timestamp) -> BoxStream<'static, Result<AbandonedUpload, BlobError>> {
        self.0.abandoned(before)
    }
    async fn remove_abandoned(&self, upload: &AbandonedUpload) -> Result<(), BlobError> {
        measured("delete", self.0.remove_abandoned(upload)).await
    }
    async fn probe(&self) -> Result<(), BlobError> {
        measured("probe", self.0.probe()).await
    }
}

//! Blobs in a bucket of an S3-compatible store.
//!
//! Layout: `<prefix>blobs/<uuid>`. An upload goes straight to its final key, so nothing is copied at
//! promotion: a staged blob is simply an object no database row refers to yet. Bodies up to one part
//! are one `PutObject`; larger ones are multipart uploads with a bounded number of parts in flight.
//! A resumable upload's final key is `<prefix>blobs/upload-<id>`; what does not fill a part yet waits
//! in objects below `<prefix>uploads/<id>/`.

mod client;
mod download;
mod failure;
mod listing;
mod resuming;
mod upload;

use std::{ops::Range, sync::Arc, time::Duration};

use async_trait::async_trait;
use aws_sdk_s3::{Client, presigning::PresigningConfig};
use bytes::Bytes;
use futures::{StreamExt, stream::BoxStream};
use publaryn_core::Timestamp;
use tokio::sync::Semaphore;
use uuid::Uuid;

use crate::{
    AbandonedUpload, AppendPlan, Appended, BlobBody, BlobError, BlobKey, BlobMeta, BlobStore, BufferGauge, ByteStream,
    Checkpoint, SignedUrl, StagePlan, Staged, StaleUpload, UploadState, blob::StalePlace, intake::Intake,
    stage::StagedPlace, upload::AbandonedPlace,
};

pub use client::{S3Config, StaticKeys};
pub(crate) use upload::Removal;

/// Size of one part of a multipart upload, in bytes.
///
/// S3 wants at least 5 MiB (but for the last) and at most 10 000 parts: 78 GiB, eight times the
/// largest artifact limit. <https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html>
pub const PART_BYTES: usize = 8 * 1024 * 1024;

/// Parts in flight per upload: hides the latency of a request without much memory.
pub const PARTS_PER_UPLOAD: usize = 3;

/// Parts in flight over all uploads: 128 MiB of buffers, beyond the one that each upload is filling.
const PARTS_IN_FLIGHT: usize = 16;

/// Longest life of a presigned URL (SigV4 allows seven days).
const MAX_PRESIGN: Duration = Duration::from_secs(7 * 24 * 3600);

/// See the module documentation. Cheap to clone; clones share connections.
#[derive(Debug, Clone)]
pub struct S3Store(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    client: Client,
    bucket: String,
    prefix: String,
    part_slots: Arc<Semaphore>,
    buffers: BufferGauge,
}

impl S3Store {
    /// Prepares the client. Sends nothing: use [`BlobStore::probe`] to see whether the store answers.
    pub async fn connect(config: S3Config) -> Self {
        let (bucket, prefix) = (config.bucket.clone(), config.key_prefix());
        let client = client::build(config).await;
        let part_slots = Arc::new(Semaphore::new(PARTS_IN_FLIGHT));
        Self(Arc::new(Inner { client, bucket, prefix, part_slots, buffers: BufferGauge::default() }))
    }

    /// Content held in memory by uploads in progress.
    pub fn buffers(&self) -> &BufferGauge {
        &self.0.buffers
    }
}

impl Inner {
    fn fresh_key() -> BlobKey {
        format!("blobs/{}", Uuid::new_v4().simple()).parse().expect("a word, a slash and hex digits are a key")
    }

    fn object(&self, key: &BlobKey) -> String {
        format!("{}{key}", self.prefix)
    }
}

#[async_trait]
impl BlobStore for S3Store {
    async fn stage(&self, body: ByteStream, plan: StagePlan) -> Result<Staged, BlobError> {
        let mut intake = Intake::new(body, &plan, &self.0.buffers);
        let first = intake.next_block(PART_BYTES).await?;
        if first.len() < PART_BYTES || intake.at_end().await? {
            upload::single(&self.0, first.bytes(), &plan).await
        } else {
            upload::multipart(&self.0, first, intake, &plan).await
        }
    }

    async fn stage_bytes(&self, body: Bytes, plan: StagePlan) -> Result<Staged, BlobError> {
        if body.len() > PART_BYTES {
            return self.stage(futures::stream::once(async { Ok(body) }).boxed(), plan).await;
        }
        if body.len() as u64 > plan.limit_bytes {
            return Err(BlobError::TooLarge { limit_name: plan.limit_name, limit_bytes: plan.limit_bytes });
        }
        upload::single(&self.0, body, &plan).await
    }

    async fn promote(&self, staged: &Staged) -> Result<BlobKey, BlobError> {
        // The store acknowledged the object, so it is durable; there is nothing left to do.
        match staged.place() {
            StagedPlace::Final(_) => {
                staged.mark_settled();
                Ok(staged.key().clone())
            }
            StagedPlace::Temp(_) => Err(BlobError::unavailable("staged in another store")),
        }
    }

    async fn discard(&self, staged: Staged) {
        if !staged.is_settled() {
            upload::remove_staged(&self.0, staged.key()).await;
            staged.mark_settled();
        }
    }

    async fn append(
        &self,
        upload: UploadState,
        body: ByteStream,
        plan: AppendPlan,
        checkpoint: &dyn Checkpoint,
    ) -> Result<Appended, BlobError> {
        let intake = Intake::continuing(body, &upload, plan, &self.0.buffers);
        resuming::append(&self.0, upload, intake, plan.is_last, checkpoint).await
    }

    async fn complete(&self, upload: &UploadState) -> Result<BlobKey, BlobError> {
        resuming::complete(&self.0, upload).await
    }

    async fn abandon(&self, upload: &UploadState) -> Result<(), BlobError> {
        resuming::abandon(&self.0, upload).await
    }

    async fn open(&self, key: &BlobKey, range: Option<Range<u64>>) -> Result<BlobBody, BlobError> {
        download::open(&self.0, key, range).await
    }

    async fn presign(
        &self,
        key: &BlobKey,
        ttl: Duration,
        filename: &str,
        content_type: &str,
    ) -> Result<Option<SignedUrl>, BlobError> {
        let config = PresigningConfig::expires_in(ttl.clamp(Duration::from_secs(1), MAX_PRESIGN))
            .map_err(BlobError::unavailable)?;
        let request = (self.0.client.get_object())
            .bucket(&self.0.bucket)
            .key(self.0.object(key))
            .response_content_disposition(download::attachment(filename))
            .response_content_type(content_type)
            .presigned(config)
            .await
            .map_err(|e| failure::unavailable("presign", e))?;
        Ok(Some(SignedUrl::new(request.uri().to_owned())))
    }

    async fn stat(&self, key: &BlobKey) -> Result<Option<u64>, BlobError> {
        upload::size_of(&self.0, &self.0.object(key)).await
    }

    async fn delete(&self, key: &BlobKey) -> Result<(), BlobError> {
        upload::delete_object(&self.0, &self.0.object(key)).await
    }

    fn list(&self) -> BoxStream<'static, Result<BlobMeta, BlobError>> {
        listing::blobs(self.0.clone())
    }

    fn stale_uploads(&self, before: Timestamp) -> BoxStream<'static, Result<StaleUpload, BlobError>> {
        listing::stale_uploads(self.0.clone(), before)
    }

    async fn remove_stale(&self, upload: &StaleUpload) -> Result<(), BlobError> {
        match &upload.place {
            StalePlace::Multipart { object, upload_id } => upload::abort(&self.0, object, upload_id).await,
            StalePlace::TempFile { .. } => Ok(()),
        }
    }

    fn abandoned(&self, before: Timestamp) -> BoxStream<'static, Result<AbandonedUpload, BlobError>> {
        listing::abandoned(self.0.clone(), before)
    }

    async fn remove_abandoned(&self, upload: &AbandonedUpload) -> Result<(), BlobError> {
        match &upload.place {
            AbandonedPlace::Multipart { object, upload_id } => upload::abort(&self.0, object, upload_id).await,
            AbandonedPlace::Piece { object } => upload::delete_object(&self.0, object).await,
            AbandonedPlace::File => Ok(()),
        }
    }

    async fn probe(&self) -> Result<(), BlobError> {
        const CONTENT: &[u8] = b"publaryn storage probe";
        // Named like a blob, so that gc finds it if we die before the delete.
        let object = self.0.object(&Inner::fresh_key());
        upload::put(&self.0, &object, Bytes::from_static(CONTENT)).await?;
        let read = download::small_object(&self.0, &object).await;
        upload::delete_object(&self.0, &object).await?;
        if read?.as_deref() == Some(CONTENT) {
            Ok(())
        } else {
            Err(BlobError::unavailable("probe read back other bytes than it wrote"))
        }
    }
}

//! Blobs: immutable byte strings addressed by an opaque [`BlobKey`], on local disk or in S3.
//!
//! A blob is *staged* (streamed in, hashed in the same pass, bounded), then *promoted* (durable),
//! and only then may a database row refer to its key. What a crash leaves between those steps is
//! found again by [`BlobStore::list`] and [`BlobStore::stale_uploads`] and removed by gc.
//!
//! A *resumable* upload takes more than one request: see [`UploadState`].

mod blob;
mod body;
pub mod disk;
mod error;
mod hashing;
mod hot;
mod intake;
mod memory;
mod metered;
mod open;
pub mod s3;
mod stage;
mod upload;

use std::{ops::Range, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use publaryn_core::Timestamp;

pub use blob::{BlobKey, BlobMeta, InvalidBlobKey, StaleUpload};
pub use body::{BlobBody, ByteStream, LocalBlob, SignedUrl};
pub use disk::{DiskConfig, DiskStore};
pub use error::BlobError;
pub use hot::HotBlobs;
pub use memory::BufferGauge;
pub use metered::Metered;
pub use open::{StoreConfig, open};
pub use s3::{S3Config, S3Store, StaticKeys};
pub use stage::{StagePlan, Staged};
pub use upload::{AbandonedUpload, AppendPlan, Appended, CHECKPOINT_BYTES, Checkpoint, UploadState};

/// Where blobs live. One contract suite (`tests/contract.rs`) runs over every implementation.
///
/// Every key carries a random generation: staging the same bytes twice gives two keys, so a late
/// or repeated delete can never hit bytes that were uploaded again meanwhile. The database decides
/// which key a blob row keeps; the loser's key should be deleted, or is left to gc.
#[async_trait]
pub trait BlobStore: Send + Sync + 'static {
    /// Streams `body` into the store, hashing it in the same pass, in constant memory.
    ///
    /// Dropping the future (the client went away) is safe at any point.
    ///
    /// # Errors
    /// [`BlobError::TooLarge`] as soon as the limit is passed, without reading the rest;
    /// [`BlobError::DigestMismatch`]; [`BlobError::BodyAborted`] with the body's own error inside;
    /// [`BlobError::NoSpace`] and [`BlobError::Unavailable`] from the store. Nothing is left behind.
    async fn stage(&self, body: ByteStream, plan: StagePlan) -> Result<Staged, BlobError>;

    /// Like [`stage`](Self::stage) for a body already in memory: the cheap way for small packages.
    async fn stage_bytes(&self, body: Bytes, plan: StagePlan) -> Result<Staged, BlobError>;

    /// Makes a staged blob durable under its key; it survives a power cut once this returns.
    ///
    /// Idempotent. The row that refers to the key must commit within gc's grace period of the
    /// staging, since age is all that protects a blob without a row.
    ///
    /// # Errors
    /// [`BlobError::Missing`] when gc has already removed the staged bytes.
    async fn promote(&self, staged: &Staged) -> Result<BlobKey, BlobError>;

    /// Removes a staged blob that will not be promoted. Does nothing after a promotion.
    ///
    /// Best effort: a failure is logged and left to gc. Dropping a [`Staged`] does the same, on S3 in the background.
    async fn discard(&self, staged: Staged);

    /// Appends `body` to a resumable upload, in constant memory. What came before the body failed is kept.
    ///
    /// One writer at a time is the caller's to ensure; disk stores notice a second one.
    ///
    /// # Errors
    /// [`BlobError::UploadLost`] when the earlier content is gone, [`BlobError::UploadBusy`],
    /// [`BlobError::NoSpace`] and [`BlobError::Unavailable`] from the store or the checkpoint; the
    /// upload then stands where it was last saved. What is wrong with the body itself is in the outcome.
    async fn append(
        &self,
        upload: UploadState,
        body: ByteStream,
        plan: AppendPlan,
        checkpoint: &dyn Checkpoint,
    ) -> Result<Appended, BlobError>;

    /// Makes a blob of a resumable upload: durable under its key once this returns, without reading
    /// or copying what was appended before. Idempotent, also across crashes.
    ///
    /// # Errors
    /// [`BlobError::UploadLost`]; [`BlobError::Unavailable`].
    async fn complete(&self, upload: &UploadState) -> Result<BlobKey, BlobError>;

    /// Removes the bytes of a resumable upload; does nothing to one that was completed.
    async fn abandon(&self, upload: &UploadState) -> Result<(), BlobError>;

    /// Opens a blob, or the part of it that `range` names (end exclusive, clamped to the size).
    ///
    /// # Errors
    /// [`BlobError::Missing`]; [`BlobError::RangeNotSatisfiable`] when the range is empty or
    /// starts at or beyond the end; [`BlobError::Unavailable`].
    async fn open(&self, key: &BlobKey, range: Option<Range<u64>>) -> Result<BlobBody, BlobError>;

    /// The blob as an open local file, where the store has one, for callers with a faster way out.
    ///
    /// # Errors
    /// [`BlobError::Missing`], [`BlobError::Unavailable`].
    async fn open_local(&self, _key: &BlobKey) -> Result<Option<LocalBlob>, BlobError> {
        Ok(None)
    }

    /// A URL under which the client may fetch the blob by itself for `ttl`; `None` where the store
    /// cannot (disk). Existence is not checked.
    ///
    /// # Errors
    /// [`BlobError::Unavailable`] when no credentials can be had to sign with.
    async fn presign(
        &self,
        _key: &BlobKey,
        _ttl: Duration,
        _filename: &str,
        _content_type: &str,
    ) -> Result<Option<SignedUrl>, BlobError> {
        Ok(None)
    }

    /// The size of a blob in bytes, `None` when it does not exist.
    async fn stat(&self, key: &BlobKey) -> Result<Option<u64>, BlobError>;

    /// Deletes a blob; one that does not exist is fine.
    async fn delete(&self, key: &BlobKey) -> Result<(), BlobError>;

    /// Every blob, in ascending order of key, so that gc can merge it with the database's keys in
    /// constant memory. On S3 this includes blobs staged but not promoted; on disk it does not.
    /// A blob created or deleted while listing may or may not appear.
    fn list(&self) -> BoxStream<'static, Result<BlobMeta, BlobError>>;

    /// Unfinished uploads (temporary files, S3 multipart uploads) last touched before `before`.
    fn stale_uploads(&self, before: Timestamp) -> BoxStream<'static, Result<StaleUpload, BlobError>>;

    /// Removes one unfinished upload; one that is gone already is fine.
    async fn remove_stale(&self, upload: &StaleUpload) -> Result<(), BlobError>;

    /// Bytes of resumable uploads last touched before `before`, whether their upload is still
    /// known to its owner or not.
    fn abandoned(&self, before: Timestamp) -> BoxStream<'static, Result<AbandonedUpload, BlobError>>;

    /// Removes what [`Self::abandoned`] found; gone already is fine.
    async fn remove_abandoned(&self, upload: &AbandonedUpload) -> Result<(), BlobError>;

    /// Writes, reads back and deletes a small object: is the store usable right now?
    async fn probe(&self) -> Result<(), BlobError>;
}

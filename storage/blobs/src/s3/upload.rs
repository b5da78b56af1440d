//! Putting objects into the bucket and taking them out again.

use std::{sync::Arc, time::Duration};

use aws_sdk_s3::{
    primitives::ByteStream as SdkBody,
    types::{CompletedMultipartUpload, CompletedPart},
};
use bytes::Bytes;
use tokio::{
    runtime::Handle,
    task::{JoinSet, spawn_blocking},
    time::timeout,
};

use super::{
    Inner, PART_BYTES, PARTS_PER_UPLOAD, client,
    failure::{Failure, unavailable},
};
use crate::{
    BlobError, BlobKey, StagePlan, Staged, hashing::Hasher, intake::Intake, memory::Block, stage::StagedPlace,
};

/// Bodies up to this size are hashed on the spot: about 50 µs, less than a hop is worth under load.
const HASH_INLINE_BYTES: usize = 32 * 1024;

/// Stages a body that fits one request.
pub(super) async fn single(store: &Arc<Inner>, body: Bytes, plan: &StagePlan) -> Result<Staged, BlobError> {
    let hasher = hash(Hasher::new(plan), body.clone()).await?;
    let (digests, size_bytes) = hasher.finish(plan)?;
    let key = Inner::fresh_key();
    put(store, &store.object(&key), body).await?;
    Ok(Staged::new(key, digests, size_bytes, StagedPlace::Final(Removal(store.clone()))))
}

/// Stages a body in parts: `first`, then what `intake` still yields.
pub(super) async fn multipart(
    store: &Arc<Inner>,
    first: Block,
    mut intake: Intake,
    plan: &StagePlan,
) -> Result<Staged, BlobError> {
    let key = Inner::fresh_key();
    let mut upload = Multipart::begin(store, store.object(&key)).await?;
    let outcome = async {
        let mut hasher = Hasher::new(plan);
        let mut part = first;
        while !part.is_empty() {
            hasher = hash(hasher, part.bytes()).await?;
            upload.send(part).await?;
            part = intake.next_block(PART_BYTES).await?;
        }
        let (digests, size_bytes) = hasher.finish(plan)?;
        upload.complete(size_bytes).await?;
        Ok(Staged::new(key, digests, size_bytes, StagedPlace::Final(Removal(store.clone()))))
    }
    .await;
    if outcome.is_err() {
        upload.abandon().await;
    }
    outcome
}

/// What takes an object away that will not be promoted.
pub(crate) struct Removal(Arc<Inner>);

impl Removal {
    /// Begins it in the background; outside of a runtime gc does it.
    pub(crate) fn begin(&self, key: &BlobKey) {
        if let Ok(runtime) = Handle::try_current() {
            let (store, key) = (self.0.clone(), key.clone());
            runtime.spawn(async move { remove_staged(&store, &key).await });
        }
    }
}

pub(super) async fn remove_staged(store: &Inner, key: &BlobKey) {
    if let Err(error) = delete_object(store, &store.object(key)).await {
        tracing::warn!(error = %error, "staged object could not be removed; gc will try again");
    }
}

async fn hash(mut hasher: Hasher, bytes: Bytes) -> Result<Hasher, BlobError> {
    if bytes.len() <= HASH_INLINE_BYTES {
        hasher.update(&bytes);
        return Ok(hasher);
    }
    spawn_blocking(move || {
        hasher.update(&bytes);
        hasher
    })
    .await
    .map_err(BlobError::unavailable)
}

/// A multipart upload in progress. Dropped half-way, it aborts itself in the background.
struct Multipart {
    store: Arc<Inner>,
    object: String,
    /// Taken when there is nothing left to abort.
    upload_id: Option<String>,
    sending: JoinSet<Result<CompletedPart, BlobError>>,
    sent: Vec<CompletedPart>,
    parts: i32,
}

impl Multipart {
    async fn begin(store: &Arc<Inner>, object: String) -> Result<Self, BlobError> {
        let upload_id = begin_parts(store, &object).await?;
        let store = store.clone();
        let (upload_id, sending) = (Some(upload_id), JoinSet::new());
        Ok(Self { store, object, upload_id, sending, sent: Vec::new(), parts: 0 })
    }

    /// Starts sending a part; waits while too many are under way.
    async fn send(&mut self, part: Block) -> Result<(), BlobError> {
        while self.sending.len() >= PARTS_PER_UPLOAD {
            self.one_sent().await?;
        }
        let slot = self.store.part_slots.clone().acquire_owned().await.map_err(BlobError::unavailable)?;
        self.parts += 1;
        let (store, object, number) = (self.store.clone(), self.object.clone(), self.parts);
        let upload_id = self.upload_id.clone().unwrap_or_default();
        self.sending.spawn(async move {
            let etag = upload_part(&store, &object, &upload_id, number, part.bytes()).await;
            drop((part, slot));
            Ok(CompletedPart::builder().part_number(number).set_e_tag(Some(etag?)).build())
        });
        Ok(())
    }

    async fn one_sent(&mut self) -> Result<(), BlobError> {
        if let Some(part) = self.sending.join_next().await {
            self.sent.push(part.map_err(BlobError::unavailable)??);
        }
        Ok(())
    }

    async fn complete(&mut self, size_bytes: u64) -> Result<(), BlobError> {
        while !self.sending.is_empty() {
            self.one_sent().await?;
        }
        self.sent.sort_unstable_by_key(|part| part.part_number);
        let (parts, upload_id) = (std::mem::take(&mut self.sent), self.upload_id.clone().unwrap_or_default());
        if !complete_parts(&self.store, &self.object, &upload_id, parts, size_bytes).await? {
            return Err(BlobError::unavailable("the multipart upload is gone"));
        }
        self.upload_id = None;
        Ok(())
    }

    /// Removes what was sent.
    async fn abandon(&mut self) {
        if let Some(upload_id) = self.upload_id.take() {
            let sending = std::mem::take(&mut self.sending);
            remove_unfinished(self.store.clone(), self.object.clone(), upload_id, sending).await;
        }
    }
}

impl Drop for Multipart {
    fn drop(&mut self) {
        // Only when the uploading future itself was dropped; outside of a runtime gc does it.
        if let (Some(upload_id), Ok(runtime)) = (self.upload_id.take(), Handle::try_current()) {
            let sending = std::mem::take(&mut self.sending);
            runtime.spawn(remove_unfinished(self.store.clone(), self.object.clone(), upload_id, sending));
        }
    }
}

/// How long parts under way may take to arrive before they are cut off.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);

/// Aborts a multipart upload once none of its parts is under way: a part that arrives during or
/// after the abort would stay behind.
/// <https://docs.aws.amazon.com/AmazonS3/latest/API/API_AbortMultipartUpload.html>
async fn remove_unfinished(
    store: Arc<Inner>,
    object: String,
    upload_id: String,
    mut sending: JoinSet<Result<CompletedPart, BlobError>>,
) {
    let drained = timeout(DRAIN_TIMEOUT, async { while sending.join_next().await.is_some() {} }).await;
    if drained.is_err() {
        sending.shutdown().await;
    }
    if let Err(error) = abort(&store, &object, &upload_id).await {
        tracing::warn!(error = %error, "multipart upload could not be aborted; gc will try again");
    }
}

const CONTENT_TYPE: &str = "application/octet-stream";

/// Begins a multipart upload; returns the store's name for it.
pub(super) async fn begin_parts(store: &Inner, object: &str) -> Result<String, BlobError> {
    let created = (store.client.create_multipart_upload())
        .bucket(&store.bucket)
        .key(object)
        .content_type(CONTENT_TYPE)
        .send()
        .await
        .map_err(|e| unavailable("create_multipart_upload", e))?;
    created.upload_id.ok_or_else(|| BlobError::unavailable("s3 gave no upload id"))
}

/// Sends one part; returns its entity tag.
///
/// # Errors
/// [`BlobError::UploadLost`] when there is no such multipart upload (any more).
pub(super) async fn upload_part(
    store: &Inner,
    object: &str,
    upload_id: &str,
    number: i32,
    body: Bytes,
) -> Result<String, BlobError> {
    let sent = (store.client.upload_part())
        .bucket(&store.bucket)
        .key(object)
        .upload_id(upload_id)
        .part_number(number)
        .body(SdkBody::from(body))
        .customize()
        .config_override(client::for_upload())
        .send()
        .await
        .map_err(|e| match Failure::of("upload_part", e) {
            failure if failure.is_missing() => BlobError::UploadLost,
            failure => failure.into_error(),
        })?;
    sent.e_tag.ok_or_else(|| BlobError::unavailable("s3 gave no entity tag"))
}

/// Makes the object; `false` when there is no such multipart upload (any more) and no object of
/// that size either.
pub(super) async fn complete_parts(
    store: &Inner,
    object: &str,
    upload_id: &str,
    parts: Vec<CompletedPart>,
    size_bytes: u64,
) -> Result<bool, BlobError> {
    let parts = CompletedMultipartUpload::builder().set_parts(Some(parts)).build();
    let completed = (store.client.complete_multipart_upload())
        .bucket(&store.bucket)
        .key(object)
        .upload_id(upload_id)
        .multipart_upload(parts)
        .customize()
        .config_override(client::for_completion())
        .send()
        .await
        .map_err(|e| Failure::of("complete_multipart_upload", e));
    match completed {
        Ok(_) => Ok(true),
        // A retry after a lost answer finds the upload gone and the object there.
        Err(failure) if failure.is_missing() => Ok(size_of(store, object).await? == Some(size_bytes)),
        Err(failure) => Err(failure.into_error()),
    }
}

pub(super) async fn put(store: &Inner, object: &str, body: Bytes) -> Result<(), BlobError> {
    (store.client.put_object())
        .bucket(&store.bucket)
        .key(object)
        .content_type(CONTENT_TYPE)
        .body(SdkBody::from(body))
        .customize()
        .config_override(client::for_upload())
        .send()
        .await
        .map(|_| ())
        .map_err(|e| unavailable("put_object", e))
}

pub(super) async fn size_of(store: &Inner, object: &str) -> Result<Option<u64>, BlobError> {
    match store.client.head_object().bucket(&store.bucket).key(object).send().await {
        Ok(head) => Ok(Some(head.content_length.unwrap_or(0).max(0) as u64)),
        Err(e) => match Failure::of("head_object", e) {
            failure if failure.is_missing() => Ok(None),
            failure => Err(failure.into_error()),
        },
    }
}

/// Deletes an object; S3 answers alike whether it existed.
pub(super) async fn delete_object(store: &Inner, object: &str) -> Result<(), BlobError> {
    match store.client.delete_object().bucket(&store.bucket).key(object).send().await {
        Ok(_) => Ok(()),
        Err(e) => match Failure::of("delete_object", e) {
            // Some compatible stores do tell.
            failure if failure.is_missing() => Ok(()),
            failure => Err(failure.into_error()),
        },
    }
}

/// Removes an unfinished multipart upload; a finished or aborted one is fine.
pub(super) async fn abort(store: &Inner, object: &str, upload_id: &str) -> Result<(), BlobError> {
    let request = store.client.abort_multipart_upload().bucket(&store.bucket).key(object).upload_id(upload_id);
    match request.send().await {
        Ok(_) => Ok(()),
        Err(e) => match Failure::of("abort_multipart_upload", e) {
            failure if failure.is_missing() => Ok(()),
            failure => Err(failure.into_error()),
        },
    }
}

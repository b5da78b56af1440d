//! What is in the bucket, for gc.

use std::sync::Arc;

use aws_sdk_s3::primitives::DateTime;
use futures::{
    StreamExt, TryStreamExt,
    future::ready,
    stream::{self, BoxStream},
};
use publaryn_core::Timestamp;

use super::resuming;
use super::{Inner, failure::unavailable};
use crate::{AbandonedUpload, BlobError, BlobMeta, StaleUpload, blob::StalePlace, upload::AbandonedPlace};

/// All objects below `<prefix>blobs/`, a page (1000) in memory at a time. S3 lists in order of key.
pub(super) fn blobs(store: Arc<Inner>) -> BoxStream<'static, Result<BlobMeta, BlobError>> {
    let prefix = store.prefix.clone();
    objects(store, "blobs/")
        .try_filter_map(move |object| {
            let key = object.name.strip_prefix(&prefix).and_then(|name| name.parse().ok());
            ready(Ok(key.map(|key| BlobMeta { key, size_bytes: object.size_bytes, modified: object.modified })))
        })
        .boxed()
}

/// The names of all objects below a folder of ours, in order.
pub(super) fn names(store: Arc<Inner>, folder: &str) -> BoxStream<'static, Result<String, BlobError>> {
    objects(store, folder).map_ok(|object| object.name).boxed()
}

/// An object, named with the store's prefix.
struct Found {
    name: String,
    size_bytes: u64,
    modified: Timestamp,
}

fn objects(store: Arc<Inner>, folder: &str) -> BoxStream<'static, Result<Found, BlobError>> {
    let below = format!("{}{folder}", store.prefix);
    pages(store, move |store, after: Option<String>| {
        let below = below.clone();
        async move {
            let page = (store.client.list_objects_v2())
                .bucket(&store.bucket)
                .prefix(below)
                .set_continuation_token(after)
                .send()
                .await
                .map_err(|e| unavailable("list_objects_v2", e))?;
            let next = page.next_continuation_token.filter(|_| page.is_truncated == Some(true));
            let objects = page.contents.unwrap_or_default().into_iter().filter_map(|object| {
                let size_bytes = object.size.and_then(|n| u64::try_from(n).ok())?;
                Some(Found { name: object.key?, size_bytes, modified: timestamp(object.last_modified?) })
            });
            Ok((objects.collect(), next))
        }
    })
}

/// Multipart uploads begun before `before`, but for resumable ones.
pub(super) fn stale_uploads(
    store: Arc<Inner>,
    before: Timestamp,
) -> BoxStream<'static, Result<StaleUpload, BlobError>> {
    let prefix = store.prefix.clone();
    multiparts(store)
        .try_filter_map(move |upload| {
            let is_other = resuming::id_of(&prefix, &upload.object).is_none() && upload.begun < before;
            let place = StalePlace::Multipart { object: upload.object, upload_id: upload.upload_id };
            ready(Ok(is_other.then_some(StaleUpload { place, size_bytes: None, touched: upload.begun })))
        })
        .boxed()
}

/// Multipart uploads and small objects of resumable uploads, begun or written before `before`.
pub(super) fn abandoned(
    store: Arc<Inner>,
    before: Timestamp,
) -> BoxStream<'static, Result<AbandonedUpload, BlobError>> {
    let prefix = store.prefix.clone();
    let parts = multiparts(store.clone()).try_filter_map(move |upload| {
        let id = resuming::id_of(&prefix, &upload.object).filter(|_| upload.begun < before);
        let place = AbandonedPlace::Multipart { object: upload.object, upload_id: upload.upload_id };
        ready(Ok(id.map(|id| AbandonedUpload { id, place, touched: upload.begun })))
    });
    let prefix = store.prefix.clone();
    let pieces = objects(store, "uploads/").try_filter_map(move |object| {
        let found = resuming::id_of_piece(&prefix, &object.name).filter(|_| object.modified < before);
        let place = AbandonedPlace::Piece { object: object.name };
        ready(Ok(found.map(|id| AbandonedUpload { id, place, touched: object.modified })))
    });
    parts.chain(pieces).boxed()
}

struct Begun {
    object: String,
    upload_id: String,
    begun: Timestamp,
}

fn multiparts(store: Arc<Inner>) -> BoxStream<'static, Result<Begun, BlobError>> {
    pages(store, move |store, after: Option<(Option<String>, Option<String>)>| async move {
        let (key_marker, upload_id_marker) = after.unwrap_or_default();
        let page = (store.client.list_multipart_uploads())
            .bucket(&store.bucket)
            .prefix(format!("{}blobs/", store.prefix))
            .set_key_marker(key_marker)
            .set_upload_id_marker(upload_id_marker)
            .send()
            .await
            .map_err(|e| unavailable("list_multipart_uploads", e))?;
        let next = (page.is_truncated == Some(true)).then_some((page.next_key_marker, page.next_upload_id_marker));
        let uploads = page.uploads.unwrap_or_default().into_iter().filter_map(|upload| {
            let begun = timestamp(upload.initiated?);
            Some(Begun { object: upload.key?, upload_id: upload.upload_id?, begun })
        });
        Ok((uploads.collect(), next))
    })
}

/// The items of all pages; `fetch` gets the marker of the page before and gives that of the next.
fn pages<T, M, F, Fut>(store: Arc<Inner>, fetch: F) -> BoxStream<'static, Result<T, BlobError>>
where
    T: Send + 'static,
    M: Send + 'static,
    F: Fn(Arc<Inner>, Option<M>) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<(Vec<T>, Option<M>), BlobError>> + Send,
{
    let fetch = Arc::new(fetch);
    stream::try_unfold(Some(None), move |marker| {
        let (store, fetch) = (store.clone(), fetch.clone());
        async move {
            let Some(after) = marker else { return Ok::<_, BlobError>(None) };
            let (items, next) = fetch(store, after).await?;
            Ok(Some((items, next.map(Some))))
        }
    })
    .map_ok(|items| stream::iter(items.into_iter().map(Ok)))
    .try_flatten()
    .boxed()
}

fn timestamp(time: DateTime) -> Timestamp {
    Timestamp::from_micros((time.as_nanos() / 1_000) as i64)
}

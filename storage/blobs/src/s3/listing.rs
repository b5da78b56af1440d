//! What is in the bucket, for gc.

use std::sync::Arc;

use aws_sdk_s3::primitives::DateTime;
use futures::{
    StreamExt, TryStreamExt,
    stream::{self, BoxStream},
};
use publaryn_core::Timestamp;

use super::{Inner, failure::unavailable};
use crate::{BlobError, BlobMeta, StaleUpload, blob::StalePlace};

/// All objects below `<prefix>blobs/`, a page (1000) in memory at a time. S3 lists in order of key.
pub(super) fn blobs(store: Arc<Inner>) -> BoxStream<'static, Result<BlobMeta, BlobError>> {
    pages(store, |store, after: Option<String>| async move {
        let page = (store.client.list_objects_v2())
            .bucket(&store.bucket)
            .prefix(format!("{}blobs/", store.prefix))
            .set_continuation_token(after)
            .send()
            .await
            .map_err(|e| unavailable("list_objects_v2", e))?;
        let next = page.next_continuation_token.filter(|_| page.is_truncated == Some(true));
        let blobs = page.contents.unwrap_or_default().into_iter().filter_map(|object| {
            let key = object.key?.strip_prefix(&store.prefix)?.parse().ok()?;
            let size_bytes = object.size.and_then(|n| u64::try_from(n).ok())?;
            Some(BlobMeta { key, size_bytes, modified: timestamp(object.last_modified?) })
        });
        Ok((blobs.collect(), next))
    })
}

/// Multipart uploads begun before `before`.
pub(super) fn stale_uploads(
    store: Arc<Inner>,
    before: Timestamp,
) -> BoxStream<'static, Result<StaleUpload, BlobError>> {
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
            let touched = timestamp(upload.initiated?);
            let place = StalePlace::Multipart { object: upload.key?, upload_id: upload.upload_id? };
            (touched < before).then_some(StaleUpload { place, size_bytes: None, touched })
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

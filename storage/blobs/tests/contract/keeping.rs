//! What gc relies on: leftovers are found, dated and removable; listings are complete.

use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use publaryn_blobs::{BlobError, s3::PART_BYTES};
use publaryn_core::Timestamp;

use crate::fixture::{Fixture, body, content, in_an_hour, plan};

pub async fn crash_between_stage_and_promote_is_found_and_removed(f: Fixture) {
    let staged = f.store.stage(body(&content(1, 400_000), 9_000), plan()).await.unwrap();
    // A killed process runs no destructor.
    std::mem::forget(staged);
    let restarted = f.reopened().await;
    if f.is_disk() {
        assert_eq!(f.listed().await, [], "what was not promoted has no name");
        let stale: Vec<_> = restarted.stale_uploads(in_an_hour()).try_collect().await.unwrap();
        assert_eq!(stale.len(), 1);
        assert_eq!(stale[0].size_bytes, Some(400_000));
        restarted.remove_stale(&stale[0]).await.unwrap();
        restarted.remove_stale(&stale[0]).await.unwrap();
    } else {
        let blobs: Vec<_> = restarted.list().try_collect().await.unwrap();
        assert_eq!(blobs.len(), 1);
        assert_eq!(blobs[0].size_bytes, 400_000);
        restarted.delete(&blobs[0].key).await.unwrap();
    }
    f.assert_nothing_left().await;
}

pub async fn crash_during_an_upload_is_found_and_removed(f: Fixture) {
    let before = Timestamp::now();
    let stalled = body(&content(2, 3 * PART_BYTES), 500_000).chain(stream::pending()).boxed();
    let store = f.store.clone();
    // On a runtime of its own, which goes away like a killed process.
    let dying = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    dying.spawn(async move {
        let staged = store.stage(stalled, plan()).await;
        panic!("a stalled upload ended: {staged:?}");
    });
    while f.unfinished().await.is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let young: Vec<_> = f.store.stale_uploads(before - Duration::from_secs(5)).try_collect().await.unwrap();
    assert_eq!(young, [], "an upload younger than the cut-off is left alone");
    if f.is_disk() {
        // A file cannot be orphaned with its writer alive, so only its removal is shown.
        let [upload] = &f.unfinished().await[..] else { panic!("one upload is in progress") };
        f.store.remove_stale(upload).await.unwrap();
    }
    dying.shutdown_background();
    for upload in f.unfinished().await {
        f.store.remove_stale(&upload).await.unwrap();
        f.store.remove_stale(&upload).await.unwrap();
    }
    while !f.unfinished().await.is_empty() || f.buffers.current_bytes() > 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    f.assert_nothing_left().await;
}

pub async fn listing_is_complete_sorted_and_dated(f: Fixture) {
    // More than one S3 page of 1000.
    const COUNT: usize = 1_010;
    let slack = Duration::from_secs(2);
    let begun = Timestamp::now() - slack;
    let stored: Vec<_> = stream::iter(0..COUNT)
        .map(|i| {
            let store = f.store.clone();
            async move {
                let staged = store.stage_bytes(Bytes::from(i.to_string()), plan()).await.unwrap();
                (store.promote(&staged).await.unwrap(), i.to_string().len() as u64)
            }
        })
        .buffer_unordered(16)
        .collect()
        .await;
    let ended = Timestamp::now() + slack;
    let listed = f.listed().await;
    assert!(listed.is_sorted_by(|a, b| a.key < b.key));
    assert!(listed.iter().all(|blob| begun <= blob.modified && blob.modified <= ended));
    let mut expected = stored;
    expected.sort();
    let found: Vec<_> = listed.into_iter().map(|blob| (blob.key, blob.size_bytes)).collect();
    assert_eq!(found, expected);
}

pub async fn late_delete_spares_content_uploaded_again(f: Fixture) {
    let old = f.stored("same bytes").await;
    let new = f.stored("same bytes").await;
    f.store.delete(&old).await.unwrap();
    f.store.delete(&old).await.unwrap();
    assert_eq!(f.store.open(&new, None).await.unwrap().into_bytes(100).await.unwrap(), "same bytes");
    assert!(matches!(f.store.open(&old, None).await, Err(BlobError::Missing { .. })));
}

pub async fn probe_leaves_nothing(f: Fixture) {
    f.store.probe().await.unwrap();
    f.assert_nothing_left().await;
}

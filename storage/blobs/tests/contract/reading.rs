//! Downloads: ranges, absence, verification, signed URLs.

use std::time::Duration;

use futures::{StreamExt, TryStreamExt, future::join_all};
use publaryn_blobs::{BlobError, BlobKey, disk::BLOCK_BYTES};
use publaryn_core::Digest;
use sha2::{Digest as _, Sha256};

use crate::fixture::{Fixture, content};

pub async fn ranges(f: Fixture) {
    let size = 3 * BLOCK_BYTES + 17;
    let bytes = content(1, size);
    let key = f.stored(bytes.clone()).await;
    let block = BLOCK_BYTES as u64;
    let end = size as u64;
    for (asked, got) in [
        (0..1, 0..1),
        (0..end, 0..end),
        (5..10, 5..10),
        (block - 1..block + 1, block - 1..block + 1),
        (1..end - 1, 1..end - 1),
        (end - 1..end, end - 1..end),
        (end - 1..end + 100, end - 1..end),
        (7..u64::MAX, 7..end),
    ] {
        let body = f.store.open(&key, Some(asked.clone())).await.unwrap();
        assert_eq!((body.size_bytes(), body.range()), (end, got.clone()), "{asked:?}");
        let read = body.into_bytes(u64::MAX).await.unwrap();
        assert!(read == bytes[got.start as usize..got.end as usize], "{asked:?}");
    }
    for bad in [end..end + 1, end + 5..u64::MAX, 0..0, 9..9] {
        let refused = f.store.open(&key, Some(bad.clone())).await.unwrap_err();
        assert!(matches!(refused, BlobError::RangeNotSatisfiable { size_bytes } if size_bytes == end), "{bad:?}");
    }
    let empty = f.stored("").await;
    assert!(f.store.open(&empty, None).await.unwrap().is_empty());
    let refused = f.store.open(&empty, Some(0..1)).await.unwrap_err();
    assert!(matches!(refused, BlobError::RangeNotSatisfiable { size_bytes: 0 }), "{refused:?}");
}

pub async fn missing_blob_is_told_apart(f: Fixture) {
    let deleted = f.stored("short-lived").await;
    f.store.delete(&deleted).await.unwrap();
    let foreign: BlobKey = "another/kind-of/key".parse().unwrap();
    for key in [deleted, foreign] {
        for range in [None, Some(0..1), Some(3..3)] {
            let missing = f.store.open(&key, range).await.unwrap_err();
            assert!(matches!(&missing, BlobError::Missing { key: named } if *named == key), "{missing:?}");
        }
        assert_eq!(f.store.stat(&key).await.unwrap(), None);
        f.store.delete(&key).await.unwrap();
    }
}

pub async fn concurrent_readers_see_the_same_bytes(f: Fixture) {
    let bytes = content(2, 2_000_000);
    let key = f.stored(bytes.clone()).await;
    let reads = (0..12).map(|_| {
        let (store, key) = (f.store.clone(), key.clone());
        tokio::spawn(async move { store.open(&key, None).await.unwrap().into_bytes(u64::MAX).await.unwrap() })
    });
    for read in join_all(reads).await {
        assert!(read.unwrap() == bytes);
    }
    assert_eq!(f.buffers.current_bytes(), 0);
}

pub async fn verified_stream_tells_wrong_content(f: Fixture) {
    for size in [0, 10, 1_000_000] {
        let bytes = content(3, size);
        let key = f.stored(bytes.clone()).await;
        let right = Digest::from_bytes(Sha256::digest(&bytes).into());
        let chunks: Vec<_> =
            f.store.open(&key, None).await.unwrap().into_verified_stream(right).try_collect().await.unwrap();
        assert!(chunks.concat() == bytes);
        let wrong = Digest::from_bytes([1; 32]);
        let items: Vec<_> = f.store.open(&key, None).await.unwrap().into_verified_stream(wrong).collect().await;
        let error = items.into_iter().last().unwrap().unwrap_err().downcast::<BlobError>().unwrap();
        assert!(matches!(*error, BlobError::DigestMismatch { actual, .. } if actual == right), "{error:?}");
    }
}

pub async fn presigned_url(f: Fixture) {
    let key = f.stored("fetched without us").await;
    let signed = f.store.presign(&key, Duration::from_secs(60), "a \"b\".tgz", "application/x-tgz").await.unwrap();
    if f.is_disk() {
        assert_eq!(signed, None);
        return;
    }
    let signed = signed.unwrap();
    assert!(!format!("{signed:?}").contains("http"), "a signed URL is a secret");
    let answer = reqwest::get(signed.as_str()).await.unwrap().error_for_status().unwrap();
    assert_eq!(answer.headers()["content-type"], "application/x-tgz");
    let disposition = answer.headers()["content-disposition"].to_str().unwrap();
    assert_eq!(disposition, "attachment; filename=\"a__b_.tgz\"; filename*=UTF-8''a%20%22b%22.tgz");
    assert_eq!(answer.text().await.unwrap(), "fetched without us");
    let forged = signed.as_str().replace("x-tgz", "x-bad");
    assert_eq!(reqwest::get(forged).await.unwrap().status(), 403);
}

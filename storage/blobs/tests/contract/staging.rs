//! Uploads: digests, limits, failures, concurrency.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use futures::{FutureExt, StreamExt, future::join_all, stream};
use proptest::prelude::*;
use publaryn_blobs::{BlobError, StagePlan, disk::BLOCK_BYTES, s3::PART_BYTES};
use publaryn_core::Digest;
use sha2::{Digest as _, Sha256};

use crate::fixture::{Fixture, body, broken_body, content, plan};

/// A small body, and one that takes several blocks on disk and several parts on S3.
const SIZES: [usize; 2] = [10_000, PART_BYTES + PART_BYTES / 2];

pub async fn small_body_round_trips_with_all_digests(f: Fixture) {
    // SHA-2 of "abc": FIPS 180-4; SHA-1 and MD5: RFC 3174, RFC 1321.
    for staged in [
        f.store.stage(body(b"abc", 1), plan()).await.unwrap(),
        f.store.stage_bytes(Bytes::from_static(b"abc"), plan()).await.unwrap(),
    ] {
        let digests = staged.digests();
        assert_eq!(digests.sha256.hex(), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert!(digests.sha512.starts_with("ddaf35a193617abacc417349ae204131"));
        assert_eq!(digests.sha1.as_deref(), Some("a9993e364706816aba3e25717850c26c9cd0d89d"));
        assert_eq!(digests.md5.as_deref(), Some("900150983cd24fb0d6963f7d28e17f72"));
        assert_eq!(staged.size_bytes(), 3);
        let key = f.store.promote(&staged).await.unwrap();
        assert_eq!(f.store.stat(&key).await.unwrap(), Some(3));
        let opened = f.store.open(&key, None).await.unwrap();
        assert_eq!((opened.size_bytes(), opened.range(), opened.len()), (3, 0..3, 3));
        assert_eq!(opened.into_bytes(3).await.unwrap(), "abc");
    }
}

pub async fn bodies_of_every_awkward_size_round_trip(f: Fixture) {
    let around = |n: usize| [n - 1, n, n + 1];
    let sizes = [0, 1].into_iter().chain(around(BLOCK_BYTES)).chain(around(2 * BLOCK_BYTES)).chain(around(PART_BYTES));
    for size in sizes.chain([2 * PART_BYTES, 2 * PART_BYTES + 5]) {
        let bytes = content(size as u64, size);
        for staged in [
            f.store.stage(body(&bytes, 64 * 1024), plan()).await.unwrap(),
            f.store.stage_bytes(bytes.clone().into(), plan()).await.unwrap(),
        ] {
            assert_eq!(staged.sha256().as_bytes()[..], Sha256::digest(&bytes)[..], "{size}");
            assert_eq!(staged.size_bytes(), size as u64);
            let key = f.store.promote(&staged).await.unwrap();
            let read = f.store.open(&key, None).await.unwrap().into_bytes(u64::MAX).await.unwrap();
            assert!(read == bytes, "{size}");
        }
    }
}

pub async fn weak_digests_only_when_asked_for(f: Fixture) {
    let staged = f.store.stage_bytes("x".into(), StagePlan::new(1, "limits.test")).await.unwrap();
    assert_eq!((&staged.digests().sha1, &staged.digests().md5), (&None, &None));
    f.store.discard(staged).await;
}

pub async fn limit_stops_the_body_at_once_and_leaves_nothing(f: Fixture) {
    const CHUNK: u64 = 32 * 1024;
    for limit in [0, 1, 100_000, 3 * BLOCK_BYTES as u64, PART_BYTES as u64 + 1] {
        let polled = Arc::new(AtomicU64::new(0));
        let count = polled.clone();
        let endless = stream::repeat_with(move || {
            count.fetch_add(1, Ordering::Relaxed);
            Ok(Bytes::from_static(&[7; CHUNK as usize]))
        });
        let refused = f.store.stage(endless.boxed(), StagePlan::new(limit, "limits.artifact.crate")).await.unwrap_err();
        assert!(
            matches!(refused, BlobError::TooLarge { limit_name: "limits.artifact.crate", limit_bytes } if limit_bytes == limit),
            "{refused:?}"
        );
        assert_eq!(polled.load(Ordering::Relaxed), limit / CHUNK + 1, "only the chunk that broke the limit was taken");
        f.assert_nothing_left().await;
    }
    let refused = f.store.stage_bytes(vec![0; 11].into(), StagePlan::new(10, "limits.test")).await.unwrap_err();
    assert!(matches!(refused, BlobError::TooLarge { limit_bytes: 10, .. }));
    f.assert_nothing_left().await;
}

pub async fn body_of_exactly_the_limit_is_accepted(f: Fixture) {
    for size in SIZES {
        let bytes = content(1, size);
        let plan = StagePlan::new(size as u64, "limits.test");
        let staged = f.store.stage(body(&bytes, 10_007), plan).await.unwrap();
        assert_eq!(staged.size_bytes(), size as u64);
        f.store.discard(staged).await;
    }
}

pub async fn digest_mismatch_leaves_nothing(f: Fixture) {
    let expected = Digest::from_bytes([7; 32]);
    for size in SIZES {
        let bytes = content(2, size);
        let actual = Digest::from_bytes(Sha256::digest(&bytes).into());
        for result in [
            f.store.stage(body(&bytes, 60_000), plan().expecting(expected)).await,
            f.store.stage_bytes(bytes.clone().into(), plan().expecting(expected)).await,
        ] {
            match result {
                Err(BlobError::DigestMismatch { expected: e, actual: a }) => assert_eq!((e, a), (expected, actual)),
                other => panic!("{other:?}"),
            }
            f.assert_nothing_left().await;
        }
        let accepted = f.store.stage(body(&bytes, 60_000), plan().expecting(actual)).await.unwrap();
        f.store.discard(accepted).await;
    }
}

pub async fn aborted_body_leaves_nothing(f: Fixture) {
    for size in [0, SIZES[0], BLOCK_BYTES, SIZES[1]] {
        let cause = io::Error::new(io::ErrorKind::ConnectionReset, "gone");
        let aborted = f.store.stage(broken_body(&content(3, size), cause), plan()).await.unwrap_err();
        let BlobError::BodyAborted(source) = aborted else { panic!("{aborted:?}") };
        let cause = source.downcast::<io::Error>().expect("the sender's own error comes back");
        assert_eq!(cause.kind(), io::ErrorKind::ConnectionReset);
        f.assert_nothing_left().await;
    }
}

pub async fn dropped_upload_leaves_nothing(f: Fixture) {
    for size in SIZES {
        let stalled = body(&content(4, size), 50_000).chain(stream::pending()).boxed();
        let (store, stage_plan) = (f.store.clone(), plan());
        let upload = tokio::spawn(async move { store.stage(stalled, stage_plan).await });
        // A small body is only held in memory until it ends; a large one has begun to be written.
        while size == SIZES[1] && f.unfinished().await.is_empty() {
            tokio::task::yield_now().await;
        }
        upload.abort();
        assert!(upload.await.unwrap_err().is_cancelled());
        // Removal goes on in the background. Ends at once, or hangs and fails the run.
        while !f.unfinished().await.is_empty() || f.buffers.current_bytes() > 0 {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        f.assert_nothing_left().await;
    }
}

pub async fn same_content_concurrently(f: Fixture) {
    let bytes = Bytes::from(content(5, 300_000));
    let uploads = (0..16).map(|i| {
        let (store, bytes) = (f.store.clone(), bytes.clone());
        tokio::spawn(async move {
            let staged = store.stage(body(&bytes, 1_000 + i), plan()).await.unwrap();
            store.promote(&staged).await.unwrap()
        })
    });
    let mut keys: Vec<_> = join_all(uploads).await.into_iter().map(Result::unwrap).collect();
    for key in &keys {
        assert!(f.store.open(key, None).await.unwrap().into_bytes(u64::MAX).await.unwrap() == bytes);
    }
    keys.sort();
    keys.dedup();
    assert_eq!(keys.len(), 16, "every upload is its own generation");
    f.store.delete(&keys[0]).await.unwrap();
    assert!(f.store.open(&keys[1], None).await.unwrap().into_bytes(u64::MAX).await.unwrap() == bytes);
}

pub async fn promotion_is_idempotent(f: Fixture) {
    let staged = f.store.stage_bytes("once".into(), plan()).await.unwrap();
    let keys = join_all((0..8).map(|_| f.store.promote(&staged))).await;
    let again = f.store.promote(&staged).await.unwrap();
    assert!(keys.into_iter().all(|key| key.unwrap() == again));
    drop(staged);
    assert_eq!(f.store.open(&again, None).await.unwrap().into_bytes(10).await.unwrap(), "once");
    assert_eq!(f.listed().await.len(), 1);
    assert_eq!(f.unfinished().await, []);
}

pub async fn discard_removes_only_what_was_not_promoted(f: Fixture) {
    for size in SIZES {
        let staged = f.store.stage(body(&content(6, size), 70_000), plan()).await.unwrap();
        f.store.discard(staged).await;
        f.assert_nothing_left().await;
    }
    let staged = f.store.stage_bytes("kept".into(), plan()).await.unwrap();
    let key = f.store.promote(&staged).await.unwrap();
    f.store.discard(staged).await;
    assert_eq!(f.store.stat(&key).await.unwrap(), Some(4));
}

pub async fn dropping_is_discarding(f: Fixture) {
    let staged = f.store.stage_bytes("kept".into(), plan()).await.unwrap();
    let key = f.store.promote(&staged).await.unwrap();
    drop(staged);
    for size in SIZES {
        drop(f.store.stage(body(&content(6, size), 70_000), plan()).await.unwrap());
    }
    // In the background on S3. Ends at once, or hangs and fails the run.
    while f.listed().await.len() > 1 || !f.unfinished().await.is_empty() {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    assert_eq!(f.store.stat(&key).await.unwrap(), Some(4));
}

pub async fn chunking_does_not_matter(f: Fixture) {
    let cases = (0usize..3 * BLOCK_BYTES, prop::collection::vec(any::<prop::sample::Index>(), 0..40), any::<u64>());
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig {
        cases: 24,
        failure_persistence: None,
        ..ProptestConfig::default()
    });
    let runtime = tokio::runtime::Handle::current();
    let store = f.store.clone();
    let run = move || {
        runner.run(&cases, |(size, cuts, seed)| {
            let bytes = Bytes::from(content(seed, size));
            let mut cuts: Vec<usize> = cuts.iter().map(|c| c.index(size + 1)).chain([0, size]).collect();
            cuts.sort_unstable();
            // Includes empty chunks wherever two cuts fall together.
            let chunks: Vec<_> = cuts.windows(2).map(|w| Ok(bytes.slice(w[0]..w[1]))).collect();
            let staged = runtime.block_on(store.stage(stream::iter(chunks).boxed(), plan())).unwrap();
            prop_assert_eq!(staged.sha256(), Digest::from_bytes(Sha256::digest(&bytes).into()));
            let key = runtime.block_on(store.promote(&staged)).unwrap();
            let read =
                runtime.block_on(store.open(&key, None).then(|body| body.unwrap().into_bytes(u64::MAX))).unwrap();
            prop_assert!(read == bytes);
            Ok(())
        })
    };
    tokio::task::spawn_blocking(run).await.unwrap().unwrap();
}

//! What only a disk store can suffer: full disks, rotten or truncated files, vanished directories.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, future::join_all, stream};
use publaryn_blobs::{
    BlobError, BlobKey, BlobStore, DiskConfig, DiskStore, StagePlan, StoreConfig,
    disk::{BLOCK_BYTES, TEMP_DIR},
};
use publaryn_core::{Digest, Timestamp};

fn plan() -> StagePlan {
    StagePlan::new(1 << 30, "limits.test")
}

async fn store_in(path: &Path) -> DiskStore {
    DiskStore::open(DiskConfig { path: path.to_owned() }).await.unwrap()
}

async fn stored(store: &DiskStore, content: impl Into<Bytes>) -> (BlobKey, Digest) {
    let staged = store.stage_bytes(content.into(), plan()).await.unwrap();
    (store.promote(&staged).await.unwrap(), staged.sha256())
}

#[tokio::test]
async fn file_is_named_by_its_content() {
    let directory = tempfile::tempdir().unwrap();
    let store = store_in(directory.path()).await;
    let (key, sha256) = stored(&store, "content").await;
    let hex = sha256.hex();
    assert!(key.as_str().starts_with(&format!("sha256/{}/{}-", &hex[..2], &hex[2..])), "{key}");
    assert_eq!(fs::read(store.path(&key).unwrap()).unwrap(), b"content");
    assert_eq!(store.path(&key).unwrap(), directory.path().join(key.as_str()));
}

#[tokio::test]
async fn foreign_keys_and_files_are_not_touched() {
    let directory = tempfile::tempdir().unwrap();
    let store = store_in(directory.path()).await;
    let stray = directory.path().join("sha256/ab/README");
    fs::write(&stray, "not a blob").unwrap();
    let key: BlobKey = "sha256/ab/README".parse().unwrap();
    assert!(matches!(store.open(&key, None).await, Err(BlobError::Missing { .. })));
    store.delete(&key).await.unwrap();
    assert!(stray.exists());
    assert_eq!(store.list().try_collect::<Vec<_>>().await.unwrap(), []);
}

#[tokio::test]
async fn open_readers_outlive_deletion() {
    let directory = tempfile::tempdir().unwrap();
    let store = store_in(directory.path()).await;
    let (key, sha256) = stored(&store, vec![3; 5 * BLOCK_BYTES]).await;
    let reader = store.open(&key, None).await.unwrap();
    let local = store.open_local(&key).await.unwrap().unwrap();
    store.delete(&key).await.unwrap();
    let read: Vec<Bytes> = reader.into_verified_stream(sha256).try_collect().await.unwrap();
    assert_eq!(read.iter().map(Bytes::len).sum::<usize>(), 5 * BLOCK_BYTES);
    assert!(read.iter().all(|chunk| chunk.len() <= BLOCK_BYTES));
    assert_eq!(local.size_bytes, 5 * BLOCK_BYTES as u64);
    assert_eq!(std::io::copy(&mut &local.file, &mut std::io::sink()).unwrap(), local.size_bytes);
    assert!(matches!(store.open_local(&key).await, Err(BlobError::Missing { .. })));
}

#[tokio::test]
async fn bit_rot_is_seen_by_the_verified_stream() {
    let directory = tempfile::tempdir().unwrap();
    let store = store_in(directory.path()).await;
    let (key, sha256) = stored(&store, vec![0; 3 * BLOCK_BYTES]).await;
    let path = store.path(&key).unwrap();
    let mut bytes = fs::read(&path).unwrap();
    bytes[2 * BLOCK_BYTES + 1] ^= 1;
    fs::write(&path, bytes).unwrap();
    let error = store.open(&key, None).await.unwrap().into_verified_stream(sha256).try_collect::<Vec<_>>().await;
    let error = error.unwrap_err().downcast::<BlobError>().unwrap();
    assert!(matches!(*error, BlobError::DigestMismatch { expected, .. } if expected == sha256));
}

#[tokio::test]
async fn truncation_during_a_download_is_an_error_and_not_a_short_body() {
    let directory = tempfile::tempdir().unwrap();
    let store = store_in(directory.path()).await;
    let (key, _) = stored(&store, vec![0; 8 * BLOCK_BYTES]).await;
    let body = store.open(&key, None).await.unwrap();
    fs::OpenOptions::new().write(true).open(store.path(&key).unwrap()).unwrap().set_len(1000).unwrap();
    assert!(matches!(body.into_bytes(u64::MAX).await, Err(BlobError::Unavailable(_))));
}

#[tokio::test]
async fn vanished_directories_are_unavailable_and_never_made_again() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("blobs");
    let store = store_in(&root).await;
    let staged = store.stage_bytes("in between".into(), plan()).await.unwrap();
    let away = directory.path().join("unmounted");
    fs::rename(&root, &away).unwrap();
    assert!(matches!(store.stage_bytes("x".into(), plan()).await, Err(BlobError::Unavailable(_))));
    let large = stream::iter(vec![Ok(Bytes::from(vec![0; 3 * BLOCK_BYTES]))]).boxed();
    assert!(matches!(store.stage(large, plan()).await, Err(BlobError::Unavailable(_))));
    assert!(store.promote(&staged).await.is_err());
    assert!(matches!(store.probe().await, Err(BlobError::Unavailable(_))));
    assert!(store.list().try_collect::<Vec<_>>().await.is_err());
    assert!(!root.exists());
    fs::rename(&away, &root).unwrap();
    store.probe().await.unwrap();
    let key = store.promote(&staged).await.unwrap();
    assert_eq!(store.open(&key, None).await.unwrap().into_bytes(100).await.unwrap(), "in between");
}

#[tokio::test]
async fn promoting_what_gc_removed_is_missing() {
    let directory = tempfile::tempdir().unwrap();
    let store = store_in(directory.path()).await;
    let staged = store.stage_bytes("too slow".into(), plan()).await.unwrap();
    let later = Timestamp::now() + std::time::Duration::from_secs(3600);
    let stale: Vec<_> = store.stale_uploads(later).try_collect().await.unwrap();
    store.remove_stale(&stale[0]).await.unwrap();
    assert!(matches!(store.promote(&staged).await, Err(BlobError::Missing { .. })));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixty_four_publishers_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let config = StoreConfig::Disk(DiskConfig { path: directory.path().to_owned() });
    let store = publaryn_blobs::open(config, 1 << 20).await.unwrap();
    let publishers = (0..64u32).map(|publisher| {
        let store = store.clone();
        tokio::spawn(async move {
            for round in 0..8u32 {
                let content = Bytes::from(format!("{publisher} {round}").repeat(1000));
                let staged = store.stage_bytes(content.clone(), plan()).await.unwrap();
                let key = store.promote(&staged).await.unwrap();
                assert_eq!(store.open(&key, None).await.unwrap().into_bytes(1 << 20).await.unwrap(), content);
            }
        })
    });
    for publisher in join_all(publishers).await {
        publisher.unwrap();
    }
    assert_eq!(store.list().try_collect::<Vec<_>>().await.unwrap().len(), 64 * 8);
}

/// The directory that [`full_disk_in_child`] is to use; set only by the test that starts it.
const CHILD_DIRECTORY: &str = "PUBLARYN_BLOBS_TEST_CHILD";

#[test]
fn full_disk_is_no_space_and_leaves_nothing() {
    // Filling a real disk needs root; a file size limit fails the same `write` for anybody. It holds
    // for a whole process, so the test runs in its own; SIGXFSZ must be ignored before it starts.
    let directory = tempfile::tempdir().unwrap();
    let output = Command::new("sh")
        .args(["-c", "trap '' XFSZ; ulimit -f 1024; exec \"$@\"", "sh"])
        .arg(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "full_disk_in_child"])
        .env(CHILD_DIRECTORY, directory.path())
        .output()
        .unwrap();
    let printed = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && printed.contains("1 passed"), "{printed}");
}

#[tokio::test]
#[ignore = "started by full_disk_is_no_space_and_leaves_nothing under a file size limit"]
async fn full_disk_in_child() {
    let root = PathBuf::from(std::env::var(CHILD_DIRECTORY).expect("run by its parent only"));
    let store = store_in(&root).await;
    // The limit is 512 KiB or 1 MiB, as the shell counts.
    let too_much = Bytes::from(vec![1; 3 << 20]);
    let body = stream::iter(too_much.chunks(70_000).map(|c| Ok(Bytes::copy_from_slice(c))).collect::<Vec<_>>());
    let streamed = store.stage(body.boxed(), plan()).await.unwrap_err();
    assert!(matches!(streamed, BlobError::NoSpace(_)), "{streamed:?}");
    assert!(streamed.is_transient());
    let at_once = store.stage_bytes(too_much, plan()).await.unwrap_err();
    assert!(matches!(at_once, BlobError::NoSpace(_)), "{at_once:?}");
    assert_eq!(fs::read_dir(root.join(TEMP_DIR)).unwrap().count(), 0);
    assert_eq!(store.list().try_collect::<Vec<_>>().await.unwrap(), []);
    stored(&store, "there is room for this").await;
}

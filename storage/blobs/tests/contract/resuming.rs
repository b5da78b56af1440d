//! Uploads over several requests and processes.

use std::sync::Mutex;

use async_trait::async_trait;
use futures::{StreamExt, TryStreamExt, stream};
use publaryn_blobs::{
    AppendPlan, Appended, BlobError, BlobStore, ByteStream, CHECKPOINT_BYTES, Checkpoint, UploadState, s3::PART_BYTES,
};
use publaryn_core::{Digest, UploadId};
use sha2::{Digest as _, Sha256};

use crate::fixture::{Fixture, body, broken_body, content, in_an_hour};

const MIB: usize = 1024 * 1024;

/// Remembers what it was told, as the state's serialised form.
#[derive(Default)]
struct Kept(Mutex<Vec<String>>);

#[async_trait]
impl Checkpoint for Kept {
    async fn save(&self, state: &UploadState) -> Result<(), BlobError> {
        self.0.lock().unwrap().push(serde_json::to_string(state).unwrap());
        Ok(())
    }
}

fn plan(limit_bytes: u64, is_last: bool) -> AppendPlan {
    AppendPlan { limit_bytes, limit_name: "limits.test", is_last }
}

async fn try_append(store: &dyn BlobStore, state: UploadState, body: ByteStream) -> Result<Appended, BlobError> {
    store.append(state, body, plan(1 << 30, false), &Kept::default()).await
}

/// Appends, and passes the state through its stored form.
async fn append(store: &dyn BlobStore, state: UploadState, bytes: &[u8]) -> UploadState {
    let done = try_append(store, state, body(bytes, 40_000)).await.unwrap();
    assert!(done.trouble.is_none(), "{:?}", done.trouble);
    serde_json::from_str(&serde_json::to_string(&done.state).unwrap()).unwrap()
}

async fn assert_content(store: &dyn BlobStore, state: &UploadState, whole: &[u8]) {
    assert_eq!(state.sha256().unwrap(), Digest::from_bytes(Sha256::digest(whole).into()));
    let key = store.complete(state).await.unwrap();
    let read = store.open(&key, None).await.unwrap().into_bytes(1 << 30).await.unwrap();
    assert!(read == whole, "{} bytes came back", read.len());
    assert_eq!(store.complete(state).await.unwrap(), key, "completing again finds the same blob");
}

pub async fn pieces_of_every_awkward_size_become_one_blob(f: Fixture) {
    let part = PART_BYTES;
    let cases: [&[usize]; 7] = [
        &[0],
        &[0, 1, 0, 5, 100],
        &[part],
        &[part - 1, 1, 1],
        &[3 * MIB, 3 * MIB, 3 * MIB, 10],
        &[2 * part + 17, 1, part],
        &[5, 2 * part, part - 5],
    ];
    for (seed, sizes) in cases.into_iter().enumerate() {
        let whole = content(seed as u64, sizes.iter().sum());
        let mut state = UploadState::new(UploadId::new(), false);
        let mut from = 0;
        for size in sizes {
            state = append(&*f.store, state, &whole[from..from + size]).await;
            from += size;
            assert_eq!(state.size_bytes(), from as u64);
        }
        assert_content(&*f.store, &state, &whole).await;
    }
    assert_eq!(f.buffers.current_bytes(), 0);
}

pub async fn many_tiny_pieces_become_one_blob(f: Fixture) {
    let whole = content(9, 200);
    let mut state = UploadState::new(UploadId::new(), true);
    for byte in whole.chunks(1) {
        state = append(&*f.store, state, byte).await;
    }
    assert_eq!(state.sha512().unwrap().unwrap(), hex::encode(sha2::Sha512::digest(&whole)));
    assert_content(&*f.store, &state, &whole).await;
}

pub async fn a_broken_body_keeps_what_came(f: Fixture) {
    let whole = content(1, PART_BYTES + 300_000);
    let state = UploadState::new(UploadId::new(), false);
    let broken = try_append(&*f.store, state, broken_body(&whole[..PART_BYTES + 100_000], "gone")).await.unwrap();
    assert!(matches!(broken.trouble, Some(BlobError::BodyAborted(_))), "{:?}", broken.trouble);
    assert_eq!(broken.state.size_bytes(), PART_BYTES as u64 + 100_000);
    let state = append(&*f.store, broken.state, &whole[PART_BYTES + 100_000..]).await;
    assert_content(&*f.store, &state, &whole).await;
}

pub async fn the_limit_is_for_the_whole_upload(f: Fixture) {
    let state = append(&*f.store, UploadState::new(UploadId::new(), false), &[1; 60]).await;
    let kept = Kept::default();
    let over = f.store.append(state.clone(), body(&[2; 41], 10), plan(100, false), &kept).await.unwrap();
    assert!(matches!(over.trouble, Some(BlobError::TooLarge { limit_name: "limits.test", limit_bytes: 100 })));
    f.store.abandon(&over.state).await.unwrap();
    f.assert_nothing_left().await;
}

pub async fn a_restart_goes_on_where_the_state_says(f: Fixture) {
    let whole = content(3, 2 * PART_BYTES + 500);
    let cut = PART_BYTES + 400;
    let state = append(&*f.store, UploadState::new(UploadId::new(), false), &whole[..cut]).await;
    // This much reached the store, but its state was never kept: the process died.
    let lost = append(&*f.store, state.clone(), &content(77, PART_BYTES)).await;
    assert_ne!(lost, state);
    let store = f.reopened().await;
    let state = append(&*store, state, &whole[cut..]).await;
    assert_content(&*store, &state, &whole).await;
}

pub async fn the_end_may_wait_in_memory_for_the_completion(f: Fixture) {
    for size in [0, 1000, PART_BYTES, PART_BYTES + 1000] {
        let whole = content(size as u64, size);
        let state = append(&*f.store, UploadState::new(UploadId::new(), false), &whole[..size / 2]).await;
        let rest = body(&whole[size / 2..], 60_000);
        let done = f.store.append(state, rest, plan(1 << 30, true), &Kept::default()).await.unwrap();
        assert_content(&*f.store, &done.state, &whole).await;
    }
}

pub async fn long_appends_are_saved_on_the_way(f: Fixture) {
    let block = content(5, MIB);
    let blocks = stream::iter((0..130).map(move |_| Ok(block.clone().into()))).boxed();
    let kept = Kept::default();
    let state = UploadState::new(UploadId::new(), false);
    let done = f.store.append(state, blocks, plan(1 << 30, false), &kept).await.unwrap();
    assert_eq!(done.state.size_bytes(), 130 * MIB as u64);
    let saved = kept.0.into_inner().unwrap();
    let sizes: Vec<u64> = saved.iter().map(|s| serde_json::from_str::<UploadState>(s).unwrap().size_bytes()).collect();
    let ends = [&[0], sizes.as_slice(), &[done.state.size_bytes()]].concat();
    assert!(ends.windows(2).all(|w| w[0] < w[1] && w[1] - w[0] <= 2 * CHECKPOINT_BYTES), "{sizes:?}");
    // Any saved state is one to go on from.
    let early: UploadState = serde_json::from_str(&saved[0]).unwrap();
    let rest = content(5, MIB).repeat(130)[early.size_bytes() as usize..].to_vec();
    let state = append(&*f.reopened().await, early, &rest).await;
    assert_eq!(state.sha256().unwrap(), done.state.sha256().unwrap());
    f.store.abandon(&state).await.unwrap();
    assert!(f.buffers.peak_bytes() < 48 * MIB, "{} bytes were held at once", f.buffers.peak_bytes());
}

pub async fn abandoned_uploads_are_found_and_removed(f: Fixture) {
    let (kept, gone) = (UploadId::new(), UploadId::new());
    let size = PART_BYTES + 10;
    for id in [kept, gone] {
        append(&*f.store, UploadState::new(id, false), &content(4, size)).await;
    }
    assert_eq!(f.unfinished().await, [], "resumable uploads are not among the others");
    let found: Vec<_> = f.store.abandoned(in_an_hour()).try_collect().await.unwrap();
    assert!(found.iter().any(|a| a.id == kept) && found.iter().any(|a| a.id == gone));
    for upload in found.iter().filter(|a| a.id == gone) {
        f.store.remove_abandoned(upload).await.unwrap();
        f.store.remove_abandoned(upload).await.unwrap();
    }
    let left: Vec<_> = f.store.abandoned(in_an_hour()).try_collect().await.unwrap();
    assert!(!left.is_empty() && left.iter().all(|a| a.id == kept));
    let long_ago = publaryn_core::Timestamp::now() - std::time::Duration::from_secs(3600);
    let none: Vec<_> = f.store.abandoned(long_ago).try_collect().await.unwrap();
    assert_eq!(none, []);
}

pub async fn lost_content_is_told_apart(f: Fixture) {
    let state = append(&*f.store, UploadState::new(UploadId::new(), false), &content(6, PART_BYTES + 10)).await;
    f.store.abandon(&state).await.unwrap();
    f.store.abandon(&state).await.unwrap();
    assert!(matches!(f.store.complete(&state).await, Err(BlobError::UploadLost)));
    let more = body(&content(7, PART_BYTES), MIB);
    assert!(matches!(try_append(&*f.store, state, more).await, Err(BlobError::UploadLost)));
}

/// As after a crash between the completion and the commit that would have told of it.
pub async fn a_completed_upload_may_be_ended_again(f: Fixture) {
    let whole = content(8, PART_BYTES + 10);
    let state = append(&*f.store, UploadState::new(UploadId::new(), false), &whole).await;
    let key = f.store.complete(&state).await.unwrap();
    let ended = f.store.append(state, body(b"", 1), plan(1 << 30, true), &Kept::default()).await.unwrap();
    assert!(ended.trouble.is_none());
    assert_eq!(f.store.complete(&ended.state).await.unwrap(), key);
    assert_content(&*f.store, &ended.state, &whole).await;
}

pub async fn a_second_writer_is_noticed_on_disk(f: Fixture) {
    if !f.is_disk() {
        return;
    }
    let state = append(&*f.store, UploadState::new(UploadId::new(), false), b"begun").await;
    let (sender, receiver) = tokio::sync::mpsc::channel::<Vec<u8>>(1);
    let slow = stream::unfold(receiver, |mut receiver| async move {
        receiver.recv().await.map(|bytes| (Ok(bytes.into()), receiver))
    });
    let (store, first) = (f.store.clone(), state.clone());
    let writing = tokio::spawn(async move { try_append(&*store, first, slow.boxed()).await });
    // A whole block is on its way to the file, so the first writer has opened it.
    sender.send(vec![1; 300_000]).await.unwrap();
    sender.send(vec![1; 300_000]).await.unwrap();
    sender.reserve().await.unwrap().send(vec![1; 1]);
    assert!(matches!(try_append(&*f.store, state, body(b"x", 1)).await, Err(BlobError::UploadBusy)));
    drop(sender);
    assert_eq!(writing.await.unwrap().unwrap().state.size_bytes(), 600_006);
}

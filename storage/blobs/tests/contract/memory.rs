//! Large transfers hold a fixed number of buffers.

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use publaryn_blobs::{
    disk::BLOCK_BYTES,
    s3::{PART_BYTES, PARTS_PER_UPLOAD},
};
use sha2::{Digest as _, Sha256};

use crate::fixture::{Fixture, content, plan};

const CHUNK: usize = 100_000;
const CHUNKS: u64 = 2_000;

pub async fn two_hundred_megabytes_in_constant_memory(f: Fixture) {
    let pattern = content(9, 2 * CHUNK);
    let mut sha256 = Sha256::new();
    let chunk = move |i: u64| {
        let at = (i as usize * 61) % CHUNK;
        Bytes::copy_from_slice(&pattern[at..at + CHUNK])
    };
    for i in 0..CHUNKS {
        sha256.update(chunk(i));
    }
    let expected = sha256.finalize();

    let staged = f.store.stage(stream::iter(0..CHUNKS).map(move |i| Ok(chunk(i))).boxed(), plan()).await.unwrap();
    assert_eq!(staged.size_bytes(), CHUNKS * CHUNK as u64);
    assert_eq!(staged.sha256().as_bytes()[..], expected[..]);
    // The block being filled and the blocks on their way out.
    let most = if f.is_disk() { 2 * BLOCK_BYTES } else { (1 + PARTS_PER_UPLOAD) * PART_BYTES };
    assert!(f.buffers.peak_bytes() <= most, "{} bytes were held while uploading", f.buffers.peak_bytes());

    let key = f.store.promote(&staged).await.unwrap();
    let mut download = f.store.open(&key, None).await.unwrap().into_stream();
    let (mut read, mut largest) = (Sha256::new(), 0);
    while let Some(chunk) = download.try_next().await.unwrap() {
        read.update(&chunk);
        largest = largest.max(chunk.len());
    }
    assert_eq!(read.finalize(), expected);
    assert!(largest <= 1024 * 1024, "a chunk of {largest} bytes");
    // The chunk in the reader's hands, the one read ahead and the one being handed over.
    let most = if f.is_disk() { 3 * BLOCK_BYTES } else { most };
    assert!(f.buffers.peak_bytes() <= most, "{} bytes were held while downloading", f.buffers.peak_bytes());
    assert_eq!(f.buffers.current_bytes(), 0);
}

//! Reading blobs: one call for small ones, blocks for the rest.

use std::{
    fs::File,
    io::{self, IoSliceMut},
    ops::Range,
    path::Path,
    sync::Arc,
};

use bytes::Bytes;
use futures::{StreamExt, stream};
use publaryn_core::BoxError;
use rustix::{
    fs::Advice,
    io::{Errno, ReadWriteFlags, preadv2},
};
use tokio::task::spawn_blocking;

use super::BLOCK_BYTES;
use crate::{
    BlobBody, BlobError, BlobKey, BufferGauge, ByteStream, LocalBlob,
    body::{into_blob_error, resolve_range},
};

/// Opens a blob and reads its first block; that is all of it for most packages.
pub(super) fn open(
    path: &Path,
    key: &BlobKey,
    range: Option<Range<u64>>,
    buffers: &BufferGauge,
) -> Result<BlobBody, BlobError> {
    let LocalBlob { file, size_bytes } = open_local(path, key)?;
    let range = resolve_range(range, size_bytes)?;
    if range.end - range.start > BLOCK_BYTES as u64 {
        // Advice only: a file system without read-ahead control still reads.
        let _ = rustix::fs::fadvise(&file, range.start, None, Advice::Sequential);
    }
    let mut reader = Reader { file: Arc::new(file), rest: range.clone(), buffers: buffers.clone() };
    let first = reader.next_block().read(Patience::Wait).map_err(into_blob_error)?;
    let first = reader.buffers.lend(first.bytes);
    if reader.rest.is_empty() {
        return Ok(BlobBody::whole(size_bytes, range, first));
    }
    Ok(BlobBody::stream(size_bytes, range, reader.stream(first)))
}

pub(super) fn open_local(path: &Path, key: &BlobKey) -> Result<LocalBlob, BlobError> {
    let file = File::open(path).map_err(|e| BlobError::from_io_on(e, key))?;
    let size_bytes = file.metadata().map_err(BlobError::from_io)?.len();
    Ok(LocalBlob { file, size_bytes })
}

/// An open blob and the part of it that is still to be read.
struct Reader {
    file: Arc<File>,
    rest: Range<u64>,
    buffers: BufferGauge,
}

impl Reader {
    /// Takes the next block's part off the rest, with room for it.
    fn next_block(&mut self) -> Block {
        let start = self.rest.start;
        let length = (self.rest.end - start).min(BLOCK_BYTES as u64) as usize;
        self.rest.start += length as u64;
        Block { file: self.file.clone(), start, filled: 0, bytes: self.buffers.block(length) }
    }

    /// `first`, then the rest. What the page cache holds is read on the spot, since that is only a copy
    /// and a hop to the blocking pool costs as much; for what it does not hold a thread waits, and none
    /// is held while the client is slow.
    fn stream(self, first: Bytes) -> ByteStream {
        let rest = stream::try_unfold(self, |mut reader| async move {
            if reader.rest.is_empty() {
                return Ok(None);
            }
            let mut block = reader.next_block().read(Patience::PageCacheOnly)?;
            if block.filled < block.bytes.len() {
                let slow = spawn_blocking(move || block.read(Patience::Wait));
                block = slow.await.map_err(BlobError::unavailable)??;
            }
            Ok::<_, BoxError>(Some((reader.buffers.lend(block.bytes), reader)))
        });
        stream::once(async move { Ok(first) }).chain(rest).boxed()
    }
}

/// A block on its way into memory.
struct Block {
    file: Arc<File>,
    start: u64,
    filled: usize,
    bytes: Vec<u8>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Patience {
    Wait,
    PageCacheOnly,
}

impl Block {
    /// Reads until the block is full or, with little patience, the page cache has no more of it.
    fn read(mut self, patience: Patience) -> Result<Self, BoxError> {
        let flags = match patience {
            Patience::Wait => ReadWriteFlags::empty(),
            Patience::PageCacheOnly => ReadWriteFlags::NOWAIT,
        };
        while self.filled < self.bytes.len() {
            let at = self.start + self.filled as u64;
            let mut room = [IoSliceMut::new(&mut self.bytes[self.filled..])];
            match preadv2(&*self.file, &mut room, at, flags) {
                Ok(0) => return Err(BlobError::unavailable(io::Error::from(io::ErrorKind::UnexpectedEof)).into()),
                Ok(read) => self.filled += read,
                Err(Errno::INTR) => {}
                // Not in the cache, or a file system that cannot tell.
                Err(_) if patience == Patience::PageCacheOnly => break,
                Err(errno) => return Err(BlobError::from_io(errno.into()).into()),
            }
        }
        Ok(self)
    }
}

//! Reading blobs: one call for small ones, blocks with read-ahead for the rest.

use std::{fs::File, io, ops::Range, path::Path, sync::Arc};

use bytes::Bytes;
use futures::{StreamExt, stream};
use publaryn_core::BoxError;
use rustix::{buffer::spare_capacity, fs::Advice};
use tokio::task::{JoinHandle, spawn_blocking};

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
    let mut reader = Reader { file: Arc::new(file), rest: range.clone(), buffers: buffers.clone() };
    if reader.rest.end - reader.rest.start > BLOCK_BYTES as u64 {
        // Advice only: a file system without read-ahead control still reads.
        let _ = rustix::fs::fadvise(&reader.file, range.start, None, Advice::Sequential);
    }
    let first = reader.read_block().map_err(into_blob_error)?;
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
    /// Reads the next block; empty at the end. Blocks.
    fn read_block(&mut self) -> Result<Bytes, BoxError> {
        let length = (self.rest.end - self.rest.start).min(BLOCK_BYTES as u64) as usize;
        let mut block = Vec::with_capacity(length);
        while block.len() < length {
            let at = self.rest.start + block.len() as u64;
            match rustix::io::pread(&self.file, spare_capacity(&mut block), at) {
                Ok(0) => return Err(BlobError::unavailable(io::Error::from(io::ErrorKind::UnexpectedEof)).into()),
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(errno) => return Err(BlobError::from_io(errno.into()).into()),
            }
        }
        // The allocator may have given more room than asked for.
        block.truncate(length);
        self.rest.start += length as u64;
        Ok(self.buffers.lend(block))
    }

    /// `first`, then the rest. One block is read ahead while the previous one is on its way out; no
    /// thread is held while the client is slow.
    fn stream(self, first: Bytes) -> ByteStream {
        let ahead = self.read_ahead();
        let rest = stream::try_unfold(ahead, |ahead| async move {
            let Some(ahead) = ahead else { return Ok(None) };
            let (block, reader) = ahead.await.map_err(BlobError::unavailable)??;
            Ok(Some((block, reader.read_ahead())))
        });
        stream::once(async move { Ok(first) }).chain(rest).boxed()
    }

    /// Starts reading the next block, unless there is none.
    fn read_ahead(mut self) -> Option<JoinHandle<Result<(Bytes, Self), BoxError>>> {
        (!self.rest.is_empty()).then(|| spawn_blocking(move || Ok((self.read_block()?, self))))
    }
}

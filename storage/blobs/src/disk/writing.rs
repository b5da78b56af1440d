//! Writing blobs: temporary file, promotion, removal.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use super::layout::Layout;
use crate::{BlobError, BlobKey, StagePlan, Staged, hashing::Hasher, stage::StagedPlace};

/// An upload in progress. Dropping it removes the file.
pub(super) struct Writer {
    temp: TempFile,
    hasher: Hasher,
    unsynced_bytes: usize,
}

/// How much may be written before it is pushed to the disk, in bytes.
///
/// Keeps the last sync of a 10 GiB layer short, and the page cache's dirty pages few.
pub(super) const SYNC_EVERY_BYTES: usize = 32 * 1024 * 1024;

impl Writer {
    pub(super) fn create(layout: &Layout, plan: &StagePlan) -> Result<Self, BlobError> {
        let path = layout.fresh_temp();
        let file =
            OpenOptions::new().write(true).create_new(true).mode(0o640).open(&path).map_err(BlobError::from_io)?;
        Ok(Self { temp: TempFile::new(path, file), hasher: Hasher::new(plan), unsynced_bytes: 0 })
    }

    pub(super) fn write(mut self, block: &[u8]) -> Result<Self, BlobError> {
        self.hasher.update(block);
        (&self.temp.file).write_all(block).map_err(BlobError::from_io)?;
        self.unsynced_bytes += block.len();
        if self.unsynced_bytes >= SYNC_EVERY_BYTES {
            self.temp.file.sync_data().map_err(BlobError::from_io)?;
            self.unsynced_bytes = 0;
        }
        Ok(self)
    }

    /// Checks the digest. The content is complete, but only [`promote`] puts it on stable storage.
    pub(super) fn finish(self, plan: &StagePlan) -> Result<Staged, BlobError> {
        let (digests, size_bytes) = self.hasher.finish(plan)?;
        let key = Layout::fresh_key(&digests.sha256);
        Ok(Staged::new(key, digests, size_bytes, StagedPlace::Temp(Arc::new(self.temp))))
    }
}

/// A file that is removed on drop unless it was renamed away. Open, so that it can be synced under
/// whichever name.
#[derive(Debug)]
pub(crate) struct TempFile {
    path: PathBuf,
    file: File,
    renamed: AtomicBool,
}

impl TempFile {
    fn new(path: PathBuf, file: File) -> Self {
        Self { path, file, renamed: AtomicBool::new(false) }
    }
}

impl Drop for TempFile {
    fn drop(&mut self) {
        if !self.renamed.load(Ordering::Acquire)
            && let Err(error) = remove(&self.path)
        {
            tracing::warn!(error = %error, "temporary upload file could not be removed; gc will try again");
        }
    }
}

/// Gives the staged file its name and makes name and content durable.
///
/// The name comes first: a journaling file system then writes both with the sync of the file, and the
/// sync of the directory finds its work done. The other order costs two commits of the journal, one
/// after the other (ADR 0008).
pub(super) fn promote(layout: &Layout, temp: &TempFile, key: &BlobKey) -> Result<(), BlobError> {
    let shard = layout.shard(key).ok_or_else(|| BlobError::missing(key))?;
    if !temp.renamed.load(Ordering::Acquire) {
        rename(layout, &temp.path, key)?;
        // Also when another call with the same staged blob was faster: the file has its name.
        temp.renamed.store(true, Ordering::Release);
    }
    temp.file.sync_all().and_then(|()| shard.sync()).map_err(BlobError::from_io)
}

/// Moves a file to the place of `key`. Idempotent; the caller makes it durable.
pub(super) fn rename(layout: &Layout, from: &Path, key: &BlobKey) -> Result<(), BlobError> {
    let path = layout.blob_path(key).ok_or_else(|| BlobError::missing(key))?;
    match fs::rename(from, &path) {
        Ok(()) => Ok(()),
        Err(e) if e.kind() == io::ErrorKind::NotFound && path.exists() => Ok(()),
        Err(e) => Err(BlobError::from_io_on(e, key)),
    }
}

/// Removes a file; a missing one is fine.
pub(super) fn remove(path: &Path) -> Result<(), BlobError> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(BlobError::from_io(e)),
        _ => Ok(()),
    }
}

/// Writes, reads back and removes a small file, and looks at the directory that blobs end up in.
pub(super) fn probe(layout: &Layout) -> Result<(), BlobError> {
    const CONTENT: &[u8] = b"publaryn storage probe";
    let plan = StagePlan::new(CONTENT.len() as u64, "probe");
    let writer = Writer::create(layout, &plan)?.write(CONTENT)?;
    writer.temp.file.sync_all().map_err(BlobError::from_io)?;
    let read = fs::read(&writer.temp.path).map_err(BlobError::from_io)?;
    fs::metadata(layout.shard_path(0)).map_err(BlobError::from_io)?;
    if read == CONTENT { Ok(()) } else { Err(BlobError::unavailable("probe read back other bytes than it wrote")) }
}

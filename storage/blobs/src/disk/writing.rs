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
    file: File,
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
        Ok(Self { file, temp: TempFile::new(path), hasher: Hasher::new(plan), unsynced_bytes: 0 })
    }

    pub(super) fn write(mut self, block: &[u8]) -> Result<Self, BlobError> {
        self.hasher.update(block);
        self.file.write_all(block).map_err(BlobError::from_io)?;
        self.unsynced_bytes += block.len();
        if self.unsynced_bytes >= SYNC_EVERY_BYTES {
            self.file.sync_data().map_err(BlobError::from_io)?;
            self.unsynced_bytes = 0;
        }
        Ok(self)
    }

    /// Checks the digest and puts the content on stable storage, still under its temporary name.
    pub(super) fn finish(self, plan: &StagePlan) -> Result<Staged, BlobError> {
        let (digests, size_bytes) = self.hasher.finish(plan)?;
        self.file.sync_all().map_err(BlobError::from_io)?;
        let key = Layout::fresh_key(&digests.sha256);
        Ok(Staged::new(key, digests, size_bytes, StagedPlace::Temp(Arc::new(self.temp))))
    }
}

/// A file that is removed on drop unless it was renamed away.
#[derive(Debug)]
pub(crate) struct TempFile {
    path: PathBuf,
    renamed: AtomicBool,
}

impl TempFile {
    fn new(path: PathBuf) -> Self {
        Self { path, renamed: AtomicBool::new(false) }
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

/// Gives the staged file its name and makes that durable.
pub(super) fn promote(layout: &Layout, temp: &TempFile, key: &BlobKey) -> Result<(), BlobError> {
    if temp.renamed.load(Ordering::Acquire) {
        return layout.shard(key).ok_or_else(|| BlobError::missing(key))?.sync().map_err(BlobError::from_io);
    }
    rename_into(layout, &temp.path, key)?;
    // Also when another call with the same staged blob was faster: the file has its name.
    temp.renamed.store(true, Ordering::Release);
    Ok(())
}

/// Moves a complete, synced file to the place of `key` and makes that durable. Idempotent.
pub(super) fn rename_into(layout: &Layout, from: &Path, key: &BlobKey) -> Result<(), BlobError> {
    let (Some(path), Some(shard)) = (layout.blob_path(key), layout.shard(key)) else {
        return Err(BlobError::missing(key));
    };
    match fs::rename(from, &path) {
        Ok(()) => {}
        Err(e) if e.kind() == io::ErrorKind::NotFound && path.exists() => {}
        Err(e) => return Err(BlobError::from_io_on(e, key)),
    }
    shard.sync().map_err(BlobError::from_io)
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
    writer.file.sync_all().map_err(BlobError::from_io)?;
    let read = fs::read(&writer.temp.path).map_err(BlobError::from_io)?;
    fs::metadata(layout.shard_path(0)).map_err(BlobError::from_io)?;
    if read == CONTENT { Ok(()) } else { Err(BlobError::unavailable("probe read back other bytes than it wrote")) }
}

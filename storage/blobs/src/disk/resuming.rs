//! Uploads that go on in later requests: one file each, in `uploads/`.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io::{self, Seek, SeekFrom, Write},
    os::unix::fs::OpenOptionsExt,
};

use publaryn_core::UploadId;

use super::{
    layout::Layout,
    writing::{SYNC_EVERY_BYTES, remove, rename},
};
use crate::{
    BlobError, BlobKey, UploadState,
    upload::{RunningHash, UploadPlace},
};

/// An upload's file, open at its end and locked: a writer that lost its lease but not its life
/// cannot write beside its successor.
pub(super) struct Appender {
    file: File,
    hash: RunningHash,
    state: UploadState,
    unsynced_bytes: usize,
    is_new: bool,
}

impl Appender {
    pub(super) fn open(layout: &Layout, state: UploadState) -> Result<Self, BlobError> {
        let is_new = state.size_bytes() == 0;
        let mut options = OpenOptions::new();
        options.write(true).create(is_new).truncate(false).mode(0o640);
        let mut file = match options.open(layout.upload_path(state.id())) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Err(BlobError::UploadLost),
            Err(e) => return Err(BlobError::from_io(e)),
        };
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(BlobError::UploadBusy),
            Err(TryLockError::Error(e)) => return Err(BlobError::from_io(e)),
        }
        let length = file.metadata().map_err(BlobError::from_io)?.len();
        if length < state.size_bytes() {
            return Err(BlobError::UploadLost);
        }
        // What a crash left beyond the state was never acknowledged.
        file.set_len(state.size_bytes()).map_err(BlobError::from_io)?;
        file.seek(SeekFrom::End(0)).map_err(BlobError::from_io)?;
        Ok(Self { file, hash: state.hasher()?, state, unsynced_bytes: 0, is_new })
    }

    pub(super) fn write(mut self, block: &[u8]) -> Result<Self, BlobError> {
        self.file.write_all(block).map_err(BlobError::from_io)?;
        self.hash.update(block);
        self.unsynced_bytes += block.len();
        if self.unsynced_bytes >= SYNC_EVERY_BYTES {
            self.file.sync_data().map_err(BlobError::from_io)?;
            self.unsynced_bytes = 0;
        }
        Ok(self)
    }

    /// Puts everything written so far on stable storage; the state then says so.
    pub(super) fn save(mut self, layout: &Layout) -> Result<(Self, UploadState), BlobError> {
        self.file.sync_all().map_err(BlobError::from_io)?;
        if std::mem::take(&mut self.is_new) {
            layout.uploads().sync().map_err(BlobError::from_io)?;
        }
        self.unsynced_bytes = 0;
        self.state.advance(&self.hash, UploadPlace::Disk);
        let state = self.state.clone();
        Ok((self, state))
    }
}

/// Gives a finished upload its final name. The name follows from the upload, so that repeating
/// this after a crash finds what it did before.
pub(super) fn complete(layout: &Layout, state: &UploadState) -> Result<BlobKey, BlobError> {
    let key = key_of(state)?;
    if state.place == UploadPlace::Nowhere {
        // Not a single byte came: there is no file yet.
        let (_, _) = Appender::open(layout, state.clone())?.save(layout)?;
    }
    let shard = layout.shard(&key).ok_or_else(|| BlobError::missing(&key))?;
    match rename(layout, &layout.upload_path(state.id()), &key) {
        Err(BlobError::Missing { .. }) => return Err(BlobError::UploadLost),
        other => other?,
    }
    // The content itself was synced when the state was saved.
    shard.sync().map_err(BlobError::from_io)?;
    Ok(key)
}

/// Whether [`complete`] came so far that the content has its final name.
pub(super) fn is_completed(layout: &Layout, state: &UploadState) -> Result<bool, BlobError> {
    let key = key_of(state)?;
    let path = layout.blob_path(&key).ok_or_else(|| BlobError::missing(&key))?;
    Ok(state.place == UploadPlace::Disk && path.metadata().is_ok_and(|file| file.len() == state.size_bytes()))
}

fn key_of(state: &UploadState) -> Result<BlobKey, BlobError> {
    Ok(Layout::key(&state.sha256()?, &generation(state.id())))
}

pub(super) fn abandon(layout: &Layout, id: UploadId) -> Result<(), BlobError> {
    remove(&layout.upload_path(id))
}

/// The random half of the identifier: the other one is the time it was made.
fn generation(id: UploadId) -> String {
    id.0.simple().to_string()[16..].to_owned()
}

/// The upload a file in `uploads/` belongs to.
pub(super) fn id_of(name: &str) -> Option<UploadId> {
    uuid::Uuid::try_parse(name).ok().map(UploadId)
}

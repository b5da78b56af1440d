//! Which file a key names.

use std::{
    fs, io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

use publaryn_core::{Digest, UploadId};
use uuid::Uuid;

use super::dir_sync::DirSync;
use crate::{BlobError, BlobKey};

/// Where a disk store lives.
#[derive(Debug, Clone)]
pub struct DiskConfig {
    /// `storage.fs.path`; created with mode 0700 when missing.
    pub path: PathBuf,
}

/// Directory of uploads in progress, below the store's own.
pub const TEMP_DIR: &str = "tmp";

/// Directory of uploads that go on in later requests.
pub const UPLOADS_DIR: &str = "uploads";

/// The directories of one store.
#[derive(Debug)]
pub(super) struct Layout {
    root: PathBuf,
    /// One gate per shard directory, by its byte.
    shards: Vec<DirSync>,
    uploads: DirSync,
}

impl Layout {
    /// Creates what is missing, durably: a blob may be promoted right afterwards.
    pub(super) fn create(config: DiskConfig) -> Result<Self, BlobError> {
        let root = config.path;
        create_dirs(&root).map_err(BlobError::from_io)?;
        let shards = (0..=u8::MAX).map(|byte| DirSync::new(shard_dir(&root, byte))).collect();
        let uploads = DirSync::new(root.join(UPLOADS_DIR));
        Ok(Self { root, shards, uploads })
    }

    /// A key for new content; different at every call.
    pub(super) fn fresh_key(digest: &Digest) -> BlobKey {
        Self::key(digest, &Uuid::new_v4().simple().to_string()[..16])
    }

    /// The key of content in a generation of 16 hex digits.
    pub(super) fn key(digest: &Digest, generation: &str) -> BlobKey {
        let hex = digest.hex();
        let text = format!("sha256/{}/{}-{generation}", &hex[..2], &hex[2..]);
        text.parse().expect("hex digits, slashes and a dash are a key")
    }

    /// The file of a blob; `None` for a key of another kind of store, which is never here.
    pub(super) fn blob_path(&self, key: &BlobKey) -> Option<PathBuf> {
        shard_of(key).map(|_| self.root.join(key.as_str()))
    }

    /// The gate of the directory the blob's file is in.
    pub(super) fn shard(&self, key: &BlobKey) -> Option<&DirSync> {
        shard_of(key).map(|byte| &self.shards[usize::from(byte)])
    }

    pub(super) fn shard_path(&self, byte: u8) -> PathBuf {
        shard_dir(&self.root, byte)
    }

    pub(super) fn temp_dir(&self) -> PathBuf {
        self.root.join(TEMP_DIR)
    }

    pub(super) fn temp_path(&self, name: &str) -> PathBuf {
        self.temp_dir().join(name)
    }

    pub(super) fn uploads_dir(&self) -> PathBuf {
        self.root.join(UPLOADS_DIR)
    }

    /// The file of a resumable upload.
    pub(super) fn upload_path(&self, id: UploadId) -> PathBuf {
        self.uploads_dir().join(id.0.simple().to_string())
    }

    /// The gate of the directory those files are in.
    pub(super) fn uploads(&self) -> &DirSync {
        &self.uploads
    }

    /// The file of an upload that begins now.
    pub(super) fn fresh_temp(&self) -> PathBuf {
        self.temp_path(&Uuid::new_v4().simple().to_string())
    }
}

fn shard_dir(root: &Path, byte: u8) -> PathBuf {
    root.join("sha256").join(format!("{byte:02x}"))
}

/// The shard byte of a key of the form [`Layout::fresh_key`] makes.
fn shard_of(key: &BlobKey) -> Option<u8> {
    let (shard, name) = key.as_str().strip_prefix("sha256/")?.split_once('/')?;
    let (rest, generation) = name.split_once('-')?;
    let is_hex = |text: &str| text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    let well_formed = shard.len() == 2 && rest.len() == 62 && generation.len() == 16;
    if !(well_formed && is_hex(shard) && is_hex(rest) && is_hex(generation)) {
        return None;
    }
    u8::from_str_radix(shard, 16).ok()
}

fn create_dirs(root: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(root)?;
    fs::create_dir_all(root.join(TEMP_DIR))?;
    fs::create_dir_all(root.join(UPLOADS_DIR))?;
    fs::create_dir_all(root.join("sha256"))?;
    let mut created = false;
    for byte in 0..=u8::MAX {
        match fs::create_dir(shard_dir(root, byte)) {
            Ok(()) => created = true,
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
            Err(e) => return Err(e),
        }
    }
    if created {
        fs::File::open(root.join("sha256"))?.sync_all()?;
        fs::File::open(root)?.sync_all()?;
        if let Some(parent) = root.parent().filter(|p| !p.as_os_str().is_empty()) {
            fs::File::open(parent)?.sync_all()?;
        }
    }
    Ok(())
}

//! What a caller asks of an upload, and what it gets back.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use publaryn_core::{Digest, Digests};

use crate::{BlobKey, disk::TempFile, s3::Removal};

/// The conditions of one upload.
#[derive(Debug, Clone)]
pub struct StagePlan {
    /// Largest accepted body, in bytes.
    pub limit_bytes: u64,
    /// The setting the limit comes from (`limits.artifact.tarball`), for the refusal.
    pub limit_name: &'static str,
    /// Also compute SHA-1 (npm `shasum`, Maven sidecars).
    pub sha1: bool,
    /// Also compute MD5 (PyPI `md5_digest`, Maven sidecars).
    pub md5: bool,
    /// Refuse the body unless this is its SHA-256.
    pub expected_sha256: Option<Digest>,
}

impl StagePlan {
    /// A plan that computes SHA-256 and SHA-512 only and expects no particular content.
    pub fn new(limit_bytes: u64, limit_name: &'static str) -> Self {
        Self { limit_bytes, limit_name, sha1: false, md5: false, expected_sha256: None }
    }
    pub fn with_sha1(mut self) -> Self {
        self.sha1 = true;
        self
    }
    pub fn with_md5(mut self) -> Self {
        self.md5 = true;
        self
    }
    pub fn expecting(mut self, sha256: Digest) -> Self {
        self.expected_sha256 = Some(sha256);
        self
    }
}

/// A complete, verified upload that nothing refers to yet.
///
/// Dropped without promotion, its bytes are removed: at once on disk, in the background on S3.
pub struct Staged {
    key: BlobKey,
    digests: Digests,
    size_bytes: u64,
    place: StagedPlace,
    /// Promoted or removed: nothing is left to do when this is dropped.
    settled: AtomicBool,
}

pub(crate) enum StagedPlace {
    /// Complete, but under a temporary name and not synced.
    Temp(Arc<TempFile>),
    /// Already where it will stay.
    Final(Removal),
}

impl Staged {
    pub(crate) fn new(key: BlobKey, digests: Digests, size_bytes: u64, place: StagedPlace) -> Self {
        Self { key, digests, size_bytes, place, settled: AtomicBool::new(false) }
    }

    pub fn digests(&self) -> &Digests {
        &self.digests
    }
    /// The blob's identity.
    pub fn sha256(&self) -> Digest {
        self.digests.sha256
    }
    pub fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    /// The key the blob will have; nothing can be read under it before the promotion.
    pub(crate) fn key(&self) -> &BlobKey {
        &self.key
    }
    pub(crate) fn place(&self) -> &StagedPlace {
        &self.place
    }
    pub(crate) fn mark_settled(&self) {
        self.settled.store(true, Ordering::Release);
    }
    pub(crate) fn is_settled(&self) -> bool {
        self.settled.load(Ordering::Acquire)
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        if let StagedPlace::Final(removal) = &self.place
            && !self.is_settled()
        {
            removal.begin(&self.key);
        }
    }
}

impl fmt::Debug for Staged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Staged")
            .field("key", &self.key)
            .field("size_bytes", &self.size_bytes)
            .field("settled", &self.is_settled())
            .finish_non_exhaustive()
    }
}

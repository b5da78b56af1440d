//! Proofs of a passed visibility gate. Their fields are private and only this crate builds them,
//! so a handler cannot name a package or serve bytes that the caller may not see.

use std::sync::Arc;

use publaryn_core::{CompanionRole, Digest, Ecosystem, PackageId, Timestamp, Visibility};
use publaryn_metadata::{documents::ArtifactLocation, packages::PackageHead};
use smol_str::SmolStr;

/// A package that the caller may read through a native protocol, at one revision.
#[derive(Debug, Clone)]
pub struct PackageView {
    pub(crate) head: Arc<PackageHead>,
}

impl PackageView {
    pub fn id(&self) -> PackageId {
        self.head.id
    }
    pub fn ecosystem(&self) -> Ecosystem {
        self.head.ecosystem
    }
    /// As published.
    pub fn name(&self) -> &str {
        &self.head.name
    }
    pub fn revision(&self) -> i64 {
        self.head.revision
    }
    pub fn updated_at(&self) -> Timestamp {
        self.head.updated_at
    }
    pub fn is_owned_by_organization(&self) -> bool {
        self.head.owner.org().is_some()
    }
    pub fn visibility(&self) -> Visibility {
        self.head.effective
    }
    /// Anyone may see it, so shared caches may keep answers about it.
    pub fn is_open(&self) -> bool {
        self.head.effective.is_open()
    }
}

/// A file of a live release that the caller may download.
#[derive(Debug, Clone)]
pub struct ServableArtifact {
    pub(crate) location: Arc<ArtifactLocation>,
    pub(crate) package: Arc<PackageHead>,
    /// What it is beside the file that it has the id and the name of; `None` for the file itself.
    pub(crate) role: Option<CompanionRole>,
    /// Under which key its place is remembered, if it is.
    pub(crate) known_as: Option<SmolStr>,
    /// Sending it is a download of the package.
    pub(crate) counts: bool,
}

impl ServableArtifact {
    pub fn filename(&self) -> &str {
        &self.location.filename
    }
    pub fn content_type(&self) -> &str {
        &self.location.content_type
    }
    pub fn size_bytes(&self) -> u64 {
        self.location.size_bytes.unsigned_abs()
    }
    pub fn sha256(&self) -> Digest {
        self.location.sha256
    }
    /// Lower-case hex, as the next two. What lies beside a file has none of them.
    pub fn sha512(&self) -> Option<&str> {
        self.location.sha512.as_deref()
    }
    pub fn sha1(&self) -> Option<&str> {
        self.location.sha1.as_deref()
    }
    pub fn md5(&self) -> Option<&str> {
        self.location.md5.as_deref()
    }
    pub fn uploaded_at(&self) -> Timestamp {
        self.location.uploaded_at
    }
    pub fn ecosystem(&self) -> Ecosystem {
        self.package.ecosystem
    }
    /// Canonical.
    pub fn package_name(&self) -> &str {
        &self.package.normalized_name
    }
    pub fn is_open(&self) -> bool {
        self.package.effective.is_open()
    }
}

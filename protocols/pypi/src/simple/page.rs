//! What a project's page says, whatever it is written in.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use publaryn_core::{ArtifactKind, BoxError, Timestamp};
use publaryn_registry::{ArtifactRow, LiveRelease, PackageDocument};

use crate::{document::FileDocument, filename::Format};

/// What may stand unescaped in a path segment (RFC 3986 §2.3).
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A project with its exposed files, by version and then by name.
#[derive(Debug, Clone, PartialEq)]
pub struct ProjectPage {
    /// Normalised.
    pub name: String,
    /// `archived` or `deprecated` with its reason; `None` for an ordinary project.
    pub status: Option<(&'static str, Option<String>)>,
    /// Versions that have a file, ascending.
    pub versions: Vec<String>,
    pub files: Vec<FileEntry>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct FileEntry {
    pub filename: String,
    /// Absolute.
    pub url: String,
    /// Lower-case hex.
    pub sha256: String,
    pub size_bytes: u64,
    pub uploaded_at: Timestamp,
    pub requires_python: Option<String>,
    pub yanked: Option<Yank>,
    /// SHA-256 of the metadata that is served beside the file.
    pub core_metadata: Option<String>,
    /// Absolute address of what is vouched for about the file.
    pub provenance: Option<String>,
}

/// A release taken back, with its reason where one was given (PEP 592).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Yank(pub Option<String>);

impl ProjectPage {
    /// `None` when nothing of the project is exposed.
    ///
    /// # Errors
    /// When a stored document is not what this version wrote.
    pub fn of(document: &PackageDocument, base: &str) -> Result<Option<Self>, BoxError> {
        let package = &document.package;
        let mut releases: Vec<&LiveRelease> = exposed(document).collect();
        if releases.is_empty() {
            return Ok(None);
        }
        releases.sort_by(|a, b| a.row.sort_key.cmp(&b.row.sort_key));
        let mut files = Vec::new();
        for release in &releases {
            let mut artifacts: Vec<&ArtifactRow> = distributions(release).collect();
            artifacts.sort_by(|a, b| a.filename.cmp(&b.filename));
            for artifact in artifacts {
                files.push(FileEntry::of(&package.normalized_name, release, artifact, base)?);
            }
        }
        let reason = package.deprecation_message.clone().filter(|reason| !reason.is_empty());
        let status = match () {
            () if package.is_archived => Some(("archived", None)),
            () if package.deprecation_message.is_some() => Some(("deprecated", reason)),
            () => None,
        };
        Ok(Some(Self {
            name: package.normalized_name.clone(),
            status,
            versions: releases.iter().map(|r| r.row.version.clone()).collect(),
            files,
        }))
    }
}

/// The releases that have something to install.
pub fn exposed(document: &PackageDocument) -> impl Iterator<Item = &LiveRelease> {
    document.releases.iter().filter(|release| distributions(release).next().is_some())
}

/// The files that this index is about. The management API takes others beside them: signatures, checksums, SBOMs.
pub fn distributions(release: &LiveRelease) -> impl Iterator<Item = &ArtifactRow> {
    release.artifacts.iter().filter(|file| matches!(file.kind, ArtifactKind::Wheel | ArtifactKind::Sdist))
}

impl FileEntry {
    pub fn of(project: &str, release: &LiveRelease, artifact: &ArtifactRow, base: &str) -> Result<Self, BoxError> {
        let document = file_document(artifact)?;
        let filename = &artifact.filename;
        let segment = |text| utf8_percent_encode(text, SEGMENT);
        let version = segment(&release.row.version);
        let is_wheel = artifact.kind == ArtifactKind::Wheel;
        debug_assert_eq!(is_wheel, Format::of(filename) == Some(Format::Wheel));
        Ok(Self {
            url: format!("{base}/pypi/files/{}/{}", artifact.id, utf8_percent_encode(filename, SEGMENT)),
            filename: filename.clone(),
            sha256: artifact.sha256.hex(),
            size_bytes: artifact.size_bytes.unsigned_abs(),
            uploaded_at: artifact.uploaded_at,
            requires_python: document.requires_python,
            yanked: release
                .row
                .is_yanked
                .then(|| Yank(release.row.yank_reason.clone().filter(|reason| !reason.is_empty()))),
            core_metadata: document.core_metadata.filter(|_| is_wheel),
            provenance: document
                .attested_by
                .map(|_| format!("{base}/pypi/integrity/{project}/{version}/{}/provenance", segment(filename))),
        })
    }
}

/// # Errors
/// When the stored document is not what this version wrote.
pub fn file_document(artifact: &ArtifactRow) -> Result<FileDocument, BoxError> {
    let text = artifact.metadata.as_deref().ok_or("a file without its document")?;
    Ok(serde_json::from_str(text)?)
}

//! Everything a metadata document is rendered from: the live releases of one package.

use std::collections::HashMap;

use publaryn_core::{ArtifactId, ArtifactKind, Digest, PackageId, ReleaseId, ReleaseState, Timestamp, UserId};
use sqlx::FromRow;

use crate::{
    Db, DbResult,
    advisories::AdvisoryRow,
    artifacts::servable,
    packages::{OwnerRow, PackageRow},
    releases::OpenPeriod,
};

/// A package with its live releases, tags and owners, read at one revision.
#[derive(Debug, Clone)]
pub struct PackageDocument {
    pub package: PackageRow,
    /// Live releases (published, deprecated, yanked) in publish order. Staged and deleted ones are never here.
    pub releases: Vec<LiveRelease>,
    /// Tag and version text, sorted by tag; only tags of live releases.
    pub tags: Vec<(String, String)>,
    pub owners: Vec<OwnerRow>,
    /// Names of users who starred the package.
    pub stargazers: Vec<String>,
    /// What is known against its versions.
    pub advisories: Vec<AdvisoryRow>,
}

/// A release that passed scanning.
#[derive(Debug, Clone)]
pub struct LiveRelease {
    pub row: ReleaseRow,
    /// Files that passed, too; one still in its own quarantine is never here.
    pub artifacts: Vec<ArtifactRow>,
}

#[derive(Debug, Clone, FromRow)]
pub struct ReleaseRow {
    pub id: ReleaseId,
    pub version: String,
    pub version_key: String,
    pub sort_key: Vec<u8>,
    pub status: ReleaseState,
    pub is_prerelease: bool,
    pub is_yanked: bool,
    pub yank_reason: Option<String>,
    pub deprecation_message: Option<String>,
    /// The adapter's own JSON document of the release.
    pub metadata: String,
    pub sequence: i64,
    pub published_by: Option<UserId>,
    pub publisher: Option<String>,
    pub publisher_email: Option<String>,
    /// When it first went live.
    pub published_at: Option<Timestamp>,
    pub created_at: Timestamp,
    /// Of its last change of state: for a yanked release, when it was yanked.
    pub updated_at: Timestamp,
    #[sqlx(flatten)]
    pub open: OpenPeriod,
}

#[derive(Debug, Clone, FromRow)]
pub struct ArtifactRow {
    pub id: ArtifactId,
    pub release_id: ReleaseId,
    pub kind: ArtifactKind,
    pub filename: String,
    pub content_type: String,
    pub size_bytes: i64,
    pub sha256: Digest,
    /// Lower-case hex.
    pub sha512: String,
    pub sha1: Option<String>,
    pub md5: Option<String>,
    /// The adapter's own JSON document of the file, where it has one.
    pub metadata: Option<String>,
    pub uploaded_at: Timestamp,
}

/// Where an artifact's bytes lie, with the state of its release.
#[derive(Debug, Clone, FromRow)]
pub struct ArtifactLocation {
    pub id: ArtifactId,
    pub release_id: ReleaseId,
    pub status: ReleaseState,
    pub filename: String,
    pub content_type: String,
    pub size_bytes: i64,
    pub sha256: Digest,
    /// Lower-case hex, as the next two; absent for companions.
    pub sha512: Option<String>,
    pub sha1: Option<String>,
    pub md5: Option<String>,
    pub uploaded_at: Timestamp,
    /// The blob store's own key.
    pub location: String,
}

impl Db {
    /// Reads a package's document; `None` when the package is gone.
    pub async fn package_document(&self, id: PackageId) -> DbResult<Option<PackageDocument>> {
        const RELEASES: &str = "SELECT r.id, r.version, r.version_key, r.sort_key, r.status, r.is_prerelease, r.is_yanked, \
             r.yank_reason, r.deprecation_message, r.metadata, r.sequence, r.published_by, u.username AS publisher, \
             u.email AS publisher_email, r.published_at, r.created_at, r.updated_at, \
             r.open_until, r.sealed_at \
             FROM releases r LEFT JOIN users u ON u.id = r.published_by \
             WHERE r.package_id = $1 AND r.status IN ('published', 'deprecated', 'yanked') ORDER BY r.sequence";
        const ARTIFACTS: &str = servable!(
            "a.id, a.release_id, a.kind, a.filename, a.content_type, a.size_bytes, a.sha256, a.sha512, a.sha1, a.md5, \
             a.metadata, a.uploaded_at",
            "",
            "r.package_id = $1 ORDER BY a.uploaded_at, a.id"
        );
        const TAGS: &str = "SELECT t.tag, r.version FROM tags t JOIN releases r ON r.id = t.release_id \
             WHERE t.package_id = $1 AND r.status IN ('published', 'deprecated', 'yanked')";
        let Some(package) = self.package_row(id).await? else { return Ok(None) };
        let releases: Vec<ReleaseRow> = on_db!(self, |c| sqlx::query_as(RELEASES).bind(id).fetch_all(c).await)?;
        let artifacts: Vec<ArtifactRow> = on_db!(self, |c| sqlx::query_as(ARTIFACTS).bind(id).fetch_all(c).await)?;
        let mut tags: Vec<(String, String)> = on_db!(self, |c| sqlx::query_as(TAGS).bind(id).fetch_all(c).await)?;
        tags.sort();
        let mut by_release: HashMap<ReleaseId, Vec<ArtifactRow>> = HashMap::new();
        for artifact in artifacts {
            by_release.entry(artifact.release_id).or_default().push(artifact);
        }
        let releases = releases
            .into_iter()
            .map(|row| LiveRelease { artifacts: by_release.remove(&row.id).unwrap_or_default(), row })
            .collect();
        Ok(Some(PackageDocument {
            package,
            releases,
            tags,
            owners: self.package_owners(id).await?,
            stargazers: self.stargazers(id).await?,
            advisories: self.advisories_of(id).await?,
        }))
    }
}

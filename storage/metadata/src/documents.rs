//! Everything a metadata document is rendered from: the live releases of one package.

use std::collections::HashMap;

use publaryn_core::{ArtifactId, ArtifactKind, Digest, PackageId, ReleaseId, ReleaseState, Timestamp, UserId};
use sqlx::FromRow;

use crate::{
    Db, DbResult, Sql,
    advisories::AdvisoryRow,
    artifacts::servable,
    packages::{OwnerRow, PackageRow},
    releases::OpenPeriod,
    rows::id_list,
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

impl LiveRelease {
    /// The oldest file of that kind, whatever else lies beside it.
    pub fn file_of(&self, kind: ArtifactKind) -> Option<&ArtifactRow> {
        self.artifacts.iter().find(|file| file.kind == kind)
    }
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
    /// When it left the indexes, of a release that is yanked.
    pub yanked_at: Option<Timestamp>,
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

/// A row about a package, where several are asked for at once.
#[derive(Debug, Clone, FromRow)]
pub(crate) struct Of<T> {
    pub package_id: PackageId,
    #[sqlx(flatten)]
    pub row: T,
}

/// Which live releases a document has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Releases {
    All,
    /// Those that tags name, and the highest: what lists of packages tell of one.
    Notable,
}

macro_rules! releases {
    ($by:literal) => {
        concat!(
            "SELECT r.package_id, r.id, r.version, r.version_key, r.sort_key, r.status, r.is_prerelease, r.is_yanked, ",
            "r.yank_reason, r.deprecation_message, r.metadata, r.sequence, r.published_by, u.username AS publisher, ",
            "u.email AS publisher_email, r.published_at, r.yanked_at, r.created_at, r.updated_at, r.open_until, r.sealed_at ",
            "FROM releases r LEFT JOIN users u ON u.id = r.published_by ",
            "WHERE r.status IN ('published', 'deprecated', 'yanked') AND ",
            $by
        )
    };
}

macro_rules! artifacts {
    ($by:literal) => {
        servable!(
            "a.id, a.release_id, a.kind, a.filename, a.content_type, a.size_bytes, a.sha256, a.sha512, a.sha1, a.md5, \
             a.metadata, a.uploaded_at",
            "",
            $by
        )
    };
}

/// Rows by their package, in their order.
fn by_package<T>(rows: Vec<(PackageId, T)>) -> HashMap<PackageId, Vec<T>> {
    let mut all: HashMap<PackageId, Vec<T>> = HashMap::new();
    for (package, row) in rows {
        all.entry(package).or_default().push(row);
    }
    all
}

/// Each release with its files, in their order.
fn with_files(releases: Vec<Of<ReleaseRow>>, artifacts: Vec<ArtifactRow>) -> Vec<(PackageId, LiveRelease)> {
    let mut by_release: HashMap<ReleaseId, Vec<ArtifactRow>> = HashMap::new();
    for artifact in artifacts {
        by_release.entry(artifact.release_id).or_default().push(artifact);
    }
    let live = |of: Of<ReleaseRow>| {
        let artifacts = by_release.remove(&of.row.id).unwrap_or_default();
        (of.package_id, LiveRelease { row: of.row, artifacts })
    };
    releases.into_iter().map(live).collect()
}

impl Db {
    /// Reads a package's document; `None` when the package is gone.
    pub async fn package_document(&self, id: PackageId) -> DbResult<Option<PackageDocument>> {
        Ok(self.package_documents(&[id], Releases::All).await?.pop())
    }

    /// One live release of a package, alone.
    pub async fn live_release(&self, package: PackageId, version_key: &str) -> DbResult<Option<LiveRelease>> {
        const RELEASE: &str = releases!("r.package_id = $1 AND r.version_key = $2");
        const ARTIFACTS: &str = artifacts!("r.package_id = $1 AND r.version_key = $2 ORDER BY a.uploaded_at, a.id");
        let row: Option<ReleaseRow> =
            on_db!(self, |c| sqlx::query_as(RELEASE).bind(package).bind(version_key).fetch_optional(c).await)?;
        let Some(row) = row else { return Ok(None) };
        let artifacts = on_db!(self, |c| sqlx::query_as(ARTIFACTS).bind(package).bind(version_key).fetch_all(c).await)?;
        Ok(Some(LiveRelease { row, artifacts }))
    }

    /// Live releases by id, with their packages, in any order; those that are not live are left out.
    pub async fn live_releases_by_id(&self, ids: &[ReleaseId]) -> DbResult<Vec<(PackageId, LiveRelease)>> {
        const RELEASES: Sql = for_packages!(releases!("r.id"), "");
        const ARTIFACTS: Sql = for_packages!(artifacts!("r.id"), " ORDER BY a.uploaded_at, a.id");
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let list = id_list(ids.iter().copied());
        let (releases, artifacts, list) = (self.sql(RELEASES), self.sql(ARTIFACTS), list.as_str());
        let rows: Vec<Of<ReleaseRow>> = on_db!(self, |c| sqlx::query_as(releases).bind(list).fetch_all(c).await)?;
        let artifacts: Vec<ArtifactRow> = on_db!(self, |c| sqlx::query_as(artifacts).bind(list).fetch_all(c).await)?;
        Ok(with_files(rows, artifacts))
    }

    /// The documents of several packages, in any order; those that are gone are left out. The number of questions
    /// does not grow with them.
    pub async fn package_documents(&self, ids: &[PackageId], which: Releases) -> DbResult<Vec<PackageDocument>> {
        const RELEASES: Sql = for_packages!(releases!("r.package_id"), " ORDER BY r.package_id, r.sequence");
        const NOTABLE_RELEASES: Sql = for_packages!(releases!("r.id"), " ORDER BY r.package_id, r.sequence");
        const ARTIFACTS: Sql = for_packages!(artifacts!("r.package_id"), " ORDER BY a.uploaded_at, a.id");
        const NOTABLE_ARTIFACTS: Sql = for_packages!(artifacts!("r.id"), " ORDER BY a.uploaded_at, a.id");
        // The highest of those that are not yanked, with pre-releases and without; of all where all are yanked.
        const NOTABLE: Sql = for_packages!(
            "SELECT w.id FROM (SELECT x.id, \
             RANK() OVER (PARTITION BY x.package_id ORDER BY x.is_yanked, x.is_prerelease, x.sort_key DESC) AS stable, \
             RANK() OVER (PARTITION BY x.package_id ORDER BY x.is_yanked, x.sort_key DESC) AS highest \
             FROM releases x WHERE x.status IN ('published', 'deprecated', 'yanked') AND x.package_id",
            ") AS w WHERE w.stable = 1 OR w.highest = 1"
        );
        const TAGS: Sql = for_packages!(
            "SELECT t.package_id, t.tag, r.version, r.id AS release_id FROM tags t JOIN releases r \
             ON r.id = t.release_id WHERE r.status IN ('published', 'deprecated', 'yanked') AND t.package_id",
            ""
        );
        const STARGAZERS: Sql = for_packages!(
            "SELECT s.package_id, u.username FROM package_stars s JOIN users u ON u.id = s.user_id WHERE s.package_id",
            " ORDER BY s.created_at"
        );
        let packages = self.package_rows(ids).await?;
        if packages.is_empty() {
            return Ok(Vec::new());
        }
        let list = id_list(packages.iter().map(|package| package.id));
        let list = list.as_str();
        let sql = self.sql(TAGS);
        let tags: Vec<(PackageId, String, String, ReleaseId)> =
            on_db!(self, |c| sqlx::query_as(sql).bind(list).fetch_all(c).await)?;
        let (releases, artifacts, chosen) = match which {
            Releases::All => (RELEASES, ARTIFACTS, list.to_owned()),
            Releases::Notable => {
                let sql = self.sql(NOTABLE);
                let notable: Vec<ReleaseId> = on_db!(self, |c| sqlx::query_scalar(sql).bind(list).fetch_all(c).await)?;
                let tagged = tags.iter().map(|(_, _, _, release)| *release);
                (NOTABLE_RELEASES, NOTABLE_ARTIFACTS, id_list(notable.into_iter().chain(tagged)))
            }
        };
        let (sql, list_of_releases) = (self.sql(releases), chosen.as_str());
        let releases: Vec<Of<ReleaseRow>> =
            on_db!(self, |c| sqlx::query_as(sql).bind(list_of_releases).fetch_all(c).await)?;
        let sql = self.sql(artifacts);
        let artifacts: Vec<ArtifactRow> =
            on_db!(self, |c| sqlx::query_as(sql).bind(list_of_releases).fetch_all(c).await)?;
        let sql = self.sql(STARGAZERS);
        let stargazers = on_db!(self, |c| sqlx::query_as(sql).bind(list).fetch_all(c).await)?;
        let owners = self.packages_owners(ids).await?;
        let advisories = self.advisories_of(list).await?;

        let mut releases = by_package(with_files(releases, artifacts));
        let tags = tags.into_iter().map(|(package, tag, version, _)| (package, (tag, version)));
        let mut tags = by_package(tags.collect());
        let mut owners = by_package(owners.into_iter().map(|of| (of.package_id, of.row)).collect());
        let mut stargazers = by_package::<String>(stargazers);
        let mut advisories = by_package(advisories.into_iter().map(|row| (row.package_id, row)).collect());
        let document = |package: PackageRow| {
            let mut tags = tags.remove(&package.id).unwrap_or_default();
            tags.sort();
            PackageDocument {
                releases: releases.remove(&package.id).unwrap_or_default(),
                tags,
                owners: owners.remove(&package.id).unwrap_or_default(),
                stargazers: stargazers.remove(&package.id).unwrap_or_default(),
                advisories: advisories.remove(&package.id).unwrap_or_default(),
                package,
            }
        };
        Ok(packages.into_iter().map(document).collect())
    }
}

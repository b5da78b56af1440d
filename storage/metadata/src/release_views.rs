//! Releases, their artifacts and findings as the management API lists, shows and changes them.

use publaryn_core::{
    ArtifactId, ArtifactKind, ArtifactState, Digest, FindingId, JobId, PackageId, ReleaseId, ReleaseState, Timestamp,
    UserId, Version,
    finding::{Category, FindingKind, Severity},
    job::JobState,
};
use sqlx::FromRow;

use crate::{Db, DbResult, Sql, Tx, documents::ArtifactLocation, organizations::Slice, rows::id_list};

#[derive(Debug, Clone, FromRow)]
pub struct ReleaseSummaryRow {
    pub id: ReleaseId,
    pub version: String,
    pub status: ReleaseState,
    pub is_yanked: bool,
    pub is_deprecated: bool,
    pub is_prerelease: bool,
    pub published_at: Option<Timestamp>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    pub artifact_count: i64,
    pub total_size_bytes: i64,
}

#[derive(Debug, Clone, FromRow)]
pub struct ReleaseDetails {
    #[sqlx(flatten)]
    pub summary: ReleaseSummaryRow,
    pub package_id: PackageId,
    pub description: Option<String>,
    pub changelog: Option<String>,
    pub source_ref: Option<String>,
    /// A JSON object.
    pub provenance: Option<String>,
    pub yank_reason: Option<String>,
    pub deprecation_message: Option<String>,
    pub publisher: Option<String>,
    /// The adapter's own JSON document of the release.
    pub metadata: String,
    pub scans_total: i64,
    pub scans_done: i64,
    /// JSON list of the findings that keep it from going live.
    pub blocked_by: String,
}

#[derive(Debug, Clone, FromRow)]
pub struct ArtifactViewRow {
    pub id: ArtifactId,
    pub release_id: ReleaseId,
    pub kind: ArtifactKind,
    pub filename: String,
    pub content_type: String,
    pub size_bytes: i64,
    pub sha256: Digest,
    pub sha512: String,
    pub sha1: Option<String>,
    pub is_signed: bool,
    pub signature_key_id: Option<String>,
    pub uploaded_at: Timestamp,
    pub state: ArtifactState,
}

impl ArtifactViewRow {
    /// Whether a file of a live release may be known to its readers: not while it is, or stays, in a quarantine of
    /// its own.
    pub fn is_cleared(&self) -> bool {
        matches!(self.state, ArtifactState::Joint | ArtifactState::Live)
    }
}

#[derive(Debug, Clone, FromRow)]
pub struct FindingViewRow {
    pub id: FindingId,
    pub kind: FindingKind,
    pub category: Category,
    pub severity: Severity,
    pub title: String,
    pub description: Option<String>,
    pub resolved_at: Option<Timestamp>,
    pub resolved_by: Option<UserId>,
    pub resolved_by_username: Option<String>,
    pub note: Option<String>,
    pub detected_at: Timestamp,
    pub release_version: String,
    pub release_status: ReleaseState,
    pub artifact_filename: Option<String>,
    pub rule_id: String,
}

/// Which releases a list shows, and in which order.
#[derive(Debug, Clone, Copy)]
pub struct ReleaseFilter {
    pub status: Option<ReleaseState>,
    pub staged: bool,
    pub deleted: bool,
    /// By the ecosystem's version order instead of the time of publication.
    pub by_version: bool,
}

/// Which findings a list shows.
#[derive(Debug, Clone, Default)]
pub struct FindingFilter {
    pub resolved: bool,
    pub severity: Option<Severity>,
    /// Version key of one release.
    pub release: Option<String>,
    /// Those of staged releases, too.
    pub staged: bool,
}

/// A job of a release's way to live.
#[derive(Debug, Clone, FromRow)]
pub struct PipelineJob {
    pub id: JobId,
    pub state: JobState,
    pub started_at: Option<Timestamp>,
    pub finished_at: Option<Timestamp>,
}

/// `$all`: whether files count that are in a quarantine of their own.
macro_rules! summary_columns {
    ($all:literal, $more:literal, $rest:expr) => {
        concat!(
            "SELECT r.id, r.version, r.status, r.is_yanked, r.deprecation_message IS NOT NULL AS is_deprecated, ",
            "r.is_prerelease, r.published_at, r.created_at, r.updated_at, ",
            "(SELECT CAST(COUNT(*) AS BIGINT) FROM artifacts a WHERE a.release_id = r.id AND (",
            $all,
            " OR a.state IN ('joint', 'live'))) AS artifact_count, ",
            "(SELECT CAST(COALESCE(SUM(a.size_bytes), 0) AS BIGINT) FROM artifacts a WHERE a.release_id = r.id AND (",
            $all,
            " OR a.state IN ('joint', 'live'))) AS total_size_bytes",
            $more,
            " FROM ",
            $rest
        )
    };
}

macro_rules! details {
    ($all:literal, $rest:literal) => {
        summary_columns!(
            $all,
            ", r.package_id, r.description, r.changelog, r.source_ref, r.provenance, r.yank_reason, \
             r.deprecation_message, u.username AS publisher, r.metadata, r.scans_total, r.scans_done, r.blocked_by",
            concat!("releases r ", $rest)
        )
    };
}

macro_rules! release_filter {
    () => {
        "r.package_id = $1 AND (r.status IN ('published', 'deprecated', 'yanked') \
         OR ($2 AND r.status IN ('quarantine', 'scanning')) OR ($3 AND r.status = 'deleted')) \
         AND (r.status = $4 OR $4 = '')"
    };
}

macro_rules! artifact_columns {
    ($rest:literal) => {
        concat!(
            "SELECT a.id, a.release_id, a.kind, a.filename, a.content_type, a.size_bytes, a.sha256, a.sha512, ",
            "a.sha1, a.is_signed, a.signature_key_id, a.uploaded_at, a.state FROM artifacts a ",
            $rest
        )
    };
}

macro_rules! finding_columns {
    ($findings:expr, $rest:literal) => {
        concat!(
            "SELECT f.id, f.kind, f.category, f.severity, f.title, f.description, f.resolved_at, f.resolved_by, ",
            "u.username AS resolved_by_username, f.note, f.detected_at, r.version AS release_version, ",
            "r.status AS release_status, a.filename AS artifact_filename, f.rule_id FROM ",
            $findings,
            " f JOIN releases r ON r.id = f.release_id LEFT JOIN users u ON u.id = f.resolved_by ",
            "LEFT JOIN artifacts a ON a.id = f.artifact_id ",
            $rest
        )
    };
}

/// Findings `f` of package `$1` that a list shows. Releases and files that are left out are few, the others many.
macro_rules! finding_filter {
    () => {
        concat!(
            "WHERE f.package_id = $1 AND ($3 OR f.resolved_at IS NULL) AND (f.severity = $4 OR $4 = '') ",
            "AND ($5 = '' OR f.release_id = (SELECT x.id FROM releases x WHERE x.package_id = $1 AND x.version_key = $5)) ",
            "AND f.release_id NOT IN (SELECT x.id FROM releases x WHERE x.package_id = $1 ",
            "AND (x.status = 'deleted' OR (x.status IN ('quarantine', 'scanning') AND NOT $2))) AND ($2 OR NOT ",
            is_about_withheld_file!(),
            ")"
        )
    };
}

impl Db {
    /// Releases of a package, newest first, and how many there are.
    pub async fn releases(
        &self,
        package: PackageId,
        filter: ReleaseFilter,
        slice: Slice,
    ) -> DbResult<(Vec<ReleaseSummaryRow>, i64)> {
        // The files are counted of the page only.
        macro_rules! page {
            ($order:literal) => {
                summary_columns!(
                    "$2",
                    "",
                    concat!(
                        "(SELECT r.id, r.version, r.status, r.is_yanked, r.deprecation_message, r.is_prerelease, ",
                        "r.published_at, r.created_at, r.updated_at, r.sequence, r.sort_key FROM releases r WHERE ",
                        release_filter!(),
                        " ORDER BY ",
                        $order,
                        " LIMIT $5 OFFSET $6) AS r ORDER BY ",
                        $order
                    )
                )
            };
        }
        const BY_TIME: &str = page!("r.sequence DESC, r.id DESC");
        const BY_VERSION: &str = page!("r.sort_key DESC, r.sequence DESC");
        const COUNT: &str = concat!("SELECT CAST(COUNT(*) AS BIGINT) FROM releases r WHERE ", release_filter!());
        let sql = if filter.by_version { BY_VERSION } else { BY_TIME };
        let status = filter.status.map_or("", ReleaseState::as_str);
        let rows: Vec<ReleaseSummaryRow> = on_db!(self, |c| sqlx::query_as(sql)
            .bind(package)
            .bind(filter.staged)
            .bind(filter.deleted)
            .bind(status)
            .bind(slice.limit)
            .bind(slice.offset)
            .fetch_all(c)
            .await)?;
        if let Some(total) = slice.total(rows.len()) {
            return Ok((rows, total));
        }
        let total = on_db!(self, |c| sqlx::query_scalar(COUNT)
            .bind(package)
            .bind(filter.staged)
            .bind(filter.deleted)
            .bind(status)
            .fetch_one(c)
            .await)?;
        Ok((rows, total))
    }

    /// `staged`: files in a quarantine of their own count, too.
    pub async fn release_details(
        &self,
        package: PackageId,
        version_key: &str,
        staged: bool,
    ) -> DbResult<Option<ReleaseDetails>> {
        const SQL: &str =
            details!("$3", "LEFT JOIN users u ON u.id = r.published_by WHERE r.package_id = $1 AND r.version_key = $2");
        Ok(on_db!(self, |c| sqlx::query_as(SQL).bind(package).bind(version_key).bind(staged).fetch_optional(c).await)?)
    }

    /// The key of a version as it is spelt.
    pub async fn version_key_of(&self, package: PackageId, version: &str) -> DbResult<Option<String>> {
        const SQL: &str = "SELECT version_key FROM releases WHERE package_id = $1 AND version = $2";
        Ok(on_db!(self, |c| sqlx::query_scalar(SQL).bind(package).bind(version).fetch_optional(c).await)?)
    }

    /// How many unresolved findings of each severity a release has. `staged`: those about files in a quarantine of
    /// their own count, too.
    pub async fn open_findings_of_release(&self, release: ReleaseId, staged: bool) -> DbResult<Vec<(Severity, i64)>> {
        const SQL: &str = concat!(
            "SELECT f.severity, CAST(COUNT(*) AS BIGINT) FROM findings f WHERE f.release_id = $1 ",
            "AND f.resolved_at IS NULL AND ($2 OR NOT ",
            is_about_withheld_file!(),
            ") GROUP BY f.severity"
        );
        Ok(on_db!(self, |c| sqlx::query_as(SQL).bind(release).bind(staged).fetch_all(c).await)?)
    }

    /// Those of these findings that nobody has resolved.
    pub async fn unresolved(&self, findings: &[FindingId]) -> DbResult<Vec<FindingId>> {
        const SQL: Sql = for_packages!("SELECT f.id FROM findings f WHERE f.resolved_at IS NULL AND f.id", "");
        let sql = self.sql(SQL);
        Ok(on_db!(self, |c| sqlx::query_scalar(sql).bind(id_list(findings)).fetch_all(c).await)?)
    }

    /// Files of a release, by name.
    pub async fn artifacts_of(&self, release: ReleaseId) -> DbResult<Vec<ArtifactViewRow>> {
        const SQL: &str = artifact_columns!("WHERE a.release_id = $1 ORDER BY a.filename");
        Ok(on_db!(self, |c| sqlx::query_as(SQL).bind(release).fetch_all(c).await)?)
    }

    /// Where the bytes of one file lie, whatever the state of its release.
    pub async fn artifact_location(&self, release: ReleaseId, filename: &str) -> DbResult<Option<ArtifactLocation>> {
        const SQL: &str = "SELECT a.id, a.release_id, r.status, a.filename, a.content_type, a.size_bytes, a.sha256, a.sha512, \
             a.sha1, a.md5, a.uploaded_at, b.location \
             FROM artifacts a JOIN releases r ON r.id = a.release_id JOIN blobs b ON b.digest = a.sha256 \
             WHERE a.release_id = $1 AND a.filename = $2";
        Ok(on_db!(self, |c| sqlx::query_as(SQL).bind(release).bind(filename).fetch_optional(c).await)?)
    }

    /// Tags of a package with version and time, only those of live releases, and how many there are.
    pub async fn tags_of(&self, package: PackageId, slice: Slice) -> DbResult<(Vec<(String, String, Timestamp)>, i64)> {
        macro_rules! tags {
            ($select:literal, $rest:literal) => {
                concat!(
                    "SELECT ",
                    $select,
                    " FROM tags t JOIN releases r ON r.id = t.release_id WHERE t.package_id = $1 ",
                    "AND r.status IN ('published', 'deprecated', 'yanked')",
                    $rest
                )
            };
        }
        const PAGE: &str = tags!("t.tag, r.version, t.updated_at", " ORDER BY t.tag LIMIT $2 OFFSET $3");
        const COUNT: &str = tags!("CAST(COUNT(*) AS BIGINT)", "");
        let rows: Vec<(String, String, Timestamp)> = on_db!(self, |c| sqlx::query_as(PAGE)
            .bind(package)
            .bind(slice.limit)
            .bind(slice.offset)
            .fetch_all(c)
            .await)?;
        if let Some(total) = slice.total(rows.len()) {
            return Ok((rows, total));
        }
        let total = on_db!(self, |c| sqlx::query_scalar(COUNT).bind(package).fetch_one(c).await)?;
        Ok((rows, total))
    }

    /// Findings of a package, newest first.
    pub async fn package_findings(
        &self,
        package: PackageId,
        filter: &FindingFilter,
        slice: Slice,
    ) -> DbResult<(Vec<FindingViewRow>, i64)> {
        const SQL: &str = finding_columns!(
            concat!(
                "(SELECT f.id, f.kind, f.category, f.severity, f.title, f.description, f.resolved_at, f.resolved_by, f.note, ",
                "f.detected_at, f.release_id, f.artifact_id, f.rule_id FROM findings f ",
                finding_filter!(),
                " ORDER BY f.detected_at DESC, f.id DESC LIMIT $6 OFFSET $7)"
            ),
            "ORDER BY f.detected_at DESC, f.id DESC"
        );
        const COUNT: &str = concat!("SELECT CAST(COUNT(*) AS BIGINT) FROM findings f ", finding_filter!());
        let severity = filter.severity.map_or("", Severity::as_str);
        let release = filter.release.as_deref().unwrap_or("");
        let rows: Vec<FindingViewRow> = on_db!(self, |c| sqlx::query_as(SQL)
            .bind(package)
            .bind(filter.staged)
            .bind(filter.resolved)
            .bind(severity)
            .bind(release)
            .bind(slice.limit)
            .bind(slice.offset)
            .fetch_all(c)
            .await)?;
        if let Some(total) = slice.total(rows.len()) {
            return Ok((rows, total));
        }
        let total = on_db!(self, |c| sqlx::query_scalar(COUNT)
            .bind(package)
            .bind(filter.staged)
            .bind(filter.resolved)
            .bind(severity)
            .bind(release)
            .fetch_one(c)
            .await)?;
        Ok((rows, total))
    }

    /// The last scan of each of a release's artifacts, oldest first.
    pub async fn scan_jobs_of(&self, release: ReleaseId) -> DbResult<Vec<PipelineJob>> {
        const SQL: &str = "SELECT j.id, j.state, j.started_at, j.completed_at AS finished_at \
             FROM jobs j JOIN artifacts a ON a.id = j.target WHERE j.kind = 'scan_artifact' AND a.release_id = $1 \
             AND NOT EXISTS (SELECT 1 FROM jobs k WHERE k.kind = j.kind AND k.target = j.target \
             AND (k.created_at, k.id) > (j.created_at, j.id)) ORDER BY j.created_at, j.id";
        Ok(on_db!(self, |c| sqlx::query_as(SQL).bind(release).fetch_all(c).await)?)
    }
}

/// What a staged release says about itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReleaseTexts {
    pub description: Option<String>,
    pub changelog: Option<String>,
    pub source_ref: Option<String>,
    /// A JSON object.
    pub provenance: Option<String>,
}

impl Tx {
    /// Creates a release that waits for its files and gives its number in the package; `None` when its version
    /// is taken.
    #[allow(clippy::too_many_arguments, reason = "the columns of one row")]
    pub async fn insert_draft(
        &mut self,
        id: ReleaseId,
        package: PackageId,
        version: &Version,
        is_prerelease: bool,
        texts: &ReleaseTexts,
        by: Option<UserId>,
        now: Timestamp,
    ) -> DbResult<Option<i64>> {
        const SQL: &str = "INSERT INTO releases (id, package_id, version, version_key, sort_key, status, is_prerelease, \
             metadata, sequence, published_by, is_native, description, changelog, source_ref, provenance, created_at, \
             updated_at) VALUES ($1, $2, $3, $4, $5, 'quarantine', $6, '{}', $7, $8, FALSE, $9, $10, $11, $12, $13, $13) \
             ON CONFLICT DO NOTHING";
        let sequence = self.next_sequence(package).await?;
        let done = on_tx!(self, |c| sqlx::query(SQL)
            .bind(id)
            .bind(package)
            .bind(version.as_str())
            .bind(version.unique_key())
            .bind(version.sort_key())
            .bind(is_prerelease)
            .bind(sequence)
            .bind(by)
            .bind(texts.description.as_deref())
            .bind(texts.changelog.as_deref())
            .bind(texts.source_ref.as_deref())
            .bind(texts.provenance.as_deref())
            .bind(now)
            .execute(c)
            .await
            .map(|done| done.rows_affected()))?;
        Ok((done == 1).then_some(sequence))
    }

    pub async fn release_details(&mut self, package: PackageId, version_key: &str) -> DbResult<Option<ReleaseDetails>> {
        let sql = Sql {
            sqlite: details!(
                "TRUE",
                "LEFT JOIN users u ON u.id = r.published_by WHERE r.package_id = $1 AND r.version_key = $2"
            ),
            postgres: details!(
                "TRUE",
                "LEFT JOIN users u ON u.id = r.published_by WHERE r.package_id = $1 AND r.version_key = $2 \
                 FOR UPDATE OF r"
            ),
        }
        .on(self.engine());
        Ok(on_tx!(self, |c| sqlx::query_as(sql).bind(package).bind(version_key).fetch_optional(c).await)?)
    }

    pub async fn set_release_texts(&mut self, id: ReleaseId, texts: &ReleaseTexts, now: Timestamp) -> DbResult<()> {
        const SQL: &str = "UPDATE releases SET description = $2, changelog = $3, source_ref = $4, provenance = $5, \
             updated_at = $6 WHERE id = $1";
        on_tx!(self, |c| sqlx::query(SQL)
            .bind(id)
            .bind(texts.description.as_deref())
            .bind(texts.changelog.as_deref())
            .bind(texts.source_ref.as_deref())
            .bind(texts.provenance.as_deref())
            .bind(now)
            .execute(c)
            .await
            .map(drop))?;
        Ok(())
    }

    /// Forgets a staged release; its version number is free again.
    pub async fn delete_release(&mut self, id: ReleaseId) -> DbResult<()> {
        const SQL: &str = "DELETE FROM releases WHERE id = $1";
        on_tx!(self, |c| sqlx::query(SQL).bind(id).execute(c).await.map(drop))?;
        self.notice().releases.push(id);
        Ok(())
    }

    pub async fn artifact_of(&mut self, release: ReleaseId, filename: &str) -> DbResult<Option<ArtifactViewRow>> {
        const SQL: &str = artifact_columns!("WHERE a.release_id = $1 AND a.filename = $2");
        Ok(on_tx!(self, |c| sqlx::query_as(SQL).bind(release).bind(filename).fetch_optional(c).await)?)
    }

    pub async fn count_artifacts(&mut self, release: ReleaseId) -> DbResult<usize> {
        const SQL: &str = "SELECT CAST(COUNT(*) AS BIGINT) FROM artifacts WHERE release_id = $1";
        let count: i64 = on_tx!(self, |c| sqlx::query_scalar(SQL).bind(release).fetch_one(c).await)?;
        Ok(usize::try_from(count).unwrap_or(usize::MAX))
    }

    pub async fn artifacts_of(&mut self, release: ReleaseId) -> DbResult<Vec<ArtifactViewRow>> {
        const SQL: &str = artifact_columns!("WHERE a.release_id = $1 ORDER BY a.filename");
        Ok(on_tx!(self, |c| sqlx::query_as(SQL).bind(release).fetch_all(c).await)?)
    }

    pub async fn mark_artifact_signed(&mut self, id: ArtifactId, key_id: Option<&str>) -> DbResult<()> {
        const SQL: &str = "UPDATE artifacts SET is_signed = TRUE, signature_key_id = $2 WHERE id = $1";
        on_tx!(self, |c| sqlx::query(SQL).bind(id).bind(key_id).execute(c).await.map(drop))?;
        Ok(())
    }

    pub async fn delete_artifact(&mut self, id: ArtifactId) -> DbResult<()> {
        const SQL: &str = "DELETE FROM artifacts WHERE id = $1";
        on_tx!(self, |c| sqlx::query(SQL).bind(id).execute(c).await.map(drop))?;
        Ok(())
    }

    /// Sends a staged release to its scans, `done` of which were made before. Without `tags` it will get those that
    /// were asked for before.
    pub async fn begin_scanning(
        &mut self,
        id: ReleaseId,
        tags: Option<&[String]>,
        scans: i64,
        done: i64,
        now: Timestamp,
    ) -> DbResult<()> {
        const SQL: &str = "UPDATE releases SET status = 'scanning', scans_total = $2, scans_done = $3, \
             blocked_by = '[]', requested_tags = COALESCE($4, requested_tags), updated_at = $5 WHERE id = $1";
        let tags = tags.map(|tags| serde_json::json!(tags).to_string());
        on_tx!(self, |c| sqlx::query(SQL)
            .bind(id)
            .bind(scans)
            .bind(done)
            .bind(tags)
            .bind(now)
            .execute(c)
            .await
            .map(drop))?;
        self.notice().releases.push(id);
        Ok(())
    }

    pub async fn finding_of(&mut self, package: PackageId, id: FindingId) -> DbResult<Option<FindingViewRow>> {
        const SQL: &str =
            finding_columns!("findings", "WHERE r.package_id = $1 AND f.id = $2 AND r.status <> 'deleted'");
        Ok(on_tx!(self, |c| sqlx::query_as(SQL).bind(package).bind(id).fetch_optional(c).await)?)
    }

    /// Resolves a finding, by whom where that was a person and when, or opens it again.
    pub async fn resolve_finding(
        &mut self,
        id: FindingId,
        resolved: Option<(Option<UserId>, Timestamp)>,
        note: Option<&str>,
    ) -> DbResult<()> {
        const SQL: &str = "UPDATE findings SET resolved_at = $2, resolved_by = $3, note = $4 WHERE id = $1";
        on_tx!(self, |c| sqlx::query(SQL)
            .bind(id)
            .bind(resolved.map(|(_, at)| at))
            .bind(resolved.and_then(|(by, _)| by))
            .bind(note)
            .execute(c)
            .await
            .map(drop))?;
        Ok(())
    }

    pub async fn tag_exists(&mut self, package: PackageId, tag: &str) -> DbResult<bool> {
        const SQL: &str = "SELECT CAST(COUNT(*) AS BIGINT) FROM tags WHERE package_id = $1 AND tag = $2";
        let count: i64 = on_tx!(self, |c| sqlx::query_scalar(SQL).bind(package).bind(tag).fetch_one(c).await)?;
        Ok(count > 0)
    }
}

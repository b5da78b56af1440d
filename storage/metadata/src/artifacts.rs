//! The files of releases: their rows, their own quarantine, what is kept beside them.

use publaryn_core::{
    ArtifactId, ArtifactKind, ArtifactState, CompanionRole, Digest, Ecosystem, PackageId, ReleaseId, ReleaseState,
    Timestamp, UserId,
    publish::{NewArtifact, ReleaseDocument},
};
use sqlx::FromRow;

use crate::{
    Db, DbError, DbResult, Sql, Tx,
    documents::ArtifactLocation,
    releases::{OpenPeriod, parse},
};

/// What a file brings along that is judged alone.
#[derive(Debug)]
pub struct OwnQuarantine<'a> {
    /// Chosen beforehand, so that its publisher can wait for it.
    pub id: ArtifactId,
    /// The adapter's document of the file, as JSON text.
    pub metadata: &'a str,
    /// See [`publaryn_core::publish::AppendCommand::release`].
    pub pending: Option<&'a ReleaseDocument>,
}

/// What the pipeline needs to know about one file while it moves.
#[derive(Debug, Clone, FromRow)]
pub struct FileProgress {
    pub id: ArtifactId,
    pub release_id: ReleaseId,
    pub package_id: PackageId,
    pub kind: ArtifactKind,
    pub filename: String,
    pub sha256: Digest,
    pub state: ArtifactState,
    pub release_status: ReleaseState,
    pub published_by: Option<UserId>,
    pub pending: Option<String>,
    /// Its findings are those of a scan that came to its end.
    pub is_scanned: bool,
    #[sqlx(flatten)]
    pub release_open: OpenPeriod,
}

impl FileProgress {
    /// It waits with others for somebody to publish them together, or did not pass with them: no upload of a client
    /// brought it, and none may take it along.
    pub fn is_of_draft(&self) -> bool {
        self.state == ArtifactState::Joint && self.release_status == ReleaseState::Quarantine
    }

    pub fn pending(&self) -> DbResult<Option<ReleaseDocument>> {
        self.pending.as_deref().map(|text| parse("release document", text)).transpose()
    }
}

macro_rules! file_columns {
    ($rest:literal) => {
        concat!(
            "SELECT a.id, a.release_id, r.package_id, a.kind, a.filename, a.sha256, a.state, r.status AS release_status, r.published_by, ",
            "a.pending, a.scanned_with IS NOT NULL AS is_scanned, r.open_until, r.sealed_at ",
            "FROM artifacts a JOIN releases r ON r.id = a.release_id ",
            $rest
        )
    };
}

/// Every digest of a file, whatever has become of it.
#[derive(Debug, Clone, FromRow)]
pub struct FileDigests {
    pub state: ArtifactState,
    pub sha256: Digest,
    /// Lower-case hex, as the others.
    pub sha512: String,
    pub sha1: Option<String>,
    pub md5: Option<String>,
}

/// The one condition under which a file may leave the server; needs `artifacts a` and `releases r`.
macro_rules! servable {
    ($select:literal, $from:literal, $rest:literal) => {
        concat!(
            "SELECT ",
            $select,
            " FROM artifacts a JOIN releases r ON r.id = a.release_id ",
            $from,
            " WHERE r.status IN ('published', 'deprecated', 'yanked') AND a.state IN ('joint', 'live') AND ",
            $rest
        )
    };
}
pub(crate) use servable;

impl Db {
    pub async fn file_progress(&self, id: ArtifactId) -> DbResult<Option<FileProgress>> {
        const SQL: &str = file_columns!("WHERE a.id = $1");
        Ok(on_db!(self, |c| sqlx::query_as(SQL).bind(id).fetch_optional(c).await)?)
    }

    /// The file of that name in a version, whatever has become of either.
    pub async fn file_by_name(
        &self,
        package: PackageId,
        version_key: &str,
        filename: &str,
    ) -> DbResult<Option<FileProgress>> {
        const SQL: &str = file_columns!("WHERE r.package_id = $1 AND r.version_key = $2 AND a.filename = $3");
        Ok(on_db!(self, |c| sqlx::query_as(SQL)
            .bind(package)
            .bind(version_key)
            .bind(filename)
            .fetch_optional(c)
            .await)?)
    }

    /// Every file of a version, whatever has become of it, in upload order.
    pub async fn files_of_version(&self, package: PackageId, version_key: &str) -> DbResult<Vec<FileProgress>> {
        const SQL: &str = file_columns!("WHERE r.package_id = $1 AND r.version_key = $2 ORDER BY a.uploaded_at, a.id");
        Ok(on_db!(self, |c| sqlx::query_as(SQL).bind(package).bind(version_key).fetch_all(c).await)?)
    }

    pub async fn file_digests(
        &self,
        package: PackageId,
        version_key: &str,
        filename: &str,
    ) -> DbResult<Option<FileDigests>> {
        const SQL: &str = "SELECT a.state, a.sha256, a.sha512, a.sha1, a.md5 FROM artifacts a \
             JOIN releases r ON r.id = a.release_id \
             WHERE r.package_id = $1 AND r.version_key = $2 AND a.filename = $3";
        Ok(on_db!(self, |c| sqlx::query_as(SQL)
            .bind(package)
            .bind(version_key)
            .bind(filename)
            .fetch_optional(c)
            .await)?)
    }

    /// Files in a quarantine of their own that were uploaded before `before`, oldest first.
    pub async fn files_scanning_since(&self, before: Timestamp, limit: i64) -> DbResult<Vec<FileProgress>> {
        const SQL: &str =
            file_columns!("WHERE a.state = 'scanning' AND a.uploaded_at < $1 ORDER BY a.uploaded_at LIMIT $2");
        Ok(on_db!(self, |c| sqlx::query_as(SQL).bind(before).bind(limit).fetch_all(c).await)?)
    }

    /// The package a file belongs to; never changes.
    pub async fn package_of_artifact(&self, id: ArtifactId) -> DbResult<Option<(Ecosystem, String)>> {
        const SQL: &str = "SELECT p.ecosystem, p.normalized_name FROM artifacts a \
             JOIN releases r ON r.id = a.release_id JOIN packages p ON p.id = r.package_id WHERE a.id = $1";
        Ok(on_db!(self, |c| sqlx::query_as(SQL).bind(id).fetch_optional(c).await)?)
    }

    /// The servable artifact of a package with that file name. Releases may bring files beside those that clients
    /// install; none of them, and no later release, takes over the name of an older file.
    pub async fn live_artifact(&self, package: PackageId, filename: &str) -> DbResult<Option<ArtifactLocation>> {
        const SQL: &str = servable!(
            "a.id, a.release_id, r.status, a.filename, a.content_type, a.size_bytes, a.sha256, a.sha512, a.sha1, a.md5, \
             a.uploaded_at, b.location",
            "JOIN blobs b ON b.digest = a.sha256",
            "r.package_id = $1 AND a.filename = $2 \
             ORDER BY a.kind IN ('checksum', 'signature', 'sbom', 'source_zip'), a.uploaded_at, a.id LIMIT 1"
        );
        Ok(on_db!(self, |c| sqlx::query_as(SQL).bind(package).bind(filename).fetch_optional(c).await)?)
    }

    /// The same for packages whose versions may have files of one name.
    pub async fn live_artifact_of(
        &self,
        package: PackageId,
        version_key: &str,
        filename: &str,
    ) -> DbResult<Option<ArtifactLocation>> {
        const SQL: &str = servable!(
            "a.id, a.release_id, r.status, a.filename, a.content_type, a.size_bytes, a.sha256, a.sha512, a.sha1, a.md5, \
             a.uploaded_at, b.location",
            "JOIN blobs b ON b.digest = a.sha256",
            "r.package_id = $1 AND r.version_key = $2 AND a.filename = $3"
        );
        Ok(on_db!(self, |c| sqlx::query_as(SQL)
            .bind(package)
            .bind(version_key)
            .bind(filename)
            .fetch_optional(c)
            .await)?)
    }

    /// The same by id.
    pub async fn live_artifact_by_id(&self, package: PackageId, id: ArtifactId) -> DbResult<Option<ArtifactLocation>> {
        const SQL: &str = servable!(
            "a.id, a.release_id, r.status, a.filename, a.content_type, a.size_bytes, a.sha256, a.sha512, a.sha1, a.md5, \
             a.uploaded_at, b.location",
            "JOIN blobs b ON b.digest = a.sha256",
            "r.package_id = $1 AND a.id = $2"
        );
        Ok(on_db!(self, |c| sqlx::query_as(SQL).bind(package).bind(id).fetch_optional(c).await)?)
    }

    /// Files with something inside that answers to a key, and their documents; the newest first.
    pub async fn files_by_key(&self, ecosystem: Ecosystem, key: &str) -> DbResult<Vec<(ArtifactId, Option<String>)>> {
        const SQL: &str = "SELECT a.id, a.metadata FROM artifact_lookup_keys k JOIN artifacts a ON a.id = k.artifact_id \
             WHERE k.ecosystem = $1 AND k.key = $2 ORDER BY a.uploaded_at DESC, a.id DESC LIMIT 20";
        Ok(on_db!(self, |c| sqlx::query_as(SQL).bind(ecosystem).bind(key).fetch_all(c).await)?)
    }

    /// What is kept beside a servable artifact in that role.
    pub async fn live_companion(
        &self,
        package: PackageId,
        id: ArtifactId,
        role: CompanionRole,
    ) -> DbResult<Option<ArtifactLocation>> {
        const SQL: &str = servable!(
            "a.id, a.release_id, r.status, a.filename, m.content_type, b.size_bytes, m.sha256, CAST(NULL AS TEXT) AS sha512, \
             CAST(NULL AS TEXT) AS sha1, CAST(NULL AS TEXT) AS md5, a.uploaded_at, b.location",
            "JOIN artifact_companions m ON m.artifact_id = a.id JOIN blobs b ON b.digest = m.sha256",
            "r.package_id = $1 AND a.id = $2 AND m.role = $3"
        );
        Ok(on_db!(self, |c| sqlx::query_as(SQL).bind(package).bind(id).bind(role).fetch_optional(c).await)?)
    }
}

impl Tx {
    /// Adds a file to a release; without a quarantine of its own it is judged with the release.
    pub async fn insert_artifact(
        &mut self,
        release: ReleaseId,
        artifact: &NewArtifact,
        own: Option<&OwnQuarantine<'_>>,
        now: Timestamp,
    ) -> DbResult<ArtifactId> {
        const SQL: &str = "INSERT INTO artifacts (id, release_id, kind, filename, content_type, size_bytes, sha256, sha512, \
             sha1, md5, uploaded_at, state, metadata, pending) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)";
        let id = own.map_or_else(ArtifactId::new, |own| own.id);
        let state = if own.is_some() { ArtifactState::Scanning } else { ArtifactState::Joint };
        let pending = own.and_then(|own| own.pending).map(serde_json::to_string).transpose();
        let pending = pending.map_err(|source| DbError::Corrupt { what: "release document", source })?;
        later!(
            self,
            SQL,
            id,
            release,
            artifact.kind,
            artifact.filename.clone(),
            artifact.content_type.clone(),
            i64::try_from(artifact.size_bytes).unwrap_or(i64::MAX),
            artifact.digests.sha256,
            artifact.digests.sha512.clone(),
            artifact.digests.sha1.clone(),
            artifact.digests.md5.clone(),
            now,
            state,
            own.map(|own| own.metadata.to_owned()),
            pending,
        )?;
        Ok(id)
    }

    /// Marks an artifact scanned that this transaction added.
    pub async fn mark_new_artifact_scanned(&mut self, artifact: ArtifactId, ruleset: &str) -> DbResult<()> {
        const SQL: &str = "UPDATE artifacts SET scanned_with = $2 WHERE id = $1";
        Ok(later!(self, SQL, artifact, ruleset.to_owned())?)
    }

    /// Marks one artifact scanned; `false` when an earlier run of the job already did.
    pub async fn mark_artifact_scanned(&mut self, artifact: ArtifactId, ruleset: &str) -> DbResult<bool> {
        const SQL: &str = "UPDATE artifacts SET scanned_with = $2 WHERE id = $1 AND scanned_with IS NULL";
        let done = on_tx!(self, |c| sqlx::query(SQL)
            .bind(artifact)
            .bind(ruleset)
            .execute(c)
            .await
            .map(|done| done.rows_affected()))?;
        Ok(done == 1)
    }

    /// Notes what a file that is judged with its release says of itself and of the release.
    pub async fn describe_artifact(
        &mut self,
        id: ArtifactId,
        file: Option<&serde_json::Value>,
        release: &ReleaseDocument,
    ) -> DbResult<()> {
        const SQL: &str = "UPDATE artifacts SET metadata = $2, pending = $3 WHERE id = $1";
        let release =
            serde_json::to_string(release).map_err(|source| DbError::Corrupt { what: "release document", source })?;
        on_tx!(self, |c| sqlx::query(SQL)
            .bind(id)
            .bind(file.map(serde_json::Value::to_string))
            .bind(release)
            .execute(c)
            .await
            .map(drop))?;
        Ok(())
    }

    /// Lets an artifact be scanned again.
    pub async fn forget_scan(&mut self, artifact: ArtifactId) -> DbResult<()> {
        const SQL: &str = "UPDATE artifacts SET scanned_with = NULL WHERE id = $1";
        on_tx!(self, |c| sqlx::query(SQL).bind(artifact).execute(c).await.map(drop))?;
        Ok(())
    }

    /// Notes the keys by which a file is found; each at most once.
    pub async fn insert_lookup_keys(
        &mut self,
        ecosystem: Ecosystem,
        artifact: ArtifactId,
        keys: &[String],
    ) -> DbResult<()> {
        if keys.is_empty() {
            return Ok(());
        }
        let sql = Sql {
            sqlite: "INSERT INTO artifact_lookup_keys (ecosystem, key, artifact_id) \
                 SELECT DISTINCT $1, value, $2 FROM json_each($3)",
            postgres: "INSERT INTO artifact_lookup_keys (ecosystem, key, artifact_id) \
                 SELECT DISTINCT $1, value, $2 FROM json_array_elements_text($3::json) AS t(value)",
        }
        .on(self.engine());
        let keys = serde_json::Value::from(keys.to_vec()).to_string();
        later!(self, sql, ecosystem, artifact, keys)?;
        Ok(())
    }

    pub async fn insert_companion(
        &mut self,
        artifact: ArtifactId,
        role: CompanionRole,
        content_type: &str,
        sha256: Digest,
    ) -> DbResult<()> {
        const SQL: &str =
            "INSERT INTO artifact_companions (artifact_id, role, content_type, sha256) VALUES ($1, $2, $3, $4)";
        Ok(later!(self, SQL, artifact, role, content_type.to_owned(), sha256)?)
    }

    pub async fn release_of_artifact(&mut self, id: ArtifactId) -> DbResult<Option<ReleaseId>> {
        const SQL: &str = "SELECT release_id FROM artifacts WHERE id = $1";
        Ok(on_tx!(self, |c| sqlx::query_scalar(SQL).bind(id).fetch_optional(c).await)?)
    }

    /// Every file of a release, in upload order. Whoever acts on them holds the package's lock.
    pub async fn files_of(&mut self, release: ReleaseId) -> DbResult<Vec<FileProgress>> {
        const SQL: &str = file_columns!("WHERE a.release_id = $1 ORDER BY a.uploaded_at, a.id");
        Ok(on_tx!(self, |c| sqlx::query_as(SQL).bind(release).fetch_all(c).await)?)
    }

    /// Moves a file into or out of its quarantine; its waiting publisher is told after the commit. What waits for
    /// a file to be cleared goes on waiting while it is held.
    pub async fn set_artifact_state(&mut self, id: ArtifactId, state: ArtifactState) -> DbResult<()> {
        const SQL: &str =
            "UPDATE artifacts SET state = $2, pending = CASE WHEN $2 = 'live' THEN NULL ELSE pending END WHERE id = $1";
        later!(self, SQL, id, state)?;
        self.notice().artifacts.push(id);
        Ok(())
    }
}

//! What surrounds releases that take files for a while: sealing, checksums that came before their files, and the
//! prefixes of plugins.

use publaryn_core::{Ecosystem, PackageId, ReleaseId, Timestamp, UserId};
use sqlx::FromRow;
use uuid::Uuid;

use crate::{
    Db, DbResult, Tx,
    releases::{OpenPeriod, parse},
};

/// A release whose time is over.
#[derive(Debug, Clone, FromRow)]
pub struct Overdue {
    pub id: ReleaseId,
    pub package_id: PackageId,
    #[sqlx(flatten)]
    pub open: OpenPeriod,
}

/// A version and until when it takes files.
#[derive(Debug, Clone, FromRow)]
pub struct OpenVersion {
    pub id: ReleaseId,
    pub version: String,
    #[sqlx(flatten)]
    pub open: OpenPeriod,
}

/// The name under which a plugin can be called.
#[derive(Debug, Clone, FromRow)]
pub struct PluginPrefix {
    pub package_id: PackageId,
    pub prefix: String,
    pub name: Option<String>,
}

impl Db {
    /// Releases that are still called open and whose time is over, oldest first.
    pub async fn overdue_releases(&self, now: Timestamp, limit: i64) -> DbResult<Vec<Overdue>> {
        const SQL: &str = "SELECT id, package_id, open_until, sealed_at FROM releases \
             WHERE open_until IS NOT NULL AND sealed_at IS NULL AND open_until <= $1 ORDER BY open_until LIMIT $2";
        Ok(on_db!(self, |c| sqlx::query_as(SQL).bind(now).bind(limit).fetch_all(c).await)?)
    }

    /// A version as it is spelt and until when it takes files; `None` when there is none.
    pub async fn open_version(&self, package: PackageId, version_key: &str) -> DbResult<Option<OpenVersion>> {
        const SQL: &str =
            "SELECT id, version, open_until, sealed_at FROM releases WHERE package_id = $1 AND version_key = $2";
        Ok(on_db!(self, |c| sqlx::query_as(SQL).bind(package).bind(version_key).fetch_optional(c).await)?)
    }

    /// What is kept with each file of a version, by its name, in whatever state it is; files without are left out.
    pub async fn file_documents(
        &self,
        package: PackageId,
        version_key: &str,
    ) -> DbResult<Vec<(String, serde_json::Value)>> {
        const SQL: &str = "SELECT a.filename, a.metadata FROM artifacts a JOIN releases r ON r.id = a.release_id \
             WHERE r.package_id = $1 AND r.version_key = $2 AND a.metadata IS NOT NULL ORDER BY a.uploaded_at, a.id";
        let rows: Vec<(String, String)> =
            on_db!(self, |c| sqlx::query_as(SQL).bind(package).bind(version_key).fetch_all(c).await)?;
        rows.into_iter().map(|(name, text)| Ok((name, parse("file document", &text)?))).collect()
    }

    /// Files of a version whose scans have not ended.
    pub async fn scanning_files(&self, package: PackageId, version_key: &str) -> DbResult<i64> {
        const SQL: &str = "SELECT CAST(COUNT(*) AS BIGINT) FROM artifacts a JOIN releases r ON r.id = a.release_id \
             WHERE r.package_id = $1 AND r.version_key = $2 AND a.state = 'scanning'";
        Ok(on_db!(self, |c| sqlx::query_scalar(SQL).bind(package).bind(version_key).fetch_one(c).await)?)
    }

    /// Checksums somebody uploaded for a file: algorithm and lower-case hex.
    pub async fn uploaded_checksums(
        &self,
        actor: Uuid,
        path: &str,
        since: Timestamp,
    ) -> DbResult<Vec<(String, String)>> {
        const SQL: &str = "SELECT algorithm, digest FROM uploaded_checksums \
             WHERE actor_id = $1 AND path = $2 AND uploaded_at >= $3 ORDER BY algorithm";
        Ok(on_db!(self, |c| sqlx::query_as(SQL).bind(actor).bind(path).bind(since).fetch_all(c).await)?)
    }

    /// Whether anybody uploaded such a checksum of a file.
    pub async fn is_checksum_uploaded(&self, path: &str, algorithm: &str, since: Timestamp) -> DbResult<bool> {
        const SQL: &str = "SELECT CAST(COUNT(*) AS BIGINT) FROM uploaded_checksums \
             WHERE path = $1 AND algorithm = $2 AND uploaded_at >= $3";
        let count: i64 =
            on_db!(self, |c| sqlx::query_scalar(SQL).bind(path).bind(algorithm).bind(since).fetch_one(c).await)?;
        Ok(count > 0)
    }

    /// Prefixes of packages with something live whose normalised name starts with `below` (`com.acme:`), in the
    /// order in which they were taken.
    pub async fn plugin_prefixes(&self, ecosystem: Ecosystem, below: &str) -> DbResult<Vec<PluginPrefix>> {
        const SQL: &str = "SELECT x.package_id, x.prefix, x.name FROM plugin_prefixes x \
             JOIN packages p ON p.id = x.package_id \
             WHERE p.ecosystem = $1 AND SUBSTR(p.normalized_name, 1, $3) = $2 AND p.deleted_at IS NULL \
             AND EXISTS (SELECT 1 FROM releases r WHERE r.package_id = p.id AND r.status IN ('published', 'deprecated')) \
             ORDER BY x.added_at, p.normalized_name, x.prefix LIMIT 10000";
        let length = i32::try_from(below.chars().count()).unwrap_or(i32::MAX);
        Ok(on_db!(self, |c| sqlx::query_as(SQL).bind(ecosystem).bind(below).bind(length).fetch_all(c).await)?)
    }
}

impl Tx {
    /// Who began a release, where that was a person.
    pub async fn publisher_of(&mut self, id: ReleaseId) -> DbResult<Option<UserId>> {
        const SQL: &str = "SELECT published_by FROM releases WHERE id = $1";
        Ok(on_tx!(self, |c| sqlx::query_scalar(SQL).bind(id).fetch_one(c).await)?)
    }

    /// Lets a release take files until then.
    pub async fn keep_open(&mut self, id: ReleaseId, until: Timestamp) -> DbResult<()> {
        const SQL: &str = "UPDATE releases SET open_until = $2 WHERE id = $1 AND sealed_at IS NULL";
        on_tx!(self, |c| sqlx::query(SQL).bind(id).bind(until).execute(c).await.map(drop))?;
        Ok(())
    }

    /// Ends that time; `false` when it had ended before.
    pub async fn seal(&mut self, id: ReleaseId, at: Timestamp) -> DbResult<bool> {
        const SQL: &str =
            "UPDATE releases SET sealed_at = $2 WHERE id = $1 AND sealed_at IS NULL AND open_until IS NOT NULL";
        let done =
            on_tx!(self, |c| sqlx::query(SQL).bind(id).bind(at).execute(c).await.map(|done| done.rows_affected()))?;
        Ok(done == 1)
    }

    /// Keeps a checksum, and forgets those from before `old`.
    pub async fn note_checksum(
        &mut self,
        actor: Uuid,
        path: &str,
        algorithm: &str,
        digest: &str,
        now: Timestamp,
        old: Timestamp,
    ) -> DbResult<()> {
        const FORGET: &str = "DELETE FROM uploaded_checksums WHERE uploaded_at < $1";
        const SQL: &str = "INSERT INTO uploaded_checksums (actor_id, path, algorithm, digest, uploaded_at) \
             VALUES ($1, $2, $3, $4, $5) ON CONFLICT (actor_id, path, algorithm) \
             DO UPDATE SET digest = excluded.digest, uploaded_at = excluded.uploaded_at";
        on_tx!(self, |c| sqlx::query(FORGET).bind(old).execute(c).await.map(drop))?;
        on_tx!(self, |c| sqlx::query(SQL)
            .bind(actor)
            .bind(path)
            .bind(algorithm)
            .bind(digest)
            .bind(now)
            .execute(c)
            .await
            .map(drop))?;
        Ok(())
    }

    pub async fn forget_checksums(&mut self, actor: Uuid, path: &str) -> DbResult<()> {
        const SQL: &str = "DELETE FROM uploaded_checksums WHERE actor_id = $1 AND path = $2";
        on_tx!(self, |c| sqlx::query(SQL).bind(actor).bind(path).execute(c).await.map(drop))?;
        Ok(())
    }

    /// Gives a plugin a prefix; the first name given stays. `false` when it has it, or `most` others.
    pub async fn add_plugin_prefix(
        &mut self,
        package: PackageId,
        prefix: &str,
        name: Option<&str>,
        most: usize,
        now: Timestamp,
    ) -> DbResult<bool> {
        const SQL: &str = "INSERT INTO plugin_prefixes (package_id, prefix, name, added_at) SELECT $1, $2, $3, $4 \
             WHERE (SELECT COUNT(*) FROM plugin_prefixes x WHERE x.package_id = $1) < $5 ON CONFLICT DO NOTHING";
        let done = on_tx!(self, |c| sqlx::query(SQL)
            .bind(package)
            .bind(prefix)
            .bind(name)
            .bind(now)
            .bind(i64::try_from(most).unwrap_or(i64::MAX))
            .execute(c)
            .await
            .map(|done| done.rows_affected()))?;
        Ok(done == 1)
    }
}

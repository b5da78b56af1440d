//! Releases: creation in a publish, the way to live, and what happens to them later.

use publaryn_core::{
    PackageId, ReleaseId, ReleaseState, Timestamp, UserId, Version,
    publish::{PackageFacts, ReleaseDocument},
    version::SharedNumber,
};
use serde::de::DeserializeOwned;
use sqlx::FromRow;

use crate::{Db, DbError, DbResult, Sql, Tx};

/// A release as the publish transaction writes it.
#[derive(Debug)]
pub struct NewRelease<'a> {
    pub id: ReleaseId,
    pub package: PackageId,
    pub version: &'a Version,
    pub status: ReleaseState,
    /// The adapter's document, as JSON text.
    pub metadata: &'a str,
    pub facts: &'a PackageFacts,
    pub tags: &'a [String],
    pub sequence: i64,
    pub scans_total: i64,
    pub published_by: Option<UserId>,
}

/// Until when a release takes files, where nobody says how many it has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, FromRow)]
pub struct OpenPeriod {
    /// `None` for releases that never were open in this sense.
    pub open_until: Option<Timestamp>,
    pub sealed_at: Option<Timestamp>,
}

impl OpenPeriod {
    /// Since when the release takes no more files; `None` while it does.
    pub fn sealed_since(&self, now: Timestamp) -> Option<Timestamp> {
        match (self.sealed_at, self.open_until) {
            (Some(at), _) => Some(at),
            (None, Some(until)) => (until <= now).then_some(until),
            (None, None) => Some(Timestamp::default()),
        }
    }
}

/// What the pipeline needs to know about a release while it moves.
#[derive(Debug, Clone, FromRow)]
pub struct ReleaseProgress {
    pub id: ReleaseId,
    pub package_id: PackageId,
    pub version: String,
    pub status: ReleaseState,
    pub is_yanked: bool,
    pub deprecation_message: Option<String>,
    pub facts: String,
    pub requested_tags: String,
    pub sequence: i64,
    pub scans_total: i64,
    pub scans_done: i64,
    pub required_files: String,
    /// Finding ids, as a JSON list.
    pub blocked_by: String,
    pub published_at: Option<Timestamp>,
    #[sqlx(flatten)]
    pub open: OpenPeriod,
    /// No document says anything about it yet.
    pub is_blank: bool,
}

impl ReleaseProgress {
    pub fn facts(&self) -> DbResult<PackageFacts> {
        parse("package facts", &self.facts)
    }
    pub fn tags(&self) -> DbResult<Vec<String>> {
        parse("tag list", &self.requested_tags)
    }
    /// Files that must be cleared before the release goes live; empty: any one will do.
    pub fn required_files(&self) -> DbResult<Vec<String>> {
        parse("file list", &self.required_files)
    }
    /// Whether findings keep it from being served.
    pub fn is_blocked(&self) -> bool {
        self.status == ReleaseState::Quarantine && self.blocked_by != "[]"
    }
    /// Whether every file has a quarantine of its own, so that no scan of the whole is waited for.
    pub fn is_made_of_files(&self) -> bool {
        self.scans_total == 0
    }
}

pub(crate) fn parse<T: DeserializeOwned>(what: &'static str, text: &str) -> DbResult<T> {
    serde_json::from_str(text).map_err(|source| DbError::Corrupt { what, source })
}

macro_rules! progress_columns {
    ($($rest:expr),+) => {
        concat!(
            "SELECT id, package_id, version, status, is_yanked, deprecation_message, facts, requested_tags, ",
            "sequence, scans_total, scans_done, required_files, blocked_by, published_at, open_until, sealed_at, ",
            "metadata = '{}' AS is_blank FROM releases ",
            $($rest),+
        )
    };
}

/// A release that a native client began to upload and never submitted. One that policy or a failed scan
/// sent back to quarantine has findings: it waits for a decision, not for a client.
macro_rules! is_abandoned {
    ($before:literal) => {
        concat!(
            "status = 'quarantine' AND is_native AND blocked_by = '[]' AND updated_at < ",
            $before,
            " AND NOT EXISTS (SELECT 1 FROM findings f WHERE f.release_id = releases.id) ",
            "AND NOT EXISTS (SELECT 1 FROM artifacts a WHERE a.release_id = releases.id AND a.uploaded_at >= ",
            $before,
            ")"
        )
    };
}

impl Db {
    /// What a release says of its package, whichever release the package shows.
    pub async fn release_facts(&self, id: ReleaseId) -> DbResult<Option<PackageFacts>> {
        const SQL: &str = "SELECT facts FROM releases WHERE id = $1";
        let facts: Option<String> = on_db!(self, |c| sqlx::query_scalar(SQL).bind(id).fetch_optional(c).await)?;
        facts.map(|facts| parse("package facts", &facts)).transpose()
    }

    pub async fn release_progress(&self, id: ReleaseId) -> DbResult<Option<ReleaseProgress>> {
        const SQL: &str = progress_columns!("WHERE id = $1");
        Ok(on_db!(self, |c| sqlx::query_as(SQL).bind(id).fetch_optional(c).await)?)
    }

    /// Whether a version number is taken, in any state (deleted ones stay taken).
    pub async fn release_by_version(&self, package: PackageId, version_key: &str) -> DbResult<Option<ReleaseProgress>> {
        const SQL: &str = progress_columns!("WHERE package_id = $1 AND version_key = $2");
        Ok(on_db!(self, |c| sqlx::query_as(SQL).bind(package).bind(version_key).fetch_optional(c).await)?)
    }

    /// What a version says of itself; `None` while that is nothing.
    pub async fn release_metadata(&self, package: PackageId, version_key: &str) -> DbResult<Option<serde_json::Value>> {
        const SQL: &str =
            "SELECT metadata FROM releases WHERE package_id = $1 AND version_key = $2 AND metadata <> '{}'";
        let text: Option<String> =
            on_db!(self, |c| sqlx::query_scalar(SQL).bind(package).bind(version_key).fetch_optional(c).await)?;
        text.map(|text| parse("release document", &text)).transpose()
    }

    /// Releases in `scanning` that are judged as a whole and last changed before `before`, oldest first.
    pub async fn releases_scanning_since(&self, before: Timestamp, limit: i64) -> DbResult<Vec<ReleaseProgress>> {
        const SQL: &str = progress_columns!(
            "WHERE status = 'scanning' AND scans_total > 0 AND updated_at < $1 ORDER BY updated_at LIMIT $2"
        );
        Ok(on_db!(self, |c| sqlx::query_as(SQL).bind(before).bind(limit).fetch_all(c).await)?)
    }

    /// Uploads by native clients that were begun and neither submitted nor continued since `before`.
    pub async fn abandoned_uploads(&self, before: Timestamp, limit: i64) -> DbResult<Vec<ReleaseProgress>> {
        const SQL: &str = progress_columns!("WHERE ", is_abandoned!("$1"), " ORDER BY updated_at LIMIT $2");
        Ok(on_db!(self, |c| sqlx::query_as(SQL).bind(before).bind(limit).fetch_all(c).await)?)
    }
}

impl Tx {
    /// Deletes an upload if it still is as [`Db::abandoned_uploads`] says; its version number is free again.
    pub async fn delete_abandoned_upload(&mut self, id: ReleaseId, before: Timestamp) -> DbResult<bool> {
        const SQL: &str = concat!("DELETE FROM releases WHERE id = $2 AND ", is_abandoned!("$1"));
        let done =
            on_tx!(self, |c| sqlx::query(SQL).bind(before).bind(id).execute(c).await.map(|done| done.rows_affected()))?;
        Ok(done == 1)
    }

    /// Inserts a release; `false` when its version number is taken.
    pub async fn insert_release(&mut self, new: &NewRelease<'_>, now: Timestamp) -> DbResult<bool> {
        const SQL: &str = "INSERT INTO releases (id, package_id, version, version_key, sort_key, status, is_prerelease, \
             metadata, facts, requested_tags, sequence, scans_total, published_by, created_at, updated_at) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $14) ON CONFLICT DO NOTHING";
        let text =
            |what, result: serde_json::Result<String>| result.map_err(|source| DbError::Corrupt { what, source });
        let facts = text("package facts", serde_json::to_string(new.facts))?;
        let tags = text("tag list", serde_json::to_string(new.tags))?;
        let done = on_tx!(self, |c| sqlx::query(SQL)
            .bind(new.id)
            .bind(new.package)
            .bind(new.version.as_str())
            .bind(new.version.unique_key())
            .bind(new.version.sort_key())
            .bind(new.status)
            .bind(new.version.is_prerelease())
            .bind(new.metadata)
            .bind(facts)
            .bind(tags)
            .bind(new.sequence)
            .bind(new.scans_total)
            .bind(new.published_by)
            .bind(now)
            .execute(c)
            .await
            .map(|done| done.rows_affected()))?;
        Ok(done == 1)
    }

    /// Live and staged releases.
    pub async fn count_releases(&mut self, package: PackageId) -> DbResult<i64> {
        const SQL: &str = "SELECT CAST(COUNT(*) AS BIGINT) FROM releases WHERE package_id = $1 AND status <> 'deleted'";
        Ok(on_tx!(self, |c| sqlx::query_scalar(SQL).bind(package).fetch_one(c).await)?)
    }

    /// A version of the package, in whatever state, that has this number in another spelling.
    pub async fn number_spelled_otherwise(
        &mut self,
        package: PackageId,
        number: &SharedNumber,
    ) -> DbResult<Option<String>> {
        const SQL: &str = "SELECT version FROM releases WHERE package_id = $1 \
             AND (version_key = $2 OR substr(version_key, 1, length($2) + 1) = $2 || '-') \
             AND NOT (version = $3 OR substr(version, 1, length($3) + 1) = $3 || '-') ORDER BY sequence LIMIT 1";
        let (unique, text) = (number.unique.as_str(), number.text.as_str());
        Ok(on_tx!(self, |c| sqlx::query_scalar(SQL).bind(package).bind(unique).bind(text).fetch_optional(c).await)?)
    }

    /// A release, locked until the end of the transaction.
    pub async fn lock_release(&mut self, id: ReleaseId) -> DbResult<Option<ReleaseProgress>> {
        let sql =
            Sql { sqlite: progress_columns!("WHERE id = $1"), postgres: progress_columns!("WHERE id = $1 FOR UPDATE") }
                .on(self.engine());
        Ok(on_tx!(self, |c| sqlx::query_as(sql).bind(id).fetch_optional(c).await)?)
    }

    pub async fn lock_release_by_version(
        &mut self,
        package: PackageId,
        version_key: &str,
    ) -> DbResult<Option<ReleaseProgress>> {
        let sql = Sql {
            sqlite: progress_columns!("WHERE package_id = $1 AND version_key = $2"),
            postgres: progress_columns!("WHERE package_id = $1 AND version_key = $2 FOR UPDATE"),
        }
        .on(self.engine());
        Ok(on_tx!(self, |c| sqlx::query_as(sql).bind(package).bind(version_key).fetch_optional(c).await)?)
    }

    /// Counts one more finished scan; returns the release as it now is.
    pub async fn count_scan_done(&mut self, release: ReleaseId, now: Timestamp) -> DbResult<ReleaseProgress> {
        const SQL: &str = "UPDATE releases SET scans_done = scans_done + 1, updated_at = $2 WHERE id = $1 \
             RETURNING id, package_id, version, status, is_yanked, deprecation_message, facts, requested_tags, \
             sequence, scans_total, scans_done, required_files, blocked_by, published_at, open_until, sealed_at, \
             metadata = '{}' AS is_blank";
        Ok(on_tx!(self, |c| sqlx::query_as(SQL).bind(release).bind(now).fetch_one(c).await)?)
    }

    /// Moves a release to `next`; waiting publishers are told after the commit.
    pub async fn set_release_state(&mut self, id: ReleaseId, next: ReleaseState, now: Timestamp) -> DbResult<()> {
        const SQL: &str = "UPDATE releases SET status = $2, updated_at = $3, published_at = CASE \
             WHEN $2 IN ('published', 'deprecated', 'yanked') THEN COALESCE(published_at, $3) ELSE published_at END, \
             yanked_at = CASE WHEN $2 = 'yanked' THEN COALESCE(yanked_at, $3) \
             WHEN $2 IN ('published', 'deprecated') THEN NULL ELSE yanked_at END WHERE id = $1";
        later!(self, SQL, id, next, now)?;
        self.notice().releases.push(id);
        Ok(())
    }

    /// Replaces what a release that is not live yet says of itself.
    pub async fn set_release_document(&mut self, id: ReleaseId, document: &ReleaseDocument) -> DbResult<()> {
        const SQL: &str = "UPDATE releases SET metadata = $2, facts = $3 WHERE id = $1";
        let facts = serde_json::to_string(&document.facts)
            .map_err(|source| DbError::Corrupt { what: "package facts", source })?;
        Ok(later!(self, SQL, id, document.metadata.to_string(), facts)?)
    }

    pub async fn set_required_files(&mut self, id: ReleaseId, files: &[String]) -> DbResult<()> {
        const SQL: &str = "UPDATE releases SET required_files = $2 WHERE id = $1";
        let files = serde_json::json!(files).to_string();
        on_tx!(self, |c| sqlx::query(SQL).bind(id).bind(files).execute(c).await.map(drop))?;
        Ok(())
    }

    pub async fn set_blocked_by(&mut self, id: ReleaseId, findings: &str) -> DbResult<()> {
        const SQL: &str = "UPDATE releases SET blocked_by = $2 WHERE id = $1";
        on_tx!(self, |c| sqlx::query(SQL).bind(id).bind(findings).execute(c).await.map(drop))?;
        Ok(())
    }

    /// Sets or clears the yank flag. The caller also moves the state.
    pub async fn set_yanked(&mut self, id: ReleaseId, yanked: bool, reason: Option<&str>) -> DbResult<()> {
        const SQL: &str = "UPDATE releases SET is_yanked = $2, yank_reason = $3 WHERE id = $1";
        on_tx!(self, |c| sqlx::query(SQL).bind(id).bind(yanked).bind(reason).execute(c).await.map(drop))?;
        Ok(())
    }

    pub async fn set_deprecation(&mut self, id: ReleaseId, message: Option<&str>) -> DbResult<()> {
        const SQL: &str = "UPDATE releases SET deprecation_message = $2 WHERE id = $1";
        on_tx!(self, |c| sqlx::query(SQL).bind(id).bind(message).execute(c).await.map(drop))?;
        Ok(())
    }

    /// Every live release of a package, in publish order.
    pub async fn live_releases(&mut self, package: PackageId) -> DbResult<Vec<ReleaseProgress>> {
        const SQL: &str = progress_columns!(
            "WHERE package_id = $1 AND status IN ('published', 'deprecated', 'yanked') ORDER BY sequence"
        );
        Ok(on_tx!(self, |c| sqlx::query_as(SQL).bind(package).fetch_all(c).await)?)
    }
}

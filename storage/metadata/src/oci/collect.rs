//! What `cleanup_oci_blobs` takes away: links nobody needs and idle sessions. The content itself is the
//! blob collector's ([`crate::blobs`]).
//!
//! Every statement re-checks what it removes, so it is safe beside pushes and beside another collector.

use publaryn_core::{Timestamp, UploadId};
use sqlx::FromRow;
use uuid::Uuid;

use super::json_list;
use crate::{Db, DbResult, Sql, Tx};

/// A session that was removed, with what its bytes are found by.
#[derive(Debug, Clone, FromRow)]
pub struct ExpiredUpload {
    pub id: UploadId,
    /// Empty for one that became a blob.
    pub state: String,
}

/// What names a link; in their order links are gone through.
#[derive(Debug, Clone, FromRow)]
pub struct LinkKey {
    pub holder_id: Uuid,
    pub name: String,
    pub digest: String,
}

impl LinkKey {
    /// Before every link there is.
    pub fn first() -> Self {
        Self { holder_id: Uuid::nil(), name: String::new(), digest: String::new() }
    }
}

/// Rows that were looked at, those among them that may go, and after which one to go on.
#[derive(Debug, Clone)]
pub struct Looked<K> {
    pub may_go: Vec<K>,
    /// `None` when all were seen.
    pub last: Option<K>,
}

impl<K: Clone> Looked<K> {
    fn of(rows: Vec<(K, bool)>, limit: i64) -> Self {
        let last = rows.last().filter(|_| rows.len() as i64 == limit).map(|(key, _)| key.clone());
        Self { may_go: rows.into_iter().filter(|(_, may_go)| *may_go).map(|(key, _)| key).collect(), last }
    }
}

/// A link last touched before `$1` that no manifest of its repository needs.
macro_rules! is_unneeded {
    ($link:literal) => {
        concat!(
            $link,
            ".touched_at < $1 AND NOT EXISTS (SELECT 1 FROM oci_references f WHERE f.package_id = ",
            $link,
            ".holder_id AND f.child = ",
            $link,
            ".digest AND f.kind <> 'manifest')"
        )
    };
}

/// A verdict from before `$1` on content that is not here.
macro_rules! is_orphaned {
    ($scan:literal) => {
        concat!($scan, ".scanned_at < $1 AND NOT EXISTS (SELECT 1 FROM blobs b WHERE b.digest = ", $scan, ".sha256)")
    };
}

impl Db {
    /// Looks at the next `limit` links for those last touched before `before` that no manifest of their repository
    /// needs. A read: the writers of an embedded database do not wait for it.
    pub async fn unneeded_links(&self, after: &LinkKey, before: Timestamp, limit: i64) -> DbResult<Looked<LinkKey>> {
        const SQL: &str = concat!(
            "SELECT l.holder_id, l.name, l.digest, ",
            is_unneeded!("l"),
            " AS may_go FROM oci_blobs l WHERE (l.holder_id, l.name, l.digest) > ($2, $3, $4) \
             ORDER BY l.holder_id, l.name, l.digest LIMIT $5"
        );
        let rows: Vec<(Uuid, String, String, bool)> = on_db!(self, |c| sqlx::query_as(SQL)
            .bind(before)
            .bind(after.holder_id)
            .bind(&after.name)
            .bind(&after.digest)
            .bind(limit)
            .fetch_all(c)
            .await)?;
        let keyed =
            rows.into_iter().map(|(holder_id, name, digest, may_go)| (LinkKey { holder_id, name, digest }, may_go));
        Ok(Looked::of(keyed.collect(), limit))
    }

    /// Looks at the next `limit` verdicts for those from before `before` on content that is not here.
    pub async fn orphaned_scans(&self, after: &str, before: Timestamp, limit: i64) -> DbResult<Looked<String>> {
        const SQL: &str = concat!(
            "SELECT s.sha256, ",
            is_orphaned!("s"),
            " AS may_go FROM content_scans s WHERE s.sha256 > $2 ORDER BY s.sha256 LIMIT $3"
        );
        let rows: Vec<(String, bool)> =
            on_db!(self, |c| sqlx::query_as(SQL).bind(before).bind(after).bind(limit).fetch_all(c).await)?;
        Ok(Looked::of(rows, limit))
    }

    /// Which of these sessions exist.
    pub async fn known_uploads(&self, ids: &[UploadId]) -> DbResult<Vec<UploadId>> {
        let sql = self.sql(Sql {
            sqlite: "SELECT id FROM oci_uploads WHERE id IN (SELECT unhex(value) FROM json_each($1))",
            postgres: "SELECT id FROM oci_uploads WHERE id IN (SELECT CAST(value AS UUID) FROM json_array_elements_text($1::json))",
        });
        let list = json_list(ids.iter().map(|id| id.0.simple()));
        Ok(on_db!(self, |c| sqlx::query_scalar(sql).bind(list).fetch_all(c).await)?)
    }
}

impl Tx {
    /// Removes these links, as far as they are still what [`Db::unneeded_links`] looked for; how many went.
    pub async fn delete_unneeded_links(&mut self, keys: &[LinkKey], before: Timestamp) -> DbResult<u64> {
        const SQL: &str = concat!(
            "DELETE FROM oci_blobs WHERE holder_id = $2 AND name = $3 AND digest = $4 AND ",
            is_unneeded!("oci_blobs")
        );
        let mut gone = 0;
        for key in keys {
            gone += on_tx!(self, |c| sqlx::query(SQL)
                .bind(before)
                .bind(key.holder_id)
                .bind(&key.name)
                .bind(&key.digest)
                .execute(c)
                .await
                .map(|done| done.rows_affected()))?;
        }
        Ok(gone)
    }

    /// Forgets these verdicts, as far as they are still what [`Db::orphaned_scans`] looked for.
    pub async fn delete_orphaned_scans(&mut self, contents: &[String], before: Timestamp) -> DbResult<()> {
        const SQL: &str = concat!("DELETE FROM content_scans WHERE sha256 = $2 AND ", is_orphaned!("content_scans"));
        for content in contents {
            on_tx!(self, |c| sqlx::query(SQL).bind(before).bind(content).execute(c).await.map(drop))?;
        }
        Ok(())
    }

    /// Removes sessions idle since `idle_before`, and those that became a blob before `finished_before`.
    pub async fn delete_expired_uploads(
        &mut self,
        idle_before: Timestamp,
        finished_before: Timestamp,
        now: Timestamp,
        limit: i64,
    ) -> DbResult<Vec<ExpiredUpload>> {
        const SQL: &str = "DELETE FROM oci_uploads WHERE id IN (SELECT id FROM oci_uploads WHERE \
             (touched_at < $1 AND (writer_id IS NULL OR writer_until < $3)) \
             OR (finished_digest IS NOT NULL AND touched_at < $2) LIMIT $4) \
             AND (writer_id IS NULL OR writer_until < $3) RETURNING id, state";
        Ok(on_tx!(self, |c| sqlx::query_as(SQL)
            .bind(idle_before)
            .bind(finished_before)
            .bind(now)
            .bind(limit)
            .fetch_all(c)
            .await)?)
    }
}

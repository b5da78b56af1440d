//! What `cleanup_oci_blobs` takes away: links nobody needs and idle sessions. The content itself is the
//! blob collector's ([`crate::blobs`]).
//!
//! Every statement re-checks what it removes, so it is safe beside pushes and beside another collector.

use publaryn_core::{Timestamp, UploadId};
use sqlx::FromRow;

use super::json_list;
use crate::{Db, DbResult, Sql, Tx};

/// A session that was removed, with what its bytes are found by.
#[derive(Debug, Clone, FromRow)]
pub struct ExpiredUpload {
    pub id: UploadId,
    /// Empty for one that became a blob.
    pub state: String,
}

impl Db {
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
    /// Removes links last touched before `before` that no manifest of their repository needs.
    pub async fn delete_unneeded_links(&mut self, before: Timestamp, limit: i64) -> DbResult<u64> {
        const SQL: &str = "DELETE FROM oci_blobs WHERE touched_at < $1 AND (holder_id, name, digest) IN \
             (SELECT l.holder_id, l.name, l.digest FROM oci_blobs l WHERE l.touched_at < $1 AND NOT EXISTS \
             (SELECT 1 FROM oci_references f WHERE f.package_id = l.holder_id AND f.child = l.digest AND f.kind <> 'manifest') \
             ORDER BY l.touched_at LIMIT $2)";
        Ok(on_tx!(self, |c| sqlx::query(SQL)
            .bind(before)
            .bind(limit)
            .execute(c)
            .await
            .map(|done| done.rows_affected()))?)
    }

    /// Forgets verdicts on content that has not been here since `before`.
    pub async fn delete_orphaned_scans(&mut self, before: Timestamp, limit: i64) -> DbResult<u64> {
        const SQL: &str = "DELETE FROM content_scans WHERE sha256 IN (SELECT s.sha256 FROM content_scans s \
             WHERE s.scanned_at < $1 AND NOT EXISTS (SELECT 1 FROM blobs b WHERE b.digest = s.sha256) LIMIT $2)";
        Ok(on_tx!(self, |c| sqlx::query(SQL)
            .bind(before)
            .bind(limit)
            .execute(c)
            .await
            .map(|done| done.rows_affected()))?)
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

//! Upload sessions: rows that outlive requests and processes.

use publaryn_core::{ContentDigest, Timestamp, UploadId};
use sqlx::FromRow;
use uuid::Uuid;

use crate::{Db, DbResult, Tx};

#[derive(Debug, Clone, FromRow)]
pub struct UploadRow {
    pub id: UploadId,
    pub name: String,
    /// The account or organization that began it.
    pub actor_id: Uuid,
    /// The blob store's own account of it, as JSON text.
    pub state: String,
    pub size_bytes: i64,
    /// Set when it became a blob.
    pub finished_digest: Option<ContentDigest>,
    pub created_at: Timestamp,
    pub touched_at: Timestamp,
}

macro_rules! upload_columns {
    () => {
        "id, name, actor_id, state, size_bytes, finished_digest, created_at, touched_at"
    };
}

impl Db {
    pub async fn upload(&self, id: UploadId) -> DbResult<Option<UploadRow>> {
        const SQL: &str = concat!("SELECT ", upload_columns!(), " FROM oci_uploads WHERE id = $1");
        Ok(on_db!(self, |c| sqlx::query_as(SQL).bind(id).fetch_optional(c).await)?)
    }
}

impl Tx {
    pub async fn insert_upload(
        &mut self,
        id: UploadId,
        name: &str,
        actor: Uuid,
        state: &str,
        now: Timestamp,
    ) -> DbResult<()> {
        const SQL: &str = "INSERT INTO oci_uploads (id, name, actor_id, state, size_bytes, created_at, touched_at) \
             VALUES ($1, $2, $3, $4, 0, $5, $5)";
        on_tx!(self, |c| sqlx::query(SQL)
            .bind(id)
            .bind(name)
            .bind(actor)
            .bind(state)
            .bind(now)
            .execute(c)
            .await
            .map(drop))?;
        Ok(())
    }

    /// Makes `writer` the one that may append until `until`, unless another one is; the session then.
    pub async fn claim_upload(
        &mut self,
        id: UploadId,
        writer: Uuid,
        now: Timestamp,
        until: Timestamp,
    ) -> DbResult<Option<UploadRow>> {
        const SQL: &str = concat!(
            "UPDATE oci_uploads SET writer_id = $2, writer_until = $4, touched_at = $3 WHERE id = $1 ",
            "AND finished_digest IS NULL AND (writer_id IS NULL OR writer_until < $3) RETURNING ",
            upload_columns!()
        );
        Ok(on_tx!(self, |c| sqlx::query_as(SQL).bind(id).bind(writer).bind(now).bind(until).fetch_optional(c).await)?)
    }

    /// Prolongs a claim; `false` when it is lost.
    pub async fn renew_upload(
        &mut self,
        id: UploadId,
        writer: Uuid,
        now: Timestamp,
        until: Timestamp,
    ) -> DbResult<bool> {
        const SQL: &str = "UPDATE oci_uploads SET writer_until = $4, touched_at = $3 WHERE id = $1 AND writer_id = $2";
        let done = on_tx!(self, |c| sqlx::query(SQL)
            .bind(id)
            .bind(writer)
            .bind(now)
            .bind(until)
            .execute(c)
            .await
            .map(|done| done.rows_affected()))?;
        Ok(done == 1)
    }

    /// Stores how far the writer has come; `false` when its claim is lost and nothing was stored.
    pub async fn save_upload(
        &mut self,
        id: UploadId,
        writer: Uuid,
        state: &str,
        size_bytes: u64,
        now: Timestamp,
    ) -> DbResult<bool> {
        const SQL: &str =
            "UPDATE oci_uploads SET state = $3, size_bytes = $4, touched_at = $5 WHERE id = $1 AND writer_id = $2";
        let done = on_tx!(self, |c| sqlx::query(SQL)
            .bind(id)
            .bind(writer)
            .bind(state)
            .bind(i64::try_from(size_bytes).unwrap_or(i64::MAX))
            .bind(now)
            .execute(c)
            .await
            .map(|done| done.rows_affected()))?;
        Ok(done == 1)
    }

    /// Ends a claim, if it still holds.
    pub async fn release_upload(&mut self, id: UploadId, writer: Uuid) -> DbResult<()> {
        const SQL: &str =
            "UPDATE oci_uploads SET writer_id = NULL, writer_until = NULL WHERE id = $1 AND writer_id = $2";
        on_tx!(self, |c| sqlx::query(SQL).bind(id).bind(writer).execute(c).await.map(drop))?;
        Ok(())
    }

    /// Records that the upload became a blob; `false` when the writer's claim is lost.
    pub async fn finish_upload(
        &mut self,
        id: UploadId,
        writer: Uuid,
        digest: ContentDigest,
        now: Timestamp,
    ) -> DbResult<bool> {
        const SQL: &str = "UPDATE oci_uploads SET finished_digest = $3, touched_at = $4, state = '', writer_id = NULL, \
             writer_until = NULL WHERE id = $1 AND writer_id = $2";
        let done = on_tx!(self, |c| sqlx::query(SQL)
            .bind(id)
            .bind(writer)
            .bind(digest)
            .bind(now)
            .execute(c)
            .await
            .map(|done| done.rows_affected()))?;
        Ok(done == 1)
    }

    /// Removes a session that nobody else writes to; `false` when there is none such.
    pub async fn delete_upload(&mut self, id: UploadId, writer: Option<Uuid>, now: Timestamp) -> DbResult<bool> {
        const SQL: &str =
            "DELETE FROM oci_uploads WHERE id = $1 AND (writer_id IS NULL OR writer_id = $2 OR writer_until < $3)";
        let done = on_tx!(self, |c| sqlx::query(SQL)
            .bind(id)
            .bind(writer)
            .bind(now)
            .execute(c)
            .await
            .map(|done| done.rows_affected()))?;
        Ok(done == 1)
    }
}

//! Links: which blobs a repository holds, under the digest they were pushed with.

use publaryn_core::{ContentDigest, Digest, Timestamp};
use sqlx::FromRow;
use uuid::Uuid;

use super::json_list;
use crate::{Db, DbResult, Engine, Sql, Tx, reach::Reach};

/// A blob in a repository, with what decides who may see it.
#[derive(Debug, Clone, FromRow)]
pub struct HeldBlob {
    pub sha256: Digest,
    pub size_bytes: i64,
    /// The blob store's own key.
    pub location: String,
    pub touched_at: Timestamp,
    /// Neither lost nor damaged, as far as anybody looked.
    pub is_kept: bool,
    /// A live manifest of the repository needs it, and was judged with it.
    pub is_live: bool,
    /// What was found in it, as JSON text, where a live manifest named it before it was here: nobody judged them
    /// together.
    pub late_findings: Option<String>,
    /// Some manifest of the repository needs it, staged ones included.
    pub is_referenced: bool,
}

/// What a manifest finds of the blobs it names.
#[derive(Debug, Clone, FromRow)]
pub struct LinkRow {
    pub digest: ContentDigest,
    pub sha256: Digest,
    pub size_bytes: i64,
}

/// A repository that holds a blob.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct MountSource {
    pub holder_id: Uuid,
    pub name: String,
}

macro_rules! held_blob {
    () => {
        "SELECT l.sha256, b.size_bytes, b.location, l.touched_at, b.state = 'kept' AS is_kept, \
         EXISTS (SELECT 1 FROM oci_references f JOIN releases r ON r.id = f.release_id \
         WHERE f.package_id = l.holder_id AND f.child = l.digest AND f.kind <> 'manifest' AND f.sha256 IS NOT NULL \
         AND r.status IN ('published', 'deprecated', 'yanked')) AS is_live, \
         (SELECT s.findings FROM content_scans s WHERE s.sha256 = l.sha256 AND EXISTS \
         (SELECT 1 FROM oci_references f JOIN releases r ON r.id = f.release_id \
         WHERE f.package_id = l.holder_id AND f.child = l.digest AND f.kind <> 'manifest' AND f.sha256 IS NULL \
         AND r.status IN ('published', 'deprecated', 'yanked'))) AS late_findings, \
         EXISTS (SELECT 1 FROM oci_references f WHERE f.package_id = l.holder_id AND f.child = l.digest \
         AND f.kind <> 'manifest') AS is_referenced \
         FROM oci_blobs l JOIN blobs b ON b.digest = l.sha256 \
         WHERE l.holder_id = $1 AND l.name = $2 AND l.digest = $3"
    };
}

impl Db {
    pub async fn held_blob(&self, holder: Uuid, name: &str, digest: ContentDigest) -> DbResult<Option<HeldBlob>> {
        const SQL: &str = held_blob!();
        Ok(on_db!(self, |c| sqlx::query_as(SQL).bind(holder).bind(name).bind(digest).fetch_optional(c).await)?)
    }

    /// Repositories that hold a blob; first those that the caller may be told of, and their own uploads.
    pub async fn holders_of_blob(
        &self,
        reach: &Reach,
        actor: Option<Uuid>,
        digest: ContentDigest,
        limit: i64,
    ) -> DbResult<Vec<MountSource>> {
        const SQL: &str = concat!(
            "SELECT l.holder_id, l.name FROM oci_blobs l LEFT JOIN packages p ON p.id = l.holder_id ",
            "LEFT JOIN repositories r ON r.id = p.repository_id WHERE l.digest = $6 ",
            "ORDER BY CASE WHEN l.holder_id = $7 OR ",
            discoverable_package!(),
            " THEN 0 ELSE 1 END LIMIT $8"
        );
        Ok(on_db!(self, |c| bind_reach!(sqlx::query_as(SQL), reach)
            .bind(digest)
            .bind(actor)
            .bind(limit)
            .fetch_all(c)
            .await)?)
    }
}

impl Tx {
    /// Locks the rows of these blobs, in one order; content that is not there is passed over.
    pub async fn lock_blobs(&mut self, digests: &[Digest]) -> DbResult<()> {
        let sql = Sql {
            // The one writer holds everything.
            sqlite: "SELECT digest FROM blobs WHERE digest IN (SELECT value FROM json_each($1))",
            postgres: "SELECT digest FROM blobs WHERE digest = ANY(ARRAY(SELECT json_array_elements_text($1::json))) \
                       ORDER BY digest FOR UPDATE",
        }
        .on(self.engine());
        let list = json_list(digests);
        on_tx!(self, |c| sqlx::query(sql).bind(list).execute(c).await.map(drop))?;
        Ok(())
    }

    /// Locks a blob's row and counts it as used now; where it is kept, or `None` when it is not there or damaged.
    pub async fn touch_blob(&mut self, digest: Digest, now: Timestamp) -> DbResult<Option<String>> {
        const SQL: &str = "UPDATE blobs SET created_at = $2 WHERE digest = $1 AND state = 'kept' RETURNING location";
        Ok(on_tx!(self, |c| sqlx::query_scalar(SQL).bind(digest).bind(now).fetch_optional(c).await)?)
    }

    /// Where a blob is kept, or `None` when it is not there.
    pub async fn blob_location(&mut self, digest: Digest) -> DbResult<Option<String>> {
        const SQL: &str = "SELECT location FROM blobs WHERE digest = $1";
        Ok(on_tx!(self, |c| sqlx::query_scalar(SQL).bind(digest).fetch_optional(c).await)?)
    }

    /// A blob of a repository, within a transaction.
    pub async fn held_blob(&mut self, holder: Uuid, name: &str, digest: ContentDigest) -> DbResult<Option<HeldBlob>> {
        const SQL: &str = held_blob!();
        Ok(on_tx!(self, |c| sqlx::query_as(SQL).bind(holder).bind(name).bind(digest).fetch_optional(c).await)?)
    }

    /// Records that a repository holds a blob; again counts as used now. The blob's row is locked by the caller.
    pub async fn link_blob(
        &mut self,
        holder: Uuid,
        name: &str,
        digest: ContentDigest,
        sha256: Digest,
        now: Timestamp,
    ) -> DbResult<()> {
        const SQL: &str = "INSERT INTO oci_blobs (holder_id, name, digest, sha256, created_at, touched_at) \
             VALUES ($1, $2, $3, $4, $5, $5) ON CONFLICT (holder_id, name, digest) DO UPDATE SET touched_at = excluded.touched_at";
        on_tx!(self, |c| sqlx::query(SQL)
            .bind(holder)
            .bind(name)
            .bind(digest)
            .bind(sha256)
            .bind(now)
            .execute(c)
            .await
            .map(drop))?;
        Ok(())
    }

    /// The links of a repository among these digests, without those to damaged content.
    pub async fn links(&mut self, holder: Uuid, name: &str, digests: &[ContentDigest]) -> DbResult<Vec<LinkRow>> {
        let sql = Sql {
            sqlite: "SELECT l.digest, l.sha256, b.size_bytes FROM oci_blobs l JOIN blobs b ON b.digest = l.sha256 \
                     WHERE l.holder_id = $1 AND l.name = $2 AND b.state = 'kept' \
                     AND l.digest IN (SELECT value FROM json_each($3))",
            postgres: "SELECT l.digest, l.sha256, b.size_bytes FROM oci_blobs l JOIN blobs b ON b.digest = l.sha256 \
                       WHERE l.holder_id = $1 AND l.name = $2 AND b.state = 'kept' \
                       AND l.digest = ANY(ARRAY(SELECT json_array_elements_text($3::json)))",
        }
        .on(self.engine());
        let list = json_list(digests);
        Ok(on_tx!(self, |c| sqlx::query_as(sql).bind(holder).bind(name).bind(list).fetch_all(c).await)?)
    }

    /// Counts links as used now; how many of them there are.
    pub async fn touch_links(
        &mut self,
        holder: Uuid,
        name: &str,
        digests: &[ContentDigest],
        now: Timestamp,
    ) -> DbResult<u64> {
        let sql = Sql {
            sqlite: "UPDATE oci_blobs SET touched_at = $4 WHERE holder_id = $1 AND name = $2 \
                     AND digest IN (SELECT value FROM json_each($3))",
            postgres: "UPDATE oci_blobs SET touched_at = $4 WHERE holder_id = $1 AND name = $2 \
                       AND digest = ANY(ARRAY(SELECT json_array_elements_text($3::json)))",
        }
        .on(self.engine());
        let list = json_list(digests);
        Ok(on_tx!(self, |c| sqlx::query(sql)
            .bind(holder)
            .bind(name)
            .bind(list)
            .bind(now)
            .execute(c)
            .await
            .map(|done| done.rows_affected()))?)
    }

    /// Hands what somebody uploaded under a name over to the package of that name.
    pub async fn adopt_links(&mut self, from: Uuid, name: &str, package: Uuid, now: Timestamp) -> DbResult<()> {
        let adopt = Sql {
            // The one writer is alone: what is copied is what goes.
            sqlite: "INSERT INTO oci_blobs (holder_id, name, digest, sha256, created_at, touched_at) \
                     SELECT $3, name, digest, sha256, created_at, $4 FROM oci_blobs WHERE holder_id = $1 AND name = $2 \
                     ON CONFLICT (holder_id, name, digest) DO UPDATE SET touched_at = excluded.touched_at",
            // In one statement: between two of them another upload may be linked, and would go without being copied.
            postgres: "WITH moved AS (DELETE FROM oci_blobs WHERE holder_id = $1 AND name = $2 \
                       RETURNING name, digest, sha256, created_at) \
                       INSERT INTO oci_blobs (holder_id, name, digest, sha256, created_at, touched_at) \
                       SELECT $3, name, digest, sha256, created_at, $4 FROM moved \
                       ON CONFLICT (holder_id, name, digest) DO UPDATE SET touched_at = excluded.touched_at",
        }
        .on(self.engine());
        const DROP: &str = "DELETE FROM oci_blobs WHERE holder_id = $1 AND name = $2";
        on_tx!(self, |c| sqlx::query(adopt).bind(from).bind(name).bind(package).bind(now).execute(c).await.map(drop))?;
        if self.engine() == Engine::Sqlite {
            on_tx!(self, |c| sqlx::query(DROP).bind(from).bind(name).execute(c).await.map(drop))?;
        }
        Ok(())
    }

    /// `false` when the repository does not hold it.
    pub async fn unlink_blob(&mut self, holder: Uuid, name: &str, digest: ContentDigest) -> DbResult<bool> {
        const SQL: &str = "DELETE FROM oci_blobs WHERE holder_id = $1 AND name = $2 AND digest = $3";
        let done = on_tx!(self, |c| sqlx::query(SQL)
            .bind(holder)
            .bind(name)
            .bind(digest)
            .execute(c)
            .await
            .map(|done| done.rows_affected()))?;
        Ok(done == 1)
    }
}

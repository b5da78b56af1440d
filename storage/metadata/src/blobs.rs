//! Blobs: which content lies under which key of the store, who refers to it, and what nobody does.
//!
//! A key is in at most one row, and it stays there until its bytes have been gone for long. That row is
//! where a publish and the collector meet: once the collector has doomed a key no publish can commit it,
//! and a key that a publish has committed, or is committing, cannot be doomed (docs/adr/0012).

use std::collections::HashSet;

use publaryn_core::{Digest, Timestamp, state::BlobDamage};
use sqlx::FromRow;

use crate::{Db, DbError, DbResult, Sql, Tx};

/// Rows of other tables than `artifacts` that refer to the blob `b`, each as `" OR EXISTS (…)"`.
///
/// The one place to extend when a table gets a reference to `blobs`; a test compares it with the schema.
macro_rules! elsewhere {
    () => {
        " OR EXISTS (SELECT 1 FROM artifact_companions m WHERE m.sha256 = b.digest) \
         OR EXISTS (SELECT 1 FROM oci_blobs l WHERE l.sha256 = b.digest)"
    };
}

/// The blob `b` is referred to by some row.
macro_rules! is_referenced {
    () => {
        concat!("(EXISTS (SELECT 1 FROM artifacts a WHERE a.sha256 = b.digest)", elsewhere!(), ")")
    };
}

/// The blob `b` is referred to by more than artifacts of releases deleted before `$3`.
macro_rules! is_wanted {
    () => {
        concat!(
            "(EXISTS (SELECT 1 FROM artifacts a JOIN releases r ON r.id = a.release_id WHERE a.sha256 = b.digest ",
            "AND NOT (r.status = 'deleted' AND r.updated_at < $3))",
            elsewhere!(),
            ")"
        )
    };
}

/// For the test that compares it with the schema's foreign keys.
#[cfg(feature = "testing")]
pub const REFERENCES: &str = is_referenced!();

/// Texts given as a JSON array, as a set to search in.
macro_rules! one_of {
    (sqlite $array:literal) => {
        concat!("IN (SELECT value FROM json_each(", $array, "))")
    };
    (postgres $array:literal) => {
        concat!("= ANY(ARRAY(SELECT json_array_elements_text(", $array, "::json)))")
    };
}

/// A key of the blob store with the size of what lies there.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct StoredBlob {
    /// The store's own key.
    pub location: String,
    pub size_bytes: i64,
}

/// Blobs nobody refers to, from one slice of the table.
#[derive(Debug, Clone, Default)]
pub struct UnreferencedSlice {
    /// Digest and size.
    pub blobs: Vec<(String, i64)>,
    /// Where the next slice begins; `None` at the end of the table.
    pub next: Option<String>,
}

/// A blob whose bytes are to be compared with its digest.
#[derive(Debug, Clone, FromRow)]
pub struct BlobToVerify {
    pub digest: Digest,
    pub location: String,
    pub size_bytes: i64,
    /// What the verifier found the last time.
    pub damage: Option<BlobDamage>,
}

/// A blob whose bytes are not what they should be.
#[derive(Debug, Clone, FromRow)]
pub struct DamagedBlob {
    pub digest: Digest,
    pub location: String,
    pub damage: BlobDamage,
    pub since: Timestamp,
    /// A release it belongs to, as `ecosystem name version`.
    pub used_by: Option<String>,
}

/// What the kept blobs amount to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, FromRow)]
pub struct BlobUsage {
    pub objects: i64,
    pub bytes: i64,
}

fn json(texts: &[String]) -> String {
    serde_json::json!(texts).to_string()
}

impl Tx {
    /// Registers content that lies in the blob store and protects it from the collector until this
    /// transaction ends; returns the key it is kept under. Content that is already known keeps its key,
    /// unless the verifier found its bytes damaged: then the new ones take their place.
    ///
    /// Whoever refers to a blob calls this first, in the same transaction.
    ///
    /// # Errors
    /// `BlobCollected` when the collector has taken the key: the content must be uploaded again.
    pub async fn upsert_blob(&mut self, digest: Digest, location: &str, size: u64, now: Timestamp) -> DbResult<String> {
        const SQL: &str = "INSERT INTO blobs (digest, location, size_bytes, created_at) VALUES ($1, $2, $3, $4) \
             ON CONFLICT (digest) DO UPDATE SET created_at = excluded.created_at, state = 'kept', \
             state_at = CASE WHEN blobs.state = 'kept' THEN blobs.state_at END, \
             location = CASE WHEN blobs.state = 'kept' THEN blobs.location ELSE excluded.location END \
             RETURNING location";
        let kept = on_tx!(self, |c| sqlx::query_scalar(SQL)
            .bind(digest)
            .bind(location)
            .bind(i64::try_from(size).unwrap_or(i64::MAX))
            .bind(now)
            .fetch_one(c)
            .await);
        kept.map_err(|error| match DbError::from(error) {
            DbError::Constraint(source) => DbError::BlobCollected(source),
            other => other,
        })
    }

    /// Forgets which files releases had that were deleted before `before`; their findings stay.
    /// At most `limit` at once; returns how many.
    pub async fn drop_artifacts_of_deleted(&mut self, before: Timestamp, limit: i64) -> DbResult<u64> {
        macro_rules! picked {
            () => {
                "(SELECT a.id FROM artifacts a JOIN releases r ON r.id = a.release_id \
                 WHERE r.status = 'deleted' AND r.updated_at < $1 ORDER BY a.id LIMIT $2)"
            };
        }
        const FINDINGS: &str = concat!("UPDATE findings SET artifact_id = NULL WHERE artifact_id IN ", picked!());
        const ARTIFACTS: &str = concat!("DELETE FROM artifacts WHERE id IN ", picked!());
        self.up_to(limit, before, FINDINGS).await?;
        self.up_to(limit, before, ARTIFACTS).await
    }

    /// Dooms those of the blobs that are older than `before` and that nobody refers to, and names them.
    ///
    /// On PostgreSQL a blob that a publish has in hand is passed over: the rows are locked first, so that
    /// what is looked at afterwards stays true until the commit.
    pub async fn doom_unreferenced(
        &mut self,
        digests: &[String],
        before: Timestamp,
        now: Timestamp,
    ) -> DbResult<Vec<StoredBlob>> {
        macro_rules! lock {
            ($engine:ident, $lock:literal) => {
                concat!(
                    "SELECT digest FROM blobs WHERE digest ", one_of!($engine "$1"),
                    " AND state IN ('kept', 'missing', 'corrupt') AND created_at < $2 ORDER BY digest", $lock
                )
            };
        }
        macro_rules! doom {
            ($engine:ident) => {
                concat!(
                    "UPDATE blobs AS b SET digest = 'doomed:' || b.location, state = 'doomed', state_at = $2 ",
                    "WHERE b.digest ", one_of!($engine "$1"), " AND NOT ", is_referenced!(),
                    " RETURNING location, size_bytes"
                )
            };
        }
        const LOCK: Sql = Sql { sqlite: lock!(sqlite, ""), postgres: lock!(postgres, " FOR UPDATE SKIP LOCKED") };
        const DOOM: Sql = Sql { sqlite: doom!(sqlite), postgres: doom!(postgres) };
        let (lock, doom) = (LOCK.on(self.engine()), DOOM.on(self.engine()));
        let held: Vec<String> =
            on_tx!(self, |c| sqlx::query_scalar(lock).bind(json(digests)).bind(before).fetch_all(c).await)?;
        Ok(on_tx!(self, |c| sqlx::query_as(doom).bind(json(&held)).bind(now).fetch_all(c).await)?)
    }

    /// Dooms keys of the store that no row knows, and names those it got: the others have been committed
    /// by a publish meanwhile, or are about to be by the writer of an upload session, after whose identifier
    /// the blob store names the key (its last sixteen hex digits).
    pub async fn doom_strays(&mut self, strays: &[StoredBlob], now: Timestamp) -> DbResult<Vec<StoredBlob>> {
        const SQL: Sql = Sql {
            sqlite: "INSERT INTO blobs (digest, location, size_bytes, created_at, state, state_at) \
                SELECT 'doomed:' || (value ->> 0), value ->> 0, value ->> 1, $2, 'doomed', $2 FROM json_each($1) \
                WHERE NOT EXISTS (SELECT 1 FROM oci_uploads u WHERE u.writer_id IS NOT NULL \
                AND substr(value ->> 0, -16) = substr(lower(hex(u.id)), 17)) \
                ON CONFLICT DO NOTHING RETURNING location, size_bytes",
            postgres: "INSERT INTO blobs (digest, location, size_bytes, created_at, state, state_at) \
                SELECT 'doomed:' || (value ->> 0), value ->> 0, CAST(value ->> 1 AS BIGINT), $2, 'doomed', $2 \
                FROM json_array_elements($1::json) WHERE NOT EXISTS (SELECT 1 FROM oci_uploads u \
                WHERE u.writer_id IS NOT NULL AND right(value ->> 0, 16) = right(replace(CAST(u.id AS TEXT), '-', ''), 16)) \
                ON CONFLICT DO NOTHING RETURNING location, size_bytes",
        };
        let rows: Vec<_> = strays.iter().map(|stray| (&stray.location, stray.size_bytes)).collect();
        let rows = serde_json::json!(rows).to_string();
        let sql = SQL.on(self.engine());
        Ok(on_tx!(self, |c| sqlx::query_as(sql).bind(rows).bind(now).fetch_all(c).await)?)
    }

    /// Notes that the bytes of doomed keys are deleted, and names those that nobody noted before.
    pub async fn mark_blobs_gone(&mut self, locations: &[String], now: Timestamp) -> DbResult<Vec<StoredBlob>> {
        macro_rules! gone {
            ($engine:ident) => {
                concat!(
                    "UPDATE blobs SET state = 'gone', state_at = $2 WHERE location ", one_of!($engine "$1"),
                    " AND state = 'doomed' RETURNING location, size_bytes"
                )
            };
        }
        const SQL: Sql = Sql { sqlite: gone!(sqlite), postgres: gone!(postgres) };
        let sql = SQL.on(self.engine());
        Ok(on_tx!(self, |c| sqlx::query_as(sql).bind(json(locations)).bind(now).fetch_all(c).await)?)
    }

    /// Forgets up to `limit` keys whose bytes have been gone since before `before`.
    pub async fn forget_gone_blobs(&mut self, before: Timestamp, limit: i64) -> DbResult<u64> {
        const SQL: &str = "DELETE FROM blobs WHERE digest IN (SELECT digest FROM blobs \
             WHERE state = 'gone' AND state <> 'kept' AND state_at < $1 LIMIT $2)";
        self.up_to(limit, before, SQL).await
    }

    /// Records how the verifier found a blob; `None` is as it should be. False when the blob has been
    /// doomed or has got another key since it was looked at: then nothing can be said.
    pub async fn note_blob_damage(
        &mut self,
        blob: &BlobToVerify,
        damage: Option<BlobDamage>,
        now: Timestamp,
    ) -> DbResult<bool> {
        const SQL: &str = "UPDATE blobs SET state_at = CASE WHEN state = $3 THEN state_at ELSE $4 END, state = $3 \
             WHERE digest = $1 AND location = $2";
        let done = on_tx!(self, |c| sqlx::query(SQL)
            .bind(blob.digest)
            .bind(&blob.location)
            .bind(damage.map_or("kept", BlobDamage::as_str))
            .bind(now)
            .execute(c)
            .await
            .map(|done| done.rows_affected()))?;
        Ok(done == 1)
    }
}

impl Db {
    /// Looks at the next `limit` blobs after digest `after` for those older than `before` that nobody
    /// refers to, or only releases deleted before `before`.
    pub async fn unreferenced_blobs(&self, after: &str, before: Timestamp, limit: i64) -> DbResult<UnreferencedSlice> {
        const END: &str =
            "SELECT MAX(digest) FROM (SELECT digest FROM blobs WHERE digest > $1 ORDER BY digest LIMIT $2) s";
        const FIND: &str = concat!(
            "SELECT b.digest, b.size_bytes FROM blobs b WHERE b.digest > $1 AND b.digest <= $2 AND b.created_at < $3 ",
            "AND b.state IN ('kept', 'missing', 'corrupt') AND NOT ",
            is_wanted!(),
            " ORDER BY b.digest"
        );
        let end: Option<String> = on_db!(self, |c| sqlx::query_scalar(END).bind(after).bind(limit).fetch_one(c).await)?;
        let Some(end) = end else { return Ok(UnreferencedSlice::default()) };
        let blobs = on_db!(self, |c| sqlx::query_as(FIND).bind(after).bind(&end).bind(before).fetch_all(c).await)?;
        Ok(UnreferencedSlice { blobs, next: Some(end) })
    }

    /// Those of the keys that some row knows, whatever became of it.
    pub async fn known_locations(&self, locations: &[String]) -> DbResult<HashSet<String>> {
        const SQL: Sql = Sql {
            sqlite: concat!("SELECT location FROM blobs WHERE location ", one_of!(sqlite "$1")),
            postgres: concat!("SELECT location FROM blobs WHERE location ", one_of!(postgres "$1")),
        };
        let sql = self.sql(SQL);
        let known: Vec<String> = on_db!(self, |c| sqlx::query_scalar(sql).bind(json(locations)).fetch_all(c).await)?;
        Ok(known.into_iter().collect())
    }

    /// Up to `limit` keys whose bytes are still to be deleted, longest doomed first.
    pub async fn doomed_blobs(&self, limit: i64) -> DbResult<Vec<StoredBlob>> {
        const SQL: &str = "SELECT location, size_bytes FROM blobs WHERE state = 'doomed' AND state <> 'kept' \
                           ORDER BY state_at, location LIMIT $1";
        Ok(on_db!(self, |c| sqlx::query_as(SQL).bind(limit).fetch_all(c).await)?)
    }

    /// What the kept blobs amount to. Reads the whole table.
    pub async fn blob_usage(&self) -> DbResult<BlobUsage> {
        const SQL: &str = "SELECT CAST(COUNT(*) AS BIGINT) AS objects, CAST(COALESCE(SUM(size_bytes), 0) AS BIGINT) AS bytes \
                           FROM blobs WHERE state IN ('kept', 'missing', 'corrupt')";
        Ok(on_db!(self, |c| sqlx::query_as(SQL).fetch_one(c).await)?)
    }

    /// The next `limit` blobs after `after` in order of digest.
    pub async fn blobs_to_verify(&self, after: &str, limit: i64) -> DbResult<Vec<BlobToVerify>> {
        const SQL: &str = "SELECT digest, location, size_bytes, CASE WHEN state <> 'kept' THEN state END AS damage \
             FROM blobs WHERE digest > $1 AND state IN ('kept', 'missing', 'corrupt') ORDER BY digest LIMIT $2";
        Ok(on_db!(self, |c| sqlx::query_as(SQL).bind(after).bind(limit).fetch_all(c).await)?)
    }

    /// Up to `limit` blobs the verifier found damaged, longest known first, and how many there are.
    pub async fn damaged_blobs(&self, limit: i64) -> DbResult<(Vec<DamagedBlob>, i64)> {
        const LIST: &str = "SELECT b.digest, b.location, b.state AS damage, b.state_at AS since, \
             MIN(p.ecosystem || ' ' || p.name || ' ' || r.version) AS used_by FROM blobs b \
             LEFT JOIN artifacts a ON a.sha256 = b.digest LEFT JOIN releases r ON r.id = a.release_id \
             LEFT JOIN packages p ON p.id = r.package_id \
             WHERE b.state <> 'kept' AND b.state IN ('missing', 'corrupt') \
             GROUP BY b.digest, b.location, b.state, b.state_at ORDER BY b.state_at, b.digest LIMIT $1";
        const COUNT: &str = "SELECT CAST(COUNT(*) AS BIGINT) FROM blobs \
                             WHERE state <> 'kept' AND state IN ('missing', 'corrupt')";
        let blobs = on_db!(self, |c| sqlx::query_as(LIST).bind(limit).fetch_all(c).await)?;
        let total = on_db!(self, |c| sqlx::query_scalar(COUNT).fetch_one(c).await)?;
        Ok((blobs, total))
    }
}

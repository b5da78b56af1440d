//! Manifests: what they refer to, and the tags that wait for them.

use publaryn_core::{
    ContentDigest, Digest, PackageId, ReleaseId, ReleaseState, Timestamp,
    manifest::{Reference, ReferenceKind},
};
use serde_json::json;
use sqlx::FromRow;

use super::json_list;
use crate::{Db, DbResult, Sql, Tx};

/// The row of a manifest in the graph.
#[derive(Debug)]
pub struct NewManifest<'a> {
    pub release: ReleaseId,
    pub package: PackageId,
    pub digest: ContentDigest,
    pub subject: Option<&'a str>,
    pub artifact_type: Option<&'a str>,
    pub descriptor: &'a str,
}

/// Something a manifest refers to, and the content behind it if that is here.
#[derive(Debug)]
pub struct NewReference<'a> {
    pub reference: &'a Reference,
    pub sha256: Option<Digest>,
}

/// A manifest of a live release, as it is served.
#[derive(Debug, Clone, FromRow)]
pub struct ManifestRow {
    pub release_id: ReleaseId,
    /// The digest it was pushed with.
    pub version: String,
    pub status: ReleaseState,
    pub is_yanked: bool,
    pub yank_reason: Option<String>,
    pub deprecation_message: Option<String>,
    /// Media type.
    pub content_type: String,
    pub size_bytes: i64,
    pub sha256: Digest,
    /// The blob store's own key.
    pub location: String,
}

/// A manifest that another one names.
#[derive(Debug, Clone, FromRow)]
pub struct ChildState {
    pub digest: String,
    pub status: ReleaseState,
}

macro_rules! manifest_columns {
    ($rest:literal) => {
        concat!(
            "SELECT r.id AS release_id, r.version, r.status, r.is_yanked, r.yank_reason, r.deprecation_message, ",
            "a.content_type, a.size_bytes, a.sha256, b.location FROM releases r JOIN artifacts a ON a.release_id = r.id ",
            "AND a.kind = 'oci_manifest' AND a.filename = r.version JOIN blobs b ON b.digest = a.sha256 ",
            $rest
        )
    };
}

impl Db {
    /// A live manifest by its digest.
    pub async fn manifest(&self, package: PackageId, digest: ContentDigest) -> DbResult<Option<ManifestRow>> {
        const SQL: &str = manifest_columns!(
            "WHERE r.package_id = $1 AND r.version_key = $2 AND r.status IN ('published', 'deprecated', 'yanked')"
        );
        Ok(on_db!(self, |c| sqlx::query_as(SQL).bind(package).bind(digest).fetch_optional(c).await)?)
    }

    /// The live manifest a tag points to; yanked ones are reachable by digest only.
    pub async fn tagged_manifest(&self, package: PackageId, tag: &str) -> DbResult<Option<ManifestRow>> {
        const SQL: &str = manifest_columns!(
            "JOIN tags t ON t.release_id = r.id WHERE t.package_id = $1 AND t.tag = $2 \
             AND r.status IN ('published', 'deprecated')"
        );
        Ok(on_db!(self, |c| sqlx::query_as(SQL).bind(package).bind(tag).fetch_optional(c).await)?)
    }
}

impl Tx {
    pub async fn insert_manifest(&mut self, new: &NewManifest<'_>) -> DbResult<()> {
        const SQL: &str = "INSERT INTO oci_manifests (release_id, package_id, digest, subject, artifact_type, descriptor) \
             VALUES ($1, $2, $3, $4, $5, $6)";
        on_tx!(self, |c| sqlx::query(SQL)
            .bind(new.release)
            .bind(new.package)
            .bind(new.digest)
            .bind(new.subject)
            .bind(new.artifact_type)
            .bind(new.descriptor)
            .execute(c)
            .await
            .map(drop))?;
        Ok(())
    }

    /// Notes what a manifest refers to. What it was noted to refer to already keeps the content that is known of it.
    pub async fn insert_references(
        &mut self,
        release: ReleaseId,
        package: PackageId,
        references: &[NewReference<'_>],
    ) -> DbResult<()> {
        let sql = Sql {
            sqlite: "INSERT INTO oci_references (release_id, package_id, child, kind, size_bytes, sha256) \
                     SELECT $1, $2, value ->> 'child', value ->> 'kind', value ->> 'size', value ->> 'sha256' \
                     FROM json_each($3) WHERE TRUE ON CONFLICT (release_id, child) \
                     DO UPDATE SET sha256 = COALESCE(oci_references.sha256, excluded.sha256)",
            postgres: "INSERT INTO oci_references (release_id, package_id, child, kind, size_bytes, sha256) \
                       SELECT $1, $2, value ->> 'child', value ->> 'kind', CAST(value ->> 'size' AS BIGINT), \
                       value ->> 'sha256' FROM json_array_elements($3::json) ON CONFLICT (release_id, child) \
                       DO UPDATE SET sha256 = COALESCE(oci_references.sha256, excluded.sha256)",
        }
        .on(self.engine());
        let rows = references.iter().map(|new| {
            json!({
                "child": new.reference.digest.to_string(),
                "kind": new.reference.kind.as_str(),
                "size": i64::try_from(new.reference.size_bytes).unwrap_or(i64::MAX),
                "sha256": new.sha256.map(|digest| digest.to_string()),
            })
        });
        let rows = serde_json::Value::from_iter(rows).to_string();
        on_tx!(self, |c| sqlx::query(sql).bind(release).bind(package).bind(rows).execute(c).await.map(drop))?;
        Ok(())
    }

    /// Takes a manifest out of the graph: it refers to nothing and is nobody's referrer any more.
    pub async fn forget_manifest(&mut self, release: ReleaseId) -> DbResult<()> {
        const MANIFEST: &str = "DELETE FROM oci_manifests WHERE release_id = $1";
        const REFERENCES: &str = "DELETE FROM oci_references WHERE release_id = $1";
        const TAGS: &str = "DELETE FROM staged_tags WHERE release_id = $1";
        for sql in [MANIFEST, REFERENCES, TAGS] {
            on_tx!(self, |c| sqlx::query(sql).bind(release).execute(c).await.map(drop))?;
        }
        Ok(())
    }

    /// Removes a release with everything that hangs on it, for content that may come again.
    pub async fn erase_release(&mut self, release: ReleaseId) -> DbResult<()> {
        const SQL: &str = "DELETE FROM releases WHERE id = $1";
        on_tx!(self, |c| sqlx::query(SQL).bind(release).execute(c).await.map(drop))?;
        Ok(())
    }

    /// How the manifests of these digests stand in a repository; those that never existed or were
    /// deleted are left out.
    pub async fn child_states(&mut self, package: PackageId, digests: &[ContentDigest]) -> DbResult<Vec<ChildState>> {
        let sql = Sql {
            sqlite: "SELECT version AS digest, status FROM releases WHERE package_id = $1 AND status <> 'deleted' \
                     AND version_key IN (SELECT value FROM json_each($2))",
            postgres: "SELECT version AS digest, status FROM releases WHERE package_id = $1 AND status <> 'deleted' \
                       AND version_key = ANY(ARRAY(SELECT json_array_elements_text($2::json)))",
        }
        .on(self.engine());
        let list = json_list(digests);
        Ok(on_tx!(self, |c| sqlx::query_as(sql).bind(package).bind(list).fetch_all(c).await)?)
    }

    /// How the manifests that a release refers to stand; missing ones are left out.
    pub async fn children_of(&mut self, release: ReleaseId) -> DbResult<Vec<ChildState>> {
        const SQL: &str = "SELECT r.version AS digest, r.status FROM oci_references f JOIN releases r \
             ON r.package_id = f.package_id AND r.version_key = f.child \
             WHERE f.release_id = $1 AND f.kind = 'manifest' AND r.status <> 'deleted' ORDER BY r.version";
        Ok(on_tx!(self, |c| sqlx::query_as(SQL).bind(release).fetch_all(c).await)?)
    }

    /// The releases in these states that refer to a manifest, with their digests.
    pub async fn parents_of(
        &mut self,
        package: PackageId,
        digest: &str,
        states: &[ReleaseState],
    ) -> DbResult<Vec<(ReleaseId, String)>> {
        let sql = Sql {
            sqlite: "SELECT r.id, r.version FROM oci_references f JOIN releases r ON r.id = f.release_id \
                     WHERE f.package_id = $1 AND f.child = $2 AND f.kind = 'manifest' \
                     AND r.status IN (SELECT value FROM json_each($3)) ORDER BY r.id",
            postgres: "SELECT r.id, r.version FROM oci_references f JOIN releases r ON r.id = f.release_id \
                       WHERE f.package_id = $1 AND f.child = $2 AND f.kind = 'manifest' \
                       AND r.status = ANY(ARRAY(SELECT json_array_elements_text($3::json))) ORDER BY r.id",
        }
        .on(self.engine());
        let list = json_list(states);
        Ok(on_tx!(self, |c| sqlx::query_as(sql).bind(package).bind(digest).bind(list).fetch_all(c).await)?)
    }

    /// Whether any manifest of the repository needs a blob, staged ones included.
    pub async fn needs_blob(&mut self, package: PackageId, digest: ContentDigest) -> DbResult<bool> {
        const SQL: &str = "SELECT CAST(COUNT(*) AS BIGINT) FROM (SELECT 1 FROM oci_references WHERE package_id = $1 \
             AND child = $2 AND kind <> $3 LIMIT 1) needed";
        let count: i64 = on_tx!(self, |c| sqlx::query_scalar(SQL)
            .bind(package)
            .bind(digest)
            .bind(ReferenceKind::Manifest)
            .fetch_one(c)
            .await)?;
        Ok(count > 0)
    }

    /// Lets tags wait for a release to go live. A later request for the same tag replaces the earlier one.
    pub async fn stage_tags(&mut self, release: ReleaseId, tags: &[String], sequence: i64) -> DbResult<()> {
        let sql = Sql {
            sqlite: "INSERT INTO staged_tags (release_id, tag, sequence) SELECT $1, value, $3 FROM json_each($2) WHERE TRUE \
                     ON CONFLICT (release_id, tag) DO UPDATE SET sequence = excluded.sequence",
            postgres: "INSERT INTO staged_tags (release_id, tag, sequence) SELECT $1, value, $3 \
                       FROM json_array_elements_text($2::json) \
                       ON CONFLICT (release_id, tag) DO UPDATE SET sequence = excluded.sequence",
        }
        .on(self.engine());
        let list = json_list(tags);
        on_tx!(self, |c| sqlx::query(sql).bind(release).bind(list).bind(sequence).execute(c).await.map(drop))?;
        Ok(())
    }

    /// The tags that wait for a release; they wait no longer.
    pub async fn take_staged_tags(&mut self, release: ReleaseId) -> DbResult<Vec<(String, i64)>> {
        const SQL: &str = "DELETE FROM staged_tags WHERE release_id = $1 RETURNING tag, sequence";
        Ok(on_tx!(self, |c| sqlx::query_as(SQL).bind(release).fetch_all(c).await)?)
    }

    /// Makes every release of the repository give up a tag it was waiting for.
    pub async fn unstage_tag(&mut self, package: PackageId, tag: &str) -> DbResult<()> {
        const SQL: &str = "DELETE FROM staged_tags WHERE tag = $2 AND release_id IN \
             (SELECT id FROM releases WHERE package_id = $1 AND status IN ('quarantine', 'scanning'))";
        on_tx!(self, |c| sqlx::query(SQL).bind(package).bind(tag).execute(c).await.map(drop))?;
        Ok(())
    }

    /// What a tag points to, as digests; tags without a target are left out.
    pub async fn tag_targets(&mut self, package: PackageId, tags: &[String]) -> DbResult<Vec<(String, String)>> {
        let sql = Sql {
            sqlite: "SELECT t.tag, r.version FROM tags t JOIN releases r ON r.id = t.release_id \
                     WHERE t.package_id = $1 AND t.tag IN (SELECT value FROM json_each($2))",
            postgres: "SELECT t.tag, r.version FROM tags t JOIN releases r ON r.id = t.release_id \
                       WHERE t.package_id = $1 AND t.tag = ANY(ARRAY(SELECT json_array_elements_text($2::json)))",
        }
        .on(self.engine());
        let list = json_list(tags);
        Ok(on_tx!(self, |c| sqlx::query_as(sql).bind(package).bind(list).fetch_all(c).await)?)
    }

    /// The manifests in scanning that wait with one of these tags, by tag.
    pub async fn awaited_tag_targets(
        &mut self,
        package: PackageId,
        tags: &[String],
    ) -> DbResult<Vec<(String, String)>> {
        let sql = Sql {
            sqlite: "SELECT s.tag, r.version FROM staged_tags s JOIN releases r ON r.id = s.release_id \
                     WHERE r.package_id = $1 AND r.status = 'scanning' AND s.tag IN (SELECT value FROM json_each($2))",
            postgres: "SELECT s.tag, r.version FROM staged_tags s JOIN releases r ON r.id = s.release_id \
                       WHERE r.package_id = $1 AND r.status = 'scanning' \
                       AND s.tag = ANY(ARRAY(SELECT json_array_elements_text($2::json)))",
        }
        .on(self.engine());
        let list = json_list(tags);
        Ok(on_tx!(self, |c| sqlx::query_as(sql).bind(package).bind(list).fetch_all(c).await)?)
    }

    pub async fn allows_missing_references(&mut self, package: PackageId) -> DbResult<bool> {
        const SQL: &str = "SELECT allows_missing_references FROM packages WHERE id = $1";
        Ok(on_tx!(self, |c| sqlx::query_scalar(SQL).bind(package).fetch_one(c).await)?)
    }

    pub async fn set_allows_missing_references(
        &mut self,
        package: PackageId,
        allowed: bool,
        now: Timestamp,
    ) -> DbResult<()> {
        const SQL: &str = "UPDATE packages SET allows_missing_references = $2, updated_at = $3 WHERE id = $1";
        on_tx!(self, |c| sqlx::query(SQL).bind(package).bind(allowed).bind(now).execute(c).await.map(drop))?;
        Ok(())
    }
}

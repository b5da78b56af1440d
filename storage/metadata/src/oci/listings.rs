//! Listings in byte order: tags, the catalog, referrers.

use publaryn_core::{Ecosystem, PackageId};
use sqlx::FromRow;

use super::json_list;
use crate::{
    Db, DbResult, Sql,
    packages::{HeadRow, PackageHead},
    reach::Reach,
};

/// Tags in byte order, and whether more follow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TagPage {
    pub tags: Vec<String>,
    pub has_more: bool,
}

/// One entry of a referrers listing, without what it says: annotations may fill a manifest.
#[derive(Debug, Clone, FromRow)]
pub struct ReferrerRow {
    pub digest: String,
    /// Of its descriptor.
    pub size_bytes: i64,
}

/// Sorts behind every text there is: no text of ours has such a character.
const BEFORE_ALL: &str = "";

impl Db {
    /// Tags after `last` that point to something a tag may lead to.
    pub async fn tags_after(&self, package: PackageId, last: Option<&str>, limit: u32) -> DbResult<TagPage> {
        let sql = self.sql(Sql {
            sqlite: "SELECT t.tag FROM tags t JOIN releases r ON r.id = t.release_id WHERE t.package_id = $1 \
                     AND t.tag > $2 AND r.status IN ('published', 'deprecated') ORDER BY t.tag LIMIT $3",
            postgres: "SELECT t.tag FROM tags t JOIN releases r ON r.id = t.release_id WHERE t.package_id = $1 \
                       AND t.tag COLLATE \"C\" > $2 AND r.status IN ('published', 'deprecated') \
                       ORDER BY t.tag COLLATE \"C\" LIMIT $3",
        });
        let (last, wanted) = (last.unwrap_or(BEFORE_ALL), i64::from(limit) + 1);
        let mut tags: Vec<String> =
            on_db!(self, |c| sqlx::query_scalar(sql).bind(package).bind(last).bind(wanted).fetch_all(c).await)?;
        let has_more = tags.len() > limit as usize;
        tags.truncate(limit as usize);
        Ok(TagPage { tags, has_more })
    }

    /// Repositories after `last` with something live in them that the caller may be told of. Candidates only: current
    /// rights decide.
    pub async fn repositories_after(
        &self,
        reach: &Reach,
        last: Option<&str>,
        limit: i64,
    ) -> DbResult<Vec<PackageHead>> {
        let sql = self.sql(Sql {
            sqlite: head_columns!(concat!(
                "WHERE p.ecosystem = $6 AND p.normalized_name > $7 AND p.deleted_at IS NULL AND ",
                discoverable_package!(),
                " AND EXISTS (SELECT 1 FROM releases v WHERE v.package_id = p.id \
                 AND v.status IN ('published', 'deprecated', 'yanked')) ORDER BY p.normalized_name LIMIT $8"
            )),
            postgres: head_columns!(concat!(
                "WHERE p.ecosystem = $6 AND p.normalized_name COLLATE \"C\" > $7 AND p.deleted_at IS NULL AND ",
                discoverable_package!(),
                " AND EXISTS (SELECT 1 FROM releases v WHERE v.package_id = p.id \
                 AND v.status IN ('published', 'deprecated', 'yanked')) \
                 ORDER BY p.normalized_name COLLATE \"C\" LIMIT $8"
            )),
        });
        let last = last.unwrap_or(BEFORE_ALL);
        let rows: Vec<HeadRow> = on_db!(self, |c| bind_reach!(sqlx::query_as(sql), reach)
            .bind(Ecosystem::Oci)
            .bind(last)
            .bind(limit)
            .fetch_all(c)
            .await)?;
        Ok(rows.into_iter().map(HeadRow::into_head).collect())
    }

    /// Live manifests whose subject is `subject`, after `last`, by digest.
    pub async fn referrers_after(
        &self,
        package: PackageId,
        subject: &str,
        artifact_type: Option<&str>,
        last: Option<&str>,
        limit: i64,
    ) -> DbResult<Vec<ReferrerRow>> {
        let sql = self.sql(Sql {
            sqlite: "SELECT m.digest, LENGTH(CAST(m.descriptor AS BLOB)) AS size_bytes FROM oci_manifests m JOIN releases r ON r.id = m.release_id \
                     WHERE m.package_id = $1 AND m.subject = $2 AND m.digest > $3 AND ($4 IS NULL OR m.artifact_type = $4) \
                     AND r.status IN ('published', 'deprecated', 'yanked') ORDER BY m.digest LIMIT $5",
            postgres: "SELECT m.digest, CAST(OCTET_LENGTH(m.descriptor) AS BIGINT) AS size_bytes FROM oci_manifests m JOIN releases r ON r.id = m.release_id \
                       WHERE m.package_id = $1 AND m.subject = $2 AND m.digest COLLATE \"C\" > $3 \
                       AND ($4::text IS NULL OR m.artifact_type = $4) \
                       AND r.status IN ('published', 'deprecated', 'yanked') ORDER BY m.digest COLLATE \"C\" LIMIT $5",
        });
        let last = last.unwrap_or(BEFORE_ALL);
        Ok(on_db!(self, |c| sqlx::query_as(sql)
            .bind(package)
            .bind(subject)
            .bind(last)
            .bind(artifact_type)
            .bind(limit)
            .fetch_all(c)
            .await)?)
    }

    /// The descriptors of these manifests as JSON text, by digest.
    pub async fn descriptors(&self, package: PackageId, digests: &[String]) -> DbResult<Vec<String>> {
        let sql = self.sql(Sql {
            sqlite: "SELECT descriptor FROM oci_manifests WHERE package_id = $1 \
                     AND digest IN (SELECT value FROM json_each($2)) ORDER BY digest",
            postgres: "SELECT descriptor FROM oci_manifests WHERE package_id = $1 \
                       AND digest = ANY(ARRAY(SELECT json_array_elements_text($2::json))) ORDER BY digest COLLATE \"C\"",
        });
        let list = json_list(digests);
        Ok(on_db!(self, |c| sqlx::query_scalar(sql).bind(package).bind(list).fetch_all(c).await)?)
    }
}

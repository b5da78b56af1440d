//! What the search index needs to know of packages, and what it is known to hold.

use std::time::Duration;

use publaryn_core::{
    Ecosystem, OrgId, PackageId, RepositoryId, RepositoryKind, Timestamp, UserId, Visibility, access::Owner,
    job::JobKind,
};
use sqlx::FromRow;
use uuid::Uuid;

use crate::{Db, DbError, DbResult, Sql, Tx, jobs::NewJob, rows::owner_of};

/// A package as it stands, with everything that decides how and by whom it is found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SearchRow {
    pub id: PackageId,
    pub revision: i64,
    pub ecosystem: Ecosystem,
    pub name: String,
    pub normalized_name: String,
    pub description: Option<String>,
    pub keywords: Vec<String>,
    pub license: Option<String>,
    pub owner: Owner,
    pub co_owners: Vec<UserId>,
    pub repository: RepositoryId,
    pub repository_owner: Owner,
    pub repository_kind: RepositoryKind,
    pub effective: Visibility,
    pub download_count: i64,
    pub is_archived: bool,
    /// The package carries a deprecation message, or all that is live of it is deprecated.
    pub is_deprecated: bool,
    /// Unpublished as a whole; only the name is kept.
    pub is_deleted: bool,
    pub has_live_release: bool,
    pub updated_at: Timestamp,
}

#[derive(FromRow)]
struct FlatRow {
    id: PackageId,
    revision: i64,
    ecosystem: Ecosystem,
    name: String,
    normalized_name: String,
    description: Option<String>,
    keywords: String,
    license: Option<String>,
    owner_user_id: Option<UserId>,
    owner_org_id: Option<OrgId>,
    co_owners: String,
    repository_id: RepositoryId,
    repository_owner_user_id: Option<UserId>,
    repository_owner_org_id: Option<OrgId>,
    repository_kind: RepositoryKind,
    repository_visibility: Visibility,
    visibility: Visibility,
    is_quarantined: bool,
    download_count: i64,
    is_archived: bool,
    has_message: bool,
    deleted_at: Option<Timestamp>,
    has_live_release: bool,
    has_deprecated_release: bool,
    has_published_release: bool,
    updated_at: Timestamp,
}

impl FlatRow {
    fn into_row(self) -> DbResult<SearchRow> {
        let co_owners: Vec<Uuid> = serde_json::from_str(&self.co_owners)
            .map_err(|source| DbError::Corrupt { what: "co-owner list", source })?;
        let keywords =
            serde_json::from_str(&self.keywords).map_err(|source| DbError::Corrupt { what: "keyword list", source })?;
        Ok(SearchRow {
            id: self.id,
            revision: self.revision,
            ecosystem: self.ecosystem,
            name: self.name,
            normalized_name: self.normalized_name,
            description: self.description,
            keywords,
            license: self.license,
            owner: owner_of(self.owner_user_id, self.owner_org_id),
            co_owners: co_owners.into_iter().map(UserId).collect(),
            repository: self.repository_id,
            repository_owner: owner_of(self.repository_owner_user_id, self.repository_owner_org_id),
            repository_kind: self.repository_kind,
            effective: Visibility::effective(self.visibility, self.repository_visibility, self.is_quarantined),
            download_count: self.download_count,
            is_archived: self.is_archived,
            is_deprecated: self.has_message || self.has_deprecated_release && !self.has_published_release,
            is_deleted: self.deleted_at.is_some(),
            has_live_release: self.has_live_release,
            updated_at: self.updated_at,
        })
    }
}

macro_rules! search_rows {
    ($co_owners:literal, $rest:literal) => {
        concat!(
            "SELECT p.id, p.revision, p.ecosystem, p.name, p.normalized_name, p.description, p.keywords, p.license, ",
            "p.owner_user_id, p.owner_org_id, ",
            $co_owners,
            " AS co_owners, p.repository_id, r.owner_user_id AS repository_owner_user_id, ",
            "r.owner_org_id AS repository_owner_org_id, r.kind AS repository_kind, ",
            "r.visibility AS repository_visibility, p.visibility, p.is_quarantined, p.download_count, p.is_archived, ",
            "p.deprecation_message IS NOT NULL AS has_message, p.deleted_at, ",
            "EXISTS (SELECT 1 FROM releases x WHERE x.package_id = p.id ",
            "AND x.status IN ('published', 'deprecated', 'yanked')) AS has_live_release, ",
            "EXISTS (SELECT 1 FROM releases x WHERE x.package_id = p.id AND x.status = 'deprecated') ",
            "AS has_deprecated_release, ",
            "EXISTS (SELECT 1 FROM releases x WHERE x.package_id = p.id AND x.status = 'published') ",
            "AS has_published_release, p.updated_at ",
            "FROM packages p JOIN repositories r ON r.id = p.repository_id ",
            $rest
        )
    };
}

macro_rules! search_sql {
    ($rest:literal) => {
        Sql {
            sqlite: search_rows!(
                "(SELECT json_group_array(lower(hex(o.user_id))) FROM package_owners o WHERE o.package_id = p.id)",
                $rest
            ),
            postgres: search_rows!(
                "(SELECT COALESCE(json_agg(o.user_id), '[]')::text FROM package_owners o WHERE o.package_id = p.id)",
                $rest
            ),
        }
    };
}

impl Db {
    /// One package, whatever its state; `None` when there is no such row.
    pub async fn search_row(&self, package: PackageId) -> DbResult<Option<SearchRow>> {
        let sql = self.sql(search_sql!("WHERE p.id = $1"));
        let row: Option<FlatRow> = on_db!(self, |c| sqlx::query_as(sql).bind(package).fetch_optional(c).await)?;
        row.map(FlatRow::into_row).transpose()
    }

    /// The next `limit` packages in the order of their ids, `after` excluded.
    pub async fn search_rows(&self, after: Option<PackageId>, limit: i64) -> DbResult<Vec<SearchRow>> {
        let sql = self.sql(search_sql!("WHERE p.id > $1 ORDER BY p.id LIMIT $2"));
        let after = after.unwrap_or(PackageId(Uuid::nil()));
        let rows: Vec<FlatRow> = on_db!(self, |c| sqlx::query_as(sql).bind(after).bind(limit).fetch_all(c).await)?;
        rows.into_iter().map(FlatRow::into_row).collect()
    }

    /// At most `limit` packages whose last change the index does not hold yet, oldest first.
    pub async fn search_rows_behind(&self, limit: i64) -> DbResult<Vec<SearchRow>> {
        let sql = self.sql(search_sql!("WHERE p.indexed_revision < p.revision ORDER BY p.updated_at LIMIT $1"));
        let rows: Vec<FlatRow> = on_db!(self, |c| sqlx::query_as(sql).bind(limit).fetch_all(c).await)?;
        rows.into_iter().map(FlatRow::into_row).collect()
    }

    /// Those of `packages` that exist, in no order.
    pub async fn search_rows_of(&self, packages: &[PackageId]) -> DbResult<Vec<SearchRow>> {
        const SQL: Sql = Sql {
            sqlite: search_sql!("WHERE p.id IN (SELECT unhex(value) FROM json_each($1))").sqlite,
            postgres: search_sql!("WHERE p.id IN (SELECT value::uuid FROM json_array_elements_text($1::json))")
                .postgres,
        };
        let ids: Vec<String> = packages.iter().map(|id| id.0.simple().to_string()).collect();
        let ids = serde_json::Value::from(ids).to_string();
        let sql = self.sql(SQL);
        let rows: Vec<FlatRow> = on_db!(self, |c| sqlx::query_as(sql).bind(ids).fetch_all(c).await)?;
        rows.into_iter().map(FlatRow::into_row).collect()
    }

    /// Whether the index lacks the package's last change; `None` when there is no such package.
    pub async fn is_behind_index(&self, package: PackageId) -> DbResult<Option<bool>> {
        const SQL: &str = "SELECT indexed_revision < revision FROM packages WHERE id = $1";
        Ok(on_db!(self, |c| sqlx::query_scalar(SQL).bind(package).fetch_optional(c).await)?)
    }

    pub async fn count_packages(&self) -> DbResult<u64> {
        const SQL: &str = "SELECT CAST(COUNT(*) AS BIGINT) FROM packages";
        let count: i64 = on_db!(self, |c| sqlx::query_scalar(SQL).fetch_one(c).await)?;
        Ok(count.unsigned_abs())
    }

    /// When the oldest change was made that the index does not hold yet.
    pub async fn oldest_unindexed_change(&self) -> DbResult<Option<Timestamp>> {
        const SQL: &str = "SELECT MIN(updated_at) FROM packages WHERE indexed_revision < revision";
        Ok(on_db!(self, |c| sqlx::query_scalar(SQL).fetch_one(c).await)?)
    }
}

/// How long a changed package waits for its search document: what changes meanwhile shares the one
/// commit of the index, which costs more than a publish does (ADR 0008).
const INDEX_DELAY: Duration = Duration::from_millis(300);

/// The job that brings a package's search document up to date.
pub fn index_job(package: PackageId, owner: Owner) -> NewJob {
    NewJob::new(JobKind::IndexPackage, &serde_json::json!({ "package_id": package }))
        .unique(package.to_string())
        .partition(owner.partition())
        .after(INDEX_DELAY)
}

impl Tx {
    /// Notes that the index holds (or rightly lacks) these packages as of the given revisions.
    /// An older note never replaces a newer one.
    pub async fn note_indexed(&mut self, revisions: &[(PackageId, i64)]) -> DbResult<()> {
        const SQL: Sql = Sql {
            sqlite: "UPDATE packages SET indexed_revision = n.value ->> 1 FROM json_each($1) n \
                     WHERE packages.id = unhex(n.value ->> 0) AND packages.indexed_revision < n.value ->> 1",
            postgres: "UPDATE packages SET indexed_revision = (n.value ->> 1)::bigint \
                       FROM jsonb_array_elements($1::jsonb) n \
                       WHERE packages.id = (n.value ->> 0)::uuid \
                       AND packages.indexed_revision < (n.value ->> 1)::bigint",
        };
        let sql = SQL.on(self.engine());
        let pairs: Vec<(String, i64)> = revisions.iter().map(|(id, r)| (id.0.simple().to_string(), *r)).collect();
        let pairs =
            serde_json::Value::from(pairs.into_iter().map(|(i, r)| serde_json::json!([i, r])).collect::<Vec<_>>());
        on_tx!(self, |c| sqlx::query(sql).bind(pairs.to_string()).execute(c).await.map(drop))?;
        Ok(())
    }
}

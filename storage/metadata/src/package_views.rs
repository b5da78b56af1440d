//! Packages as the management API lists, shows and changes them.

use publaryn_core::{
    Ecosystem, OrgId, PackageId, RepositoryId, RepositoryKind, Timestamp, UserId, Visibility,
    access::{Owner, PackageAccess, Relation},
};
use sqlx::FromRow;

use crate::{
    Db, DbError, DbResult, Sql, Tx,
    organizations::Slice,
    reach::Reach,
    rows::{id_list, owner_of},
};

/// What deciding about a package takes.
#[derive(Debug, Clone, FromRow)]
pub struct PackageFactsRow {
    pub id: PackageId,
    pub repository_id: RepositoryId,
    owner_user_id: Option<UserId>,
    owner_org_id: Option<OrgId>,
    repository_owner_user_id: Option<UserId>,
    repository_owner_org_id: Option<OrgId>,
    pub visibility: Visibility,
    repository_visibility: Visibility,
    is_quarantined: bool,
}

impl PackageFactsRow {
    pub fn owner(&self) -> Owner {
        owner_of(self.owner_user_id, self.owner_org_id)
    }
    pub fn repository_owner(&self) -> Owner {
        owner_of(self.repository_owner_user_id, self.repository_owner_org_id)
    }
    pub fn access(&self, relation: Relation) -> PackageAccess {
        PackageAccess {
            id: self.id,
            repository: self.repository_id,
            owner: self.owner(),
            effective: Visibility::effective(self.visibility, self.repository_visibility, self.is_quarantined),
            relation,
        }
    }
}

/// Which packages a list chooses from.
#[derive(Debug, Clone, Copy)]
pub enum PackagesOf {
    User(UserId),
    Org(OrgId),
    Repository(RepositoryId),
    /// What an organization owns, and what lies in its repositories.
    Around(OrgId),
}

/// A package with the names around it.
#[derive(Debug, Clone, FromRow)]
pub struct PackageDetails {
    pub id: PackageId,
    pub ecosystem: Ecosystem,
    pub name: String,
    pub normalized_name: String,
    pub display_name: Option<String>,
    pub description: Option<String>,
    /// Never there in lists.
    pub readme: Option<String>,
    pub homepage: Option<String>,
    pub repository_url: Option<String>,
    pub license: Option<String>,
    /// A JSON array of strings.
    pub keywords: String,
    pub deprecation_message: Option<String>,
    pub visibility: Visibility,
    pub repository_visibility: Visibility,
    pub is_quarantined: bool,
    pub is_archived: bool,
    pub repository_id: RepositoryId,
    pub repository_slug: String,
    pub repository_name: String,
    pub repository_kind: RepositoryKind,
    pub owner_user_id: Option<UserId>,
    pub owner_org_id: Option<OrgId>,
    repository_owner_user_id: Option<UserId>,
    repository_owner_org_id: Option<OrgId>,
    pub owner_username: Option<String>,
    pub owner_org_slug: Option<String>,
    /// The target of npm's `latest`, elsewhere the highest version that is live and not yanked.
    pub latest_version: Option<String>,
    /// Something is live and all of it is deprecated.
    pub is_all_deprecated: bool,
    pub has_live_release: bool,
    pub download_count: i64,
    pub revision: i64,
    /// The revision that search knows.
    pub indexed_revision: i64,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

impl PackageDetails {
    pub fn repository_owner(&self) -> Owner {
        owner_of(self.repository_owner_user_id, self.repository_owner_org_id)
    }
    pub fn owner(&self) -> Owner {
        owner_of(self.owner_user_id, self.owner_org_id)
    }
    pub fn effective(&self) -> Visibility {
        Visibility::effective(self.visibility, self.repository_visibility, self.is_quarantined)
    }
    pub fn is_deprecated(&self) -> bool {
        self.deprecation_message.is_some() || self.is_all_deprecated
    }
    pub fn keyword_list(&self) -> Vec<String> {
        serde_json::from_str(&self.keywords).unwrap_or_default()
    }
}

/// Descriptive columns and states that a PATCH writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackageTexts {
    pub display_name: Option<String>,
    pub description: Option<String>,
    pub readme: Option<String>,
    pub homepage: Option<String>,
    pub repository_url: Option<String>,
    pub license: Option<String>,
    pub keywords: Vec<String>,
    pub deprecation_message: Option<String>,
    pub visibility: Visibility,
    pub is_archived: bool,
}

macro_rules! facts {
    ($rest:expr) => {
        concat!(
            "SELECT p.id, p.repository_id, p.owner_user_id, p.owner_org_id, ",
            "r.owner_user_id AS repository_owner_user_id, r.owner_org_id AS repository_owner_org_id, p.visibility, ",
            "r.visibility AS repository_visibility, p.is_quarantined ",
            "FROM packages p JOIN repositories r ON r.id = p.repository_id ",
            $rest
        )
    };
}

/// A page of packages that the caller may be told of, out of those of `$whose`, and how many there are.
macro_rules! discoverable {
    ($whose:literal, $order:literal) => {
        (
            facts!(concat!(
                "WHERE p.deleted_at IS NULL AND (p.ecosystem = $7 OR $7 = '') AND ",
                $whose,
                " AND ",
                discoverable_package!(),
                " ORDER BY p.download_count DESC, ",
                $order,
                ", p.id LIMIT $8 OFFSET $9"
            )),
            concat!(
                "SELECT CAST(COUNT(*) AS BIGINT) FROM packages p JOIN repositories r ON r.id = p.repository_id ",
                "WHERE p.deleted_at IS NULL AND (p.ecosystem = $7 OR $7 = '') AND ",
                $whose,
                " AND ",
                discoverable_package!()
            ),
        )
    };
}

macro_rules! details_columns {
    ($readme:literal, $rest:literal) => {
        concat!(
            "SELECT p.id, p.ecosystem, p.name, p.normalized_name, p.display_name, p.description, ",
            $readme,
            " AS readme, p.homepage, p.repository_url, p.license, p.keywords, p.deprecation_message, p.visibility, ",
            "r.visibility AS repository_visibility, p.is_quarantined, p.is_archived, p.repository_id, ",
            "r.slug AS repository_slug, r.name AS repository_name, r.kind AS repository_kind, p.owner_user_id, p.owner_org_id, ",
            "r.owner_user_id AS repository_owner_user_id, r.owner_org_id AS repository_owner_org_id, ",
            "u.username AS owner_username, o.slug AS owner_org_slug, COALESCE(",
            "(SELECT x.version FROM tags t JOIN releases x ON x.id = t.release_id WHERE t.package_id = p.id ",
            "AND t.tag = 'latest' AND p.ecosystem = 'npm' AND x.status IN ('published', 'deprecated', 'yanked')), ",
            "(SELECT x.version FROM releases x WHERE x.package_id = p.id AND x.status IN ('published', 'deprecated') ",
            "ORDER BY x.is_prerelease, x.sort_key DESC LIMIT 1)) AS latest_version, ",
            "EXISTS (SELECT 1 FROM releases x WHERE x.package_id = p.id AND x.status = 'deprecated') ",
            "AND NOT EXISTS (SELECT 1 FROM releases x WHERE x.package_id = p.id AND x.status = 'published') ",
            "AS is_all_deprecated, EXISTS (SELECT 1 FROM releases x WHERE x.package_id = p.id ",
            "AND x.status IN ('published', 'deprecated', 'yanked')) AS has_live_release, p.download_count, ",
            "p.revision, p.indexed_revision, p.created_at, p.updated_at ",
            "FROM packages p JOIN repositories r ON r.id = p.repository_id ",
            "LEFT JOIN users u ON u.id = p.owner_user_id LEFT JOIN organizations o ON o.id = p.owner_org_id ",
            $rest
        )
    };
}

impl Db {
    /// A page of packages that the caller may be told of, most downloaded first, and how many there are.
    pub async fn discoverable_packages(
        &self,
        reach: &Reach,
        of: PackagesOf,
        ecosystem: Option<Ecosystem>,
        slice: Slice,
    ) -> DbResult<(Vec<PackageFactsRow>, i64)> {
        let ((rows, count), id) = match of {
            PackagesOf::User(id) => (discoverable!("p.owner_user_id = $6", "p.normalized_name"), id.0),
            PackagesOf::Org(id) => (discoverable!("p.owner_org_id = $6", "p.normalized_name"), id.0),
            PackagesOf::Repository(id) => (discoverable!("p.repository_id = $6", "p.created_at DESC"), id.0),
            PackagesOf::Around(id) => (
                discoverable!(
                    "(p.owner_org_id = $6 OR p.repository_id IN (SELECT x.id FROM repositories x \
                     WHERE x.owner_org_id = $6))",
                    "p.normalized_name"
                ),
                id.0,
            ),
        };
        let ecosystem = ecosystem.map_or("", Ecosystem::as_str);
        let rows: Vec<PackageFactsRow> = on_db!(self, |c| bind_reach!(sqlx::query_as(rows), reach)
            .bind(id)
            .bind(ecosystem)
            .bind(slice.limit)
            .bind(slice.offset)
            .fetch_all(c)
            .await)?;
        if let Some(total) = slice.total(rows.len()) {
            return Ok((rows, total));
        }
        let total = on_db!(self, |c| bind_reach!(sqlx::query_scalar(count), reach)
            .bind(id)
            .bind(ecosystem)
            .fetch_one(c)
            .await)?;
        Ok((rows, total))
    }

    /// What deciding about these packages takes, in any order.
    pub async fn packages_facts(&self, ids: &[PackageId]) -> DbResult<Vec<PackageFactsRow>> {
        const SQL: Sql = for_packages!(facts!("WHERE p.deleted_at IS NULL AND p.id"), "");
        let sql = self.sql(SQL);
        Ok(on_db!(self, |c| sqlx::query_as(sql).bind(id_list(ids)).fetch_all(c).await)?)
    }

    pub async fn package_details(&self, id: PackageId) -> DbResult<Option<PackageDetails>> {
        const SQL: &str = details_columns!("p.readme", "WHERE p.id = $1 AND p.deleted_at IS NULL");
        Ok(on_db!(self, |c| sqlx::query_as(SQL).bind(id).fetch_optional(c).await)?)
    }

    /// The same for a page of a list, in any order and without the readmes.
    pub async fn packages_details(&self, ids: &[PackageId]) -> DbResult<Vec<PackageDetails>> {
        const SQL: Sql =
            for_packages!(details_columns!("CAST(NULL AS TEXT)", "WHERE p.deleted_at IS NULL AND p.id"), "");
        let sql = self.sql(SQL);
        Ok(on_db!(self, |c| sqlx::query_as(sql).bind(id_list(ids)).fetch_all(c).await)?)
    }
}

impl Tx {
    pub async fn package_details(&mut self, id: PackageId) -> DbResult<Option<PackageDetails>> {
        const SQL: &str = details_columns!("p.readme", "WHERE p.id = $1 AND p.deleted_at IS NULL");
        Ok(on_tx!(self, |c| sqlx::query_as(SQL).bind(id).fetch_optional(c).await)?)
    }

    pub async fn set_package_texts(&mut self, id: PackageId, texts: &PackageTexts) -> DbResult<()> {
        const SQL: &str = "UPDATE packages SET display_name = $2, description = $3, readme = $4, homepage = $5, \
             repository_url = $6, license = $7, keywords = $8, deprecation_message = $9, visibility = $10, \
             is_archived = $11 WHERE id = $1";
        let keywords = serde_json::to_string(&texts.keywords)
            .map_err(|source| DbError::Corrupt { what: "keyword list", source })?;
        on_tx!(self, |c| sqlx::query(SQL)
            .bind(id)
            .bind(texts.display_name.as_deref())
            .bind(texts.description.as_deref())
            .bind(texts.readme.as_deref())
            .bind(texts.homepage.as_deref())
            .bind(texts.repository_url.as_deref())
            .bind(texts.license.as_deref())
            .bind(keywords)
            .bind(texts.deprecation_message.as_deref())
            .bind(texts.visibility)
            .bind(texts.is_archived)
            .execute(c)
            .await
            .map(drop))?;
        Ok(())
    }

    /// Whether any release of a package was ever live; deleted ones count.
    pub async fn was_ever_published(&mut self, id: PackageId) -> DbResult<bool> {
        const SQL: &str = "SELECT CAST(COUNT(*) AS BIGINT) FROM (SELECT 1 FROM releases WHERE package_id = $1 \
             AND (published_at IS NOT NULL OR status = 'deleted') LIMIT 1) AS s";
        let count: i64 = on_tx!(self, |c| sqlx::query_scalar(SQL).bind(id).fetch_one(c).await)?;
        Ok(count > 0)
    }

    /// Forgets a package altogether; its name is free again.
    pub async fn delete_package(&mut self, id: PackageId) -> DbResult<()> {
        const SQL: &str = "DELETE FROM packages WHERE id = $1";
        on_tx!(self, |c| sqlx::query(SQL).bind(id).execute(c).await.map(drop))?;
        Ok(())
    }

    /// Puts a package in quarantine. One that an administrator put there stays theirs to lift, with their reason.
    pub async fn quarantine_package(
        &mut self,
        id: PackageId,
        reason: &str,
        by_admin: bool,
        now: Timestamp,
    ) -> DbResult<()> {
        const SQL: &str = "UPDATE packages SET is_quarantined = TRUE, quarantined_at = $2, quarantine_reason = $3, \
             quarantined_by_admin = $4 WHERE id = $1 AND ($4 OR NOT (is_quarantined AND quarantined_by_admin))";
        on_tx!(self, |c| sqlx::query(SQL).bind(id).bind(now).bind(reason).bind(by_admin).execute(c).await.map(drop))?;
        Ok(())
    }

    /// Whether a package is in quarantine, and whether only a platform administrator may lift it.
    pub async fn quarantine_of(&mut self, id: PackageId) -> DbResult<(bool, bool)> {
        const SQL: &str = "SELECT is_quarantined, quarantined_by_admin FROM packages WHERE id = $1";
        Ok(on_tx!(self, |c| sqlx::query_as(SQL).bind(id).fetch_one(c).await)?)
    }

    pub async fn lift_quarantine(&mut self, id: PackageId) -> DbResult<()> {
        const SQL: &str = "UPDATE packages SET is_quarantined = FALSE, quarantined_at = NULL, quarantine_reason = NULL, \
             quarantined_by_admin = FALSE WHERE id = $1";
        on_tx!(self, |c| sqlx::query(SQL).bind(id).execute(c).await.map(drop))?;
        Ok(())
    }

    /// Hands a package to an organization, maybe into a repository of its own. Co-owners end.
    pub async fn transfer_package(
        &mut self,
        id: PackageId,
        org: OrgId,
        repository: Option<RepositoryId>,
    ) -> DbResult<()> {
        const SQL: &str = "UPDATE packages SET owner_user_id = NULL, owner_org_id = $2, \
             repository_id = COALESCE($3, repository_id) WHERE id = $1";
        const CO_OWNERS: &str = "DELETE FROM package_owners WHERE package_id = $1";
        on_tx!(self, |c| sqlx::query(SQL).bind(id).bind(org).bind(repository).execute(c).await.map(drop))?;
        on_tx!(self, |c| sqlx::query(CO_OWNERS).bind(id).execute(c).await.map(drop))?;
        Ok(())
    }

    /// Revokes tokens bound to a package whose holders are neither members of its organization nor hold
    /// another right to read it.
    pub async fn revoke_foreign_package_tokens(&mut self, id: PackageId, org: OrgId, now: Timestamp) -> DbResult<u64> {
        const SQL: &str = "UPDATE tokens SET revoked_at = $3 WHERE package_id = $1 AND revoked_at IS NULL \
             AND kind <> 'oidc_derived' AND user_id IS NOT NULL \
             AND NOT EXISTS (SELECT 1 FROM memberships m WHERE m.org_id = $2 AND m.user_id = tokens.user_id)";
        let rows = on_tx!(self, |c| sqlx::query(SQL)
            .bind(id)
            .bind(org)
            .bind(now)
            .execute(c)
            .await
            .map(|done| done.rows_affected()))?;
        self.notice().credentials |= rows > 0;
        Ok(rows)
    }
}

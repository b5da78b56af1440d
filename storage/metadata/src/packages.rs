//! Packages: the head that every request needs, the full row, and how callers stand to it.

use publaryn_core::{
    Ecosystem, OrgId, PackageId, PackageName, RepositoryId, RepositoryKind, Timestamp, UserId, Visibility,
    access::{Owner, PackageAccess, Relation},
    publish::PackageFacts,
};
use smol_str::SmolStr;
use sqlx::FromRow;

use crate::{
    Db, DbError, DbResult, PackageTouched, Sql, Tx,
    documents::Of,
    reach::Reach,
    rows::{id_list, owner_of},
};

/// The little of a package that a read needs before it can be decided and answered from a cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackageHead {
    pub id: PackageId,
    pub ecosystem: Ecosystem,
    /// As published.
    pub name: SmolStr,
    pub normalized_name: SmolStr,
    pub repository: RepositoryId,
    pub owner: Owner,
    pub effective: Visibility,
    pub is_archived: bool,
    /// Unpublished as a whole; only the name is kept.
    pub is_deleted: bool,
    pub revision: i64,
    pub updated_at: Timestamp,
}

impl PackageHead {
    /// The facts for `decide`, given how the caller stands to the package.
    pub fn access(&self, relation: Relation) -> PackageAccess {
        PackageAccess {
            id: self.id,
            repository: self.repository,
            owner: self.owner,
            effective: self.effective,
            relation,
        }
    }
    pub fn touched(&self) -> PackageTouched {
        PackageTouched { id: self.id, ecosystem: self.ecosystem, normalized_name: self.normalized_name.clone() }
    }
}

/// Moves the revision of packages on, at the time `$2`.
///
/// `updated_at` rises by at least a second each time: Composer tells two states of a document apart by nothing
/// but its `Last-Modified`, which has whole seconds.
macro_rules! bumped {
    ($of:literal) => {
        concat!(
            "UPDATE packages SET revision = revision + 1, updated_at = CASE \
             WHEN $2 / 1000000 > updated_at / 1000000 THEN $2 ELSE updated_at + 1000000 END WHERE ",
            $of
        )
    };
}
pub(crate) use bumped;

/// A package that a statement changed.
#[derive(FromRow)]
pub(crate) struct TouchedRow {
    id: PackageId,
    ecosystem: Ecosystem,
    normalized_name: String,
}

impl From<TouchedRow> for PackageTouched {
    fn from(row: TouchedRow) -> Self {
        Self { id: row.id, ecosystem: row.ecosystem, normalized_name: row.normalized_name.into() }
    }
}

#[derive(FromRow)]
pub(crate) struct HeadRow {
    id: PackageId,
    ecosystem: Ecosystem,
    name: String,
    normalized_name: String,
    repository_id: RepositoryId,
    owner_user_id: Option<UserId>,
    owner_org_id: Option<OrgId>,
    visibility: Visibility,
    repository_visibility: Visibility,
    is_quarantined: bool,
    is_archived: bool,
    deleted_at: Option<Timestamp>,
    revision: i64,
    updated_at: Timestamp,
}

impl HeadRow {
    pub(crate) fn into_head(self) -> PackageHead {
        PackageHead {
            id: self.id,
            ecosystem: self.ecosystem,
            name: self.name.into(),
            normalized_name: self.normalized_name.into(),
            repository: self.repository_id,
            owner: owner_of(self.owner_user_id, self.owner_org_id),
            effective: Visibility::effective(self.visibility, self.repository_visibility, self.is_quarantined),
            is_archived: self.is_archived,
            is_deleted: self.deleted_at.is_some(),
            revision: self.revision,
            updated_at: self.updated_at,
        }
    }
}

macro_rules! head_columns {
    ($rest:expr) => {
        concat!(
            "SELECT p.id, p.ecosystem, p.name, p.normalized_name, p.repository_id, p.owner_user_id, p.owner_org_id, ",
            "p.visibility, r.visibility AS repository_visibility, p.is_quarantined, p.is_archived, p.deleted_at, ",
            "p.revision, p.updated_at FROM packages p JOIN repositories r ON r.id = p.repository_id ",
            $rest
        )
    };
}

/// Package-level facts as they stand now.
#[derive(Debug, Clone, FromRow)]
pub struct PackageRow {
    pub id: PackageId,
    pub ecosystem: Ecosystem,
    pub name: String,
    pub normalized_name: String,
    pub repository_id: RepositoryId,
    pub repository_slug: String,
    pub repository_kind: RepositoryKind,
    pub owner_user_id: Option<UserId>,
    pub owner_org_id: Option<OrgId>,
    pub visibility: Visibility,
    pub repository_visibility: Visibility,
    pub is_quarantined: bool,
    pub is_archived: bool,
    pub revision: i64,
    pub description: Option<String>,
    pub readme: Option<String>,
    pub homepage: Option<String>,
    pub repository_url: Option<String>,
    pub license: Option<String>,
    /// A JSON array of strings.
    pub keywords: String,
    pub deprecation_message: Option<String>,
    pub download_count: i64,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

impl PackageRow {
    pub fn owner(&self) -> Owner {
        owner_of(self.owner_user_id, self.owner_org_id)
    }
    pub fn effective(&self) -> Visibility {
        Visibility::effective(self.visibility, self.repository_visibility, self.is_quarantined)
    }
    pub fn keyword_list(&self) -> Vec<String> {
        serde_json::from_str(&self.keywords).unwrap_or_default()
    }
}

/// A package as a listing of the whole ecosystem shows it.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct ListedName {
    /// As published.
    pub name: String,
    pub normalized_name: String,
}

/// A change of a package, as mirrors follow them.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct ChangedPackage {
    pub normalized_name: String,
    pub updated_at: Timestamp,
    pub is_gone: bool,
}

/// A person with rights on a package, as ecosystems list them (npm maintainers, Cargo owners).
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct OwnerRow {
    pub id: UserId,
    /// Integer id within u32, as Cargo wants it.
    pub number: i64,
    pub username: String,
    pub display_name: Option<String>,
    pub email: String,
}

impl Db {
    /// The head of one package; `None` when there is none of that name.
    pub async fn package_head(&self, ecosystem: Ecosystem, normalized: &str) -> DbResult<Option<PackageHead>> {
        const SQL: &str = head_columns!("WHERE p.ecosystem = $1 AND p.normalized_name = $2");
        let row: Option<HeadRow> =
            on_db!(self, |c| sqlx::query_as(SQL).bind(ecosystem).bind(normalized).fetch_optional(c).await)?;
        Ok(row.map(HeadRow::into_head))
    }

    /// The heads of many packages of one ecosystem, in one query; absent names are left out.
    pub async fn package_heads(&self, ecosystem: Ecosystem, normalized: &[&str]) -> DbResult<Vec<PackageHead>> {
        let sql = self.sql(Sql {
            sqlite: head_columns!("WHERE p.ecosystem = $1 AND p.normalized_name IN (SELECT value FROM json_each($2))"),
            postgres: head_columns!(
                "WHERE p.ecosystem = $1 AND p.normalized_name = ANY(ARRAY(SELECT json_array_elements_text($2::json)))"
            ),
        });
        let names = serde_json::Value::from(normalized.to_vec()).to_string();
        let rows: Vec<HeadRow> = on_db!(self, |c| sqlx::query_as(sql).bind(ecosystem).bind(names).fetch_all(c).await)?;
        Ok(rows.into_iter().map(HeadRow::into_head).collect())
    }

    pub async fn package_head_by_id(&self, id: PackageId) -> DbResult<Option<PackageHead>> {
        const SQL: &str = head_columns!("WHERE p.id = $1");
        let row: Option<HeadRow> = on_db!(self, |c| sqlx::query_as(SQL).bind(id).fetch_optional(c).await)?;
        Ok(row.map(HeadRow::into_head))
    }

    pub async fn package_row(&self, id: PackageId) -> DbResult<Option<PackageRow>> {
        Ok(self.package_rows(&[id]).await?.pop())
    }

    /// These packages, in any order.
    pub async fn package_rows(&self, ids: &[PackageId]) -> DbResult<Vec<PackageRow>> {
        const SQL: Sql = for_packages!(
            "SELECT p.id, p.ecosystem, p.name, p.normalized_name, p.repository_id, r.slug AS repository_slug, \
             r.kind AS repository_kind, p.owner_user_id, p.owner_org_id, p.visibility, r.visibility AS repository_visibility, \
             p.is_quarantined, p.is_archived, p.revision, p.description, p.readme, p.homepage, p.repository_url, p.license, \
             p.keywords, p.deprecation_message, p.download_count, p.created_at, p.updated_at \
             FROM packages p JOIN repositories r ON r.id = p.repository_id WHERE p.deleted_at IS NULL AND p.id",
            ""
        );
        let sql = self.sql(SQL);
        Ok(on_db!(self, |c| sqlx::query_as(sql).bind(id_list(ids)).fetch_all(c).await)?)
    }

    /// The owning user first, then co-owners by name.
    pub async fn package_owners(&self, package: PackageId) -> DbResult<Vec<OwnerRow>> {
        Ok(self.packages_owners(&[package]).await?.into_iter().map(|of| of.row).collect())
    }

    /// The same of several packages, one after the other.
    pub(crate) async fn packages_owners(&self, packages: &[PackageId]) -> DbResult<Vec<Of<OwnerRow>>> {
        const SQL: Sql = for_packages!(
            "SELECT w.package_id, u.id, u.number, u.username, u.display_name, u.email \
             FROM (SELECT p.id AS package_id, p.owner_user_id AS user_id, 0 AS place FROM packages p \
             UNION ALL SELECT o.package_id, o.user_id, 1 FROM package_owners o JOIN packages p ON p.id = o.package_id \
             WHERE p.owner_user_id IS NULL OR p.owner_user_id <> o.user_id) AS w JOIN users u ON u.id = w.user_id \
             WHERE w.package_id",
            " ORDER BY w.package_id, w.place, u.username_key"
        );
        let sql = self.sql(SQL);
        Ok(on_db!(self, |c| sqlx::query_as(sql).bind(id_list(packages)).fetch_all(c).await)?)
    }

    /// Packages of one ecosystem that a user owns or co-owns.
    pub async fn packages_of_user(&self, ecosystem: Ecosystem, user: UserId) -> DbResult<Vec<PackageHead>> {
        const SQL: &str = head_columns!(
            "WHERE p.ecosystem = $1 AND p.deleted_at IS NULL AND (p.owner_user_id = $2 OR p.id IN \
             (SELECT o.package_id FROM package_owners o WHERE o.user_id = $2)) ORDER BY p.normalized_name"
        );
        let rows: Vec<HeadRow> = on_db!(self, |c| sqlx::query_as(SQL).bind(ecosystem).bind(user).fetch_all(c).await)?;
        Ok(rows.into_iter().map(HeadRow::into_head).collect())
    }

    /// Names and heads of packages a user has starred.
    pub async fn starred_by(&self, ecosystem: Ecosystem, user: UserId) -> DbResult<Vec<PackageHead>> {
        const SQL: &str = head_columns!(
            "JOIN package_stars s ON s.package_id = p.id WHERE p.ecosystem = $1 AND s.user_id = $2 \
             AND p.deleted_at IS NULL ORDER BY p.normalized_name"
        );
        let rows: Vec<HeadRow> = on_db!(self, |c| sqlx::query_as(SQL).bind(ecosystem).bind(user).fetch_all(c).await)?;
        Ok(rows.into_iter().map(HeadRow::into_head).collect())
    }

    /// Heads for a page of search hits, in any order.
    pub async fn package_heads_by_id(&self, ids: &[PackageId]) -> DbResult<Vec<PackageHead>> {
        const SQL: Sql = for_packages!(head_columns!("WHERE p.id"), "");
        let sql = self.sql(SQL);
        let rows: Vec<HeadRow> = on_db!(self, |c| sqlx::query_as(sql).bind(id_list(ids)).fetch_all(c).await)?;
        Ok(rows.into_iter().map(HeadRow::into_head).collect())
    }
}

/// A package about to be created by its first publish.
#[derive(Debug, Clone)]
pub struct NewPackage<'a> {
    pub id: PackageId,
    pub ecosystem: Ecosystem,
    pub name: &'a PackageName,
    pub repository: RepositoryId,
    pub owner: Owner,
    pub visibility: Visibility,
}

impl Tx {
    /// The head of a package, locked against other writers until the end of the transaction.
    pub async fn lock_package(&mut self, ecosystem: Ecosystem, normalized: &str) -> DbResult<Option<PackageHead>> {
        let sql = Sql {
            sqlite: head_columns!("WHERE p.ecosystem = $1 AND p.normalized_name = $2"),
            postgres: head_columns!("WHERE p.ecosystem = $1 AND p.normalized_name = $2 FOR UPDATE OF p"),
        }
        .on(self.engine());
        let row: Option<HeadRow> =
            on_tx!(self, |c| sqlx::query_as(sql).bind(ecosystem).bind(normalized).fetch_optional(c).await)?;
        Ok(row.map(HeadRow::into_head))
    }

    pub async fn lock_package_by_id(&mut self, id: PackageId) -> DbResult<Option<PackageHead>> {
        let sql = Sql {
            sqlite: head_columns!("WHERE p.id = $1"),
            postgres: head_columns!("WHERE p.id = $1 FOR UPDATE OF p"),
        }
        .on(self.engine());
        let row: Option<HeadRow> = on_tx!(self, |c| sqlx::query_as(sql).bind(id).fetch_optional(c).await)?;
        Ok(row.map(HeadRow::into_head))
    }

    /// Packages of an ecosystem whose canonical name starts with `prefix`, the first hundred by age, while nobody else
    /// makes one: until the transaction ends. Reads all names of the ecosystem: for what happens once per new package.
    pub async fn lock_packages_below(&mut self, ecosystem: Ecosystem, prefix: &str) -> DbResult<Vec<PackageHead>> {
        const LOCK: &str = "SELECT pg_advisory_xact_lock(hashtextextended($1, 0))";
        const SQL: &str = head_columns!(
            "WHERE p.ecosystem = $1 AND SUBSTR(p.normalized_name, 1, $3) = $2 AND p.deleted_at IS NULL \
             ORDER BY p.created_at LIMIT 100"
        );
        // SQLite has one writer anyway.
        if let crate::tx::Connection::Postgres(tx) = self.connection() {
            sqlx::query(LOCK).bind(format!("{ecosystem}:{prefix}")).execute(&mut ***tx).await?;
        }
        let length = i32::try_from(prefix.chars().count()).unwrap_or(i32::MAX);
        let rows: Vec<HeadRow> =
            on_tx!(self, |c| sqlx::query_as(SQL).bind(ecosystem).bind(prefix).bind(length).fetch_all(c).await)?;
        Ok(rows.into_iter().map(HeadRow::into_head).collect())
    }

    /// Creates a package; `false` when its name or collision key is taken.
    pub async fn insert_package(&mut self, new: &NewPackage<'_>, now: Timestamp) -> DbResult<bool> {
        const SQL: &str = "INSERT INTO packages (id, ecosystem, name, normalized_name, collision_key, repository_id, \
             owner_user_id, owner_org_id, visibility, created_at, updated_at, lookalike_key) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $10, $11) ON CONFLICT DO NOTHING";
        let (user, org) = match new.owner {
            Owner::User(id) => (Some(id), None),
            Owner::Org(id) => (None, Some(id)),
        };
        let rows = on_tx!(self, |c| sqlx::query(SQL)
            .bind(new.id)
            .bind(new.ecosystem)
            .bind(new.name.display())
            .bind(new.name.canonical())
            .bind(new.name.collision_key())
            .bind(new.repository)
            .bind(user)
            .bind(org)
            .bind(new.visibility)
            .bind(now)
            .bind(new.name.lookalike_key().as_str())
            .execute(c)
            .await
            .map(|done| done.rows_affected()))?;
        Ok(rows == 1)
    }

    /// The package that holds a collision key.
    pub async fn package_with_collision_key(
        &mut self,
        ecosystem: Ecosystem,
        key: &str,
    ) -> DbResult<Option<PackageHead>> {
        const SQL: &str = head_columns!("WHERE p.ecosystem = $1 AND p.collision_key = $2");
        let row: Option<HeadRow> =
            on_tx!(self, |c| sqlx::query_as(SQL).bind(ecosystem).bind(key).fetch_optional(c).await)?;
        Ok(row.map(HeadRow::into_head))
    }

    /// Lets the facts of a release speak for its package, unless a later one is live.
    pub async fn set_package_facts(&mut self, package: PackageId, sequence: i64, facts: &PackageFacts) -> DbResult<()> {
        const SQL: &str = "UPDATE packages SET description = $2, homepage = $3, repository_url = $4, license = $5, \
             keywords = $6, readme = $7 WHERE id = $1 AND NOT EXISTS (SELECT 1 FROM releases r WHERE r.package_id = $1 \
             AND r.status IN ('published', 'deprecated', 'yanked') AND r.sequence > $8)";
        let keywords = serde_json::to_string(&facts.keywords)
            .map_err(|source| DbError::Corrupt { what: "keyword list", source })?;
        Ok(later!(
            self,
            SQL,
            package,
            facts.description.clone(),
            facts.homepage.clone(),
            facts.repository_url.clone(),
            facts.license.clone(),
            keywords,
            facts.readme.clone(),
            sequence,
        )?)
    }

    /// Records a visible change: caches and validators of the package move on.
    pub async fn bump_revision(&mut self, head: &PackageHead, now: Timestamp) -> DbResult<()> {
        const SQL: &str = bumped!("id = $1");
        later!(self, SQL, head.id, now)?;
        let touched = head.touched();
        self.notice().packages.push(touched);
        Ok(())
    }

    /// The next number for a publish or tag change of this package.
    pub async fn next_sequence(&mut self, package: PackageId) -> DbResult<i64> {
        const SQL: &str = "UPDATE packages SET sequence = sequence + 1 WHERE id = $1 RETURNING sequence";
        Ok(on_tx!(self, |c| sqlx::query_scalar(SQL).bind(package).fetch_one(c).await)?)
    }

    pub async fn set_package_visibility(&mut self, package: PackageId, visibility: Visibility) -> DbResult<()> {
        const SQL: &str = "UPDATE packages SET visibility = $2 WHERE id = $1";
        on_tx!(self, |c| sqlx::query(SQL).bind(package).bind(visibility).execute(c).await.map(drop))?;
        Ok(())
    }

    /// Sets or clears what the package says of itself that is deprecated; `false` when it says so already.
    pub async fn set_package_deprecation(&mut self, package: PackageId, message: Option<&str>) -> DbResult<bool> {
        const SQL: &str =
            "UPDATE packages SET deprecation_message = $2 WHERE id = $1 AND deprecation_message IS DISTINCT FROM $2";
        let done = on_tx!(self, |c| sqlx::query(SQL)
            .bind(package)
            .bind(message)
            .execute(c)
            .await
            .map(|done| done.rows_affected()))?;
        Ok(done == 1)
    }

    /// Marks the whole package unpublished (`Some`) or brings the name back to use (`None`).
    pub async fn set_package_deleted(&mut self, package: PackageId, at: Option<Timestamp>) -> DbResult<()> {
        const SQL: &str = "UPDATE packages SET deleted_at = $2 WHERE id = $1";
        on_tx!(self, |c| sqlx::query(SQL).bind(package).bind(at).execute(c).await.map(drop))?;
        Ok(())
    }

    pub async fn package_deleted_at(&mut self, package: PackageId) -> DbResult<Option<Timestamp>> {
        const SQL: &str = "SELECT deleted_at FROM packages WHERE id = $1";
        Ok(on_tx!(self, |c| sqlx::query_scalar(SQL).bind(package).fetch_one(c).await)?)
    }

    /// `false` when the user already was a co-owner.
    pub async fn add_package_owner(
        &mut self,
        package: PackageId,
        user: UserId,
        by: Option<UserId>,
        now: Timestamp,
    ) -> DbResult<bool> {
        const SQL: &str = "INSERT INTO package_owners (package_id, user_id, added_by, created_at) \
             VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING";
        let done = on_tx!(self, |c| sqlx::query(SQL)
            .bind(package)
            .bind(user)
            .bind(by)
            .bind(now)
            .execute(c)
            .await
            .map(|done| done.rows_affected()))?;
        Ok(done == 1)
    }

    pub async fn remove_package_owner(&mut self, package: PackageId, user: UserId) -> DbResult<bool> {
        const SQL: &str = "DELETE FROM package_owners WHERE package_id = $1 AND user_id = $2";
        let done = on_tx!(self, |c| sqlx::query(SQL)
            .bind(package)
            .bind(user)
            .execute(c)
            .await
            .map(|done| done.rows_affected()))?;
        Ok(done == 1)
    }

    /// Co-owners, oldest first.
    pub async fn co_owners(&mut self, package: PackageId) -> DbResult<Vec<UserId>> {
        const SQL: &str = "SELECT user_id FROM package_owners WHERE package_id = $1 ORDER BY created_at, user_id";
        Ok(on_tx!(self, |c| sqlx::query_scalar(SQL).bind(package).fetch_all(c).await)?)
    }

    pub async fn set_package_owner(&mut self, package: PackageId, owner: UserId) -> DbResult<()> {
        const SQL: &str = "UPDATE packages SET owner_user_id = $2, owner_org_id = NULL WHERE id = $1";
        on_tx!(self, |c| sqlx::query(SQL).bind(package).bind(owner).execute(c).await.map(drop))?;
        Ok(())
    }

    pub async fn set_star(&mut self, package: PackageId, user: UserId, starred: bool, now: Timestamp) -> DbResult<()> {
        const ADD: &str =
            "INSERT INTO package_stars (package_id, user_id, created_at) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING";
        const REMOVE: &str = "DELETE FROM package_stars WHERE package_id = $1 AND user_id = $2";
        on_tx!(self, |c| if starred {
            sqlx::query(ADD).bind(package).bind(user).bind(now).execute(c).await.map(drop)
        } else {
            sqlx::query(REMOVE).bind(package).bind(user).execute(c).await.map(drop)
        })?;
        Ok(())
    }
}

impl Db {
    /// Names of the public packages of an ecosystem that have something live, in canonical order.
    pub async fn public_names(&self, ecosystem: Ecosystem) -> DbResult<Vec<ListedName>> {
        const SQL: &str = "SELECT p.name, p.normalized_name FROM packages p JOIN repositories r ON r.id = p.repository_id \
             WHERE p.ecosystem = $1 AND p.deleted_at IS NULL AND NOT p.is_quarantined AND p.visibility = 'public' \
             AND r.visibility = 'public' AND EXISTS (SELECT 1 FROM releases x WHERE x.package_id = p.id \
             AND x.status IN ('published', 'deprecated', 'yanked')) ORDER BY p.normalized_name";
        Ok(on_db!(self, |c| sqlx::query_as(SQL).bind(ecosystem).fetch_all(c).await)?)
    }

    /// The same packages as heads.
    pub async fn public_heads(&self, ecosystem: Ecosystem) -> DbResult<Vec<PackageHead>> {
        const SQL: &str = head_columns!(
            "WHERE p.ecosystem = $1 AND p.deleted_at IS NULL AND NOT p.is_quarantined AND p.visibility = 'public' \
             AND r.visibility = 'public' AND EXISTS (SELECT 1 FROM releases x WHERE x.package_id = p.id \
             AND x.status IN ('published', 'deprecated', 'yanked')) ORDER BY p.normalized_name"
        );
        let rows: Vec<HeadRow> = on_db!(self, |c| sqlx::query_as(SQL).bind(ecosystem).fetch_all(c).await)?;
        Ok(rows.into_iter().map(HeadRow::into_head).collect())
    }

    /// The packages of an ecosystem that the caller may be told of and not everybody may, with something live.
    pub async fn closed_heads(&self, reach: &Reach, ecosystem: Ecosystem) -> DbResult<Vec<PackageHead>> {
        const SQL: &str = head_columns!(concat!(
            "WHERE p.ecosystem = $6 AND p.deleted_at IS NULL AND NOT p.is_quarantined ",
            "AND (p.visibility <> 'public' OR r.visibility <> 'public') AND EXISTS (SELECT 1 FROM releases x ",
            "WHERE x.package_id = p.id AND x.status IN ('published', 'deprecated', 'yanked')) AND ",
            discoverable_package!()
        ));
        let rows: Vec<HeadRow> =
            on_db!(self, |c| bind_reach!(sqlx::query_as(SQL), reach).bind(ecosystem).fetch_all(c).await)?;
        Ok(rows.into_iter().map(HeadRow::into_head).collect())
    }

    /// The public packages of an ecosystem with something live that are recorded as standing in for a name.
    pub async fn public_providers(&self, ecosystem: Ecosystem, name: &str, limit: i64) -> DbResult<Vec<PackageHead>> {
        const SQL: &str = head_columns!(
            "JOIN package_provisions v ON v.package_id = p.id WHERE v.name = $2 AND p.ecosystem = $1 \
             AND p.deleted_at IS NULL AND NOT p.is_quarantined AND p.visibility = 'public' \
             AND r.visibility = 'public' AND EXISTS (SELECT 1 FROM releases x WHERE x.package_id = p.id \
             AND x.status IN ('published', 'deprecated', 'yanked')) ORDER BY p.normalized_name LIMIT $3"
        );
        let rows: Vec<HeadRow> =
            on_db!(self, |c| sqlx::query_as(SQL).bind(ecosystem).bind(name).bind(limit).fetch_all(c).await)?;
        Ok(rows.into_iter().map(HeadRow::into_head).collect())
    }

    /// Which public packages of an ecosystem changed since then or are gone, oldest change first.
    pub async fn public_changes(
        &self,
        ecosystem: Ecosystem,
        since: Timestamp,
        limit: i64,
    ) -> DbResult<Vec<ChangedPackage>> {
        const SQL: &str = "SELECT p.normalized_name, p.updated_at, p.deleted_at IS NOT NULL AS is_gone \
             FROM packages p JOIN repositories r ON r.id = p.repository_id WHERE p.ecosystem = $1 \
             AND p.updated_at >= $2 AND NOT p.is_quarantined AND p.visibility = 'public' AND r.visibility = 'public' \
             AND (p.deleted_at IS NOT NULL OR EXISTS (SELECT 1 FROM releases x WHERE x.package_id = p.id \
             AND x.status IN ('published', 'deprecated', 'yanked'))) ORDER BY p.updated_at LIMIT $3";
        Ok(on_db!(self, |c| sqlx::query_as(SQL).bind(ecosystem).bind(since).bind(limit).fetch_all(c).await)?)
    }

    /// Whether the ecosystem has a package that not everybody may read.
    pub async fn holds_hidden_package(&self, ecosystem: Ecosystem) -> DbResult<bool> {
        const SQL: &str = "SELECT CAST(COUNT(*) AS BIGINT) FROM (SELECT 1 FROM packages p \
             JOIN repositories r ON r.id = p.repository_id WHERE p.ecosystem = $1 AND p.deleted_at IS NULL \
             AND (p.is_quarantined OR p.visibility NOT IN ('public', 'unlisted') \
             OR r.visibility NOT IN ('public', 'unlisted')) LIMIT 1) hidden";
        let count: i64 = on_db!(self, |c| sqlx::query_scalar(SQL).bind(ecosystem).fetch_one(c).await)?;
        Ok(count > 0)
    }

    /// Whether the ecosystem has a package that everybody reads without finding it in a list.
    pub async fn holds_unlisted_package(&self, ecosystem: Ecosystem) -> DbResult<bool> {
        const SQL: &str = "SELECT CAST(COUNT(*) AS BIGINT) FROM (SELECT 1 FROM packages p \
             JOIN repositories r ON r.id = p.repository_id WHERE p.ecosystem = $1 AND p.deleted_at IS NULL \
             AND NOT p.is_quarantined AND p.visibility IN ('public', 'unlisted') \
             AND r.visibility IN ('public', 'unlisted') AND 'unlisted' IN (p.visibility, r.visibility) LIMIT 1) unlisted";
        let count: i64 = on_db!(self, |c| sqlx::query_scalar(SQL).bind(ecosystem).fetch_one(c).await)?;
        Ok(count > 0)
    }

    /// Packages whose search document is older than their last change before `before`.
    pub async fn packages_behind_index(&self, before: Timestamp, limit: i64) -> DbResult<Vec<PackageHead>> {
        const SQL: &str =
            head_columns!("WHERE p.indexed_revision < p.revision AND p.updated_at < $1 ORDER BY p.updated_at LIMIT $2");
        let rows: Vec<HeadRow> = on_db!(self, |c| sqlx::query_as(SQL).bind(before).bind(limit).fetch_all(c).await)?;
        Ok(rows.into_iter().map(HeadRow::into_head).collect())
    }
}

//! Repositories (access.md §6).

use publaryn_core::{
    Ecosystem, OrgId, PackageId, RepositoryId, RepositoryKind, Timestamp, UserId, Visibility,
    access::{Owner, Relation, RepositoryAccess},
};
use sqlx::FromRow;

use crate::{Db, DbResult, PackageTouched, Sql, Tx, organizations::Slice, reach::Reach, rows::owner_of};

#[derive(Debug, Clone, FromRow)]
pub struct RepositoryRow {
    pub id: RepositoryId,
    pub slug: String,
    pub name: String,
    pub description: Option<String>,
    pub kind: RepositoryKind,
    pub visibility: Visibility,
    pub owner_user_id: Option<UserId>,
    pub owner_org_id: Option<OrgId>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

impl RepositoryRow {
    pub fn owner(&self) -> Owner {
        owner_of(self.owner_user_id, self.owner_org_id)
    }
    pub fn access(&self, relation: Relation) -> RepositoryAccess {
        RepositoryAccess { id: self.id, owner: self.owner(), visibility: self.visibility, relation }
    }
}

/// A repository with the names of its owner, for an answer.
#[derive(Debug, Clone, FromRow)]
pub struct RepositoryDetails {
    #[sqlx(flatten)]
    pub row: RepositoryRow,
    pub owner_username: Option<String>,
    pub owner_org_slug: Option<String>,
    pub owner_org_name: Option<String>,
    /// Packages anybody may be told of.
    pub public_packages: i64,
    /// Those, and packages of the repository's owner that no member of it is shut out from.
    pub shared_packages: i64,
    /// Those, and the owner's private packages.
    pub all_packages: i64,
}

/// Which repositories a list shows.
#[derive(Debug, Clone, Copy, Default)]
pub struct RepositoryFilter {
    pub owner_user: Option<UserId>,
    pub owner_org: Option<OrgId>,
    pub kind: Option<RepositoryKind>,
}

macro_rules! details_columns {
    ($repositories:expr, $rest:literal) => {
        concat!(
            "SELECT r.id, r.slug, r.name, r.description, r.kind, r.visibility, r.owner_user_id, r.owner_org_id, ",
            "r.created_at, r.updated_at, u.username AS owner_username, o.slug AS owner_org_slug, ",
            "o.name AS owner_org_name, ",
            "(SELECT CAST(COUNT(*) AS BIGINT) FROM packages p WHERE p.repository_id = r.id AND p.deleted_at IS NULL ",
            "AND p.visibility = 'public' AND r.visibility = 'public' AND NOT p.is_quarantined) AS public_packages, ",
            "(SELECT CAST(COUNT(*) AS BIGINT) FROM packages p WHERE p.repository_id = r.id AND p.deleted_at IS NULL ",
            "AND ((p.visibility = 'public' AND r.visibility = 'public' AND NOT p.is_quarantined) ",
            "OR (p.owner_org_id = r.owner_org_id AND (p.is_quarantined OR 'private' NOT IN (p.visibility, r.visibility) ",
            "OR 'quarantined' IN (p.visibility, r.visibility))))) AS shared_packages, ",
            "(SELECT CAST(COUNT(*) AS BIGINT) FROM packages p WHERE p.repository_id = r.id AND p.deleted_at IS NULL ",
            "AND ((p.visibility = 'public' AND r.visibility = 'public' AND NOT p.is_quarantined) ",
            "OR p.owner_user_id = r.owner_user_id OR p.owner_org_id = r.owner_org_id)) AS all_packages ",
            "FROM ",
            $repositories,
            " AS r LEFT JOIN users u ON u.id = r.owner_user_id ",
            "LEFT JOIN organizations o ON o.id = r.owner_org_id ",
            $rest
        )
    };
}

macro_rules! repository_columns {
    ($rest:literal) => {
        concat!(
            "SELECT id, slug, name, description, kind, visibility, owner_user_id, owner_org_id, created_at, updated_at ",
            "FROM repositories ",
            $rest
        )
    };
}

impl Db {
    pub async fn repository_by_slug(&self, slug: &str) -> DbResult<Option<RepositoryRow>> {
        const SQL: &str = repository_columns!("WHERE slug = $1");
        Ok(on_db!(self, |c| sqlx::query_as(SQL).bind(slug).fetch_optional(c).await)?)
    }

    pub async fn repository_details(&self, id: RepositoryId) -> DbResult<Option<RepositoryDetails>> {
        const SQL: &str = details_columns!("repositories", "WHERE r.id = $1");
        Ok(on_db!(self, |c| sqlx::query_as(SQL).bind(id).fetch_optional(c).await)?)
    }

    /// A page of repositories that the caller may be told of, by slug, and how many there are.
    pub async fn discoverable_repositories(
        &self,
        reach: &Reach,
        filter: &RepositoryFilter,
        slice: Slice,
    ) -> DbResult<(Vec<RepositoryDetails>, i64)> {
        // The page, and how many there are, of those that `$whose` says, with the owner as `$6`.
        macro_rules! discoverable {
            ($whose:literal) => {
                (
                    // Packages are counted of the page only.
                    details_columns!(
                        concat!(
                            "(SELECT r.id, r.slug, r.name, r.description, r.kind, r.visibility, r.owner_user_id, ",
                            "r.owner_org_id, r.created_at, r.updated_at FROM repositories r WHERE ",
                            $whose,
                            " AND (r.kind = $7 OR $7 = '') AND ",
                            discoverable_repository!(),
                            " ORDER BY r.slug LIMIT $8 OFFSET $9)"
                        ),
                        "ORDER BY r.slug"
                    ),
                    concat!(
                        "SELECT CAST(COUNT(*) AS BIGINT) FROM repositories r WHERE ",
                        $whose,
                        " AND (r.kind = $7 OR $7 = '') AND ",
                        discoverable_repository!()
                    ),
                )
            };
        }
        let ((rows, count), owner) = match (filter.owner_user, filter.owner_org) {
            // Nothing has two owners.
            (Some(_), Some(_)) => return Ok((Vec::new(), 0)),
            (Some(user), None) => (discoverable!("r.owner_user_id = $6"), Some(user.0)),
            (None, Some(org)) => (discoverable!("r.owner_org_id = $6"), Some(org.0)),
            (None, None) => (discoverable!("$6 IS NULL"), None),
        };
        let kind = filter.kind.map_or("", RepositoryKind::as_str);
        let rows: Vec<RepositoryDetails> = on_db!(self, |c| bind_reach!(sqlx::query_as(rows), reach)
            .bind(owner)
            .bind(kind)
            .bind(slice.limit)
            .bind(slice.offset)
            .fetch_all(c)
            .await)?;
        if let Some(total) = slice.total(rows.len()) {
            return Ok((rows, total));
        }
        let total =
            on_db!(self, |c| bind_reach!(sqlx::query_scalar(count), reach).bind(owner).bind(kind).fetch_one(c).await)?;
        Ok((rows, total))
    }

    pub async fn repositories_of_user(&self, user: UserId) -> DbResult<Vec<RepositoryRow>> {
        const SQL: &str = repository_columns!("WHERE owner_user_id = $1 ORDER BY created_at, id");
        Ok(on_db!(self, |c| sqlx::query_as(SQL).bind(user).fetch_all(c).await)?)
    }
}

impl Tx {
    pub async fn repository(&mut self, id: RepositoryId) -> DbResult<Option<RepositoryRow>> {
        const SQL: &str = repository_columns!("WHERE id = $1");
        Ok(on_tx!(self, |c| sqlx::query_as(SQL).bind(id).fetch_optional(c).await)?)
    }

    pub async fn repository_by_slug(&mut self, slug: &str) -> DbResult<Option<RepositoryRow>> {
        const SQL: &str = repository_columns!("WHERE slug = $1");
        Ok(on_tx!(self, |c| sqlx::query_as(SQL).bind(slug).fetch_optional(c).await)?)
    }

    /// A repository, locked against other changes until the end of the transaction.
    pub async fn lock_repository(&mut self, slug: &str) -> DbResult<Option<RepositoryRow>> {
        let sql = Sql {
            sqlite: repository_columns!("WHERE slug = $1"),
            postgres: repository_columns!("WHERE slug = $1 FOR UPDATE"),
        }
        .on(self.engine());
        Ok(on_tx!(self, |c| sqlx::query_as(sql).bind(slug).fetch_optional(c).await)?)
    }

    /// The repository in which first publishes for an organization land: its default, else its oldest
    /// that is not for staging.
    pub async fn landing_repository_of_org(&mut self, org: OrgId) -> DbResult<Option<RepositoryRow>> {
        const SQL: &str = repository_columns!(
            "WHERE owner_org_id = $1 AND (kind <> 'staging' OR id = (SELECT default_repository_id FROM organizations \
             WHERE id = $1)) ORDER BY CASE WHEN id = (SELECT default_repository_id FROM organizations WHERE id = $1) \
             THEN 0 ELSE 1 END, created_at, id LIMIT 1"
        );
        Ok(on_tx!(self, |c| sqlx::query_as(SQL).bind(org).fetch_optional(c).await)?)
    }

    /// The repository in which a user's first publish lands, if they have one.
    pub async fn oldest_repository_of(&mut self, user: UserId) -> DbResult<Option<RepositoryRow>> {
        const SQL: &str = repository_columns!("WHERE owner_user_id = $1 ORDER BY created_at, id LIMIT 1");
        Ok(on_tx!(self, |c| sqlx::query_as(SQL).bind(user).fetch_optional(c).await)?)
    }

    /// Creates a repository; `false` when the slug is taken.
    pub async fn insert_repository(&mut self, new: &RepositoryRow) -> DbResult<bool> {
        const SQL: &str = "INSERT INTO repositories (id, slug, name, description, kind, visibility, owner_user_id, \
             owner_org_id, created_at, updated_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $9) ON CONFLICT DO NOTHING";
        let done = on_tx!(self, |c| sqlx::query(SQL)
            .bind(new.id)
            .bind(new.slug.as_str())
            .bind(new.name.as_str())
            .bind(new.description.as_deref())
            .bind(new.kind)
            .bind(new.visibility)
            .bind(new.owner_user_id)
            .bind(new.owner_org_id)
            .bind(new.created_at)
            .execute(c)
            .await
            .map(|done| done.rows_affected()))?;
        Ok(done == 1)
    }

    /// Changes a repository's visibility; every package in it follows through its effective visibility.
    pub async fn set_repository_visibility(
        &mut self,
        id: RepositoryId,
        visibility: Visibility,
        now: Timestamp,
    ) -> DbResult<()> {
        const SQL: &str = "UPDATE repositories SET visibility = $2, updated_at = $3 WHERE id = $1";
        on_tx!(self, |c| sqlx::query(SQL).bind(id).bind(visibility).bind(now).execute(c).await.map(drop))?;
        Ok(())
    }

    /// Writes name, description and visibility. Packages follow through their effective visibility; say so
    /// with [`Tx::touch_packages_of`].
    pub async fn update_repository(&mut self, row: &RepositoryRow, now: Timestamp) -> DbResult<()> {
        const SQL: &str =
            "UPDATE repositories SET name = $2, description = $3, visibility = $4, updated_at = $5 WHERE id = $1";
        on_tx!(self, |c| sqlx::query(SQL)
            .bind(row.id)
            .bind(row.name.as_str())
            .bind(row.description.as_deref())
            .bind(row.visibility)
            .bind(now)
            .execute(c)
            .await
            .map(drop))?;
        Ok(())
    }

    /// How many packages would be seen by more people if their repository became `next`.
    pub async fn count_widened(&mut self, id: RepositoryId, next: Visibility) -> DbResult<i64> {
        const SQL: &str = "SELECT p.visibility, r.visibility, CAST(COUNT(*) AS BIGINT) FROM packages p \
             JOIN repositories r ON r.id = p.repository_id WHERE p.repository_id = $1 AND p.deleted_at IS NULL \
             AND NOT p.is_quarantined GROUP BY p.visibility, r.visibility";
        let rows: Vec<(Visibility, Visibility, i64)> =
            on_tx!(self, |c| sqlx::query_as(SQL).bind(id).fetch_all(c).await)?;
        let widened = rows.into_iter().filter(|(package, repository, _)| {
            Visibility::effective(*package, next, false) < Visibility::effective(*package, *repository, false)
        });
        Ok(widened.map(|(_, _, count)| count).sum())
    }

    /// Packages in a repository, unpublished ones included.
    pub async fn count_packages_in(&mut self, id: RepositoryId) -> DbResult<i64> {
        const SQL: &str = "SELECT CAST(COUNT(*) AS BIGINT) FROM packages WHERE repository_id = $1";
        Ok(on_tx!(self, |c| sqlx::query_scalar(SQL).bind(id).fetch_one(c).await)?)
    }

    pub async fn delete_repository(&mut self, id: RepositoryId) -> DbResult<()> {
        const SQL: &str = "DELETE FROM repositories WHERE id = $1";
        on_tx!(self, |c| sqlx::query(SQL).bind(id).execute(c).await.map(drop))?;
        self.notice().credentials = true;
        Ok(())
    }

    /// Hands a repository to an organization; it is nobody's default any more.
    pub async fn set_repository_owner(&mut self, id: RepositoryId, org: OrgId, now: Timestamp) -> DbResult<()> {
        const DEFAULT: &str = "UPDATE organizations SET default_repository_id = NULL WHERE default_repository_id = $1";
        const SQL: &str =
            "UPDATE repositories SET owner_user_id = NULL, owner_org_id = $2, updated_at = $3 WHERE id = $1";
        on_tx!(self, |c| sqlx::query(DEFAULT).bind(id).execute(c).await.map(drop))?;
        on_tx!(self, |c| sqlx::query(SQL).bind(id).bind(org).bind(now).execute(c).await.map(drop))?;
        Ok(())
    }

    /// Revokes every token bound to a repository.
    pub async fn revoke_tokens_bound_to_repository(&mut self, id: RepositoryId, now: Timestamp) -> DbResult<u64> {
        const SQL: &str = "UPDATE tokens SET revoked_at = $2 WHERE repository_id = $1 AND revoked_at IS NULL";
        let rows =
            on_tx!(self, |c| sqlx::query(SQL).bind(id).bind(now).execute(c).await.map(|done| done.rows_affected()))?;
        self.notice().credentials |= rows > 0;
        Ok(rows)
    }

    /// Records that what people may see of every package in a repository changed; returns the packages with
    /// their owners, for their search documents.
    pub async fn touch_packages_of(&mut self, id: RepositoryId, now: Timestamp) -> DbResult<Vec<(PackageId, Owner)>> {
        const SQL: &str = "UPDATE packages SET revision = revision + 1, updated_at = $2 WHERE repository_id = $1 \
             RETURNING id, ecosystem, normalized_name, owner_user_id, owner_org_id";
        type Touched = (PackageId, Ecosystem, String, Option<UserId>, Option<OrgId>);
        let rows: Vec<Touched> = on_tx!(self, |c| sqlx::query_as(SQL).bind(id).bind(now).fetch_all(c).await)?;
        let mut touched = Vec::with_capacity(rows.len());
        for (id, ecosystem, name, user, org) in rows {
            self.notice().packages.push(PackageTouched { id, ecosystem, normalized_name: name.into() });
            touched.push((id, owner_of(user, org)));
        }
        Ok(touched)
    }
}

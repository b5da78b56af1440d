//! Repositories: as much as a first publish needs to land somewhere (access.md §6).

use publaryn_core::{
    OrgId, RepositoryId, RepositoryKind, Timestamp, UserId, Visibility,
    access::{OrgRules, Owner, Relation, RepositoryAccess},
};
use sqlx::FromRow;

use crate::{Db, DbResult, Tx, rows::owner_of};

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
        RepositoryAccess {
            id: self.id,
            owner: self.owner(),
            visibility: self.visibility,
            org: OrgRules::default(),
            relation,
        }
    }
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

    pub async fn repositories_of_user(&self, user: UserId) -> DbResult<Vec<RepositoryRow>> {
        const SQL: &str = repository_columns!("WHERE owner_user_id = $1 ORDER BY created_at, id");
        Ok(on_db!(self, |c| sqlx::query_as(SQL).bind(user).fetch_all(c).await)?)
    }
}

impl Tx {
    pub async fn repository_by_slug(&mut self, slug: &str) -> DbResult<Option<RepositoryRow>> {
        const SQL: &str = repository_columns!("WHERE slug = $1");
        Ok(on_tx!(self, |c| sqlx::query_as(SQL).bind(slug).fetch_optional(c).await)?)
    }

    pub async fn repository(&mut self, id: RepositoryId) -> DbResult<Option<RepositoryRow>> {
        const SQL: &str = repository_columns!("WHERE id = $1");
        Ok(on_tx!(self, |c| sqlx::query_as(SQL).bind(id).fetch_optional(c).await)?)
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
}

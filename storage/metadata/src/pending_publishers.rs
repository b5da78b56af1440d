//! Workloads that may publish a package which does not exist yet.

use publaryn_core::{Ecosystem, PackageId, PackageName, RepositoryId, Timestamp, TrustedPublisherId, UserId};
use sqlx::FromRow;

use crate::{Db, DbResult, Tx, organizations::Slice, trusted_publishers::TrustedPublisherRow};

#[derive(Debug, Clone, FromRow)]
pub struct PendingPublisherRow {
    pub id: TrustedPublisherId,
    pub ecosystem: Ecosystem,
    pub name: String,
    pub normalized_name: String,
    pub collision_key: String,
    pub lookalike_key: String,
    pub target_repository_id: RepositoryId,
    pub target_repository_slug: String,
    pub issuer: String,
    pub subject: String,
    pub repository: Option<String>,
    pub workflow_ref: Option<String>,
    /// Empty for any.
    pub environment: String,
    pub created_by: UserId,
    pub created_at: Timestamp,
}

impl PendingPublisherRow {
    /// As its adapter accepted it.
    pub fn package_name(&self) -> PackageName {
        PackageName::accepted(&self.name, &self.normalized_name, &self.collision_key).looking_like(&self.lookalike_key)
    }

    /// The trusted publisher that it becomes with its package.
    pub fn of_package(&self, package: PackageId) -> TrustedPublisherRow {
        TrustedPublisherRow {
            id: self.id,
            package_id: package,
            issuer: self.issuer.clone(),
            subject: self.subject.clone(),
            repository: self.repository.clone(),
            workflow_ref: self.workflow_ref.clone(),
            environment: self.environment.clone(),
            created_by: self.created_by,
            created_at: self.created_at,
            last_used_at: None,
            source_owner_id: None,
        }
    }
}

macro_rules! pending_columns {
    ($rest:literal) => {
        concat!(
            "SELECT t.id, t.ecosystem, t.name, t.normalized_name, t.collision_key, t.lookalike_key, ",
            "t.target_repository_id, r.slug AS target_repository_slug, t.issuer, t.subject, t.repository, ",
            "t.workflow_ref, t.environment, t.created_by, t.created_at ",
            "FROM pending_publishers t JOIN repositories r ON r.id = t.target_repository_id ",
            $rest
        )
    };
}

impl Db {
    /// What a user has pending, oldest first.
    pub async fn pending_publishers(&self, user: UserId, slice: Slice) -> DbResult<(Vec<PendingPublisherRow>, i64)> {
        const SQL: &str = pending_columns!("WHERE t.created_by = $1 ORDER BY t.created_at, t.id LIMIT $2 OFFSET $3");
        const COUNT: &str = "SELECT CAST(COUNT(*) AS BIGINT) FROM pending_publishers WHERE created_by = $1";
        let rows =
            on_db!(self, |c| sqlx::query_as(SQL).bind(user).bind(slice.limit).bind(slice.offset).fetch_all(c).await)?;
        Ok((rows, on_db!(self, |c| sqlx::query_scalar(COUNT).bind(user).fetch_one(c).await)?))
    }

    /// Pending publishers of this issuer with one of two subjects, in one ecosystem, oldest first.
    pub async fn pending_publishers_of_workload(
        &self,
        issuer: &str,
        subjects: [&str; 2],
        ecosystem: Ecosystem,
        limit: i64,
    ) -> DbResult<Vec<PendingPublisherRow>> {
        const SQL: &str = pending_columns!(
            "WHERE t.issuer = $1 AND t.subject IN ($2, $3) AND t.ecosystem = $4 ORDER BY t.created_at, t.id LIMIT $5"
        );
        Ok(on_db!(self, |c| sqlx::query_as(SQL)
            .bind(issuer)
            .bind(subjects[0])
            .bind(subjects[1])
            .bind(ecosystem)
            .bind(limit)
            .fetch_all(c)
            .await)?)
    }
}

impl Tx {
    pub async fn count_pending_publishers(&mut self, user: UserId) -> DbResult<i64> {
        const SQL: &str = "SELECT CAST(COUNT(*) AS BIGINT) FROM pending_publishers WHERE created_by = $1";
        Ok(on_tx!(self, |c| sqlx::query_scalar(SQL).bind(user).fetch_one(c).await)?)
    }

    /// `false` when the user has that one already.
    pub async fn insert_pending_publisher(&mut self, new: &PendingPublisherRow) -> DbResult<bool> {
        const SQL: &str = "INSERT INTO pending_publishers (id, ecosystem, name, normalized_name, collision_key, \
             lookalike_key, target_repository_id, issuer, subject, repository, workflow_ref, environment, created_by, \
             created_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14) ON CONFLICT DO NOTHING";
        let done = on_tx!(self, |c| sqlx::query(SQL)
            .bind(new.id)
            .bind(new.ecosystem)
            .bind(new.name.as_str())
            .bind(new.normalized_name.as_str())
            .bind(new.collision_key.as_str())
            .bind(new.lookalike_key.as_str())
            .bind(new.target_repository_id)
            .bind(new.issuer.as_str())
            .bind(new.subject.as_str())
            .bind(new.repository.as_deref())
            .bind(new.workflow_ref.as_deref())
            .bind(new.environment.as_str())
            .bind(new.created_by)
            .bind(new.created_at)
            .execute(c)
            .await
            .map(|done| done.rows_affected()))?;
        Ok(done == 1)
    }

    /// Takes a user's pending publisher away; `None` when there is none.
    pub async fn delete_pending_publisher(
        &mut self,
        user: UserId,
        id: TrustedPublisherId,
    ) -> DbResult<Option<PendingPublisherRow>> {
        const FIND: &str = pending_columns!("WHERE t.id = $1 AND t.created_by = $2");
        const SQL: &str = "DELETE FROM pending_publishers WHERE id = $1";
        let found: Option<PendingPublisherRow> =
            on_tx!(self, |c| sqlx::query_as(FIND).bind(id).bind(user).fetch_optional(c).await)?;
        if found.is_some() {
            on_tx!(self, |c| sqlx::query(SQL).bind(id).execute(c).await.map(drop))?;
        }
        Ok(found)
    }
}

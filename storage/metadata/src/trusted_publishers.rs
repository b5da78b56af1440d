//! Workloads of other systems that may publish a package without a stored token.

use publaryn_core::{PackageId, Timestamp, TrustedPublisherId, UserId};
use sqlx::FromRow;

use crate::{Db, DbResult, Tx, organizations::Slice};

#[derive(Debug, Clone, FromRow)]
pub struct TrustedPublisherRow {
    pub id: TrustedPublisherId,
    pub package_id: PackageId,
    pub issuer: String,
    pub subject: String,
    pub repository: Option<String>,
    pub workflow_ref: Option<String>,
    /// Empty for any.
    pub environment: String,
    pub created_by: UserId,
    pub created_at: Timestamp,
    pub last_used_at: Option<Timestamp>,
}

macro_rules! publisher_columns {
    ($rest:literal) => {
        concat!(
            "SELECT id, package_id, issuer, subject, repository, workflow_ref, environment, created_by, created_at, ",
            "last_used_at FROM trusted_publishers ",
            $rest
        )
    };
}

impl Db {
    /// Trusted publishers of a package, oldest first.
    pub async fn trusted_publishers(
        &self,
        package: PackageId,
        slice: Slice,
    ) -> DbResult<(Vec<TrustedPublisherRow>, i64)> {
        const SQL: &str = publisher_columns!("WHERE package_id = $1 ORDER BY created_at, id LIMIT $2 OFFSET $3");
        let rows = on_db!(self, |c| sqlx::query_as(SQL)
            .bind(package)
            .bind(slice.limit)
            .bind(slice.offset)
            .fetch_all(c)
            .await)?;
        Ok((rows, self.count_trusted_publishers(package).await?))
    }

    pub async fn count_trusted_publishers(&self, package: PackageId) -> DbResult<i64> {
        const SQL: &str = "SELECT CAST(COUNT(*) AS BIGINT) FROM trusted_publishers WHERE package_id = $1";
        Ok(on_db!(self, |c| sqlx::query_scalar(SQL).bind(package).fetch_one(c).await)?)
    }
}

impl Tx {
    /// `false` when the package trusts that issuer, subject and environment already.
    pub async fn insert_trusted_publisher(&mut self, new: &TrustedPublisherRow) -> DbResult<bool> {
        const SQL: &str = "INSERT INTO trusted_publishers (id, package_id, issuer, subject, repository, workflow_ref, \
             environment, created_by, created_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT DO NOTHING";
        let done = on_tx!(self, |c| sqlx::query(SQL)
            .bind(new.id)
            .bind(new.package_id)
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

    /// Ends the trust and every token that was minted through it. `None` when there was none.
    pub async fn delete_trusted_publisher(
        &mut self,
        package: PackageId,
        id: TrustedPublisherId,
        now: Timestamp,
    ) -> DbResult<Option<TrustedPublisherRow>> {
        const FIND: &str = publisher_columns!("WHERE package_id = $1 AND id = $2");
        const SQL: &str = "DELETE FROM trusted_publishers WHERE id = $1";
        const TOKENS: &str = "UPDATE tokens SET revoked_at = $2 WHERE trusted_publisher_id = $1 AND revoked_at IS NULL";
        let found: Option<TrustedPublisherRow> =
            on_tx!(self, |c| sqlx::query_as(FIND).bind(package).bind(id).fetch_optional(c).await)?;
        if found.is_some() {
            on_tx!(self, |c| sqlx::query(TOKENS).bind(id).bind(now).execute(c).await.map(drop))?;
            on_tx!(self, |c| sqlx::query(SQL).bind(id).execute(c).await.map(drop))?;
            self.notice().credentials = true;
        }
        Ok(found)
    }
}

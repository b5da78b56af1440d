//! Workloads of other systems that may publish a package without a stored token.

use publaryn_core::{Ecosystem, PackageId, Timestamp, TokenId, TrustedPublisherId, UserId};
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
    /// The issuer's number for the owner of the source, as of the first exchange.
    pub source_owner_id: Option<String>,
}

/// A publisher with the package that it may publish.
#[derive(Debug, Clone, FromRow)]
pub struct PublisherOfPackage {
    #[sqlx(flatten)]
    pub publisher: TrustedPublisherRow,
    pub package_name: String,
    pub package_normalized_name: String,
}

macro_rules! publisher_columns {
    ($rest:literal) => {
        publisher_columns!("", $rest)
    };
    ($more:literal, $rest:literal) => {
        concat!(
            "SELECT t.id, t.package_id, t.issuer, t.subject, t.repository, t.workflow_ref, t.environment, ",
            "t.created_by, t.created_at, t.last_used_at, t.source_owner_id",
            $more,
            " FROM trusted_publishers t ",
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
        const SQL: &str = publisher_columns!("WHERE t.package_id = $1 ORDER BY t.created_at, t.id LIMIT $2 OFFSET $3");
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

    /// Publishers of this issuer with one of two subjects, in packages of one ecosystem, oldest first.
    pub async fn publishers_of_workload(
        &self,
        issuer: &str,
        subjects: [&str; 2],
        ecosystem: Ecosystem,
        limit: i64,
    ) -> DbResult<Vec<PublisherOfPackage>> {
        const SQL: &str = publisher_columns!(
            ", p.name AS package_name, p.normalized_name AS package_normalized_name",
            "JOIN packages p ON p.id = t.package_id \
             WHERE t.issuer = $1 AND t.subject IN ($2, $3) AND p.ecosystem = $4 AND p.deleted_at IS NULL \
             ORDER BY t.created_at, t.id LIMIT $5"
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
        const FIND: &str = publisher_columns!("WHERE t.package_id = $1 AND t.id = $2");
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

    /// Notes that a publisher was used. The owner of the source is learnt once and compared from then on.
    ///
    /// `false` when the publisher is gone or the source has changed hands: then nothing may be given out.
    pub async fn use_trusted_publisher(
        &mut self,
        id: TrustedPublisherId,
        source_owner: Option<&str>,
        now: Timestamp,
    ) -> DbResult<bool> {
        const SQL: &str = "UPDATE trusted_publishers SET last_used_at = $3, \
             source_owner_id = COALESCE(source_owner_id, $2) \
             WHERE id = $1 AND (source_owner_id IS NULL OR source_owner_id = $2)";
        let done = on_tx!(self, |c| sqlx::query(SQL)
            .bind(id)
            .bind(source_owner)
            .bind(now)
            .execute(c)
            .await
            .map(|done| done.rows_affected()))?;
        Ok(done == 1)
    }

    /// Takes a foreign token; `false` when it was taken before.
    pub async fn take_foreign_token(&mut self, token_hash: &[u8; 32], expires: Timestamp) -> DbResult<bool> {
        const SQL: &str =
            "INSERT INTO exchanged_tokens (token_hash, expires_at) VALUES ($1, $2) ON CONFLICT DO NOTHING";
        let done = on_tx!(self, |c| sqlx::query(SQL)
            .bind(token_hash.as_slice())
            .bind(expires)
            .execute(c)
            .await
            .map(|done| done.rows_affected()))?;
        Ok(done == 1)
    }

    /// Ties a token to the publisher it was minted for, with which it ends.
    pub async fn tie_token_to_publisher(&mut self, token: TokenId, publisher: TrustedPublisherId) -> DbResult<()> {
        const SQL: &str = "UPDATE tokens SET trusted_publisher_id = $2 WHERE id = $1";
        on_tx!(self, |c| sqlx::query(SQL).bind(token).bind(publisher).execute(c).await.map(drop))?;
        Ok(())
    }

    /// Forgets up to `limit` exchanged tokens that expired before `before`.
    pub async fn delete_exchanged_tokens(&mut self, before: Timestamp, limit: i64) -> DbResult<u64> {
        const SQL: &str = "DELETE FROM exchanged_tokens WHERE token_hash IN \
             (SELECT token_hash FROM exchanged_tokens WHERE expires_at < $1 LIMIT $2)";
        self.up_to(limit, before, SQL).await
    }
}

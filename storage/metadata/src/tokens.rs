//! API tokens: stored as hashes, looked up in one indexed query together with their account.

use publaryn_core::{
    Ecosystem, OrgId, OrgRole, PackageId, ReleaseId, RepositoryId, ScopeSet, Timestamp, TokenId, TokenKind,
    TrustedPublisherId, UserId, principal::Binding,
};
use sqlx::FromRow;

use crate::{Db, DbError, DbResult, Sql, Tx, users::UserRow};

/// A token, without its hash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenRow {
    pub id: TokenId,
    pub kind: TokenKind,
    pub name: String,
    pub last_four: String,
    pub scopes: ScopeSet,
    pub user_id: Option<UserId>,
    pub org_id: Option<OrgId>,
    pub role: Option<OrgRole>,
    pub repository_id: Option<RepositoryId>,
    pub package_id: Option<PackageId>,
    pub expires_at: Option<Timestamp>,
    pub last_used_at: Option<Timestamp>,
    /// A `publish` token dies with its first successful publication.
    pub used_up_at: Option<Timestamp>,
    pub revoked_at: Option<Timestamp>,
    pub created_at: Timestamp,
}

impl TokenRow {
    pub fn is_expired(&self, now: Timestamp) -> bool {
        self.expires_at.is_some_and(|at| at <= now)
    }
    pub fn is_revoked(&self) -> bool {
        self.revoked_at.is_some() || self.used_up_at.is_some()
    }
    pub fn binding(&self) -> Option<Binding> {
        match (self.package_id, self.repository_id) {
            (Some(id), _) => Some(Binding::Package(id)),
            (None, Some(id)) => Some(Binding::Repository(id)),
            (None, None) => None,
        }
    }
}

/// A token with the account behind it: what a request is authenticated from.
#[derive(Debug, Clone)]
pub struct TokenIdentity {
    pub token: TokenRow,
    /// `None` for tokens of an organization.
    pub user: Option<UserRow>,
    /// Of tokens from an exchange.
    pub trusted_publisher_id: Option<TrustedPublisherId>,
}

/// A token with the names of what it is bound to, for its owner's list.
#[derive(Debug, Clone)]
pub struct ListedToken {
    pub token: TokenRow,
    pub org_slug: Option<String>,
    pub repository_slug: Option<String>,
    pub package: Option<(Ecosystem, String)>,
}

#[derive(FromRow)]
struct StoredToken {
    t_id: TokenId,
    t_kind: TokenKind,
    t_name: String,
    t_last_four: String,
    t_scopes: String,
    t_user_id: Option<UserId>,
    t_org_id: Option<OrgId>,
    t_role: Option<OrgRole>,
    t_repository_id: Option<RepositoryId>,
    t_package_id: Option<PackageId>,
    t_expires_at: Option<Timestamp>,
    t_last_used_at: Option<Timestamp>,
    t_used_up_at: Option<Timestamp>,
    t_revoked_at: Option<Timestamp>,
    t_created_at: Timestamp,
}

impl StoredToken {
    fn into_row(self) -> DbResult<TokenRow> {
        let scopes = serde_json::from_str(&self.t_scopes)
            .map_err(|source| DbError::Corrupt { what: "scope list of a token", source })?;
        Ok(TokenRow {
            id: self.t_id,
            kind: self.t_kind,
            name: self.t_name,
            last_four: self.t_last_four,
            scopes,
            user_id: self.t_user_id,
            org_id: self.t_org_id,
            role: self.t_role,
            repository_id: self.t_repository_id,
            package_id: self.t_package_id,
            expires_at: self.t_expires_at,
            last_used_at: self.t_last_used_at,
            used_up_at: self.t_used_up_at,
            revoked_at: self.t_revoked_at,
            created_at: self.t_created_at,
        })
    }
}

/// The account columns of an outer join: all set or none.
#[derive(FromRow)]
struct MaybeUser {
    u_id: Option<UserId>,
    u_number: Option<i64>,
    u_username: Option<String>,
    u_email: Option<String>,
    u_display_name: Option<String>,
    u_bio: Option<String>,
    u_website: Option<String>,
    u_avatar_url: Option<String>,
    u_is_admin: Option<bool>,
    u_is_active: Option<bool>,
    u_email_verified: Option<bool>,
    u_totp_enabled_at: Option<Timestamp>,
    u_last_login_at: Option<Timestamp>,
    u_created_at: Option<Timestamp>,
    u_updated_at: Option<Timestamp>,
}

impl MaybeUser {
    fn into_row(self) -> Option<UserRow> {
        Some(UserRow {
            id: self.u_id?,
            number: self.u_number?,
            username: self.u_username?,
            email: self.u_email?,
            display_name: self.u_display_name,
            bio: self.u_bio,
            website: self.u_website,
            avatar_url: self.u_avatar_url,
            is_admin: self.u_is_admin?,
            is_active: self.u_is_active?,
            email_verified: self.u_email_verified?,
            totp_enabled_at: self.u_totp_enabled_at,
            last_login_at: self.u_last_login_at,
            created_at: self.u_created_at?,
            updated_at: self.u_updated_at?,
        })
    }
}

#[derive(FromRow)]
struct IdentityRow {
    #[sqlx(flatten)]
    token: StoredToken,
    #[sqlx(flatten)]
    user: MaybeUser,
    trusted_publisher_id: Option<TrustedPublisherId>,
}

impl IdentityRow {
    fn into_identity(self) -> DbResult<TokenIdentity> {
        let Self { token, user, trusted_publisher_id } = self;
        Ok(TokenIdentity { token: token.into_row()?, user: user.into_row(), trusted_publisher_id })
    }
}

#[derive(FromRow)]
struct ListRow {
    #[sqlx(flatten)]
    token: StoredToken,
    org_slug: Option<String>,
    repository_slug: Option<String>,
    package_ecosystem: Option<Ecosystem>,
    package_name: Option<String>,
}

impl ListRow {
    fn into_listed(self) -> DbResult<ListedToken> {
        Ok(ListedToken {
            token: self.token.into_row()?,
            org_slug: self.org_slug,
            repository_slug: self.repository_slug,
            package: self.package_ecosystem.zip(self.package_name),
        })
    }
}

macro_rules! token_columns {
    ($more:literal, $rest:literal) => {
        concat!(
            "SELECT t.id AS t_id, t.kind AS t_kind, t.name AS t_name, t.last_four AS t_last_four, ",
            "t.scopes AS t_scopes, t.user_id AS t_user_id, t.org_id AS t_org_id, t.role AS t_role, ",
            "t.repository_id AS t_repository_id, t.package_id AS t_package_id, t.expires_at AS t_expires_at, ",
            "t.last_used_at AS t_last_used_at, t.used_up_at AS t_used_up_at, t.revoked_at AS t_revoked_at, ",
            "t.created_at AS t_created_at",
            $more,
            " FROM tokens t ",
            $rest
        )
    };
}

macro_rules! identity_columns {
    ($rest:literal) => {
        concat!(
            token_columns!(
                ", t.trusted_publisher_id, u.id AS u_id, u.number AS u_number, u.username AS u_username, u.email AS u_email, \
                 u.display_name AS u_display_name, u.bio AS u_bio, u.website AS u_website, u.avatar_url AS u_avatar_url, \
                 u.is_admin AS u_is_admin, u.is_active AS u_is_active, u.email_verified AS u_email_verified, \
                 u.totp_enabled_at AS u_totp_enabled_at, u.last_login_at AS u_last_login_at, \
                 u.created_at AS u_created_at, u.updated_at AS u_updated_at",
                "LEFT JOIN users u ON u.id = t.user_id "
            ),
            $rest
        )
    };
}

macro_rules! listed_columns {
    ($rest:literal) => {
        concat!(
            token_columns!(
                ", o.slug AS org_slug, r.slug AS repository_slug, p.ecosystem AS package_ecosystem, p.name AS package_name",
                "LEFT JOIN organizations o ON o.id = t.org_id LEFT JOIN repositories r ON r.id = t.repository_id \
                 LEFT JOIN packages p ON p.id = t.package_id "
            ),
            $rest
        )
    };
}

/// Which tokens of an account a list shows.
#[derive(Debug, Clone, Copy)]
pub struct TokenPage {
    pub include_expired: bool,
    pub limit: i64,
    pub offset: i64,
}

impl Db {
    /// The token and its account, for who proved to hold it before.
    pub async fn token_identity_by_id(&self, id: TokenId) -> DbResult<Option<TokenIdentity>> {
        const SQL: &str = identity_columns!("WHERE t.id = $1");
        let row: Option<IdentityRow> = on_db!(self, |c| sqlx::query_as(SQL).bind(id).fetch_optional(c).await)?;
        row.map(IdentityRow::into_identity).transpose()
    }

    /// The token with this SHA-256 and its account, in one query.
    pub async fn token_identity(&self, hash: &[u8; 32]) -> DbResult<Option<TokenIdentity>> {
        const SQL: &str = identity_columns!("WHERE t.token_hash = $1");
        let row: Option<IdentityRow> =
            on_db!(self, |c| sqlx::query_as(SQL).bind(hash.as_slice()).fetch_optional(c).await)?;
        row.map(IdentityRow::into_identity).transpose()
    }

    pub async fn token(&self, id: TokenId) -> DbResult<Option<ListedToken>> {
        const SQL: &str = listed_columns!("WHERE t.id = $1");
        let row: Option<ListRow> = on_db!(self, |c| sqlx::query_as(SQL).bind(id).fetch_optional(c).await)?;
        row.map(ListRow::into_listed).transpose()
    }

    /// Tokens of an organization that were not revoked, newest first, and how many there are.
    pub async fn tokens_of_org(
        &self,
        org: OrgId,
        page: TokenPage,
        now: Timestamp,
    ) -> DbResult<(Vec<ListedToken>, i64)> {
        const LIST: &str = listed_columns!(
            "WHERE t.org_id = $1 AND t.revoked_at IS NULL AND ($2 OR t.expires_at IS NULL OR t.expires_at > $3) \
             ORDER BY t.created_at DESC, t.id DESC LIMIT $4 OFFSET $5"
        );
        const COUNT: &str = "SELECT CAST(COUNT(*) AS BIGINT) FROM tokens t \
             WHERE t.org_id = $1 AND t.revoked_at IS NULL AND ($2 OR t.expires_at IS NULL OR t.expires_at > $3)";
        let rows: Vec<ListRow> = on_db!(self, |c| sqlx::query_as(LIST)
            .bind(org)
            .bind(page.include_expired)
            .bind(now)
            .bind(page.limit)
            .bind(page.offset)
            .fetch_all(c)
            .await)?;
        let total = on_db!(self, |c| sqlx::query_scalar(COUNT)
            .bind(org)
            .bind(page.include_expired)
            .bind(now)
            .fetch_one(c)
            .await)?;
        Ok((rows.into_iter().map(ListRow::into_listed).collect::<DbResult<_>>()?, total))
    }

    /// Tokens of an account that were not revoked, newest first, and how many there are.
    pub async fn tokens_of_user(
        &self,
        user: UserId,
        page: TokenPage,
        now: Timestamp,
    ) -> DbResult<(Vec<ListedToken>, i64)> {
        const LIST: &str = listed_columns!(
            "WHERE t.user_id = $1 AND t.revoked_at IS NULL AND t.kind <> 'oidc_derived' \
             AND ($2 OR (t.used_up_at IS NULL AND (t.expires_at IS NULL OR t.expires_at > $3))) \
             ORDER BY t.created_at DESC, t.id DESC LIMIT $4 OFFSET $5"
        );
        const COUNT: &str = "SELECT CAST(COUNT(*) AS BIGINT) FROM tokens t \
             WHERE t.user_id = $1 AND t.revoked_at IS NULL AND t.kind <> 'oidc_derived' \
             AND ($2 OR (t.used_up_at IS NULL AND (t.expires_at IS NULL OR t.expires_at > $3)))";
        let rows: Vec<ListRow> = on_db!(self, |c| sqlx::query_as(LIST)
            .bind(user)
            .bind(page.include_expired)
            .bind(now)
            .bind(page.limit)
            .bind(page.offset)
            .fetch_all(c)
            .await)?;
        let total = on_db!(self, |c| sqlx::query_scalar(COUNT)
            .bind(user)
            .bind(page.include_expired)
            .bind(now)
            .fetch_one(c)
            .await)?;
        Ok((rows.into_iter().map(ListRow::into_listed).collect::<DbResult<_>>()?, total))
    }
}

impl Tx {
    pub async fn insert_token(&mut self, new: &TokenRow, hash: &[u8; 32]) -> DbResult<()> {
        const SQL: &str = "INSERT INTO tokens (id, kind, name, token_hash, last_four, scopes, user_id, org_id, role, \
             repository_id, package_id, expires_at, created_at) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)";
        let scopes = serde_json::json!(new.scopes.words()).to_string();
        on_tx!(self, |c| sqlx::query(SQL)
            .bind(new.id)
            .bind(new.kind)
            .bind(new.name.as_str())
            .bind(hash.as_slice())
            .bind(new.last_four.as_str())
            .bind(scopes)
            .bind(new.user_id)
            .bind(new.org_id)
            .bind(new.role)
            .bind(new.repository_id)
            .bind(new.package_id)
            .bind(new.expires_at)
            .bind(new.created_at)
            .execute(c)
            .await
            .map(drop))?;
        Ok(())
    }

    /// Revokes a token of this account; `false` when there is none that is not revoked yet.
    pub async fn revoke_token(&mut self, id: TokenId, user: UserId, now: Timestamp) -> DbResult<bool> {
        const SQL: &str = "UPDATE tokens SET revoked_at = $3 WHERE id = $1 AND user_id = $2 AND revoked_at IS NULL";
        let rows = on_tx!(self, |c| sqlx::query(SQL)
            .bind(id)
            .bind(user)
            .bind(now)
            .execute(c)
            .await
            .map(|done| done.rows_affected()))?;
        self.notice().credentials |= rows > 0;
        Ok(rows > 0)
    }

    /// Revokes a token by whoever holds it, of whatever kind.
    pub async fn revoke_own_token(&mut self, id: TokenId, now: Timestamp) -> DbResult<bool> {
        const SQL: &str = "UPDATE tokens SET revoked_at = $2 WHERE id = $1 AND revoked_at IS NULL";
        let rows =
            on_tx!(self, |c| sqlx::query(SQL).bind(id).bind(now).execute(c).await.map(|done| done.rows_affected()))?;
        self.notice().credentials |= rows > 0;
        Ok(rows > 0)
    }

    /// Uses a `publish` token for a file of a release: it is good for further files of that release only.
    ///
    /// `false` when it was used for something else before: then the file must not be stored.
    pub async fn use_token_for(&mut self, id: TokenId, release: ReleaseId) -> DbResult<bool> {
        const SQL: &str = "UPDATE tokens SET used_for = $2 WHERE id = $1 AND kind = 'publish' AND used_up_at IS NULL \
             AND (used_for IS NULL OR used_for = $2)";
        let rows = on_tx!(self, |c| sqlx::query(SQL)
            .bind(id)
            .bind(release)
            .execute(c)
            .await
            .map(|done| done.rows_affected()))?;
        Ok(rows > 0)
    }

    /// Uses up a `publish` token with the publication of this transaction; other kinds are left alone.
    ///
    /// `false` when a `publish` token was used before: then the publication must not happen.
    pub async fn use_up_token(&mut self, id: TokenId, now: Timestamp) -> DbResult<bool> {
        const USE: &str = "UPDATE tokens SET used_up_at = $2 WHERE id = $1 AND kind = 'publish' AND used_up_at IS NULL \
             AND used_for IS NULL";
        const SPENT: &str = "SELECT CAST(COUNT(*) AS BIGINT) FROM tokens WHERE id = $1 AND kind = 'publish'";
        let rows =
            on_tx!(self, |c| sqlx::query(USE).bind(id).bind(now).execute(c).await.map(|done| done.rows_affected()))?;
        if rows > 0 {
            self.notice().credentials = true;
            return Ok(true);
        }
        let publish_tokens: i64 = on_tx!(self, |c| sqlx::query_scalar(SPENT).bind(id).fetch_one(c).await)?;
        Ok(publish_tokens == 0)
    }

    /// Records that tokens were in use at `now`.
    pub async fn touch_tokens(&mut self, ids: &[TokenId], now: Timestamp) -> DbResult<()> {
        let sql = Sql {
            sqlite: "UPDATE tokens SET last_used_at = $1 WHERE (last_used_at IS NULL OR last_used_at < $1) AND id IN \
                 (SELECT unhex(value) FROM json_each($2))",
            postgres: "UPDATE tokens SET last_used_at = $1 WHERE (last_used_at IS NULL OR last_used_at < $1) \
                 AND id = ANY(ARRAY(SELECT CAST(json_array_elements_text(CAST($2 AS json)) AS uuid)))",
        }
        .on(self.engine());
        let list = serde_json::json!(ids.iter().map(|id| id.0.simple().to_string()).collect::<Vec<_>>()).to_string();
        on_tx!(self, |c| sqlx::query(sql).bind(now).bind(list).execute(c).await.map(drop))?;
        Ok(())
    }

    /// Deletes up to `limit` tokens that expired, were revoked or were used up before `before`.
    pub async fn delete_ended_tokens(&mut self, before: Timestamp, limit: i64) -> DbResult<u64> {
        const SQL: &str = "DELETE FROM tokens WHERE id IN (SELECT id FROM tokens \
             WHERE expires_at < $1 OR revoked_at < $1 OR used_up_at < $1 LIMIT $2)";
        self.up_to(limit, before, SQL).await
    }
}

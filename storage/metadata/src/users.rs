//! Accounts: who there is, what they show, and the hash of their password.

use std::fmt;

use publaryn_core::{Timestamp, UserId, principal::UserIdentity};
use sqlx::FromRow;

use crate::{Db, DbResult, Engine, Tx};

/// An account, without anything secret.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct UserRow {
    pub id: UserId,
    /// Integer id within u32, as Cargo wants it.
    pub number: i64,
    pub username: String,
    pub email: String,
    pub display_name: Option<String>,
    pub bio: Option<String>,
    pub website: Option<String>,
    pub avatar_url: Option<String>,
    pub is_admin: bool,
    pub is_active: bool,
    pub email_verified: bool,
    /// Set while a second factor is switched on.
    pub totp_enabled_at: Option<Timestamp>,
    pub last_login_at: Option<Timestamp>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

impl UserRow {
    pub fn has_mfa(&self) -> bool {
        self.totp_enabled_at.is_some()
    }
    pub fn identity(&self) -> UserIdentity {
        UserIdentity {
            id: self.id,
            username: self.username.as_str().into(),
            is_admin: self.is_admin,
            has_mfa: self.has_mfa(),
        }
    }
}

/// A stored password hash; `Debug` does not show it.
#[derive(Clone, PartialEq, Eq, sqlx::Type)]
#[sqlx(transparent)]
pub struct StoredPassword(String);

impl StoredPassword {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for StoredPassword {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// Which accounts an administrator looks for.
#[derive(Debug, Clone, Default)]
pub struct UserFilter {
    /// Part of the user name or e-mail address.
    pub text: Option<String>,
    pub is_admin: Option<bool>,
    pub is_active: Option<bool>,
}

/// A pattern that finds the text anywhere, ignoring case; `!` escapes.
fn like(text: &str) -> String {
    let mut pattern = String::from("%");
    for c in text.to_lowercase().chars() {
        if matches!(c, '%' | '_' | '!') {
            pattern.push('!');
        }
        pattern.push(c);
    }
    pattern.push('%');
    pattern
}

/// An account with what a login is checked against.
#[derive(Debug, Clone, FromRow)]
pub struct LoginRow {
    #[sqlx(flatten)]
    pub user: UserRow,
    pub password_hash: StoredPassword,
}

/// An account about to be created.
#[derive(Debug, Clone)]
pub struct NewUser<'a> {
    pub id: UserId,
    pub username: &'a str,
    /// What must be unique of the user name.
    pub username_key: &'a str,
    pub email: &'a str,
    /// What must be unique of the address.
    pub email_key: &'a str,
    /// PHC string.
    pub password_hash: &'a str,
    pub is_admin: bool,
}

/// Whether an account could be created.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UserInserted {
    Yes,
    UsernameTaken,
    EmailTaken,
}

/// The parts of an account its owner describes it with.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Profile {
    pub display_name: Option<String>,
    pub bio: Option<String>,
    pub website: Option<String>,
    pub avatar_url: Option<String>,
}

macro_rules! user_columns {
    ($more:literal, $rest:literal) => {
        concat!(
            "SELECT id, number, username, email, display_name, bio, website, avatar_url, is_admin, is_active, ",
            "email_verified, totp_enabled_at, last_login_at, created_at, updated_at",
            $more,
            " FROM users ",
            $rest
        )
    };
}

impl Db {
    pub async fn user(&self, id: UserId) -> DbResult<Option<UserRow>> {
        const SQL: &str = user_columns!("", "WHERE id = $1");
        Ok(on_db!(self, |c| sqlx::query_as(SQL).bind(id).fetch_optional(c).await)?)
    }

    /// `key` is the lower-case user name.
    pub async fn user_by_name(&self, key: &str) -> DbResult<Option<UserRow>> {
        const SQL: &str = user_columns!("", "WHERE username_key = $1");
        Ok(on_db!(self, |c| sqlx::query_as(SQL).bind(key).fetch_optional(c).await)?)
    }

    /// `key` is the lower-case user name or e-mail address; no user name holds an `@`.
    pub async fn user_for_login(&self, key: &str) -> DbResult<Option<LoginRow>> {
        const SQL: &str = user_columns!(", password_hash", "WHERE username_key = $1 OR email_key = $1");
        Ok(on_db!(self, |c| sqlx::query_as(SQL).bind(key).fetch_optional(c).await)?)
    }

    pub async fn login_of(&self, id: UserId) -> DbResult<Option<LoginRow>> {
        const SQL: &str = user_columns!(", password_hash", "WHERE id = $1");
        Ok(on_db!(self, |c| sqlx::query_as(SQL).bind(id).fetch_optional(c).await)?)
    }

    /// A page of accounts by name, and how many there are.
    pub async fn users(&self, filter: &UserFilter, limit: i64, offset: i64) -> DbResult<(Vec<UserRow>, i64)> {
        macro_rules! matching {
            () => {
                "WHERE ($1 = '' OR username_key LIKE $1 ESCAPE '!' OR email_key LIKE $1 ESCAPE '!') \
                 AND ($2 < 0 OR ($2 > 0) = is_admin) AND ($3 < 0 OR ($3 > 0) = is_active) "
            };
        }
        const LIST: &str = concat!(
            "SELECT id, number, username, email, display_name, bio, website, avatar_url, is_admin, is_active, ",
            "email_verified, totp_enabled_at, last_login_at, created_at, updated_at FROM users ",
            matching!(),
            "ORDER BY username_key LIMIT $4 OFFSET $5"
        );
        const COUNT: &str = concat!("SELECT CAST(COUNT(*) AS BIGINT) FROM users ", matching!());
        let pattern = filter.text.as_deref().map_or_else(String::new, like);
        let flag = |flag: Option<bool>| flag.map_or(-1_i64, i64::from);
        let (admin, active) = (flag(filter.is_admin), flag(filter.is_active));
        let rows = on_db!(self, |c| sqlx::query_as(LIST)
            .bind(pattern.as_str())
            .bind(admin)
            .bind(active)
            .bind(limit)
            .bind(offset)
            .fetch_all(c)
            .await)?;
        let total = on_db!(self, |c| sqlx::query_scalar(COUNT)
            .bind(pattern.as_str())
            .bind(admin)
            .bind(active)
            .fetch_one(c)
            .await)?;
        Ok((rows, total))
    }

    pub async fn has_users(&self) -> DbResult<bool> {
        const SQL: &str = "SELECT CAST(COUNT(*) AS BIGINT) FROM (SELECT id FROM users LIMIT 1) AS some_user";
        let count: i64 = on_db!(self, |c| sqlx::query_scalar(SQL).fetch_one(c).await)?;
        Ok(count > 0)
    }
}

impl Tx {
    /// Waits until no other transaction is creating an account, so that numbers follow each other
    /// and "no account yet" stays true until the commit.
    pub async fn lock_user_creation(&mut self) -> DbResult<()> {
        // SQLite has one writer anyway. The key is arbitrary, but no other lock may use it.
        if self.engine() == Engine::Postgres {
            on_tx!(self, |c| sqlx::query("SELECT pg_advisory_xact_lock(72011)").execute(c).await.map(drop))?;
        }
        Ok(())
    }

    pub async fn has_users(&mut self) -> DbResult<bool> {
        const SQL: &str = "SELECT CAST(COUNT(*) AS BIGINT) FROM (SELECT id FROM users LIMIT 1) AS some_user";
        let count: i64 = on_tx!(self, |c| sqlx::query_scalar(SQL).fetch_one(c).await)?;
        Ok(count > 0)
    }

    pub async fn user(&mut self, id: UserId) -> DbResult<Option<UserRow>> {
        const SQL: &str = user_columns!("", "WHERE id = $1");
        Ok(on_tx!(self, |c| sqlx::query_as(SQL).bind(id).fetch_optional(c).await)?)
    }

    /// An account by lower-case name, locked until the end of the transaction.
    pub async fn lock_user_by_name(&mut self, key: &str) -> DbResult<Option<UserRow>> {
        let sql = crate::Sql {
            sqlite: user_columns!("", "WHERE username_key = $1"),
            postgres: user_columns!("", "WHERE username_key = $1 FOR UPDATE"),
        }
        .on(self.engine());
        Ok(on_tx!(self, |c| sqlx::query_as(sql).bind(key).fetch_optional(c).await)?)
    }

    /// An account, locked until the end of the transaction.
    pub async fn lock_user(&mut self, id: UserId) -> DbResult<Option<UserRow>> {
        let sql = crate::Sql {
            sqlite: user_columns!("", "WHERE id = $1"),
            postgres: user_columns!("", "WHERE id = $1 FOR UPDATE"),
        }
        .on(self.engine());
        Ok(on_tx!(self, |c| sqlx::query_as(sql).bind(id).fetch_optional(c).await)?)
    }

    /// [`Tx::lock_user`], with what a login is checked against.
    pub async fn lock_login(&mut self, id: UserId) -> DbResult<Option<LoginRow>> {
        let sql = crate::Sql {
            sqlite: user_columns!(", password_hash", "WHERE id = $1"),
            postgres: user_columns!(", password_hash", "WHERE id = $1 FOR UPDATE"),
        }
        .on(self.engine());
        Ok(on_tx!(self, |c| sqlx::query_as(sql).bind(id).fetch_optional(c).await)?)
    }

    /// Creates an account; call [`Tx::lock_user_creation`] first.
    pub async fn insert_user(&mut self, new: &NewUser<'_>, now: Timestamp) -> DbResult<UserInserted> {
        const TAKEN: &str = "SELECT username_key FROM users WHERE username_key = $1 OR email_key = $2";
        const INSERT: &str = "INSERT INTO users (id, number, username, username_key, email, email_key, password_hash, \
             is_admin, created_at, updated_at) \
             SELECT $1, COALESCE(MAX(number), 0) + 1, $2, $3, $4, $5, $6, $7, $8, $8 FROM users";
        let taken: Vec<String> =
            on_tx!(self, |c| sqlx::query_scalar(TAKEN).bind(new.username_key).bind(new.email_key).fetch_all(c).await)?;
        if !taken.is_empty() {
            let by_name = taken.iter().any(|key| key == new.username_key);
            return Ok(if by_name { UserInserted::UsernameTaken } else { UserInserted::EmailTaken });
        }
        on_tx!(self, |c| sqlx::query(INSERT)
            .bind(new.id)
            .bind(new.username)
            .bind(new.username_key)
            .bind(new.email)
            .bind(new.email_key)
            .bind(new.password_hash)
            .bind(new.is_admin)
            .bind(now)
            .execute(c)
            .await
            .map(drop))?;
        Ok(UserInserted::Yes)
    }

    pub async fn update_profile(&mut self, id: UserId, profile: &Profile, now: Timestamp) -> DbResult<()> {
        const SQL: &str = "UPDATE users SET display_name = $2, bio = $3, website = $4, avatar_url = $5, \
             updated_at = $6 WHERE id = $1";
        on_tx!(self, |c| sqlx::query(SQL)
            .bind(id)
            .bind(profile.display_name.as_deref())
            .bind(profile.bio.as_deref())
            .bind(profile.website.as_deref())
            .bind(profile.avatar_url.as_deref())
            .bind(now)
            .execute(c)
            .await
            .map(drop))?;
        Ok(())
    }

    /// Sets a password; logins that proved the old one and wait for a code are void.
    pub async fn set_password(&mut self, id: UserId, password_hash: &str, now: Timestamp) -> DbResult<()> {
        const SQL: &str = "UPDATE users SET password_hash = $2, updated_at = $3 WHERE id = $1";
        const CHALLENGES: &str = "DELETE FROM mfa_challenges WHERE user_id = $1";
        on_tx!(self, |c| sqlx::query(SQL).bind(id).bind(password_hash).bind(now).execute(c).await.map(drop))?;
        on_tx!(self, |c| sqlx::query(CHALLENGES).bind(id).execute(c).await.map(drop))?;
        self.notice().credentials = true;
        Ok(())
    }

    /// Stores the same password hashed at another cost, unless it was changed meanwhile.
    pub async fn rehash_password(&mut self, id: UserId, old: &StoredPassword, new: &str) -> DbResult<()> {
        const SQL: &str = "UPDATE users SET password_hash = $3 WHERE id = $1 AND password_hash = $2";
        on_tx!(self, |c| sqlx::query(SQL).bind(id).bind(old.as_str()).bind(new).execute(c).await.map(drop))?;
        Ok(())
    }

    /// Switches the second factor off and forgets its secret.
    pub async fn clear_mfa(&mut self, id: UserId, now: Timestamp) -> DbResult<()> {
        const SQL: &str = "UPDATE users SET totp_secret = NULL, totp_enabled_at = NULL, totp_last_step = NULL, \
             updated_at = $2 WHERE id = $1";
        const CODES: &str = "DELETE FROM recovery_codes WHERE user_id = $1";
        on_tx!(self, |c| sqlx::query(SQL).bind(id).bind(now).execute(c).await.map(drop))?;
        on_tx!(self, |c| sqlx::query(CODES).bind(id).execute(c).await.map(drop))?;
        self.notice().credentials = true;
        Ok(())
    }

    /// Secret and last accepted step of an account's second factor; no other transaction accepts a code
    /// of it before this one ends.
    pub async fn lock_totp(&mut self, id: UserId) -> DbResult<Option<(String, Option<i64>)>> {
        let sql = crate::Sql {
            sqlite: "SELECT totp_secret, totp_last_step FROM users \
                     WHERE id = $1 AND totp_enabled_at IS NOT NULL AND totp_secret IS NOT NULL",
            postgres: "SELECT totp_secret, totp_last_step FROM users \
                       WHERE id = $1 AND totp_enabled_at IS NOT NULL AND totp_secret IS NOT NULL FOR UPDATE",
        }
        .on(self.engine());
        Ok(on_tx!(self, |c| sqlx::query_as(sql).bind(id).fetch_optional(c).await)?)
    }

    /// Codes of this step and earlier ones are not accepted again.
    pub async fn set_totp_step(&mut self, id: UserId, step: i64) -> DbResult<()> {
        const SQL: &str = "UPDATE users SET totp_last_step = $2 WHERE id = $1";
        on_tx!(self, |c| sqlx::query(SQL).bind(id).bind(step).execute(c).await.map(drop))?;
        Ok(())
    }

    pub async fn set_admin(&mut self, id: UserId, is_admin: bool, now: Timestamp) -> DbResult<()> {
        const SQL: &str = "UPDATE users SET is_admin = $2, updated_at = $3 WHERE id = $1";
        on_tx!(self, |c| sqlx::query(SQL).bind(id).bind(is_admin).bind(now).execute(c).await.map(drop))?;
        self.notice().credentials = true;
        Ok(())
    }

    pub async fn set_active(&mut self, id: UserId, is_active: bool, now: Timestamp) -> DbResult<()> {
        const SQL: &str = "UPDATE users SET is_active = $2, updated_at = $3 WHERE id = $1";
        on_tx!(self, |c| sqlx::query(SQL).bind(id).bind(is_active).bind(now).execute(c).await.map(drop))?;
        self.notice().credentials = true;
        Ok(())
    }

    /// How many accounts could still administer the server; locks them against each other's change.
    pub async fn active_admins(&mut self) -> DbResult<Vec<UserId>> {
        let sql = crate::Sql {
            sqlite: "SELECT id FROM users WHERE is_admin AND is_active ORDER BY id",
            postgres: "SELECT id FROM users WHERE is_admin AND is_active ORDER BY id FOR UPDATE",
        }
        .on(self.engine());
        Ok(on_tx!(self, |c| sqlx::query_scalar(sql).fetch_all(c).await)?)
    }

    pub async fn record_login(&mut self, id: UserId, now: Timestamp) -> DbResult<()> {
        const SQL: &str = "UPDATE users SET last_login_at = $2 WHERE id = $1";
        on_tx!(self, |c| sqlx::query(SQL).bind(id).bind(now).execute(c).await.map(drop))?;
        Ok(())
    }
}

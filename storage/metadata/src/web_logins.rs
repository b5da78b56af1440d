//! Logins that a command-line client waits for while a person confirms them in a browser.

use publaryn_core::{Timestamp, UserId};

use crate::{Db, DbResult, Tx};

/// Where a pending login stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WebLogin {
    /// Unknown, expired, or already taken.
    Gone,
    Waiting,
    /// Confirmed by this user; taking it ended it.
    Confirmed(UserId),
}

impl Db {
    /// Whether somebody still waits for the login of that hash.
    pub async fn web_login_waits(&self, id_hash: &[u8; 32], now: Timestamp) -> DbResult<bool> {
        const SQL: &str = "SELECT CAST(COUNT(*) AS BIGINT) FROM web_logins \
             WHERE id_hash = $1 AND user_id IS NULL AND expires_at > $2";
        let count: i64 = on_db!(self, |c| sqlx::query_scalar(SQL).bind(&id_hash[..]).bind(now).fetch_one(c).await)?;
        Ok(count > 0)
    }
}

impl Tx {
    /// Starts a login; expired ones are left to `cleanup_expired_tokens`.
    pub async fn insert_web_login(&mut self, id_hash: &[u8; 32], now: Timestamp, expires: Timestamp) -> DbResult<()> {
        const INSERT: &str = "INSERT INTO web_logins (id_hash, expires_at, created_at) VALUES ($1, $2, $3)";
        on_tx!(self, |c| sqlx::query(INSERT).bind(&id_hash[..]).bind(expires).bind(now).execute(c).await.map(drop))?;
        Ok(())
    }

    /// Forgets logins that nobody confirmed or took in time.
    pub async fn delete_expired_web_logins(&mut self, now: Timestamp) -> DbResult<u64> {
        const SQL: &str = "DELETE FROM web_logins WHERE expires_at <= $1";
        Ok(on_tx!(self, |c| sqlx::query(SQL).bind(now).execute(c).await.map(|done| done.rows_affected()))?)
    }

    /// Confirms a waiting login; `false` when nobody waits for it any more.
    pub async fn confirm_web_login(&mut self, id_hash: &[u8; 32], user: UserId, now: Timestamp) -> DbResult<bool> {
        const SQL: &str = "UPDATE web_logins SET user_id = $2, approved_at = $3 \
             WHERE id_hash = $1 AND user_id IS NULL AND expires_at > $3";
        let done = on_tx!(self, |c| sqlx::query(SQL)
            .bind(&id_hash[..])
            .bind(user)
            .bind(now)
            .execute(c)
            .await
            .map(|done| done.rows_affected()))?;
        Ok(done == 1)
    }

    /// Takes a confirmed login, once.
    pub async fn take_web_login(&mut self, id_hash: &[u8; 32], now: Timestamp) -> DbResult<WebLogin> {
        const TAKE: &str = "DELETE FROM web_logins WHERE id_hash = $1 AND user_id IS NOT NULL AND expires_at > $2 \
             RETURNING user_id";
        const WAITS: &str = "SELECT CAST(COUNT(*) AS BIGINT) FROM web_logins WHERE id_hash = $1 AND expires_at > $2";
        let user: Option<UserId> =
            on_tx!(self, |c| sqlx::query_scalar(TAKE).bind(&id_hash[..]).bind(now).fetch_optional(c).await)?;
        if let Some(user) = user {
            return Ok(WebLogin::Confirmed(user));
        }
        let count: i64 = on_tx!(self, |c| sqlx::query_scalar(WAITS).bind(&id_hash[..]).bind(now).fetch_one(c).await)?;
        Ok(if count > 0 { WebLogin::Waiting } else { WebLogin::Gone })
    }
}

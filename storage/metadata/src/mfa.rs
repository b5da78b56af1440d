//! Second factors: set-ups not confirmed yet, recovery codes, and logins that wait for a code.

use publaryn_core::{Timestamp, UserId};
use sqlx::FromRow;

use crate::{Db, DbError, DbResult, Sql, Tx};

/// A second factor its owner was shown and has not confirmed.
#[derive(Debug, Clone)]
pub struct MfaSetup {
    /// Base32.
    pub totp_secret: String,
    /// Keyed digests of the recovery codes that were shown.
    pub recovery_codes: Vec<[u8; 32]>,
    pub expires_at: Timestamp,
}

/// A login whose password was right.
#[derive(Debug, Clone, Copy, FromRow)]
pub struct MfaChallenge {
    pub user_id: UserId,
    /// Wrong codes so far.
    pub failures: i64,
    pub expires_at: Timestamp,
}

#[derive(FromRow)]
struct StoredSetup {
    totp_secret: String,
    recovery_codes: String,
    expires_at: Timestamp,
}

impl Db {
    /// How many recovery codes an account has left.
    pub async fn recovery_codes_left(&self, user: UserId) -> DbResult<i64> {
        const SQL: &str = "SELECT CAST(COUNT(*) AS BIGINT) FROM recovery_codes WHERE user_id = $1";
        Ok(on_db!(self, |c| sqlx::query_scalar(SQL).bind(user).fetch_one(c).await)?)
    }

    /// Whether an account has a set-up it can still confirm.
    pub async fn has_mfa_setup(&self, user: UserId, now: Timestamp) -> DbResult<bool> {
        const SQL: &str = "SELECT EXISTS (SELECT 1 FROM mfa_setups WHERE user_id = $1 AND expires_at > $2)";
        Ok(on_db!(self, |c| sqlx::query_scalar(SQL).bind(user).bind(now).fetch_one(c).await)?)
    }
}

impl Tx {
    /// Puts a set-up in the place of an earlier one.
    pub async fn put_mfa_setup(&mut self, user: UserId, setup: &MfaSetup, now: Timestamp) -> DbResult<()> {
        const SQL: &str = "INSERT INTO mfa_setups (user_id, totp_secret, recovery_codes, expires_at, created_at) \
             VALUES ($1, $2, $3, $4, $5) ON CONFLICT (user_id) DO UPDATE SET totp_secret = EXCLUDED.totp_secret, \
             recovery_codes = EXCLUDED.recovery_codes, expires_at = EXCLUDED.expires_at, created_at = EXCLUDED.created_at";
        let codes: Vec<Vec<u8>> = setup.recovery_codes.iter().map(|code| code.to_vec()).collect();
        on_tx!(self, |c| sqlx::query(SQL)
            .bind(user)
            .bind(setup.totp_secret.as_str())
            .bind(serde_json::json!(codes).to_string())
            .bind(setup.expires_at)
            .bind(now)
            .execute(c)
            .await
            .map(drop))?;
        Ok(())
    }

    pub async fn mfa_setup(&mut self, user: UserId) -> DbResult<Option<MfaSetup>> {
        const SQL: &str = "SELECT totp_secret, recovery_codes, expires_at FROM mfa_setups WHERE user_id = $1";
        let stored: Option<StoredSetup> = on_tx!(self, |c| sqlx::query_as(SQL).bind(user).fetch_optional(c).await)?;
        let Some(stored) = stored else { return Ok(None) };
        let recovery_codes = serde_json::from_str(&stored.recovery_codes)
            .map_err(|source| DbError::Corrupt { what: "recovery codes of a set-up", source })?;
        Ok(Some(MfaSetup { totp_secret: stored.totp_secret, recovery_codes, expires_at: stored.expires_at }))
    }

    /// Switches a second factor on, with its recovery codes; the set-up is used up.
    ///
    /// `step`: the step of the code that confirmed it, which is not accepted again.
    pub async fn enable_mfa(&mut self, user: UserId, setup: &MfaSetup, step: i64, now: Timestamp) -> DbResult<()> {
        const ENABLE: &str = "UPDATE users SET totp_secret = $2, totp_enabled_at = $3, totp_last_step = $4, \
             updated_at = $3 WHERE id = $1";
        const USED: &str = "DELETE FROM mfa_setups WHERE user_id = $1";
        on_tx!(self, |c| sqlx::query(ENABLE)
            .bind(user)
            .bind(setup.totp_secret.as_str())
            .bind(now)
            .bind(step)
            .execute(c)
            .await
            .map(drop))?;
        on_tx!(self, |c| sqlx::query(USED).bind(user).execute(c).await.map(drop))?;
        self.replace_recovery_codes(user, &setup.recovery_codes, now).await?;
        self.notice().credentials = true;
        Ok(())
    }

    /// The account's codes are these from now on.
    pub async fn replace_recovery_codes(&mut self, user: UserId, codes: &[[u8; 32]], now: Timestamp) -> DbResult<()> {
        const DELETE: &str = "DELETE FROM recovery_codes WHERE user_id = $1";
        const INSERT: Sql = Sql {
            sqlite: "INSERT INTO recovery_codes (user_id, code_hash, created_at) \
                     SELECT $1, unhex(value), $2 FROM json_each($3)",
            postgres: "INSERT INTO recovery_codes (user_id, code_hash, created_at) \
                       SELECT $1, decode(value, 'hex'), $2 FROM json_array_elements_text(CAST($3 AS json))",
        };
        on_tx!(self, |c| sqlx::query(DELETE).bind(user).execute(c).await.map(drop))?;
        let sql = INSERT.on(self.engine());
        let hex = |code: &[u8; 32]| code.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let list = serde_json::json!(codes.iter().map(hex).collect::<Vec<_>>()).to_string();
        on_tx!(self, |c| sqlx::query(sql).bind(user).bind(now).bind(list).execute(c).await.map(drop))?;
        Ok(())
    }

    /// Uses up the recovery code with one of these digests; `false` when the account has none of them.
    pub async fn take_recovery_code(&mut self, user: UserId, digests: &[[u8; 32]]) -> DbResult<bool> {
        const SQL: &str = "DELETE FROM recovery_codes WHERE user_id = $1 AND code_hash = $2";
        for digest in digests {
            let rows = on_tx!(self, |c| sqlx::query(SQL)
                .bind(user)
                .bind(digest.as_slice())
                .execute(c)
                .await
                .map(|done| done.rows_affected()))?;
            if rows > 0 {
                return Ok(true);
            }
        }
        Ok(false)
    }

    pub async fn insert_mfa_challenge(
        &mut self,
        id_hash: &[u8; 32],
        user: UserId,
        now: Timestamp,
        expires_at: Timestamp,
    ) -> DbResult<()> {
        const SQL: &str =
            "INSERT INTO mfa_challenges (id_hash, user_id, expires_at, created_at) VALUES ($1, $2, $3, $4)";
        on_tx!(self, |c| sqlx::query(SQL)
            .bind(id_hash.as_slice())
            .bind(user)
            .bind(expires_at)
            .bind(now)
            .execute(c)
            .await
            .map(drop))?;
        Ok(())
    }

    /// Whose challenge it is. The account is locked before the challenge, as whoever changes a password does.
    pub async fn mfa_challenge_user(&mut self, id_hash: &[u8; 32]) -> DbResult<Option<UserId>> {
        const SQL: &str = "SELECT user_id FROM mfa_challenges WHERE id_hash = $1";
        Ok(on_tx!(self, |c| sqlx::query_scalar(SQL).bind(id_hash.as_slice()).fetch_optional(c).await)?)
    }

    /// A challenge, locked against a second answer.
    pub async fn lock_mfa_challenge(&mut self, id_hash: &[u8; 32]) -> DbResult<Option<MfaChallenge>> {
        const SQL: Sql = Sql {
            sqlite: "SELECT user_id, failures, expires_at FROM mfa_challenges WHERE id_hash = $1",
            postgres: "SELECT user_id, failures, expires_at FROM mfa_challenges WHERE id_hash = $1 FOR UPDATE",
        };
        let sql = SQL.on(self.engine());
        Ok(on_tx!(self, |c| sqlx::query_as(sql).bind(id_hash.as_slice()).fetch_optional(c).await)?)
    }

    pub async fn count_mfa_failure(&mut self, id_hash: &[u8; 32]) -> DbResult<()> {
        const SQL: &str = "UPDATE mfa_challenges SET failures = failures + 1 WHERE id_hash = $1";
        on_tx!(self, |c| sqlx::query(SQL).bind(id_hash.as_slice()).execute(c).await.map(drop))?;
        Ok(())
    }

    pub async fn delete_mfa_challenge(&mut self, id_hash: &[u8; 32]) -> DbResult<()> {
        const SQL: &str = "DELETE FROM mfa_challenges WHERE id_hash = $1";
        on_tx!(self, |c| sqlx::query(SQL).bind(id_hash.as_slice()).execute(c).await.map(drop))?;
        Ok(())
    }

    /// Forgets challenges nobody answered and set-ups nobody confirmed in time.
    pub async fn delete_expired_mfa(&mut self, now: Timestamp) -> DbResult<u64> {
        const CHALLENGES: &str = "DELETE FROM mfa_challenges WHERE expires_at <= $1";
        const SETUPS: &str = "DELETE FROM mfa_setups WHERE expires_at <= $1";
        let mut gone = 0;
        for sql in [CHALLENGES, SETUPS] {
            gone += on_tx!(self, |c| sqlx::query(sql).bind(now).execute(c).await.map(|done| done.rows_affected()))?;
        }
        Ok(gone)
    }
}

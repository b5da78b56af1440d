//! Sessions: one per login, kept alive by rotating refresh tokens of which only hashes are stored.

use publaryn_core::{SessionId, Timestamp, UserId};
use sqlx::FromRow;

use crate::{Db, DbResult, Sql, Tx, users::UserRow};

/// One login.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct SessionRow {
    pub id: SessionId,
    pub user_id: UserId,
    pub has_mfa: bool,
    pub ip_address: Option<String>,
    pub user_agent: Option<String>,
    pub created_at: Timestamp,
    pub last_seen_at: Timestamp,
    /// Moves on with every refresh.
    pub expires_at: Timestamp,
    /// Never moves.
    pub absolute_expires_at: Timestamp,
    pub revoked_at: Option<Timestamp>,
}

impl SessionRow {
    pub fn is_live(&self, now: Timestamp) -> bool {
        self.revoked_at.is_none() && now < self.expires_at && now < self.absolute_expires_at
    }
}

/// A session with its account: what a request is authenticated from.
#[derive(Debug, Clone)]
pub struct SessionIdentity {
    pub session: SessionRow,
    pub user: UserRow,
}

/// A session as a refresh sees it, locked until the end of the transaction.
#[derive(Debug, Clone)]
pub struct RefreshState {
    pub session: SessionRow,
    pub user: UserRow,
    /// SHA-256 of the token that is good now.
    pub refresh_hash: [u8; 32],
    /// SHA-256 of the one it replaced at `rotated_at`.
    pub previous: Option<([u8; 32], Timestamp)>,
}

#[derive(FromRow)]
struct RefreshRow {
    #[sqlx(flatten)]
    session: SessionRow,
    refresh_hash: Vec<u8>,
    previous_refresh_hash: Option<Vec<u8>>,
    rotated_at: Option<Timestamp>,
}

macro_rules! session_columns {
    ($more:literal, $rest:literal) => {
        concat!(
            "SELECT id, user_id, has_mfa, ip_address, user_agent, created_at, last_seen_at, expires_at, ",
            "absolute_expires_at, revoked_at",
            $more,
            " FROM sessions ",
            $rest
        )
    };
}

/// A session's own columns under aliases, so that it can be joined with its account.
#[derive(FromRow)]
struct JoinedRow {
    s_id: SessionId,
    s_has_mfa: bool,
    s_ip_address: Option<String>,
    s_user_agent: Option<String>,
    s_created_at: Timestamp,
    s_last_seen_at: Timestamp,
    s_expires_at: Timestamp,
    s_absolute_expires_at: Timestamp,
    s_revoked_at: Option<Timestamp>,
    #[sqlx(flatten)]
    user: UserRow,
}

impl Db {
    /// A session and its account, in one query.
    pub async fn session_identity(&self, id: SessionId) -> DbResult<Option<SessionIdentity>> {
        const SQL: &str = "SELECT s.id AS s_id, s.has_mfa AS s_has_mfa, s.ip_address AS s_ip_address, \
             s.user_agent AS s_user_agent, s.created_at AS s_created_at, s.last_seen_at AS s_last_seen_at, \
             s.expires_at AS s_expires_at, s.absolute_expires_at AS s_absolute_expires_at, \
             s.revoked_at AS s_revoked_at, u.id, u.number, u.username, u.email, u.display_name, u.bio, u.website, \
             u.avatar_url, u.is_admin, u.is_active, u.email_verified, u.totp_enabled_at, u.last_login_at, \
             u.created_at, u.updated_at FROM sessions s JOIN users u ON u.id = s.user_id WHERE s.id = $1";
        let row: Option<JoinedRow> = on_db!(self, |c| sqlx::query_as(SQL).bind(id).fetch_optional(c).await)?;
        Ok(row.map(|row| SessionIdentity {
            session: SessionRow {
                id: row.s_id,
                user_id: row.user.id,
                has_mfa: row.s_has_mfa,
                ip_address: row.s_ip_address,
                user_agent: row.s_user_agent,
                created_at: row.s_created_at,
                last_seen_at: row.s_last_seen_at,
                expires_at: row.s_expires_at,
                absolute_expires_at: row.s_absolute_expires_at,
                revoked_at: row.s_revoked_at,
            },
            user: row.user,
        }))
    }

    /// Live sessions of an account, newest first, and how many there are.
    pub async fn live_sessions(
        &self,
        user: UserId,
        now: Timestamp,
        limit: i64,
        offset: i64,
    ) -> DbResult<(Vec<SessionRow>, i64)> {
        const LIST: &str = session_columns!(
            "",
            "WHERE user_id = $1 AND revoked_at IS NULL AND expires_at > $2 ORDER BY created_at DESC, id DESC LIMIT $3 OFFSET $4"
        );
        const COUNT: &str = "SELECT CAST(COUNT(*) AS BIGINT) FROM sessions \
             WHERE user_id = $1 AND revoked_at IS NULL AND expires_at > $2";
        let rows =
            on_db!(self, |c| sqlx::query_as(LIST).bind(user).bind(now).bind(limit).bind(offset).fetch_all(c).await)?;
        let total = on_db!(self, |c| sqlx::query_scalar(COUNT).bind(user).bind(now).fetch_one(c).await)?;
        Ok((rows, total))
    }
}

impl Tx {
    pub async fn insert_session(&mut self, new: &SessionRow, refresh_hash: &[u8; 32]) -> DbResult<()> {
        const SQL: &str = "INSERT INTO sessions (id, user_id, refresh_hash, has_mfa, ip_address, user_agent, \
             created_at, last_seen_at, expires_at, absolute_expires_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)";
        on_tx!(self, |c| sqlx::query(SQL)
            .bind(new.id)
            .bind(new.user_id)
            .bind(refresh_hash.as_slice())
            .bind(new.has_mfa)
            .bind(new.ip_address.as_deref())
            .bind(new.user_agent.as_deref())
            .bind(new.created_at)
            .bind(new.last_seen_at)
            .bind(new.expires_at)
            .bind(new.absolute_expires_at)
            .execute(c)
            .await
            .map(drop))?;
        Ok(())
    }

    /// A session and its account, locked against a second refresh.
    pub async fn lock_session_for_refresh(&mut self, id: SessionId) -> DbResult<Option<RefreshState>> {
        let sql = Sql {
            sqlite: session_columns!(", refresh_hash, previous_refresh_hash, rotated_at", "WHERE id = $1"),
            postgres: session_columns!(", refresh_hash, previous_refresh_hash, rotated_at", "WHERE id = $1 FOR UPDATE"),
        }
        .on(self.engine());
        let row: Option<RefreshRow> = on_tx!(self, |c| sqlx::query_as(sql).bind(id).fetch_optional(c).await)?;
        let Some(row) = row else { return Ok(None) };
        let Some(user) = self.user(row.session.user_id).await? else { return Ok(None) };
        let previous = row.previous_refresh_hash.as_deref().and_then(hash).zip(row.rotated_at);
        // A hash of another length was not written by us; then no token is good.
        Ok(hash(&row.refresh_hash).map(|refresh_hash| RefreshState {
            session: row.session,
            user,
            refresh_hash,
            previous,
        }))
    }

    /// Puts `next` in the place of the current refresh token.
    pub async fn rotate_session(
        &mut self,
        id: SessionId,
        next: &[u8; 32],
        now: Timestamp,
        expires_at: Timestamp,
    ) -> DbResult<()> {
        const SQL: &str = "UPDATE sessions SET previous_refresh_hash = refresh_hash, refresh_hash = $2, \
             rotated_at = $3, last_seen_at = $3, expires_at = $4 WHERE id = $1";
        on_tx!(self, |c| sqlx::query(SQL)
            .bind(id)
            .bind(next.as_slice())
            .bind(now)
            .bind(expires_at)
            .execute(c)
            .await
            .map(drop))?;
        Ok(())
    }

    /// Ends a live session of this account; `false` when there is none.
    pub async fn revoke_session(&mut self, id: SessionId, user: UserId, now: Timestamp) -> DbResult<bool> {
        const SQL: &str = "UPDATE sessions SET revoked_at = $3 \
             WHERE id = $1 AND user_id = $2 AND revoked_at IS NULL AND expires_at > $3";
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

    /// A session proved the second factor after its login.
    pub async fn mark_session_mfa(&mut self, id: SessionId) -> DbResult<()> {
        const SQL: &str = "UPDATE sessions SET has_mfa = TRUE WHERE id = $1";
        on_tx!(self, |c| sqlx::query(SQL).bind(id).execute(c).await.map(drop))?;
        Ok(())
    }

    /// Ends every live session of an account but one, and says how many.
    pub async fn revoke_sessions(&mut self, user: UserId, except: Option<SessionId>, now: Timestamp) -> DbResult<u64> {
        const SQL: &str = "UPDATE sessions SET revoked_at = $2 WHERE user_id = $1 AND revoked_at IS NULL AND id <> $3";
        // No session has the nil id.
        let spared = except.map_or(SessionId(uuid::Uuid::nil()), |id| id);
        let rows = on_tx!(self, |c| sqlx::query(SQL)
            .bind(user)
            .bind(now)
            .bind(spared)
            .execute(c)
            .await
            .map(|done| done.rows_affected()))?;
        self.notice().credentials |= rows > 0;
        Ok(rows)
    }

    /// Deletes up to `limit` sessions that ended before `before`.
    pub async fn delete_ended_sessions(&mut self, before: Timestamp, limit: i64) -> DbResult<u64> {
        const SQL: &str = "DELETE FROM sessions WHERE id IN (SELECT id FROM sessions \
             WHERE revoked_at < $1 OR expires_at < $1 OR absolute_expires_at < $1 LIMIT $2)";
        self.up_to(limit, before, SQL).await
    }

    /// Records that sessions were in use at `now`.
    pub async fn touch_sessions(&mut self, ids: &[SessionId], now: Timestamp) -> DbResult<()> {
        let sql = Sql {
            sqlite: "UPDATE sessions SET last_seen_at = $1 WHERE last_seen_at < $1 AND id IN \
                 (SELECT unhex(value) FROM json_each($2))",
            postgres: "UPDATE sessions SET last_seen_at = $1 WHERE last_seen_at < $1 AND id = ANY(ARRAY(\
                 SELECT CAST(json_array_elements_text(CAST($2 AS json)) AS uuid)))",
        }
        .on(self.engine());
        let list = serde_json::json!(ids.iter().map(|id| id.0.simple().to_string()).collect::<Vec<_>>()).to_string();
        on_tx!(self, |c| sqlx::query(sql).bind(now).bind(list).execute(c).await.map(drop))?;
        Ok(())
    }
}

fn hash(bytes: &[u8]) -> Option<[u8; 32]> {
    bytes.try_into().ok()
}

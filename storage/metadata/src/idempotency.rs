//! Keys of requests that may be sent again, and what they were answered (control-plane.md §1.5).

use publaryn_core::Timestamp;
use sqlx::FromRow;
use uuid::Uuid;

use crate::{DbResult, Tx};

/// A key as it is stored: only digests, since clients put names of things into keys.
#[derive(Debug, Clone, Copy)]
pub struct IdempotencyKey {
    /// Of actor, method, path and key.
    pub key_hash: [u8; 32],
    pub body_hash: [u8; 32],
}

/// The right to answer a key, once.
#[derive(Debug, Clone, Copy)]
pub struct ClaimedKey {
    key_hash: [u8; 32],
    attempt: Uuid,
}

/// What an earlier request was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptAnswer {
    pub status: i64,
    pub content_type: Option<String>,
    pub body: Vec<u8>,
}

/// How a key stands.
#[derive(Debug)]
pub enum Claim {
    Ours(ClaimedKey),
    Answered(KeptAnswer),
    Running,
    OtherBody,
}

#[derive(FromRow)]
struct Stored {
    body_hash: Vec<u8>,
    status: Option<i64>,
    content_type: Option<String>,
    body: Option<Vec<u8>>,
}

impl Tx {
    /// Claims a key that is new, was claimed before `kept_since`, or was claimed before `leased_since`
    /// and never answered.
    pub async fn claim_idempotency_key(
        &mut self,
        key: &IdempotencyKey,
        now: Timestamp,
        kept_since: Timestamp,
        leased_since: Timestamp,
    ) -> DbResult<Claim> {
        const CLAIM: &str = "INSERT INTO idempotency_keys (key_hash, body_hash, attempt, claimed_at) \
             VALUES ($1, $2, $3, $4) ON CONFLICT (key_hash) DO UPDATE SET body_hash = EXCLUDED.body_hash, \
             attempt = EXCLUDED.attempt, claimed_at = EXCLUDED.claimed_at, status = NULL, content_type = NULL, \
             body = NULL WHERE idempotency_keys.claimed_at < $5 \
             OR (idempotency_keys.status IS NULL AND idempotency_keys.claimed_at < $6)";
        const LOOK: &str = "SELECT body_hash, status, content_type, body FROM idempotency_keys WHERE key_hash = $1";
        let attempt = Uuid::now_v7();
        let rows = on_tx!(self, |c| sqlx::query(CLAIM)
            .bind(key.key_hash.as_slice())
            .bind(key.body_hash.as_slice())
            .bind(attempt)
            .bind(now)
            .bind(kept_since)
            .bind(leased_since)
            .execute(c)
            .await
            .map(|done| done.rows_affected()))?;
        if rows > 0 {
            return Ok(Claim::Ours(ClaimedKey { key_hash: key.key_hash, attempt }));
        }
        let stored: Option<Stored> =
            on_tx!(self, |c| sqlx::query_as(LOOK).bind(key.key_hash.as_slice()).fetch_optional(c).await)?;
        Ok(match stored {
            Some(stored) if stored.body_hash != key.body_hash => Claim::OtherBody,
            Some(Stored { status: Some(status), content_type, body, .. }) => {
                Claim::Answered(KeptAnswer { status, content_type, body: body.unwrap_or_default() })
            }
            // Freed a moment ago counts as running, too: whoever asks again then gets it.
            Some(Stored { status: None, .. }) | None => Claim::Running,
        })
    }

    /// Keeps the answer, unless the claim was taken over meanwhile.
    pub async fn keep_idempotent_answer(&mut self, claimed: ClaimedKey, answer: &KeptAnswer) -> DbResult<()> {
        const SQL: &str = "UPDATE idempotency_keys SET status = $3, content_type = $4, body = $5 \
             WHERE key_hash = $1 AND attempt = $2";
        on_tx!(self, |c| sqlx::query(SQL)
            .bind(claimed.key_hash.as_slice())
            .bind(claimed.attempt)
            .bind(answer.status)
            .bind(answer.content_type.as_deref())
            .bind(answer.body.as_slice())
            .execute(c)
            .await
            .map(drop))?;
        Ok(())
    }

    /// Gives a key back, as if it had never been used.
    pub async fn free_idempotency_key(&mut self, claimed: ClaimedKey) -> DbResult<()> {
        const SQL: &str = "DELETE FROM idempotency_keys WHERE key_hash = $1 AND attempt = $2";
        on_tx!(self, |c| sqlx::query(SQL)
            .bind(claimed.key_hash.as_slice())
            .bind(claimed.attempt)
            .execute(c)
            .await
            .map(drop))?;
        Ok(())
    }

    /// Deletes up to `limit` keys claimed before `before`.
    pub async fn delete_old_idempotency_keys(&mut self, before: Timestamp, limit: i64) -> DbResult<u64> {
        const SQL: &str = "DELETE FROM idempotency_keys WHERE key_hash IN (SELECT key_hash FROM idempotency_keys \
             WHERE claimed_at < $1 LIMIT $2)";
        self.up_to(limit, before, SQL).await
    }
}

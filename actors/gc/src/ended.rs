//! The `cleanup_expired_tokens` job: what has ended is forgotten after a while.

use std::time::Duration;

use async_trait::async_trait;
use publaryn_core::{Timestamp, job::JobKind};
use publaryn_jobs::{Handler, JobContext, JobError, Outcome};
use publaryn_metadata::{Db, DbResult};

/// Rows per transaction: short enough that nobody waits for it.
const BATCH: i64 = 1_000;

/// A day, after which a key may mean another request (control-plane.md §1.5).
const IDEMPOTENCY_KEYS_LIVE: Duration = Duration::from_secs(24 * 3600);

/// Replicas may disagree on the time by this much, and an exchanged token must not come back.
const EXCHANGED_TOKENS_STAY: Duration = Duration::from_secs(300);

/// Deletes tokens and sessions that ended `keep` ago, so that their owners still see for a while what
/// there was; browser logins, second factors and exchanged tokens that are over; and idempotency keys of
/// yesterday. Nothing here is still accepted anywhere.
pub struct CleanupExpiredTokens {
    pub db: Db,
    /// `retention.sessions_days`.
    pub keep: Duration,
}

#[async_trait]
impl Handler for CleanupExpiredTokens {
    fn kind(&self) -> JobKind {
        JobKind::CleanupExpiredTokens
    }

    async fn run(&self, job: &JobContext) -> Result<Outcome, JobError> {
        let now = Timestamp::now();
        let mut forgotten = 0;
        loop {
            let (tokens, sessions) = self.forget(now).await.map_err(JobError::retry)?;
            forgotten += tokens + sessions;
            job.progress(forgotten, None).await?;
            if tokens.max(sessions) < BATCH.unsigned_abs() || job.should_stop() {
                return Ok(Outcome::Done);
            }
        }
    }
}

impl CleanupExpiredTokens {
    async fn forget(&self, now: Timestamp) -> DbResult<(u64, u64)> {
        let mut tx = self.db.begin().await?;
        let tokens = tx.delete_ended_tokens(now - self.keep, BATCH).await?;
        let sessions = tx.delete_ended_sessions(now - self.keep, BATCH).await?;
        tx.delete_expired_web_logins(now).await?;
        tx.delete_expired_mfa(now).await?;
        tx.delete_exchanged_tokens(now - EXCHANGED_TOKENS_STAY, BATCH).await?;
        tx.delete_old_idempotency_keys(now - IDEMPOTENCY_KEYS_LIVE, BATCH).await?;
        tx.commit().await?;
        Ok((tokens, sessions))
    }
}

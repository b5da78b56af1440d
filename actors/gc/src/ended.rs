//! The `cleanup_expired_tokens` job: what has ended is forgotten after a while.

use std::time::Duration;

use async_trait::async_trait;
use publaryn_core::{
    Timestamp,
    audit::{AuditAction, AuditEntry},
    job::JobKind,
};
use publaryn_jobs::{Handler, JobContext, JobError, Outcome};
use publaryn_metadata::{Db, DbResult};

/// Rows per transaction: short enough that nobody waits for it.
const BATCH: i64 = 1_000;

/// A day, after which a key may mean another request (control-plane.md §1.5).
const IDEMPOTENCY_KEYS_LIVE: Duration = Duration::from_secs(24 * 3600);

/// Replicas may disagree on the time by this much, and an exchanged token must not come back.
const EXCHANGED_TOKENS_STAY: Duration = Duration::from_secs(300);

/// Deletes tokens and sessions that ended `keep` ago, so that their owners still see for a while what
/// there was; browser logins, second factors and exchanged tokens that are over; idempotency keys of yesterday;
/// and entries of the audit log, where they are not kept for ever. Nothing here is still accepted anywhere.
pub struct CleanupExpiredTokens {
    pub db: Db,
    /// `retention.sessions_days`.
    pub keep: Duration,
    /// `retention.audit_days`; `None` keeps the audit log for ever.
    pub keep_audit: Option<Duration>,
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
            let entries = self.forget_audit(now).await.map_err(JobError::retry)?;
            forgotten += tokens + sessions + entries;
            job.progress(forgotten, None).await?;
            if tokens.max(sessions).max(entries) < BATCH.unsigned_abs() || job.should_stop() {
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

    /// What goes is told by an entry that stays.
    async fn forget_audit(&self, now: Timestamp) -> DbResult<u64> {
        let Some(keep) = self.keep_audit else { return Ok(0) };
        let kept_from = now - keep;
        let mut tx = self.db.begin().await?;
        let entries = tx.expire_audit(kept_from, BATCH).await?;
        if entries == 0 {
            tx.commit().await?;
        } else {
            let entry = AuditEntry::system(AuditAction::AuditExpire)
                .with("kept_from", kept_from.to_string())
                .with("entries", entries);
            tx.commit_audited(&entry, now).await?;
        }
        Ok(entries)
    }
}

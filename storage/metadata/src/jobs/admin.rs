//! What an operator may do to jobs. Each is one statement, fenced by the state it expects.

use publaryn_core::{
    JobId,
    job::{JobKind, JobState},
};
use sqlx::FromRow;

use crate::{DbResult, Sql, Tx};

/// What a cancellation led to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CancelOutcome {
    /// It was waiting and is dead now.
    Cancelled,
    /// It is running and was told to stop.
    Stopping,
    /// It had ended already.
    Finished,
    NotFound,
}

/// What was so before a retry, for the audit log.
#[derive(Debug, Clone, FromRow)]
pub struct Retried {
    pub id: JobId,
    pub kind: String,
    pub previous_state: JobState,
    pub previous_attempts: i64,
    pub last_error: Option<String>,
}

/// The assignments of a retry; `$if_key` is a further condition for taking the unique key.
macro_rules! retry_set {
    ($engine:ident, $if_key:literal) => {
        concat!(
            "UPDATE jobs SET previous_state = state, state = 'pending', ready = TRUE, attempts = 0, crashes = 0, ",
            "scheduled_at = ", dual!(@$engine NOW), ", rank = ", dual!(@$engine NOW), " + priority * 60000000, ",
            "key_slot = CASE WHEN ", $if_key, "NOT EXISTS (SELECT 1 FROM jobs o WHERE o.kind = jobs.kind ",
            "AND o.key_slot = jobs.unique_key AND o.id <> jobs.id) THEN unique_key END, ",
            "completed_at = NULL, dead_reason = NULL, cancel_requested = FALSE "
        )
    };
}

impl Tx {
    /// Makes a failed or dead job run again now, with all its attempts. `None` when it is neither.
    pub async fn retry_job(&mut self, id: JobId) -> DbResult<Option<Retried>> {
        const BEFORE: Sql = Sql {
            sqlite: "SELECT id, kind, state AS previous_state, attempts AS previous_attempts, last_error FROM jobs \
                     WHERE id = $1 AND state IN ('failed', 'dead')",
            postgres: "SELECT id, kind, state AS previous_state, attempts AS previous_attempts, last_error FROM jobs \
                       WHERE id = $1 AND state IN ('failed', 'dead') FOR UPDATE",
        };
        const RETRY: Sql = Sql {
            sqlite: concat!(retry_set!(sqlite, ""), "WHERE id = $1"),
            postgres: concat!(retry_set!(postgres, ""), "WHERE id = $1"),
        };
        let before = BEFORE.on(self.engine());
        let before: Option<Retried> = on_tx!(self, |c| sqlx::query_as(before).bind(id).fetch_optional(c).await)?;
        let Some(before) = before else { return Ok(None) };
        let retry = RETRY.on(self.engine());
        on_tx!(self, |c| sqlx::query(retry).bind(id).execute(c).await.map(drop))?;
        self.count_jobs(&[(&before.kind, before.previous_state, -1), (&before.kind, JobState::Pending, 1)]).await?;
        self.note_kind(&before.kind);
        Ok(Some(before))
    }

    /// Retries up to `limit` (≤ 10 000) failed or dead jobs, longest waiting first; returns how many.
    ///
    /// Of several jobs of one key only the first is given it; the others run after it.
    pub async fn retry_jobs(&mut self, state: JobState, kind: Option<JobKind>, limit: i64) -> DbResult<u64> {
        macro_rules! bulk {
            ($engine:ident, $lock:literal) => {
                concat!(
                    "WITH picked AS (SELECT id FROM jobs WHERE state = $1 AND state IN ('failed', 'dead') ",
                    "AND ($2 IS NULL OR kind = $2) ORDER BY scheduled_at, id LIMIT $3", $lock, "), ",
                    "ranked AS (SELECT j.id, ROW_NUMBER() OVER (PARTITION BY j.kind, j.unique_key ORDER BY j.id) AS nth ",
                    "FROM jobs j JOIN picked ON picked.id = j.id) ",
                    retry_set!($engine, "ranked.nth = 1 AND "), "FROM ranked WHERE jobs.id = ranked.id RETURNING jobs.kind"
                )
            };
        }
        const SQL: Sql = Sql { sqlite: bulk!(sqlite, ""), postgres: bulk!(postgres, " FOR UPDATE SKIP LOCKED") };
        let sql = SQL.on(self.engine());
        let kinds: Vec<String> = on_tx!(self, |c| sqlx::query_scalar(sql)
            .bind(state)
            .bind(kind.map(JobKind::as_str))
            .bind(limit.clamp(0, 10_000))
            .fetch_all(c)
            .await)?;
        let changes: Vec<_> =
            kinds.iter().flat_map(|kind| [(kind.as_str(), state, -1), (kind.as_str(), JobState::Pending, 1)]).collect();
        self.count_jobs(&changes).await?;
        for kind in &kinds {
            self.note_kind(kind);
        }
        Ok(kinds.len() as u64)
    }

    /// Cancels a job: a waiting one is dead at once, a running one is told to stop.
    pub async fn cancel_job(&mut self, id: JobId) -> DbResult<CancelOutcome> {
        const WAITING: Sql = dual!(
            "UPDATE jobs SET previous_state = state, state = 'dead', dead_reason = 'cancelled', ready = FALSE, "
            "key_slot = NULL, completed_at = " NOW " WHERE id = $1 AND state IN ('pending', 'failed') "
            "RETURNING kind, previous_state"
        );
        const RUNNING: &str = "UPDATE jobs SET cancel_requested = TRUE WHERE id = $1 AND state = 'running'";
        const EXISTS: &str = "SELECT EXISTS (SELECT 1 FROM jobs WHERE id = $1)";
        let sql = WAITING.on(self.engine());
        let waiting: Option<(String, JobState)> =
            on_tx!(self, |c| sqlx::query_as(sql).bind(id).fetch_optional(c).await)?;
        if let Some((kind, before)) = waiting {
            self.count_jobs(&[(&kind, before, -1), (&kind, JobState::Dead, 1)]).await?;
            self.note_kind(&kind);
            return Ok(CancelOutcome::Cancelled);
        }
        let told = on_tx!(self, |c| sqlx::query(RUNNING).bind(id).execute(c).await.map(|r| r.rows_affected()))?;
        if told > 0 {
            return Ok(CancelOutcome::Stopping);
        }
        let exists: bool = on_tx!(self, |c| sqlx::query_scalar(EXISTS).bind(id).fetch_one(c).await)?;
        Ok(if exists { CancelOutcome::Finished } else { CancelOutcome::NotFound })
    }
}

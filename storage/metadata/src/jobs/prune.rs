//! Forgetting what is finished, a batch at a time.

use std::time::Duration;

use publaryn_core::job::JobState;

use crate::{DbResult, Sql, Tx};

impl Tx {
    /// Deletes up to `limit` jobs that reached the terminal `state` longer than `older_than` ago.
    pub async fn prune_jobs(&mut self, state: JobState, older_than: Duration, limit: i64) -> DbResult<u64> {
        const SQL: Sql = dual!(
            "DELETE FROM jobs WHERE id IN (SELECT id FROM jobs WHERE state = $1 AND state IN ('completed', 'dead') "
            "AND completed_at < " NOW " - $2 ORDER BY completed_at LIMIT $3) RETURNING kind"
        );
        let micros = i64::try_from(older_than.as_micros()).unwrap_or(i64::MAX / 4);
        let sql = SQL.on(self.engine());
        let gone: Vec<String> =
            on_tx!(self, |c| sqlx::query_scalar(sql).bind(state).bind(micros).bind(limit).fetch_all(c).await)?;
        let changes: Vec<_> = gone.iter().map(|kind| (kind.as_str(), state, -1)).collect();
        self.count_jobs(&changes).await?;
        Ok(gone.len() as u64)
    }

    /// Deletes statistics older than an hour.
    pub async fn prune_job_stats(&mut self) -> DbResult<u64> {
        const SQL: Sql = dual!("DELETE FROM job_stats WHERE bucket < " NOW " / 1000000 - 3600");
        let sql = SQL.on(self.engine());
        Ok(on_tx!(self, |c| sqlx::query(sql).execute(c).await.map(|r| r.rows_affected()))?)
    }
}

//! How many jobs of each kind are in each state, without counting rows.

use std::collections::BTreeMap;

use publaryn_core::job::JobState;

use crate::{Db, DbResult, Tx, tx::Connection};

/// Jobs per (kind, state). Kinds are text: other versions may have kinds unknown here.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct JobCounts(BTreeMap<(String, JobState), i64>);

impl JobCounts {
    pub fn of(&self, kind: &str, state: JobState) -> i64 {
        self.0.get(&(kind.to_owned(), state)).copied().unwrap_or(0)
    }
    pub fn in_state(&self, state: JobState) -> i64 {
        self.0.iter().filter(|((_, s), _)| *s == state).map(|(_, n)| n).sum()
    }
    pub fn of_kind(&self, kind: &str) -> i64 {
        self.0.iter().filter(|((k, _), _)| k == kind).map(|(_, n)| n).sum()
    }
    pub fn total(&self) -> i64 {
        self.0.values().sum()
    }
    pub fn iter(&self) -> impl Iterator<Item = (&str, JobState, i64)> {
        self.0.iter().map(|((kind, state), n)| (kind.as_str(), *state, *n))
    }
}

impl Tx {
    /// Notes changes of the counters; folded later by [`Tx::fold_job_counts`].
    pub(crate) async fn count_jobs(&mut self, changes: &[(&str, JobState, i64)]) -> DbResult<()> {
        let mut sums: BTreeMap<(&str, JobState), i64> = BTreeMap::new();
        for (kind, state, n) in changes {
            *sums.entry((kind, *state)).or_default() += n;
        }
        sums.retain(|_, n| *n != 0);
        if sums.is_empty() {
            return Ok(());
        }
        const SQL: crate::Sql = crate::Sql {
            sqlite: "INSERT INTO job_deltas (kind, state, n) \
                     SELECT value ->> 0, value ->> 1, value ->> 2 FROM json_each($1)",
            postgres: "INSERT INTO job_deltas (kind, state, n) \
                       SELECT value ->> 0, value ->> 1, CAST(value ->> 2 AS BIGINT) FROM json_array_elements($1::json)",
        };
        let rows: Vec<_> = sums.iter().map(|((kind, state), n)| serde_json::json!([kind, state, n])).collect();
        let rows = serde_json::Value::Array(rows).to_string();
        let sql = SQL.on(self.engine());
        Ok(later!(self, sql, rows)?)
    }

    /// Folds up to some thousand noted changes into the counters; returns how many were folded.
    pub async fn fold_job_counts(&mut self) -> DbResult<u64> {
        match self.connection() {
            Connection::Postgres(tx) => {
                const SQL: &str = "WITH gone AS (DELETE FROM job_deltas WHERE id IN (SELECT id FROM job_deltas \
                    ORDER BY id LIMIT 5000 FOR UPDATE SKIP LOCKED) RETURNING kind, state, n), \
                    folded AS (INSERT INTO job_counts (kind, state, n) \
                    SELECT kind, state, CAST(SUM(n) AS BIGINT) FROM gone GROUP BY kind, state ORDER BY kind, state \
                    ON CONFLICT (kind, state) DO UPDATE SET n = job_counts.n + EXCLUDED.n) \
                    SELECT COUNT(*) FROM gone";
                let folded: i64 = sqlx::query_scalar(SQL).fetch_one(&mut ***tx).await?;
                Ok(folded.unsigned_abs())
            }
            Connection::Sqlite(tx) => {
                const LAST: &str = "SELECT MAX(id) FROM (SELECT id FROM job_deltas ORDER BY id LIMIT 5000)";
                const FOLD: &str = "INSERT INTO job_counts (kind, state, n) \
                    SELECT kind, state, SUM(n) FROM job_deltas WHERE id <= $1 GROUP BY kind, state \
                    ON CONFLICT (kind, state) DO UPDATE SET n = job_counts.n + EXCLUDED.n";
                let last: Option<i64> = sqlx::query_scalar(LAST).fetch_one(tx.connection()).await?;
                let Some(last) = last else { return Ok(0) };
                sqlx::query(FOLD).bind(last).execute(tx.connection()).await?;
                let gone = sqlx::query("DELETE FROM job_deltas WHERE id <= $1").bind(last);
                Ok(gone.execute(tx.connection()).await?.rows_affected())
            }
        }
    }
}

impl Db {
    pub async fn job_counts(&self) -> DbResult<JobCounts> {
        const SQL: &str = "SELECT kind, state, CAST(SUM(n) AS BIGINT) FROM (SELECT kind, state, n FROM job_counts \
                           UNION ALL SELECT kind, state, n FROM job_deltas) AS all_changes GROUP BY kind, state";
        let rows: Vec<(String, JobState, i64)> = on_db!(self, |c| sqlx::query_as(SQL).fetch_all(c).await)?;
        Ok(JobCounts(rows.into_iter().map(|(kind, state, n)| ((kind, state), n.max(0))).collect()))
    }

    /// True when the table was never used: what a benchmark demands.
    pub async fn has_no_jobs(&self) -> DbResult<bool> {
        const SQL: &str = "SELECT NOT EXISTS (SELECT 1 FROM jobs)";
        Ok(on_db!(self, |c| sqlx::query_scalar(SQL).fetch_one(c).await)?)
    }
}

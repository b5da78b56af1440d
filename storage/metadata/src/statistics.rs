//! The instance in numbers (control-plane.md §12).

use publaryn_core::{PackageId, job::JobState};
use uuid::Uuid;

use crate::{Db, DbResult, Tx, tx::Connection};

/// `GET /v1/stats`, but for the queue, which has counters of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Statistics {
    /// Of effective visibility `public`.
    pub packages: i64,
    /// Live ones of those.
    pub releases: i64,
    pub organizations: i64,
    pub findings: i64,
    pub unresolved_findings: i64,
    pub artifacts: i64,
    /// Jobs in the state `pending`.
    pub pending_jobs: i64,
}

impl Tx {
    /// Folds up to `limit` noted changes into the tallies; returns how many were folded.
    pub async fn fold_tallies(&mut self, limit: i64) -> DbResult<u64> {
        if let Connection::Postgres(tx) = self.connection() {
            // One statement, one snapshot: a note that commits in between is neither counted nor deleted.
            const FOLD: &str = "WITH gone AS (DELETE FROM tally_deltas WHERE id IN (SELECT id FROM tally_deltas \
                 ORDER BY id LIMIT $1 FOR UPDATE SKIP LOCKED) RETURNING name, n), folded AS (INSERT INTO tallies (name, n) \
                 SELECT name, CAST(SUM(n) AS BIGINT) FROM gone GROUP BY name ORDER BY name \
                 ON CONFLICT (name) DO UPDATE SET n = tallies.n + EXCLUDED.n) SELECT COUNT(*) FROM gone";
            let folded: i64 = sqlx::query_scalar(FOLD).bind(limit).fetch_one(&mut ***tx).await?;
            return Ok(folded.unsigned_abs());
        }
        const LAST: &str = "SELECT MAX(id) FROM (SELECT id FROM tally_deltas ORDER BY id LIMIT $1) AS s";
        const FOLD: &str = "INSERT INTO tallies (name, n) SELECT name, SUM(n) FROM tally_deltas WHERE id <= $1 \
             GROUP BY name ON CONFLICT (name) DO UPDATE SET n = tallies.n + EXCLUDED.n";
        const GONE: &str = "DELETE FROM tally_deltas WHERE id <= $1";
        let last: Option<i64> = on_tx!(self, |c| sqlx::query_scalar(LAST).bind(limit).fetch_one(c).await)?;
        let Some(last) = last else { return Ok(0) };
        on_tx!(self, |c| sqlx::query(FOLD).bind(last).execute(c).await.map(drop))?;
        Ok(on_tx!(self, |c| sqlx::query(GONE).bind(last).execute(c).await.map(|done| done.rows_affected()))?)
    }
}

impl Db {
    /// The instance in numbers, from tallies that the database keeps by itself (migration 0008).
    pub async fn statistics(&self) -> DbResult<Statistics> {
        const SQL: &str = "SELECT name, CAST(SUM(n) AS BIGINT) FROM (SELECT name, n FROM tallies \
             UNION ALL SELECT name, n FROM tally_deltas) AS all_changes GROUP BY name";
        let tallies: Vec<(String, i64)> = on_db!(self, |c| sqlx::query_as(SQL).fetch_all(c).await)?;
        let of = |name: &str| tallies.iter().find(|(known, _)| known == name).map_or(0, |(_, n)| *n);
        let jobs = self.job_counts().await?;
        Ok(Statistics {
            packages: of("packages"),
            releases: of("releases"),
            organizations: of("organizations"),
            findings: of("findings"),
            unresolved_findings: of("unresolved_findings"),
            artifacts: of("artifacts"),
            pending_jobs: jobs.in_state(JobState::Pending),
        })
    }

    /// What jobs about a package, release or artifact name in their payload: it, and what lies in it.
    pub async fn job_targets(&self, id: Uuid) -> DbResult<Vec<Uuid>> {
        const SQL: &str = "SELECT id FROM releases WHERE package_id = $1 \
             UNION ALL SELECT a.id FROM artifacts a JOIN releases r ON r.id = a.release_id WHERE r.package_id = $1 \
             UNION ALL SELECT id FROM artifacts WHERE release_id = $1 LIMIT 10000";
        let mut all: Vec<Uuid> = on_db!(self, |c| sqlx::query_scalar(SQL).bind(id).fetch_all(c).await)?;
        all.push(id);
        Ok(all)
    }

    /// Whether there is such a package, unpublished ones included.
    pub async fn has_package(&self, id: PackageId) -> DbResult<bool> {
        const SQL: &str = "SELECT EXISTS (SELECT 1 FROM packages WHERE id = $1)";
        Ok(on_db!(self, |c| sqlx::query_scalar(SQL).bind(id).fetch_one(c).await)?)
    }
}

//! Download counts: noted by every process, summed by one job into packages and their releases.

use std::collections::HashMap;

use publaryn_core::{PackageId, ReleaseId};

use crate::{Db, DbResult, Sql, Tx, tx::Connection};

impl Db {
    /// How often each release of these packages was downloaded; those that never were are missing.
    pub async fn release_downloads(&self, packages: &[PackageId]) -> DbResult<HashMap<ReleaseId, i64>> {
        let sql = self.sql(Sql {
            sqlite: "SELECT d.release_id, d.n FROM releases r JOIN release_downloads d ON d.release_id = r.id \
                     WHERE r.package_id IN (SELECT unhex(value) FROM json_each($1))",
            postgres: "SELECT d.release_id, d.n FROM releases r JOIN release_downloads d ON d.release_id = r.id \
                       WHERE r.package_id = ANY(ARRAY(SELECT CAST(json_array_elements_text($1::json) AS UUID)))",
        });
        let ids: Vec<String> = packages.iter().map(|package| package.0.simple().to_string()).collect();
        let ids = serde_json::Value::from(ids).to_string();
        let rows: Vec<(ReleaseId, i64)> = on_db!(self, |c| sqlx::query_as(sql).bind(ids).fetch_all(c).await)?;
        Ok(rows.into_iter().collect())
    }
}

impl Tx {
    /// Notes downloads that were counted in memory; [`Tx::fold_downloads`] adds them up.
    pub async fn add_downloads(&mut self, sums: &[(PackageId, ReleaseId, i64)]) -> DbResult<()> {
        const SQL: Sql = Sql {
            sqlite: "INSERT INTO download_deltas (package_id, release_id, n) \
                     SELECT unhex(value ->> 0), unhex(value ->> 1), value ->> 2 FROM json_each($1)",
            postgres: "INSERT INTO download_deltas (package_id, release_id, n) SELECT CAST(value ->> 0 AS UUID), \
                       CAST(value ->> 1 AS UUID), CAST(value ->> 2 AS BIGINT) FROM json_array_elements($1::json)",
        };
        let simple = |id: &uuid::Uuid| id.simple().to_string();
        let rows: Vec<_> =
            sums.iter().map(|(package, release, count)| (simple(&package.0), simple(&release.0), count)).collect();
        let (rows, sql) = (serde_json::json!(rows).to_string(), SQL.on(self.engine()));
        on_tx!(self, |c| sqlx::query(sql).bind(rows).execute(c).await.map(drop))?;
        Ok(())
    }

    /// Adds up to `limit` notes to the packages and releases they count for; returns how many. Exact however often
    /// it runs, because a note leaves with the commit that counts it.
    pub async fn fold_downloads(&mut self, limit: i64) -> DbResult<u64> {
        if let Connection::Postgres(tx) = self.connection() {
            // One statement, one snapshot: a note that commits in between is neither counted nor deleted.
            const FOLD: &str = "WITH gone AS (DELETE FROM download_deltas WHERE id IN (SELECT id FROM download_deltas \
                 ORDER BY id LIMIT $1 FOR UPDATE SKIP LOCKED) RETURNING package_id, release_id, n), \
                 of_package AS (SELECT package_id, CAST(SUM(n) AS BIGINT) AS n FROM gone GROUP BY package_id), \
                 of_release AS (SELECT g.release_id, CAST(SUM(g.n) AS BIGINT) AS n FROM gone g \
                 JOIN releases r ON r.id = g.release_id GROUP BY g.release_id), \
                 packages_counted AS (UPDATE packages SET download_count = download_count + of_package.n \
                 FROM of_package WHERE packages.id = of_package.package_id), \
                 releases_counted AS (INSERT INTO release_downloads AS d (release_id, n) \
                 SELECT release_id, n FROM of_release ON CONFLICT (release_id) DO UPDATE SET n = d.n + excluded.n) \
                 SELECT COUNT(*) FROM gone";
            let folded: i64 = sqlx::query_scalar(FOLD).bind(limit).fetch_one(&mut ***tx).await?;
            return Ok(folded.unsigned_abs());
        }
        const LAST: &str = "SELECT MAX(id) FROM (SELECT id FROM download_deltas ORDER BY id LIMIT $1) AS s";
        const OF_PACKAGE: &str = "UPDATE packages SET download_count = download_count + s.n FROM (SELECT package_id, \
             CAST(SUM(n) AS BIGINT) AS n FROM download_deltas WHERE id <= $1 GROUP BY package_id) AS s \
             WHERE packages.id = s.package_id";
        const OF_RELEASE: &str = "INSERT INTO release_downloads (release_id, n) SELECT d.release_id, SUM(d.n) \
             FROM download_deltas d JOIN releases r ON r.id = d.release_id WHERE d.id <= $1 GROUP BY d.release_id \
             ON CONFLICT (release_id) DO UPDATE SET n = n + excluded.n";
        const GONE: &str = "DELETE FROM download_deltas WHERE id <= $1";
        let last: Option<i64> = on_tx!(self, |c| sqlx::query_scalar(LAST).bind(limit).fetch_one(c).await)?;
        let Some(last) = last else { return Ok(0) };
        on_tx!(self, |c| sqlx::query(OF_PACKAGE).bind(last).execute(c).await.map(drop))?;
        on_tx!(self, |c| sqlx::query(OF_RELEASE).bind(last).execute(c).await.map(drop))?;
        Ok(on_tx!(self, |c| sqlx::query(GONE).bind(last).execute(c).await.map(|done| done.rows_affected()))?)
    }
}

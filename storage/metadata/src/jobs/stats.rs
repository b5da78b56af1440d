//! Rates and latencies of the queue, summed over nodes from buckets of ten seconds.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sqlx::FromRow;
use std::time::Duration;

use crate::{Db, DbResult, Sql, Tx};

/// Seconds per bucket.
pub const BUCKET_SECONDS: i64 = 10;

/// Durations in power-of-two buckets: number `i` counts those below `2^i` × 0.1 ms.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LatencyBuckets(Vec<u64>);

impl LatencyBuckets {
    pub fn record(&mut self, latency: Duration) {
        let tenths = latency.as_micros() / 100;
        let index = (u128::BITS - tenths.leading_zeros()).min(31) as usize;
        if self.0.len() <= index {
            self.0.resize(index + 1, 0);
        }
        self.0[index] += 1;
    }

    pub fn merge(&mut self, other: &Self) {
        if self.0.len() < other.0.len() {
            self.0.resize(other.0.len(), 0);
        }
        for (mine, theirs) in self.0.iter_mut().zip(&other.0) {
            *mine += theirs;
        }
    }

    /// The upper bound in milliseconds of the bucket that holds the `share` (0 to 1) quantile.
    pub fn quantile_ms(&self, share: f64) -> Option<f64> {
        let total: u64 = self.0.iter().sum();
        if total == 0 {
            return None;
        }
        let rank = ((total as f64 * share).ceil() as u64).max(1);
        let mut seen = 0;
        let index = self.0.iter().position(|count| {
            seen += count;
            seen >= rank
        })?;
        Some((1_u64 << index) as f64 / 10.0)
    }
}

/// What one node did of one kind in one bucket; additive.
#[derive(Debug, Clone, Default)]
pub struct StatsRow {
    pub finished: i64,
    pub errors: i64,
    pub waits: LatencyBuckets,
    pub runs: LatencyBuckets,
}

/// The last minutes of one kind over all nodes.
#[derive(Debug, Clone, Default)]
pub struct KindStats {
    pub finished_1m: i64,
    pub errors_1m: i64,
    pub finished_5m: i64,
    pub errors_5m: i64,
    /// Of the last minute.
    pub waits: LatencyBuckets,
    pub runs: LatencyBuckets,
}

#[derive(FromRow)]
struct StoredStats {
    kind: String,
    is_recent: bool,
    finished: i64,
    errors: i64,
    waits: String,
    runs: String,
}

impl Tx {
    /// Stores what this node did of `kind` in the bucket that starts at `bucket` (Unix seconds), replacing
    /// what it stored before for it.
    pub async fn put_job_stats(&mut self, node_id: &str, bucket: i64, kind: &str, stats: &StatsRow) -> DbResult<()> {
        const SQL: &str = "INSERT INTO job_stats (bucket, kind, node_id, finished, errors, waits, runs) \
            VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (bucket, kind, node_id) DO UPDATE SET \
            finished = EXCLUDED.finished, errors = EXCLUDED.errors, waits = EXCLUDED.waits, runs = EXCLUDED.runs";
        let json = |buckets: &LatencyBuckets| serde_json::json!(buckets).to_string();
        Ok(on_tx!(self, |c| sqlx::query(SQL)
            .bind(bucket)
            .bind(kind)
            .bind(node_id)
            .bind(stats.finished)
            .bind(stats.errors)
            .bind(json(&stats.waits))
            .bind(json(&stats.runs))
            .execute(c)
            .await
            .map(drop))?)
    }
}

impl Db {
    /// The last five minutes per kind.
    pub async fn job_stats(&self) -> DbResult<BTreeMap<String, KindStats>> {
        const SQL: Sql = dual!(
            "SELECT kind, (bucket >= " NOW " / 1000000 - 60) AS is_recent, finished, errors, waits, runs "
            "FROM job_stats WHERE bucket >= " NOW " / 1000000 - 300"
        );
        let sql = self.sql(SQL);
        let rows: Vec<StoredStats> = on_db!(self, |c| sqlx::query_as(sql).fetch_all(c).await)?;
        let mut all: BTreeMap<String, KindStats> = BTreeMap::new();
        for row in rows {
            let stats = all.entry(row.kind).or_default();
            stats.finished_5m += row.finished;
            stats.errors_5m += row.errors;
            if row.is_recent {
                stats.finished_1m += row.finished;
                stats.errors_1m += row.errors;
                // Statistics of another version that cannot be read are left out, not fatal.
                stats.waits.merge(&serde_json::from_str(&row.waits).unwrap_or_default());
                stats.runs.merge(&serde_json::from_str(&row.runs).unwrap_or_default());
            }
        }
        Ok(all)
    }
}

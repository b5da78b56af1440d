//! What a node asks the queue about once a second: due work, pauses, cancellations. One statement.

use std::{collections::BTreeSet, time::Duration};

use publaryn_core::{JobId, Timestamp, job::JobKind};
use sqlx::FromRow;

use crate::{Db, DbResult, Sql, Tx};

/// The answer to one poll.
#[derive(Debug, Clone, Default)]
pub struct Polled {
    /// Kinds with claimable jobs, as text: some may be unknown to this version.
    pub ready: BTreeSet<String>,
    pub paused: BTreeSet<String>,
    /// Running jobs of this node that an operator cancelled.
    pub cancelled: Vec<JobId>,
    /// Time until the next waiting job becomes due; zero when some are.
    pub next_due: Option<Duration>,
}

#[derive(Debug, Clone, FromRow)]
pub struct PausedQueue {
    pub kind: String,
    pub paused_by: Option<String>,
    pub paused_at: Timestamp,
}

macro_rules! poll {
    ($engine:ident, $id:literal) => {
        concat!(
            "WITH RECURSIVE kinds (kind) AS (SELECT MIN(j.kind) FROM jobs j WHERE j.ready UNION ALL ",
            "SELECT (SELECT MIN(j.kind) FROM jobs j WHERE j.ready AND j.kind > kinds.kind) FROM kinds ",
            "WHERE kinds.kind IS NOT NULL) ",
            "SELECT 'ready' AS what, kind AS word, CAST(0 AS BIGINT) AS n FROM kinds WHERE kind IS NOT NULL ",
            "UNION ALL SELECT 'paused', kind, 0 FROM job_pauses ",
            "UNION ALL SELECT 'cancelled', ", $id, ", 0 FROM jobs WHERE state = 'running' AND cancel_requested ",
            "AND node_id = $1 ",
            "UNION ALL SELECT 'due', '', MIN(scheduled_at) - ", dual!(@$engine NOW),
            " FROM jobs WHERE state IN ('pending', 'failed') AND NOT ready HAVING COUNT(*) > 0"
        )
    };
}

impl Db {
    /// Everything a node without work must notice by itself.
    pub async fn poll_jobs(&self, node_id: &str) -> DbResult<Polled> {
        const SQL: Sql = Sql { sqlite: poll!(sqlite, "lower(hex(id))"), postgres: poll!(postgres, "CAST(id AS TEXT)") };
        let sql = self.sql(SQL);
        let rows: Vec<(String, String, i64)> = on_db!(self, |c| sqlx::query_as(sql).bind(node_id).fetch_all(c).await)?;
        let mut polled = Polled::default();
        for (what, word, n) in rows {
            match what.as_str() {
                "ready" => drop(polled.ready.insert(word)),
                "paused" => drop(polled.paused.insert(word)),
                "cancelled" => polled.cancelled.extend(word.parse::<JobId>()),
                _ => polled.next_due = Some(Duration::from_micros(n.max(0).unsigned_abs())),
            }
        }
        Ok(polled)
    }

    pub async fn paused_queues(&self) -> DbResult<Vec<PausedQueue>> {
        const SQL: &str = "SELECT kind, paused_by, paused_at FROM job_pauses ORDER BY kind";
        Ok(on_db!(self, |c| sqlx::query_as(SQL).fetch_all(c).await)?)
    }
}

impl Tx {
    /// Makes waiting jobs whose time has come claimable; returns how many.
    pub async fn promote_due_jobs(&mut self) -> DbResult<u64> {
        macro_rules! due {
            ($engine:ident, $lock:literal) => {
                concat!(
                    "UPDATE jobs SET ready = TRUE WHERE id IN (SELECT id FROM jobs WHERE state IN ('pending', 'failed') ",
                    "AND NOT ready AND scheduled_at <= ", dual!(@$engine NOW), " ORDER BY scheduled_at LIMIT 1000",
                    $lock, ") AND NOT ready RETURNING kind"
                )
            };
        }
        const SQL: Sql = Sql { sqlite: due!(sqlite, ""), postgres: due!(postgres, " FOR UPDATE SKIP LOCKED") };
        self.tune_for_queue().await?;
        let sql = SQL.on(self.engine());
        let kinds: Vec<String> = on_tx!(self, |c| sqlx::query_scalar(sql).fetch_all(c).await)?;
        for kind in &kinds {
            self.note_kind(kind);
        }
        Ok(kinds.len() as u64)
    }

    /// Stops claiming of a kind on every node; enqueueing goes on. False when it was paused already.
    pub async fn pause_queue(&mut self, kind: JobKind, by: Option<&str>) -> DbResult<bool> {
        const SQL: Sql = dual!(
            "INSERT INTO job_pauses (kind, paused_by, paused_at) VALUES ($1, $2, " NOW ") ON CONFLICT (kind) DO NOTHING"
        );
        let sql = SQL.on(self.engine());
        let rows = on_tx!(self, |c| sqlx::query(sql).bind(kind).bind(by).execute(c).await.map(|r| r.rows_affected()))?;
        Ok(rows > 0)
    }

    pub async fn resume_queue(&mut self, kind: JobKind) -> DbResult<bool> {
        const SQL: &str = "DELETE FROM job_pauses WHERE kind = $1";
        let rows = on_tx!(self, |c| sqlx::query(SQL).bind(kind).execute(c).await.map(|r| r.rows_affected()))?;
        self.note_kind(kind.as_str());
        Ok(rows > 0)
    }
}

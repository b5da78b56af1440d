//! Nodes, their heartbeats, and the one that leads.

use std::time::Duration;

use publaryn_core::Timestamp;
use sqlx::FromRow;

use crate::{Db, DbResult, Sql, Tx};

/// What a node says about itself when it starts.
#[derive(Debug, Clone)]
pub struct NodeInfo {
    /// Stable across restarts of the same installation, different for every node.
    pub node_id: String,
    pub version: String,
    pub role: String,
    /// Kinds it has handlers for.
    pub kinds: Vec<String>,
    pub cpu_count: i64,
}

/// What a node says about itself every few seconds.
#[derive(Debug, Clone, Copy, Default)]
pub struct NodeBeat {
    pub is_draining: bool,
    pub running_jobs: i64,
    pub rss_bytes: i64,
}

/// One node as `GET /v1/admin/workers` shows it.
#[derive(Debug, Clone, FromRow)]
pub struct NodeRow {
    pub node_id: String,
    pub incarnation: i64,
    pub version: String,
    pub role: String,
    /// JSON array of kinds.
    pub kinds: String,
    pub started_at: Timestamp,
    pub heartbeat_at: Timestamp,
    pub is_draining: bool,
    pub is_alive: bool,
    pub is_leader: bool,
    pub running_jobs: i64,
    pub rss_bytes: i64,
    pub cpu_count: i64,
}

#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct Leader {
    pub node_id: String,
    pub incarnation: i64,
    pub since: Timestamp,
}

/// The one lease there is; the column leaves room for more.
const MAINTENANCE: &str = "maintenance";

impl Tx {
    /// Enters a starting node; returns its incarnation, which is one more than the last.
    pub async fn register_node(&mut self, node: &NodeInfo) -> DbResult<i64> {
        const SQL: Sql = dual!(
            "INSERT INTO nodes (node_id, incarnation, version, role, kinds, started_at, heartbeat_at, cpu_count) "
            "VALUES ($1, 1, $2, $3, $4, " NOW ", " NOW ", $5) ON CONFLICT (node_id) DO UPDATE SET "
            "incarnation = nodes.incarnation + 1, version = EXCLUDED.version, role = EXCLUDED.role, "
            "kinds = EXCLUDED.kinds, started_at = EXCLUDED.started_at, heartbeat_at = EXCLUDED.heartbeat_at, "
            "cpu_count = EXCLUDED.cpu_count, is_draining = FALSE, stopped_at = NULL, running_jobs = 0 "
            "RETURNING incarnation"
        );
        let kinds = serde_json::json!(node.kinds).to_string();
        let sql = SQL.on(self.engine());
        Ok(on_tx!(self, |c| sqlx::query_scalar(sql)
            .bind(&node.node_id)
            .bind(&node.version)
            .bind(&node.role)
            .bind(kinds)
            .bind(node.cpu_count)
            .fetch_one(c)
            .await)?)
    }

    /// Says that a node is alive. False when another process has taken its name since.
    pub async fn beat_node(&mut self, node_id: &str, incarnation: i64, beat: NodeBeat) -> DbResult<bool> {
        const SQL: Sql = dual!(
            "UPDATE nodes SET heartbeat_at = " NOW ", is_draining = $3, running_jobs = $4, rss_bytes = $5 "
            "WHERE node_id = $1 AND incarnation = $2"
        );
        let sql = SQL.on(self.engine());
        let rows = on_tx!(self, |c| sqlx::query(sql)
            .bind(node_id)
            .bind(incarnation)
            .bind(beat.is_draining)
            .bind(beat.running_jobs)
            .bind(beat.rss_bytes)
            .execute(c)
            .await
            .map(|r| r.rows_affected()))?;
        Ok(rows > 0)
    }

    /// Marks an orderly stop and hands over leadership at once.
    pub async fn leave_node(&mut self, node_id: &str, incarnation: i64) -> DbResult<()> {
        const SQL: Sql = dual!(
            "UPDATE nodes SET stopped_at = " NOW ", is_draining = TRUE, running_jobs = 0 "
            "WHERE node_id = $1 AND incarnation = $2"
        );
        const RESIGN: &str = "DELETE FROM leaders WHERE node_id = $1 AND incarnation = $2";
        let sql = SQL.on(self.engine());
        on_tx!(self, |c| sqlx::query(sql).bind(node_id).bind(incarnation).execute(c).await.map(drop))?;
        Ok(on_tx!(self, |c| sqlx::query(RESIGN).bind(node_id).bind(incarnation).execute(c).await.map(drop))?)
    }

    /// Takes or renews leadership for `ttl`. Returns the database's clock when this node leads.
    pub async fn lead(&mut self, node_id: &str, incarnation: i64, ttl: Duration) -> DbResult<Option<Timestamp>> {
        const SQL: Sql = dual!(
            "INSERT INTO leaders (name, node_id, incarnation, since, expires_at) VALUES ($1, $2, $3, " NOW ", " NOW
            " + $4) ON CONFLICT (name) DO UPDATE SET node_id = EXCLUDED.node_id, incarnation = EXCLUDED.incarnation, "
            "since = CASE WHEN leaders.node_id = EXCLUDED.node_id AND leaders.incarnation = EXCLUDED.incarnation "
            "THEN leaders.since ELSE EXCLUDED.since END, expires_at = EXCLUDED.expires_at "
            "WHERE leaders.expires_at < " NOW " OR leaders.node_id = EXCLUDED.node_id RETURNING " NOW
        );
        let micros = i64::try_from(ttl.as_micros()).unwrap_or(i64::MAX / 4);
        let sql = SQL.on(self.engine());
        Ok(on_tx!(self, |c| sqlx::query_scalar(sql)
            .bind(MAINTENANCE)
            .bind(node_id)
            .bind(incarnation)
            .bind(micros)
            .fetch_optional(c)
            .await)?)
    }

    pub async fn resign(&mut self, node_id: &str, incarnation: i64) -> DbResult<()> {
        const SQL: &str = "DELETE FROM leaders WHERE node_id = $1 AND incarnation = $2";
        Ok(on_tx!(self, |c| sqlx::query(SQL).bind(node_id).bind(incarnation).execute(c).await.map(drop))?)
    }

    /// Forgets nodes that have been gone for `older_than`.
    pub async fn prune_nodes(&mut self, older_than: Duration) -> DbResult<u64> {
        const SQL: Sql = dual!("DELETE FROM nodes WHERE heartbeat_at < " NOW " - $1");
        let micros = i64::try_from(older_than.as_micros()).unwrap_or(i64::MAX / 4);
        let sql = SQL.on(self.engine());
        Ok(on_tx!(self, |c| sqlx::query(sql).bind(micros).execute(c).await.map(|r| r.rows_affected()))?)
    }
}

impl Db {
    /// Every known node; silent for `node_timeout` = not alive.
    pub async fn nodes(&self, node_timeout: Duration) -> DbResult<Vec<NodeRow>> {
        const SQL: Sql = dual!(
            "SELECT n.node_id, n.incarnation, n.version, n.role, n.kinds, n.started_at, n.heartbeat_at, n.is_draining, "
            "(n.stopped_at IS NULL AND n.heartbeat_at > " NOW " - $1) AS is_alive, "
            "EXISTS (SELECT 1 FROM leaders l WHERE l.node_id = n.node_id AND l.incarnation = n.incarnation "
            "AND l.expires_at > " NOW ") AS is_leader, n.running_jobs, n.rss_bytes, n.cpu_count "
            "FROM nodes n ORDER BY n.node_id"
        );
        let micros = i64::try_from(node_timeout.as_micros()).unwrap_or(i64::MAX / 4);
        let sql = self.sql(SQL);
        Ok(on_db!(self, |c| sqlx::query_as(sql).bind(micros).fetch_all(c).await)?)
    }

    /// Who leads now, if anybody does.
    pub async fn leader(&self) -> DbResult<Option<Leader>> {
        const SQL: Sql = dual!("SELECT node_id, incarnation, since FROM leaders WHERE name = $1 AND expires_at > " NOW);
        let sql = self.sql(SQL);
        Ok(on_db!(self, |c| sqlx::query_as(sql).bind(MAINTENANCE).fetch_optional(c).await)?)
    }
}

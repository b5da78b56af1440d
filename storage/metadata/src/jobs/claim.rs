//! Claiming: taking due jobs of one kind, owners in turn, under a fresh lease each.

use publaryn_core::{JobId, LeaseId, Timestamp, job::JobKind, job::JobState};
use sqlx::FromRow;
use std::time::Duration;

use crate::{DbResult, Sql, Tx};

/// Who claims how much of what.
#[derive(Debug, Clone)]
pub struct ClaimRequest<'a> {
    pub kind: JobKind,
    pub limit: i64,
    pub node_id: &'a str,
    pub incarnation: i64,
    pub lease: Duration,
    /// Overrides the limit stored with the job.
    pub max_attempts: Option<i64>,
    /// The partition served last; the next ones come first. Empty at the beginning.
    pub after_partition: &'a str,
    /// Partitions to look into: more than `limit`, because all jobs of some may be blocked.
    pub partitions: i64,
}

/// A job under lease.
#[derive(Debug, Clone, FromRow)]
pub struct ClaimedJob {
    pub id: JobId,
    pub kind: JobKind,
    pub payload: String,
    pub lease_id: LeaseId,
    pub partition: String,
    pub attempts: i64,
    pub max_attempts: i64,
    pub crashes: i64,
    pub attempts_log: String,
    pub previous_state: JobState,
    pub scheduled_at: Timestamp,
    pub started_at: Timestamp,
    pub request_id: Option<String>,
}

/// Distinct partitions by jumping through the index: its cost grows with owners looked at, not with jobs.
macro_rules! partitions {
    () => {
        "WITH RECURSIVE parts (partition) AS (\
           SELECT MIN(j.partition) FROM jobs j WHERE j.ready AND j.kind = $1 AND j.partition > $2 \
           UNION ALL \
           SELECT (SELECT MIN(j.partition) FROM jobs j WHERE j.ready AND j.kind = $1 AND j.partition > parts.partition) \
           FROM parts WHERE parts.partition IS NOT NULL LIMIT $3), \
         turn AS (SELECT partition FROM parts WHERE partition IS NOT NULL)"
    };
}

/// A job waits while another of its key runs, or, after it lost its key to a newer one, while that one waits.
macro_rules! unblocked {
    () => {
        "(j.unique_key IS NULL OR (\
           NOT EXISTS (SELECT 1 FROM jobs r WHERE r.state = 'running' AND r.kind = j.kind AND r.unique_key = j.unique_key) \
           AND (j.key_slot IS NOT NULL OR NOT EXISTS (\
             SELECT 1 FROM jobs w WHERE w.kind = j.kind AND w.key_slot = j.unique_key))))"
    };
}

macro_rules! claim_set {
    ($engine:ident, $uuid:literal) => {
        concat!(
            "SET previous_state = state, state = 'running', ready = FALSE, attempts = attempts + 1, ",
            "max_attempts = COALESCE($8, max_attempts), key_slot = CASE WHEN keeps_key THEN key_slot END, lease_id = ",
            $uuid, ", node_id = $5, incarnation = $6, locked_by = $5 || ':' || CAST($6 AS TEXT) || '/queue.' || $1, ",
            "locked_until = ", dual!(@$engine NOW), " + $7, heartbeat_at = ", dual!(@$engine NOW),
            ", started_at = ", dual!(@$engine NOW),
            ", progress_done = NULL, progress_total = NULL, progress_note = NULL "
        )
    };
}

macro_rules! claim_returning {
    () => {
        "RETURNING jobs.id, jobs.kind, jobs.payload, jobs.lease_id, jobs.partition, jobs.attempts, jobs.max_attempts, \
         jobs.crashes, jobs.attempts_log, jobs.previous_state, jobs.scheduled_at, jobs.started_at, jobs.request_id"
    };
}

/// `$1` kind, `$2` after partition, `$3` partitions, `$4` limit, `$5` node, `$6` incarnation, `$7` lease in µs,
/// `$8` max_attempts. Each partition gives its share of the limit, at least one job.
const CLAIM: Sql = Sql {
    sqlite: concat!(
        "UPDATE jobs ",
        claim_set!(sqlite, "randomblob(16)"),
        "WHERE id IN (",
        partitions!(),
        " SELECT c.id FROM turn CROSS JOIN jobs c WHERE c.id IN (\
            SELECT j.id FROM jobs j WHERE j.ready AND j.kind = $1 AND j.partition = turn.partition AND ",
        unblocked!(),
        " ORDER BY j.rank, j.id LIMIT (SELECT ($4 + COUNT(*) - 1) / MAX(COUNT(*), 1) FROM turn)) \
          ORDER BY turn.partition LIMIT $4) ",
        claim_returning!()
    ),
    postgres: concat!(
        partitions!(),
        ", next AS MATERIALIZED (SELECT c.id FROM turn CROSS JOIN LATERAL (\
            SELECT j.id FROM jobs j WHERE j.ready AND j.kind = $1 AND j.partition = turn.partition AND ",
        unblocked!(),
        " ORDER BY j.rank, j.id LIMIT (SELECT ($4 + COUNT(*) - 1) / GREATEST(COUNT(*), 1) FROM turn) \
            FOR UPDATE SKIP LOCKED) c ORDER BY turn.partition LIMIT $4) \
          UPDATE jobs ",
        claim_set!(postgres, "gen_random_uuid()"),
        "FROM next WHERE jobs.id = next.id ",
        claim_returning!()
    ),
};

impl Tx {
    /// Takes up to `limit` due jobs, each owner in turn (J9), and leases them to the node.
    ///
    /// Commit before running them. May return fewer than there are; ask again from the beginning
    /// (`after_partition` empty) before believing that there are none.
    pub async fn claim_jobs(&mut self, request: &ClaimRequest<'_>) -> DbResult<Vec<ClaimedJob>> {
        self.tune_for_queue().await?;
        let sql = CLAIM.on(self.engine());
        let lease_micros = i64::try_from(request.lease.as_micros()).unwrap_or(i64::MAX / 4);
        let claimed: Vec<ClaimedJob> = on_tx!(self, |c| sqlx::query_as(sql)
            .bind(request.kind.as_str())
            .bind(request.after_partition)
            .bind(request.partitions)
            .bind(request.limit)
            .bind(request.node_id)
            .bind(request.incarnation)
            .bind(lease_micros)
            .bind(request.max_attempts)
            .fetch_all(c)
            .await)?;
        let kind = request.kind.as_str();
        let changes: Vec<_> =
            claimed.iter().flat_map(|job| [(kind, job.previous_state, -1), (kind, JobState::Running, 1)]).collect();
        self.count_jobs(&changes).await?;
        Ok(claimed)
    }
}

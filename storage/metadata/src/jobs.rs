//! The durable job queue: every statement about jobs (docs/contract jobs.md).
//!
//! A job is one row whose `lease_id` fences every transition out of `running`. Enqueueing joins the
//! caller's transaction; counters are kept by inserting deltas, so transactions never wait for them.

use publaryn_core::{
    JobId,
    job::{JobKind, JobState},
};
use serde_json::Value;
use sqlx::FromRow;
use std::time::Duration;
use uuid::Uuid;

use crate::{Db, DbResult, Sql, Tx, tx::Connection};

/// An engine's expression for "now" in microseconds, spliced into both texts of a statement.
macro_rules! dual {
    (@sqlite NOW) => { "CAST(unixepoch('subsec') * 1000000 AS INTEGER)" };
    (@postgres NOW) => { "publaryn_now()" };
    (@sqlite ROWS) => { "json_each($4)" };
    (@postgres ROWS) => { "json_array_elements($4::json)" };
    (@sqlite UUID_OF_ROW) => { "unhex(value ->> 'id')" };
    (@postgres UUID_OF_ROW) => { "CAST(value ->> 'id' AS UUID)" };
    (@$engine:ident PAYLOAD_OF_ROW) => { "value ->> 'payload'" };
    (@$engine:ident PARTITION_OF_ROW) => { "value ->> 'partition'" };
    (@$engine:ident $text:literal) => { $text };
    ($($part:tt)*) => {
        $crate::Sql { sqlite: concat!($(dual!(@sqlite $part)),*), postgres: concat!($(dual!(@postgres $part)),*) }
    };
}

mod admin;
mod ahead;
mod claim;
mod counts;
mod finish;
mod list;
mod nodes;
mod poll;
mod prune;
mod schedules;
mod stats;
mod wake;

pub use admin::{CancelOutcome, Retried};
pub use ahead::DoneAhead;
pub use claim::{ClaimRequest, ClaimedJob};
pub use counts::JobCounts;
pub use finish::{Attempt, Finished, JobEnd, RunFacts, Transition};
pub use list::{JobDetails, JobFilter, JobPage, JobSummary, JobView, Page, Progress};
pub use nodes::{Leader, NodeBeat, NodeInfo, NodeRow};
pub use poll::{PausedQueue, Polled};
pub use schedules::ScheduleRow;
pub use stats::{BUCKET_SECONDS, KindStats, LatencyBuckets, StatsRow};
pub use wake::JobWakeups;

/// Longest payload in bytes: ids only (jobs.md §2).
pub const MAX_PAYLOAD_BYTES: usize = 16 * 1024;
/// The partition of jobs that belong to nobody; never empty, so that scans can start below it.
const NO_PARTITION: &str = "-";

/// A job to be. Its values come from the kind's table unless changed here.
#[derive(Debug, Clone)]
pub struct NewJob {
    pub kind: JobKind,
    pub payload: Value,
    pub unique_key: Option<String>,
    pub partition: Option<String>,
    pub priority: i64,
    pub max_attempts: i64,
    pub delay: Duration,
    pub enqueued_by: Option<String>,
    pub request_id: Option<String>,
}

impl NewJob {
    /// `payload` holds ids only, never secrets, at most 16 KiB.
    pub fn new(kind: JobKind, payload: &Value) -> Self {
        let defaults = kind.defaults();
        Self {
            kind,
            payload: payload.clone(),
            unique_key: None,
            partition: None,
            priority: defaults.priority,
            max_attempts: defaults.max_attempts,
            delay: Duration::ZERO,
            enqueued_by: None,
            request_id: None,
        }
    }
    /// While another job of the kind occupies `key`, enqueueing returns that one.
    pub fn unique(mut self, key: String) -> Self {
        self.unique_key = Some(key);
        self
    }
    /// The owner whose backlog this adds to; owners take turns.
    pub fn partition(mut self, owner: String) -> Self {
        self.partition = Some(owner);
        self
    }
    /// First runnable after `delay`.
    pub fn after(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }
    pub fn priority(mut self, priority: i64) -> Self {
        self.priority = priority.clamp(0, 9);
        self
    }
    /// Who caused it, for operators.
    pub fn by(mut self, enqueued_by: Option<String>, request_id: Option<String>) -> Self {
        self.enqueued_by = enqueued_by;
        self.request_id = request_id;
        self
    }

    /// The first UUID among the payload's values: what `?target=` finds it by.
    fn target(&self) -> Option<Uuid> {
        self.payload.as_object()?.values().find_map(|value| value.as_str()?.parse().ok())
    }

    fn partition_or_none(&self) -> &str {
        self.partition.as_deref().filter(|p| !p.is_empty()).unwrap_or(NO_PARTITION)
    }
}

/// What became of an enqueue: a new job, or the one that occupies the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromRow)]
pub struct Enqueued {
    pub id: JobId,
    pub inserted: bool,
}

/// The newest job of a key.
#[derive(Debug, Clone, FromRow)]
pub struct LatestJob {
    pub id: JobId,
    pub state: JobState,
    pub last_error: Option<String>,
}

macro_rules! insert_job {
    ($engine:ident) => {
        concat!(
            "INSERT INTO jobs (id, kind, payload, state, ready, priority, rank, partition, unique_key, key_slot, ",
            "keeps_key, target, max_attempts, scheduled_at, created_at, enqueued_by, request_id) VALUES ($1, $2, $3, ",
            "'pending', $4 = 0, $5, ", dual!(@$engine NOW), " + $4 + $5 * 60000000, $6, $7, $7, $8, $9, $10, ",
            dual!(@$engine NOW), " + $4, ", dual!(@$engine NOW), ", $11, $12) "
        )
    };
}

/// On PostgreSQL the holder of an occupied key is locked by the update; SQLite has one writer anyway.
const ENQUEUE: Sql = Sql {
    sqlite: concat!(insert_job!(sqlite), "ON CONFLICT DO NOTHING RETURNING id, TRUE AS inserted"),
    postgres: concat!(
        "WITH new AS (",
        insert_job!(postgres),
        "ON CONFLICT (kind, key_slot) WHERE key_slot IS NOT NULL DO UPDATE SET key_slot = EXCLUDED.key_slot ",
        "RETURNING id, (xmax = 0) AS inserted), counted AS (INSERT INTO job_deltas (kind, state, n) ",
        "SELECT $2, 'pending', 1 FROM new WHERE inserted) SELECT id, inserted FROM new"
    ),
};

impl Tx {
    /// Adds a job that becomes visible, and wakes its workers, when this transaction commits.
    ///
    /// With an occupied unique key the existing job is returned and, on PostgreSQL, kept from being
    /// claimed until this commit, so that its run sees the change that asked for it.
    ///
    /// # Errors
    /// `PayloadTooLarge` above [`MAX_PAYLOAD_BYTES`].
    pub async fn enqueue(&mut self, job: &NewJob) -> DbResult<Enqueued> {
        let payload = job.payload.to_string();
        if payload.len() > MAX_PAYLOAD_BYTES {
            return Err(crate::DbError::PayloadTooLarge(payload.len()));
        }
        let sql = ENQUEUE.on(self.engine());
        let inserted: Option<Enqueued> = on_tx!(self, |c| sqlx::query_as(sql)
            .bind(JobId::new())
            .bind(job.kind)
            .bind(payload)
            .bind(i64::try_from(job.delay.as_micros()).unwrap_or(i64::MAX / 4))
            .bind(job.priority)
            .bind(job.partition_or_none())
            .bind(&job.unique_key)
            .bind(job.kind.defaults().keeps_key_while_running)
            .bind(job.target())
            .bind(job.max_attempts)
            .bind(&job.enqueued_by)
            .bind(&job.request_id)
            .fetch_optional(c)
            .await)?;
        let enqueued = match inserted {
            Some(enqueued) => {
                if self.engine() == crate::Engine::Sqlite {
                    self.count_jobs(&[(job.kind.as_str(), JobState::Pending, 1)]).await?;
                }
                enqueued
            }
            None => {
                const HOLDER: &str = "SELECT id, FALSE AS inserted FROM jobs WHERE kind = $1 AND key_slot = $2";
                on_tx!(self, |c| sqlx::query_as(HOLDER).bind(job.kind).bind(&job.unique_key).fetch_one(c).await)?
            }
        };
        if enqueued.inserted {
            metrics::counter!("publaryn_jobs_enqueued_total", "kind" => job.kind.as_str()).increment(1);
        }
        if job.delay.is_zero() {
            self.note_kind(job.kind.as_str());
        }
        Ok(enqueued)
    }

    /// Adds many jobs of one kind without unique keys, for measurements and bulk work.
    pub async fn enqueue_many(&mut self, kind: JobKind, jobs: &[(Value, Option<String>)]) -> DbResult<()> {
        const SQL: Sql = dual!(
            "INSERT INTO jobs (id, kind, payload, state, ready, priority, rank, partition, keeps_key, max_attempts, "
            "scheduled_at, created_at) SELECT " UUID_OF_ROW ", $1, " PAYLOAD_OF_ROW ", 'pending', TRUE, $2, "
            NOW " + $2 * 60000000, " PARTITION_OF_ROW ", FALSE, $3, " NOW ", " NOW " FROM " ROWS
        );
        let defaults = kind.defaults();
        let rows: Vec<_> = jobs
            .iter()
            .map(|(payload, partition)| {
                serde_json::json!({
                    "id": Uuid::now_v7().simple().to_string(),
                    "payload": payload.to_string(),
                    "partition": partition.as_deref().unwrap_or(NO_PARTITION),
                })
            })
            .collect();
        let rows = Value::Array(rows).to_string();
        let sql = SQL.on(self.engine());
        on_tx!(self, |c| sqlx::query(sql)
            .bind(kind)
            .bind(defaults.priority)
            .bind(defaults.max_attempts)
            .bind(rows)
            .execute(c)
            .await
            .map(drop))?;
        self.count_jobs(&[(kind.as_str(), JobState::Pending, jobs.len() as i64)]).await?;
        self.note_kind(kind.as_str());
        Ok(())
    }

    /// The newest job of a kind with that unique key, in any state.
    pub async fn latest_job(&mut self, kind: JobKind, unique_key: &str) -> DbResult<Option<LatestJob>> {
        const SQL: &str = "SELECT id, state, last_error FROM jobs WHERE kind = $1 AND unique_key = $2 \
                           ORDER BY id DESC LIMIT 1";
        Ok(on_tx!(self, |c| sqlx::query_as(SQL).bind(kind).bind(unique_key).fetch_optional(c).await)?)
    }

    /// Announces at commit that jobs of `kind` became runnable.
    pub(crate) fn note_kind(&mut self, kind: &str) {
        let kinds = &mut self.notice().job_kinds;
        if !kinds.iter().any(|known| known == kind) {
            kinds.push(kind.into());
        }
    }

    /// PostgreSQL: losing the last claims or results in a crash costs a repeated run, never a job, so
    /// they need not wait for the disk; and a plan made for an empty table must not scan a full one.
    pub(crate) async fn tune_for_queue(&mut self) -> DbResult<()> {
        if let Connection::Postgres(tx) = self.connection() {
            const SQL: &str =
                "SELECT set_config('synchronous_commit', 'off', true), set_config('enable_seqscan', 'off', true)";
            sqlx::query(SQL).execute(&mut ***tx).await?;
        }
        Ok(())
    }
}

impl Db {
    /// The database's clock, which decides leases and schedules.
    pub async fn clock(&self) -> DbResult<publaryn_core::Timestamp> {
        const SQL: Sql = dual!("SELECT " NOW);
        let sql = self.sql(SQL);
        Ok(on_db!(self, |c| sqlx::query_scalar(sql).fetch_one(c).await)?)
    }
}

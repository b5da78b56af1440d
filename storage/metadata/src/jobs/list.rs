//! Looking at jobs: pages with filters, single jobs, and the state of the whole queue.

use std::{collections::BTreeMap, time::Duration};

use publaryn_core::{
    JobId, Timestamp,
    job::{DeadReason, JobKind, JobState},
};
use serde::Serialize;
use serde_json::value::RawValue;
use sqlx::{FromRow, Row};
use uuid::Uuid;

use super::JobCounts;
use crate::{Db, DbResult, Sql};

/// Which jobs to list.
#[derive(Debug, Clone, Default)]
pub struct JobFilter {
    pub state: Option<JobState>,
    pub kind: Option<JobKind>,
    /// Only running jobs whose lease has expired or whose node is dead.
    pub stale: bool,
    /// Jobs whose payload names one of these packages, releases or artifacts; empty = no filter.
    pub targets: Vec<Uuid>,
}

/// A page by number or behind a cursor.
#[derive(Debug, Clone)]
pub struct Page {
    /// From 1; ignored with a cursor.
    pub number: u32,
    pub per_page: u32,
    /// `next_cursor` of an earlier answer.
    pub cursor: Option<String>,
}

/// What `GET /v1/admin/jobs` pages over.
#[derive(Debug, Clone)]
pub struct JobPage {
    pub jobs: Vec<JobView>,
    pub total: i64,
    pub has_next: bool,
    pub next_cursor: Option<String>,
}

#[derive(Debug, Clone, Serialize)]
pub struct Progress {
    pub done: i64,
    pub total: Option<i64>,
    pub note: Option<String>,
}

/// A **Job** of jobs.md §5, ready to be serialised.
#[derive(Debug, Clone, Serialize)]
pub struct JobView {
    pub id: JobId,
    pub kind: String,
    pub payload: Box<RawValue>,
    pub status: JobState,
    pub attempts: i64,
    pub max_attempts: i64,
    pub priority: i64,
    pub partition: Option<String>,
    pub last_error: Option<String>,
    pub dead_reason: Option<DeadReason>,
    pub scheduled_at: Timestamp,
    pub locked_until: Option<Timestamp>,
    pub locked_by: Option<String>,
    pub started_at: Option<Timestamp>,
    pub completed_at: Option<Timestamp>,
    pub created_at: Timestamp,
    pub heartbeat_at: Option<Timestamp>,
    pub progress: Option<Progress>,
    pub is_stale: bool,
    pub can_retry: bool,
    pub recovery_hint: Option<String>,
    /// Only of a job looked at by itself.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub details: Option<JobDetails>,
}

#[derive(Debug, Clone, Serialize)]
pub struct JobDetails {
    pub attempts_log: Box<RawValue>,
    pub unique_key: Option<String>,
    pub enqueued_by: Option<String>,
    pub request_id: Option<String>,
}

/// `summary` of jobs.md §5: the whole queue, whatever the filter.
#[derive(Debug, Clone, Serialize)]
pub struct JobSummary {
    pub by_status: BTreeMap<&'static str, i64>,
    pub by_kind: BTreeMap<String, i64>,
    pub oldest_pending_age_minutes: Option<i64>,
    pub oldest_pending_age_seconds: Option<i64>,
    pub stale_jobs_count: i64,
    pub paused_kinds: Vec<String>,
    /// Finished jobs per second.
    pub throughput_1m: f64,
    pub throughput_5m: f64,
    /// Share of runs that failed, 0 to 1.
    pub error_rate_5m: f64,
    pub leader: Option<String>,
    pub nodes_alive: i64,
}

impl<'r, R: Row> FromRow<'r, R> for JobView
where
    &'static str: sqlx::ColumnIndex<R>,
    JobId: sqlx::Decode<'r, R::Database> + sqlx::Type<R::Database>,
    JobState: sqlx::Decode<'r, R::Database> + sqlx::Type<R::Database>,
    DeadReason: sqlx::Decode<'r, R::Database> + sqlx::Type<R::Database>,
    Timestamp: sqlx::Decode<'r, R::Database> + sqlx::Type<R::Database>,
    String: sqlx::Decode<'r, R::Database> + sqlx::Type<R::Database>,
    i64: sqlx::Decode<'r, R::Database> + sqlx::Type<R::Database>,
    bool: sqlx::Decode<'r, R::Database> + sqlx::Type<R::Database>,
{
    fn from_row(row: &'r R) -> Result<Self, sqlx::Error> {
        let json = |text: String| RawValue::from_string(text).map_err(|error| sqlx::Error::Decode(Box::new(error)));
        let id: JobId = row.try_get("id")?;
        let status: JobState = row.try_get("state")?;
        let is_stale: bool = row.try_get("is_stale")?;
        let done: Option<i64> = row.try_get("progress_done")?;
        let progress = match done {
            Some(done) => {
                Some(Progress { done, total: row.try_get("progress_total")?, note: row.try_get("progress_note")? })
            }
            None => None,
        };
        let partition: String = row.try_get("partition")?;
        let recovery_hint = if is_stale {
            Some("POST /v1/admin/jobs/recover-stale".to_owned())
        } else if status.can_retry() {
            Some(format!("POST /v1/admin/jobs/{id}/retry"))
        } else {
            None
        };
        Ok(Self {
            id,
            kind: row.try_get("kind")?,
            payload: json(row.try_get("payload")?)?,
            status,
            attempts: row.try_get("attempts")?,
            max_attempts: row.try_get("max_attempts")?,
            priority: row.try_get("priority")?,
            partition: (partition != super::NO_PARTITION).then_some(partition),
            last_error: row.try_get("last_error")?,
            dead_reason: row.try_get("dead_reason")?,
            scheduled_at: row.try_get("scheduled_at")?,
            locked_until: row.try_get("locked_until")?,
            locked_by: row.try_get("locked_by")?,
            started_at: row.try_get("started_at")?,
            completed_at: row.try_get("completed_at")?,
            created_at: row.try_get("created_at")?,
            heartbeat_at: row.try_get("heartbeat_at")?,
            progress,
            is_stale,
            can_retry: status.can_retry(),
            recovery_hint,
            details: Some(JobDetails {
                attempts_log: json(row.try_get("attempts_log")?)?,
                unique_key: row.try_get("unique_key")?,
                enqueued_by: row.try_get("enqueued_by")?,
                request_id: row.try_get("request_id")?,
            }),
        })
    }
}

/// True of a running job nobody works on; `$1` is the node timeout in microseconds.
macro_rules! is_stale {
    ($engine:ident) => {
        concat!(
            "(state = 'running' AND (locked_until < ", dual!(@$engine NOW), " OR NOT EXISTS (SELECT 1 FROM nodes n ",
            "WHERE n.node_id = jobs.node_id AND n.incarnation = jobs.incarnation AND n.stopped_at IS NULL ",
            "AND n.heartbeat_at > ", dual!(@$engine NOW), " - $1)))"
        )
    };
}

macro_rules! job_columns {
    ($engine:ident) => {
        concat!(
            "SELECT jobs.id, kind, payload, state, attempts, max_attempts, priority, partition, last_error, ",
            "dead_reason, jobs.scheduled_at, locked_until, locked_by, started_at, jobs.completed_at, jobs.created_at, ",
            "heartbeat_at, progress_done, progress_total, progress_note, attempts_log, unique_key, enqueued_by, ",
            "request_id, ",
            is_stale!($engine),
            " AS is_stale FROM "
        )
    };
}

const COLUMNS: Sql = Sql { sqlite: job_columns!(sqlite), postgres: job_columns!(postgres) };
const IS_STALE: Sql = Sql { sqlite: is_stale!(sqlite), postgres: is_stale!(postgres) };

#[derive(Clone)]
enum Arg {
    Int(i64),
    Text(&'static str),
    Id(Uuid),
}

/// Conditions with their arguments, numbered from `$2`; the texts are ours, the values bound.
struct Conditions {
    text: String,
    args: Vec<Arg>,
}

impl Conditions {
    fn new(filter: &JobFilter, is_stale: &str) -> Self {
        let mut all = Self { text: "WHERE TRUE".into(), args: Vec::new() };
        if let Some(state) = filter.state {
            // Literals, and in the words of the partial indexes, so that these apply.
            all.text.push_str(&format!(" AND state = '{state}'"));
            all.text.push_str(match state {
                JobState::Completed | JobState::Dead => " AND state IN ('completed', 'dead')",
                JobState::Pending | JobState::Failed => " AND state IN ('pending', 'failed')",
                JobState::Running => "",
            });
        }
        if let Some(kind) = filter.kind {
            let n = all.arg(Arg::Text(kind.as_str()));
            all.text.push_str(&format!(" AND kind = ${n}"));
        }
        if filter.stale {
            all.text.push_str(&format!(" AND {is_stale}"));
        }
        if !filter.targets.is_empty() {
            let list: Vec<_> = filter.targets.iter().map(|id| format!("${}", all.arg(Arg::Id(*id)))).collect();
            all.text.push_str(&format!(" AND target IN ({})", list.join(", ")));
        }
        all
    }

    fn arg(&mut self, arg: Arg) -> usize {
        self.args.push(arg);
        self.args.len() + 1
    }
}

macro_rules! bind_all {
    ($query:expr, $timeout:expr, $args:expr) => {{
        let mut query = $query.bind($timeout);
        for arg in $args {
            query = match arg {
                Arg::Int(n) => query.bind(n),
                Arg::Text(text) => query.bind(text),
                Arg::Id(id) => query.bind(id),
            };
        }
        query
    }};
}

impl Db {
    /// One page of jobs: waiting and running ones by schedule, finished ones latest first.
    pub async fn jobs(&self, filter: &JobFilter, page: &Page, node_timeout: Duration) -> DbResult<JobPage> {
        let timeout = i64::try_from(node_timeout.as_micros()).unwrap_or(i64::MAX / 4);
        let is_stale = self.sql(IS_STALE);
        let mut conditions = Conditions::new(filter, is_stale);
        let total = match filter.stale || !filter.targets.is_empty() {
            true => {
                let sql = format!("SELECT COUNT(*) FROM jobs {} AND CAST($1 AS BIGINT) > 0", conditions.text);
                let args = conditions.args.clone();
                on_db!(self, |c| bind_all!(sqlx::query_scalar(sqlx::AssertSqlSafe(sql)), timeout, args)
                    .fetch_one(c)
                    .await)?
            }
            false => total_of(&self.job_counts().await?, filter),
        };
        let is_terminal = filter.state.is_some_and(JobState::is_terminal);
        let mut offset = i64::from(page.per_page) * i64::from(page.number.saturating_sub(1));
        if let Some(cursor) = page.cursor.as_deref().and_then(Cursor::parse) {
            offset = 0;
            let [a, b, id] =
                [Arg::Int(cursor.main), Arg::Int(cursor.created), Arg::Id(cursor.id)].map(|arg| conditions.arg(arg));
            conditions.text.push_str(&match is_terminal {
                true => format!(" AND (completed_at, id) < (${a}, ${id}) AND ${b} = ${b}"),
                false => format!(
                    " AND scheduled_at >= ${a} AND (scheduled_at > ${a} OR created_at < ${b} OR (created_at = ${b} AND id < ${id}))"
                ),
            });
        }
        // The places of a page are found in an index alone, however many come before it.
        let (places, order) = match filter.state {
            Some(JobState::Completed | JobState::Dead) => ("completed_at", "completed_at DESC, id DESC"),
            // They are few: SQLite is to sort them, not to look for them among all jobs in their order.
            Some(JobState::Running) => ("scheduled_at, created_at", "scheduled_at + 0, created_at DESC, id DESC"),
            _ => ("scheduled_at, created_at", "scheduled_at, created_at DESC, id DESC"),
        };
        let limit = conditions.arg(Arg::Int(i64::from(page.per_page) + 1));
        let offset = conditions.arg(Arg::Int(offset));
        let sql = format!(
            "{}(SELECT id, {places} FROM jobs {} ORDER BY {order} LIMIT ${limit} OFFSET ${offset}) AS page \
             CROSS JOIN jobs WHERE jobs.id = page.id ORDER BY {}",
            self.sql(COLUMNS),
            conditions.text,
            order.split(", ").map(|term| format!("page.{term}")).collect::<Vec<_>>().join(", "),
        );
        let args = conditions.args;
        let mut jobs: Vec<JobView> =
            on_db!(self, |c| bind_all!(sqlx::query_as(sqlx::AssertSqlSafe(sql)), timeout, args).fetch_all(c).await)?;
        let has_next = jobs.len() > page.per_page as usize;
        jobs.truncate(page.per_page as usize);
        for job in &mut jobs {
            job.details = None;
        }
        let next_cursor = match has_next {
            true => jobs.last().map(|job| Cursor::of(job, is_terminal).to_string()),
            false => None,
        };
        Ok(JobPage { jobs, total, has_next, next_cursor })
    }

    /// One job with its attempts.
    pub async fn job(&self, id: JobId, node_timeout: Duration) -> DbResult<Option<JobView>> {
        const SQL: Sql = Sql {
            sqlite: concat!(job_columns!(sqlite), "jobs WHERE id = $2"),
            postgres: concat!(job_columns!(postgres), "jobs WHERE id = $2"),
        };
        let timeout = i64::try_from(node_timeout.as_micros()).unwrap_or(i64::MAX / 4);
        let sql = self.sql(SQL);
        Ok(on_db!(self, |c| sqlx::query_as(sql).bind(timeout).bind(id).fetch_optional(c).await)?)
    }

    /// The whole queue in numbers. Conditions repeat the words of partial indexes, so that SQLite uses these.
    pub async fn job_summary(&self, node_timeout: Duration) -> DbResult<JobSummary> {
        macro_rules! facts {
            ($engine:ident) => {
                concat!(
                    "SELECT (SELECT COUNT(*) FROM jobs WHERE state = 'running' AND ", is_stale!($engine), "), ",
                    "(SELECT COUNT(*) FROM nodes WHERE stopped_at IS NULL AND heartbeat_at > ", dual!(@$engine NOW), " - $1), ",
                    "(SELECT ", dual!(@$engine NOW), " - MIN(oldest) FROM (",
                    "SELECT MIN(scheduled_at) AS oldest FROM jobs WHERE state = 'pending' AND ",
                    "state IN ('pending', 'failed') AND scheduled_at <= ", dual!(@$engine NOW),
                    " UNION ALL SELECT MIN(scheduled_at) FROM jobs WHERE state = 'failed' AND ",
                    "state IN ('pending', 'failed') AND scheduled_at <= ", dual!(@$engine NOW),
                    ") AS waiting)"
                )
            };
        }
        const FACTS: Sql = Sql { sqlite: facts!(sqlite), postgres: facts!(postgres) };
        let timeout = i64::try_from(node_timeout.as_micros()).unwrap_or(i64::MAX / 4);
        let sql = self.sql(FACTS);
        let (stale_jobs_count, nodes_alive, oldest): (i64, i64, Option<i64>) =
            on_db!(self, |c| sqlx::query_as(sql).bind(timeout).fetch_one(c).await)?;
        let counts = self.job_counts().await?;
        let stats = self.job_stats().await?;
        let sum = |pick: fn(&super::KindStats) -> i64| stats.values().map(pick).sum::<i64>() as f64;
        let oldest_seconds = oldest.map(|micros| micros.max(0) / 1_000_000);
        Ok(JobSummary {
            by_status: JobState::ALL.iter().map(|state| (state.as_str(), counts.in_state(*state))).collect(),
            by_kind: JobKind::ALL
                .iter()
                .map(|kind| kind.as_str())
                .chain(counts.iter().map(|(kind, _, _)| kind))
                .map(|kind| (kind.to_owned(), counts.of_kind(kind)))
                .collect(),
            oldest_pending_age_minutes: oldest_seconds.map(|seconds| seconds / 60),
            oldest_pending_age_seconds: oldest_seconds,
            stale_jobs_count,
            paused_kinds: self.paused_queues().await?.into_iter().map(|queue| queue.kind).collect(),
            throughput_1m: sum(|k| k.finished_1m) / 60.0,
            throughput_5m: sum(|k| k.finished_5m) / 300.0,
            error_rate_5m: sum(|k| k.errors_5m) / sum(|k| k.finished_5m).max(1.0),
            leader: self.leader().await?.map(|leader| leader.node_id),
            nodes_alive,
        })
    }

    /// Seconds the oldest claimable job of each kind has been waiting.
    pub async fn oldest_pending_seconds(&self) -> DbResult<BTreeMap<String, i64>> {
        const SQL: Sql = dual!(
            "SELECT kind, (" NOW " - MIN(scheduled_at)) / 1000000 FROM jobs WHERE ready GROUP BY kind"
        );
        let sql = self.sql(SQL);
        let rows: Vec<(String, i64)> = on_db!(self, |c| sqlx::query_as(sql).fetch_all(c).await)?;
        Ok(rows.into_iter().map(|(kind, age)| (kind, age.max(0))).collect())
    }
}

fn total_of(counts: &JobCounts, filter: &JobFilter) -> i64 {
    match (filter.kind, filter.state) {
        (Some(kind), Some(state)) => counts.of(kind.as_str(), state),
        (Some(kind), None) => counts.of_kind(kind.as_str()),
        (None, Some(state)) => counts.in_state(state),
        (None, None) => counts.total(),
    }
}

/// Where a page ended, in the order of its list.
struct Cursor {
    main: i64,
    created: i64,
    id: Uuid,
}

impl Cursor {
    fn of(job: &JobView, is_terminal: bool) -> Self {
        let main = match is_terminal {
            true => job.completed_at.unwrap_or(job.scheduled_at),
            false => job.scheduled_at,
        };
        Self { main: main.as_micros(), created: job.created_at.as_micros(), id: job.id.0 }
    }

    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.splitn(3, '.');
        let mut number = || parts.next()?.parse().ok();
        let (main, created) = (number()?, number()?);
        Some(Self { main, created, id: parts.next()?.parse().ok()? })
    }
}

impl std::fmt::Display for Cursor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}.{}", self.main, self.created, self.id.simple())
    }
}

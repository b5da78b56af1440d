//! Leaving `running`: results, given-back jobs, lost leases. Every transition is fenced by the lease.

use std::collections::HashMap;
use std::time::Duration;

use publaryn_core::{
    JobId, LeaseId, Timestamp,
    job::{DeadReason, JobState},
};
use serde::{Deserialize, Serialize};
use sqlx::FromRow;

use crate::{Db, DbResult, Sql, Tx};

/// Attempts remembered per job, and bytes of each error.
const ATTEMPTS_KEPT: usize = 20;
const ERROR_BYTES: usize = 4096;
/// Takedowns of a worker or node after which a job is dead (J6).
const MAX_CRASHES: i64 = 3;

/// One entry of a job's `attempts_log`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Attempt {
    pub attempt: i64,
    pub started_at: Timestamp,
    pub ended_at: Timestamp,
    pub node: String,
    pub outcome: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// How a run ends, as the queue sees it.
#[derive(Debug, Clone)]
pub enum JobEnd {
    Completed,
    /// Runs again after `delay`; the attempt counts.
    Failed {
        error: String,
        delay: Duration,
    },
    Dead {
        error: String,
        reason: DeadReason,
    },
    /// Runs again after `delay`; the attempt does not count.
    Snoozed {
        delay: Duration,
    },
    /// Given back by a draining node; the attempt does not count.
    Interrupted,
    /// Its worker panicked, or its node is gone: the attempt and the crash count.
    Crashed {
        error: String,
        delay: Duration,
    },
    /// Given back by an operator or because its lease ran out; the attempt counts.
    LeaseLost {
        error: String,
    },
}

impl JobEnd {
    /// The word in `attempts_log`.
    pub const fn outcome(&self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Failed { .. } => "failed",
            Self::Dead { .. } => "dead",
            Self::Snoozed { .. } => "snoozed",
            Self::Interrupted => "interrupted",
            Self::Crashed { .. } => "crashed",
            Self::LeaseLost { .. } => "lease_lost",
        }
    }
}

/// The end of one run, ready to be stored.
#[derive(Debug, Clone, Serialize)]
pub struct Transition {
    id: String,
    lease: String,
    state: JobState,
    delay_us: i64,
    give_back: i64,
    crash: i64,
    error: Option<String>,
    reason: Option<DeadReason>,
    log: String,
    #[serde(skip)]
    pub job: JobId,
}

/// What a transition needs to know about the run.
#[derive(Debug, Clone, FromRow)]
pub struct RunFacts {
    pub id: JobId,
    pub lease_id: LeaseId,
    pub attempts: i64,
    pub max_attempts: i64,
    pub crashes: i64,
    pub attempts_log: String,
    pub started_at: Timestamp,
    pub node_id: String,
    pub cancel_requested: bool,
}

impl Transition {
    /// Decides the next state (jobs.md §3): what may not run again is dead, whatever it asked for.
    pub fn new(run: &RunFacts, end: JobEnd, ended_at: Timestamp) -> Self {
        let outcome = end.outcome();
        let crashes = run.crashes + i64::from(matches!(end, JobEnd::Crashed { .. }));
        let used_up = run.attempts >= run.max_attempts;
        let (mut state, mut reason, delay, give_back, error) = match end {
            JobEnd::Completed => (JobState::Completed, None, Duration::ZERO, 0, None),
            JobEnd::Dead { error, reason } => (JobState::Dead, Some(reason), Duration::ZERO, 0, Some(error)),
            JobEnd::Snoozed { delay } => (JobState::Pending, None, delay, 1, None),
            JobEnd::Interrupted => (JobState::Pending, None, Duration::ZERO, 1, None),
            JobEnd::Crashed { error, .. } if crashes >= MAX_CRASHES => {
                (JobState::Dead, Some(DeadReason::CrashLoop), Duration::ZERO, 0, Some(error))
            }
            JobEnd::Failed { error, .. } | JobEnd::Crashed { error, .. } | JobEnd::LeaseLost { error } if used_up => {
                (JobState::Dead, Some(DeadReason::AttemptsExhausted), Duration::ZERO, 0, Some(error))
            }
            JobEnd::Failed { error, delay } => (JobState::Failed, None, delay, 0, Some(error)),
            JobEnd::Crashed { error, delay } if delay.is_zero() => {
                (JobState::Pending, None, Duration::ZERO, 0, Some(error))
            }
            JobEnd::Crashed { error, delay } => (JobState::Failed, None, delay, 0, Some(error)),
            JobEnd::LeaseLost { error } => (JobState::Pending, None, Duration::ZERO, 0, Some(error)),
        };
        if run.cancel_requested && !state.is_terminal() {
            (state, reason) = (JobState::Dead, Some(DeadReason::Cancelled));
        }
        let error = error.map(|text| cut(text, ERROR_BYTES));
        let mut log: Vec<Attempt> = serde_json::from_str(&run.attempts_log).unwrap_or_default();
        log.push(Attempt {
            attempt: run.attempts,
            started_at: run.started_at,
            ended_at,
            node: run.node_id.clone(),
            outcome: outcome.to_owned(),
            error: error.clone(),
        });
        let log = &log[log.len().saturating_sub(ATTEMPTS_KEPT)..];
        Self {
            id: run.id.0.simple().to_string(),
            lease: run.lease_id.0.simple().to_string(),
            state,
            delay_us: i64::try_from(delay.as_micros()).unwrap_or(i64::MAX / 4),
            give_back,
            crash: crashes - run.crashes,
            error,
            reason,
            log: serde_json::to_string(log).unwrap_or_else(|_| "[]".into()),
            job: run.id,
        }
    }

    pub fn state(&self) -> JobState {
        self.state
    }
    pub fn reason(&self) -> Option<DeadReason> {
        self.reason
    }
}

/// A transition that took place.
#[derive(Debug, Clone, FromRow)]
pub struct Finished {
    pub id: JobId,
    pub kind: String,
    pub state: JobState,
    pub dead_reason: Option<DeadReason>,
    /// Others may wait behind its unique key.
    pub has_key: bool,
}

macro_rules! finish_set {
    ($engine:ident) => {
        concat!(
            "SET previous_state = 'running', state = r.state, ",
            "ready = (r.state IN ('pending', 'failed') AND r.delay_us = 0), ",
            "key_slot = CASE WHEN r.state IN ('pending', 'failed') AND NOT EXISTS (SELECT 1 FROM jobs o ",
            "WHERE o.kind = jobs.kind AND o.key_slot = jobs.unique_key AND o.id <> jobs.id) THEN unique_key END, ",
            "attempts = attempts - r.give_back, crashes = crashes + r.crash, ",
            "scheduled_at = CASE WHEN r.delay_us > 0 THEN ", dual!(@$engine NOW), " + r.delay_us ELSE scheduled_at END, ",
            "rank = CASE WHEN r.delay_us > 0 THEN ", dual!(@$engine NOW),
            " + r.delay_us + priority * 60000000 ELSE rank END, ",
            "completed_at = CASE WHEN r.state IN ('completed', 'dead') THEN ", dual!(@$engine NOW), " END, ",
            "lease_id = NULL, node_id = NULL, incarnation = NULL, locked_by = NULL, locked_until = NULL, ",
            "cancel_requested = FALSE, last_error = COALESCE(r.error, last_error), dead_reason = r.reason, ",
            "attempts_log = r.log "
        )
    };
}

const FINISH: Sql = Sql {
    sqlite: concat!(
        "UPDATE jobs ",
        finish_set!(sqlite),
        "FROM (SELECT unhex(value ->> 'id') AS id, unhex(value ->> 'lease') AS lease, value ->> 'state' AS state, ",
        "value ->> 'delay_us' AS delay_us, value ->> 'give_back' AS give_back, value ->> 'crash' AS crash, ",
        "value ->> 'error' AS error, value ->> 'reason' AS reason, value ->> 'log' AS log FROM json_each($1)) AS r ",
        "WHERE jobs.id = r.id AND jobs.lease_id = r.lease AND jobs.state = 'running' ",
        "RETURNING id, kind, state, dead_reason, (unique_key IS NOT NULL) AS has_key"
    ),
    postgres: concat!(
        "UPDATE jobs ",
        finish_set!(postgres),
        "FROM json_to_recordset($1::json) AS r (id UUID, lease UUID, state TEXT, delay_us BIGINT, give_back BIGINT, ",
        "crash BIGINT, error TEXT, reason TEXT, log TEXT) ",
        "WHERE jobs.id = r.id AND jobs.lease_id = r.lease AND jobs.state = 'running' ",
        "RETURNING jobs.id, jobs.kind, jobs.state, jobs.dead_reason, (jobs.unique_key IS NOT NULL) AS has_key"
    ),
};

macro_rules! run_facts {
    () => {
        "SELECT id, lease_id, attempts, max_attempts, crashes, attempts_log, started_at, node_id, cancel_requested \
         FROM jobs WHERE state = 'running' AND lease_id IS NOT NULL AND "
    };
}

impl Tx {
    /// Stores the ends of runs whose lease still holds; the answer names those.
    pub async fn finish_jobs(&mut self, transitions: &[Transition]) -> DbResult<Vec<Finished>> {
        if transitions.is_empty() {
            return Ok(Vec::new());
        }
        let rows = serde_json::to_string(transitions)
            .map_err(|source| crate::DbError::Corrupt { what: "job transition", source })?;
        let sql = FINISH.on(self.engine());
        let finished: Vec<Finished> = on_tx!(self, |c| sqlx::query_as(sql).bind(rows).fetch_all(c).await)?;
        let delays: HashMap<JobId, i64> = transitions.iter().map(|t| (t.job, t.delay_us)).collect();
        let changes: Vec<_> = finished
            .iter()
            .flat_map(|f| [(f.kind.as_str(), JobState::Running, -1), (f.kind.as_str(), f.state, 1)])
            .collect();
        self.count_jobs(&changes).await?;
        for job in &finished {
            // Something may have waited behind this job's key, or it waits again itself.
            let waits = !job.state.is_terminal() && delays.get(&job.id) == Some(&0);
            if job.has_key || waits {
                self.note_kind(&job.kind);
            }
        }
        Ok(finished)
    }

    /// As [`finish_jobs`](Self::finish_jobs), for a batch of the queue's own that need not wait for the disk.
    pub async fn finish_batch(&mut self, transitions: &[Transition]) -> DbResult<Vec<Finished>> {
        self.tune_for_queue().await?;
        self.finish_jobs(transitions).await
    }

    /// Extends leases that still hold. The answer names them and whether an operator wants the job stopped.
    pub async fn extend_leases(
        &mut self,
        leases: &[(JobId, LeaseId)],
        lease: Duration,
    ) -> DbResult<Vec<(JobId, bool)>> {
        const SQL: Sql = Sql {
            sqlite: concat!(
                "UPDATE jobs SET locked_until = ",
                dual!(@sqlite NOW),
                " + $2, heartbeat_at = ",
                dual!(@sqlite NOW),
                " FROM (SELECT unhex(value ->> 0) AS id, unhex(value ->> 1) AS lease FROM json_each($1)) AS r ",
                "WHERE jobs.id = r.id AND jobs.lease_id = r.lease AND jobs.state = 'running' ",
                "RETURNING id, cancel_requested"
            ),
            postgres: concat!(
                "UPDATE jobs SET locked_until = ",
                dual!(@postgres NOW),
                " + $2, heartbeat_at = ",
                dual!(@postgres NOW),
                " FROM (SELECT CAST(value ->> 0 AS UUID) AS id, CAST(value ->> 1 AS UUID) AS lease ",
                "FROM json_array_elements($1::json)) AS r ",
                "WHERE jobs.id = r.id AND jobs.lease_id = r.lease AND jobs.state = 'running' ",
                "RETURNING jobs.id, jobs.cancel_requested"
            ),
        };
        let rows: Vec<_> =
            leases.iter().map(|(id, lease)| [id.0.simple().to_string(), lease.0.simple().to_string()]).collect();
        let rows = serde_json::json!(rows).to_string();
        let micros = i64::try_from(lease.as_micros()).unwrap_or(i64::MAX / 4);
        let sql = SQL.on(self.engine());
        Ok(on_tx!(self, |c| sqlx::query_as(sql).bind(rows).bind(micros).fetch_all(c).await)?)
    }

    /// Stores what a running job reports about itself.
    pub async fn store_progress(
        &mut self,
        job: JobId,
        lease: LeaseId,
        done: i64,
        total: Option<i64>,
        note: Option<&str>,
    ) -> DbResult<bool> {
        const SQL: &str = "UPDATE jobs SET progress_done = $3, progress_total = $4, progress_note = $5 \
                           WHERE id = $1 AND lease_id = $2 AND state = 'running'";
        let rows = on_tx!(self, |c| sqlx::query(SQL)
            .bind(job)
            .bind(lease)
            .bind(done)
            .bind(total)
            .bind(note)
            .execute(c)
            .await
            .map(|r| r.rows_affected()))?;
        Ok(rows > 0)
    }

    /// Ends every run of a node's former incarnations: they died with it (J5). On SQLite, where one
    /// process owns the database, every run is a former one.
    pub async fn recover_former_runs(&mut self, node_id: &str, incarnation: i64) -> DbResult<Vec<Finished>> {
        const SQL: Sql = Sql {
            sqlite: concat!(run_facts!(), "(node_id <> $1 OR incarnation <> $2)"),
            postgres: concat!(run_facts!(), "node_id = $1 AND incarnation < $2 FOR UPDATE SKIP LOCKED"),
        };
        let sql = SQL.on(self.engine());
        let runs: Vec<RunFacts> =
            on_tx!(self, |c| sqlx::query_as(sql).bind(node_id).bind(incarnation).fetch_all(c).await)?;
        self.end_all(runs, |_| crashed("its node ended while it ran")).await
    }

    /// Ends runs whose node is silent for `node_timeout` (a crash) or, failing that, whose lease ran out.
    ///
    /// With `nodes_too` false only leases count: after an outage of the database every node looks silent.
    pub async fn sweep_runs(
        &mut self,
        node_timeout: Duration,
        nodes_too: bool,
    ) -> DbResult<(Vec<Finished>, Vec<Finished>)> {
        let dead = match nodes_too {
            true => self.dead_node_runs(node_timeout).await?,
            false => Vec::new(),
        };
        let from_nodes = self.end_all(dead, |_| crashed("its node was silent for too long")).await?;
        let expired = self.expired_runs().await?;
        let from_leases = self
            .end_all(expired, |_| JobEnd::LeaseLost { error: "its worker stopped extending the lease".into() })
            .await?;
        Ok((from_nodes, from_leases))
    }

    /// What an operator asks for: every stale run is pending again, whatever its history.
    pub async fn recover_stale_jobs(&mut self, node_timeout: Duration) -> DbResult<Vec<Finished>> {
        let mut recovered = Vec::new();
        // They are read a thousand at a time.
        loop {
            let mut runs = self.dead_node_runs(node_timeout).await?;
            runs.extend(self.expired_runs().await?);
            runs.sort_by_key(|run| run.id);
            runs.dedup_by_key(|run| run.id);
            for run in &mut runs {
                // The operator decided that it runs again.
                run.max_attempts = run.attempts + 1;
            }
            let ended = self.end_all(runs, |_| JobEnd::LeaseLost { error: "recovered by an operator".into() }).await?;
            if ended.is_empty() {
                return Ok(recovered);
            }
            recovered.extend(ended);
        }
    }

    async fn dead_node_runs(&mut self, node_timeout: Duration) -> DbResult<Vec<RunFacts>> {
        macro_rules! dead_nodes {
            ($engine:ident) => {
                concat!(
                    run_facts!(),
                    "NOT EXISTS (SELECT 1 FROM nodes n WHERE n.node_id = jobs.node_id AND n.incarnation = jobs.incarnation ",
                    "AND n.stopped_at IS NULL AND n.heartbeat_at > ", dual!(@$engine NOW), " - $1) LIMIT 1000"
                )
            };
        }
        const SQL: Sql =
            Sql { sqlite: dead_nodes!(sqlite), postgres: concat!(dead_nodes!(postgres), " FOR UPDATE SKIP LOCKED") };
        let micros = i64::try_from(node_timeout.as_micros()).unwrap_or(i64::MAX / 4);
        let sql = SQL.on(self.engine());
        Ok(on_tx!(self, |c| sqlx::query_as(sql).bind(micros).fetch_all(c).await)?)
    }

    async fn expired_runs(&mut self) -> DbResult<Vec<RunFacts>> {
        const SQL: Sql = Sql {
            sqlite: concat!(run_facts!(), "locked_until < ", dual!(@sqlite NOW), " LIMIT 1000"),
            postgres: concat!(
                run_facts!(),
                "locked_until < ",
                dual!(@postgres NOW),
                " LIMIT 1000 FOR UPDATE SKIP LOCKED"
            ),
        };
        let sql = SQL.on(self.engine());
        Ok(on_tx!(self, |c| sqlx::query_as(sql).fetch_all(c).await)?)
    }

    async fn end_all(&mut self, runs: Vec<RunFacts>, end: impl Fn(&RunFacts) -> JobEnd) -> DbResult<Vec<Finished>> {
        if runs.is_empty() {
            return Ok(Vec::new());
        }
        let now = Timestamp::now();
        let transitions: Vec<_> = runs.iter().map(|run| Transition::new(run, end(run), now)).collect();
        self.finish_jobs(&transitions).await
    }
}

fn crashed(error: &str) -> JobEnd {
    JobEnd::Crashed { error: error.into(), delay: Duration::ZERO }
}

impl Db {
    /// Whether [`Tx::sweep_runs`] would find something: one question, which an idle installation asks
    /// every few seconds.
    pub async fn has_lost_runs(&self, node_timeout: Duration, nodes_too: bool) -> DbResult<bool> {
        const SQL: Sql = dual!(
            "SELECT EXISTS (SELECT 1 FROM jobs WHERE state = 'running' AND lease_id IS NOT NULL AND (locked_until < " NOW
            " OR ($2 AND NOT EXISTS (SELECT 1 FROM nodes n WHERE n.node_id = jobs.node_id "
            "AND n.incarnation = jobs.incarnation AND n.stopped_at IS NULL AND n.heartbeat_at > " NOW " - $1))))"
        );
        let micros = i64::try_from(node_timeout.as_micros()).unwrap_or(i64::MAX / 4);
        let sql = self.sql(SQL);
        Ok(on_db!(self, |c| sqlx::query_scalar(sql).bind(micros).bind(nodes_too).fetch_one(c).await)?)
    }

    /// Jobs this node should stop: an operator cancelled them.
    pub async fn cancelled_runs(&self, node_id: &str) -> DbResult<Vec<JobId>> {
        const SQL: &str = "SELECT id FROM jobs WHERE state = 'running' AND cancel_requested AND node_id = $1";
        Ok(on_db!(self, |c| sqlx::query_scalar(SQL).bind(node_id).fetch_all(c).await)?)
    }
}

/// At most `bytes` bytes, cut at a character.
fn cut(mut text: String, bytes: usize) -> String {
    let mut end = text.len().min(bytes);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.truncate(end);
    text
}

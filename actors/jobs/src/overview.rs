//! The queues as `GET /v1/admin/queues` shows them.

use publaryn_core::{Timestamp, job::JobKind, job::JobState};
use publaryn_metadata::DbResult;
use serde::Serialize;

use crate::Jobs;

/// One kind over all nodes; `concurrency` is this node's.
#[derive(Debug, Clone, Serialize)]
pub struct QueueView {
    pub kind: JobKind,
    pub paused: bool,
    pub paused_by: Option<String>,
    pub paused_at: Option<Timestamp>,
    pub concurrency: usize,
    pub running: i64,
    pub pending: i64,
    pub failed: i64,
    pub dead: i64,
    pub oldest_pending_age_seconds: Option<i64>,
    /// Finished jobs per second.
    pub throughput_1m: f64,
    /// Share of runs that failed, 0 to 1.
    pub error_rate_1m: f64,
    pub wait_p50_ms: Option<f64>,
    pub wait_p99_ms: Option<f64>,
    pub run_p50_ms: Option<f64>,
    pub run_p99_ms: Option<f64>,
}

impl Jobs {
    /// Every kind, in the order of its declaration.
    pub async fn queues(&self) -> DbResult<Vec<QueueView>> {
        let db = &self.0.db;
        let counts = db.job_counts().await?;
        let stats = db.job_stats().await?;
        let oldest = db.oldest_pending_seconds().await?;
        let paused = db.paused_queues().await?;
        let view = |kind: JobKind| {
            let name = kind.as_str();
            let stats = stats.get(name).cloned().unwrap_or_default();
            let pause = paused.iter().find(|pause| pause.kind == name);
            QueueView {
                kind,
                paused: pause.is_some(),
                paused_by: pause.and_then(|pause| pause.paused_by.clone()),
                paused_at: pause.map(|pause| pause.paused_at),
                concurrency: self.0.options.concurrency_of(kind),
                running: counts.of(name, JobState::Running),
                pending: counts.of(name, JobState::Pending),
                failed: counts.of(name, JobState::Failed),
                dead: counts.of(name, JobState::Dead),
                oldest_pending_age_seconds: oldest.get(name).copied(),
                throughput_1m: stats.finished_1m as f64 / 60.0,
                error_rate_1m: stats.errors_1m as f64 / stats.finished_1m.max(1) as f64,
                wait_p50_ms: stats.waits.quantile_ms(0.5),
                wait_p99_ms: stats.waits.quantile_ms(0.99),
                run_p50_ms: stats.runs.quantile_ms(0.5),
                run_p99_ms: stats.runs.quantile_ms(0.99),
            }
        };
        Ok(JobKind::ALL.iter().copied().map(view).collect())
    }
}

//! `publaryn bench jobs`: throughput and wake-up latency of the queue with jobs that do nothing.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use async_trait::async_trait;
use publaryn_actors::{SupervisorSpec, Tree, TreeOptions};
use publaryn_core::job::JobKind;
use publaryn_metadata::{Db, DbError, jobs::NewJob};
use serde::Serialize;
use serde_json::json;
use tokio::sync::Notify;

use crate::{Handler, JobContext, JobError, Jobs, JobsOptions, KindOverride, Outcome};

const KIND: JobKind = JobKind::AnalyzeRelease;
const ENQUEUE_BATCH: u64 = 1000;
/// Single jobs on an idle queue, for the latencies.
const PROBES: usize = 200;

#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    #[error("the database is not empty of jobs; use a scratch database")]
    NotEmpty,
    #[error(transparent)]
    Db(#[from] DbError),
}

/// What was measured; latencies are enqueue to start on an idle queue of the same node.
#[derive(Debug, Clone, Serialize)]
pub struct BenchReport {
    pub jobs: u64,
    pub seconds: f64,
    pub jobs_per_second: f64,
    pub p50_ms: f64,
    pub p99_ms: f64,
}

struct NoOp {
    done: Arc<AtomicU64>,
    all_done: Arc<Notify>,
    count: u64,
    probe: Arc<Mutex<Option<Instant>>>,
    latencies: Arc<Mutex<Vec<Duration>>>,
    probed: Arc<Notify>,
}

#[async_trait]
impl Handler for NoOp {
    fn kind(&self) -> JobKind {
        KIND
    }

    async fn run(&self, _: &JobContext) -> Result<Outcome, JobError> {
        let started = Instant::now();
        let done = self.done.fetch_add(1, SeqCst) + 1;
        if done == self.count {
            self.all_done.notify_one();
        } else if done > self.count
            && let Some(asked) = self.probe.lock().expect("nothing panics with it").take()
        {
            self.latencies.lock().expect("nothing panics with it").push(started - asked);
            self.probed.notify_one();
        }
        Ok(Outcome::Done)
    }
}

/// Runs `count` jobs that do nothing, `concurrency` at a time.
///
/// # Errors
/// `NotEmpty` for a database that has ever held jobs and still does.
pub async fn bench_jobs(db: Db, count: u64, concurrency: usize) -> Result<BenchReport, BenchError> {
    if !db.has_no_jobs().await? {
        return Err(BenchError::NotEmpty);
    }
    let mut left = count;
    while left > 0 {
        let batch = left.min(ENQUEUE_BATCH);
        let jobs: Vec<_> = (0..batch).map(|n| (json!({"n": n}), None)).collect();
        let mut tx = db.begin().await?;
        tx.enqueue_many(KIND, &jobs).await?;
        tx.commit().await?;
        left -= batch;
    }
    let handler = Arc::new(NoOp {
        done: Arc::default(),
        all_done: Arc::default(),
        count,
        probe: Arc::default(),
        latencies: Arc::default(),
        probed: Arc::default(),
    });
    let mut options = JobsOptions::new("bench");
    options.concurrency = concurrency;
    let limit = KindOverride { concurrency: Some(concurrency), ..KindOverride::default() };
    options.kinds.insert(KIND, limit);
    let began = Instant::now();
    let jobs = Jobs::start(db.clone(), options, vec![handler.clone()]).await?;
    let root = jobs.children().into_iter().fold(SupervisorSpec::root(&[]), SupervisorSpec::child);
    let tree = Tree::start(root, TreeOptions::default()).await;
    if count > 0 {
        handler.all_done.notified().await;
    }
    // Done means stored.
    while !jobs.0.running.is_empty() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let seconds = began.elapsed().as_secs_f64();
    let probed = probe(&db, &handler).await;
    jobs.drain(Duration::from_secs(5)).await;
    tree.stop(Duration::from_secs(10)).await;
    probed?;
    let mut latencies = handler.latencies.lock().expect("nothing panics with it").clone();
    latencies.sort_unstable();
    let quantile = |share: f64| {
        let index = ((latencies.len() as f64 * share) as usize).min(latencies.len().saturating_sub(1));
        latencies.get(index).map_or(0.0, |latency| latency.as_secs_f64() * 1000.0)
    };
    Ok(BenchReport {
        jobs: count,
        seconds,
        jobs_per_second: count as f64 / seconds.max(1e-9),
        p50_ms: quantile(0.5),
        p99_ms: quantile(0.99),
    })
}

async fn probe(db: &Db, handler: &NoOp) -> Result<(), BenchError> {
    for _ in 0..PROBES {
        // Let the queue fall idle, results stored.
        tokio::time::sleep(Duration::from_millis(30)).await;
        let mut tx = db.begin().await?;
        tx.enqueue(&NewJob::new(KIND, &json!({}))).await?;
        *handler.probe.lock().expect("nothing panics with it") = Some(Instant::now());
        tx.commit().await?;
        handler.probed.notified().await;
    }
    Ok(())
}

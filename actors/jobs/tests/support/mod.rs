//! A node in this process, and waiting for facts instead of for time.
#![allow(dead_code, reason = "each test file uses a part of this")]

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use futures::future::BoxFuture;
use publaryn_actors::{SupervisorSpec, Tree, TreeOptions, install_panic_hook};
use publaryn_core::{
    JobId,
    job::{JobKind, JobState},
};
use publaryn_jobs::{Handler, JobContext, JobError, Jobs, JobsOptions, Outcome};
use publaryn_metadata::{
    Db,
    jobs::{JobView, NewJob},
};
use serde_json::json;

pub const MINUTE: Duration = Duration::from_secs(60);
pub const KIND: JobKind = JobKind::IndexPackage;

type Run = dyn for<'a> Fn(&'a JobContext) -> BoxFuture<'a, Result<Outcome, JobError>> + Send + Sync;

/// A handler made of a closure.
pub struct Does {
    kind: JobKind,
    run: Box<Run>,
}

#[async_trait]
impl Handler for Does {
    fn kind(&self) -> JobKind {
        self.kind
    }
    async fn run(&self, job: &JobContext) -> Result<Outcome, JobError> {
        (self.run)(job).await
    }
}

pub fn does<F>(kind: JobKind, run: F) -> Arc<dyn Handler>
where
    F: for<'a> Fn(&'a JobContext) -> BoxFuture<'a, Result<Outcome, JobError>> + Send + Sync + 'static,
{
    Arc::new(Does { kind, run: Box::new(run) })
}

/// A handler that only succeeds.
pub fn succeeds(kind: JobKind) -> Arc<dyn Handler> {
    does(kind, |_| Box::pin(async { Ok(Outcome::Done) }))
}

/// The real engine with times a test can sit through.
pub fn quick(node: &str) -> JobsOptions {
    JobsOptions {
        poll_interval: Duration::from_millis(100),
        heartbeat: Duration::from_millis(200),
        node_timeout: Duration::from_secs(3),
        leader_ttl: Duration::from_secs(2),
        drain_grace: Duration::from_secs(5),
        cancel_grace: Duration::from_millis(300),
        ..JobsOptions::new(node)
    }
}

pub struct Node {
    pub jobs: Jobs,
    pub tree: Tree,
}

impl Node {
    pub async fn start(db: &Db, options: JobsOptions, handlers: Vec<Arc<dyn Handler>>) -> Self {
        install_panic_hook();
        let jobs = Jobs::start(db.clone(), options, handlers).await.unwrap();
        let root = jobs.children().into_iter().fold(SupervisorSpec::root(&[]), SupervisorSpec::child);
        let tree = Tree::start(root, TreeOptions::default()).await;
        Self { jobs, tree }
    }

    pub async fn stop(self) {
        self.jobs.drain(Duration::from_secs(10)).await;
        self.tree.stop(Duration::from_secs(20)).await;
    }
}

pub async fn enqueue(db: &Db, job: NewJob) -> JobId {
    let mut tx = db.begin().await.unwrap();
    let enqueued = tx.enqueue(&job).await.unwrap();
    tx.commit().await.unwrap();
    enqueued.id
}

pub fn job(n: u32) -> NewJob {
    NewJob::new(KIND, &json!({"n": n}))
}

pub async fn view(db: &Db, id: JobId) -> JobView {
    db.job(id, MINUTE).await.unwrap().unwrap()
}

/// Polls until `fact` holds; gives up after two minutes, which only a hang reaches.
pub async fn until(what: &str, mut fact: impl AsyncFnMut() -> bool) {
    for _ in 0..6000 {
        if fact().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("never happened: {what}");
}

pub async fn until_state(db: &Db, id: JobId, state: JobState) {
    until(&format!("job is {state}"), async || view(db, id).await.status == state).await;
}

/// Lets a job that waits for its next attempt run now.
pub async fn make_due(db: &Db) {
    db.execute_raw("UPDATE jobs SET scheduled_at = 0 WHERE state IN ('pending', 'failed')").await.unwrap();
}

pub async fn until_completed(db: &Db, count: i64) {
    until(&format!("{count} jobs completed"), async || {
        db.job_counts().await.unwrap().in_state(JobState::Completed) == count
    })
    .await;
}

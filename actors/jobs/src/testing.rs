//! Running a job in a test of a crate above, with the real engine.

use std::{sync::Arc, time::Duration};

use publaryn_actors::{SupervisorSpec, Tree, TreeOptions};
use publaryn_core::job::JobState;
use publaryn_metadata::{Db, jobs::NewJob};

use crate::{Handler, Jobs, JobsOptions};

/// Longer than any job of a test takes, even on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Enqueues the job and runs it, and whatever else the handlers find to do until it has completed.
///
/// # Panics
/// When the job fails, or does not end.
pub async fn run_to_end(db: &Db, handlers: Vec<Arc<dyn Handler>>, job: NewJob) {
    let mut tx = db.begin().await.expect("the scratch database answers");
    let id = tx.enqueue(&job).await.expect("the queue takes the job").id;
    tx.commit().await.expect("the scratch database commits");
    let options = JobsOptions { poll_interval: Duration::from_millis(100), ..JobsOptions::new("test") };
    let jobs = Jobs::start(db.clone(), options, handlers).await.expect("the engine starts");
    let root = jobs.children().into_iter().fold(SupervisorSpec::root(&[]), SupervisorSpec::child);
    let tree = Tree::start(root, TreeOptions::default()).await;
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        let view = db.job(id, PATIENCE).await.expect("the scratch database answers").expect("the job is kept");
        match view.status {
            JobState::Completed => break,
            JobState::Failed | JobState::Dead => panic!("{}: {:?}", job.kind, view.last_error),
            JobState::Pending | JobState::Running => {
                assert!(tokio::time::Instant::now() < deadline, "{} never ended", job.kind);
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }
    jobs.drain(Duration::from_secs(10)).await;
    tree.stop(Duration::from_secs(10)).await;
}

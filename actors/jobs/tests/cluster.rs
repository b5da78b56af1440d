//! Several nodes, dying nodes, lost databases.

mod support;

use std::{
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use publaryn_core::job::{DeadReason, JobKind, JobState};
use publaryn_jobs::{Cadence, JobsOptions, Outcome, Schedule};
use publaryn_metadata::{Db, DbOptions, jobs::NewJob, testing};
use serde_json::json;
use support::*;

const CHILD_URL: &str = "PUBLARYN_TEST_CHILD_URL";

/// Not a test of its own: the body of a process that [`spawn_child`] starts in order to kill it.
#[test]
fn child_node() {
    let Ok(url) = std::env::var(CHILD_URL) else { return };
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let db = Db::connect(&url, &DbOptions::default()).await.unwrap();
        let hangs = does(KIND, |_| Box::pin(std::future::pending()));
        let _node = Node::start(&db, quick("victim"), vec![hangs, succeeds(JobKind::AnalyzeRelease)]).await;
        std::future::pending::<()>().await
    });
}

struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        // Gone already is what we want.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn spawn_child(url: &str) -> Killed {
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["child_node", "--exact", "--nocapture"])
        .env(CHILD_URL, url)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    Killed(child)
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_of_a_killed_process_run_after_its_restart() {
    for test in testing::each().await {
        let db = &test.db;
        let mut ids = Vec::new();
        for n in 0..4 {
            ids.push(enqueue(db, job(n)).await);
        }
        for crash in 1..=2 {
            let child = spawn_child(&test.url);
            until("all run in the child", async || {
                db.job_counts().await.unwrap().of(KIND.as_str(), JobState::Running) == 4
            })
            .await;
            drop(child); // SIGKILL
            assert_eq!(view(db, ids[0]).await.attempts, crash);
            let mut tx = db.begin().await.unwrap();
            // What the next start of the node does first.
            let incarnation = db.nodes(MINUTE).await.unwrap()[0].incarnation;
            assert_eq!(tx.recover_former_runs("victim", incarnation + 1).await.unwrap().len(), 4);
            tx.commit().await.unwrap();
        }
        let node = Node::start(db, quick("victim"), vec![succeeds(KIND)]).await;
        until_completed(db, 4).await;
        let log = serde_json::to_value(view(db, ids[0]).await).unwrap()["attempts_log"].clone();
        let outcomes: Vec<_> = log.as_array().unwrap().iter().map(|a| a["outcome"].as_str().unwrap()).collect();
        assert_eq!(outcomes, ["crashed", "crashed", "completed"]);
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn restart_alone_recovers_and_poison_goes_dead() {
    for test in testing::each().await {
        let db = &test.db;
        let id = enqueue(db, job(1)).await;
        for crash in 1..=3 {
            let child = spawn_child(&test.url);
            until("it runs once more", async || view(db, id).await.attempts == crash).await;
            drop(child);
        }
        let node = Node::start(db, quick("victim"), vec![succeeds(KIND)]).await;
        until_state(db, id, JobState::Dead).await;
        assert_eq!(view(db, id).await.dead_reason, Some(DeadReason::CrashLoop));
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_node_takes_over_from_a_killed_one() {
    if let Some(test) = postgres().await {
        let db = &test.db;
        let child = spawn_child(&test.url);
        let id = enqueue(db, job(1)).await;
        until_state(db, id, JobState::Running).await;
        until("the child leads", async || db.leader().await.unwrap().is_some()).await;
        let node = Node::start(db, quick("survivor"), vec![succeeds(KIND)]).await;
        assert_eq!(view(db, id).await.status, JobState::Running, "its node is alive");
        drop(child);
        until_state(db, id, JobState::Completed).await;
        assert!(node.jobs.is_leader());
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn other_nodes_are_woken_without_polling() {
    if let Some(test) = postgres().await {
        let db = &test.db;
        let seldom = |name: &str| JobsOptions { poll_interval: MINUTE * 60, ..quick(name) };
        let worker_db = Db::connect(&test.url, &DbOptions::default()).await.unwrap();
        let worker = Node::start(&worker_db, seldom("worker"), vec![succeeds(KIND)]).await;
        let api = Node::start(db, seldom("api"), vec![]).await;
        // A node notices its neighbour with a heartbeat; enqueue until one announcement arrives.
        until("a job was announced and run", async || {
            enqueue(db, job(1)).await;
            tokio::time::sleep(Duration::from_millis(200)).await;
            db.job_counts().await.unwrap().in_state(JobState::Completed) > 0
        })
        .await;
        api.stop().await;
        worker.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn schedules_tick_once_under_one_leader_who_hands_over() {
    for test in testing::each().await {
        let db = &test.db;
        let every = Cadence::Every { period: Duration::from_secs(1), offset: Duration::ZERO };
        let schedules = vec![Schedule::new("prune-jobs", JobKind::PruneJobs, every)];
        let options = |name: &str| JobsOptions { schedules: schedules.clone(), ..quick(name) };
        let one = Node::start(db, options("one"), vec![succeeds(JobKind::PruneJobs)]).await;
        let two = Node::start(db, options("two"), vec![succeeds(JobKind::PruneJobs)]).await;
        until("someone leads", async || one.jobs.is_leader() || two.jobs.is_leader()).await;
        assert!(one.jobs.is_leader() != two.jobs.is_leader());
        let completed = async || db.job_counts().await.unwrap().in_state(JobState::Completed);
        until("ticks happen", async || completed().await >= 2).await;
        let (leader, follower) = if one.jobs.is_leader() { (one, two) } else { (two, one) };
        let ticks_before = completed().await;
        leader.stop().await;
        until("the other leads", async || follower.jobs.is_leader()).await;
        until("ticks go on", async || completed().await > ticks_before + 1).await;
        let row = db.schedules().await.unwrap().remove(0);
        assert_eq!((row.cron.as_str(), row.last_job_id.is_some()), ("@every 1s", true));
        let mut tx = db.begin().await.unwrap();
        assert!(follower.jobs.run_schedule("none", &mut tx).await.unwrap().is_none());
        assert!(follower.jobs.run_schedule("prune-jobs", &mut tx).await.unwrap().is_some());
        tx.commit().await.unwrap();
        follower.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn missed_ticks_are_caught_up_with_once() {
    for test in testing::each().await {
        let db = &test.db;
        let hourly = Cadence::Every { period: MINUTE * 60, offset: Duration::ZERO };
        let daily = Cadence::Every { period: MINUTE * 60 * 24, offset: Duration::ZERO };
        let now = db.clock().await.unwrap();
        let (held, missed) = (JobKind::VerifyBlobs, JobKind::PruneJobs);
        let mut tx = db.begin().await.unwrap();
        for (name, kind, cadence) in [("missed", missed, &hourly), ("held", held, &daily)] {
            let long_ago = cadence.latest(now).unwrap() - MINUTE * 60 * 24 * 5;
            let next = cadence.next(long_ago).unwrap();
            tx.put_schedule(name, &cadence.to_string(), kind, long_ago, next).await.unwrap();
        }
        tx.pause_queue(held, None).await.unwrap();
        let waiting = tx.enqueue(&NewJob::new(held, &json!({})).unique("all".into())).await.unwrap();
        tx.commit().await.unwrap();
        let options = JobsOptions {
            schedules: vec![Schedule::new("missed", missed, hourly), Schedule::new("held", held, daily)],
            ..quick("n1")
        };
        let node = Node::start(db, options, vec![succeeds(missed), succeeds(held)]).await;
        until("both ticks are taken", async || {
            db.schedules().await.unwrap().iter().all(|row| row.last_run_at.is_some())
        })
        .await;
        until_completed(db, 1).await;
        // The scheduler looks once a second: whatever else it thought due would be there by then.
        tokio::time::sleep(Duration::from_secs(3)).await;
        let counts = db.job_counts().await.unwrap();
        assert_eq!(counts.of_kind(missed.as_str()), 1, "five days of missed ticks are one run");
        assert_eq!(counts.of_kind(held.as_str()), 1, "a run was waiting already");
        assert_eq!(counts.of(held.as_str(), JobState::Pending), 1, "a pause holds from a node's start on");
        let row = db.schedules().await.unwrap().into_iter().find(|row| row.name == "held").unwrap();
        assert_eq!(row.last_job_id, Some(waiting.id));
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_database_sessions_lose_no_job() {
    if let Some(test) = postgres().await {
        let db = &test.db;
        let runs = Arc::new(AtomicUsize::new(0));
        let count = runs.clone();
        let handler = does(KIND, move |_| {
            let count = count.clone();
            Box::pin(async move {
                count.fetch_add(1, SeqCst);
                tokio::time::sleep(Duration::from_millis(10)).await;
                Ok(Outcome::Done)
            })
        });
        let node = Node::start(db, JobsOptions { lease: Duration::from_secs(4), ..quick("n1") }, vec![handler]).await;
        let admin = Db::connect(&test.url, &DbOptions::default()).await.unwrap();
        let mut tx = admin.begin().await.unwrap();
        let many: Vec<_> = (0..400).map(|n| (json!({"n": n}), None)).collect();
        tx.enqueue_many(KIND, &many).await.unwrap();
        tx.commit().await.unwrap();
        for _ in 0..5 {
            let kill = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                        WHERE datname = current_database() AND pid <> pg_backend_pid()";
            // It may end the session it runs in the pool with; the next round has another.
            let _ = admin.execute_raw(kill).await;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        until("all completed", async || {
            admin.job_counts().await.is_ok_and(|counts| counts.in_state(JobState::Completed) == 400)
        })
        .await;
        assert!(runs.load(SeqCst) >= 400);
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn finished_jobs_are_forgotten_in_time() {
    for test in testing::each().await {
        let db = &test.db;
        let prune = publaryn_jobs::PruneJobs { db: db.clone(), keep_completed: Duration::ZERO, keep_dead: MINUTE };
        let fails =
            does(JobKind::AnalyzeRelease, |_| Box::pin(async { Err(publaryn_jobs::JobError::permanent("no")) }));
        let done = does(KIND, |_| Box::pin(async { Ok(Outcome::Done) }));
        let node = Node::start(db, quick("n1"), vec![Arc::new(prune), done, fails]).await;
        let old = enqueue(db, job(1)).await;
        let dead = enqueue(db, NewJob::new(JobKind::AnalyzeRelease, &json!({}))).await;
        until_state(db, old, JobState::Completed).await;
        until_state(db, dead, JobState::Dead).await;
        let run = enqueue(db, NewJob::new(JobKind::PruneJobs, &json!({}))).await;
        until_state(db, run, JobState::Completed).await;
        assert!(db.job(old, MINUTE).await.unwrap().is_none());
        assert_eq!(view(db, dead).await.status, JobState::Dead, "dead jobs are kept longer");
        node.stop().await;
    }
}

async fn postgres() -> Option<testing::TestDb> {
    match std::env::var(testing::POSTGRES_URL) {
        Ok(admin) => Some(testing::postgres(&admin).await),
        Err(_) => None,
    }
}

//! What happens to a job from enqueue to its end, on every engine of this run.

mod support;

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use publaryn_core::job::{DeadReason, JobKind, JobState};
use publaryn_jobs::{HandlerFault, JobError, KindOverride, Outcome, bench_jobs};
use publaryn_metadata::{
    jobs::{CancelOutcome, NewJob},
    testing,
};
use serde_json::json;
use support::*;
use tokio::sync::Semaphore;

#[tokio::test(flavor = "multi_thread")]
async fn committed_jobs_run_and_rolled_back_ones_do_not() {
    for test in testing::each().await {
        let db = &test.db;
        let seen: Arc<Mutex<Vec<i64>>> = Arc::default();
        let log = seen.clone();
        let handler = does(KIND, move |job| {
            let log = log.clone();
            Box::pin(async move {
                let payload: serde_json::Value = job.payload()?;
                log.lock().unwrap().push(payload["n"].as_i64().unwrap());
                Ok(Outcome::Done)
            })
        });
        // Only a wake-up at commit can be this fast: the poll comes once in an hour.
        let node =
            Node::start(db, publaryn_jobs::JobsOptions { poll_interval: MINUTE * 60, ..quick("n1") }, vec![handler])
                .await;
        let mut tx = db.begin().await.unwrap();
        tx.enqueue(&job(1)).await.unwrap();
        tx.rollback().await.unwrap();
        let id = enqueue(db, job(2)).await;
        until_state(db, id, JobState::Completed).await;
        assert_eq!(*seen.lock().unwrap(), [2]);
        let done = view(db, id).await;
        assert!(done.completed_at >= done.started_at && done.locked_by.is_none());
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn results_lead_to_the_states_of_the_contract() {
    for test in testing::each().await {
        let db = &test.db;
        let handler = does(KIND, |job| {
            Box::pin(async move {
                let payload: serde_json::Value = job.payload()?;
                match (payload["n"].as_i64().unwrap(), job.attempt()) {
                    (1, 1) => Err(JobError::retry("first time is unlucky")),
                    (2, _) => Err(JobError::permanent("never")),
                    (3, 1) => Ok(Outcome::RetryAfter(Duration::from_millis(10))),
                    (4, _) if job.kind() == KIND && !job.is_last_attempt() => Ok(Outcome::Snooze(MINUTE * 60)),
                    (5, _) => panic!("every time"),
                    (6, _) => job.payload::<Vec<String>>().map(|_| Outcome::Done),
                    _ => Ok(Outcome::Done),
                }
            })
        });
        let node = Node::start(db, quick("n1"), vec![handler]).await;
        let mut ids = Vec::new();
        for n in 0..=6 {
            ids.push(enqueue(db, job(n)).await);
        }
        until_state(db, ids[1], JobState::Failed).await;
        let failed = view(db, ids[1]).await;
        assert_eq!(failed.last_error.as_deref(), Some("first time is unlucky"));
        let wait = failed.scheduled_at.since(failed.started_at.unwrap());
        assert!(wait > Duration::from_secs(7) && wait < Duration::from_secs(60), "{wait:?}");
        until_state(db, ids[2], JobState::Dead).await;
        until_state(db, ids[6], JobState::Dead).await;
        assert_eq!(view(db, ids[2]).await.dead_reason, Some(DeadReason::Permanent));
        until_state(db, ids[3], JobState::Completed).await;
        assert_eq!(view(db, ids[3]).await.attempts, 2);
        until("snoozed", async || view(db, ids[4]).await.status == JobState::Pending).await;
        assert_eq!(view(db, ids[4]).await.attempts, 0);
        until_state(db, ids[5], JobState::Failed).await;
        for _ in 0..2 {
            make_due(db).await;
            until("ran again", async || view(db, ids[5]).await.status != JobState::Failed).await;
            until("ended", async || view(db, ids[5]).await.status != JobState::Running).await;
        }
        until_state(db, ids[5], JobState::Dead).await;
        let poison = view(db, ids[5]).await;
        assert_eq!((poison.dead_reason, poison.attempts), (Some(DeadReason::CrashLoop), 3));
        assert!(poison.last_error.unwrap().contains("every time"));
        until_state(db, ids[1], JobState::Completed).await;
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn effects_commit_with_the_completion_or_not_at_all() {
    for test in testing::each().await {
        let db = &test.db;
        db.execute_raw("CREATE TABLE effects (n INTEGER NOT NULL)").await.unwrap();
        let (inside, go) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
        let handler = does(KIND, {
            let (db, inside, go) = (db.clone(), inside.clone(), go.clone());
            move |job| {
                let (db, inside, go) = (db.clone(), inside.clone(), go.clone());
                Box::pin(async move {
                    inside.add_permits(1);
                    go.acquire().await.unwrap().forget();
                    let mut tx = db.begin().await.unwrap();
                    tx.enqueue(&NewJob::new(JobKind::AnalyzeRelease, &json!({}))).await.unwrap();
                    job.complete_in(&mut tx).await?;
                    tx.commit().await.unwrap();
                    Ok(Outcome::Committed)
                })
            }
        });
        let node = Node::start(db, quick("n1"), vec![handler]).await;
        let id = enqueue(db, job(1)).await;
        inside.acquire().await.unwrap().forget();
        // Somebody takes the job away while it runs, and it runs again under a new lease.
        db.execute_raw("UPDATE jobs SET locked_until = 0 WHERE state = 'running'").await.unwrap();
        let mut tx = db.begin().await.unwrap();
        assert_eq!(tx.recover_stale_jobs(MINUTE).await.unwrap().len(), 1);
        tx.commit().await.unwrap();
        inside.acquire().await.unwrap().forget();
        go.add_permits(2);
        until_state(db, id, JobState::Completed).await;
        until("both runs ended", async || node.jobs.running() == 0).await;
        let counts = db.job_counts().await.unwrap();
        assert_eq!(counts.of("analyze_release", JobState::Pending), 1, "one run had effects");
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn hung_handlers_end_at_their_timeout() {
    for test in testing::each().await {
        let db = &test.db;
        let hangs = does(KIND, |_| Box::pin(std::future::pending()));
        let mut options = quick("n1");
        options.kinds.insert(
            KIND,
            KindOverride { timeout: Some(Duration::from_millis(50)), max_attempts: Some(1), ..Default::default() },
        );
        let node = Node::start(db, options, vec![hangs]).await;
        let id = enqueue(db, job(1)).await;
        until_state(db, id, JobState::Dead).await;
        let dead = view(db, id).await;
        assert_eq!((dead.dead_reason, dead.max_attempts), (Some(DeadReason::AttemptsExhausted), 1));
        assert!(dead.last_error.unwrap().contains("timed out"));
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn running_jobs_can_be_cancelled_even_deaf_ones() {
    for test in testing::each().await {
        let db = &test.db;
        let handler = does(KIND, |job| {
            Box::pin(async move {
                let payload: serde_json::Value = job.payload()?;
                if payload["n"] == 1 {
                    job.cancelled().await;
                    return Err(JobError::retry("stopped half-way"));
                }
                std::future::pending().await
            })
        });
        let node = Node::start(db, quick("n1"), vec![handler]).await;
        let ids = [enqueue(db, job(1)).await, enqueue(db, job(2)).await];
        for id in ids {
            until_state(db, id, JobState::Running).await;
            let mut tx = db.begin().await.unwrap();
            assert_eq!(tx.cancel_job(id).await.unwrap(), CancelOutcome::Stopping);
            tx.commit().await.unwrap();
        }
        for id in ids {
            until_state(db, id, JobState::Dead).await;
            assert_eq!(view(db, id).await.dead_reason, Some(DeadReason::Cancelled));
        }
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn leases_of_long_runs_are_extended_and_progress_is_shown() {
    for test in testing::each().await {
        let db = &test.db;
        let go = Arc::new(Semaphore::new(0));
        let gate = go.clone();
        let handler = does(KIND, move |job| {
            let gate = gate.clone();
            Box::pin(async move {
                job.progress_with(3, Some(10), Some("chewing")).await?;
                gate.acquire().await.unwrap().forget();
                Ok(Outcome::Done)
            })
        });
        let options = publaryn_jobs::JobsOptions { lease: Duration::from_secs(2), ..quick("n1") };
        let node = Node::start(db, options, vec![handler]).await;
        let mut events = node.jobs.events();
        let id = enqueue(db, job(1)).await;
        until("progress", async || view(db, id).await.progress.is_some()).await;
        let first = view(db, id).await;
        until("extended twice", async || {
            view(db, id).await.locked_until.unwrap().since(first.locked_until.unwrap()) > Duration::from_secs(1)
        })
        .await;
        let later = view(db, id).await;
        assert_eq!((later.status, later.attempts, later.is_stale), (JobState::Running, 1, false));
        go.add_permits(1);
        until_state(db, id, JobState::Completed).await;
        let mut states = Vec::new();
        until("all events", async || {
            while let Ok(event) = events.try_recv() {
                states.push(event.status);
            }
            states.last() == Some(&JobState::Completed)
        })
        .await;
        assert_eq!(states[0], JobState::Running);
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn drain_gives_unfinished_jobs_back_with_their_attempt() {
    for test in testing::each().await {
        let db = &test.db;
        let handler = does(KIND, |job| {
            Box::pin(async move {
                let payload: serde_json::Value = job.payload()?;
                match payload["n"].as_i64() {
                    Some(1) => tokio::time::sleep(Duration::from_millis(300)).await,
                    _ => std::future::pending().await,
                }
                Ok(Outcome::Done)
            })
        });
        let node = Node::start(db, quick("n1"), vec![handler]).await;
        let (quick_one, slow) = (enqueue(db, job(1)).await, enqueue(db, job(2)).await);
        until_state(db, quick_one, JobState::Running).await;
        until_state(db, slow, JobState::Running).await;
        let drain = tokio::spawn({
            let jobs = node.jobs.clone();
            async move { jobs.drain(Duration::from_secs(2)).await }
        });
        until("draining", async || node.jobs.is_draining()).await;
        let late = enqueue(db, job(3)).await;
        drain.await.unwrap();
        assert_eq!(view(db, quick_one).await.status, JobState::Completed);
        let back = view(db, slow).await;
        assert_eq!((back.status, back.attempts), (JobState::Pending, 0));
        assert_eq!(view(db, late).await.status, JobState::Pending, "nothing is claimed while draining");
        node.tree.stop(Duration::from_secs(10)).await;
        let nodes = db.nodes(MINUTE).await.unwrap();
        assert!(!nodes[0].is_alive, "it left in order");

        let next = Node::start(db, quick("n1"), vec![succeeds(KIND)]).await;
        until_completed(db, 3).await;
        assert_eq!(next.jobs.incarnation(), 2);
        next.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn long_jobs_that_listen_do_not_hold_up_a_drain() {
    for test in testing::each().await {
        let db = &test.db;
        let handler = does(KIND, |job| {
            Box::pin(async move {
                while !job.should_stop() {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
                Ok(Outcome::Snooze(Duration::ZERO))
            })
        });
        let node = Node::start(db, quick("n1"), vec![handler]).await;
        let id = enqueue(db, job(1)).await;
        until_state(db, id, JobState::Running).await;
        let began = std::time::Instant::now();
        node.jobs.drain(MINUTE).await;
        assert!(began.elapsed() < Duration::from_secs(20), "the drain waited {:?}", began.elapsed());
        let back = view(db, id).await;
        assert_eq!((back.status, back.attempts), (JobState::Pending, 0));
        node.tree.stop(Duration::from_secs(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn stopping_the_tree_alone_gives_jobs_back_too() {
    for test in testing::each().await {
        let db = &test.db;
        let hangs = does(KIND, |_| Box::pin(std::future::pending()));
        let options = publaryn_jobs::JobsOptions { drain_grace: Duration::from_millis(50), ..quick("n1") };
        let node = Node::start(db, options, vec![hangs]).await;
        let id = enqueue(db, job(1)).await;
        until_state(db, id, JobState::Running).await;
        node.tree.stop(Duration::from_secs(20)).await;
        let back = view(db, id).await;
        assert_eq!((back.status, back.attempts), (JobState::Pending, 0));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_kinds_backlog_never_holds_up_another() {
    for test in testing::each().await {
        let db = &test.db;
        let hangs = does(KIND, |_| Box::pin(std::future::pending()));
        let other = JobKind::FinalizeRelease;
        let options =
            publaryn_jobs::JobsOptions { concurrency: 2, drain_grace: Duration::from_millis(50), ..quick("n1") };
        let node = Node::start(db, options, vec![hangs, succeeds(other)]).await;
        for n in 0..20 {
            enqueue(db, job(n)).await;
        }
        until("the process is full", async || node.jobs.running() == 2).await;
        let mut ids = Vec::new();
        for _ in 0..5 {
            ids.push(enqueue(db, NewJob::new(other, &json!({}))).await);
        }
        for id in ids {
            until_state(db, id, JobState::Completed).await;
        }
        assert_eq!(node.jobs.running(), 2, "the limit of the process holds for the others");
        node.tree.stop(Duration::from_secs(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_owners_first_job_starts_within_the_next_round() {
    for test in testing::each().await {
        let db = &test.db;
        let order: Arc<Mutex<Vec<i64>>> = Arc::default();
        let gate = Arc::new(Semaphore::new(0));
        let (log, open) = (order.clone(), gate.clone());
        let handler = does(KIND, move |job| {
            let (log, open) = (log.clone(), open.clone());
            Box::pin(async move {
                let payload: serde_json::Value = job.payload()?;
                log.lock().unwrap().push(payload["n"].as_i64().unwrap());
                open.acquire().await.unwrap().forget();
                Ok(Outcome::Done)
            })
        });
        let mut options = quick("n1");
        options.kinds.insert(KIND, KindOverride { concurrency: Some(2), ..Default::default() });
        let node = Node::start(db, options, vec![handler]).await;
        let mut tx = db.begin().await.unwrap();
        let many: Vec<_> = (0..200).map(|n| (json!({"n": n}), Some("big".to_owned()))).collect();
        tx.enqueue_many(KIND, &many).await.unwrap();
        tx.commit().await.unwrap();
        until("two run", async || node.jobs.running() == 2).await;
        enqueue(db, NewJob::new(KIND, &json!({"n": 1000})).partition("small".into())).await;
        gate.add_permits(1000);
        until_completed(db, 201).await;
        let place = order.lock().unwrap().iter().position(|n| *n == 1000).unwrap();
        assert!(place <= 2 + 3, "it was number {place} to start");
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn owners_take_turns_even_when_jobs_are_claimed_ahead() {
    for test in testing::each().await {
        let db = &test.db;
        let order: Arc<Mutex<Vec<String>>> = Arc::default();
        let log = order.clone();
        let handler = does(KIND, move |job| {
            let log = log.clone();
            Box::pin(async move {
                let payload: serde_json::Value = job.payload()?;
                log.lock().unwrap().push(payload["owner"].as_str().unwrap().to_owned());
                Ok(Outcome::Done)
            })
        });
        let of = |owner: &str, count: usize| {
            (0..count).map(|_| (json!({"owner": owner}), Some(owner.to_owned()))).collect::<Vec<_>>()
        };
        let mut options = quick("n1");
        options.kinds.insert(KIND, KindOverride { concurrency: Some(1), ..Default::default() });
        let node = Node::start(db, options, vec![handler]).await;
        // Jobs that take no time: from now on hundreds are claimed at once.
        let mut tx = db.begin().await.unwrap();
        tx.enqueue_many(KIND, &of("warm-up", 300)).await.unwrap();
        tx.commit().await.unwrap();
        until_completed(db, 300).await;
        let mut tx = db.begin().await.unwrap();
        for (owner, count) in [("big", 400), ("small", 5), ("tiny", 1)] {
            tx.enqueue_many(KIND, &of(owner, count)).await.unwrap();
        }
        tx.commit().await.unwrap();
        until_completed(db, 706).await;
        let order = order.lock().unwrap()[300..].to_vec();
        for owner in ["big", "small", "tiny"] {
            let first = order.iter().position(|o| o == owner).unwrap();
            assert!(first < 3, "{owner} had to wait for {first} jobs");
        }
        let last_of_small = order.iter().rposition(|o| o == "small").unwrap();
        assert!(last_of_small < 20, "the fifth of `small` was number {last_of_small}");
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn paused_queues_rest_and_unknown_kinds_are_left_alone() {
    for test in testing::each().await {
        let db = &test.db;
        let mut tx = db.begin().await.unwrap();
        tx.pause_queue(KIND, Some("op")).await.unwrap();
        tx.commit().await.unwrap();
        let node = Node::start(db, quick("n1"), vec![succeeds(KIND), succeeds(JobKind::PruneJobs)]).await;
        until("the pause is known", async || node.jobs.queues().await.unwrap().iter().any(|q| q.paused)).await;
        let prune = enqueue(db, NewJob::new(JobKind::PruneJobs, &json!({}))).await;
        until_state(db, prune, JobState::Completed).await;
        let held = enqueue(db, job(1)).await;
        let other = enqueue(db, NewJob::new(JobKind::PruneJobs, &json!({}))).await;
        until_state(db, other, JobState::Completed).await;
        assert_eq!(view(db, held).await.status, JobState::Pending);
        let foreign = enqueue(db, NewJob::new(JobKind::VerifyBlobs, &json!({}))).await;
        let mut tx = db.begin().await.unwrap();
        tx.resume_queue(KIND).await.unwrap();
        tx.commit().await.unwrap();
        until_state(db, held, JobState::Completed).await;
        assert_eq!(view(db, foreign).await.status, JobState::Pending);
        let queues = node.jobs.queues().await.unwrap();
        let index = queues.iter().find(|queue| queue.kind == KIND).unwrap();
        assert_eq!((index.paused, index.pending, index.running), (false, 0, 0));
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn injected_faults_are_suffered_and_survived() {
    for test in testing::each().await {
        let db = &test.db;
        let node = Node::start(db, quick("n1"), vec![succeeds(KIND)]).await;
        let fault = HandlerFault { fail_times: 1, panic_times: 1, ..HandlerFault::default() };
        node.jobs.set_faults([(KIND, fault)].into());
        let id = enqueue(db, job(1)).await;
        for _ in 0..2 {
            until_state(db, id, JobState::Failed).await;
            make_due(db).await;
            until("it runs again", async || view(db, id).await.status != JobState::Failed).await;
        }
        until_state(db, id, JobState::Completed).await;
        assert_eq!(view(db, id).await.attempts, 3);
        assert_eq!(node.jobs.faults()[&KIND], HandlerFault::default());
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_actors_lose_no_job() {
    for test in testing::each().await {
        let db = &test.db;
        let runs = Arc::new(AtomicUsize::new(0));
        let count = runs.clone();
        let handler = does(KIND, move |_| {
            let count = count.clone();
            Box::pin(async move {
                count.fetch_add(1, SeqCst);
                tokio::time::sleep(Duration::from_millis(5)).await;
                Ok(Outcome::Done)
            })
        });
        let node = Node::start(db, quick("n1"), vec![handler]).await;
        for round in 0..3 {
            let mut tx = db.begin().await.unwrap();
            let many: Vec<_> = (0..100).map(|n| (json!({"n": n}), None)).collect();
            tx.enqueue_many(KIND, &many).await.unwrap();
            tx.commit().await.unwrap();
            for name in ["root/jobs/acks", "root/jobs/dispatcher", "root/jobs/queue.index_package", "root/jobs"] {
                until("it can be killed", async || node.tree.kill(name).is_ok()).await;
            }
            until_completed(db, 100 * (round + 1)).await;
        }
        assert!(runs.load(SeqCst) >= 300);
        assert_eq!(db.job_counts().await.unwrap().total(), 300);
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn benchmark_measures_and_refuses_used_databases() {
    for test in testing::each().await {
        let report = bench_jobs(test.db.clone(), 500, 32).await.unwrap();
        assert_eq!(report.jobs, 500);
        assert!(report.jobs_per_second > 0.0 && report.p50_ms > 0.0 && report.p99_ms >= report.p50_ms, "{report:?}");
        assert_eq!(test.db.job_counts().await.unwrap().in_state(JobState::Completed), 700, "with the probes");
        assert!(bench_jobs(test.db.clone(), 1, 1).await.is_err());
    }
}

//! The queue's statements, on every engine of this run.

use std::time::Duration;

use publaryn_core::{
    JobId, Timestamp,
    job::{DeadReason, JobKind, JobState},
};
use publaryn_metadata::{
    Db,
    jobs::{
        CancelOutcome, ClaimRequest, ClaimedJob, Enqueued, JobEnd, JobFilter, NewJob, NodeInfo, Page, RunFacts,
        Transition,
    },
    testing,
};
use serde_json::json;

const MINUTE: Duration = Duration::from_secs(60);

async fn enqueue(db: &Db, job: NewJob) -> Enqueued {
    let mut tx = db.begin().await.unwrap();
    let enqueued = tx.enqueue(&job).await.unwrap();
    tx.commit().await.unwrap();
    enqueued
}

fn index(owner: &str) -> NewJob {
    NewJob::new(JobKind::IndexPackage, &json!({"package_id": uuid::Uuid::now_v7()})).partition(owner.into())
}

async fn register(db: &Db, name: &str) -> i64 {
    let mut tx = db.begin().await.unwrap();
    let node = NodeInfo {
        node_id: name.into(),
        version: "1".into(),
        role: "all".into(),
        kinds: vec!["index_package".into()],
        cpu_count: 2,
    };
    let incarnation = tx.register_node(&node).await.unwrap();
    tx.commit().await.unwrap();
    incarnation
}

async fn claim_after(db: &Db, kind: JobKind, limit: i64, after: &str) -> Vec<ClaimedJob> {
    let mut tx = db.begin().await.unwrap();
    let request = ClaimRequest {
        kind,
        limit,
        node_id: "n1",
        incarnation: 1,
        lease: MINUTE,
        max_attempts: None,
        after_partition: after,
        partitions: limit + 8,
    };
    let jobs = tx.claim_jobs(&request).await.unwrap();
    tx.commit().await.unwrap();
    jobs
}

async fn claim(db: &Db, limit: i64) -> Vec<ClaimedJob> {
    claim_after(db, JobKind::IndexPackage, limit, "").await
}

fn facts(job: &ClaimedJob) -> RunFacts {
    RunFacts {
        id: job.id,
        lease_id: job.lease_id,
        attempts: job.attempts,
        max_attempts: job.max_attempts,
        crashes: job.crashes,
        attempts_log: job.attempts_log.clone(),
        started_at: job.started_at,
        node_id: "n1".into(),
        cancel_requested: false,
    }
}

async fn finish(db: &Db, job: &ClaimedJob, end: JobEnd) -> Option<JobState> {
    let mut tx = db.begin().await.unwrap();
    let transition = Transition::new(&facts(job), end, Timestamp::now());
    let finished = tx.finish_jobs(&[transition]).await.unwrap();
    tx.commit().await.unwrap();
    finished.first().map(|f| f.state)
}

async fn state(db: &Db, id: JobId) -> JobState {
    db.job(id, MINUTE).await.unwrap().unwrap().status
}

fn failed(delay: Duration) -> JobEnd {
    JobEnd::Failed { error: "boom".into(), delay }
}

#[tokio::test(flavor = "multi_thread")]
async fn enqueue_joins_the_callers_transaction() {
    for test in testing::each().await {
        let db = &test.db;
        let mut tx = db.begin().await.unwrap();
        tx.enqueue(&index("a")).await.unwrap();
        tx.rollback().await.unwrap();
        assert!(db.has_no_jobs().await.unwrap());
        assert_eq!(claim(db, 10).await.len(), 0);
        let job = enqueue(db, index("a")).await;
        assert!(job.inserted);
        let claimed = claim(db, 10).await;
        assert_eq!((claimed.len(), claimed[0].id, claimed[0].attempts), (1, job.id, 1));
        let view = db.job(job.id, MINUTE).await.unwrap().unwrap();
        assert_eq!(view.locked_by.as_deref(), Some("n1:1/queue.index_package"));
        let too_big = NewJob::new(JobKind::IndexPackage, &json!({"x": "y".repeat(20_000)}));
        assert!(db.begin().await.unwrap().enqueue(&too_big).await.is_err());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn occupied_key_returns_its_holder_and_frees_at_claim_or_end() {
    for test in testing::each().await {
        let db = &test.db;
        let keyed = || index("a").unique("p1".into());
        let first = enqueue(db, keyed()).await;
        assert_eq!(enqueue(db, keyed()).await, Enqueued { id: first.id, inserted: false });
        let run = claim(db, 5).await.remove(0);
        let second = enqueue(db, keyed()).await;
        assert!(second.inserted, "a running index job does not hold its key");
        assert_eq!(claim(db, 5).await.len(), 0, "it waits behind the running one");

        // The running one fails: its key is taken, both are kept, one runs at a time.
        assert_eq!(finish(db, &run, failed(Duration::ZERO)).await, Some(JobState::Failed));
        let next = claim(db, 5).await;
        assert_eq!(next.iter().map(|j| j.id).collect::<Vec<_>>(), [second.id]);
        assert_eq!(claim(db, 5).await.len(), 0);
        assert_eq!(finish(db, &next[0], JobEnd::Completed).await, Some(JobState::Completed));
        assert_eq!(claim(db, 5).await[0].id, first.id);

        let scan = || NewJob::new(JobKind::ScanArtifact, &json!({})).unique("a1".into());
        let job = enqueue(db, scan()).await;
        let run = claim_after(db, JobKind::ScanArtifact, 1, "").await.remove(0);
        assert_eq!(enqueue(db, scan()).await, Enqueued { id: job.id, inserted: false }, "scans hold it while running");
        finish(db, &run, JobEnd::Completed).await;
        assert!(enqueue(db, scan()).await.inserted);
        let mut tx = db.begin().await.unwrap();
        let latest = tx.latest_job(JobKind::ScanArtifact, "a1").await.unwrap().unwrap();
        assert_eq!((latest.state, latest.id != job.id), (JobState::Pending, true));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_lease_holder_may_end_a_run() {
    for test in testing::each().await {
        let db = &test.db;
        register(db, "n1").await;
        enqueue(db, index("a")).await;
        let old = claim(db, 1).await.remove(0);
        assert_eq!(finish(db, &old, JobEnd::LeaseLost { error: "gone".into() }).await, Some(JobState::Pending));
        let new = claim(db, 1).await.remove(0);
        assert_ne!(old.lease_id, new.lease_id);
        assert_eq!(finish(db, &old, JobEnd::Completed).await, None, "the old lease is void");
        let mut tx = db.begin().await.unwrap();
        let both = [(old.id, old.lease_id), (new.id, new.lease_id)];
        assert_eq!(tx.extend_leases(&both, MINUTE).await.unwrap(), [(new.id, false)]);
        assert!(!tx.store_progress(old.id, old.lease_id, 1, None, None).await.unwrap());
        assert!(tx.store_progress(new.id, new.lease_id, 1, Some(2), Some("half")).await.unwrap());
        tx.commit().await.unwrap();
        let progress = db.job(new.id, MINUTE).await.unwrap().unwrap().progress.unwrap();
        assert_eq!((progress.done, progress.total), (1, Some(2)));
        assert_eq!(finish(db, &new, JobEnd::Completed).await, Some(JobState::Completed));
        let view = serde_json::to_value(db.job(new.id, MINUTE).await.unwrap().unwrap()).unwrap();
        let log = view["attempts_log"].as_array().unwrap();
        assert_eq!((log.len(), &log[0]["outcome"], &log[1]["outcome"]), (2, &json!("lease_lost"), &json!("completed")));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn owners_take_turns() {
    for test in testing::each().await {
        let db = &test.db;
        for _ in 0..50 {
            enqueue(db, index("big")).await;
        }
        let small = enqueue(db, index("small")).await;
        let first = claim(db, 4).await;
        assert!(first.iter().any(|job| job.id == small.id), "within the first round");

        for owner in ["a", "b", "c"] {
            enqueue(db, index(owner)).await;
        }
        let mut after = String::new();
        let mut served = Vec::new();
        for _ in 0..4 {
            let job = claim_after(db, JobKind::IndexPackage, 1, &after).await.remove(0);
            after = job.partition.clone();
            served.push(job.partition);
        }
        assert_eq!(served, ["a", "b", "big", "c"]);
        assert!(claim_after(db, JobKind::IndexPackage, 1, "c").await.is_empty(), "the caller starts over");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn order_is_priority_then_age_and_age_wins_in_the_end() {
    for test in testing::each().await {
        let db = &test.db;
        let late_urgent = enqueue(db, index("a").priority(0)).await;
        let early = enqueue(db, index("a").priority(2)).await;
        let old = enqueue(db, index("a").priority(9)).await;
        let move_back = "UPDATE jobs SET rank = rank - 600000000 WHERE priority = 9";
        db.execute_raw(move_back).await.unwrap();
        let mut order = Vec::new();
        for _ in 0..3 {
            order.push(claim(db, 1).await[0].id);
        }
        // RETURNING promises no order, so claims of one show it.
        assert_eq!(order, [old.id, late_urgent.id, early.id]);
        let [x, y] = [enqueue(db, index("a").priority(5)).await, enqueue(db, index("a").priority(1)).await];
        assert_eq!(claim(db, 1).await[0].id, y.id);
        assert_eq!(claim(db, 1).await[0].id, x.id);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn delayed_jobs_wait_for_their_time() {
    for test in testing::each().await {
        let db = &test.db;
        let job = enqueue(db, index("a").after(MINUTE)).await;
        assert!(claim(db, 1).await.is_empty());
        let polled = db.poll_jobs("n1").await.unwrap();
        assert!(polled.ready.is_empty());
        let due = polled.next_due.unwrap();
        assert!(due > MINUTE / 2 && due <= MINUTE, "{due:?}");
        db.execute_raw("UPDATE jobs SET scheduled_at = scheduled_at - 61000000").await.unwrap();
        assert_eq!(db.poll_jobs("n1").await.unwrap().next_due, Some(Duration::ZERO));
        let mut tx = db.begin().await.unwrap();
        assert_eq!(tx.promote_due_jobs().await.unwrap(), 1);
        tx.commit().await.unwrap();
        assert!(db.poll_jobs("n1").await.unwrap().ready.contains("index_package"));
        let run = claim(db, 1).await.remove(0);
        assert_eq!(run.id, job.id);
        finish(db, &run, JobEnd::Snoozed { delay: MINUTE }).await;
        let view = db.job(job.id, MINUTE).await.unwrap().unwrap();
        assert_eq!((view.status, view.attempts), (JobState::Pending, 0), "snoozing uses no attempt");
        assert!(claim(db, 1).await.is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn attempts_and_crashes_run_out() {
    for test in testing::each().await {
        let db = &test.db;
        let id = enqueue(db, index("a")).await.id;
        for attempt in 1..=10 {
            let run = claim(db, 1).await.remove(0);
            assert_eq!(run.attempts, attempt);
            let expected = if attempt < 10 { JobState::Failed } else { JobState::Dead };
            assert_eq!(finish(db, &run, failed(Duration::ZERO)).await, Some(expected));
        }
        let view = db.job(id, MINUTE).await.unwrap().unwrap();
        assert_eq!(view.dead_reason, Some(DeadReason::AttemptsExhausted));
        assert_eq!(view.last_error.as_deref(), Some("boom"));

        let id = enqueue(db, index("a")).await.id;
        for crash in 1..=3 {
            let run = claim(db, 1).await.remove(0);
            let end = JobEnd::Crashed { error: "panic".into(), delay: Duration::ZERO };
            let expected = if crash < 3 { JobState::Pending } else { JobState::Dead };
            assert_eq!(finish(db, &run, end).await, Some(expected));
        }
        assert_eq!(db.job(id, MINUTE).await.unwrap().unwrap().dead_reason, Some(DeadReason::CrashLoop));

        let id = enqueue(db, index("a")).await.id;
        for _ in 0..5 {
            let run = claim(db, 1).await.remove(0);
            assert_eq!(finish(db, &run, JobEnd::Interrupted).await, Some(JobState::Pending));
        }
        assert_eq!(db.job(id, MINUTE).await.unwrap().unwrap().attempts, 0, "drains use no attempt");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_nodes_and_expired_leases_give_their_jobs_back() {
    for test in testing::each().await {
        let db = &test.db;
        assert_eq!(register(db, "n1").await, 1);
        for _ in 0..2 {
            enqueue(db, index("a")).await;
        }
        let runs = claim(db, 2).await;
        let mut tx = db.begin().await.unwrap();
        let (nodes, leases) = tx.sweep_runs(MINUTE, true).await.unwrap();
        assert_eq!((nodes.len(), leases.len()), (0, 0), "all is well");
        tx.rollback().await.unwrap();
        assert!(!db.has_lost_runs(MINUTE, true).await.unwrap());

        db.execute_raw("UPDATE nodes SET heartbeat_at = heartbeat_at - 61000000").await.unwrap();
        assert_eq!(db.job_summary(MINUTE).await.unwrap().stale_jobs_count, 2);
        let stale = JobFilter { stale: true, ..JobFilter::default() };
        let page = db.jobs(&stale, &Page { number: 1, per_page: 1, cursor: None }, MINUTE).await.unwrap();
        assert_eq!((page.total, page.jobs.len(), page.jobs[0].is_stale), (2, 1, true));
        assert!(db.has_lost_runs(MINUTE, true).await.unwrap() && !db.has_lost_runs(MINUTE, false).await.unwrap());
        let mut tx = db.begin().await.unwrap();
        assert_eq!(tx.sweep_runs(MINUTE, false).await.unwrap().0.len(), 0, "after an outage nodes do not count");
        assert_eq!(tx.sweep_runs(MINUTE, true).await.unwrap().0.len(), 2);
        tx.commit().await.unwrap();
        assert_eq!(finish(db, &runs[0], JobEnd::Completed).await, None);

        assert_eq!(register(db, "n1").await, 2);
        let run = claim(db, 1).await.remove(0); // still claims as incarnation 1: as good as dead
        let mut tx = db.begin().await.unwrap();
        assert_eq!(tx.recover_former_runs("n1", 2).await.unwrap().len(), 1);
        tx.commit().await.unwrap();
        assert_eq!(state(db, run.id).await, JobState::Pending);

        let run = claim(db, 1).await.remove(0);
        db.execute_raw(
            "UPDATE jobs SET locked_until = locked_until - 61000000, incarnation = 2 WHERE state = 'running'",
        )
        .await
        .unwrap();
        assert!(db.has_lost_runs(MINUTE, false).await.unwrap(), "an expired lease");
        let mut tx = db.begin().await.unwrap();
        let (nodes, leases) = tx.sweep_runs(MINUTE, true).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!((nodes.len(), leases.len(), leases[0].id), (0, 1, run.id));

        claim(db, 2).await;
        let mut tx = db.begin().await.unwrap();
        assert_eq!(tx.recover_stale_jobs(MINUTE).await.unwrap().len(), 2);
        tx.commit().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_recovers_every_stale_run_however_many() {
    for test in testing::each().await {
        let db = &test.db;
        register(db, "n1").await;
        let mut tx = db.begin().await.unwrap();
        for _ in 0..1100 {
            tx.enqueue(&index("a")).await.unwrap();
        }
        tx.commit().await.unwrap();
        assert_eq!(claim(db, 1100).await.len(), 1100);
        db.execute_raw("UPDATE jobs SET locked_until = 1").await.unwrap();
        let mut tx = db.begin().await.unwrap();
        assert_eq!(tx.recover_stale_jobs(MINUTE).await.unwrap().len(), 1100);
        tx.commit().await.unwrap();
        assert_eq!(db.count_rows("jobs WHERE state = 'running'").await.unwrap(), 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn counters_follow_every_transition() {
    for test in testing::each().await {
        let db = &test.db;
        for n in 0..6 {
            enqueue(db, index("a").unique(format!("k{n}"))).await;
        }
        let runs = claim(db, 5).await;
        finish(db, &runs[0], JobEnd::Completed).await;
        finish(db, &runs[1], failed(MINUTE)).await;
        finish(db, &runs[2], JobEnd::Dead { error: "no".into(), reason: DeadReason::Permanent }).await;
        finish(db, &runs[3], JobEnd::Snoozed { delay: MINUTE }).await;
        for fold in [false, true] {
            if fold {
                let mut tx = db.begin().await.unwrap();
                assert!(tx.fold_job_counts().await.unwrap() > 0);
                assert_eq!(tx.fold_job_counts().await.unwrap(), 0);
                tx.commit().await.unwrap();
            }
            let counts = db.job_counts().await.unwrap();
            let of = |state| counts.of("index_package", state);
            use JobState::*;
            assert_eq!([Pending, Running, Completed, Failed, Dead].map(of), [2, 1, 1, 1, 1]);
        }
        let mut tx = db.begin().await.unwrap();
        assert_eq!(tx.prune_jobs(JobState::Completed, Duration::ZERO, 10).await.unwrap(), 1);
        tx.commit().await.unwrap();
        let summary = db.job_summary(MINUTE).await.unwrap();
        assert_eq!((summary.by_status["completed"], summary.by_kind["index_package"]), (0, 5));
        assert_eq!(summary.by_kind["scan_artifact"], 0, "zeros are shown");
        assert!(summary.oldest_pending_age_seconds.is_some());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn operators_retry_and_cancel() {
    for test in testing::each().await {
        let db = &test.db;
        let mut dead = Vec::new();
        for _ in 0..3 {
            let id = enqueue(db, index("a").unique("same".into())).await.id;
            let run = claim(db, 1).await.remove(0);
            assert_eq!(run.id, id);
            finish(db, &run, JobEnd::Dead { error: "bad".into(), reason: DeadReason::Permanent }).await;
            dead.push(id);
        }
        let mut tx = db.begin().await.unwrap();
        let retried = tx.retry_job(dead[0]).await.unwrap().unwrap();
        assert_eq!((retried.previous_state, retried.previous_attempts), (JobState::Dead, 1));
        assert!(tx.retry_job(dead[0]).await.unwrap().is_none(), "it is pending now");
        assert_eq!(tx.cancel_job(dead[0]).await.unwrap(), CancelOutcome::Cancelled);
        assert_eq!(tx.cancel_job(dead[0]).await.unwrap(), CancelOutcome::Finished);
        assert_eq!(tx.cancel_job(JobId::new()).await.unwrap(), CancelOutcome::NotFound);
        assert_eq!(tx.retry_jobs(JobState::Dead, Some(JobKind::ScanArtifact), 10).await.unwrap(), 0);
        assert_eq!(tx.retry_jobs(JobState::Dead, None, 10).await.unwrap(), 3);
        tx.commit().await.unwrap();
        let mut seen = Vec::new();
        while let Some(run) = claim(db, 5).await.pop() {
            assert!(claim(db, 5).await.is_empty(), "one of a key at a time");
            finish(db, &run, JobEnd::Completed).await;
            seen.push(run.id);
        }
        seen.sort();
        assert_eq!(seen, dead);

        let id = enqueue(db, index("a")).await.id;
        let run = claim(db, 1).await.remove(0);
        let mut tx = db.begin().await.unwrap();
        assert_eq!(tx.cancel_job(id).await.unwrap(), CancelOutcome::Stopping);
        tx.commit().await.unwrap();
        assert_eq!(db.poll_jobs("n1").await.unwrap().cancelled, [id]);
        let run = RunFacts { cancel_requested: true, ..facts(&run) };
        let mut tx = db.begin().await.unwrap();
        let end = Transition::new(&run, failed(MINUTE), Timestamp::now());
        tx.finish_jobs(&[end]).await.unwrap();
        tx.commit().await.unwrap();
        let view = db.job(id, MINUTE).await.unwrap().unwrap();
        assert_eq!((view.status, view.dead_reason), (JobState::Dead, Some(DeadReason::Cancelled)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_are_in_order_and_cursors_lead_on() {
    for test in testing::each().await {
        let db = &test.db;
        let mut ids = Vec::new();
        for n in 0..7 {
            let target = uuid::Uuid::now_v7();
            let job = NewJob::new(JobKind::IndexPackage, &json!({"package_id": target}))
                .after(Duration::from_secs(if n == 0 { 0 } else { 100 + n }));
            ids.push((enqueue(db, job).await.id, target));
        }
        let filter = JobFilter { state: Some(JobState::Pending), ..JobFilter::default() };
        let mut page = Page { number: 1, per_page: 3, cursor: None };
        let mut seen = Vec::new();
        loop {
            let answer = db.jobs(&filter, &page, MINUTE).await.unwrap();
            assert_eq!(answer.total, 7);
            seen.extend(answer.jobs.iter().map(|job| job.id));
            assert_eq!(answer.has_next, answer.next_cursor.is_some());
            match answer.next_cursor {
                Some(cursor) => page.cursor = Some(cursor),
                None => break,
            }
        }
        assert_eq!(seen, ids.iter().map(|(id, _)| *id).collect::<Vec<_>>());
        let second = db.jobs(&filter, &Page { number: 2, per_page: 3, cursor: None }, MINUTE).await.unwrap();
        assert_eq!(second.jobs[0].id, ids[3].0);
        let one = JobFilter { targets: vec![ids[2].1, uuid::Uuid::now_v7()], ..JobFilter::default() };
        let found = db.jobs(&one, &Page { number: 1, per_page: 50, cursor: None }, MINUTE).await.unwrap();
        assert_eq!((found.total, found.jobs[0].id), (1, ids[2].0));

        for run in claim(db, 1).await {
            finish(db, &run, JobEnd::Completed).await;
        }
        let done =
            JobFilter { state: Some(JobState::Completed), kind: Some(JobKind::IndexPackage), ..JobFilter::default() };
        let answer = db.jobs(&done, &Page { number: 1, per_page: 3, cursor: None }, MINUTE).await.unwrap();
        assert_eq!((answer.total, answer.jobs[0].id, answer.has_next), (1, ids[0].0, false));
        let json = serde_json::to_value(&answer.jobs[0]).unwrap();
        for key in ["payload", "partition", "last_error", "dead_reason", "locked_by", "progress", "recovery_hint"] {
            assert!(json.as_object().unwrap().contains_key(key), "{key}");
        }
        assert!(json.get("attempts_log").is_none());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_leader_and_one_run_per_tick() {
    for test in testing::each().await {
        let db = &test.db;
        let (a, b) = (register(db, "n1").await, register(db, "n2").await);
        let lead = async |node: &str, incarnation: i64, ttl: Duration| {
            let mut tx = db.begin().await.unwrap();
            let leads = tx.lead(node, incarnation, ttl).await.unwrap().is_some();
            tx.commit().await.unwrap();
            leads
        };
        assert!(lead("n1", a, MINUTE).await);
        assert!(!lead("n2", b, MINUTE).await);
        assert!(lead("n1", a, Duration::ZERO).await, "renewed, and let go");
        tokio::time::sleep(Duration::from_millis(5)).await;
        assert!(lead("n2", b, MINUTE).await);
        let nodes = db.nodes(MINUTE).await.unwrap();
        assert_eq!(nodes.iter().map(|n| (n.is_alive, n.is_leader)).collect::<Vec<_>>(), [(true, false), (true, true)]);
        let mut tx = db.begin().await.unwrap();
        tx.leave_node("n2", b).await.unwrap();
        tx.commit().await.unwrap();
        assert!(lead("n1", a, MINUTE).await, "an orderly stop hands over at once");

        let job = NewJob::new(JobKind::PruneJobs, &json!({})).unique("all".into());
        let at = Timestamp::from_micros;
        let mut tx = db.begin().await.unwrap();
        tx.put_schedule("prune-jobs", "*/15 * * * *", JobKind::PruneJobs, at(100), at(200)).await.unwrap();
        tx.put_schedule("prune-jobs", "*/15 * * * *", JobKind::PruneJobs, at(150), at(200)).await.unwrap();
        assert!(tx.take_tick("prune-jobs", &job, at(200), at(300)).await.unwrap().unwrap().inserted);
        assert!(tx.take_tick("prune-jobs", &job, at(200), at(300)).await.unwrap().is_none(), "taken");
        let again = tx.take_tick("prune-jobs", &job, at(300), at(400)).await.unwrap().unwrap();
        assert!(!again.inserted, "a run is waiting already");
        tx.commit().await.unwrap();
        let row = db.schedules().await.unwrap().remove(0);
        assert_eq!((row.last_tick, row.next_run_at, row.last_job_id), (at(300), at(400), Some(again.id)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pauses_and_statistics_are_shared() {
    for test in testing::each().await {
        let db = &test.db;
        let mut tx = db.begin().await.unwrap();
        assert!(tx.pause_queue(JobKind::ScanArtifact, Some("root")).await.unwrap());
        assert!(!tx.pause_queue(JobKind::ScanArtifact, None).await.unwrap());
        let mut stats = publaryn_metadata::jobs::StatsRow { finished: 30, errors: 3, ..Default::default() };
        for ms in [1, 2, 3, 200] {
            stats.waits.record(Duration::from_millis(ms));
        }
        let now = Timestamp::now().as_micros() / 1_000_000;
        tx.put_job_stats("n1", now / 10 * 10, "index_package", &stats).await.unwrap();
        tx.put_job_stats("n2", now / 10 * 10, "index_package", &stats).await.unwrap();
        tx.put_job_stats("n2", now / 10 * 10 - 120, "index_package", &stats).await.unwrap();
        tx.commit().await.unwrap();
        assert!(db.poll_jobs("n1").await.unwrap().paused.contains("scan_artifact"));
        let all = db.job_stats().await.unwrap();
        let stats = &all["index_package"];
        assert_eq!((stats.finished_1m, stats.finished_5m, stats.errors_5m), (60, 90, 9));
        assert!(stats.waits.quantile_ms(0.5).unwrap() < 10.0 && stats.waits.quantile_ms(0.99).unwrap() >= 200.0);
        let summary = db.job_summary(MINUTE).await.unwrap();
        assert_eq!((summary.paused_kinds.len(), summary.throughput_1m), (1, 1.0));
        let mut tx = db.begin().await.unwrap();
        assert!(tx.resume_queue(JobKind::ScanArtifact).await.unwrap());
        tx.enqueue_many(JobKind::ScanArtifact, &[(json!({}), None), (json!({"a": 1}), Some("b".into()))])
            .await
            .unwrap();
        tx.commit().await.unwrap();
        assert_eq!(claim_after(db, JobKind::ScanArtifact, 9, "").await.len(), 2);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn claimers_at_once_never_share_a_job() {
    for test in testing::each().await {
        let db = &test.db;
        let mut tx = db.begin().await.unwrap();
        let jobs: Vec<_> = (0..400).map(|n| (json!({"n": n}), Some(format!("o{}", n % 7)))).collect();
        tx.enqueue_many(JobKind::IndexPackage, &jobs).await.unwrap();
        tx.commit().await.unwrap();
        let claimers = (0..4).map(|_| {
            let db = db.clone();
            tokio::spawn(async move {
                let mut mine = Vec::new();
                loop {
                    let jobs = claim(&db, 20).await;
                    if jobs.is_empty() && db.poll_jobs("n1").await.unwrap().ready.is_empty() {
                        return mine;
                    }
                    mine.extend(jobs.into_iter().map(|job| job.id));
                }
            })
        });
        let mut all = Vec::new();
        for claimer in claimers.collect::<Vec<_>>() {
            all.extend(claimer.await.unwrap());
        }
        assert_eq!(all.len(), 400);
        all.sort();
        all.dedup();
        assert_eq!(all.len(), 400);
        assert_eq!(db.job_counts().await.unwrap().of("index_package", JobState::Running), 400);
    }
}

//! Transactions as callers rely on them, on every engine of this run.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use publaryn_core::{
    Timestamp,
    audit::{AuditAction, AuditEntry},
};
use publaryn_metadata::testing;

fn entry(n: usize) -> AuditEntry {
    AuditEntry::system(AuditAction::PackageCreate).with("n", n)
}

#[tokio::test(flavor = "multi_thread")]
async fn migrations_are_current_and_idempotent() {
    for test in testing::each().await {
        test.db.migrate().await.unwrap();
        let status = test.db.migration_status().await.unwrap();
        assert!(status.pending.is_empty() && !status.applied.is_empty() && !status.is_newer, "{status:?}");
        test.db.probe().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_commits_all_last_and_dropped_ones_do_not() {
    for test in testing::each().await {
        let db = &test.db;
        let announced = Arc::new(AtomicUsize::new(0));
        let seen = announced.clone();
        db.on_commit(move |notice| {
            seen.fetch_add(notice.releases.len(), Ordering::SeqCst);
        });
        let writers = (0..200).map(|n| {
            let db = db.clone();
            tokio::spawn(async move {
                let mut tx = db.begin().await.unwrap();
                tx.append_audit(&entry(n), Timestamp::now()).await.unwrap();
                tx.notice().releases.push(publaryn_core::ReleaseId::new());
                match n % 4 {
                    0 => drop(tx),
                    1 => tx.rollback().await.unwrap(),
                    _ => tx.commit().await.unwrap(),
                }
            })
        });
        for writer in writers.collect::<Vec<_>>() {
            writer.await.unwrap();
        }
        assert_eq!(db.count_rows("audit_log").await.unwrap(), 100);
        assert_eq!(announced.load(Ordering::SeqCst), 100);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_goes_away_never_blocks_the_next_writer() {
    for test in testing::each().await {
        for n in 0..50 {
            let db = test.db.clone();
            let task = tokio::spawn(async move {
                let mut tx = db.begin().await.unwrap();
                tx.append_audit(&entry(n), Timestamp::now()).await.unwrap();
                tx.commit().await.unwrap();
            });
            tokio::task::yield_now().await;
            task.abort();
        }
        let before = test.db.count_rows("audit_log").await.unwrap();
        let mut tx = test.db.begin().await.unwrap();
        tx.append_audit(&entry(99), Timestamp::now()).await.unwrap();
        tx.commit().await.unwrap();
        assert!(test.db.count_rows("audit_log").await.unwrap() > before);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_audit_log_is_append_only() {
    for test in testing::each().await {
        let mut tx = test.db.begin().await.unwrap();
        tx.append_audit(&entry(1), Timestamp::now()).await.unwrap();
        tx.commit().await.unwrap();
        for statement in ["UPDATE audit_log SET action = 'x'", "DELETE FROM audit_log"] {
            assert!(test.db.execute_raw(statement).await.is_err(), "{statement}");
        }
        assert_eq!(test.db.count_rows("audit_log").await.unwrap(), 1);
    }
}

/// Not even the code that lets old entries go can make it forget the last day, nor the horizon go back.
#[tokio::test(flavor = "multi_thread")]
async fn the_audit_log_lets_go_only_of_what_lies_before_its_horizon() {
    let (now, day) = (Timestamp::now(), Duration::from_secs(24 * 3600));
    for test in testing::each().await {
        for age in [0, 2, 40] {
            test.db.begin().await.unwrap().commit_audited(&entry(1), now - day * age).await.unwrap();
        }
        assert!(test.db.begin().await.unwrap().expire_audit(now, 10).await.is_err());
        let mut tx = test.db.begin().await.unwrap();
        assert_eq!(tx.expire_audit(now - day * 30, 10).await.unwrap(), 1);
        assert_eq!(tx.expire_audit(now - day * 50, 10).await.unwrap(), 0, "an earlier horizon changes nothing");
        tx.commit().await.unwrap();
        for statement in
            ["DELETE FROM audit_log", "UPDATE audit_horizon SET kept_from = 0", "UPDATE audit_log SET occurred_at = 0"]
        {
            assert!(test.db.execute_raw(statement).await.is_err(), "{statement}");
        }
        test.db.execute_raw("DELETE FROM audit_horizon").await.unwrap();
        assert!(test.db.execute_raw("DELETE FROM audit_log").await.is_err(), "without a horizon nothing goes");
        assert_eq!(test.db.count_rows("audit_log").await.unwrap(), 2);
    }
}

/// The two migration folders must describe one schema: tables, columns, nullability.
#[tokio::test(flavor = "multi_thread")]
async fn both_engines_have_the_same_schema() {
    let tests = testing::each().await;
    let mut schemas = Vec::new();
    for test in &tests {
        schemas.push(test.db.schema_columns().await.unwrap());
    }
    assert!(schemas[0].len() > 50, "the schema was read");
    for other in &schemas[1..] {
        assert_eq!(&schemas[0], other);
    }
}

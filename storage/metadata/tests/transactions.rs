//! Transactions as callers rely on them, on every engine of this run.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
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

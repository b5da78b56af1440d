//! What runs by itself, and the commands around it: `gc`, `bench jobs`, the checks of `doctor`.

mod program;

use std::{collections::BTreeSet, fs, time::Duration};

use program::{Program, exit, get, put_blob, run, text};
use publaryn_core::job::{JobKind, JobState};
use publaryn_metadata::{Db, DbOptions, jobs::NewJob};
use serde_json::{Value, json};

/// Works on the program's database, as another process does.
fn with_db<T>(program: &Program, work: impl AsyncFnOnce(&Db) -> T) -> T {
    let url = format!("sqlite://{}", program.data().join("publaryn.db").display());
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let db = Db::connect(&url, &DbOptions::default()).await.unwrap();
        let result = work(&db).await;
        db.close().await;
        result
    })
}

async fn enqueue(db: &Db, kind: JobKind) -> publaryn_core::JobId {
    let mut tx = db.begin().await.unwrap();
    let id = tx.enqueue(&NewJob::new(kind, &json!({})).unique("all".into())).await.unwrap().id;
    tx.commit().await.unwrap();
    id
}

/// Polls until `fact` holds; gives up after a minute, which only a hang reaches.
async fn until(what: &str, mut fact: impl AsyncFnMut() -> bool) {
    for _ in 0..600 {
        if fact().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("never happened: {what}");
}

#[test]
fn every_schedule_has_a_handler_and_its_ticks_are_done() {
    let program = Program::new();
    let server = program.serve(&[]);
    with_db(&program, async |db| {
        until("all schedules are entered", async || db.schedules().await.unwrap().len() == 7).await;
        let kinds: BTreeSet<String> = db.schedules().await.unwrap().into_iter().map(|row| row.kind).collect();
        let node = db.nodes(Duration::from_secs(60)).await.unwrap().remove(0);
        let handled: BTreeSet<String> = serde_json::from_str(&node.kinds).unwrap();
        assert!(kinds.is_subset(&handled), "{kinds:?} are scheduled, {handled:?} have handlers");
        let mut runs = Vec::new();
        for kind in &kinds {
            runs.push((kind, enqueue(db, kind.parse().unwrap()).await));
        }
        for (kind, id) in runs {
            until(&format!("{kind} completes"), async || {
                db.job(id, Duration::from_secs(60)).await.unwrap().unwrap().status == JobState::Completed
            })
            .await;
        }
    });
    let doctor = program.run(&["doctor"]);
    let lines = text(&doctor.stdout);
    assert_eq!(exit(&doctor), 0, "{lines}");
    assert!(!lines.contains("job_kinds"), "{lines}");
    assert!(lines.lines().any(|line| line.starts_with("ok    workers")), "{lines}");
    assert!(get(&server, "/metrics").contains("publaryn_storage_objects 0"));
    assert_eq!(exit(&server.stop()), 0);
}

#[test]
fn gc_works_beside_a_running_server() {
    let program = Program::new();
    assert_eq!(exit(&program.run(&["gc"])), 1, "there is no database yet");
    assert_eq!(exit(&program.run(&["gc", "--grace", "24"])), 2);
    let server = program.serve(&[]);
    let stray = b"left by a crash";
    let path = program.data().join("blobs").join(put_blob(&program.data(), stray));
    let unfinished = program.data().join("blobs/tmp/abc");
    fs::write(&unfinished, b"half").unwrap();

    let output = program.run(&["gc", "--json"]);
    assert_eq!(exit(&output), 0, "{}", text(&output.stderr));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&report["deleted_objects"], &report["grace_seconds"]), (&json!(0), &json!(86_400)));
    assert!(path.exists(), "it is younger than gc.grace_hours");

    let output = program.run(&["gc", "--dry-run", "--grace", "0s", "--json"]);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["dry_run"], true);
    assert_eq!((&report["deleted_objects"], &report["freed_bytes"]), (&json!(1), &json!(stray.len())));
    assert!(path.exists(), "a dry run changes nothing");

    let output = program.run(&["gc", "--grace", "0s"]);
    assert_eq!(exit(&output), 0, "{}", text(&output.stderr));
    assert_eq!(text(&output.stdout).lines().next(), Some("deleted 1 objects, 15 bytes"));
    assert!(!path.exists() && unfinished.exists(), "uploads have their own time, gc.upload_ttl_hours");
    assert!(text(&program.run(&["gc", "--grace", "0s"]).stdout).starts_with("deleted 0 objects, 0 bytes"));
    assert_eq!(exit(&server.stop()), 0);
}

#[test]
fn gc_says_which_service_is_away() {
    let program = Program::new();
    program.migrated();
    let output = run(program
        .command(&["gc"])
        .env("PUBLARYN__STORAGE__BACKEND", "s3")
        .env("PUBLARYN__STORAGE__S3__ENDPOINT", "http://127.0.0.1:1")
        .env("PUBLARYN__STORAGE__S3__BUCKET", "b")
        .env("PUBLARYN__STORAGE__S3__ACCESS_KEY", "hunter1")
        .env("PUBLARYN__STORAGE__S3__SECRET_KEY", "hunter2"));
    assert_eq!(exit(&output), 69, "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("storage: ") && !text(&output.stderr).contains("hunter2"));
}

#[test]
fn bench_jobs_measures_on_a_database_of_its_own_and_refuses_others() {
    let program = Program::new();
    let output = program.run(&["bench", "jobs", "--count", "300", "--concurrency", "8"]);
    assert_eq!(exit(&output), 0, "{}", text(&output.stderr));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["jobs"], 300);
    for key in ["seconds", "jobs_per_second", "p50_ms", "p99_ms"] {
        assert!(report[key].as_f64().unwrap() > 0.0, "{key} in {report}");
    }
    assert_eq!(report.as_object().unwrap().len(), 5);
    assert!(!program.data().exists(), "it touched nothing of the installation");

    let scratch = program.scratch().join("scratch.db");
    let url = format!("sqlite://{}", scratch.display());
    let bench = ["bench", "jobs", "--count", "10", "--database", &url];
    assert_eq!(exit(&program.run(&bench)), 0);
    let again = program.run(&bench);
    assert_eq!(exit(&again), 1);
    assert!(text(&again.stderr).contains("not empty"), "{}", text(&again.stderr));

    assert_eq!(exit(&program.serve(&[]).stop()), 0);
    let output = program.run(&["bench", "jobs", "--count", "10", "--data-dir", "data"]);
    assert_eq!(exit(&output), 1, "a database a server has used is not for this");
    for wrong in [&["bench", "jobs"][..], &["bench", "jobs", "--count", "0"], &["bench"]] {
        assert_eq!(exit(&program.run(wrong)), 2, "{wrong:?}");
    }
    let output = program.run(&["bench", "jobs", "--count", "1", "--database", "mysql://x"]);
    assert_eq!(exit(&output), 2, "{}", text(&output.stderr));
}

#[test]
fn doctor_sees_dead_jobs_damage_garbage_and_work_nobody_can_do() {
    let program = Program::new();
    program.migrated();
    let output = program.run(&["doctor", "--json"]);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let status = |report: &Value, name: &str| {
        let checks = report["checks"].as_array().unwrap();
        let check = checks.iter().find(|check| check["name"] == name);
        check.map(|check| (check["status"].as_str().unwrap().to_owned(), check["text"].as_str().unwrap().to_owned()))
    };
    for name in ["clock_skew", "workers", "jobs", "blobs", "orphans"] {
        assert_eq!(status(&report, name).map(|(status, _)| status).as_deref(), Some("ok"), "{name} in {report}");
    }

    let server = program.serve(&[]);
    with_db(&program, async |db| {
        until("a node is alive", async || !db.nodes(Duration::from_secs(60)).await.unwrap().is_empty()).await;
        let dead = {
            let mut tx = db.begin().await.unwrap();
            let later = NewJob::new(JobKind::ScanArtifact, &json!({})).after(Duration::from_secs(3600));
            let id = tx.enqueue(&later).await.unwrap().id;
            tx.cancel_job(id).await.unwrap();
            tx.pause_queue(JobKind::VerifyBlobs, Some("ada")).await.unwrap();
            tx.commit().await.unwrap();
            id
        };
        assert_eq!(db.job(dead, Duration::ZERO).await.unwrap().unwrap().status, JobState::Dead);
        // Nobody here knows this kind, as when a newer node enqueued it.
        enqueue(db, JobKind::DeliverWebhook).await;
        let digest = format!("sha256:{}", "ab".repeat(32));
        let lost = format!(
            "INSERT INTO blobs (digest, location, size_bytes, created_at, state, state_at) \
             VALUES ('{digest}', 'sha256/ab/x', 5, 0, 'missing', 1)"
        );
        db.execute_raw(&lost).await.unwrap();
    });
    let stray = program.data().join("blobs").join(put_blob(&program.data(), b"stray"));
    let long_ago = std::time::SystemTime::now() - Duration::from_secs(30 * 3600);
    fs::File::options().write(true).open(&stray).unwrap().set_modified(long_ago).unwrap();

    let output = program.run(&["doctor", "--json"]);
    assert_eq!(exit(&output), 1, "damage is a failure");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    for (name, expected, word) in [
        ("jobs", "warn", "1 dead (1 scan_artifact)"),
        ("job_kinds", "warn", "deliver_webhook"),
        ("paused", "warn", "verify_blobs"),
        ("blobs", "fail", "missing"),
        ("orphans", "warn", "2 objects, 10 bytes"),
    ] {
        let (status, text) = status(&report, name).unwrap_or_else(|| panic!("{name} in {report}"));
        assert_eq!(status, expected, "{name}: {text}");
        assert!(text.contains(word), "{name}: {text}");
    }
    assert_eq!(exit(&server.stop()), 0);
}

#[test]
fn a_worker_serves_probes_only_and_an_api_node_runs_no_jobs() {
    let program = Program::new();
    let server = program.serve(&["--role", "worker"]);
    assert!(get(&server, "/health").starts_with("HTTP/1.1 200"));
    assert!(get(&server, "/readiness").starts_with("HTTP/1.1 200"));
    assert!(get(&server, "/metrics").starts_with("HTTP/1.1 200"));
    for path in ["/npm/x", "/v1/auth/session", "/cargo/index/config.json"] {
        assert!(get(&server, path).starts_with("HTTP/1.1 404"), "{path}");
    }
    assert_eq!(exit(&server.stop()), 0);

    let server = program.serve(&["--role", "api"]);
    assert!(get(&server, "/cargo/index/config.json").starts_with("HTTP/1.1 200"));
    with_db(&program, async |db| {
        until("it leads and ticks", async || db.leader().await.unwrap().is_some()).await;
        let node = db.nodes(Duration::from_secs(60)).await.unwrap().remove(0);
        assert_eq!((node.role.as_str(), node.kinds.as_str()), ("api", "[]"));
        until("schedules are entered", async || db.schedules().await.unwrap().len() == 7).await;
    });
    let lines = text(&program.run(&["doctor"]).stdout);
    assert!(
        lines.lines().any(|line| line.starts_with("warn  workers") && line.contains("nobody runs jobs")),
        "{lines}"
    );
    assert_eq!(exit(&server.stop()), 0);
}

#[test]
fn openapi_prints_the_document_that_the_server_serves() {
    let program = Program::new();
    let printed = program.run(&["openapi"]);
    assert_eq!(exit(&printed), 0);
    let document: serde_json::Value = serde_json::from_slice(&printed.stdout).unwrap();
    assert_eq!(document["openapi"], "3.1.0");
    let server = program.serve(&[]);
    let served = program::get(&server, "/api-docs/openapi.json");
    assert!(served.ends_with(&text(&printed.stdout)), "{}", &served[..served.len().min(600)]);
    assert_eq!(exit(&server.stop()), 0);
}

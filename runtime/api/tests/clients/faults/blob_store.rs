//! The S3 store failing, silent or away (configuration.md §6): metadata goes on, bytes are 503, and
//! everything recovers alone.

use std::time::Duration;

use publaryn_core::{
    crash::CrashPoint,
    job::{JobKind, JobState},
};

use super::{
    Client,
    packages::retry_after,
    proxy::{Mode, Proxy},
    state::{database, eventually, publish_jobs, readiness, settled, stored},
};
use crate::{Backend, Server, bulk, cargo::Machine};

/// The store's own time limit for a request with its retries is 10 s.
const GIVES_UP_WITHIN: Duration = Duration::from_secs(20);
const RECOVERED_WITHIN: Duration = Duration::from_secs(30);
/// A failed scan waits 8 to 12 s before its next attempt.
const RESCANNED_WITHIN: Duration = Duration::from_secs(60);
/// Too large to be kept in the server's memory.
const ARCHIVE_BYTES: usize = 400_000;

/// An external backend whose S3 store can be taken away.
async fn behind_proxy(backend: Backend) -> (Backend, Proxy) {
    let Backend::External { database, redis, mut s3 } = backend else { unreachable!("only external ones have S3") };
    let proxy = Proxy::to(s3.endpoint.trim_start_matches("http://").trim_end_matches('/')).await;
    s3.endpoint = format!("http://{}", proxy.address());
    (Backend::External { database, redis, s3 }, proxy)
}

on_external!(a_lost_blob_store_leaves_metadata, async |backend: Backend| {
    let (backend, proxy) = behind_proxy(backend).await;
    let server = Server::start(backend).await;
    let user = server.new_user("ada").await;
    for client in Client::ALL {
        let upload = client.upload("steady", "1.0.0", ARCHIVE_BYTES, 1);
        assert!(client.publish(&server, &user.token, &upload).await.is_ok());
    }
    settled(&server, RECOVERED_WITHIN).await;
    let before = stored(&server).await;
    let pid = server.pid();
    for (round, mode) in [Mode::Down, Mode::Broken, Mode::Silent].into_iter().enumerate() {
        proxy.set(mode);
        for client in Client::ALL {
            assert_eq!(client.listing(&server, "steady").await.len(), 1 + round, "{mode:?}");
            let url = format!("{}{}", server.base_url(), client.download_path("steady", "1.0.0"));
            let download = tokio::time::timeout(GIVES_UP_WITHIN, server.http.get(url).send());
            let download = download.await.expect("an answer in time").unwrap();
            assert_eq!(download.status().as_u16(), 503, "{mode:?} {client:?}");
            assert!(retry_after(&download).is_some(), "{mode:?} {client:?}");
            // A silent store holds an upload for more than a minute: 8 MiB may take that long.
            if mode != Mode::Silent {
                let upload = client.upload("steady", &format!("1.0.{}", round + 1), ARCHIVE_BYTES, 2);
                let answer = client.publish(&server, &user.token, &upload);
                let answer = tokio::time::timeout(GIVES_UP_WITHIN, answer).await.expect("an answer in time");
                answer.is_unavailable(client);
            }
        }
        eventually("readiness reports the store", RECOVERED_WITHIN, async || {
            let (status, body) = readiness(&server).await;
            assert_eq!(status, 200, "the blob store does not gate readiness: {body}");
            body["checks"]["storage"] == "error"
        })
        .await;
        proxy.set(Mode::Up);
        eventually("readiness sees the store again", RECOVERED_WITHIN, async || {
            readiness(&server).await.1["checks"]["storage"] == "ok"
        })
        .await;
        if round == 0 {
            assert_eq!(stored(&server).await, before, "a refused upload left something behind");
        }
        for client in Client::ALL {
            let upload = client.upload("steady", &format!("1.0.{}", round + 1), ARCHIVE_BYTES, 3);
            let answer = client.publish(&server, &user.token, &upload).await;
            assert!(answer.is_ok(), "{mode:?} {client:?}: {answer:?}");
            assert_eq!(client.check_listed(&server, "steady").await.len(), 2 + round, "{mode:?} {client:?}");
        }
    }
    assert_eq!(server.pid(), pid, "nobody restarted it");
});

on_external!(a_scan_waits_for_a_lost_blob_store, async |backend: Backend| {
    let (backend, proxy) = behind_proxy(backend).await;
    let mut server = Server::start_with(backend, &[("debug.fault_injection", "true")]).await;
    let user = server.new_user("ada").await;
    // The release is committed and unscanned when the store goes.
    server.restart_with(&[("debug.crash_at", CrashPoint::ReleaseCommitted.as_str())]).await;
    let upload = Client::Cargo.upload("patient", "1.0.0", bulk().len(), 1);
    let answer = Client::Cargo.try_publish(&server, &user.token, &upload).await;
    assert!(answer.is_err(), "{answer:?}");
    server.ended(RECOVERED_WITHIN).await;
    proxy.set(Mode::Down);
    // A server starts without its blob store.
    server.restart_with(&[("debug.crash_at", "")]).await;
    let db = database(&server).await;
    eventually("the scan fails for now", RECOVERED_WITHIN, async || {
        let jobs = publish_jobs(&db).await;
        let scan = jobs.iter().find(|job| job.kind == JobKind::ScanArtifact.as_str()).expect("the scan job");
        assert!(matches!(scan.status, JobState::Pending | JobState::Running | JobState::Failed), "{scan:?}");
        scan.status == JobState::Failed
    })
    .await;
    assert!(Client::Cargo.listing(&server, "patient").await.is_empty(), "fail closed");
    proxy.set(Mode::Up);
    settled(&server, RESCANNED_WITHIN).await;
    assert!(Client::Cargo.check_listed(&server, "patient").await.contains_key("1.0.0"));
    db.close().await;
});

on_external!(cargo_itself_waits_for_a_lost_blob_store, async |backend: Backend| {
    let (backend, proxy) = behind_proxy(backend).await;
    let mut server = Server::start(backend).await;
    let user = server.new_user("ada").await;
    let machine = Machine::new(&server, "m").logged_in(&user.token);
    machine.publish("pub", "steady", "1.0.0", "").await.succeeds();
    // Bytes just written are also in memory.
    server.restart().await;
    proxy.set(Mode::Down);
    let dir = machine.program("user", "[dependencies]\nsteady = { version = \"1\", registry = \"pub\" }\n");
    let path = Client::Cargo.download_path("steady", "1.0.0");
    let recovery = async {
        eventually("cargo asks", RECOVERED_WITHIN, async || server.log().contains(&path)).await;
        proxy.set(Mode::Up);
    };
    let (said, ()) = tokio::join!(machine.cargo(&dir, "fetch"), recovery);
    said.succeeds();
});

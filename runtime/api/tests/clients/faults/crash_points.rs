//! `kill -9` at every step of a publish: the process ends at a named place (`debug.crash_at`), is
//! started again, and the release is wholly there or wholly absent.

use std::{os::unix::process::ExitStatusExt, time::Duration};

use publaryn_core::crash::CrashPoint;

use super::{
    Client,
    state::{eventually, settled},
};
use crate::{Backend, Server, bounded};

/// Between the upload and the end of the process.
const CRASHES_WITHIN: Duration = Duration::from_secs(30);
/// Jobs of a killed server resume within 5 s of its next start (J5); a debug build on a busy machine
/// gets more.
const RESUMED_WITHIN: Duration = Duration::from_secs(30);
/// Larger than what the stores take in one block, so that an upload has a middle, and than what is scanned
/// before its commit.
const LARGE: usize = 600_000;
/// Scanned before its commit.
const SMALL: usize = 2_000;
const SIGABRT: i32 = 6;

/// Whether the release exists after a crash there. Exhaustive, so a new place must say.
fn is_committed(point: CrashPoint, bytes: usize) -> bool {
    match point {
        CrashPoint::ScanStarted
        | CrashPoint::ScanFinished
        | CrashPoint::FindingsStored
        | CrashPoint::ReleaseDecided => bytes == LARGE,
        CrashPoint::UploadReceived
        | CrashPoint::UploadStaged
        | CrashPoint::UploadPromoted
        | CrashPoint::PackageLocked
        | CrashPoint::ReleaseWritten => false,
        CrashPoint::ReleaseCommitted
        | CrashPoint::ScanCommitted
        | CrashPoint::AnswerReady
        | CrashPoint::IndexStarted
        | CrashPoint::IndexWritten
        | CrashPoint::IndexNoted => true,
    }
}

/// Every place once, the middle of an upload, and again those at which it matters when the scan is made.
fn places() -> impl Iterator<Item = (CrashPoint, String, usize)> {
    let once = CrashPoint::ALL.iter().map(|point| (*point, point.to_string(), LARGE));
    let middle = (CrashPoint::UploadReceived, format!("{}:5", CrashPoint::UploadReceived), LARGE);
    let ahead = CrashPoint::ALL.iter().skip_while(|point| **point != CrashPoint::PackageLocked);
    let ahead = ahead.take_while(|point| **point != CrashPoint::IndexStarted);
    once.chain([middle]).chain(ahead.map(|point| (*point, point.to_string(), SMALL)))
}

async fn crash_everywhere(backend: Backend, client: Client) {
    let mut server = Server::start_with(backend, &[("debug.fault_injection", "true")]).await;
    let user = server.new_user("ada").await;
    // A package with a history, and one that the crashing publish creates.
    let first = client.upload("steady", "0.1.0", 1000, 0);
    assert!(client.publish(&server, &user.token, &first).await.is_ok());
    settled(&server, RESUMED_WITHIN).await;
    let mut kept = 1;
    for (n, (point, place, bytes)) in places().enumerate() {
        let name = if n % 2 == 0 { format!("fresh-{n}") } else { "steady".to_owned() };
        let upload = client.upload(&name, &format!("1.{n}.0"), bytes, n as u64);
        server.restart_with(&[("debug.crash_at", &place)]).await;
        let answer = client.try_publish(&server, &user.token, &upload).await;
        let status = server.ended(CRASHES_WITHIN).await;
        assert_eq!(status.signal(), Some(SIGABRT), "{place}: {status}");
        server.restart_with(&[("debug.crash_at", "")]).await;
        settled(&server, RESUMED_WITHIN).await;

        let listing = client.check_listed(&server, &name).await;
        let listed = listing.get(&upload.version);
        // The last places come after the verdict is committed, so the answer may have got out.
        let was_answered = answer.is_ok_and(|answer| answer.is_ok());
        assert!(listed.is_some() || !was_answered, "{place}: answered and gone");
        assert_eq!(listed.is_some(), is_committed(point, bytes), "{place}: {listing:?}");
        let again = client.upload(&name, &upload.version, 1000, 77);
        let second = client.publish(&server, &user.token, &again).await;
        let wanted = match listed {
            Some(digest) => {
                assert_eq!(*digest, client.digest(&upload.bytes), "{place}");
                assert!(!second.is_ok(), "{place}: published twice: {second:?}");
                digest.clone()
            }
            None => {
                assert!(second.is_ok(), "{place}: half stored: {second:?}");
                client.digest(&again.bytes)
            }
        };
        settled(&server, RESUMED_WITHIN).await;
        assert_eq!(client.check_listed(&server, &name).await.get(&upload.version), Some(&wanted), "{place}");
        eventually("the search finds it", RESUMED_WITHIN, async || client.is_found(&server, &name).await).await;
        kept += usize::from(name == "steady");
    }
    assert_eq!(client.listing(&server, "steady").await.len(), kept);
}

#[tokio::test(flavor = "multi_thread")]
async fn npm_embedded() {
    bounded(crash_everywhere(Backend::Embedded, Client::Npm)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cargo_embedded() {
    bounded(crash_everywhere(Backend::Embedded, Client::Cargo)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pypi_embedded() {
    bounded(crash_everywhere(Backend::Embedded, Client::Pypi)).await;
}

on_external!(npm_external, async |backend: Backend| crash_everywhere(backend, Client::Npm).await);

on_external!(cargo_external, async |backend: Backend| crash_everywhere(backend, Client::Cargo).await);

on_external!(pypi_external, async |backend: Backend| crash_everywhere(backend, Client::Pypi).await);

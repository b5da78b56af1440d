//! `kill -9` at every step of a push: pushed again, the image is whole, and nothing of the first try is in its way.

use std::time::Duration;

use publaryn_core::crash::CrashPoint;

use super::{Wire, noise, sha256, wire};
use crate::{Backend, Server, bounded, faults::state::eventually};

const CRASHES_WITHIN: Duration = Duration::from_secs(30);
/// Jobs of a killed server resume within seconds of its next start; a debug build on a busy machine gets more.
const RESUMED_WITHIN: Duration = Duration::from_secs(60);

/// Those that a push comes by; blobs are staged, and verdicts indexed, as everybody's are.
const PLACES: [CrashPoint; 9] = [
    CrashPoint::UploadPromoted,
    CrashPoint::PackageLocked,
    CrashPoint::ReleaseWritten,
    CrashPoint::ReleaseCommitted,
    CrashPoint::ScanStarted,
    CrashPoint::ScanFinished,
    CrashPoint::FindingsStored,
    CrashPoint::ReleaseDecided,
    CrashPoint::ScanCommitted,
];

async fn crash_in_pushes(backend: Backend) {
    let mut server = Server::start_with(backend, &[("debug.fault_injection", "true")]).await;
    let user = server.new_user("ada").await;
    for (n, place) in PLACES.iter().enumerate() {
        let name = format!("acme/fresh-{n}");
        let layers = [noise(3000, 70 + n as u64), b"shared".to_vec()];
        server.restart_with(&[("debug.crash_at", place.as_str())]).await;
        let (ada, pushed, sent) = (Wire::of(&server, &user), name.clone(), layers.clone());
        let pushing = tokio::spawn(async move { ada.image(&pushed, "1", &[&sent[0], &sent[1]]).await });
        // Its client fails with it, or was just told that all is well.
        server.ended(CRASHES_WITHIN).await;
        let first = pushing.await;
        server.restart_with(&[("debug.crash_at", "")]).await;

        let (ada, nobody) = (Wire::of(&server, &user), Wire::anonymous(&server));
        let manifest = ada.prepare(&name, &[&layers[0], &layers[1]]).await;
        ada.manifest(&name, "1", &manifest).await.is(201);
        eventually("the image is live", RESUMED_WITHIN, async || {
            nobody.get(&format!("/v2/{name}/manifests/1")).await.status == 200
        })
        .await;
        if let Ok(digest) = first {
            assert_eq!(digest, wire::digest_of(&manifest), "{place}");
        }
        for layer in &layers {
            let blob = nobody.get(&format!("/v2/{name}/blobs/{}", sha256(layer))).await.is(200);
            assert!(blob.body == *layer, "{place}");
        }
        assert_eq!(ada.get(&format!("/v2/{name}/tags/list")).await.json()["tags"], serde_json::json!(["1"]), "{place}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn embedded() {
    bounded(crash_in_pushes(Backend::Embedded)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn external() {
    let Some(backend) = Backend::external().await else {
        eprintln!("no external services in this run (make test starts them)");
        return;
    };
    bounded(crash_in_pushes(backend)).await;
}

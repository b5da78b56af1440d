//! Looking at what a server keeps: its job queue and its blobs.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use futures::StreamExt;
use publaryn_blobs::{BlobStore, DiskConfig, S3Config, StaticKeys, StoreConfig};
use publaryn_core::{
    Timestamp,
    job::{JobKind, JobState},
};
use publaryn_metadata::{
    Db, DbOptions,
    jobs::{JobFilter, JobView, Page},
};
use serde_json::Value;

use crate::Server;

/// What a publish leaves to background jobs.
const PUBLISH_JOBS: [JobKind; 3] = [JobKind::ScanArtifact, JobKind::FinalizeRelease, JobKind::IndexPackage];

/// The server's database, opened beside it.
pub async fn database(server: &Server) -> Db {
    let url = match server.setting("database.url") {
        Some(url) => url.to_owned(),
        None => format!("sqlite://{}", server.data_dir().join("publaryn.db").display()),
    };
    Db::connect(&url, &DbOptions::default()).await.expect("the server's database can be opened")
}

/// The jobs of publishes, in any state.
pub async fn publish_jobs(db: &Db) -> Vec<JobView> {
    let mut jobs = Vec::new();
    for kind in PUBLISH_JOBS {
        let filter = JobFilter { kind: Some(kind), ..JobFilter::default() };
        let page = Page { number: 1, per_page: 1000, cursor: None };
        jobs.extend(db.jobs(&filter, &page, Duration::from_secs(15)).await.expect("jobs can be listed").jobs);
    }
    jobs
}

/// Waits until every job of a publish is done.
///
/// # Panics
/// When one is dead, or they are not done within the time.
pub async fn settled(server: &Server, within: Duration) {
    let db = database(server).await;
    let deadline = Instant::now() + within;
    loop {
        let jobs = publish_jobs(&db).await;
        let dead: Vec<_> = jobs.iter().filter(|job| job.status == JobState::Dead).collect();
        assert!(dead.is_empty(), "dead jobs: {dead:?}");
        let open: Vec<_> = jobs.iter().filter(|job| job.status != JobState::Completed).collect();
        if open.is_empty() {
            break;
        }
        assert!(Instant::now() < deadline, "not done within {within:?}: {open:?}\n{}", server.log());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    db.close().await;
}

/// The server's blob store, opened beside it.
async fn blobs(server: &Server) -> Arc<dyn BlobStore> {
    let setting = |key: &str| server.setting(key).map(str::to_owned);
    let config = match server.is_embedded() {
        true => StoreConfig::Disk(DiskConfig { path: server.data_dir().join("blobs") }),
        false => StoreConfig::S3(S3Config {
            endpoint: setting("storage.s3.endpoint"),
            region: "us-east-1".to_owned(),
            bucket: setting("storage.s3.bucket").expect("set by the harness"),
            keys: setting("storage.s3.access_key")
                .zip(setting("storage.s3.secret_key"))
                .map(|(access_key, secret_key)| StaticKeys { access_key, secret_key }),
            path_style: true,
            prefix: setting("storage.s3.prefix").expect("set by the harness"),
        }),
    };
    publaryn_blobs::open(config, 0).await.expect("the server's blob store can be opened")
}

/// How many blobs and unfinished uploads the store holds.
pub async fn stored(server: &Server) -> (usize, usize) {
    let store = blobs(server).await;
    let blobs = store.list().map(|blob| blob.expect("blobs can be listed")).count().await;
    // Whatever its age.
    let later = Timestamp::now() + Duration::from_secs(3600);
    let unfinished = store.stale_uploads(later).map(|upload| upload.expect("uploads can be listed")).count().await;
    (blobs, unfinished)
}

/// `GET /readiness`.
pub async fn readiness(server: &Server) -> (u16, Value) {
    let (status, body) = server.get("/readiness", None).await;
    (status, serde_json::from_str(&body).expect("readiness is JSON"))
}

/// Asks again and again until the answer is as wanted.
///
/// # Panics
/// When it is not within the time; `what` says what was waited for.
pub async fn eventually(what: &str, within: Duration, mut asks: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + within;
    while !asks().await {
        assert!(Instant::now() < deadline, "{what}: not within {within:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Waits until the server is ready (200) or not (503).
pub async fn becomes_ready(server: &Server, ready: bool, within: Duration) -> Value {
    let wanted = if ready { 200 } else { 503 };
    let mut last = Value::Null;
    eventually(&format!("readiness {wanted}"), within, async || {
        let (status, body) = readiness(server).await;
        last = body;
        status == wanted
    })
    .await;
    last
}

//! A database and a store of a test's own, and a publisher that does what a publish does to both.
#![allow(dead_code, reason = "each test file uses a part of this")]

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures::TryStreamExt;
use publaryn_blobs::{BlobError, BlobKey, BlobStore, DiskConfig, DiskStore, S3Config, S3Store, StagePlan, StaticKeys};
use publaryn_core::{
    ArtifactId, ReleaseId, ReleaseState, Timestamp,
    job::{JobKind, JobState},
    publish::NewArtifact,
};
use publaryn_gc::{Collector, Extent, GcOptions, GcReport, Unwatched};
use publaryn_jobs::{Handler, testing::run_to_end};
use publaryn_metadata::{
    Db, DbError, DbResult,
    jobs::NewJob,
    testing::{self, SamplePackage, TestDb},
};

pub struct World {
    pub db: Db,
    pub store: Arc<dyn BlobStore>,
    pub disk: Option<DiskStore>,
    pub package: SamplePackage,
    _test: TestDb,
    _dir: tempfile::TempDir,
}

/// What went wrong with a publish; nothing of it is stored.
#[derive(Debug)]
pub enum Refused {
    Store(BlobError),
    Database(DbError),
}

impl From<BlobError> for Refused {
    fn from(error: BlobError) -> Self {
        Self::Store(error)
    }
}

impl From<DbError> for Refused {
    fn from(error: DbError) -> Self {
        Self::Database(error)
    }
}

/// SQLite with a disk, and PostgreSQL with S3 where this run has them.
pub async fn each() -> Vec<World> {
    let dir = tempfile::tempdir().unwrap();
    let disk = DiskStore::open(DiskConfig { path: dir.path().join("blobs") }).await.unwrap();
    let mut all = vec![World::new(testing::sqlite().await, Arc::new(disk.clone()), Some(disk), dir).await];
    if let (Ok(admin), Ok(s3)) = (std::env::var(testing::POSTGRES_URL), std::env::var("PUBLARYN_TEST_S3")) {
        let [endpoint, access_key, secret_key] = s3.split(',').collect::<Vec<_>>()[..] else {
            panic!("PUBLARYN_TEST_S3 must be endpoint,access,secret");
        };
        let config = S3Config {
            endpoint: Some(endpoint.to_owned()),
            region: "us-east-1".to_owned(),
            bucket: "publaryn-test".to_owned(),
            keys: Some(StaticKeys { access_key: access_key.to_owned(), secret_key: secret_key.to_owned() }),
            path_style: true,
            prefix: format!("gc/{}", uuid::Uuid::new_v4().simple()),
        };
        let store = Arc::new(S3Store::connect(config).await);
        all.push(World::new(testing::postgres(&admin).await, store, None, tempfile::tempdir().unwrap()).await);
    }
    all
}

impl World {
    async fn new(test: TestDb, store: Arc<dyn BlobStore>, disk: Option<DiskStore>, dir: tempfile::TempDir) -> Self {
        let package = SamplePackage::create(&test.db).await;
        Self { db: test.db.clone(), store, disk, package, _test: test, _dir: dir }
    }

    pub fn collector(&self) -> Collector {
        Collector { db: self.db.clone(), blobs: self.store.clone() }
    }

    pub async fn collect(&self, options: GcOptions) -> GcReport {
        self.collector().run(&options, &Unwatched).await.unwrap()
    }

    /// Puts bytes into the store under a key that no row knows.
    pub async fn promoted(&self, content: &[u8]) -> Result<(BlobKey, NewArtifact), BlobError> {
        let staged = self.store.stage_bytes(Bytes::copy_from_slice(content), StagePlan::new(1 << 20, "test")).await?;
        let key = self.store.promote(&staged).await?;
        Ok((key, testing::artifact_of(content)))
    }

    /// Publishes `content` as a release of its own, live at once.
    pub async fn publish(&self, content: &[u8]) -> Result<(ReleaseId, ArtifactId), Refused> {
        let (key, artifact) = self.promoted(content).await?;
        let mut attempts = 0;
        loop {
            attempts += 1;
            match self.commit(&key, &artifact).await {
                Err(DbError::Contended(_)) if attempts < 5 => {}
                outcome => return Ok(outcome?),
            }
        }
    }

    pub async fn commit(&self, key: &BlobKey, artifact: &NewArtifact) -> DbResult<(ReleaseId, ArtifactId)> {
        self.package.add_release(&self.db, ReleaseState::Published, artifact, key.as_str()).await
    }

    pub async fn delete_release(&self, id: ReleaseId) {
        let mut tx = self.db.begin().await.unwrap();
        tx.lock_package_by_id(self.package.id).await.unwrap();
        tx.set_release_state(id, ReleaseState::Deleted, Timestamp::now()).await.unwrap();
        tx.commit().await.unwrap();
    }

    /// What a download of the artifact would answer; `None` when it is nobody's any more.
    pub async fn read(&self, artifact: ArtifactId) -> Option<Result<Bytes, BlobError>> {
        let target = self.db.scan_target(artifact).await.unwrap()?;
        let body = match self.store.open(&target.location.parse().unwrap(), None).await {
            Ok(body) => body,
            Err(error) => return Some(Err(error)),
        };
        Some(body.into_bytes(1 << 20).await)
    }

    /// Keys in the store.
    pub async fn stored(&self) -> Vec<BlobKey> {
        self.store.list().map_ok(|blob| blob.key).try_collect().await.unwrap()
    }

    /// Uploads of any age that nobody finished.
    pub async fn unfinished(&self) -> usize {
        let all: Vec<_> = self.store.stale_uploads(Timestamp::now() + HOUR).try_collect().await.unwrap();
        all.len()
    }
}

pub const HOUR: Duration = Duration::from_secs(3600);

/// Everything goes that is not needed this very moment.
pub fn at_once() -> GcOptions {
    GcOptions { grace: Duration::ZERO, upload_ttl: Duration::ZERO, extent: Extent::Everything, is_dry_run: false }
}

/// Runs one job of the handler's kind to its end.
pub async fn run_job(db: &Db, handler: Arc<dyn Handler>) {
    let job = NewJob::new(handler.kind(), &serde_json::json!({}));
    run_to_end(db, vec![handler], job).await;
}

/// Jobs of a kind that wait or run.
pub async fn waiting(db: &Db, kind: JobKind) -> i64 {
    let counts = db.job_counts().await.unwrap();
    counts.of(kind.as_str(), JobState::Pending) + counts.of(kind.as_str(), JobState::Running)
}

//! What the collector deletes, what it leaves, and that a publish never loses against it.

mod support;

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use async_trait::async_trait;
use publaryn_blobs::{
    AbandonedUpload, AppendPlan, Appended, BlobBody, BlobError, BlobKey, BlobMeta, BlobStore, ByteStream, Checkpoint,
    StagePlan, Staged, StaleUpload, UploadState,
};
use publaryn_core::{ArtifactId, ReleaseState, Timestamp, job::JobKind};
use publaryn_gc::{CleanupBlobs, CleanupOciBlobs, Collector, Extent, GcError, GcOptions, LetGo, Tally, Unwatched};
use publaryn_jobs::{JobContext, JobError, testing::run_to_end};
use publaryn_metadata::DbError;
use support::*;

#[tokio::test(flavor = "multi_thread")]
async fn content_of_deleted_releases_goes_after_its_grace() {
    for world in each().await {
        let (_, kept) = world.publish(b"kept").await.unwrap();
        let (gone, artifact) = world.publish(b"deleted").await.unwrap();
        let (twice, shared) = world.publish(b"shared").await.unwrap();
        let (_, other) = world.publish(b"shared").await.unwrap();
        assert_eq!(world.collect(GcOptions { grace: HOUR, ..at_once() }).await.total(), Tally::default());
        // The second upload of the shared content lies under a key that no row took.
        assert_eq!(world.stored().await.len(), 4);

        world.delete_release(gone).await;
        world.delete_release(twice).await;
        let young = world.collect(GcOptions { grace: HOUR, ..at_once() }).await;
        assert_eq!(young.total(), Tally::default(), "what was deleted a moment ago is within its grace");
        assert_eq!(world.read(artifact).await.unwrap().unwrap(), "deleted");

        tokio::time::sleep(Duration::from_millis(1100)).await; // S3 dates by the second
        let foreseen = world.collect(GcOptions { is_dry_run: true, ..at_once() }).await;
        assert_eq!(foreseen.unreferenced, Tally { objects: 1, bytes: 7 });
        assert_eq!(foreseen.strays, Tally { objects: 1, bytes: 6 });
        assert_eq!(world.stored().await.len(), 4, "a dry run changes nothing");
        assert_eq!(world.read(artifact).await.unwrap().unwrap(), "deleted");

        assert_eq!(world.collect(at_once()).await, foreseen);
        assert!(world.read(artifact).await.is_none() && world.read(shared).await.is_none());
        assert_eq!(world.read(kept).await.unwrap().unwrap(), "kept");
        assert_eq!(world.read(other).await.unwrap().unwrap(), "shared", "another release still has it");
        assert_eq!(world.stored().await.len(), 2);
        assert_eq!(world.collect(at_once()).await.total(), Tally::default());
        let usage = world.db.blob_usage().await.unwrap();
        assert_eq!((usage.objects, usage.bytes), (2, 10));

        // The same content may come back, under another key.
        let (_, again) = world.publish(b"deleted").await.unwrap();
        assert_eq!(world.read(again).await.unwrap().unwrap(), "deleted");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn leftovers_of_crashes_are_found_in_the_store() {
    for world in each().await {
        world.promoted(b"a crash before the commit").await.unwrap();
        let staged = world.store.stage_bytes("a crash before that".into(), StagePlan::new(1 << 20, "test")).await;
        // A killed process runs no destructor.
        std::mem::forget(staged.unwrap());
        tokio::time::sleep(Duration::from_millis(1100)).await;
        let rows_only = world.collect(GcOptions { extent: Extent::Rows, ..at_once() }).await;
        assert_eq!(rows_only.total(), Tally::default());
        let young = world.collect(GcOptions { upload_ttl: HOUR, grace: HOUR, ..at_once() }).await;
        assert_eq!(young.total(), Tally::default());
        let report = world.collect(at_once()).await;
        assert_eq!(report.total(), Tally { objects: 2, bytes: 44 });
        assert_eq!(
            report.unfinished_uploads.objects,
            u64::from(world.disk.is_some()),
            "S3 has staged objects in place"
        );
        assert_eq!((world.stored().await, world.unfinished().await), (vec![], 0));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_doomed_key_cannot_be_committed_and_a_committed_one_not_doomed() {
    for world in each().await {
        let (key, artifact) = world.promoted(b"late").await.unwrap();
        tokio::time::sleep(Duration::from_millis(1100)).await;
        assert_eq!(world.collect(at_once()).await.strays.objects, 1);
        let refused = world.commit(&key, &artifact).await.unwrap_err();
        assert!(matches!(refused, DbError::BlobCollected(_)), "{refused:?}");
        assert_eq!(world.db.count_rows("releases").await.unwrap(), 0, "nothing half stored");

        // The other way round: the transaction of a publish is open while the collector comes by.
        let (key, artifact) = world.promoted(b"in time").await.unwrap();
        tokio::time::sleep(Duration::from_millis(1100)).await;
        let mut tx = world.db.begin().await.unwrap();
        let publish = world.package.write_release(&mut tx, ReleaseState::Published, &artifact, key.as_str());
        let (_, open) = publish.await.unwrap();
        let collecting = tokio::spawn({
            let collector = world.collector();
            async move { collector.run(&at_once(), &Unwatched).await }
        });
        tokio::time::sleep(Duration::from_millis(300)).await;
        tx.commit().await.unwrap();
        assert_eq!(collecting.await.unwrap().unwrap().total(), Tally::default());
        assert_eq!(world.read(open).await.unwrap().unwrap(), "in time");
        // Committed twice with one key, as a repeated push does: still one row, one key.
        let (_, first) = world.commit(&key, &artifact).await.unwrap();
        let (_, second) = world.commit(&key, &artifact).await.unwrap();
        for id in [first, second] {
            assert_eq!(world.read(id).await.unwrap().unwrap(), "in time");
        }
    }
}

/// A store that fails some deletions.
struct Unwilling {
    inner: Arc<dyn BlobStore>,
    fails: AtomicUsize,
}

#[async_trait]
impl BlobStore for Unwilling {
    async fn stage(&self, body: ByteStream, plan: StagePlan) -> Result<Staged, BlobError> {
        self.inner.stage(body, plan).await
    }
    async fn stage_bytes(&self, body: bytes::Bytes, plan: StagePlan) -> Result<Staged, BlobError> {
        self.inner.stage_bytes(body, plan).await
    }
    async fn promote(&self, staged: &Staged) -> Result<BlobKey, BlobError> {
        self.inner.promote(staged).await
    }
    async fn discard(&self, staged: Staged) {
        self.inner.discard(staged).await;
    }
    async fn open(&self, key: &BlobKey, range: Option<std::ops::Range<u64>>) -> Result<BlobBody, BlobError> {
        self.inner.open(key, range).await
    }
    async fn stat(&self, key: &BlobKey) -> Result<Option<u64>, BlobError> {
        self.inner.stat(key).await
    }
    async fn delete(&self, key: &BlobKey) -> Result<(), BlobError> {
        if self.fails.fetch_update(SeqCst, SeqCst, |n| n.checked_sub(1)).is_ok() {
            return Err(BlobError::Unavailable("the store went away".into()));
        }
        self.inner.delete(key).await
    }
    fn list(&self) -> futures::stream::BoxStream<'static, Result<BlobMeta, BlobError>> {
        self.inner.list()
    }
    fn stale_uploads(&self, before: Timestamp) -> futures::stream::BoxStream<'static, Result<StaleUpload, BlobError>> {
        self.inner.stale_uploads(before)
    }
    async fn remove_stale(&self, upload: &StaleUpload) -> Result<(), BlobError> {
        self.inner.remove_stale(upload).await
    }
    async fn append(
        &self,
        upload: UploadState,
        body: ByteStream,
        plan: AppendPlan,
        checkpoint: &dyn Checkpoint,
    ) -> Result<Appended, BlobError> {
        self.inner.append(upload, body, plan, checkpoint).await
    }
    async fn complete(&self, upload: &UploadState) -> Result<BlobKey, BlobError> {
        self.inner.complete(upload).await
    }
    async fn abandon(&self, upload: &UploadState) -> Result<(), BlobError> {
        self.inner.abandon(upload).await
    }
    fn abandoned(&self, before: Timestamp) -> futures::stream::BoxStream<'static, Result<AbandonedUpload, BlobError>> {
        self.inner.abandoned(before)
    }
    async fn remove_abandoned(&self, upload: &AbandonedUpload) -> Result<(), BlobError> {
        self.inner.remove_abandoned(upload).await
    }
    async fn probe(&self) -> Result<(), BlobError> {
        self.inner.probe().await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_ends_anywhere_is_finished_by_the_next() {
    for world in each().await {
        for n in 0..6 {
            let (release, _) = world.publish(format!("content {n}").as_bytes()).await.unwrap();
            world.delete_release(release).await;
        }
        world.promoted(b"stray").await.unwrap();
        tokio::time::sleep(Duration::from_millis(1100)).await;
        let store = Arc::new(Unwilling { inner: world.store.clone(), fails: AtomicUsize::new(4) });
        let collector = Collector { db: world.db.clone(), blobs: store };
        let stopped = collector.run(&at_once(), &Unwatched).await.unwrap_err();
        assert!(matches!(stopped, GcError::Store(_)), "{stopped}");
        let left = world.stored().await.len();
        assert_eq!(left, 5, "four that could not be deleted, and the stray it did not come to");
        assert_eq!(world.db.doomed_blobs(10).await.unwrap().len(), 4, "the next run need not search for them");
        // Without a look at the store.
        let rest = world.collect(GcOptions { extent: Extent::Rows, ..at_once() }).await;
        assert_eq!((rest.unreferenced.objects, world.stored().await.len()), (4, 1));

        // A crash between dooming and deleting.
        let stray = world.stored().await.remove(0);
        let mut tx = world.db.begin().await.unwrap();
        let listed = publaryn_metadata::blobs::StoredBlob { location: stray.to_string(), size_bytes: 5 };
        assert_eq!(tx.doom_strays(&[listed], Timestamp::now()).await.unwrap().len(), 1);
        tx.commit().await.unwrap();
        // Two collectors at once delete it once.
        let (collector, options) = (world.collector(), at_once());
        let (one, two) = tokio::join!(collector.run(&options, &Unwatched), collector.run(&options, &Unwatched));
        assert_eq!(one.unwrap().total().objects + two.unwrap().total().objects, 1);
        assert_eq!(world.stored().await, vec![]);
        assert_eq!(world.db.doomed_blobs(10).await.unwrap(), vec![]);
    }
}

/// Publishers put the same few contents again and again, and half of the releases are deleted, while
/// collectors without any grace run in a loop. Whatever was answered and not deleted stays readable.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_was_answered_stays_readable_beside_a_collector_without_grace() {
    const PUBLISHERS: usize = 6;
    const ROUNDS: usize = 40;
    for world in each().await {
        let world = Arc::new(world);
        let is_over = Arc::new(AtomicBool::new(false));
        let answered: Arc<Mutex<HashMap<ArtifactId, String>>> = Arc::default();
        let collected_early = Arc::new(AtomicUsize::new(0));
        let collectors: Vec<_> = (0..2)
            .map(|_| {
                let (world, is_over) = (world.clone(), is_over.clone());
                tokio::spawn(async move {
                    let mut deleted = 0;
                    while !is_over.load(SeqCst) {
                        deleted += world.collect(GcOptions { upload_ttl: HOUR, ..at_once() }).await.total().objects;
                    }
                    deleted
                })
            })
            .collect();
        let publishers: Vec<_> = (0..PUBLISHERS)
            .map(|publisher| {
                let (world, answered, early) = (world.clone(), answered.clone(), collected_early.clone());
                tokio::spawn(async move {
                    for round in 0..ROUNDS {
                        let content = format!("content {}", (publisher + round) % 4);
                        match world.publish(content.as_bytes()).await {
                            Ok((release, artifact)) => {
                                let read = world.read(artifact).await.expect("it was just published");
                                assert_eq!(read.expect("its bytes are there"), content.as_bytes());
                                if round % 2 == 0 {
                                    world.delete_release(release).await;
                                } else {
                                    answered.lock().unwrap().insert(artifact, content);
                                }
                            }
                            // Without any grace an upload may be collected under its publisher's hands: it is
                            // told so and nothing is stored.
                            Err(
                                Refused::Database(DbError::BlobCollected(_))
                                | Refused::Store(BlobError::Missing { .. }),
                            ) => {
                                early.fetch_add(1, SeqCst);
                            }
                            Err(other) => panic!("{other:?}"),
                        }
                    }
                })
            })
            .collect();
        for publisher in publishers {
            publisher.await.unwrap();
        }
        is_over.store(true, SeqCst);
        let mut deleted = 0;
        for collector in collectors {
            deleted += collector.await.unwrap();
        }
        let answered = answered.lock().unwrap().clone();
        let early = collected_early.load(SeqCst);
        println!("{} kept, {early} refused, {deleted} objects deleted", answered.len());
        assert!(answered.len() > PUBLISHERS, "the collectors left room for publishes");
        assert!(deleted > 0, "the collectors had something to do");
        for (artifact, content) in &answered {
            let read = world.read(*artifact).await.expect("nobody deleted it");
            assert_eq!(read.expect("its bytes are there"), content.as_bytes());
        }
        tokio::time::sleep(Duration::from_millis(1100)).await;
        world.collect(at_once()).await;
        assert_eq!(world.stored().await.len(), 4, "one key per content");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_jobs_collect_as_configured() {
    for world in each().await {
        let (release, _) = world.publish(b"deleted").await.unwrap();
        world.delete_release(release).await;
        world.promoted(b"stray").await.unwrap();
        tokio::time::sleep(Duration::from_millis(1100)).await;
        let handler = |grace| Arc::new(CleanupBlobs { collector: world.collector(), grace, upload_ttl: HOUR });
        run_job(&world.db, handler(HOUR)).await;
        assert_eq!(world.stored().await.len(), 2);
        run_to_end(&world.db, vec![handler(Duration::ZERO)], CleanupBlobs::job()).await;
        assert_eq!(world.stored().await.len(), 1, "a release was deleted: its rows are enough to look at");
        run_job(&world.db, handler(Duration::ZERO)).await;
        assert_eq!(world.stored().await.len(), 0);
    }
}

struct LetsGo(u64);

#[async_trait]
impl LetGo for LetsGo {
    async fn let_go(&self, _: Timestamp, _: &JobContext) -> Result<u64, JobError> {
        Ok(self.0)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_ecosystem_lets_go_is_collected_next() {
    for world in each().await {
        let oci = |n| {
            let parts: Vec<Arc<dyn LetGo>> = vec![Arc::new(LetsGo(0)), Arc::new(LetsGo(n))];
            Arc::new(CleanupOciBlobs { db: world.db.clone(), grace: HOUR, parts })
        };
        run_job(&world.db, oci(0)).await;
        assert_eq!(waiting(&world.db, JobKind::CleanupBlobs).await, 0);
        run_job(&world.db, oci(2)).await;
        assert_eq!(waiting(&world.db, JobKind::CleanupBlobs).await, 1);
    }
}

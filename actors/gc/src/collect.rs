//! The collector of blobs: rows nobody refers to, keys no row knows, uploads nobody finished.
//!
//! A key is *doomed* in the database first, which no publish can undo or overlook, then deleted from the
//! store, then noted as gone. So no row that anybody may read ever names missing bytes, and a collector
//! that dies in between leaves doomed keys, which the next one finds without looking through the store.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use futures::{StreamExt, TryStreamExt, stream};
use publaryn_blobs::{BlobError, BlobKey, BlobStore};
use publaryn_core::Timestamp;
use publaryn_metadata::{
    Db, DbError,
    blobs::{StoredBlob, UnreferencedSlice},
    until_won,
};
use serde::Serialize;

/// Rows looked at per query.
const SLICE: i64 = 5_000;
/// Keys doomed per transaction, as many as S3 lists per page.
const BATCH: usize = 1_000;
/// Deletions under way: hides the latency of S3, leaves a disk time for others.
const DELETES_AT_ONCE: usize = 16;
/// How long a deleted key is remembered. No request that staged bytes under it lives that long: one
/// without progress is cut after `server.idle_timeout_seconds`.
const REMEMBERED: Duration = Duration::from_secs(24 * 60 * 60);

/// What to look through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// The database only: enough after something was deleted there.
    Rows,
    /// Also the store itself, for what no row knows.
    Everything,
}

/// How a run goes about it.
#[derive(Debug, Clone, Copy)]
pub struct GcOptions {
    /// Nothing younger is deleted, counted from its upload, and for a deleted release from its deletion.
    pub grace: Duration,
    /// Age at which an unfinished upload is given up.
    pub upload_ttl: Duration,
    pub extent: Extent,
    /// Counts what would be deleted and changes nothing.
    pub is_dry_run: bool,
}

/// How many objects, of how many bytes together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Tally {
    pub objects: u64,
    pub bytes: u64,
}

impl Tally {
    fn add(&mut self, bytes: u64) {
        self.objects += 1;
        self.bytes += bytes;
    }

    fn plus(self, other: Self) -> Self {
        Self { objects: self.objects + other.objects, bytes: self.bytes + other.bytes }
    }
}

/// What a run deleted, or would.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct GcReport {
    /// Content nothing refers to any more: of deleted releases, of images let go.
    pub unreferenced: Tally,
    /// Keys no row names: left by a crash, a refused publish, or content that was uploaded twice.
    pub strays: Tally,
    /// Uploads never finished; a store may not tell their size.
    pub unfinished_uploads: Tally,
}

impl GcReport {
    pub fn total(&self) -> Tally {
        self.unreferenced.plus(self.strays).plus(self.unfinished_uploads)
    }
}

#[derive(Debug, thiserror::Error)]
pub enum GcError {
    #[error(transparent)]
    Database(#[from] DbError),
    #[error(transparent)]
    Store(#[from] BlobError),
    /// Whoever looks on wanted it.
    #[error("the run was stopped")]
    Stopped,
    #[error("another worker runs this job")]
    LeaseLost,
}

/// Looks on while the collector works, and may stop it between two steps.
#[async_trait]
pub trait Watch: Send + Sync {
    async fn step(&self, so_far: &GcReport) -> Result<(), GcError>;
}

/// Nobody looks on.
pub struct Unwatched;

#[async_trait]
impl Watch for Unwatched {
    async fn step(&self, _: &GcReport) -> Result<(), GcError> {
        Ok(())
    }
}

/// Deletes blobs that nobody refers to. Any number of them may run at once, beside any number of publishes.
#[derive(Clone)]
pub struct Collector {
    pub db: Db,
    pub blobs: Arc<dyn BlobStore>,
}

/// Which count a deletion adds to.
type Counter = fn(&mut GcReport) -> &mut Tally;

impl Collector {
    /// # Errors
    /// `Database` and `Store` when they fail; what was done until then stays done, the rest is for the next run.
    pub async fn run(&self, options: &GcOptions, watch: &dyn Watch) -> Result<GcReport, GcError> {
        let began = Timestamp::now();
        let mut run =
            Run { collector: self, options, watch, before: began - options.grace, report: GcReport::default() };
        run.finish_doomed().await?;
        run.let_go_of_deleted().await?;
        run.unreferenced().await?;
        if options.extent == Extent::Everything {
            run.strays().await?;
            run.unfinished(began - options.upload_ttl).await?;
        }
        if !options.is_dry_run {
            let mut tx = self.db.begin().await?;
            tx.forget_gone_blobs(began - REMEMBERED, 10 * SLICE).await?;
            tx.commit().await?;
        }
        Ok(run.report)
    }
}

/// One run in progress.
struct Run<'a> {
    collector: &'a Collector,
    options: &'a GcOptions,
    watch: &'a dyn Watch,
    /// Only what is older may go.
    before: Timestamp,
    report: GcReport,
}

impl Run<'_> {
    fn db(&self) -> &Db {
        &self.collector.db
    }

    /// What an earlier run doomed and did not get to delete.
    async fn finish_doomed(&mut self) -> Result<(), GcError> {
        if self.options.is_dry_run {
            let doomed = self.db().doomed_blobs(i64::MAX).await?;
            self.count(&doomed, |report| &mut report.unreferenced);
            return Ok(());
        }
        loop {
            let doomed = self.db().doomed_blobs(BATCH as i64).await?;
            if doomed.is_empty() {
                return Ok(());
            }
            self.delete(doomed, |report| &mut report.unreferenced).await?;
        }
    }

    /// The files of releases deleted long ago are nobody's any more.
    async fn let_go_of_deleted(&mut self) -> Result<(), GcError> {
        if self.options.is_dry_run {
            return Ok(());
        }
        loop {
            let mut tx = self.db().begin().await?;
            let dropped = tx.drop_artifacts_of_deleted(self.before, BATCH as i64).await?;
            tx.commit().await?;
            if dropped < BATCH as u64 {
                return Ok(());
            }
            self.watch.step(&self.report).await?;
        }
    }

    async fn unreferenced(&mut self) -> Result<(), GcError> {
        let mut after = String::new();
        loop {
            let UnreferencedSlice { blobs, next } = self.db().unreferenced_blobs(&after, self.before, SLICE).await?;
            if self.options.is_dry_run {
                for (_, size_bytes) in &blobs {
                    self.report.unreferenced.add(size_bytes.unsigned_abs());
                }
            } else {
                for batch in blobs.chunks(BATCH) {
                    let digests: Vec<String> = batch.iter().map(|(digest, _)| digest.clone()).collect();
                    let mut tx = self.db().begin().await?;
                    let doomed = tx.doom_unreferenced(&digests, self.before, Timestamp::now()).await?;
                    tx.commit().await?;
                    self.delete(doomed, |report| &mut report.unreferenced).await?;
                }
            }
            self.watch.step(&self.report).await?;
            match next {
                Some(next) => after = next,
                None => return Ok(()),
            }
        }
    }

    /// Everything in the store that no row knows.
    async fn strays(&mut self) -> Result<(), GcError> {
        let before = self.before;
        let old = self.collector.blobs.list().try_filter(move |blob| std::future::ready(blob.modified < before));
        let mut pages = old.try_chunks(BATCH);
        while let Some(page) = pages.next().await {
            let listed: Vec<_> = page
                .map_err(|failed| failed.1)?
                .into_iter()
                .map(|blob| StoredBlob {
                    location: blob.key.to_string(),
                    size_bytes: i64::try_from(blob.size_bytes).unwrap_or(i64::MAX),
                })
                .collect();
            let keys: Vec<String> = listed.iter().map(|blob| blob.location.clone()).collect();
            let known = self.db().known_locations(&keys).await?;
            let strays: Vec<_> = listed.into_iter().filter(|blob| !known.contains(&blob.location)).collect();
            if self.options.is_dry_run {
                self.count(&strays, |report| &mut report.strays);
            } else if !strays.is_empty() {
                let doomed = self.doom(&strays).await?;
                self.delete(doomed, |report| &mut report.strays).await?;
            }
            self.watch.step(&self.report).await?;
        }
        Ok(())
    }

    async fn doom(&self, strays: &[StoredBlob]) -> Result<Vec<StoredBlob>, GcError> {
        let once = || async {
            let mut tx = self.db().begin().await?;
            let doomed = tx.doom_strays(strays, Timestamp::now()).await?;
            tx.commit().await?;
            Ok(doomed)
        };
        Ok(until_won(once, |error: &DbError| matches!(error, DbError::Contended(_))).await?)
    }

    async fn unfinished(&mut self, before: Timestamp) -> Result<(), GcError> {
        let mut uploads = self.collector.blobs.stale_uploads(before);
        let mut removed = Tally::default();
        while let Some(upload) = uploads.try_next().await? {
            if !self.options.is_dry_run {
                self.collector.blobs.remove_stale(&upload).await?;
            }
            removed.add(upload.size_bytes.unwrap_or(0));
        }
        self.report.unfinished_uploads = removed;
        if !self.options.is_dry_run {
            note_metrics(removed);
        }
        Ok(())
    }

    /// Adds blobs to a count; returns how much that was.
    fn count(&mut self, blobs: &[StoredBlob], counter: Counter) -> Tally {
        let mut more = Tally::default();
        blobs.iter().for_each(|blob| more.add(blob.size_bytes.unsigned_abs()));
        let count = counter(&mut self.report);
        *count = count.plus(more);
        more
    }

    /// Deletes the bytes of doomed keys. One that cannot be deleted now stays doomed.
    async fn delete(&mut self, doomed: Vec<StoredBlob>, counter: Counter) -> Result<(), GcError> {
        let store = &self.collector.blobs;
        let mut outcomes = stream::iter(doomed)
            .map(|blob| async move {
                match blob.location.parse::<BlobKey>() {
                    Ok(key) => store.delete(&key).await.map(|()| blob.location),
                    // Nothing can lie under what is no key.
                    Err(_) => Ok(blob.location),
                }
            })
            .buffer_unordered(DELETES_AT_ONCE);
        let (mut deleted, mut failure) = (Vec::new(), None);
        while let Some(outcome) = outcomes.next().await {
            match outcome {
                Ok(location) => deleted.push(location),
                Err(error) => failure = Some(error),
            }
        }
        drop(outcomes);
        if !deleted.is_empty() {
            let mut tx = self.db().begin().await?;
            let gone = tx.mark_blobs_gone(&deleted, Timestamp::now()).await?;
            tx.commit().await?;
            note_metrics(self.count(&gone, counter));
        }
        failure.map_or(Ok(()), |error| Err(error.into()))
    }
}

fn note_metrics(deleted: Tally) {
    metrics::counter!("publaryn_gc_deleted_objects_total").increment(deleted.objects);
    metrics::counter!("publaryn_gc_freed_bytes_total").increment(deleted.bytes);
}

//! The `verify_blobs` job: are the bytes still there, and still the same?
//!
//! Reads the store from where it stopped the last time, for a bounded time and with a pause after every
//! blob as long as reading it took, so that downloads keep half of the disk. What it finds stays with the
//! blob's row until the blob is whole again: `doctor` shows it, and a publish of the same content mends it.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use futures::TryStreamExt;
use publaryn_blobs::{BlobError, BlobKey, BlobStore};
use publaryn_core::{BlobDamage, BoxError, Timestamp, job::JobKind};
use publaryn_jobs::{Handler, JobContext, JobError, Outcome};
use publaryn_metadata::{Db, blobs::BlobToVerify};

/// Blobs per query.
const SLICE: i64 = 200;
/// Under this name the database keeps the digest after which to go on.
const CURSOR: &str = "verify_blobs.after";
/// The longest pause after a blob: a large one must not stop the run for minutes.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Compares blobs with their digests.
pub struct VerifyBlobs {
    pub db: Db,
    /// The store itself: what memory holds of it proves nothing.
    pub blobs: Arc<dyn BlobStore>,
    /// How long one run goes on reading; below the kind's timeout.
    pub read_for: Duration,
}

#[async_trait]
impl Handler for VerifyBlobs {
    fn kind(&self) -> JobKind {
        JobKind::VerifyBlobs
    }

    async fn run(&self, job: &JobContext) -> Result<Outcome, JobError> {
        let began = Instant::now();
        let mut after = self.db.instance_setting(CURSOR).await.map_err(JobError::retry)?.unwrap_or_default();
        let mut verified = 0;
        while began.elapsed() < self.read_for && !job.should_stop() {
            let slice = self.db.blobs_to_verify(&after, SLICE).await.map_err(JobError::retry)?;
            if slice.is_empty() {
                // The next run begins anew.
                after.clear();
                self.keep_place(&after).await?;
                break;
            }
            for blob in slice {
                let took = self.verify(&blob).await?;
                verified += 1;
                after = blob.digest.to_string();
                if began.elapsed() >= self.read_for || job.should_stop() {
                    break;
                }
                tokio::time::sleep(took.min(LONGEST_PAUSE)).await;
            }
            self.keep_place(&after).await?;
            job.progress(verified, None).await?;
        }
        let (_, damaged) = self.db.damaged_blobs(0).await.map_err(JobError::retry)?;
        metrics::gauge!("publaryn_storage_damaged_objects").set(damaged as f64);
        tracing::info!(blobs = verified, damaged, is_through = after.is_empty(), "verified blobs");
        Ok(if job.should_stop() { Outcome::Snooze(Duration::ZERO) } else { Outcome::Done })
    }
}

impl VerifyBlobs {
    async fn keep_place(&self, after: &str) -> Result<(), JobError> {
        let mut tx = self.db.begin().await.map_err(JobError::retry)?;
        tx.put_instance_setting(CURSOR, after, Timestamp::now()).await.map_err(JobError::retry)?;
        tx.commit().await.map_err(JobError::retry)
    }

    /// Reads one blob and records what is new about it; returns how long reading took.
    async fn verify(&self, blob: &BlobToVerify) -> Result<Duration, JobError> {
        let began = Instant::now();
        let damage = self.look(blob).await.map_err(JobError::retry)?;
        let took = began.elapsed();
        metrics::counter!("publaryn_storage_verified_objects_total").increment(1);
        if damage == blob.damage {
            return Ok(took);
        }
        let mut tx = self.db.begin().await.map_err(JobError::retry)?;
        let is_current = tx.note_blob_damage(blob, damage, Timestamp::now()).await.map_err(JobError::retry)?;
        tx.commit().await.map_err(JobError::retry)?;
        match damage {
            // Collected while we looked.
            _ if !is_current => {}
            Some(damage) => {
                let (digest, location) = (blob.digest, &blob.location);
                tracing::error!(%damage, %digest, location, "a stored blob is damaged; restore it from a backup");
            }
            None => tracing::info!(digest = %blob.digest, "a damaged blob is whole again"),
        }
        Ok(took)
    }

    /// # Errors
    /// When the store cannot be read now, which says nothing about the blob.
    async fn look(&self, blob: &BlobToVerify) -> Result<Option<BlobDamage>, BoxError> {
        let key: BlobKey = blob.location.parse()?;
        let body = match self.blobs.open(&key, None).await {
            Ok(body) => body,
            Err(BlobError::Missing { .. }) => return Ok(Some(BlobDamage::Missing)),
            Err(other) => return Err(other.into()),
        };
        if body.size_bytes() != blob.size_bytes.unsigned_abs() {
            return Ok(Some(BlobDamage::Corrupt));
        }
        match body.into_verified_stream(blob.digest).try_for_each(async |_| Ok(())).await {
            Ok(()) => Ok(None),
            Err(error) => match error.downcast_ref::<BlobError>() {
                Some(BlobError::DigestMismatch { .. }) => Ok(Some(BlobDamage::Corrupt)),
                // Deleted while it was read: the row tells whether that was the collector.
                Some(BlobError::Missing { .. }) => Ok(Some(BlobDamage::Missing)),
                _ => Err(error),
            },
        }
    }
}

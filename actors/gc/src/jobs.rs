//! The jobs around the collector: `cleanup_blobs` and `cleanup_oci_blobs`.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use publaryn_core::{Timestamp, job::JobKind};
use publaryn_jobs::{Handler, JobContext, JobError, Outcome};
use publaryn_metadata::{Db, jobs::NewJob};
use serde::Deserialize;

use crate::{Collector, Extent, GcError, GcOptions, GcReport, Watch};

/// Deletes blobs nobody refers to, older than `gc.grace_hours`, and uploads nobody finished.
pub struct CleanupBlobs {
    pub collector: Collector,
    pub grace: Duration,
    pub upload_ttl: Duration,
}

#[derive(Deserialize)]
struct Payload {
    /// Only the database changed: the store need not be looked through.
    #[serde(default)]
    rows_only: bool,
    /// Nothing is deleted; how many objects would be is the progress of the job.
    #[serde(default)]
    dry_run: bool,
}

impl CleanupBlobs {
    /// What a change enqueues that let go of blobs.
    pub fn job() -> NewJob {
        NewJob::new(JobKind::CleanupBlobs, &serde_json::json!({ "rows_only": true })).unique("all".to_owned())
    }

    /// What an operator enqueues.
    pub fn asked_for(dry_run: bool) -> NewJob {
        let key = if dry_run { "dry run" } else { "all" };
        NewJob::new(JobKind::CleanupBlobs, &serde_json::json!({ "dry_run": dry_run })).unique(key.to_owned())
    }
}

#[async_trait]
impl Handler for CleanupBlobs {
    fn kind(&self) -> JobKind {
        JobKind::CleanupBlobs
    }

    async fn run(&self, job: &JobContext) -> Result<Outcome, JobError> {
        let Payload { rows_only, dry_run } = job.payload()?;
        let options = GcOptions {
            grace: self.grace,
            upload_ttl: self.upload_ttl,
            extent: if rows_only { Extent::Rows } else { Extent::Everything },
            is_dry_run: dry_run,
        };
        let report = match self.collector.run(&options, &ByJob(job)).await {
            Ok(report) => report,
            Err(GcError::Stopped) => return Ok(Outcome::Snooze(Duration::ZERO)),
            Err(GcError::LeaseLost) => return Err(JobError::LeaseLost),
            Err(other) => return Err(JobError::retry(other)),
        };
        let total = report.total();
        if total.objects > 0 {
            tracing::info!(objects = total.objects, size_bytes = total.bytes, dry_run, ?report, "collected blobs");
        }
        Ok(Outcome::Done)
    }
}

/// A job looks on: it reports progress and hears when it is to stop.
struct ByJob<'a>(&'a JobContext);

#[async_trait]
impl Watch for ByJob<'_> {
    async fn step(&self, so_far: &GcReport) -> Result<(), GcError> {
        if self.0.should_stop() {
            return Err(GcError::Stopped);
        }
        match self.0.progress(so_far.total().objects, None).await {
            Err(JobError::LeaseLost) => Err(GcError::LeaseLost),
            // Not being able to tell of progress is no reason to stop; the next query will say what is wrong.
            _ => Ok(()),
        }
    }
}

/// Lets go of what one ecosystem no longer needs, so that its blobs become unreferenced.
///
/// Idempotent, and safe beside pushes: it decides and deletes in one transaction per item.
#[async_trait]
pub trait LetGo: Send + Sync + 'static {
    /// Lets go of what has not been needed since `before`; returns how many things it let go.
    async fn let_go(&self, before: Timestamp, job: &JobContext) -> Result<u64, JobError>;
}

/// Lets go of images and layers nobody refers to, then has their blobs collected.
pub struct CleanupOciBlobs {
    pub db: Db,
    pub grace: Duration,
    /// What knows which of its things are needed. Without any there is nothing to let go of.
    pub parts: Vec<Arc<dyn LetGo>>,
}

#[async_trait]
impl Handler for CleanupOciBlobs {
    fn kind(&self) -> JobKind {
        JobKind::CleanupOciBlobs
    }

    async fn run(&self, job: &JobContext) -> Result<Outcome, JobError> {
        let before = Timestamp::now() - self.grace;
        let mut gone = 0;
        for part in &self.parts {
            gone += part.let_go(before, job).await?;
        }
        if gone == 0 {
            return Ok(Outcome::Done);
        }
        let mut tx = self.db.begin().await.map_err(JobError::retry)?;
        tx.enqueue(&CleanupBlobs::job()).await.map_err(JobError::retry)?;
        job.complete_in(&mut tx).await?;
        tx.commit().await.map_err(JobError::retry)?;
        Ok(Outcome::Committed)
    }
}

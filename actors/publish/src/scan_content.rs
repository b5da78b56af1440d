//! Scans of content that several releases share: OCI layers and configs, once each, from the moment
//! their upload ends.

use publaryn_blobs::BlobKey;
use publaryn_core::{
    ArtifactId, ArtifactKind, Digest, Ecosystem, RegistryError, Timestamp,
    finding::{Category, Finding, Severity},
    job::{JobKind, JobState},
};
use publaryn_jobs::{JobContext, JobError, Outcome};
use publaryn_metadata::{Tx, jobs::NewJob, releases::ReleaseProgress};
use publaryn_scan::{ScanArtifact as ArtifactFacts, ScanJob, finding};
use serde_json::json;

use crate::{ScanArtifact, reconcile::FinalizeRelease, scan_job::Unscanned};

/// Content larger than this is noted, not looked into (scanning.md §3d): a scanner process holds
/// what it scans, and 256 MiB is what it can hold.
const MAX_SCANNED_BYTES: u64 = 256 << 20;

/// The job that scans content. `partition` is the owner whose backlog it adds to.
pub fn content_job(content: Digest, partition: impl ToString) -> NewJob {
    NewJob::new(JobKind::ScanArtifact, &json!({ "content": content }))
        .unique(content.to_string())
        .partition(partition.to_string())
}

/// Why the content of a release cannot be scanned, if so; scans that got lost are enqueued again.
pub(crate) async fn content_failure(tx: &mut Tx, release: &ReleaseProgress) -> Result<Option<String>, RegistryError> {
    let mut failure = None;
    for content in tx.unscanned_content(release.id).await? {
        match tx.latest_job(JobKind::ScanArtifact, &content.to_string()).await? {
            Some(job) if !job.state.is_terminal() => {}
            Some(job) if job.state == JobState::Dead => {
                failure = Some(job.last_error.unwrap_or_else(|| "the scan of a layer ended early".into()));
            }
            // Completed for bytes that were collected and came again, or pruned.
            _ => drop(tx.enqueue(&content_job(content, release.package_id)).await?),
        }
    }
    Ok(failure)
}

impl ScanArtifact {
    pub(crate) async fn scan_content(&self, job: &JobContext, content: Digest) -> Result<Outcome, JobError> {
        let Some(known) = self.db.content_scan(content).await.map_err(JobError::retry)? else {
            // Collected meanwhile; if it comes again, so does its scan.
            return Ok(Outcome::Done);
        };
        if known.is_scanned {
            return Ok(Outcome::Done);
        }
        let size_bytes = known.size_bytes.unsigned_abs();
        let (findings, ruleset) = if size_bytes > MAX_SCANNED_BYTES {
            match self.scanners.ruleset().await {
                Ok(ruleset) => (vec![too_large(size_bytes)], ruleset),
                Err(failure) => return Unscanned::from(failure).outcome(),
            }
        } else {
            let key: BlobKey = known.location.parse().map_err(JobError::permanent)?;
            let body = self.blobs.open(&key, None).await.map_err(JobError::retry)?;
            let facts = ArtifactFacts {
                id: ArtifactId::new(),
                kind: ArtifactKind::OciLayer,
                filename: content.to_string(),
                sha256: content,
                size_bytes,
            };
            let scan = ScanJob {
                ecosystem: Ecosystem::Oci,
                package: String::new(),
                version: content.to_string(),
                artifact: facts,
                metadata: serde_json::Value::Null,
            };
            match self.scanners.scan(scan, body.into_stream()).await {
                Ok(report) => (report.findings, report.ruleset),
                Err(failure) => return Unscanned::from(failure).outcome(),
            }
        };
        let now = Timestamp::now();
        let mut tx = self.db.begin().await.map_err(JobError::retry)?;
        // A manifest that names this content locks its row too: either it sees the verdict, or we see it.
        tx.lock_blobs(&[content]).await.map_err(JobError::retry)?;
        if tx.blob_location(content).await.map_err(JobError::retry)?.is_some() {
            tx.insert_content_scan(content, &ruleset, &findings, now).await.map_err(JobError::retry)?;
            for release in tx.releases_waiting_for(content).await.map_err(JobError::retry)? {
                tx.enqueue(&FinalizeRelease::job(release)).await.map_err(JobError::retry)?;
            }
        }
        job.complete_in(&mut tx).await?;
        tx.commit().await.map_err(JobError::retry)?;
        Ok(Outcome::Committed)
    }
}

fn too_large(size_bytes: u64) -> Finding {
    let title = format!("a layer of {size_bytes} bytes is larger than the {MAX_SCANNED_BYTES} that are looked into");
    finding("OCI-UNSCANNED", Category::ArchiveLimit, Severity::Info, title)
}

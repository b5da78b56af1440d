//! Keeping promises nobody waits for any more (jobs.md §8).

use std::time::Duration;

use publaryn_core::{
    ArtifactId, RegistryError, ReleaseId, ReleaseState, Timestamp, audit::AuditAction, finding::Category, job::JobKind,
};
use publaryn_jobs::{Handler, JobContext, JobError, Outcome};
use publaryn_metadata::{
    Db, Tx, artifacts::FileProgress, jobs::NewJob, open_releases::Overdue, releases::ReleaseProgress,
};
use serde::{Deserialize, Serialize};

use crate::{
    finalize::{by_system, finalize},
    index_job,
    scan_content::content_failure,
    scan_job::scan_failed,
    settle::hold_unscanned,
};

/// The `finalize_release` job: decides a release whose scans have all ended.
pub struct FinalizeRelease {
    pub db: Db,
}

#[derive(Serialize, Deserialize)]
struct Payload {
    release_id: ReleaseId,
}

impl FinalizeRelease {
    pub(crate) fn job(release: ReleaseId) -> NewJob {
        NewJob::new(JobKind::FinalizeRelease, &serde_json::json!({ "release_id": release })).unique(release.to_string())
    }
}

#[async_trait::async_trait]
impl Handler for FinalizeRelease {
    fn kind(&self) -> JobKind {
        JobKind::FinalizeRelease
    }

    async fn run(&self, job: &JobContext) -> Result<Outcome, JobError> {
        let Payload { release_id } = job.payload()?;
        let known = self.db.release_progress(release_id).await.map_err(JobError::retry)?;
        let mut tx = self.db.begin().await.map_err(JobError::retry)?;
        if let Some(known) = known {
            // The package first, as every writer does.
            tx.lock_package_by_id(known.package_id).await.map_err(JobError::retry)?;
            if let Some(release) = tx.lock_release(release_id).await.map_err(JobError::retry)? {
                finalize(&mut tx, &release, Timestamp::now()).await.map_err(JobError::retry)?;
            }
        }
        job.complete_in(&mut tx).await?;
        tx.commit().await.map_err(JobError::retry)?;
        Ok(Outcome::Committed)
    }
}

/// Why the scan of an artifact will never end; `None` while the queue looks after it.
async fn scan_failure(tx: &mut Tx, artifact: ArtifactId) -> Result<Option<String>, RegistryError> {
    Ok(match tx.latest_job(JobKind::ScanArtifact, &artifact.to_string()).await? {
        Some(job) if !job.state.is_terminal() => None,
        Some(job) => Some(job.last_error.unwrap_or_else(|| "the scan job ended early".into())),
        None => Some("the scan job is gone".into()),
    })
}

/// The `reconcile_releases` job: no release and no file stays in `scanning` once its scan jobs have
/// ended, none takes files for longer than it should, every live package is indexed, and no upload that a native client gave up stays for good.
pub struct ReconcileReleases {
    pub db: Db,
    /// `gc.upload_ttl_hours`.
    pub upload_ttl: Duration,
}

/// Releases whose last change is younger than this are still on their ordinary way. With the tick of
/// 30 s it keeps the minute that jobs.md J11 gives.
const SETTLED: Duration = Duration::from_secs(10);
/// Releases looked at per run; the next run continues.
const BATCH: i64 = 500;

#[async_trait::async_trait]
impl Handler for ReconcileReleases {
    fn kind(&self) -> JobKind {
        JobKind::ReconcileReleases
    }

    async fn run(&self, job: &JobContext) -> Result<Outcome, JobError> {
        let before = Timestamp::now() - SETTLED;
        let stuck = self.db.releases_scanning_since(before, BATCH).await.map_err(JobError::retry)?;
        for release in stuck {
            self.release(&release).await.map_err(JobError::retry)?;
            job.progress(1, None).await?;
        }
        for file in self.db.files_scanning_since(before, BATCH).await.map_err(JobError::retry)? {
            self.file(&file).await.map_err(JobError::retry)?;
            job.progress(1, None).await?;
        }
        for head in self.db.packages_behind_index(before, BATCH).await.map_err(JobError::retry)? {
            let mut tx = self.db.begin().await.map_err(JobError::retry)?;
            tx.enqueue(&index_job(head.id, head.owner)).await.map_err(JobError::retry)?;
            tx.commit().await.map_err(JobError::retry)?;
        }
        for release in self.db.overdue_releases(Timestamp::now(), BATCH).await.map_err(JobError::retry)? {
            self.seal(&release).await.map_err(JobError::retry)?;
            job.progress(1, None).await?;
        }
        let given_up = Timestamp::now() - self.upload_ttl;
        for upload in self.db.abandoned_uploads(given_up, BATCH).await.map_err(JobError::retry)? {
            self.give_up(&upload, given_up).await.map_err(JobError::retry)?;
            job.progress(1, None).await?;
        }
        Ok(Outcome::Done)
    }
}

impl ReconcileReleases {
    /// Holds a file whose scan failed for good.
    async fn file(&self, file: &FileProgress) -> Result<(), RegistryError> {
        let mut tx = self.db.begin().await?;
        let Some(reason) = scan_failure(&mut tx, file.id).await? else { return Ok(()) };
        let now = Timestamp::now();
        let head = tx.lock_package_by_id(file.package_id).await?;
        let head = head.ok_or_else(|| RegistryError::internal("a file without its package"))?;
        hold_unscanned(&mut tx, &head, file.id, &reason, now).await?;
        Ok(tx.commit().await?)
    }

    /// Ends the time in which a release takes files: what it is now is what it will be.
    async fn seal(&self, release: &Overdue) -> Result<(), RegistryError> {
        let (mut tx, now) = (self.db.begin().await?, Timestamp::now());
        let head = tx.lock_package_by_id(release.package_id).await?;
        let head = head.ok_or_else(|| RegistryError::internal("a release without its package"))?;
        // Another file may have come meanwhile.
        let current = tx.lock_release(release.id).await?.filter(|current| current.open == release.open);
        let Some(current) = current else { return Ok(()) };
        let Some(until) = current.open.open_until else { return Ok(()) };
        if !tx.seal(release.id, until).await? {
            return Ok(());
        }
        tx.bump_revision(&head, now).await?;
        let entry = by_system(AuditAction::ReleaseUpdate, &head, &current).with("sealed", true);
        Ok(tx.commit_audited(&entry, now).await?)
    }

    /// Deletes an upload that was never submitted. Nobody ever saw it, so its version number is free again.
    async fn give_up(&self, upload: &ReleaseProgress, before: Timestamp) -> Result<(), RegistryError> {
        let mut tx = self.db.begin().await?;
        let Some(head) = tx.lock_package_by_id(upload.package_id).await? else { return Ok(()) };
        if !tx.delete_abandoned_upload(upload.id, before).await? {
            return Ok(()); // its client came back meanwhile
        }
        let entry = by_system(AuditAction::ReleaseDelete, &head, upload).with("reason", "upload_abandoned");
        Ok(tx.commit_audited(&entry, Timestamp::now()).await?)
    }

    async fn release(&self, release: &ReleaseProgress) -> Result<(), RegistryError> {
        let mut tx = self.db.begin().await?;
        let mut failure = content_failure(&mut tx, release).await?;
        if release.scans_done >= release.scans_total && failure.is_none() {
            tx.enqueue(&FinalizeRelease::job(release.id)).await?;
            return Ok(tx.commit().await?);
        }
        for artifact in self.db.unscanned_artifacts(release.id).await? {
            failure = scan_failure(&mut tx, artifact).await?.or(failure);
        }
        let Some(reason) = failure else { return Ok(()) };
        let now = Timestamp::now();
        let Some(head) = tx.lock_package_by_id(release.package_id).await? else { return Ok(()) };
        let Some(current) = tx.lock_release(release.id).await? else { return Ok(()) };
        if current.status != ReleaseState::Scanning {
            return Ok(());
        }
        tx.upsert_finding(release.id, None, &scan_failed(&reason), now).await?;
        tx.set_release_state(release.id, ReleaseState::Quarantine, now).await?;
        let open = tx.unresolved_findings(release.id).await?;
        let blocking: Vec<String> =
            open.iter().filter(|f| f.category == Category::ScannerFailure).map(|f| f.id.to_string()).collect();
        tx.set_blocked_by(release.id, &serde_json::Value::from(blocking).to_string()).await?;
        let entry = by_system(AuditAction::ReleaseScanBlock, &head, &current).with("reason", "scan_failed");
        Ok(tx.commit_audited(&entry, now).await?)
    }
}

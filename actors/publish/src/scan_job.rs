//! The `scan_artifact` job: run the scanners over one artifact, store what they found, and decide
//! the release once its last scan has ended.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use publaryn_blobs::{BlobKey, BlobStore};
use publaryn_core::{
    ArtifactId, ArtifactState, Digest, RegistryError, ReleaseId, Timestamp,
    access::Owner,
    audit::{AuditAction, AuditEntry},
    crash::{self, CrashPoint},
    finding::{Category, Finding, FindingKind, Severity},
    job::JobKind,
};
use publaryn_jobs::{Handler, JobContext, JobError, Outcome};
use publaryn_metadata::{Db, Tx, findings::ScanTarget, jobs::NewJob, packages::PackageHead};
use publaryn_scan::{ScanArtifact as ArtifactFacts, ScanFailure, ScanJob, ScanReport, ScannerPool};
use serde::{Deserialize, Serialize};

use crate::{
    finalize::{Verdict, finalize_in, stage_took},
    settle::settle_file,
};

/// Scans artifacts. Idempotent: findings are upserted and an artifact counts as scanned once.
pub struct ScanArtifact {
    pub db: Db,
    pub blobs: Arc<dyn BlobStore>,
    pub scanners: ScannerPool,
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Payload {
    Artifact {
        artifact_id: ArtifactId,
    },
    /// Content that several releases share (see [`crate::scan_content`]).
    Content {
        content: Digest,
    },
}

impl ScanArtifact {
    /// The job that scans one artifact.
    pub fn job(artifact: ArtifactId, owner: Owner) -> NewJob {
        NewJob::new(JobKind::ScanArtifact, &serde_json::json!({ "artifact_id": artifact }))
            .unique(artifact.to_string())
            .partition(owner.partition())
    }

    async fn scan(&self, target: &ScanTarget) -> Result<ScanReport, Unscanned> {
        let key: BlobKey = target.location.parse().map_err(JobError::permanent)?;
        let body = self.blobs.open(&key, None).await.map_err(JobError::retry)?;
        let metadata = serde_json::from_str(&target.metadata).map_err(JobError::permanent)?;
        let job = ScanJob {
            ecosystem: target.ecosystem,
            package: target.name.clone(),
            version: target.version.clone(),
            artifact: ArtifactFacts {
                id: target.artifact_id,
                kind: target.kind,
                filename: target.filename.clone(),
                sha256: target.sha256,
                size_bytes: target.size_bytes.unsigned_abs(),
            },
            metadata,
        };
        let began = Instant::now();
        let report = self.scanners.scan(job, body.into_stream()).await.map_err(Unscanned::from)?;
        stage_took("scan", began);
        Ok(report)
    }

    /// Stores the outcome of one artifact together with the job's completion.
    async fn record(&self, job: &JobContext, target: &ScanTarget, report: &ScanReport) -> Result<(), JobError> {
        let (now, began) = (Timestamp::now(), Instant::now());
        let mut tx = self.db.begin().await.map_err(JobError::retry)?;
        // Every writer locks the package before its releases: publishers of further versions would
        // otherwise wait for us while we wait for them.
        let head = tx.lock_package_by_id(target.package_id).await.map_err(JobError::retry)?;
        let head = head.ok_or_else(|| JobError::retry("a release without its package"))?;
        let scan = Scan {
            release: target.release_id,
            artifact: target.artifact_id,
            sha256: target.sha256,
            state: target.state,
            report,
        };
        note_scan(&mut tx, &head, &scan, now).await.map_err(JobError::retry)?;
        job.complete_in(&mut tx).await?;
        tx.commit().await.map_err(JobError::retry)?;
        stage_took("finalize", began);
        Ok(())
    }
}

/// How long a scan waits for scanners where none can be started.
const SCANNERS_BACK: Duration = Duration::from_secs(10);

/// Why nothing is known about content yet.
pub(crate) enum Unscanned {
    /// There are no scanners at all. That says nothing about the content and uses none of its attempts up.
    NoScanners,
    Failed(JobError),
}

impl From<JobError> for Unscanned {
    fn from(error: JobError) -> Self {
        Self::Failed(error)
    }
}

impl From<ScanFailure> for Unscanned {
    fn from(failure: ScanFailure) -> Self {
        match failure {
            ScanFailure::Unavailable(error) => {
                tracing::warn!(%error, "no scanner process can be started; scans wait");
                Self::NoScanners
            }
            other => Self::Failed(JobError::retry(other)),
        }
    }
}

impl Unscanned {
    pub fn outcome(self) -> Result<Outcome, JobError> {
        match self {
            Self::NoScanners => Ok(Outcome::Snooze(SCANNERS_BACK)),
            Self::Failed(error) => Err(error),
        }
    }
}

/// A scan that has ended.
pub(crate) struct Scan<'a> {
    pub release: ReleaseId,
    pub artifact: ArtifactId,
    pub sha256: Digest,
    pub state: ArtifactState,
    pub report: &'a ScanReport,
}

/// Stores what the scanners said of an artifact, once, and decides what hung on it: the file itself, or the
/// release if this was its last scan. The caller has locked the package.
pub(crate) async fn note_scan(
    tx: &mut Tx,
    head: &PackageHead,
    scan: &Scan<'_>,
    now: Timestamp,
) -> Result<Verdict, RegistryError> {
    if !tx.mark_artifact_scanned(scan.artifact, &scan.report.ruleset).await? {
        return Ok(Verdict::Unchanged);
    }
    judge(tx, head, scan, now).await
}

/// [`note_scan`] of an artifact that this transaction added.
pub(crate) async fn note_first_scan(
    tx: &mut Tx,
    head: &PackageHead,
    scan: &Scan<'_>,
    now: Timestamp,
) -> Result<Verdict, RegistryError> {
    tx.mark_new_artifact_scanned(scan.artifact, &scan.report.ruleset).await?;
    judge(tx, head, scan, now).await
}

async fn judge(tx: &mut Tx, head: &PackageHead, scan: &Scan<'_>, now: Timestamp) -> Result<Verdict, RegistryError> {
    let (mut found, mut worst) = (0, None);
    for finding in &scan.report.findings {
        if tx.upsert_finding(scan.release, Some((scan.artifact, scan.sha256)), finding, now).await? {
            (found, worst) = (found + 1, worst.max(Some(finding.severity)));
        }
    }
    if let Some(worst) = worst {
        let entry = AuditEntry::system(AuditAction::SecurityFindingCreate);
        let entry = entry.package(head.id).org(head.owner.org()).release(scan.release);
        tx.append_audit(&entry.with("findings", found).with("worst_severity", worst.as_str()), now).await?;
    }
    crash::reached(CrashPoint::FindingsStored);
    let verdict = if scan.state == ArtifactState::Joint {
        let progress = tx.count_scan_done(scan.release, now).await?;
        finalize_in(tx, head, &progress, now).await?
    } else {
        settle_file(tx, head, scan.artifact, now).await?
    };
    crash::reached(CrashPoint::ReleaseDecided);
    Ok(verdict)
}

#[async_trait::async_trait]
impl Handler for ScanArtifact {
    fn kind(&self) -> JobKind {
        JobKind::ScanArtifact
    }

    async fn run(&self, job: &JobContext) -> Result<Outcome, JobError> {
        crash::reached(CrashPoint::ScanStarted);
        let artifact_id = match job.payload()? {
            Payload::Artifact { artifact_id } => artifact_id,
            Payload::Content { content } => return self.scan_content(job, content).await,
        };
        let Some(target) = self.db.scan_target(artifact_id).await.map_err(JobError::retry)? else {
            // The release was deleted meanwhile; there is nothing left to judge.
            return Ok(Outcome::Done);
        };
        if target.scanned_with.is_some() {
            return Ok(Outcome::Done);
        }
        let report = match self.scan(&target).await {
            Ok(report) => report,
            Err(unscanned) => return unscanned.outcome(),
        };
        crash::reached(CrashPoint::ScanFinished);
        self.record(job, &target, &report).await?;
        crash::reached(CrashPoint::ScanCommitted);
        Ok(Outcome::Committed)
    }
}

/// The rule of [`scan_failed`].
pub(crate) const SCAN_FAILED: &str = "scan_failed";

/// What a release or file shows when its scan could not be made (fail closed).
pub(crate) fn scan_failed(reason: &str) -> Finding {
    Finding {
        rule_id: SCAN_FAILED.into(),
        kind: FindingKind::PolicyViolation,
        category: Category::ScannerFailure,
        severity: Severity::High,
        title: "the upload could not be scanned".into(),
        description: Some(reason.to_owned()),
        location: String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_scan_that_was_tried_uses_an_attempt_up() {
        let none = ScanFailure::Unavailable(std::io::ErrorKind::NotFound.into());
        assert!(matches!(Unscanned::from(none).outcome(), Ok(Outcome::Snooze(SCANNERS_BACK))));
        for failure in [ScanFailure::TimedOut, ScanFailure::OutOfMemory, ScanFailure::Crashed("by what it read".into())]
        {
            assert!(Unscanned::from(failure).outcome().is_err());
        }
    }
}

//! The `scan_artifact` job: run the scanners over one artifact, store what they found, and decide
//! the release once its last scan has ended.

use std::{sync::Arc, time::Duration};

use publaryn_blobs::{BlobKey, BlobStore};
use publaryn_core::{
    ArtifactId, PackageId, Timestamp,
    access::Owner,
    crash::{self, CrashPoint},
    finding::{Category, Finding, FindingKind, Severity},
    job::JobKind,
};
use publaryn_jobs::{Handler, JobContext, JobError, Outcome};
use publaryn_metadata::{Db, findings::ScanTarget, jobs::NewJob};
use publaryn_scan::{ScanArtifact as ArtifactFacts, ScanJob, ScannerPool};
use serde::{Deserialize, Serialize};

use crate::finalize::finalize_in;

/// Scans artifacts. Idempotent: findings are upserted and an artifact counts as scanned once.
pub struct ScanArtifact {
    pub db: Db,
    pub blobs: Arc<dyn BlobStore>,
    pub scanners: ScannerPool,
}

#[derive(Serialize, Deserialize)]
struct Payload {
    artifact_id: ArtifactId,
}

/// The partition of a job: one owner's backlog never starves another's.
pub(crate) fn partition(owner: Owner) -> String {
    match owner {
        Owner::User(id) => id.to_string(),
        Owner::Org(id) => id.to_string(),
    }
}

/// How long a changed package waits for its search document: what changes meanwhile shares the one
/// commit of the index, which costs more than a publish does (ADR 0008).
const INDEX_DELAY: Duration = Duration::from_millis(300);

/// The job that brings a package's search document up to date.
pub fn index_job(package: PackageId, owner: Owner) -> NewJob {
    NewJob::new(JobKind::IndexPackage, &serde_json::json!({ "package_id": package }))
        .unique(package.to_string())
        .partition(partition(owner))
        .after(INDEX_DELAY)
}

impl ScanArtifact {
    /// The job that scans one artifact.
    pub fn job(artifact: ArtifactId, owner: Owner) -> NewJob {
        NewJob::new(JobKind::ScanArtifact, &serde_json::json!({ "artifact_id": artifact }))
            .unique(artifact.to_string())
            .partition(partition(owner))
    }

    async fn scan(&self, target: &ScanTarget) -> Result<(Vec<Finding>, String), JobError> {
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
        let report = self.scanners.scan(job, body.into_stream()).await.map_err(JobError::retry)?;
        Ok((report.findings, report.ruleset))
    }

    /// Stores the outcome of one artifact together with the job's completion, and decides the
    /// release if this was its last scan.
    async fn record(
        &self,
        job: &JobContext,
        target: &ScanTarget,
        findings: &[Finding],
        ruleset: &str,
    ) -> Result<(), JobError> {
        let now = Timestamp::now();
        let mut tx = self.db.begin().await.map_err(JobError::retry)?;
        // Every writer locks the package before its releases: publishers of further versions would
        // otherwise wait for us while we wait for them.
        let head = tx.lock_package_by_id(target.package_id).await.map_err(JobError::retry)?;
        let head = head.ok_or_else(|| JobError::retry("a release without its package"))?;
        let first_time = tx.mark_artifact_scanned(target.artifact_id, ruleset).await.map_err(JobError::retry)?;
        for finding in findings {
            let artifact = Some((target.artifact_id, target.sha256));
            tx.upsert_finding(target.release_id, artifact, finding, now).await.map_err(JobError::retry)?;
        }
        crash::reached(CrashPoint::FindingsStored);
        if first_time {
            let release = tx.count_scan_done(target.release_id, now).await.map_err(JobError::retry)?;
            finalize_in(&mut tx, &head, &release, now).await.map_err(JobError::retry)?;
        }
        crash::reached(CrashPoint::ReleaseDecided);
        job.complete_in(&mut tx).await?;
        tx.commit().await.map_err(JobError::retry)
    }
}

#[async_trait::async_trait]
impl Handler for ScanArtifact {
    fn kind(&self) -> JobKind {
        JobKind::ScanArtifact
    }

    async fn run(&self, job: &JobContext) -> Result<Outcome, JobError> {
        crash::reached(CrashPoint::ScanStarted);
        let Payload { artifact_id } = job.payload()?;
        let Some(target) = self.db.scan_target(artifact_id).await.map_err(JobError::retry)? else {
            // The release was deleted meanwhile; there is nothing left to judge.
            return Ok(Outcome::Done);
        };
        if target.scanned_with.is_some() {
            return Ok(Outcome::Done);
        }
        let (findings, ruleset) = self.scan(&target).await?;
        crash::reached(CrashPoint::ScanFinished);
        self.record(job, &target, &findings, &ruleset).await?;
        crash::reached(CrashPoint::ScanCommitted);
        Ok(Outcome::Committed)
    }
}

/// What a release shows when its scan could not be made (fail closed).
pub(crate) fn scan_failed(reason: &str) -> Finding {
    Finding {
        rule_id: "scan_failed".into(),
        kind: FindingKind::PolicyViolation,
        category: Category::ScannerFailure,
        severity: Severity::High,
        title: "the release could not be scanned".into(),
        description: Some(reason.to_owned()),
        location: String::new(),
    }
}

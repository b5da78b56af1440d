//! Scanning small uploads before they are committed (ADR 0024).
//!
//! The scan is the same, by the same pool, and its outcome is stored by the same code; what is saved are the
//! transactions that hand the job over, and with them two thirds of a small publish.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use publaryn_blobs::BlobStore;
use publaryn_core::{
    ArtifactId, Ecosystem, PackageName, Version,
    crash::{self, CrashPoint},
    job::JobKind,
};
use publaryn_jobs::{Ahead, Jobs};
use publaryn_scan::{ScanArtifact as ArtifactFacts, ScanJob, ScanReport, ScannerPool};
use serde_json::Value;

use crate::{StagedFile, finalize::stage_took};

/// Larger files take the way through the queue, where a scan that takes long is seen, and resumed on another node.
const MAX_BYTES: u64 = 512 << 10;
/// Most releases are one file; those of many would make their publisher wait in line for each.
const MAX_FILES: usize = 4;
/// A scan that takes longer is left to the queue.
const MAX_TIME: Duration = Duration::from_secs(1);

/// Scans what its own node is about to publish.
pub struct ScanAhead {
    pub jobs: Jobs,
    pub scanners: ScannerPool,
    pub blobs: Arc<dyn BlobStore>,
}

/// What the scanners said of one file, and the job that it counts as.
pub struct Scanned {
    pub(crate) report: ScanReport,
    pub(crate) ahead: Ahead,
}

impl Scanned {
    /// To be called once the release is committed.
    pub fn committed(&self) {
        self.ahead.committed();
    }
}

/// What a scan is told of the release that a file belongs to.
pub struct ScanSubject<'a> {
    pub ecosystem: Ecosystem,
    pub name: &'a PackageName,
    pub version: &'a Version,
    /// The document of the release, or of the file where files have one of their own.
    pub metadata: &'a Value,
}

impl ScanAhead {
    /// Scans every file of a release, in their order; `None` leaves all of them to the queue.
    pub async fn scan(&self, of: &ScanSubject<'_>, files: &[StagedFile]) -> Option<Vec<Scanned>> {
        if files.is_empty() || files.len() > MAX_FILES || files.iter().any(|f| f.artifact.size_bytes > MAX_BYTES) {
            return None;
        }
        let mut scanned = Vec::with_capacity(files.len());
        for file in files {
            scanned.push(self.scan_file(of, file).await?);
        }
        Some(scanned)
    }

    async fn scan_file(&self, of: &ScanSubject<'_>, file: &StagedFile) -> Option<Scanned> {
        let mut ahead = self.jobs.ahead(JobKind::ScanArtifact).await?;
        crash::reached(CrashPoint::ScanStarted);
        let job = ScanJob {
            ecosystem: of.ecosystem,
            package: of.name.display().to_owned(),
            version: of.version.to_string(),
            artifact: ArtifactFacts {
                id: ArtifactId::new(),
                kind: file.artifact.kind,
                filename: file.artifact.filename.clone(),
                sha256: file.artifact.digests.sha256,
                size_bytes: file.artifact.size_bytes,
            },
            metadata: of.metadata.clone(),
        };
        let scan = async {
            let body = self.blobs.open(&file.location, None).await.ok()?;
            self.scanners.scan(job, body.into_stream()).await.ok()
        };
        let began = Instant::now();
        let report = tokio::time::timeout(MAX_TIME, scan).await.ok().flatten()?;
        stage_took("scan", began);
        ahead.worked();
        crash::reached(CrashPoint::ScanFinished);
        Some(Scanned { report, ahead })
    }
}

//! The seam between this crate and the ecosystems: a job, its bytes, and the trait that judges them.

use std::io::{self, Read};

use publaryn_core::{ArtifactId, ArtifactKind, BoxError, Digest, Ecosystem};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{findings::Findings, walk::ArchiveError};

/// One artifact to scan, with what its adapter knows about the release it belongs to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ScanJob {
    pub ecosystem: Ecosystem,
    /// Display spelling of the package name.
    pub package: String,
    pub version: String,
    pub artifact: ScanArtifact,
    /// The adapter's own document of the release (`PublishCommand::metadata`).
    pub metadata: Value,
}

/// Which bytes a job is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScanArtifact {
    pub id: ArtifactId,
    pub kind: ArtifactKind,
    pub filename: String,
    pub sha256: Digest,
    pub size_bytes: u64,
}

/// Judges one artifact. Runs in a child process with hard limits, synchronously and without network.
///
/// A scanner reads hostile bytes: it must bound its own work, and may fail, but never waves something through.
pub trait Scanner: Send + Sync {
    /// Stable name, e.g. `npm-metadata`; part of the ruleset and of log lines.
    fn id(&self) -> &'static str;
    /// Raised with every change of behaviour, so that artifacts are scanned again.
    fn version(&self) -> u32;
    /// Whether this scanner has an opinion on the job at all.
    fn applies(&self, job: &ScanJob) -> bool;
    /// Writes what it finds to `out`.
    ///
    /// # Errors
    /// [`ScanError`] when the artifact could not be judged; the job fails and is tried again. An archive the
    /// walker refuses is a finding instead: return it with `?` and the runner records it.
    fn scan(&self, job: &ScanJob, input: &dyn ScanInput, out: &mut Findings) -> Result<(), ScanError>;
}

/// The bytes of an artifact, readable any number of times.
pub trait ScanInput {
    fn size_bytes(&self) -> u64;
    /// A fresh reader from the first byte.
    fn open(&self) -> io::Result<Box<dyn Read + '_>>;
}

impl ScanInput for [u8] {
    fn size_bytes(&self) -> u64 {
        self.len() as u64
    }
    fn open(&self) -> io::Result<Box<dyn Read + '_>> {
        Ok(Box::new(self))
    }
}

impl ScanInput for Vec<u8> {
    fn size_bytes(&self) -> u64 {
        self.len() as u64
    }
    fn open(&self) -> io::Result<Box<dyn Read + '_>> {
        Ok(Box::new(self.as_slice()))
    }
}

/// Why an artifact could not be judged.
#[derive(Debug, thiserror::Error)]
pub enum ScanError {
    /// Recorded as a blocking `archive_*` finding; does not fail the job.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    #[error("cannot read the artifact")]
    Io(#[from] io::Error),
    #[error("{0}")]
    Other(#[source] BoxError),
}

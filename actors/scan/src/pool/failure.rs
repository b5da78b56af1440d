//! Why an artifact was not judged.

use publaryn_core::{
    BoxError,
    finding::{Category, Finding, Severity},
};

use crate::run::ScannerFault;

/// Why a job ended without a report. Nothing is known about the artifact then: fail closed, try again.
#[derive(Debug, thiserror::Error)]
pub enum ScanFailure {
    #[error("the scanner process crashed: {0}")]
    Crashed(String),
    #[error("the scan took too long")]
    TimedOut,
    #[error("the scan used too much cpu time")]
    CpuLimit,
    #[error("the scan needed too much memory")]
    OutOfMemory,
    #[error("scanner `{}` failed: {}", .0.scanner, .0.message)]
    Scanner(ScannerFault),
    #[error("the artifact could not be read")]
    Input(#[source] BoxError),
    #[error("the stored bytes are not those of the artifact")]
    WrongBytes,
    #[error("the artifact could not be held for scanning: {0}")]
    Spool(String),
    #[error("the scanner process broke the protocol: {0}")]
    Protocol(&'static str),
    #[error("no scanner process could be started")]
    Unavailable(#[source] std::io::Error),
    #[error("the scanner pool is closed")]
    Closed,
}

impl ScanFailure {
    /// The finding that holds a release once its scan job has used all attempts (control-plane.md §8.2).
    pub fn to_finding(&self) -> Finding {
        crate::finding("scan_failed", Category::ScannerFailure, Severity::High, self.to_string())
    }
}

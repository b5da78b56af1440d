//! What stands between an uploaded archive and the people who install it.
//!
//! [`walk`] reads an archive once, streaming, and refuses everything two extractors could read differently;
//! [`scanner`] is the trait the ecosystem adapters implement, [`policy`] decides what a finding blocks, and
//! [`pool`] runs scanners in limited child processes ([`child`]). No ecosystem is known by name here.

pub mod child;
pub mod findings;
pub mod policy;
pub mod pool;
pub mod run;
pub mod scanner;
mod spool;
pub mod walk;
mod wire;

#[cfg(feature = "corpus")]
pub mod corpus;

pub use findings::{Findings, finding};
pub use policy::{PolicyLevel, blocks};
pub use pool::{PoolStats, ScanFailure, ScanLimits, ScanMode, ScannerPool};
pub use run::{ScanReport, ScannerRun, Scanners};
pub use scanner::{ScanArtifact, ScanError, ScanInput, ScanJob, Scanner};
pub use walk::{
    ArchiveEntry, ArchiveError, ArchiveRules, ArchiveSummary, DescriptorRule, DuplicateRule, EntryKind, ErrorKind,
    LinkRule, RootRule, gunzip, walk_tar, walk_targz, walk_zip,
};

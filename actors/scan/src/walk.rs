//! Reads an archive once, streaming, and refuses whatever two extractors could read differently.
//!
//! The rows of scanning.md §3a: framing (T1, T2, Z1), agreement of a zip's two descriptions (Z2, Z4, Z5, Z6), roots (T3),
//! names (Z3), links (L), bombs (B1), nested archives (N) and polyglots (P). Memory is constant in the size of the
//! archive (about 32 bytes per entry, 100 in a zip, plus one nested archive of at most 8 MiB); nothing is written to
//! disk and the input is never sought: [`walk_targz`] and [`walk_zip`] work on an upload in flight.

mod gzip;
mod header;
mod limits;
mod listing;
mod path;
mod pax;
mod polyglot;
mod tar;
mod zip;

use std::{
    fmt,
    io::{self, Read},
};

use limits::Budget;
use publaryn_core::{
    Timestamp,
    finding::{Category, Finding, Severity},
};

pub use self::{
    gzip::gunzip,
    tar::{walk_tar, walk_targz},
    zip::walk_zip,
};

/// Counts up with every change of what the walker accepts or notes; part of the ruleset digest.
pub const WALKER_VERSION: u32 = 3;

/// What an archive must look like. Start from [`ArchiveRules::new`] and narrow or widen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArchiveRules {
    pub root: RootRule,
    pub links: LinkRule,
    pub duplicates: DuplicateRule,
    /// Whether paths in a tar may begin with `./`, as those have that were packed from `.`. It is taken off.
    pub takes_dot_slash: bool,
    /// Only zips have data descriptors.
    pub descriptors: DescriptorRule,
    /// No entry of a zip may be dated later, where that matters. Dates in zips know no time zone.
    pub latest: Option<Timestamp>,
    /// Files and directories, nested archives included.
    pub max_entries: u64,
    /// Bytes that come out of decompression in total: headers, padding and nested archives included.
    pub max_unpacked_bytes: u64,
    pub max_entry_bytes: u64,
    /// Unpacked to compressed bytes, once more than 64 MiB were unpacked.
    pub max_ratio: u64,
    /// Components of a path.
    pub max_depth: usize,
    /// Archives inside archives are listed down to this depth (0 = not at all); what they break is only noted,
    /// but they draw on the same limits.
    pub nested_depth: u8,
    /// Whether entries of nested archives reach the visitor too ([`ArchiveEntry::within`] is then set).
    pub visits_nested: bool,
}

impl ArchiveRules {
    /// The default limits of scanning.md §3a B1 and §4.
    pub fn new(root: RootRule) -> Self {
        Self {
            root,
            links: LinkRule::Refuse,
            duplicates: DuplicateRule::CaseSensitive,
            takes_dot_slash: false,
            descriptors: DescriptorRule::Accept,
            latest: None,
            max_entries: 50_000,
            max_unpacked_bytes: 2 << 30,
            max_entry_bytes: 512 << 20,
            max_ratio: 50,
            max_depth: 64,
            nested_depth: 2,
            visits_nested: false,
        }
    }
}

/// Where entries may lie (T3).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RootRule {
    /// Anywhere.
    Any,
    /// Under one top directory, whatever its name (npm).
    Single,
    /// Under exactly this directory, with or without trailing slash (`name-1.0.0/`, crate).
    Exact(String),
}

/// What links mean (L). Hard links are always refused.
///
/// A target that is accepted is relative and climbs before it descends, never after: then it means the same whatever
/// other links there are. An entry below a link is refused, as one below a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkRule {
    Refuse,
    /// Symbolic links to places in the archive.
    InsideArchive,
    /// Symbolic links to places in the same top directory, for readers that strip it.
    InsideTop,
}

impl LinkRule {
    fn allows(self, link: &str, target: &[u8]) -> bool {
        let depth = link.matches('/').count();
        let max_climb = match self {
            Self::Refuse => return false,
            Self::InsideArchive => depth,
            Self::InsideTop => depth.saturating_sub(1),
        };
        std::str::from_utf8(target).is_ok_and(|target| path::climbs_at_most(target, max_climb))
    }
}

/// Which paths count as the same file. Byte-equal and Unicode-equivalent paths always do, and are refused unless a rule
/// says otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DuplicateRule {
    /// Paths that differ only in case are noted.
    CaseSensitive,
    /// Paths that differ only in case are refused.
    CaseInsensitive,
    /// Paths that occur twice are noted, too: jars may hold them, and class loaders take the first.
    Note,
}

/// What sizes behind the data of a zip entry mean (Z5). An accepted one must agree with the directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DescriptorRule {
    Accept,
    /// No tool that writes wheels needs them, and readers that stream guess where such data ends.
    Refuse,
}

/// One entry, handed to the visitor in archive order.
pub struct ArchiveEntry<'a> {
    /// As stored, so a directory may end in a slash; checked against Z3.
    pub path: &'a str,
    pub kind: EntryKind,
    /// Unknown beforehand only for zip entries with a data descriptor.
    pub size: Option<u64>,
    /// Permission bits as stored, e.g. `0o644`; a zip tells them only in its directory.
    pub mode: Option<u32>,
    /// Where the entry begins in the zip it lies in. A walk of the bytes from there meets the entry first, so it can
    /// be read later without what lies before it.
    pub offset: Option<u64>,
    /// The nested archive this entry lies in, as `outer/a.tgz` or `outer/a.tgz!inner/b.tar`.
    pub within: Option<&'a str>,
    /// Exactly `size` bytes, where known; what the visitor leaves unread is skipped.
    pub data: &'a mut dyn Read,
}

impl<'a> ArchiveEntry<'a> {
    /// The path below its first component; `None` for the root directory itself.
    pub fn below_root(&self) -> Option<&'a str> {
        self.path.strip_suffix('/').unwrap_or(self.path).split_once('/').map(|(_, rest)| rest)
    }

    /// Reads the whole entry.
    ///
    /// # Errors
    /// B1 when it is larger than `max_bytes`; whatever the archive itself breaks.
    pub fn read_to_vec(&mut self, max_bytes: u64) -> Result<Vec<u8>, ArchiveError> {
        let declared = self.size.unwrap_or(0).min(max_bytes);
        let mut bytes = Vec::with_capacity(declared as usize);
        if self.size.is_none_or(|size| size <= max_bytes) {
            Read::take(&mut *self.data, max_bytes + 1).read_to_end(&mut bytes)?;
        }
        if self.size.is_some_and(|size| size > max_bytes) || bytes.len() as u64 > max_bytes {
            let message = format!("a file is larger than {max_bytes} bytes: {}", self.path);
            return Err(ArchiveError { path: Some(self.path.to_owned()), ..ArchiveError::limit(message) });
        }
        Ok(bytes)
    }
}

impl fmt::Debug for ArchiveEntry<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ArchiveEntry")
            .field("path", &self.path)
            .field("kind", &self.kind)
            .field("size", &self.size)
            .finish()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EntryKind {
    File,
    Directory,
    /// A symbolic link in a tar; in a zip only the directory at its end tells links from files.
    Link,
}

/// What a whole archive turned out to be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ArchiveSummary {
    /// Files and directories of the outermost archive.
    pub entries: u64,
    pub files: u64,
    /// Sum of the sizes of the files of the outermost archive (npm `unpackedSize`).
    pub unpacked_bytes: u64,
    pub compressed_bytes: u64,
    /// The first component of the first path.
    pub root: Option<String>,
    /// Oddities to record, none of them blocking.
    pub notes: Vec<Finding>,
}

/// Why an archive was refused, or could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ArchiveError {
    pub kind: ErrorKind,
    /// `ARC-T1`, … (scanning.md §3a), or a rule of the visitor's own.
    pub rule: &'static str,
    /// The entry at fault.
    pub path: Option<String>,
    /// A sentence for the publisher; lower case, no final dot. Names the path where that helps.
    pub message: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// Well-formed, but forbidden or ambiguous.
    Unsafe,
    /// Larger than the rules allow.
    Limit,
    /// Not an archive of the expected format, or a damaged one.
    Malformed,
    /// The input itself failed; says nothing about the archive.
    Io,
}

impl ArchiveError {
    pub fn new(kind: ErrorKind, rule: &'static str, path: Option<&str>, message: impl Into<String>) -> Self {
        Self { kind, rule, path: path.map(str::to_owned), message: message.into() }
    }

    /// An `Unsafe` refusal; for visitors with rules of their own, too.
    pub fn refuse(rule: &'static str, path: Option<&str>, message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Unsafe, rule, path, message)
    }

    fn limit(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Limit, "ARC-B1", None, message)
    }

    /// The blocking finding this refusal becomes when it is met after upload.
    pub fn to_finding(&self) -> Finding {
        let category = match self.kind {
            ErrorKind::Limit => Category::ArchiveLimit,
            ErrorKind::Unsafe | ErrorKind::Malformed => Category::ArchiveUnsafe,
            ErrorKind::Io => Category::ScannerFailure,
        };
        Finding {
            location: self.path.clone().unwrap_or_default(),
            ..crate::finding(self.rule, category, Severity::High, self.message.clone())
        }
    }
}

impl From<ArchiveError> for io::Error {
    /// Keeps the refusal inside, so that it survives a reader in between.
    fn from(error: ArchiveError) -> Self {
        io::Error::other(error)
    }
}

impl From<io::Error> for ArchiveError {
    fn from(error: io::Error) -> Self {
        match error.downcast::<ArchiveError>() {
            Ok(inner) => inner,
            Err(other) => Self::new(ErrorKind::Io, "ARC-IO", None, format!("cannot read the archive: {other}")),
        }
    }
}

/// Decompressed (or plain) bytes that draw on a budget; 0 means a verified end.
trait ByteSource {
    fn read(&mut self, out: &mut [u8], budget: &mut Budget) -> Result<usize, ArchiveError>;
}

/// Bytes already in memory and already counted.
impl ByteSource for &[u8] {
    fn read(&mut self, out: &mut [u8], _: &mut Budget) -> Result<usize, ArchiveError> {
        Ok(Read::read(self, out)?)
    }
}

#[cfg(test)]
mod tests;

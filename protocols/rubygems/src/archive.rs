//! The `.gem` file: a tar of a specification, the files and their checksums (rubygems.md §7).
//!
//! Framing, paths and bombs are the walkers' business, for the outer tar and for `data.tar.gz` inside it; this
//! module adds what makes the archive a gem. Everything streams; nothing is unpacked to disk.

use std::{
    collections::BTreeMap,
    io::{self, Read},
};

use publaryn_core::{ArtifactKind, finding::Finding};
use publaryn_registry::Limits;
use publaryn_scan::{
    ArchiveEntry, ArchiveError, ArchiveRules, DuplicateRule, EntryKind, LinkRule, RootRule, gunzip, walk_tar,
    walk_targz,
};
use sha2::{Digest, Sha256, Sha512};

use crate::{
    gemspec::PackedSpec,
    yaml::{self, Node},
};

const RULE: &str = "META-GEM";
const ROOTS_RULE: &str = "ARC-T3";

/// Unpacked specification and checksums (rubygems.md §7); the YAML is bounded tighter.
const MAX_METADATA_BYTES: u64 = 10 << 20;
const MAX_SIGNATURE_BYTES: u64 = 64 << 10;
/// Unpacked bytes allowed per byte of the upload limit (rubygems.md §7).
pub const UNPACKED_PER_LIMIT: u64 = 10;
/// Unpacked to packed bytes, once more than 64 MiB were unpacked (rubygems.md §7).
pub const MAX_RATIO: u64 = 200;
/// Files of a gem, whatever the operator allows other archives.
pub const MAX_ENTRIES: u64 = 50_000;

/// Bounds of one archive.
#[derive(Debug, Clone, Copy)]
pub struct ArchiveLimits {
    pub max_entries: u64,
    pub max_unpacked_bytes: u64,
    pub max_ratio: u64,
}

impl ArchiveLimits {
    /// What the operator and this ecosystem allow.
    pub fn within(limits: &Limits) -> Self {
        let largest = limits.of(ArtifactKind::Gem);
        Self {
            max_entries: limits.max_entries.min(MAX_ENTRIES),
            max_unpacked_bytes: limits.max_unpacked.min(largest.saturating_mul(UNPACKED_PER_LIMIT)),
            max_ratio: limits.max_ratio.min(MAX_RATIO),
        }
    }
}

/// A gem whose form is sound.
#[derive(Debug, Clone)]
pub struct GemArchive {
    pub packed: PackedSpec,
    /// Paths of the files in `data.tar.gz`.
    pub paths: Vec<String>,
    pub notes: Vec<Finding>,
}

/// Reads a gem as it streams by.
///
/// # Errors
/// The first rule broken; nothing about the archive may be believed then.
pub fn read_gem(input: &mut dyn Read, limits: ArchiveLimits) -> Result<GemArchive, ArchiveError> {
    let rules = ArchiveRules {
        duplicates: DuplicateRule::CaseInsensitive,
        max_entries: 16,
        max_unpacked_bytes: u64::MAX,
        max_entry_bytes: u64::MAX,
        nested_depth: 0,
        ..ArchiveRules::new(RootRule::Any)
    };
    let mut seen = Seen::new(limits);
    let summary = walk_tar(input, &rules, &mut |entry| seen.entry(entry))?;
    seen.finish(summary.notes)
}

struct Seen {
    limits: ArchiveLimits,
    spec: Option<PackedSpec>,
    checksums: Option<Node>,
    has_data: bool,
    paths: Vec<String>,
    notes: Vec<Finding>,
    /// SHA-256 and SHA-512 of the members, in lower-case hex.
    digests: BTreeMap<&'static str, (String, String)>,
}

impl Seen {
    fn new(limits: ArchiveLimits) -> Self {
        Self {
            limits,
            spec: None,
            checksums: None,
            has_data: false,
            paths: Vec::new(),
            notes: Vec::new(),
            digests: BTreeMap::new(),
        }
    }

    fn entry(&mut self, entry: ArchiveEntry<'_>) -> Result<(), ArchiveError> {
        let path = entry.path;
        if entry.kind != EntryKind::File {
            return Err(refuse(ROOTS_RULE, Some(path), format!("a gem holds no directory: {path}")));
        }
        let mut data = Hashing { input: entry.data, sha256: Sha256::new(), sha512: Sha512::new() };
        let member = match path {
            "metadata.gz" => {
                let yaml = gunzip(&mut data, MAX_METADATA_BYTES)?;
                let packed = PackedSpec::parse(&yaml).map_err(|fault| refuse(RULE, Some(path), fault))?;
                self.spec = Some(packed);
                "metadata.gz"
            }
            "checksums.yaml.gz" => {
                let yaml = gunzip(&mut data, MAX_METADATA_BYTES)?;
                let fault = |fault| refuse(RULE, Some(path), format!("the checksums cannot be read: {fault}"));
                self.checksums = Some(yaml::parse(&yaml).map_err(fault)?);
                "checksums.yaml.gz"
            }
            "data.tar.gz" => {
                self.read_data(&mut data)?;
                "data.tar.gz"
            }
            "metadata.gz.sig" | "data.tar.gz.sig" | "checksums.yaml.gz.sig" => {
                if entry.size.is_none_or(|size| size > MAX_SIGNATURE_BYTES) {
                    return Err(refuse(RULE, Some(path), format!("the signature {path} is too large")));
                }
                return Ok(());
            }
            other => {
                let message =
                    format!("a gem holds metadata.gz, data.tar.gz and checksums.yaml.gz only, found: {other}");
                return Err(refuse(ROOTS_RULE, Some(path), message));
            }
        };
        // The walkers stop at the end of the gzip stream, which they made sure is the end of the member.
        io::copy(&mut data, &mut io::sink())?;
        let digests = (hex::encode(data.sha256.finalize()), hex::encode(data.sha512.finalize()));
        self.digests.insert(member, digests);
        Ok(())
    }

    fn read_data(&mut self, data: &mut dyn Read) -> Result<(), ArchiveError> {
        let rules = ArchiveRules {
            max_entries: self.limits.max_entries,
            max_unpacked_bytes: self.limits.max_unpacked_bytes,
            max_entry_bytes: self.limits.max_unpacked_bytes,
            max_ratio: self.limits.max_ratio,
            links: LinkRule::InsideArchive,
            takes_dot_slash: true,
            ..ArchiveRules::new(RootRule::Any)
        };
        let paths = &mut self.paths;
        let summary = walk_targz(data, &rules, &mut |entry| {
            if entry.kind != EntryKind::Directory {
                paths.push(entry.path.to_owned());
            }
            Ok(())
        })?;
        self.notes.extend(summary.notes);
        self.has_data = true;
        Ok(())
    }

    fn finish(mut self, notes: Vec<Finding>) -> Result<GemArchive, ArchiveError> {
        let missing = |what: &str| refuse(RULE, None, format!("the gem has no {what}"));
        let packed = self.spec.ok_or_else(|| missing("metadata.gz"))?;
        if !self.has_data {
            return Err(missing("data.tar.gz"));
        }
        // Gems of before 2013 have no checksums.
        if let Some(checksums) = &self.checksums {
            check(checksums, &self.digests)?;
        }
        self.notes.extend(notes);
        Ok(GemArchive { packed, paths: self.paths, notes: self.notes })
    }
}

/// Compares what `checksums.yaml.gz` says of the members with what they are.
fn check(checksums: &Node, found: &BTreeMap<&'static str, (String, String)>) -> Result<(), ArchiveError> {
    let at = "checksums.yaml.gz";
    let Node::Mapping(algorithms) = checksums else {
        return Err(refuse(RULE, Some(at), "the checksums are no mapping"));
    };
    let mut is_checked = false;
    for (algorithm, members) in algorithms {
        let Node::Mapping(members) = members else {
            return Err(refuse(RULE, Some(at), "the checksums are no mapping"));
        };
        for (member, said) in members {
            let digests = found.get(member.as_str()).filter(|_| member != at);
            let Some((sha256, sha512)) = digests else {
                let shown: String = member.chars().take(100).collect();
                return Err(refuse(RULE, Some(at), format!("a checksum names a member that is not there: {shown}")));
            };
            let real = match algorithm.as_str() {
                "SHA256" => sha256,
                "SHA512" => sha512,
                // Old tools wrote SHA1 beside; it proves nothing.
                _ => continue,
            };
            if !said.text().is_some_and(|said| said.eq_ignore_ascii_case(real)) {
                return Err(refuse(RULE, Some(at), format!("the {algorithm} of {member} is not what the gem says")));
            }
            is_checked = true;
        }
    }
    if is_checked { Ok(()) } else { Err(refuse(RULE, Some(at), "the checksums have no SHA256 or SHA512")) }
}

/// Hashes what is read through it.
struct Hashing<'a> {
    input: &'a mut dyn Read,
    sha256: Sha256,
    sha512: Sha512,
}

impl Read for Hashing<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let read = self.input.read(out)?;
        self.sha256.update(&out[..read]);
        self.sha512.update(&out[..read]);
        Ok(read)
    }
}

fn refuse(rule: &'static str, path: Option<&str>, message: impl Into<String>) -> ArchiveError {
    ArchiveError::refuse(rule, path, message)
}

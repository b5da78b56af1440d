//! What is inside a distribution file, read once as it streams by (pypi.md §5, "Archive sanity").
//!
//! Framing, paths, links and bombs are the walkers' business; this module adds what makes the archive a wheel or
//! a source distribution. Whose it is (name, version, tags) is compared by [`Distribution::check_identity`].

use std::{
    collections::BTreeSet,
    io::{self, Read},
};

use bytes::Bytes;
use publaryn_core::{ArtifactKind, finding::Finding};
use publaryn_registry::Limits;
use publaryn_scan::{
    ArchiveEntry, ArchiveError, ArchiveRules, DescriptorRule, EntryKind, RootRule, walk_targz, walk_zip,
};
use sha2::{Digest as _, Sha256};

use crate::{
    core_metadata::{CoreMetadata, Headers, MAX_METADATA_BYTES},
    filename::{DistributionName, Format, check_stem, expand_tags},
    name,
    record::{self, MAX_RECORD_BYTES, Members},
    version,
};

const WHEEL_RULE: &str = "META-WHEEL";
const SDIST_RULE: &str = "META-SDIST";
const IDENTITY_RULE: &str = "META-IDENTITY";

/// A `WHEEL` file has a handful of lines; one with every platform tag there is has hundreds.
const MAX_WHEEL_FILE_BYTES: u64 = 256 << 10;
const MAX_ENTRY_POINTS_BYTES: u64 = 1 << 20;

/// Most files of a distribution, whatever the operator allows other archives (pypi.md §5).
pub const MAX_ENTRIES: u64 = 100_000;
/// Unpacked to packed bytes, once more than 64 MiB were unpacked (pypi.md §5).
pub const MAX_RATIO: u64 = 50;
/// Unpacked bytes allowed per byte of the upload limit (pypi.md §5).
pub const UNPACKED_PER_LIMIT: u64 = 20;

/// Bounds of one archive.
#[derive(Debug, Clone, Copy)]
pub struct ArchiveLimits {
    pub max_entries: u64,
    pub max_unpacked_bytes: u64,
    pub max_entry_bytes: u64,
    pub max_ratio: u64,
    /// Compare the hashes of `RECORD`, too: every byte of a wheel is hashed then.
    pub checks_hashes: bool,
}

impl ArchiveLimits {
    /// What the operator and this ecosystem allow; hashes of members are left to the scan, or every upload would
    /// pay twice.
    pub fn within(limits: &Limits, kind: ArtifactKind) -> Self {
        let largest = limits.of(kind);
        Self {
            max_entries: limits.max_entries.min(MAX_ENTRIES),
            max_unpacked_bytes: limits.max_unpacked.min(largest.saturating_mul(UNPACKED_PER_LIMIT)),
            max_entry_bytes: largest.max(512 << 20),
            max_ratio: limits.max_ratio.min(MAX_RATIO),
            checks_hashes: false,
        }
    }
}

/// A distribution file whose form is sound.
#[derive(Debug, Clone)]
pub struct Distribution {
    /// The `name-version` of the directory that makes it one: `….dist-info`, or an sdist's top directory.
    pub stem: String,
    /// The metadata file, byte for byte.
    pub metadata_file: Bytes,
    pub metadata: CoreMetadata,
    /// Compatibility tags of the `WHEEL` file.
    pub tags: Option<BTreeSet<String>>,
    /// Scripts that installing creates.
    pub scripts: Vec<String>,
    pub notes: Vec<Finding>,
}

/// Reads a distribution file of that format to its end.
///
/// # Errors
/// The first rule broken; nothing about the archive may be believed then.
pub fn read_distribution(
    input: &mut dyn Read,
    format: Format,
    limits: ArchiveLimits,
) -> Result<Distribution, ArchiveError> {
    match format {
        Format::Wheel => read_wheel(input, limits),
        Format::SdistTarGz | Format::SdistZip => read_sdist(input, format, limits),
    }
}

fn rules(root: RootRule, limits: ArchiveLimits) -> ArchiveRules {
    let rules = ArchiveRules::new(root);
    ArchiveRules {
        max_entries: limits.max_entries,
        max_unpacked_bytes: limits.max_unpacked_bytes,
        max_entry_bytes: limits.max_entry_bytes,
        max_ratio: limits.max_ratio,
        ..rules
    }
}

fn read_wheel(input: &mut dyn Read, limits: ArchiveLimits) -> Result<Distribution, ArchiveError> {
    let rules = ArchiveRules { descriptors: DescriptorRule::Refuse, ..rules(RootRule::Any, limits) };
    let mut seen = Wheel { checks_hashes: limits.checks_hashes, ..Wheel::default() };
    let summary = walk_zip(input, &rules, &mut |entry| seen.entry(entry))?;
    seen.finish(summary.notes)
}

/// What was seen of a wheel so far.
#[derive(Default)]
struct Wheel {
    checks_hashes: bool,
    members: Members,
    dist_info: Option<String>,
    metadata: Option<Vec<u8>>,
    wheel: Option<Vec<u8>>,
    record: Option<Vec<u8>>,
    scripts: Vec<String>,
}

impl Wheel {
    fn entry(&mut self, mut entry: ArchiveEntry<'_>) -> Result<(), ArchiveError> {
        let path = entry.path;
        let (top, below) = path.split_once('/').unwrap_or((path, ""));
        let is_dist_info = is_dist_info(top);
        if is_dist_info && (below.is_empty() && entry.kind == EntryKind::File || !top.ends_with(".dist-info")) {
            // Another spelling is the same directory on some file systems.
            return Err(refuse(WHEEL_RULE, Some(path), format!("a misleading .dist-info directory: {path}")));
        }
        if is_dist_info {
            match &self.dist_info {
                Some(known) if known != top => {
                    return Err(refuse(WHEEL_RULE, Some(path), "the wheel has more than one .dist-info directory"));
                }
                Some(_) => {}
                None => self.dist_info = Some(top.to_owned()),
            }
        }
        if entry.kind == EntryKind::Directory {
            return Ok(());
        }
        let (slot, max_bytes) = match below {
            "METADATA" if is_dist_info => (&mut self.metadata, MAX_METADATA_BYTES),
            "WHEEL" if is_dist_info => (&mut self.wheel, MAX_WHEEL_FILE_BYTES),
            "RECORD" if is_dist_info => (&mut self.record, MAX_RECORD_BYTES),
            _ => {
                let mut points = None;
                let sha256 = if is_dist_info && below == "entry_points.txt" {
                    let bytes = entry.read_to_vec(MAX_ENTRY_POINTS_BYTES)?;
                    let sha256 = Sha256::digest(&bytes).into();
                    points = Some(bytes);
                    Some(sha256)
                } else {
                    self.hash(entry.data)?
                };
                self.scripts.extend(points.iter().flat_map(|bytes| scripts(bytes)));
                self.members.insert(path, sha256);
                return Ok(());
            }
        };
        let bytes = entry.read_to_vec(max_bytes)?;
        let is_record = below == "RECORD";
        self.members.insert(path, (!is_record).then(|| Sha256::digest(&bytes).into()));
        *slot = Some(bytes);
        Ok(())
    }

    fn hash(&self, data: &mut dyn Read) -> Result<Option<[u8; 32]>, ArchiveError> {
        if !self.checks_hashes {
            return Ok(None);
        }
        let mut hash = Sha256::new();
        let mut buffer = [0; 16 << 10];
        loop {
            match data.read(&mut buffer)? {
                0 => return Ok(Some(hash.finalize().into())),
                read => hash.update(&buffer[..read]),
            }
        }
    }

    fn finish(self, notes: Vec<Finding>) -> Result<Distribution, ArchiveError> {
        let missing = |what: &str| refuse(WHEEL_RULE, None, format!("the wheel has no {what}"));
        let dist_info = self.dist_info.ok_or_else(|| missing(".dist-info directory"))?;
        let metadata_file = self.metadata.ok_or_else(|| missing("METADATA in its .dist-info directory"))?;
        let wheel = self.wheel.ok_or_else(|| missing("WHEEL in its .dist-info directory"))?;
        let record = self.record.ok_or_else(|| missing("RECORD in its .dist-info directory"))?;
        let at = |file: &str| format!("{dist_info}/{file}");
        let metadata = CoreMetadata::parse(&metadata_file, true)
            .map_err(|fault| refuse(WHEEL_RULE, Some(&at("METADATA")), format!("METADATA cannot be read: {fault}")))?;
        let tags = wheel_tags(&wheel)
            .map_err(|fault| refuse(WHEEL_RULE, Some(&at("WHEEL")), format!("WHEEL cannot be read: {fault}")))?;
        record::compare(&record, &dist_info, &self.members)
            .map_err(|fault| refuse("META-RECORD", Some(&at("RECORD")), fault.to_string()))?;
        Ok(Distribution {
            stem: dist_info.strip_suffix(".dist-info").unwrap_or(&dist_info).to_owned(),
            metadata_file: metadata_file.into(),
            metadata,
            tags: Some(tags),
            scripts: self.scripts,
            notes,
        })
    }
}

fn is_dist_info(directory: &str) -> bool {
    let suffix = directory.len().checked_sub(".dist-info".len()).and_then(|at| directory.get(at..));
    suffix.is_some_and(|suffix| suffix.eq_ignore_ascii_case(".dist-info"))
}

/// The tags of a `WHEEL` file of a version that installers of today read.
fn wheel_tags(bytes: &[u8]) -> Result<BTreeSet<String>, String> {
    let headers = Headers::parse(bytes).map_err(|fault| fault.to_string())?;
    let version = headers.first("wheel-version").ok_or("it has no Wheel-Version")?;
    if version.split('.').next() != Some("1") {
        return Err("its Wheel-Version is not 1.x".to_owned());
    }
    let tags = expand_tags(headers.all("tag")).map_err(|fault| fault.to_string())?;
    if tags.is_empty() { Err("it has no Tag".to_owned()) } else { Ok(tags) }
}

/// Names under `[console_scripts]` and `[gui_scripts]`.
fn scripts(entry_points: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(entry_points);
    let mut is_scripts = false;
    let mut names = Vec::new();
    for line in text.lines().map(str::trim) {
        if let Some(section) = line.strip_prefix('[') {
            let section = section.trim_end_matches(']').trim();
            is_scripts = matches!(section, "console_scripts" | "gui_scripts");
        } else if let Some((name, _)) = line.split_once('=').filter(|_| is_scripts && !line.starts_with(['#', ';'])) {
            names.push(name.trim().to_owned());
        }
    }
    names
}

fn read_sdist(input: &mut dyn Read, format: Format, limits: ArchiveLimits) -> Result<Distribution, ArchiveError> {
    let rules = rules(RootRule::Single, limits);
    let mut pkg_info = None;
    let mut visit = |mut entry: ArchiveEntry<'_>| -> Result<(), ArchiveError> {
        match entry.below_root() {
            Some("PKG-INFO") if entry.kind == EntryKind::File => {
                pkg_info = Some(entry.read_to_vec(MAX_METADATA_BYTES)?);
                Ok(())
            }
            Some(other) if other.eq_ignore_ascii_case("PKG-INFO") => {
                let message = format!("the metadata must be called PKG-INFO, found: {}", entry.path);
                Err(refuse(SDIST_RULE, Some(entry.path), message))
            }
            _ => Ok(()),
        }
    };
    let summary = match format {
        Format::SdistZip => walk_zip(input, &rules, &mut visit)?,
        _ => walk_targz(input, &rules, &mut visit)?,
    };
    let pkg_info =
        pkg_info.ok_or_else(|| refuse(SDIST_RULE, None, "the sdist has no PKG-INFO in its top directory"))?;
    let metadata = CoreMetadata::parse(&pkg_info, false)
        .map_err(|fault| refuse(SDIST_RULE, Some("PKG-INFO"), format!("PKG-INFO cannot be read: {fault}")))?;
    Ok(Distribution {
        stem: summary.root.unwrap_or_default(),
        metadata_file: pkg_info.into(),
        metadata,
        tags: None,
        scripts: Vec::new(),
        notes: summary.notes,
    })
}

impl Distribution {
    /// Checks that the archive is that file of that version: name, version and tags say the same everywhere.
    ///
    /// `project` is normalised, `version` any spelling.
    ///
    /// # Errors
    /// The first disagreement.
    pub fn check_identity(&self, file: &DistributionName, project: &str, version: &str) -> Result<(), ArchiveError> {
        let differs = |what: &str, inside: &str, outside: &str| {
            let inside: String = inside.chars().take(100).collect();
            let message = format!("the {what} in the metadata is '{inside}', not '{outside}'");
            Err(refuse(IDENTITY_RULE, None, message))
        };
        let metadata = &self.metadata;
        if name::normalize(&metadata.name).as_deref() != Some(project) {
            return differs("name", &metadata.name, project);
        }
        let inside = version::parse(&metadata.version);
        if inside.is_none() || inside != version::parse(version) {
            return differs("version", &metadata.version, version);
        }
        check_stem(&self.stem, project, version).map_err(|_| {
            let stem: String = self.stem.chars().take(100).collect();
            refuse(IDENTITY_RULE, Some(&stem), format!("the directory '{stem}' is not that of {project} {version}"))
        })?;
        match (&file.tags, &self.tags) {
            (Some(named), Some(inside)) => {
                let named = named.expanded();
                let Some(first) = inside.symmetric_difference(&named).next() else { return Ok(()) };
                let message = format!("the tags of the file name are not those of its WHEEL file: {first}");
                Err(refuse(IDENTITY_RULE, None, message))
            }
            _ => Ok(()),
        }
    }
}

/// Reads to the end of the input, whatever became of the archive: digests cover all of it.
pub fn exhaust(input: &mut dyn Read) -> io::Result<()> {
    io::copy(input, &mut io::sink()).map(drop)
}

fn refuse(rule: &'static str, path: Option<&str>, message: impl Into<String>) -> ArchiveError {
    ArchiveError::refuse(rule, path, message)
}

#[cfg(test)]
mod tests;

//! Jars and other zips: that they are safe to open, and what they say of themselves.

use std::io::Read;

use publaryn_core::finding::Finding;
use publaryn_scan::{
    ArchiveEntry, ArchiveError, ArchiveRules, EntryKind, RootRule,
    walk::{DuplicateRule, walk_zip},
};

use crate::pom::{MAX_POM_BYTES, PluginDescriptor};

pub(crate) const RULE: &str = "META-MAVEN";

/// Most files and directories, whatever the operator allows other archives (maven.md §6).
pub const MAX_ENTRIES: u64 = 65_535;
/// Unpacked to packed bytes, likewise.
pub const MAX_RATIO: u64 = 200;
/// Largest `plugin.xml`, in bytes.
const MAX_DESCRIPTOR_BYTES: u64 = 4 << 20;

/// Bounds of one archive.
#[derive(Debug, Clone, Copy)]
pub struct ArchiveLimits {
    pub max_entries: u64,
    pub max_unpacked_bytes: u64,
    pub max_entry_bytes: u64,
    pub max_ratio: u64,
}

/// What an archive turned out to hold.
#[derive(Debug, Default)]
pub struct Archive {
    pub plugin: Option<PluginDescriptor>,
    pub own: OwnPom,
    /// How many POMs of other artifacts there are, as in shaded archives, and where the first of them lies.
    pub others: u64,
    pub first_other: Option<String>,
    pub notes: Vec<Finding>,
}

/// The POM at the path that was asked for.
#[derive(Debug, Default, PartialEq, Eq)]
pub enum OwnPom {
    #[default]
    Absent,
    Found(Vec<u8>),
    TooLarge,
    Several,
}

/// Reads an archive as it streams by. Of the POMs inside only the one at `own` is read; nobody else's is kept.
///
/// # Errors
/// The first rule broken; nothing about the archive may be believed then.
pub fn read_archive(input: &mut dyn Read, limits: ArchiveLimits, own: Option<&str>) -> Result<Archive, ArchiveError> {
    let rules = ArchiveRules {
        duplicates: DuplicateRule::Note,
        max_entries: limits.max_entries,
        max_unpacked_bytes: limits.max_unpacked_bytes,
        max_entry_bytes: limits.max_entry_bytes,
        max_ratio: limits.max_ratio,
        ..ArchiveRules::new(RootRule::Any)
    };
    let mut archive = Archive::default();
    let mut has_descriptor = false;
    let summary = walk_zip(input, &rules, &mut |mut entry: ArchiveEntry<'_>| {
        if entry.kind != EntryKind::File {
            return Ok(());
        }
        if entry.path == "META-INF/maven/plugin.xml" {
            if has_descriptor {
                return Err(ArchiveError::refuse(RULE, Some(entry.path), "the archive has two plugin descriptors"));
            }
            has_descriptor = true;
            archive.plugin = PluginDescriptor::parse(&entry.read_to_vec(MAX_DESCRIPTOR_BYTES)?);
        } else if own == Some(entry.path) {
            archive.own = match archive.own {
                OwnPom::Absent => own_pom(&mut entry)?,
                _ => OwnPom::Several,
            };
        } else if is_pom(entry.path) {
            archive.others += 1;
            archive.first_other.get_or_insert_with(|| entry.path.to_owned());
        }
        Ok(())
    })?;
    archive.notes = summary.notes;
    Ok(archive)
}

/// `META-INF/maven/{group}/{artifact}/pom.xml`
fn is_pom(path: &str) -> bool {
    let inside = path.strip_prefix("META-INF/maven/").and_then(|rest| rest.strip_suffix("/pom.xml"));
    inside.is_some_and(|inside| inside.split('/').count() == 2)
}

fn own_pom(entry: &mut ArchiveEntry<'_>) -> Result<OwnPom, ArchiveError> {
    let mut bytes = Vec::new();
    Read::take(&mut *entry.data, MAX_POM_BYTES + 1).read_to_end(&mut bytes)?;
    Ok(if bytes.len() as u64 <= MAX_POM_BYTES { OwnPom::Found(bytes) } else { OwnPom::TooLarge })
}

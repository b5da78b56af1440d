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
/// POMs of a jar that are looked at; a shaded one holds many of others.
const MAX_POMS: usize = 200;

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
    /// Of `META-INF/maven/{group}/{artifact}/pom.xml`: the path, and the file where it is not too large.
    pub poms: Vec<(String, Option<Vec<u8>>)>,
    /// There are further POMs.
    pub has_more_poms: bool,
    pub notes: Vec<Finding>,
}

/// Reads an archive as it streams by.
///
/// # Errors
/// The first rule broken; nothing about the archive may be believed then.
pub fn read_archive(input: &mut dyn Read, limits: ArchiveLimits) -> Result<Archive, ArchiveError> {
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
        } else if is_pom(entry.path) {
            if archive.poms.len() < MAX_POMS {
                let path = entry.path.to_owned();
                archive.poms.push((path, limited(&mut entry)?));
            } else {
                archive.has_more_poms = true;
            }
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

fn limited(entry: &mut ArchiveEntry<'_>) -> Result<Option<Vec<u8>>, ArchiveError> {
    let mut bytes = Vec::new();
    Read::take(&mut *entry.data, MAX_POM_BYTES + 1).read_to_end(&mut bytes)?;
    Ok((bytes.len() as u64 <= MAX_POM_BYTES).then_some(bytes))
}

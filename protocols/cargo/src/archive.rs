//! The `.crate` file: a gzip tar with one root directory and exactly one manifest (cargo.md §6).
//!
//! Framing, paths, links and bombs are the walker's business; this module adds what makes the
//! archive *this* crate.

use std::io::Read;

use publaryn_core::ArtifactKind;
use publaryn_registry::Limits;
use publaryn_scan::{
    ArchiveEntry, ArchiveError, ArchiveRules, ArchiveSummary, EntryKind, RootRule, walk::DuplicateRule, walk_targz,
};
use serde::Deserialize;

use crate::manifest::Manifest;

const RULE: &str = "META-CRATE";
/// A manifest is metadata: 1 MiB (scanning.md §4).
const MAX_MANIFEST_BYTES: u64 = 1 << 20;
const MAX_VCS_INFO_BYTES: u64 = 64 << 10;
/// Unpacked bytes allowed per byte of the upload limit (cargo.md §6).
pub const UNPACKED_PER_LIMIT: u64 = 20;

/// Most files and directories of a crate, whatever the operator allows other archives (cargo.md §6).
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
        Self {
            max_entries: limits.max_entries.min(MAX_ENTRIES),
            max_unpacked_bytes: limits
                .max_unpacked
                .min(limits.of(ArtifactKind::Crate).saturating_mul(UNPACKED_PER_LIMIT)),
            max_ratio: limits.max_ratio,
        }
    }
}

/// What an archive turned out to hold.
#[derive(Debug, Clone)]
pub struct CrateArchive {
    pub manifest: Manifest,
    pub has_lib: bool,
    /// Binaries the manifest names, else the one of `src/main.rs`.
    pub bin_names: Vec<String>,
    /// The commit `.cargo_vcs_info.json` names; a hint, not a proof.
    pub vcs_commit: Option<String>,
    pub summary: ArchiveSummary,
}

/// Reads a `.crate` that claims to be `name` in `version`, as it streams by.
///
/// # Errors
/// The first rule broken; nothing about the archive may be believed then.
pub fn read_crate(
    input: &mut dyn Read,
    name: &str,
    version: &str,
    limits: ArchiveLimits,
) -> Result<CrateArchive, ArchiveError> {
    let rules = ArchiveRules {
        duplicates: DuplicateRule::CaseInsensitive,
        max_entries: limits.max_entries,
        max_unpacked_bytes: limits.max_unpacked_bytes,
        max_ratio: limits.max_ratio,
        ..ArchiveRules::new(RootRule::Exact(format!("{name}-{version}")))
    };
    let mut seen = Seen::default();
    let summary = walk_targz(input, &rules, &mut |entry| seen.entry(entry))?;
    let manifest =
        seen.manifest.ok_or_else(|| refuse(None, "uploaded tarball is missing a `Cargo.toml` manifest file"))?;
    for (what, said, packed) in [("name", name, &manifest.name), ("version", version, &manifest.version)] {
        if said != packed {
            let packed: String = packed.chars().take(200).collect();
            let message = format!("metadata {what} `{said}` does not match manifest {what} `{packed}`");
            return Err(refuse(Some("Cargo.toml"), message));
        }
    }
    let mut bin_names = manifest.bin_names.clone();
    if bin_names.is_empty() && seen.has_main {
        bin_names.push(name.to_owned());
    }
    Ok(CrateArchive {
        has_lib: manifest.has_lib_section || seen.has_lib,
        bin_names,
        vcs_commit: seen.vcs_commit,
        manifest,
        summary,
    })
}

#[derive(Default)]
struct Seen {
    manifest: Option<Manifest>,
    has_lib: bool,
    has_main: bool,
    vcs_commit: Option<String>,
}

impl Seen {
    fn entry(&mut self, mut entry: ArchiveEntry<'_>) -> Result<(), ArchiveError> {
        if entry.kind != EntryKind::File {
            return Ok(());
        }
        let Some(below) = entry.below_root().map(str::to_owned) else { return Ok(()) };
        match below.as_str() {
            "Cargo.toml" => {
                let bytes = entry.read_to_vec(MAX_MANIFEST_BYTES)?;
                self.manifest = Some(Manifest::parse(&bytes).map_err(|e| refuse(Some(entry.path), e.to_string()))?);
            }
            // File systems that ignore case would read it as the manifest.
            other if other.eq_ignore_ascii_case("Cargo.toml") => {
                let message = format!("the manifest must be called `Cargo.toml`, found `{other}`");
                return Err(refuse(Some(entry.path), message));
            }
            ".cargo_vcs_info.json" => {
                let bytes = entry.read_to_vec(MAX_VCS_INFO_BYTES)?;
                self.vcs_commit = commit_of(&bytes);
            }
            "src/lib.rs" => self.has_lib = true,
            "src/main.rs" => self.has_main = true,
            _ => {}
        }
        Ok(())
    }
}

/// The commit in `{"git":{"sha1":"…"}}`; anything else there is ignored.
fn commit_of(json: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Info {
        git: Git,
    }
    #[derive(Deserialize)]
    struct Git {
        sha1: String,
    }
    let commit = serde_json::from_slice::<Info>(json).ok()?.git.sha1;
    (matches!(commit.len(), 40 | 64) && commit.bytes().all(|b| b.is_ascii_hexdigit())).then_some(commit)
}

fn refuse(path: Option<&str>, message: impl Into<String>) -> ArchiveError {
    ArchiveError::refuse(RULE, path, message)
}

#[cfg(test)]
mod tests;

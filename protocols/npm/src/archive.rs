//! What is inside an npm tarball: one streaming pass, nothing unpacked (scanning.md §3a, npm.md §4).

use std::io::Read;

use publaryn_core::finding::Finding;
use publaryn_protocol::strict_json;
use publaryn_scan::{ArchiveError, ArchiveRules, EntryKind, ErrorKind, RootRule, walk_targz};
use serde_json::{Map, Value};

use crate::release::ArchiveFacts;

/// Largest `package.json`, in bytes (scanning.md §4, metadata file).
pub const MAX_MANIFEST_BYTES: u64 = 1 << 20;

/// How much an archive may hold.
#[derive(Debug, Clone, Copy)]
pub struct ArchiveLimits {
    pub max_entries: u64,
    pub max_unpacked_bytes: u64,
    pub max_ratio: u64,
}

impl Default for ArchiveLimits {
    fn default() -> Self {
        let rules = ArchiveRules::new(RootRule::Single);
        Self {
            max_entries: rules.max_entries,
            max_unpacked_bytes: rules.max_unpacked_bytes,
            max_ratio: rules.max_ratio,
        }
    }
}

/// An archive that broke no rule.
#[derive(Debug, Clone)]
pub struct Inspection {
    /// The `package.json` at the root.
    pub manifest: Map<String, Value>,
    pub facts: ArchiveFacts,
    /// Paths below the root of files in the folder that `directories.bin` names.
    pub bin_files: Vec<String>,
    /// Oddities to record, none of them blocking.
    pub notes: Vec<Finding>,
}

/// Reads a tarball once. `nested_depth`: how deep archives inside are listed; 0 at upload, where speed counts.
///
/// # Errors
/// The first rule broken; the publisher reads its message.
pub fn inspect(input: &mut dyn Read, limits: ArchiveLimits, nested_depth: u8) -> Result<Inspection, ArchiveError> {
    let mut rules = ArchiveRules::new(RootRule::Single);
    rules.max_entries = limits.max_entries;
    rules.max_unpacked_bytes = limits.max_unpacked_bytes;
    rules.max_ratio = limits.max_ratio;
    rules.nested_depth = nested_depth;
    let mut manifest = None;
    let mut has_binding_gyp = false;
    let mut paths = Vec::new();
    let summary = walk_targz(input, &rules, &mut |mut entry| {
        if entry.kind != EntryKind::File {
            return Ok(());
        }
        let Some(path) = entry.below_root().map(str::to_owned) else { return Ok(()) };
        if path.eq_ignore_ascii_case("package.json") {
            // On some file systems the second one would overwrite the first when unpacked.
            if manifest.is_some() {
                return Err(ArchiveError::refuse(
                    "ARC-T3",
                    Some(entry.path),
                    "the archive has more than one package.json",
                ));
            }
            let bytes = entry.read_to_vec(MAX_MANIFEST_BYTES)?;
            let parsed = strict_json::parse_object(&bytes).map_err(|error| {
                ArchiveError::new(
                    ErrorKind::Malformed,
                    "META-JSON",
                    Some(entry.path),
                    format!("package.json cannot be read: {error}"),
                )
            })?;
            manifest = Some((path == "package.json", parsed));
            return Ok(());
        }
        has_binding_gyp |= path == "binding.gyp";
        // Only files that may be programs of `directories.bin` are remembered, and only so many.
        if path.contains('/') && paths.len() < MAX_REMEMBERED_PATHS {
            paths.push(path);
        }
        Ok(())
    })?;
    let manifest = match manifest {
        Some((true, manifest)) => manifest,
        _ => {
            return Err(ArchiveError::new(
                ErrorKind::Malformed,
                "META-MISSING",
                None,
                "the archive has no package.json",
            ));
        }
    };
    let bin_folder = manifest.get("directories").and_then(|d| d.get("bin")).and_then(Value::as_str).map(folder_prefix);
    let bin_files = match bin_folder {
        Some(folder) => paths.into_iter().filter(|p| p.starts_with(&folder)).collect(),
        None => Vec::new(),
    };
    Ok(Inspection {
        manifest,
        facts: ArchiveFacts { file_count: summary.files, unpacked_size: summary.unpacked_bytes, has_binding_gyp },
        bin_files,
        notes: summary.notes,
    })
}

/// A package lists its programs in one small folder; beyond this many paths the rest cannot be one.
const MAX_REMEMBERED_PATHS: usize = 10_000;

fn folder_prefix(folder: &str) -> String {
    let folder = folder.trim_start_matches("./").trim_matches('/');
    if folder.is_empty() || folder == "." { String::new() } else { format!("{folder}/") }
}

#[cfg(test)]
mod tests {
    use publaryn_scan::corpus::{Verdict, cases, tar, targz};

    use super::*;

    const MANIFEST: &[u8] = br#"{"name":"a","version":"1.0.0","directories":{"bin":"./bin"}}"#;

    fn inspected(bytes: &[u8]) -> Result<Inspection, ArchiveError> {
        inspect(&mut &bytes[..], ArchiveLimits::default(), 2)
    }

    #[test]
    fn a_package_is_described() {
        let bytes = targz(&[
            ("package/package.json", MANIFEST),
            ("package/binding.gyp", b"{}"),
            ("package/bin/x", b"#!"),
            ("package/lib/y", b"12345"),
        ]);
        let seen = inspected(&bytes).unwrap();
        assert_eq!(seen.manifest["version"], "1.0.0");
        let unpacked_size = MANIFEST.len() as u64 + 2 + 2 + 5;
        assert_eq!(seen.facts, ArchiveFacts { file_count: 4, unpacked_size, has_binding_gyp: true });
        assert_eq!(seen.bin_files, ["bin/x"]);
    }

    #[test]
    fn any_top_directory_will_do() {
        assert!(inspected(&targz(&[("whatever-1.0/package.json", MANIFEST)])).is_ok());
    }

    #[test]
    fn packages_without_one_readable_manifest_are_refused() {
        let refused = |files: &[(&str, &[u8])]| inspected(&targz(files)).unwrap_err().message;
        assert!(refused(&[("package/index.js", b"")]).contains("no package.json"));
        assert!(refused(&[("package/Package.json", MANIFEST)]).contains("no package.json"));
        assert!(refused(&[("package/lib/package.json", MANIFEST)]).contains("no package.json"));
        assert!(refused(&[("package/package.json", b"[]")]).contains("cannot be read"));
        assert!(refused(&[("package/package.json", br#"{"name":"a","name":"b"}"#)]).contains("duplicate key"));
        let twice = refused(&[("package/package.json", MANIFEST), ("package/PACKAGE.json", MANIFEST)]);
        assert!(twice.contains("more than one package.json"), "{twice}");
        assert!(
            inspected(&tar(&[("package/package.json", MANIFEST)]).special(b'2', "package/l", "/etc/passwd").targz())
                .is_err()
        );
    }

    #[test]
    fn every_crafted_archive_is_refused_and_its_honest_twin_is_not() {
        let (mut refused, mut accepted) = (0, 0);
        for case in cases("package", &[("package/package.json", MANIFEST), ("package/index.js", b"1")]) {
            let result = inspected(&case.bytes);
            match case.verdict {
                Verdict::Refused(_) => {
                    assert!(result.is_err(), "{}", case.name);
                    refused += 1;
                }
                Verdict::Noted(rule) => {
                    let seen = result.unwrap_or_else(|e| panic!("{}: {e}", case.name));
                    assert!(seen.notes.iter().any(|n| n.rule_id == rule), "{}", case.name);
                    accepted += 1;
                }
                Verdict::Clean => {
                    result.unwrap_or_else(|e| panic!("{}: {e}", case.name));
                    accepted += 1;
                }
            }
        }
        assert!(refused > 20 && accepted > 5, "{refused} {accepted}");
    }
}

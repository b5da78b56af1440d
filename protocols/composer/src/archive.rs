//! The zip of a release: where its `composer.json` lies, and that it is one package.
//!
//! Framing, paths, links and bombs are the walker's business (composer.md §7).

use std::{
    collections::HashSet,
    hash::{BuildHasher, RandomState},
    io::Read,
};

use publaryn_core::{
    ArtifactKind,
    finding::{Category, Finding, Severity},
};
use publaryn_registry::Limits;
use publaryn_scan::{
    ArchiveEntry, ArchiveError, ArchiveRules, EntryKind, LinkRule, RootRule, walk::DuplicateRule, walk_zip,
};

use crate::manifest::Manifest;

pub(crate) const RULE: &str = "META-COMPOSER";
/// More than one manifest could be meant.
pub(crate) const AMBIGUOUS_RULE: &str = "META-COMPOSER-TWO";

/// Largest `composer.json`, in bytes (composer.md §7), and the part of a readme that is kept.
const MAX_MANIFEST_BYTES: u64 = 1 << 20;
const MAX_README_BYTES: u64 = 64 << 10;

/// Most files and directories, whatever the operator allows other archives (composer.md §7).
pub const MAX_ENTRIES: u64 = 50_000;
/// Unpacked bytes allowed per byte of the upload limit.
pub const UNPACKED_PER_LIMIT: u64 = 20;

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
        let largest = limits.of(ArtifactKind::ComposerZip);
        Self {
            max_entries: limits.max_entries.min(MAX_ENTRIES),
            max_unpacked_bytes: limits.max_unpacked.min(largest.saturating_mul(UNPACKED_PER_LIMIT)),
            max_ratio: limits.max_ratio,
        }
    }
}

/// What a zip turned out to hold.
#[derive(Debug)]
pub struct PackageZip {
    pub manifest: Manifest,
    pub readme: Option<String>,
    pub notes: Vec<Finding>,
}

/// Reads the zip of a package as it streams by.
///
/// # Errors
/// The first rule broken; nothing about the archive may be believed then.
pub fn read_zip(input: &mut dyn Read, limits: ArchiveLimits) -> Result<PackageZip, ArchiveError> {
    let rules = ArchiveRules {
        duplicates: DuplicateRule::CaseInsensitive,
        max_entries: limits.max_entries,
        max_unpacked_bytes: limits.max_unpacked_bytes,
        max_ratio: limits.max_ratio,
        // Clients strip a directory that everything lies in.
        links: LinkRule::InsideTop,
        ..ArchiveRules::new(RootRule::Any)
    };
    let mut seen = Seen::default();
    let summary = walk_zip(input, &rules, &mut |entry| seen.entry(entry))?;
    seen.finish(summary.notes)
}

#[derive(Default)]
struct Seen {
    /// `composer.json` in the root, and what lies in top directories, by directory.
    manifest: Option<Vec<u8>>,
    nested: Vec<(String, Vec<u8>)>,
    readme: Option<Vec<u8>>,
    nested_readme: Option<Vec<u8>>,
    top: Option<String>,
    /// Something lies beside the first top directory.
    has_siblings: bool,
    /// Directories that belong to a checkout rather than to a package, once each.
    leftovers: Vec<&'static str>,
    files: Files,
}

/// Paths of the files, as keyed hashes: an answer to "is it there" in constant memory per file.
#[derive(Default)]
struct Files {
    key: RandomState,
    seen: HashSet<u64>,
}

impl Files {
    fn insert(&mut self, path: &str) {
        self.seen.insert(self.key.hash_one(path));
    }
    fn contains(&self, path: &str) -> bool {
        self.seen.contains(&self.key.hash_one(path))
    }
}

impl Seen {
    fn entry(&mut self, mut entry: ArchiveEntry<'_>) -> Result<(), ArchiveError> {
        let path = entry.path;
        let is_file = entry.kind == EntryKind::File;
        let (top, below) = match path.split_once('/') {
            Some((top, below)) => (top, Some(below)),
            None => (path, None),
        };
        // Clients do not count what the Finder leaves behind.
        if path != ".DS_Store" {
            match (&self.top, below) {
                (_, None) => self.has_siblings = true,
                (None, Some(_)) => self.top = Some(top.to_owned()),
                (Some(known), Some(_)) => self.has_siblings |= known != top,
            }
        }
        for name in [".git", "vendor"] {
            let is_inside = top == name || below.and_then(|b| b.split('/').next()) == Some(name);
            if is_inside && (below.is_some_and(|b| b.contains('/')) || top == name) && !self.leftovers.contains(&name) {
                self.leftovers.push(name);
            }
        }
        if !is_file {
            return Ok(());
        }
        self.files.insert(path);
        match below {
            None if path == "composer.json" => self.manifest = Some(entry.read_to_vec(MAX_MANIFEST_BYTES)?),
            // Two are enough to know that there is more than one.
            Some("composer.json") if self.nested.len() < 2 => {
                self.nested.push((top.to_owned(), entry.read_to_vec(MAX_MANIFEST_BYTES)?));
            }
            None if is_readme(path) => self.readme = Some(start(&mut entry)?),
            Some(below) if is_readme(below) && self.nested_readme.is_none() => {
                self.nested_readme = Some(start(&mut entry)?)
            }
            _ => {}
        }
        Ok(())
    }

    fn finish(self, mut notes: Vec<Finding>) -> Result<PackageZip, ArchiveError> {
        let (root, bytes, readme) = match (self.manifest, self.nested.as_slice()) {
            (Some(bytes), _) => (String::new(), bytes, self.readme),
            (None, []) => return Err(refuse(None, "the zip has no composer.json in its root or in its top directory")),
            (None, [(top, bytes)]) if !self.has_siblings => (format!("{top}/"), bytes.clone(), self.nested_readme),
            (None, [_]) => {
                let message = "composer.json must lie in the root of the zip, or in its only top directory";
                return Err(refuse(None, message));
            }
            (None, _) => {
                let message = "the zip has more than one composer.json in its top directories";
                return Err(ArchiveError::refuse(AMBIGUOUS_RULE, None, message));
            }
        };
        let at = format!("{root}composer.json");
        let manifest = Manifest::parse(&bytes).map_err(|fault| refuse(Some(&at), fault))?;
        for bin in manifest.bins() {
            let plain = bin.trim_start_matches("./");
            if !self.files.contains(&format!("{root}{plain}")) {
                let shown: String = bin.chars().take(100).collect();
                return Err(refuse(Some(&at), format!("composer.json: bin names a file that is not there: {shown}")));
            }
        }
        for name in self.leftovers {
            let title = format!("the package contains `{name}/`");
            notes.push(Finding {
                location: format!("{root}{name}"),
                ..publaryn_scan::finding("COMPOSER-LEFTOVER", Category::MetadataMismatch, Severity::Low, title)
            });
        }
        let readme =
            readme.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).filter(|text| !text.trim().is_empty());
        Ok(PackageZip { manifest, readme, notes })
    }
}

fn is_readme(name: &str) -> bool {
    ["readme.md", "readme", "readme.txt"].iter().any(|known| name.eq_ignore_ascii_case(known))
}

fn start(entry: &mut ArchiveEntry<'_>) -> Result<Vec<u8>, ArchiveError> {
    let mut bytes = Vec::new();
    Read::take(&mut *entry.data, MAX_README_BYTES).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn refuse(path: Option<&str>, message: impl Into<String>) -> ArchiveError {
    ArchiveError::refuse(RULE, path, message)
}

#[cfg(test)]
mod tests {
    use publaryn_scan::corpus::{Verdict, ZipBuilder, zip_cases};

    use super::*;

    const LIMITS: ArchiveLimits = ArchiveLimits { max_entries: 1000, max_unpacked_bytes: 256 << 20, max_ratio: 50 };
    const MANIFEST: &[u8] = br#"{"name":"acme/lib","version":"1.0.0","bin":["bin/x"]}"#;

    fn read(files: &[(&str, &[u8])]) -> Result<PackageZip, ArchiveError> {
        let zip = files.iter().fold(ZipBuilder::new(), |zip, (path, data)| zip.file(path, data)).finish();
        read_zip(&mut zip.as_slice(), LIMITS)
    }

    #[test]
    fn the_manifest_lies_in_the_root_or_in_the_only_top_directory() {
        let flat =
            read(&[("composer.json", MANIFEST), ("bin/x", b"x"), ("README.md", b"# hi"), ("sub/composer.json", b"{")]);
        let flat = flat.unwrap();
        assert_eq!((flat.manifest.name.as_str(), flat.readme.as_deref()), ("acme/lib", Some("# hi")));
        let nested = read(&[("lib-1/composer.json", MANIFEST), ("lib-1/bin/x", b"x"), (".DS_Store", b"")]).unwrap();
        assert_eq!(nested.manifest, flat.manifest);
        for (files, rule, text) in [
            (&[("a.php", &b"x"[..])][..], RULE, "no composer.json"),
            (&[("x/y/composer.json", MANIFEST)], RULE, "no composer.json"),
            (&[("a/composer.json", MANIFEST), ("b/x", b"")], RULE, "only top directory"),
            (&[("a/composer.json", MANIFEST), ("x", b"")], RULE, "only top directory"),
            (&[("a/composer.json", MANIFEST), ("b/composer.json", MANIFEST)], AMBIGUOUS_RULE, "more than one"),
            (&[("composer.json", MANIFEST)], RULE, "not there: bin/x"),
            (&[("composer.json", b"nonsense")], RULE, "cannot be read"),
        ] {
            let error = read(files).unwrap_err();
            assert_eq!(error.rule, rule, "{error}");
            assert!(error.message.contains(text), "{error}");
        }
    }

    #[test]
    fn a_checkout_is_noted_not_refused() {
        let zip =
            read(&[("composer.json", MANIFEST), ("bin/x", b""), (".git/HEAD", b"x"), ("vendor/a/b", b"")]).unwrap();
        let rules: Vec<&str> = zip.notes.iter().map(|note| note.location.as_str()).collect();
        assert_eq!(rules, [".git", "vendor"]);
    }

    #[test]
    fn every_dangerous_zip_is_refused() {
        for case in zip_cases(&[("composer.json", MANIFEST), ("bin/x", b"x")]) {
            let outcome = read_zip(&mut case.bytes.as_slice(), LIMITS);
            match (case.verdict, outcome) {
                // It stays inside, which is nobody's danger here.
                (_, Ok(_)) if case.name == "symlink" => {}
                (Verdict::Refused(rule), outcome) => {
                    assert_eq!(outcome.map(|_| ()).unwrap_err().rule, rule, "{}", case.name);
                }
                // Paths that differ only in case are noted elsewhere and refused here.
                (_, Err(error)) => assert_eq!(error.rule, "ARC-Z3", "{}: {error}", case.name),
                (_, Ok(_)) => {}
            }
        }
    }
}

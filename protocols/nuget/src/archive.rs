//! Packages as files: `.nupkg`, and `.snupkg` with symbols. Both are zips with one nuspec in their root.
//!
//! Framing, paths, links and bombs are the walker's business (nuget.md §7); this module adds what makes the zip a
//! package. Everything streams.

use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
    io::Read,
    time::Duration,
};

use percent_encoding::percent_decode_str;
use publaryn_core::{ArtifactKind, Timestamp, finding::Finding};
use publaryn_protocol::strict_xml;
use publaryn_registry::Limits;
use publaryn_scan::{ArchiveEntry, ArchiveError, ArchiveRules, DuplicateRule, EntryKind, RootRule, walk_zip};
use serde::{Deserialize, Serialize};

use crate::{
    nuspec::{License, Nuspec},
    portable_pdb,
};

pub(crate) const RULE: &str = "META-NUSPEC";
const RELS_RULE: &str = "META-RELS";
const FILES_RULE: &str = "META-FILES";

/// Largest nuspec, and largest list of relationships, in bytes (nuget.md §7).
pub const MAX_NUSPEC_BYTES: u64 = 1 << 20;
/// Largest icon, in bytes (nuget.md §7).
pub const MAX_ICON_BYTES: u64 = 1 << 20;
/// The part of a readme that is kept with the package.
const MAX_README_BYTES: u64 = 64 << 10;
/// Largest symbol file whose id is looked for, in bytes.
pub const MAX_PDB_BYTES: u64 = 64 << 20;
/// Most files and directories, whatever the operator allows other archives (nuget.md §7).
pub const MAX_ENTRIES: u64 = 65_535;
/// Unpacked bytes allowed per byte of the upload limit, and the ratio allowed (nuget.md §7).
pub const UNPACKED_PER_LIMIT: u64 = 10;
pub const MAX_RATIO: u64 = 200;
/// How far ahead the dates inside may be: they are of the packer's time zone, and its clock.
const AHEAD: Duration = Duration::from_secs(86_400);
/// Most symbol files of a package that can be looked up.
const MAX_PDBS: usize = 1_000;

/// Bounds of one archive.
#[derive(Debug, Clone, Copy)]
pub struct ArchiveLimits {
    pub max_entries: u64,
    pub max_unpacked_bytes: u64,
    pub max_ratio: u64,
    /// Entries that are dated later are refused.
    pub latest: Option<Timestamp>,
}

impl ArchiveLimits {
    /// What the operator allows archives, for files of this kind.
    pub fn within(limits: &Limits, kind: ArtifactKind, now: Timestamp) -> Self {
        Self {
            max_entries: limits.max_entries.min(MAX_ENTRIES),
            max_unpacked_bytes: limits.max_unpacked.min(limits.of(kind).saturating_mul(UNPACKED_PER_LIMIT)),
            max_ratio: limits.max_ratio.min(MAX_RATIO),
            latest: Some(now + AHEAD),
        }
    }
}

/// A file inside the package that is served by itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    pub path: String,
    /// Where the zip's entry begins.
    pub offset: u64,
}

/// Files inside the package that the nuspec names.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Embedded {
    pub readme: Option<Place>,
    pub icon: Option<Place>,
    pub license: Option<Place>,
}

/// A symbol file that debuggers can ask for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pdb {
    /// `acme.lib.pdb/0123…effffffff`: what debuggers ask for, in lower case.
    pub key: String,
    #[serde(flatten)]
    pub place: Place,
}

/// A package whose form is sound.
#[derive(Debug, Clone)]
pub struct Package {
    /// Where the nuspec lies.
    pub manifest: Place,
    pub nuspec: Nuspec,
    pub embedded: Embedded,
    pub readme: Option<String>,
    pub pdbs: Vec<Pdb>,
    /// Files that run while packages are installed or projects are built, at most [`MAX_HOOKS`].
    pub hooks: Vec<String>,
    pub notes: Vec<Finding>,
}

const MAX_HOOKS: usize = 50;

/// Reads a package as it streams by.
///
/// # Errors
/// The first rule broken; nothing about the archive may be believed then.
pub fn read_package(input: &mut dyn Read, limits: ArchiveLimits) -> Result<Package, ArchiveError> {
    let rules = ArchiveRules {
        duplicates: DuplicateRule::CaseInsensitive,
        max_entries: limits.max_entries,
        max_unpacked_bytes: limits.max_unpacked_bytes,
        max_ratio: limits.max_ratio,
        latest: limits.latest,
        ..ArchiveRules::new(RootRule::Any)
    };
    let mut seen = Seen::default();
    let summary = walk_zip(input, &rules, &mut |entry| seen.entry(entry))?;
    seen.finish(summary.notes)
}

/// Reads the file that begins at the start of `input`, the rest of a zip from its entry on.
///
/// # Errors
/// When it is larger than `max_bytes`, or not what begins there.
pub fn read_entry(input: &mut dyn Read, place: &Place, max_bytes: u64) -> Result<Vec<u8>, ArchiveError> {
    let mut found = None;
    let rules = ArchiveRules { nested_depth: 0, ..ArchiveRules::new(RootRule::Any) };
    let walked = walk_zip(input, &rules, &mut |mut entry| {
        if plain(entry.path) == plain(&place.path) {
            found = Some(entry.read_to_vec(max_bytes)?);
        }
        // The whole archive was walked when it came in; nothing behind the entry matters now.
        Err(refuse(RULE, None, "seen"))
    });
    match (found, walked) {
        (Some(bytes), _) => Ok(bytes),
        (None, Err(error)) => Err(error),
        (None, Ok(_)) => Err(refuse(RULE, Some(&place.path), "the entry is not there")),
    }
}

#[derive(Default)]
struct Seen {
    nuspec: Option<(Place, Nuspec)>,
    manifest_target: Option<String>,
    readme: Option<String>,
    icon: Option<Vec<u8>>,
    pdbs: Vec<Pdb>,
    hooks: Vec<String>,
    strange: Option<String>,
    files: Files,
}

/// Where files lie by the keyed hash of their path, in constant memory per file. Packages escape paths as URLs do,
/// and manifests are written on file systems that know no case.
#[derive(Default)]
struct Files {
    key: RandomState,
    places: HashMap<u64, u64>,
}

impl Files {
    fn key(&self, path: &str) -> u64 {
        self.key.hash_one(plain(path))
    }
    fn insert(&mut self, path: &str, offset: u64) {
        self.places.insert(self.key(path), offset);
    }
}

/// A path without escapes and case.
fn plain(path: &str) -> String {
    percent_decode_str(path).decode_utf8_lossy().trim_start_matches('/').to_lowercase()
}

impl Seen {
    fn entry(&mut self, mut entry: ArchiveEntry<'_>) -> Result<(), ArchiveError> {
        if entry.kind != EntryKind::File {
            return Ok(());
        }
        let path = entry.path;
        let lower = path.to_ascii_lowercase();
        self.files.insert(path, entry.offset.unwrap_or_default());
        if !lower.contains('/') && lower.ends_with(".nuspec") {
            return self.read_nuspec(entry);
        }
        if lower == "_rels/.rels" {
            let bytes = entry.read_to_vec(MAX_NUSPEC_BYTES)?;
            self.manifest_target = manifest_target(&bytes).map_err(|fault| refuse(RELS_RULE, Some(path), fault))?;
            return Ok(());
        }
        if is_hook(&lower) && self.hooks.len() < MAX_HOOKS {
            self.hooks.push(path.to_owned());
        }
        if !is_part_of_symbols(&lower) && self.strange.is_none() {
            self.strange = Some(path.to_owned());
        }
        // Only those of symbol packages can be asked for.
        let may_be_symbols = self.nuspec.as_ref().is_none_or(|(_, nuspec)| nuspec.is_symbols());
        if lower.ends_with(".pdb") && may_be_symbols && self.pdbs.len() < MAX_PDBS {
            return self.read_pdb(entry);
        }
        let (readme, icon) = match &self.nuspec {
            Some((_, nuspec)) => (nuspec.readme.as_deref(), nuspec.icon.as_deref()),
            None => (None, None),
        };
        let is = |wanted: Option<&str>| wanted.is_some_and(|wanted| plain(wanted) == plain(path));
        if is(readme) {
            let mut bytes = Vec::new();
            Read::take(&mut *entry.data, MAX_README_BYTES).read_to_end(&mut bytes)?;
            self.readme = Some(String::from_utf8_lossy(&bytes).trim_end_matches('\u{fffd}').to_owned());
        } else if is(icon) {
            self.icon = Some(entry.read_to_vec(MAX_ICON_BYTES)?);
        }
        Ok(())
    }

    fn read_nuspec(&mut self, mut entry: ArchiveEntry<'_>) -> Result<(), ArchiveError> {
        if let Some((other, _)) = &self.nuspec {
            let message = format!("there are two nuspecs in the root: {} and {}", other.path, entry.path);
            return Err(refuse(RULE, Some(entry.path), message));
        }
        let bytes = entry.read_to_vec(MAX_NUSPEC_BYTES)?;
        let nuspec = Nuspec::parse(&bytes).map_err(|fault| refuse(RULE, Some(entry.path), fault))?;
        if std::str::from_utf8(&bytes).is_err() {
            return Err(refuse(RULE, Some(entry.path), "the nuspec is not utf-8"));
        }
        let place = Place { path: entry.path.to_owned(), offset: entry.offset.unwrap_or_default() };
        self.nuspec = Some((place, nuspec));
        Ok(())
    }

    fn read_pdb(&mut self, mut entry: ArchiveEntry<'_>) -> Result<(), ArchiveError> {
        if entry.size.is_some_and(|size| size > MAX_PDB_BYTES) {
            return Ok(());
        }
        let bytes = entry.read_to_vec(MAX_PDB_BYTES)?;
        if let Some(id) = portable_pdb::id(&bytes) {
            let file = entry.path.rsplit('/').next().unwrap_or(entry.path).to_ascii_lowercase();
            let place = Place { path: entry.path.to_owned(), offset: entry.offset.unwrap_or_default() };
            self.pdbs.push(Pdb { key: format!("{file}/{id}"), place });
        }
        Ok(())
    }

    fn finish(self, notes: Vec<Finding>) -> Result<Package, ArchiveError> {
        let Some((manifest, nuspec)) = self.nuspec else {
            return Err(refuse(RULE, None, "there is no nuspec in the root"));
        };
        if let Some(target) = &self.manifest_target
            && plain(target) != plain(&manifest.path)
        {
            let message = format!("_rels/.rels names another manifest than {}", manifest.path);
            return Err(refuse(RELS_RULE, Some("_rels/.rels"), message));
        }
        if nuspec.is_symbols()
            && let Some(path) = &self.strange
        {
            return Err(refuse(FILES_RULE, Some(path), format!("a symbol package holds symbols only, found: {path}")));
        }
        let place = |what: &str, path: Option<&str>| {
            let Some(path) = path.filter(|_| !nuspec.is_symbols()) else { return Ok(None) };
            match self.files.places.get(&self.files.key(path)) {
                Some(offset) => Ok(Some(Place { path: path.to_owned(), offset: *offset })),
                None => {
                    let shown: String = path.chars().filter(|c| !c.is_control()).take(100).collect();
                    Err(refuse(FILES_RULE, None, format!("the {what} is not in the package: {shown}")))
                }
            }
        };
        let license = match &nuspec.license {
            Some(License::File(path)) => Some(path.as_str()),
            _ => None,
        };
        let embedded = Embedded {
            readme: place("readme", nuspec.readme.as_deref())?,
            icon: place("icon", nuspec.icon.as_deref())?,
            license: place("license", license)?,
        };
        if self.icon.as_deref().is_some_and(|bytes| image_type(bytes).is_none()) {
            return Err(refuse(FILES_RULE, nuspec.icon.as_deref(), "the icon is neither png nor jpeg"));
        }
        let readme = self.readme.filter(|text| !text.trim().is_empty());
        let (pdbs, hooks) = (self.pdbs, self.hooks);
        Ok(Package { manifest, nuspec, embedded, readme, pdbs, hooks, notes })
    }
}

/// The media type of an icon; other formats are not served.
pub fn image_type(bytes: &[u8]) -> Option<&'static str> {
    if bytes.starts_with(b"\x89PNG\r\n\x1a\n") {
        Some("image/png")
    } else if bytes.starts_with(b"\xff\xd8\xff") {
        Some("image/jpeg")
    } else {
        None
    }
}

/// The manifest that the list of relationships names.
fn manifest_target(bytes: &[u8]) -> Result<Option<String>, String> {
    let cannot = |fault: strict_xml::XmlFault| format!("_rels/.rels cannot be read: {fault}");
    let text = strict_xml::decode(bytes).map_err(cannot)?;
    let document = strict_xml::parse(&text).map_err(cannot)?;
    let mut found = strict_xml::children(document.root_element(), "Relationship")
        .filter(|node| node.attribute("Type").is_some_and(|kind| kind.ends_with("/packaging/2010/07/manifest")))
        .map(|node| node.attribute("Target").unwrap_or_default().to_owned());
    let target = found.next();
    if found.next().is_some() {
        return Err("_rels/.rels names two manifests".into());
    }
    Ok(target)
}

/// Scripts that older clients run, and project files that every build includes (scanning.md §3c, reach I).
fn is_hook(lower: &str) -> bool {
    let name = lower.rsplit('/').next().unwrap_or(lower);
    let in_tools = lower.starts_with("tools/") && matches!(name, "init.ps1" | "install.ps1" | "uninstall.ps1");
    let in_build = ["build/", "buildtransitive/", "buildmultitargeting/"].iter().any(|dir| lower.starts_with(dir));
    in_tools || (in_build && (name.ends_with(".props") || name.ends_with(".targets")))
}

/// What a `.snupkg` may hold (nuget.md §4).
fn is_part_of_symbols(lower: &str) -> bool {
    [".pdb", ".nuspec", ".xml", ".psmdcp", ".rels", ".p7s"].iter().any(|ending| lower.ends_with(ending))
}

fn refuse(rule: &'static str, path: Option<&str>, message: impl Into<String>) -> ArchiveError {
    ArchiveError::refuse(rule, path, message)
}

#[cfg(test)]
pub(crate) mod tests {
    use publaryn_scan::corpus::{Verdict, ZipBuilder, zip_cases};

    use super::*;

    pub const LIMITS: ArchiveLimits =
        ArchiveLimits { max_entries: 1000, max_unpacked_bytes: 256 << 20, max_ratio: MAX_RATIO, latest: None };
    const PNG: &[u8] = b"\x89PNG\r\n\x1a\nrest";

    pub fn nuspec(inner: &str) -> String {
        format!(
            "<package><metadata><id>Acme.Lib</id><version>1.0</version><authors>x</authors><description>y</description>{inner}</metadata></package>"
        )
    }

    fn read(files: &[(&str, &[u8])]) -> Result<Package, ArchiveError> {
        let zip = files.iter().fold(ZipBuilder::new(), |zip, (path, data)| zip.file(path, data)).finish();
        read_package(&mut zip.as_slice(), LIMITS)
    }

    #[test]
    fn the_nuspec_and_what_it_names_are_found_and_read_again_where_they_lie() {
        let manifest =
            nuspec(r"<readme>docs\READ ME.md</readme><icon>icon.png</icon><license type='file'>LICENSE.txt</license>");
        let files: [(&str, &[u8]); 6] = [
            ("Acme.Lib.nuspec", manifest.as_bytes()),
            ("lib/netstandard2.0/Acme.Lib.dll", &[7; 5000]),
            ("docs/READ%20ME.md", b"# hello"),
            ("icon.png", PNG),
            ("LICENSE.txt", b"do what you like"),
            ("tools/init.ps1", b"x"),
        ];
        let zip = files.iter().fold(ZipBuilder::new(), |zip, (path, data)| zip.file(path, data)).finish();
        let package = read_package(&mut zip.as_slice(), LIMITS).unwrap();
        assert_eq!(package.readme.as_deref(), Some("# hello"));
        assert_eq!(package.hooks, ["tools/init.ps1"]);
        let icon = package.embedded.icon.unwrap();
        assert_eq!(read_entry(&mut &zip[icon.offset as usize..], &icon, 100).unwrap(), PNG);
        let license = package.embedded.license.unwrap();
        assert_eq!(read_entry(&mut &zip[license.offset as usize..], &license, 100).unwrap(), b"do what you like");
        assert!(read_entry(&mut &zip[license.offset as usize..], &license, 5).is_err());
        assert!(read_entry(&mut zip.as_slice(), &license, 100).is_err(), "something else begins there");
    }

    #[test]
    fn what_makes_no_package_is_refused() {
        let plain = nuspec("");
        let plain = plain.as_bytes();
        let rels = |target: &str| {
            format!(
                "<Relationships><Relationship Type='http://schemas.microsoft.com/packaging/2010/07/manifest' Target='{target}'/></Relationships>"
            )
        };
        let (right, wrong) = (rels("/A.nuspec"), rels("/sub/B.nuspec"));
        let icon = nuspec("<icon>a.png</icon>");
        let symbols = nuspec("<packageTypes><packageType name='SymbolsPackage'/></packageTypes>");
        assert!(read(&[("A.nuspec", plain), ("_rels/.rels", right.as_bytes()), ("sub/B.nuspec", b"x")]).is_ok());
        for (files, wanted) in [
            (&[("a.txt", &b"x"[..])][..], "no nuspec"),
            (&[("sub/A.nuspec", plain)], "no nuspec"),
            (&[("A.nuspec", plain), ("B.NuSpec", plain)], "two nuspecs"),
            (&[("A.nuspec", plain), ("_rels/.rels", wrong.as_bytes())], "another manifest"),
            (&[("A.nuspec", plain), ("_rels/.rels", b"<")], "cannot be read"),
            (&[("A.nuspec", icon.as_bytes())], "icon is not in the package"),
            (&[("A.nuspec", icon.as_bytes()), ("a.png", b"GIF89a")], "neither png nor jpeg"),
            (&[("A.nuspec", symbols.as_bytes()), ("lib/a.dll", b"x")], "symbols only"),
            (&[("A.nuspec", b"nonsense")], "cannot be read"),
        ] {
            let error = read(files).unwrap_err();
            assert!(error.message.contains(wanted), "{error}");
        }
        assert!(read(&[("A.nuspec", symbols.as_bytes()), ("lib/a.pdb", b"x"), ("a.p7s", b"")]).is_ok());
    }

    #[test]
    fn every_dangerous_zip_is_refused() {
        let manifest = nuspec("");
        for case in zip_cases(&[("Acme.Lib.nuspec", manifest.as_bytes())]) {
            let limits = ArchiveLimits { max_ratio: 50, ..LIMITS };
            match (case.verdict, read_package(&mut case.bytes.as_slice(), limits)) {
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

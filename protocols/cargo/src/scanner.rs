//! Compares what resolution goes by (the index line) with what compilation goes by (the manifest).
//!
//! The line is made from client-written JSON; when it differs from the packed `Cargo.toml`, a
//! reviewer of the source sees other dependencies than the ones a build pulls in.

use std::collections::{BTreeMap, BTreeSet};

use publaryn_core::{
    ArtifactKind, Ecosystem,
    finding::{Category, Severity},
};
use publaryn_scan::{Findings, ScanError, ScanInput, ScanJob, Scanner};

use crate::{
    archive::{ArchiveLimits, MAX_ENTRIES, read_crate},
    manifest::{Manifest, ManifestDependency},
    own_index::OwnIndexes,
    release::{CrateRelease, Dependency, DependencyKind, PUBLIC_INDEX, PUBLIC_SPARSE_INDEX},
};

/// Looser than at upload, where the operator's limits were applied to the same bytes.
const LIMITS: ArchiveLimits = ArchiveLimits { max_entries: MAX_ENTRIES, max_unpacked_bytes: 8 << 30, max_ratio: 1000 };

/// Agreement of the index line with the archive.
pub struct CrateMetadata;

impl Scanner for CrateMetadata {
    fn id(&self) -> &'static str {
        "cargo-metadata"
    }
    fn version(&self) -> u32 {
        1
    }
    fn applies(&self, job: &ScanJob) -> bool {
        job.ecosystem == Ecosystem::Cargo && job.artifact.kind == ArtifactKind::Crate
    }
    fn scan(&self, job: &ScanJob, input: &dyn ScanInput, out: &mut Findings) -> Result<(), ScanError> {
        let release: CrateRelease =
            serde_json::from_value(job.metadata.clone()).map_err(|error| ScanError::Other(error.into()))?;
        let archive = read_crate(&mut *input.open()?, &release.name, &release.vers, LIMITS)?;
        out.extend(archive.summary.notes);
        compare(&release, &archive.manifest, out);
        Ok(())
    }
}

/// Reports every way in which the line differs from the manifest.
fn compare(release: &CrateRelease, manifest: &Manifest, out: &mut Findings) {
    compare_dependencies(release, manifest, out);
    let line: BTreeMap<&str, BTreeSet<&str>> = release
        .features
        .iter()
        .map(|(name, values)| (name.as_str(), values.iter().map(String::as_str).collect()))
        .collect();
    let packed: BTreeMap<&str, BTreeSet<&str>> = manifest
        .features
        .iter()
        .map(|(name, values)| (name.as_str(), values.iter().map(String::as_str).collect()))
        .collect();
    let names: BTreeSet<&str> = line.keys().chain(packed.keys()).copied().collect();
    for name in names.into_iter().filter(|name| line.get(name) != packed.get(name)) {
        mismatch(out, "META-FEATURES", format!("feature `{name}` differs between index and manifest"));
    }
    if release.sent.links.is_some() && release.sent.links != manifest.links {
        mismatch(out, "META-LINKS", "`links` differs between publish request and manifest".into());
    }
    if release.sent.rust_version.is_some() && release.sent.rust_version != manifest.rust_version {
        mismatch(out, "META-RUST-VERSION", "`rust-version` differs between publish request and manifest".into());
    }
    let trimmed = |text: &Option<String>| text.as_deref().map(str::trim).filter(|t| !t.is_empty()).map(str::to_owned);
    let about = &release.description;
    for (what, sent, packed) in [
        ("description", &about.description, &manifest.about.description),
        ("license", &about.license, &manifest.about.license),
    ] {
        if trimmed(sent) != trimmed(packed) {
            let title = format!("`{what}` differs between publish request and manifest");
            out.add("META-ABOUT", Category::MetadataMismatch, Severity::Low, title, "Cargo.toml");
        }
    }
}

fn mismatch(out: &mut Findings, rule: &str, title: String) {
    out.add(rule, Category::MetadataMismatch, Severity::High, title, "Cargo.toml");
}

/// A dependency is identified by when, where and under which name it is used.
type Key = (DependencyKind, Option<String>, String);

fn compare_dependencies(release: &CrateRelease, manifest: &Manifest, out: &mut Findings) {
    let own = OwnIndexes::new(release.own_bases.iter().map(String::as_str));
    let mut line: BTreeMap<Key, &Dependency> = BTreeMap::new();
    for dep in &release.deps {
        let key = (dep.kind, dep.target.as_deref().map(folded_target), dep.name.clone());
        if line.insert(key, dep).is_some() {
            mismatch(out, "META-DEPS", format!("dependency `{}` is listed twice in the index", dep.name));
        }
    }
    for packed in &manifest.deps {
        let key = (packed.kind, packed.target.as_deref().map(folded_target), packed.name.clone());
        let Some(listed) = line.remove(&key) else {
            // Cargo leaves development dependencies without a version out of the request.
            if packed.kind != DependencyKind::Dev || packed.req.is_some() {
                mismatch(out, "META-DEPS", format!("{} is missing from the index", named(&key)));
            }
            continue;
        };
        if let Some(difference) = difference(listed, packed) {
            mismatch(out, "META-DEPS", format!("{}: {difference} differs between index and manifest", named(&key)));
        }
        compare_registry(listed, packed, &own, &key, out);
    }
    for key in line.keys() {
        mismatch(out, "META-DEPS", format!("{} is missing from the manifest", named(key)));
    }
}

fn named((kind, target, name): &Key) -> String {
    let target = target.as_deref().map(|t| format!(" for `{t}`")).unwrap_or_default();
    format!("{} dependency `{name}`{target}", kind.as_str())
}

/// The first facet in which the two differ.
fn difference(listed: &Dependency, packed: &ManifestDependency) -> Option<&'static str> {
    let features: BTreeSet<&str> = listed.features.iter().map(String::as_str).collect();
    let packed_features: BTreeSet<&str> = packed.features.iter().map(String::as_str).collect();
    let package = packed.package.as_deref().unwrap_or(&packed.name);
    match () {
        () if listed.crate_name() != package => Some("the crate"),
        () if folded_req(&listed.req) != folded_req(packed.req.as_deref().unwrap_or("*")) => {
            Some("the version requirement")
        }
        () if features != packed_features => Some("the feature list"),
        () if listed.optional != packed.optional => Some("`optional`"),
        () if listed.default_features != packed.default_features => Some("`default-features`"),
        () => None,
    }
}

/// No index in the manifest means the public registry; none in the line means this one.
fn compare_registry(listed: &Dependency, packed: &ManifestDependency, own: &OwnIndexes, key: &Key, out: &mut Findings) {
    let packed_index = packed.registry_index.as_deref().map(folded_index);
    let listed_index = listed.registry.as_deref().map(folded_index);
    match (listed_index, packed_index) {
        // A named registry is one of the author's own configuration; there is nothing to compare.
        _ if packed.has_named_registry && packed.registry_index.is_none() => {}
        (None, Some(_)) if packed.registry_index.as_deref().is_some_and(|url| own.contains(url)) => {}
        (Some(listed), Some(packed)) if listed == packed => {}
        (Some(listed), None) if listed == PUBLIC_INDEX => {}
        // Mirrors publish archives of the public registry unchanged, so this one is common and only noted.
        (None, None) => {
            let title = format!("{}: the manifest means the public registry, the index this one", named(key));
            out.add("META-REGISTRY", Category::MetadataMismatch, Severity::Low, title, "Cargo.toml");
        }
        _ => mismatch(out, "META-REGISTRY", format!("{}: the registry differs between index and manifest", named(key))),
    }
}

/// Both addresses of the public registry are one, and a trailing slash changes nothing.
fn folded_index(url: &str) -> &str {
    let is_public =
        [PUBLIC_INDEX, PUBLIC_SPARSE_INDEX].iter().any(|p| p.trim_end_matches('/') == url.trim_end_matches('/'));
    if is_public { PUBLIC_INDEX } else { url.trim_end_matches('/') }
}

/// Cargo prints requirements in its own way (`1` becomes `^1`).
fn folded_req(req: &str) -> String {
    semver::VersionReq::parse(req).map_or_else(|_| req.trim().to_owned(), |parsed| parsed.to_string())
}

/// Cargo prints `cfg` expressions in its own way: spaces outside strings and trailing commas do not count.
fn folded_target(target: &str) -> String {
    let mut folded = String::with_capacity(target.len());
    let mut is_quoted = false;
    for c in target.chars() {
        is_quoted ^= c == '"';
        while c == ')' && !is_quoted && folded.ends_with(',') {
            folded.pop();
        }
        if is_quoted || !c.is_whitespace() {
            folded.push(c);
        }
    }
    folded
}

#[cfg(test)]
mod tests;

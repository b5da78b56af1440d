//! The document this adapter stores with each release: all that rendering needs besides the rows.
//!
//! It is made once, when the release is published, so that a packument of a thousand versions is put
//! together from finished pieces without parsing them.

use publaryn_core::publish::{PackageFacts, REQUIRES};
use publaryn_protocol::KeptRelease;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json, value::RawValue};

use crate::{name::is_possible, packument::integrity};

/// What the inspection of a tarball says beyond its digests.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArchiveFacts {
    /// Regular files in the archive.
    pub file_count: u64,
    /// Sum of the sizes of all entries, in bytes.
    pub unpacked_size: u64,
    /// A `binding.gyp` lies at the root: npm then builds the package when it is installed.
    pub has_binding_gyp: bool,
}

/// One registry signature over `name@version:integrity`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signature {
    pub keyid: String,
    /// Base64 of the DER-encoded ECDSA signature.
    pub sig: String,
}

/// Members of a published manifest that the registry answers for itself.
const SERVER_KEYS: &[&str] = &[
    "_id",
    "_rev",
    "_attachments",
    "_npmUser",
    "maintainers",
    "dist",
    "deprecated",
    "hasInstallScript",
    "readme",
    "readmeFilename",
    // `bun publish` leaves these two at the top level.
    "integrity",
    "shasum",
];

/// Members of a version in the abbreviated packument, in order (npm.md §3). `deprecated`, `dist` and
/// `hasInstallScript` are added when it is rendered.
const ABBREVIATED_KEYS: &[&str] = &[
    "name",
    "version",
    "dependencies",
    "optionalDependencies",
    "devDependencies",
    "bundleDependencies",
    "bundledDependencies",
    "peerDependencies",
    "peerDependenciesMeta",
    "acceptDependencies",
    "bin",
    "directories",
    "engines",
    "cpu",
    "os",
    "libc",
    "funding",
    "_hasShrinkwrap",
];

/// Longest readme kept and served, in bytes (npm.md §3).
pub const MAX_README_BYTES: usize = 64 << 10;

/// Builds the release document from the manifest of a publish body.
pub fn document(
    manifest: &Map<String, Value>,
    archive: ArchiveFacts,
    readme_filename: Option<&str>,
    signatures: &[Signature],
    provenance: Option<&str>,
) -> Value {
    let kept: Map<String, Value> = manifest
        .iter()
        .filter(|(key, _)| !SERVER_KEYS.contains(&key.as_str()))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    let abbreviated: Map<String, Value> = ABBREVIATED_KEYS
        .iter()
        .filter_map(|key| kept.get(*key).map(|value| ((*key).to_owned(), value.clone())))
        .collect();
    let has_install_script = has_install_script(&kept, archive.has_binding_gyp);
    let mut document = serde_json::json!({
        "manifest": kept,
        "abbreviated": abbreviated,
        "has_install_script": has_install_script,
        "archive": archive,
        "readme_filename": readme_filename,
        "signatures": signatures,
        REQUIRES: requires(manifest),
    });
    if let Some(bundle) = provenance {
        // Kept as it came and marked: nobody has verified it (npm.md §7).
        document["provenance"] = serde_json::json!({ "verified": false, "bundle": bundle });
    }
    document
}

/// The packages an installation of this one fetches, by name in the registry.
fn requires(manifest: &Map<String, Value>) -> Vec<&str> {
    let named = ["dependencies", "optionalDependencies", "peerDependencies"];
    let mut names: Vec<&str> = named
        .into_iter()
        .filter_map(|key| manifest.get(key).and_then(Value::as_object))
        .flatten()
        .map(|(name, range)| match range.as_str().and_then(|range| range.trim().strip_prefix("npm:")) {
            // An alias: the name that counts stands in the range, before its last `@`.
            Some(target) => target.get(1..).and_then(|t| t.rfind('@')).map_or(target, |at| &target[..=at]),
            None => name.as_str(),
        })
        .filter(|name| is_possible(name))
        .collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// Whether installing the package runs something: its own scripts, or the implied `node-gyp rebuild`.
pub fn has_install_script(manifest: &Map<String, Value>, has_binding_gyp: bool) -> bool {
    let script = |name: &str| {
        manifest.get("scripts").and_then(|s| s.get(name)).and_then(Value::as_str).is_some_and(|s| !s.trim().is_empty())
    };
    let own = ["preinstall", "install", "postinstall"].into_iter().any(script);
    own || (has_binding_gyp && manifest.get("gypfile") != Some(&Value::Bool(false)))
}

/// Package-level facts as the manifest and readme state them.
pub fn package_facts(manifest: &Map<String, Value>, readme: Option<&str>) -> PackageFacts {
    let text = |value: Option<&Value>| {
        value.and_then(Value::as_str).map(str::trim).filter(|t| !t.is_empty()).map(str::to_owned)
    };
    let text_or_url = |value: Option<&Value>| text(value).or_else(|| text(value.and_then(|v| v.get("url"))));
    let license = match manifest.get("license").or_else(|| manifest.get("licenses")) {
        Some(Value::Array(all)) => {
            let names: Vec<String> = all.iter().filter_map(|l| text(Some(l)).or_else(|| text(l.get("type")))).collect();
            (!names.is_empty()).then(|| names.join(" OR "))
        }
        other => text(other).or_else(|| text(other.and_then(|l| l.get("type")))),
    };
    let keywords = match manifest.get("keywords") {
        Some(Value::Array(words)) => words.iter().filter_map(|w| text(Some(w))).collect(),
        Some(Value::String(words)) => {
            words.split([',', ' ']).map(str::trim).filter(|w| !w.is_empty()).map(str::to_owned).collect()
        }
        _ => Vec::new(),
    };
    PackageFacts {
        description: text(manifest.get("description")),
        homepage: text_or_url(manifest.get("homepage")),
        repository_url: text_or_url(manifest.get("repository")),
        license,
        keywords,
        readme: readme.filter(|r| !r.is_empty()).map(|r| cut(r, MAX_README_BYTES).to_owned()),
    }
}

/// The longest prefix of at most `max_bytes` that ends between characters.
pub fn cut(text: &str, max_bytes: usize) -> &str {
    &text[..text.floor_char_boundary(max_bytes)]
}

/// A stored release document, borrowed piecewise from its text.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Stored<'a> {
    #[serde(borrow, default)]
    pub manifest: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub abbreviated: Option<&'a RawValue>,
    #[serde(default)]
    pub has_install_script: bool,
    #[serde(default)]
    pub archive: Option<ArchiveFacts>,
    #[serde(borrow, default)]
    pub readme_filename: Option<std::borrow::Cow<'a, str>>,
    #[serde(default)]
    pub signatures: Vec<Signature>,
}

impl<'a> Stored<'a> {
    /// Reads the document of a release. One that another door wrote may lack everything; the release
    /// is then shown with its name and version only.
    pub fn read(metadata: &'a str) -> Self {
        serde_json::from_str(metadata).unwrap_or_default()
    }
}

/// Members of a `package.json` that the management API shows.
const SHOWN: [&str; 10] = [
    "dependencies",
    "devDependencies",
    "peerDependencies",
    "optionalDependencies",
    "bundledDependencies",
    "engines",
    "bin",
    "scripts",
    "os",
    "cpu",
];

/// The manifest as the management API shows it.
pub(crate) fn details(release: &KeptRelease<'_>) -> Value {
    let manifest = release.document.get("manifest").and_then(Value::as_object);
    let shown = manifest.into_iter().flatten().filter(|(name, _)| SHOWN.contains(&name.as_str()));
    let mut shown: Map<String, Value> = shown.map(|(name, value)| (name.clone(), value.clone())).collect();
    if let Some(tarball) = release.files.iter().find(|file| file.filename.ends_with(".tgz")) {
        shown.insert("dist".into(), json!({ "integrity": integrity(tarball.sha512) }));
    }
    json!({ "manifest": shown })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(value: Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn the_manifest_keeps_its_order_and_unknown_keys_but_not_what_the_registry_answers_for() {
        let manifest = map(json!({
            "zeta": 1, "name": "a", "version": "1.0.0", "readme": "x", "dist": {"tarball": "http://evil"}, "_id": "a@1",
            "integrity": "x", "peerDependenciesMeta": {"b": {"optional": true}}, "libc": ["glibc"], "bin": {"a": "a.js"},
            "scripts": {"test": "x"}, "custom": {"k": [1]}, "deprecated": "client says", "_nodeVersion": "20"
        }));
        let document = document(&manifest, ArchiveFacts::default(), Some("README.md"), &[], None);
        let keys: Vec<&str> = document["manifest"].as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(
            keys,
            ["zeta", "name", "version", "peerDependenciesMeta", "libc", "bin", "scripts", "custom", "_nodeVersion"]
        );
        let short: Vec<&str> = document["abbreviated"].as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(short, ["name", "version", "peerDependenciesMeta", "bin", "libc"]);
        assert_eq!(document["has_install_script"], false);
    }

    #[test]
    fn install_scripts_are_own_ones_or_a_native_build() {
        let scripts = |s: Value| map(json!({ "scripts": s }));
        assert!(has_install_script(&scripts(json!({"postinstall": "x"})), false));
        assert!(!has_install_script(&scripts(json!({"prepare": "x", "install": " "})), false));
        assert!(has_install_script(&scripts(json!({})), true));
        assert!(!has_install_script(&map(json!({"gypfile": false})), true));
    }

    #[test]
    fn dependencies_are_listed_by_their_name_in_the_registry() {
        let manifest = map(json!({
            "dependencies": {"b": "1", "@s/a": "^1", "alias": "npm:@s/real@^1", "bare": "npm:other", "Bad Name": "1"},
            "optionalDependencies": {"o": "*"}, "peerDependencies": {"b": "1"}, "devDependencies": {"d": "1"},
        }));
        assert_eq!(requires(&manifest), ["@s/a", "@s/real", "b", "o", "other"]);
        assert!(requires(&map(json!({"dependencies": ["b"]}))).is_empty());
    }

    #[test]
    fn facts_come_from_every_spelling_in_use() {
        let facts = package_facts(
            &map(json!({
                "description": " d ", "repository": {"type": "git", "url": "git+https://h/x.git"}, "license": {"type": "MIT"},
                "keywords": "a, b", "homepage": "https://h"
            })),
            Some(&"é".repeat(MAX_README_BYTES)),
        );
        assert_eq!(facts.description.as_deref(), Some("d"));
        assert_eq!(facts.repository_url.as_deref(), Some("git+https://h/x.git"));
        assert_eq!(facts.license.as_deref(), Some("MIT"));
        assert_eq!(facts.keywords, ["a", "b"]);
        assert!(facts.readme.unwrap().len() <= MAX_README_BYTES);
    }

    #[test]
    fn the_management_api_shows_a_part_of_the_manifest_and_the_digest() {
        let document = json!({"manifest": {"name": "x", "dependencies": {"y": "1"}, "_resolved": "z"}});
        let file = publaryn_protocol::KeptFile {
            kind: publaryn_core::ArtifactKind::Tarball,
            filename: "x-1.0.0.tgz",
            sha1: None,
            sha512: "00ff",
        };
        let release = KeptRelease {
            name: "x",
            version: "1.0.0",
            is_yanked: false,
            document: &document,
            files: vec![file],
            base_url: "http://h",
        };
        let shown = json!({"manifest": {"dependencies": {"y": "1"}, "dist": {"integrity": "sha512-AP8="}}});
        assert_eq!(details(&release), shown);
    }
}

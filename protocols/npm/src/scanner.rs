//! The npm scanner: the archive once more with its notes, and whether the manifest that clients resolve
//! from says the same as the `package.json` they install (scanning.md §3b).

use std::collections::{BTreeMap, BTreeSet};

use publaryn_core::{
    ArtifactKind, Ecosystem,
    finding::{Category, Severity},
};
use publaryn_scan::{Findings, ScanError, ScanInput, ScanJob, Scanner};
use serde_json::{Map, Value};

use crate::{
    archive::{ArchiveLimits, Inspection, inspect},
    name::unscoped,
    release::has_install_script,
    version::clean,
};

/// Archives inside archives are listed this deep (scanning.md §3a N).
const NESTED_DEPTH: u8 = 2;

/// Judges npm tarballs.
#[derive(Debug, Clone, Copy, Default)]
pub struct NpmScanner;

impl Scanner for NpmScanner {
    fn id(&self) -> &'static str {
        "npm-package"
    }
    fn version(&self) -> u32 {
        1
    }
    fn applies(&self, job: &ScanJob) -> bool {
        job.ecosystem == Ecosystem::Npm && job.artifact.kind == ArtifactKind::Tarball
    }
    fn scan(&self, job: &ScanJob, input: &dyn ScanInput, out: &mut Findings) -> Result<(), ScanError> {
        let seen = inspect(&mut input.open()?, ArchiveLimits::default(), NESTED_DEPTH)?;
        out.extend(seen.notes.iter().cloned());
        identity(job, &seen, out);
        if let Some(served) = job.metadata.get("manifest").and_then(Value::as_object) {
            agreement(served, &seen, out);
        }
        hooks(&seen, out);
        Ok(())
    }
}

const AT: &str = "package.json";

fn identity(job: &ScanJob, seen: &Inspection, out: &mut Findings) {
    let named = seen.manifest.get("name").and_then(Value::as_str);
    let version = seen.manifest.get("version").and_then(Value::as_str).and_then(clean);
    if named != Some(job.package.as_str()) || version != clean(&job.version) {
        let title = format!("package.json is not that of {}@{}", job.package, job.version);
        out.add("META-IDENTITY", Category::MetadataMismatch, Severity::Critical, title, AT);
    }
}

/// Compares after the clients' own normalisation, so that honest packages agree.
fn agreement(served: &Map<String, Value>, seen: &Inspection, out: &mut Findings) {
    let packed = &seen.manifest;
    let name = packed.get("name").and_then(Value::as_str).unwrap_or_default();
    let mut differs = |what: &str, severity: Severity, is_equal: bool| {
        if !is_equal {
            let title = format!("`{what}` of the published manifest and of package.json differ");
            out.add(&format!("META-{}", what.to_ascii_uppercase()), Category::MetadataMismatch, severity, title, AT);
        }
    };
    let high = Severity::High;
    differs("dependencies", high, dependencies(served) == dependencies(packed));
    differs(
        "optionalDependencies",
        high,
        ranges(served, "optionalDependencies") == ranges(packed, "optionalDependencies"),
    );
    differs("peerDependencies", high, ranges(served, "peerDependencies") == ranges(packed, "peerDependencies"));
    differs(
        "peerDependenciesMeta",
        high,
        plain_map(served, "peerDependenciesMeta") == plain_map(packed, "peerDependenciesMeta"),
    );
    differs("bundleDependencies", high, bundled(served) == bundled(packed));
    differs("bin", high, bin_agrees(served, seen, name));
    let has_gyp = seen.facts.has_binding_gyp;
    differs("scripts", high, install_scripts(served, has_gyp) == install_scripts(packed, has_gyp));
    for key in ["os", "cpu", "libc"] {
        differs(key, high, words(served.get(key)) == words(packed.get(key)));
    }
    differs("engines", high, ranges(served, "engines") == ranges(packed, "engines"));
    for key in ["description", "license"] {
        differs(key, Severity::Low, text(served.get(key)) == text(packed.get(key)));
    }
    differs("repository", Severity::Low, address(served.get("repository")) == address(packed.get("repository")));
}

/// What runs or comes from elsewhere when the package is installed.
fn hooks(seen: &Inspection, out: &mut Findings) {
    if has_install_script(&seen.manifest, seen.facts.has_binding_gyp) {
        let title = "the package runs a script when it is installed";
        out.add("HOOK-PRESENT", Category::InstallHook, Severity::Info, title, AT);
    }
    for key in ["dependencies", "optionalDependencies"] {
        for (name, range) in ranges(&seen.manifest, key) {
            let severity = match range.split(':').next().unwrap_or_default() {
                "http" => Severity::High,
                "https" | "git" | "git+ssh" | "git+https" | "git+http" | "file" => Severity::Medium,
                _ => continue,
            };
            let title = format!("dependency `{name}` is fetched from outside any registry");
            out.add("HOOK-URLDEP", Category::InstallHook, severity, title, &format!("{AT}#{key}"));
        }
    }
}

/// Name to range, trimmed, the empty range being `*`. Some clients null what they removed.
fn ranges(manifest: &Map<String, Value>, key: &str) -> BTreeMap<String, String> {
    let Some(Value::Object(map)) = manifest.get(key) else { return BTreeMap::new() };
    let range = |value: &Value| match value {
        Value::String(text) => match text.trim() {
            "" => "*".to_owned(),
            text => text.to_owned(),
        },
        other => other.to_string(),
    };
    map.iter().filter(|(_, v)| !v.is_null()).map(|(name, v)| (name.trim().to_owned(), range(v))).collect()
}

/// Some clients copy optional dependencies into `dependencies`, where the optional ones win anyway.
fn dependencies(manifest: &Map<String, Value>) -> BTreeMap<String, String> {
    let optional = ranges(manifest, "optionalDependencies");
    ranges(manifest, "dependencies").into_iter().filter(|(name, _)| !optional.contains_key(name)).collect()
}

fn plain_map<'a>(manifest: &'a Map<String, Value>, key: &str) -> Option<&'a Map<String, Value>> {
    manifest.get(key).and_then(Value::as_object).filter(|map| !map.is_empty())
}

/// Both spellings; `true` means all dependencies.
fn bundled(manifest: &Map<String, Value>) -> BTreeSet<String> {
    match manifest.get("bundleDependencies").or_else(|| manifest.get("bundledDependencies")) {
        Some(Value::Bool(true)) => ranges(manifest, "dependencies").into_keys().collect(),
        Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        Some(Value::Object(names)) => names.keys().cloned().collect(),
        _ => BTreeSet::new(),
    }
}

fn bin_agrees(served: &Map<String, Value>, seen: &Inspection, name: &str) -> bool {
    let (served, packed) = (programs(served.get("bin"), name), programs(seen.manifest.get("bin"), name));
    if served == packed {
        return true;
    }
    // The client lists the folder for packages that only name one.
    packed.is_empty() && !served.is_empty() && served.values().all(|path| seen.bin_files.contains(path))
}

/// As `npm-normalize-package-bin`: one program is called like the package, keys lose their folders, paths
/// are taken from the root.
fn programs(bin: Option<&Value>, name: &str) -> BTreeMap<String, String> {
    let one = |key: &str, path: &str| {
        let key = key.rsplit(['/', '\\', ':']).next().unwrap_or_default();
        (key.to_owned(), lexical(path))
    };
    let entries: Vec<(String, String)> = match bin {
        Some(Value::String(path)) => vec![one(unscoped(name), path)],
        Some(Value::Array(paths)) => paths.iter().filter_map(Value::as_str).map(|path| one(path, path)).collect(),
        Some(Value::Object(map)) => map.iter().filter_map(|(key, path)| Some(one(key, path.as_str()?))).collect(),
        _ => Vec::new(),
    };
    entries.into_iter().filter(|(key, path)| !key.is_empty() && !path.is_empty()).collect()
}

/// The path without `.`, `..` and doubled slashes, never above the root.
fn lexical(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split(['/', '\\']) {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}

/// The scripts that run on installation, the implied native build included.
fn install_scripts(manifest: &Map<String, Value>, has_binding_gyp: bool) -> BTreeMap<&'static str, String> {
    let script = |name: &'static str| {
        let text = manifest.get("scripts").and_then(|s| s.get(name)).and_then(Value::as_str)?.trim();
        (!text.is_empty()).then(|| (name, text.to_owned()))
    };
    let mut own: BTreeMap<_, _> = ["preinstall", "install", "postinstall"].into_iter().filter_map(script).collect();
    let builds = has_binding_gyp && manifest.get("gypfile") != Some(&Value::Bool(false));
    if builds && !own.contains_key("install") && !own.contains_key("preinstall") {
        own.insert("install", "node-gyp rebuild".to_owned());
    }
    own
}

fn words(value: Option<&Value>) -> BTreeSet<&str> {
    match value {
        Some(Value::String(word)) => BTreeSet::from([word.as_str()]),
        Some(Value::Array(all)) => all.iter().filter_map(Value::as_str).collect(),
        _ => BTreeSet::new(),
    }
}

fn text(value: Option<&Value>) -> &str {
    match value {
        Some(Value::Object(map)) => map.get("type").and_then(Value::as_str).unwrap_or_default().trim(),
        other => other.and_then(Value::as_str).unwrap_or_default().trim(),
    }
}

/// Where the source lies, without the forms clients rewrite into each other.
fn address(value: Option<&Value>) -> String {
    let url = match value {
        Some(Value::Object(map)) => map.get("url").and_then(Value::as_str).unwrap_or_default(),
        other => other.and_then(Value::as_str).unwrap_or_default(),
    };
    let url = url.trim().trim_end_matches(".git").replace(':', "/");
    url.rsplit('/').filter(|part| !part.is_empty()).take(2).collect::<Vec<_>>().join("/")
}

#[cfg(test)]
mod tests {
    use publaryn_core::{ArtifactId, Digest, finding::Finding};
    use publaryn_scan::{ScanArtifact, corpus::targz};
    use serde_json::json;

    use super::*;

    fn scan(served: Value, packed: Value, files: &[(&str, &[u8])]) -> Vec<Finding> {
        let package_json = packed.to_string();
        let mut all: Vec<(&str, &[u8])> = vec![("package/package.json", package_json.as_bytes())];
        all.extend(files);
        let bytes = targz(&all);
        let job = ScanJob {
            ecosystem: Ecosystem::Npm,
            package: "@s/lib".into(),
            version: "1.0.0".into(),
            artifact: ScanArtifact {
                id: ArtifactId::new(),
                kind: ArtifactKind::Tarball,
                filename: "lib-1.0.0.tgz".into(),
                sha256: Digest::from_bytes([0; 32]),
                size_bytes: bytes.len() as u64,
            },
            metadata: json!({ "manifest": served }),
        };
        assert!(NpmScanner.applies(&job));
        let mut out = Findings::new();
        NpmScanner.scan(&job, &bytes, &mut out).unwrap();
        out.into_vec()
    }

    fn with(extra: Value) -> Value {
        let mut manifest = json!({"name": "@s/lib", "version": "1.0.0"});
        manifest.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        manifest
    }

    #[test]
    fn what_clients_normalise_is_no_difference() {
        let files: &[(&str, &[u8])] = &[("package/binding.gyp", b"{}"), ("package/bin/x", b"")];
        for (served, packed) in [
            (json!({}), json!({})),
            (json!({"bin": {"lib": "x.js"}}), json!({"bin": "./x.js"})),
            (json!({"bin": {"x": "bin/x"}}), json!({"directories": {"bin": "bin"}})),
            (json!({"dependencies": {"a": "*"}}), json!({"dependencies": {"a": ""}})),
            (
                json!({"dependencies": {"a": "1", "o": "2"}, "optionalDependencies": {"o": "2"}}),
                json!({"dependencies": {"a": " 1 "}, "optionalDependencies": {"o": "2"}}),
            ),
            (
                json!({"bundleDependencies": ["a"], "dependencies": {"a": "1"}}),
                json!({"bundledDependencies": true, "dependencies": {"a": "1"}}),
            ),
            (json!({"scripts": {"install": "node-gyp rebuild"}, "gypfile": true}), json!({})),
            (json!({"os": ["linux"]}), json!({"os": "linux"})),
            (
                json!({"repository": {"type": "git", "url": "git+https://github.example/o/r.git"}}),
                json!({"repository": "github:o/r"}),
            ),
            (json!({"devDependencies": {"x": "1"}, "peerDependencies": {}}), json!({"peerDependenciesMeta": {}})),
        ] {
            let found = scan(with(served.clone()), with(packed), files);
            let mismatches: Vec<&Finding> = found.iter().filter(|f| f.category == Category::MetadataMismatch).collect();
            assert!(mismatches.is_empty(), "{served}: {mismatches:?}");
        }
    }

    #[test]
    fn every_real_difference_is_found() {
        for (key, served, packed) in [
            ("DEPENDENCIES", json!({"dependencies": {"a": "1"}}), json!({"dependencies": {"a": "2"}})),
            ("DEPENDENCIES", json!({}), json!({"dependencies": {"evil": "1"}})),
            ("OPTIONALDEPENDENCIES", json!({"optionalDependencies": {"a": "1"}}), json!({})),
            ("PEERDEPENDENCIES", json!({}), json!({"peerDependencies": {"a": "1"}})),
            ("PEERDEPENDENCIESMETA", json!({}), json!({"peerDependenciesMeta": {"a": {"optional": true}}})),
            ("BUNDLEDEPENDENCIES", json!({}), json!({"bundleDependencies": ["a"]})),
            ("BIN", json!({"bin": {"lib": "x.js"}}), json!({"bin": {"lib": "y.js"}})),
            ("BIN", json!({"bin": {"npm": "x.js"}}), json!({})),
            ("SCRIPTS", json!({}), json!({"scripts": {"postinstall": "x"}})),
            ("OS", json!({"os": ["linux"]}), json!({"os": ["!linux"]})),
            ("ENGINES", json!({}), json!({"engines": {"node": ">99"}})),
        ] {
            let found = scan(with(served), with(packed), &[]);
            let rule = format!("META-{key}");
            assert!(found.iter().any(|f| f.rule_id == rule && f.severity == Severity::High), "{rule}: {found:?}");
        }
        let found = scan(with(json!({"description": "a"})), with(json!({"description": "b"})), &[]);
        assert!(found.iter().any(|f| f.rule_id == "META-DESCRIPTION" && f.severity == Severity::Low));
        let found = scan(with(json!({})), json!({"name": "other", "version": "1.0.0"}), &[]);
        assert!(found.iter().any(|f| f.rule_id == "META-IDENTITY" && f.severity == Severity::Critical));
    }

    #[test]
    fn what_runs_or_comes_from_elsewhere_is_noted() {
        let manifest = with(
            json!({"scripts": {"postinstall": "x"}, "dependencies": {"a": "http://h/x.tgz", "b": "git+ssh://h/x", "c": "npm:d@1"}}),
        );
        let found = scan(manifest.clone(), manifest, &[]);
        let shown: Vec<(&str, Severity)> = found.iter().map(|f| (f.rule_id.as_str(), f.severity)).collect();
        assert_eq!(
            shown,
            [("HOOK-PRESENT", Severity::Info), ("HOOK-URLDEP", Severity::High), ("HOOK-URLDEP", Severity::Medium)]
        );
    }
}

//! `npm audit` and its relatives: which of the installed versions have security findings here.
//!
//! Source of the forms: npm's `@npmcli/metavuln-calculator` and `npm-audit-report`; npm.md §6.

use std::collections::{BTreeMap, BTreeSet};

use http::StatusCode;
use publaryn_core::{Ecosystem, finding::Severity};
use publaryn_registry::Advisory;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::{
    body,
    call::{Answer, Call, ok},
    error::NpmError,
};

/// Largest request, in bytes, and most names in it (npm.md §6).
const MAX_BODY_BYTES: usize = 10 << 20;
const MAX_NAMES: usize = 20_000;
/// Deepest dependency tree that is followed, and most paths reported per advisory.
const MAX_TREE_DEPTH: usize = 64;
const MAX_PATHS: usize = 100;

/// `POST /-/npm/v1/security/advisories/bulk`.
pub(crate) async fn bulk(call: &Call) -> Answer {
    let body = read(call).await?;
    let mut installed: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (name, versions) in &body {
        installed.insert(name, versions.as_array().into_iter().flatten().filter_map(Value::as_str).collect());
    }
    let found = advisories(call, &installed).await?;
    let mut answer = Map::new();
    for (name, entries) in &found {
        let list: Vec<Value> = entries.iter().map(|entry| entry.bulk(name, call.portal().as_str())).collect();
        answer.insert(name.clone(), list.into());
    }
    ok(Value::Object(answer))
}

/// `POST /-/npm/v1/security/audits[/quick]`: the older form, with a tree instead of a list.
pub(crate) async fn quick(call: &Call) -> Answer {
    let body = read(call).await?;
    let mut tree = Tree::default();
    if let Some(dependencies) = body.get("dependencies").and_then(Value::as_object) {
        tree.add(dependencies, "", 0);
    }
    let installed: BTreeMap<&str, BTreeSet<&str>> = tree
        .paths
        .iter()
        .map(|(name, versions)| (name.as_str(), versions.keys().map(String::as_str).collect()))
        .collect();
    let found = advisories(call, &installed).await?;
    let mut counts: BTreeMap<&str, u64> =
        ["info", "low", "moderate", "high", "critical"].into_iter().map(|level| (level, 0)).collect();
    let mut listed = Map::new();
    let portal = call.portal();
    for (name, entries) in &found {
        for entry in entries {
            let mut findings = Vec::new();
            for (version, paths) in &tree.paths[name] {
                if entry.versions.contains(version) {
                    *counts.entry(word(entry.severity)).or_default() += paths.len() as u64;
                    let paths: Vec<&String> = paths.iter().take(MAX_PATHS).collect();
                    findings.push(json!({ "version": version, "paths": paths }));
                }
            }
            listed.insert(entry.id(name).to_string(), entry.full(name, portal.as_str(), findings));
        }
    }
    ok(json!({
        "actions": [],
        "advisories": listed,
        "muted": [],
        "metadata": {
            "vulnerabilities": counts,
            "dependencies": tree.count,
            "devDependencies": 0,
            "optionalDependencies": 0,
            "totalDependencies": tree.count,
        },
    }))
}

async fn read(call: &Call) -> Result<Map<String, Value>, NpmError> {
    let raw = call.take_body();
    let body = body::read_object(&call.parts.headers, raw, MAX_BODY_BYTES).await?;
    if body.len() > MAX_NAMES {
        return Err(NpmError::refused(
            StatusCode::PAYLOAD_TOO_LARGE,
            format!("more than {MAX_NAMES} packages at once"),
        ));
    }
    Ok(body)
}

/// Advisories by package that touch an installed version; only of packages the caller may see.
async fn advisories(
    call: &Call,
    installed: &BTreeMap<&str, BTreeSet<&str>>,
) -> Result<BTreeMap<String, Vec<Entry>>, NpmError> {
    let names: Vec<&str> = installed.keys().copied().filter(|name| crate::name::is_possible(name)).collect();
    if names.is_empty() {
        return Ok(BTreeMap::new());
    }
    let rows = call.registry.advisories(&call.who, Ecosystem::Npm, &names).await?;
    let mut found: BTreeMap<String, Vec<Entry>> = BTreeMap::new();
    for row in rows {
        let entries = found.entry(row.package.clone()).or_default();
        match entries.iter_mut().find(|e| e.rule == row.rule_id && e.location == row.location && e.title == row.title) {
            Some(entry) => {
                entry.severity = entry.severity.max(row.severity);
                entry.versions.insert(row.version);
            }
            None => entries.push(Entry::of(row)),
        }
    }
    for (name, entries) in &mut found {
        let here = &installed[name.as_str()];
        entries.retain(|entry| entry.versions.iter().any(|version| here.contains(version.as_str())));
    }
    found.retain(|_, entries| !entries.is_empty());
    Ok(found)
}

/// One finding across the versions that share it.
#[derive(Debug)]
struct Entry {
    rule: String,
    location: String,
    title: String,
    severity: Severity,
    versions: BTreeSet<String>,
}

impl Entry {
    fn of(row: Advisory) -> Self {
        Self {
            rule: row.rule_id,
            location: row.location,
            title: row.title,
            severity: row.severity,
            versions: BTreeSet::from([row.version]),
        }
    }

    /// Stable for as long as the finding is the same: clients tell advisories apart by it.
    fn id(&self, name: &str) -> u32 {
        let hash = Sha256::digest(format!("{name}\0{}\0{}\0{}", self.rule, self.location, self.title));
        // 31 bits: an integer everywhere.
        u32::from_be_bytes([hash[0], hash[1], hash[2], hash[3]]) >> 1
    }

    fn range(&self) -> String {
        self.versions.iter().map(String::as_str).collect::<Vec<_>>().join(" || ")
    }

    fn url(name: &str, portal: &str) -> String {
        format!("{portal}/packages/npm/{name}/-/security")
    }

    fn bulk(&self, name: &str, portal: &str) -> Value {
        json!({
            "id": self.id(name),
            "url": Self::url(name, portal),
            "title": self.title,
            "severity": word(self.severity),
            "vulnerable_versions": self.range(),
            "cwe": [],
            "cvss": { "score": 0, "vectorString": null },
        })
    }

    fn full(&self, name: &str, portal: &str, findings: Vec<Value>) -> Value {
        json!({
            "id": self.id(name),
            "title": self.title,
            "module_name": name,
            "vulnerable_versions": self.range(),
            "patched_versions": "<0.0.0",
            "severity": word(self.severity),
            "url": Self::url(name, portal),
            "overview": self.title,
            "recommendation": "Use another version",
            "cves": [],
            "cwe": [],
            "access": "public",
            "findings": findings,
        })
    }
}

const fn word(severity: Severity) -> &'static str {
    match severity {
        Severity::Info => "info",
        Severity::Low => "low",
        Severity::Medium => "moderate",
        Severity::High => "high",
        Severity::Critical => "critical",
    }
}

/// A lockfile's tree, turned inside out: name, version, and where it sits.
#[derive(Debug, Default)]
struct Tree {
    paths: BTreeMap<String, BTreeMap<String, Vec<String>>>,
    count: u64,
}

impl Tree {
    fn add(&mut self, dependencies: &Map<String, Value>, above: &str, depth: usize) {
        for (name, node) in dependencies {
            let Some(version) = node.get("version").and_then(Value::as_str) else { continue };
            if depth > MAX_TREE_DEPTH || self.count as usize >= 10 * MAX_NAMES {
                return;
            }
            self.count += 1;
            let path = if above.is_empty() { name.clone() } else { format!("{above}>{name}") };
            if let Some(inner) = node.get("dependencies").and_then(Value::as_object) {
                self.add(inner, &path, depth + 1);
            }
            self.paths.entry(name.clone()).or_default().entry(version.to_owned()).or_default().push(path);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Lockfile trees of any shape, with nonsense in them.
    fn tree() -> impl Strategy<Value = Value> {
        let leaf =
            prop_oneof![Just(Value::Null), Just(json!("1.0.0")), Just(json!({ "version": "1.0.0" })), Just(json!(7))];
        leaf.prop_recursive(6, 60, 4, |inner| {
            proptest::collection::vec(("(version|dependencies|a|b|@s/c)", inner), 0..5)
                .prop_map(|members| Value::Object(members.into_iter().collect()))
        })
    }

    proptest! {
        #[test]
        fn any_tree_is_counted_and_nothing_twice(value in tree()) {
            let mut seen = Tree::default();
            if let Value::Object(dependencies) = &value {
                seen.add(dependencies, "", 0);
            }
            let paths: usize = seen.paths.values().flat_map(BTreeMap::values).map(Vec::len).sum();
            prop_assert_eq!(paths as u64, seen.count);
        }
    }

    #[test]
    fn advisories_are_told_apart_by_a_stable_number() {
        let entry = |title: &str| Entry {
            rule: "R".into(),
            location: String::new(),
            title: title.into(),
            severity: Severity::Medium,
            versions: ["1.0.0", "1.1.0"].map(str::to_owned).into(),
        };
        assert_eq!(entry("a").id("x"), entry("a").id("x"));
        assert_ne!(entry("a").id("x"), entry("a").id("y"));
        assert_ne!(entry("a").id("x"), entry("b").id("x"));
        let shown = entry("a").bulk("@s/x", "http://h");
        assert_eq!(shown["severity"], "moderate");
        assert_eq!(shown["vulnerable_versions"], "1.0.0 || 1.1.0");
        assert_eq!(shown["url"], "http://h/packages/npm/@s/x/-/security");
    }

    #[test]
    fn a_tree_is_turned_into_paths() {
        let mut tree = Tree::default();
        let lock =
            json!({"a": {"version": "1.0.0", "dependencies": {"b": {"version": "2.0.0"}}}, "b": {"version": "2.0.0"}});
        tree.add(lock.as_object().unwrap(), "", 0);
        assert_eq!(tree.count, 3);
        assert_eq!(tree.paths["b"]["2.0.0"], ["a>b", "b"]);
    }
}

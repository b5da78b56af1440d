//! The direction of dependencies (ARCHITECTURE.md, invariants 1 and 2), read off `cargo metadata`.

use std::{collections::BTreeMap, process::Command};

use serde_json::Value;

/// What each of our crates may not reach through ordinary dependencies, directly.
const LAYERS: &[(&str, u8)] = &[
    ("publaryn-core", 0),
    ("publaryn-config", 1),
    ("publaryn-auth", 1),
    ("publaryn-metadata", 1),
    ("publaryn-blobs", 1),
    ("publaryn-search", 1),
    ("publaryn-cluster", 1),
    ("publaryn-actors", 1),
    ("publaryn-jobs", 2),
    ("publaryn-ratelimit", 2),
    ("publaryn-scan", 2),
    ("publaryn-publish", 3),
    ("publaryn-reindex", 3),
    ("publaryn-gc", 3),
    ("publaryn-registry", 4),
    ("publaryn-protocol", 5),
    ("publaryn-api", 7),
    ("publaryn", 8),
];

/// Of every crate under `protocols/` that is not the kit: the adapters.
const ADAPTERS: u8 = 6;

/// Crate, and those that alone may depend on it directly; adapters may use `axum`.
const RESERVED: &[(&str, &[&str])] = &[
    ("sqlx", &["publaryn-metadata", "publaryn-core"]),
    ("axum", &["publaryn-protocol", "publaryn-api"]),
    ("aws-sdk-s3", &["publaryn-blobs"]),
    ("tantivy", &["publaryn-search"]),
    ("redis", &["publaryn-cluster"]),
    ("ractor", &["publaryn-actors"]),
];

/// A crate of the workspace.
struct Member {
    /// Direct ordinary dependencies.
    needs: Vec<String>,
    is_adapter: bool,
}

fn members() -> BTreeMap<String, Member> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo runs");
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("cargo prints JSON");
    let packages = metadata["packages"].as_array().expect("packages");
    packages
        .iter()
        .map(|package| {
            let ordinary = package["dependencies"].as_array().expect("dependencies").iter();
            let ordinary = ordinary.filter(|d| d["kind"].is_null());
            let needs = ordinary.map(|d| d["name"].as_str().expect("a name").to_owned()).collect();
            let name = package["name"].as_str().expect("a name").to_owned();
            let manifest = package["manifest_path"].as_str().expect("a path");
            let is_adapter = manifest.contains("/protocols/") && name != "publaryn-protocol";
            (name, Member { needs, is_adapter })
        })
        .collect()
}

#[test]
fn dependencies_point_one_way() {
    let all = members();
    let layer = |name: &str| {
        let listed = LAYERS.iter().find(|(n, _)| *n == name).map(|(_, layer)| *layer);
        listed.or_else(|| all.get(name)?.is_adapter.then_some(ADAPTERS))
    };
    assert!(all.len() > LAYERS.len(), "the workspace was read");
    for (name, member) in all.iter().filter(|(name, _)| *name != "publaryn-benches") {
        let own = layer(name).unwrap_or_else(|| panic!("`{name}` has no layer in this test"));
        for need in member.needs.iter().filter(|need| need.starts_with("publaryn")) {
            let below = layer(need).unwrap_or_else(|| panic!("`{need}` has no layer in this test"));
            assert!(below < own, "`{name}` may not depend on `{need}`");
        }
    }
}

#[test]
fn infrastructure_stays_behind_its_crate() {
    let all = members();
    for (name, member) in all.iter().filter(|(name, _)| *name != "publaryn-benches") {
        for (reserved, users) in RESERVED {
            let uses = member.needs.iter().any(|need| need == reserved);
            let may = users.contains(&name.as_str()) || *reserved == "axum" && member.is_adapter;
            assert!(!uses || may, "`{name}` may not depend on `{reserved}`");
        }
    }
    let core = &all["publaryn-core"].needs;
    assert!(!core.iter().any(|need| need == "tokio" || need == "axum"), "core does no I/O");
}

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
    ("publaryn-scan", 2),
    ("publaryn-publish", 3),
    ("publaryn-reindex", 3),
    ("publaryn-gc", 3),
    ("publaryn-registry", 4),
    ("publaryn-protocol", 5),
    ("publaryn-npm", 6),
    ("publaryn-cargo", 6),
    ("publaryn-oci", 6),
    ("publaryn-api", 7),
    ("publaryn", 8),
];

/// Crate, and those that alone may depend on it directly.
const RESERVED: &[(&str, &[&str])] = &[
    ("sqlx", &["publaryn-metadata", "publaryn-core"]),
    ("axum", &["publaryn-protocol", "publaryn-npm", "publaryn-cargo", "publaryn-oci", "publaryn-api"]),
    ("aws-sdk-s3", &["publaryn-blobs"]),
    ("tantivy", &["publaryn-search"]),
    ("redis", &["publaryn-cluster"]),
    ("ractor", &["publaryn-actors"]),
];

fn dependencies() -> BTreeMap<String, Vec<String>> {
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
            let names = ordinary.map(|d| d["name"].as_str().expect("a name").to_owned()).collect();
            (package["name"].as_str().expect("a name").to_owned(), names)
        })
        .collect()
}

#[test]
fn dependencies_point_one_way() {
    let layer = |name: &str| LAYERS.iter().find(|(n, _)| *n == name).map(|(_, layer)| *layer);
    let all = dependencies();
    assert!(all.len() >= LAYERS.len(), "the workspace was read");
    for (name, needs) in all.iter().filter(|(name, _)| *name != "publaryn-benches") {
        let own = layer(name).unwrap_or_else(|| panic!("`{name}` has no layer in this test"));
        for need in needs.iter().filter(|need| need.starts_with("publaryn")) {
            let below = layer(need).unwrap_or_else(|| panic!("`{need}` has no layer in this test"));
            assert!(below < own, "`{name}` may not depend on `{need}`");
        }
    }
}

#[test]
fn infrastructure_stays_behind_its_crate() {
    for (name, needs) in dependencies().iter().filter(|(name, _)| *name != "publaryn-benches") {
        for (reserved, users) in RESERVED {
            let uses = needs.iter().any(|need| need == reserved);
            assert!(!uses || users.contains(&name.as_str()), "`{name}` may not depend on `{reserved}`");
        }
    }
    let core = &dependencies()["publaryn-core"];
    assert!(!core.iter().any(|need| need == "tokio" || need == "axum"), "core does no I/O");
}

use publaryn_core::finding::{Finding, Severity};
use serde_json::json;

use super::*;
use crate::publish_json::NewCrate;

const MANIFEST: &str = r#"
[package]
name = "x"
version = "1.0.0"
description = "d"
license = "MIT"
links = "z"
rust-version = "1.70"
[dependencies.own]
version = "1.2"
registry-index = "sparse+https://pkg.example/cargo/index/"
[dependencies.alias]
version = "=2.0.0"
package = "real"
optional = true
default-features = false
features = ["a", "b"]
registry-index = "sparse+https://other.example/index/"
[target.'cfg(any(unix,target_os="macos"))'.dependencies.libc]
version = "0.2"
[dev-dependencies.local]
path = "../local"
[features]
default = ["alias"]
alias = ["dep:alias"]
"#;

fn request() -> serde_json::Value {
    json!({
        "name": "x", "vers": "1.0.0", "description": "d", "license": "MIT", "links": "z", "rust_version": "1.70",
        "deps": [
            {"name": "own", "version_req": "^1.2", "registry": "sparse+https://pkg.example/cargo/index/auth/"},
            {"name": "real", "explicit_name_in_toml": "alias", "version_req": "=2.0.0", "optional": true,
             "default_features": false, "features": ["b", "a"], "registry": "sparse+https://other.example/index/"},
            {"name": "libc", "version_req": "^0.2", "target": "cfg(any(unix, target_os = \"macos\"))",
             "registry": "https://github.com/rust-lang/crates.io-index"},
        ],
        "features": {"default": ["alias"], "alias": ["dep:alias"]},
    })
}

fn findings(request: &serde_json::Value, manifest: &str) -> Vec<Finding> {
    let bases = vec!["https://pkg.example".to_owned()];
    let own = OwnIndexes::new(bases.iter().map(String::as_str));
    let checked = NewCrate::parse(request.to_string().as_bytes()).unwrap().check(&own, bases).unwrap();
    let mut out = Findings::new();
    compare(&checked.release, &Manifest::parse(manifest.as_bytes()).unwrap(), &mut out);
    out.into_vec()
}

#[test]
fn what_cargo_sends_agrees_with_what_cargo_packs() {
    assert_eq!(findings(&request(), MANIFEST), []);
}

#[test]
fn every_facet_of_a_dependency_is_compared() {
    let edits = [
        ("name", json!("other")),
        ("version_req", json!("^2")),
        ("optional", json!(false)),
        ("default_features", json!(true)),
        ("features", json!(["a"])),
        ("kind", json!("build")),
        ("target", json!("cfg(unix)")),
        ("registry", json!("sparse+https://evil.example/index/")),
        ("explicit_name_in_toml", json!("other")),
    ];
    for (key, value) in edits {
        let mut request = request();
        request["deps"][1][key] = value;
        let found = findings(&request, MANIFEST);
        assert!(found.iter().any(|f| f.severity == Severity::High), "{key}: {found:?}");
    }
}

#[test]
fn added_and_dropped_dependencies_are_found() {
    let mut added = request();
    added["deps"].as_array_mut().unwrap().push(json!({"name": "evil", "version_req": "1"}));
    let found = findings(&added, MANIFEST);
    assert!(found[0].title.contains("`evil` is missing from the manifest"), "{found:?}");
    let mut dropped = request();
    dropped["deps"].as_array_mut().unwrap().remove(0);
    assert!(findings(&dropped, MANIFEST)[0].title.contains("`own` is missing from the index"));
    let mut twice = request();
    let first = twice["deps"][0].clone();
    twice["deps"].as_array_mut().unwrap().push(first);
    assert!(findings(&twice, MANIFEST).iter().any(|f| f.title.contains("listed twice")));
}

#[test]
fn features_links_and_rust_version_block_and_descriptions_are_noted() {
    for (key, value, rule, severity) in [
        ("features", json!({"default": []}), "META-FEATURES", Severity::High),
        ("links", json!("other"), "META-LINKS", Severity::High),
        ("rust_version", json!("1.60"), "META-RUST-VERSION", Severity::High),
        ("description", json!("other"), "META-ABOUT", Severity::Low),
        ("license", json!("ISC"), "META-ABOUT", Severity::Low),
    ] {
        let mut request = request();
        request[key] = value;
        let found = findings(&request, MANIFEST);
        assert!(
            found.iter().all(|f| f.rule_id == rule && f.severity == severity) && !found.is_empty(),
            "{key}: {found:?}"
        );
    }
}

#[test]
fn mirrored_public_archives_are_only_noted() {
    let manifest = "[package]\nname = 'x'\nversion = '1.0.0'\n[dependencies]\nserde = '1'\n";
    let request =
        json!({"name": "x", "vers": "1.0.0", "deps": [{"name": "serde", "version_req": "^1"}], "features": {}});
    let found = findings(&request, manifest);
    assert_eq!(
        found.iter().map(|f| (f.rule_id.as_str(), f.severity)).collect::<Vec<_>>(),
        [("META-REGISTRY", Severity::Low)]
    );
}

proptest::proptest! {
    /// Cargo prints requirements and targets in its own way; folding what is folded changes nothing.
    #[test]
    fn folding_is_stable(text in "\\PC{0,40}|cfg\\([a-z(), =\"]{0,30}\\)|[<>=~^*0-9., ]{0,20}") {
        let target = super::folded_target(&text);
        proptest::prop_assert_eq!(super::folded_target(&target), target.clone());
        let req = super::folded_req(&text);
        proptest::prop_assert_eq!(super::folded_req(&req), req.clone());
    }
}

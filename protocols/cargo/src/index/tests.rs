use publaryn_core::{
    ArtifactId, ArtifactKind, Digest, Ecosystem, PackageId, ReleaseId, ReleaseState, RepositoryId, RepositoryKind,
    Timestamp, Version, Visibility,
};
use publaryn_metadata::{
    documents::{ArtifactRow, LiveRelease, PackageDocument, ReleaseRow},
    packages::PackageRow,
};

use super::render_index;
use crate::{own_index::OwnIndexes, publish_json::NewCrate};

/// Names, renames, kinds, targets, registries and features in one publish request, as cargo 1.95 sends it.
const REQUEST: &str = r#"{
  "name": "Demo-Crate", "vers": "1.2.0+meta.1",
  "deps": [
    {"optional": false, "default_features": true, "name": "plain", "features": [], "version_req": "^1.0", "target": null, "kind": "normal"},
    {"optional": true, "default_features": false, "name": "real-name", "features": ["a", "b/c"], "version_req": "^2", "target": null,
     "kind": "normal", "explicit_name_in_toml": "alias"},
    {"optional": false, "default_features": true, "name": "libc", "features": [], "version_req": "^0.2", "target": "cfg(unix)", "kind": "build",
     "registry": "https://github.com/rust-lang/crates.io-index"},
    {"optional": false, "default_features": true, "name": "friend", "features": [], "version_req": "*", "target": null, "kind": "dev",
     "registry": "sparse+http://pkg.example/cargo/index/auth/"},
    {"optional": false, "default_features": true, "name": "tool", "features": [], "version_req": "=3.0.0", "target": null, "kind": "build",
     "artifact": ["bin:tool"], "bindep_target": "target", "lib": true}
  ],
  "features": {"default": ["std"], "std": ["plain/std"], "extra": ["dep:alias", "alias?/b"]},
  "authors": [], "description": "A demo", "documentation": null, "homepage": null, "readme": "hello", "readme_file": "README.md",
  "keywords": ["demo"], "categories": [], "license": "MIT", "license_file": null, "repository": null, "badges": {},
  "links": "demo", "rust_version": "1.70"
}"#;

const GOLDEN: &str = concat!(
    r#"{"name":"Demo-Crate","vers":"1.2.0+meta.1","deps":["#,
    r#"{"name":"plain","req":"^1.0","features":[],"optional":false,"default_features":true,"target":null,"kind":"normal","registry":null},"#,
    r#"{"name":"alias","req":"^2","features":["a","b/c"],"optional":true,"default_features":false,"target":null,"kind":"normal","registry":null,"package":"real-name"},"#,
    r#"{"name":"libc","req":"^0.2","features":[],"optional":false,"default_features":true,"target":"cfg(unix)","kind":"build","registry":"https://github.com/rust-lang/crates.io-index"},"#,
    r#"{"name":"friend","req":"*","features":[],"optional":false,"default_features":true,"target":null,"kind":"dev","registry":null},"#,
    r#"{"name":"tool","req":"=3.0.0","features":[],"optional":false,"default_features":true,"target":null,"kind":"build","registry":null,"artifact":["bin:tool"],"bindep_target":"target","lib":true}"#,
    r#"],"cksum":"abababababababababababababababababababababababababababababababab","#,
    r#""features":{"default":["std"],"std":["plain/std"],"extra":["dep:alias","alias?/b"]},"#,
    r#""yanked":false,"links":"demo","v":2,"rust_version":"1.70","pubtime":"2026-01-02T03:04:05Z"}"#,
    "\n",
    r#"{"name":"Demo-Crate","vers":"1.3.0","deps":[],"cksum":"abababababababababababababababababababababababababababababababab","#,
    r#""features":{},"yanked":true,"links":null,"pubtime":"2026-01-02T03:04:05Z"}"#,
    "\n",
);

fn release(request: &str, yanked: bool) -> LiveRelease {
    let own = OwnIndexes::new(["https://pkg.example"]);
    let checked = NewCrate::parse(request.as_bytes()).unwrap().check(&own, vec![]).unwrap();
    let version = Version::semver(checked.version.as_str()).unwrap();
    let at = Timestamp::from_micros(1_767_323_045_678_901);
    let id = ReleaseId::new();
    LiveRelease {
        row: ReleaseRow {
            id,
            version: version.as_str().to_owned(),
            version_key: version.unique_key().to_owned(),
            sort_key: version.sort_key().to_vec(),
            status: if yanked { ReleaseState::Yanked } else { ReleaseState::Published },
            is_prerelease: false,
            is_yanked: yanked,
            yank_reason: None,
            deprecation_message: None,
            metadata: serde_json::to_string(&checked.release).unwrap(),
            sequence: 1,
            published_by: None,
            publisher: None,
            publisher_email: None,
            published_at: Some(at),
            yanked_at: None,
            created_at: at,
            updated_at: at,
            open: Default::default(),
        },
        artifacts: vec![ArtifactRow {
            id: ArtifactId::new(),
            release_id: id,
            kind: ArtifactKind::Crate,
            filename: "Demo-Crate-1.2.0+meta.1.crate".into(),
            content_type: "application/octet-stream".into(),
            size_bytes: 10,
            sha256: Digest::from_bytes([0xab; 32]),
            sha512: String::new(),
            sha1: None,
            md5: None,
            metadata: None,
            uploaded_at: at,
        }],
    }
}

fn document(releases: Vec<LiveRelease>) -> PackageDocument {
    let at = Timestamp::from_micros(0);
    PackageDocument {
        package: PackageRow {
            id: PackageId::new(),
            ecosystem: Ecosystem::Cargo,
            name: "Demo-Crate".into(),
            normalized_name: "demo_crate".into(),
            repository_id: RepositoryId::new(),
            repository_slug: "demo".into(),
            repository_kind: RepositoryKind::Public,
            owner_user_id: None,
            owner_org_id: None,
            visibility: Visibility::Public,
            repository_visibility: Visibility::Public,
            is_quarantined: false,
            is_archived: false,
            revision: 3,
            description: None,
            readme: None,
            homepage: None,
            repository_url: None,
            license: None,
            keywords: "[]".into(),
            deprecation_message: None,
            download_count: 0,
            created_at: at,
            updated_at: at,
        },
        releases,
        tags: vec![],
        owners: vec![],
        stargazers: vec![],
        advisories: Vec::new(),
    }
}

#[test]
fn index_file_equals_the_golden_file() {
    let bare = r#"{"name":"Demo-Crate","vers":"1.3.0","deps":[],"features":{},"links":null,"rust_version":null}"#;
    let file = render_index(&document(vec![release(REQUEST, false), release(bare, true)])).unwrap().unwrap();
    assert_eq!(String::from_utf8(file).unwrap(), GOLDEN);
}

#[test]
fn nothing_live_is_no_file() {
    assert_eq!(render_index(&document(vec![])).unwrap(), None);
}

#[test]
fn one_unreadable_release_fails_the_whole_file() {
    let mut broken = release(REQUEST, false);
    broken.row.metadata = "{".into();
    assert!(render_index(&document(vec![release(REQUEST, false), broken])).is_err());
    let mut bare = release(REQUEST, false);
    bare.artifacts.clear();
    assert!(render_index(&document(vec![bare])).is_err());
}

use publaryn_core::{
    ArtifactId, Digest as BlobDigest, Ecosystem, PackageId, ReleaseId, ReleaseState, RepositoryId, RepositoryKind,
    UserId, Version, Visibility,
};
use publaryn_registry::{OwnerRow, PackageRow, ReleaseRow};
use serde_json::json;

use super::*;
use crate::{
    name::tarball_filename,
    release::{ArchiveFacts, document},
    signature::tests::PEM,
};

const BASE: &str = "http://127.0.0.1:1/npm";

fn release(name: &str, version: &str, extra: Value) -> LiveRelease {
    let mut manifest =
        json!({"name": name, "version": version, "description": format!("d{version}"), "license": "MIT"});
    for (k, v) in extra.as_object().unwrap() {
        manifest[k] = v.clone();
    }
    let facts = ArchiveFacts { file_count: 2, unpacked_size: 1234, has_binding_gyp: false };
    let metadata = document(manifest.as_object().unwrap(), facts, Some("README.md"), &[], None).to_string();
    let parsed = Version::semver(version).unwrap();
    let id = ReleaseId::new();
    LiveRelease {
        row: ReleaseRow {
            id,
            version: version.into(),
            version_key: parsed.unique_key().into(),
            sort_key: parsed.sort_key().to_vec(),
            status: ReleaseState::Published,
            is_prerelease: parsed.is_prerelease(),
            is_yanked: false,
            yank_reason: None,
            deprecation_message: None,
            metadata,
            sequence: 1,
            published_by: Some(UserId::new()),
            publisher: Some("alice".into()),
            publisher_email: Some("alice@example.test".into()),
            published_at: Some(Timestamp::from_micros(1_767_323_045_678_901)),
            yanked_at: None,
            created_at: Timestamp::from_micros(0),
            updated_at: Timestamp::from_micros(0),
            open: Default::default(),
        },
        artifacts: vec![ArtifactRow {
            id: ArtifactId::new(),
            release_id: id,
            kind: ArtifactKind::Tarball,
            filename: tarball_filename(name, version),
            content_type: "application/octet-stream".into(),
            size_bytes: 10,
            sha256: BlobDigest::from_bytes([0; 32]),
            sha512: "00".repeat(64),
            sha1: Some("ab".repeat(20)),
            md5: None,
            metadata: None,
            uploaded_at: Timestamp::from_micros(0),
        }],
    }
}

fn package(name: &str, releases: Vec<LiveRelease>, tags: &[(&str, &str)]) -> PackageDocument {
    let alice = UserId::new();
    PackageDocument {
        package: PackageRow {
            id: PackageId::new(),
            ecosystem: Ecosystem::Npm,
            name: name.into(),
            normalized_name: name.into(),
            repository_id: RepositoryId::new(),
            repository_slug: "alice".into(),
            repository_kind: RepositoryKind::Public,
            owner_user_id: Some(alice),
            owner_org_id: None,
            visibility: Visibility::Public,
            repository_visibility: Visibility::Public,
            is_quarantined: false,
            is_archived: false,
            revision: 7,
            description: None,
            readme: Some("# hello".into()),
            homepage: None,
            repository_url: None,
            license: None,
            keywords: "[]".into(),
            deprecation_message: None,
            download_count: 0,
            created_at: Timestamp::from_micros(1),
            updated_at: Timestamp::from_micros(2),
        },
        releases,
        tags: tags.iter().map(|(t, v)| ((*t).into(), (*v).into())).collect(),
        owners: vec![OwnerRow {
            id: alice,
            number: 1,
            username: "alice".into(),
            display_name: None,
            email: "alice@example.test".into(),
        }],
        stargazers: vec![],
        advisories: Vec::new(),
    }
}

fn full(doc: &PackageDocument) -> Value {
    serde_json::from_slice(&render_full(doc, BASE, None).unwrap()).unwrap()
}

fn abbreviated(doc: &PackageDocument) -> Value {
    serde_json::from_slice(&render_abbreviated(doc, BASE, None).unwrap()).unwrap()
}

#[test]
fn the_full_document_has_every_field_clients_read() {
    let doc = package(
        "@acme/lib",
        vec![release("@acme/lib", "1.0.0", json!({"scripts": {"postinstall": "x"}, "zeta": 1}))],
        &[("latest", "1.0.0")],
    );
    let out = full(&doc);
    assert_eq!(out["_id"], "@acme/lib");
    assert!(out["_rev"].as_str().unwrap().starts_with("7-"));
    assert_eq!(out["dist-tags"], json!({"latest": "1.0.0"}));
    assert_eq!(out["time"]["1.0.0"], "2026-01-02T03:04:05.678Z");
    assert_eq!(out["maintainers"], json!([{"name": "alice", "email": "alice@example.test"}]));
    assert_eq!((&out["readme"], &out["readmeFilename"]), (&json!("# hello"), &json!("README.md")));
    assert_eq!((&out["description"], &out["license"]), (&json!("d1.0.0"), &json!("MIT")));
    let version = &out["versions"]["1.0.0"];
    assert_eq!(version["_id"], "@acme/lib@1.0.0");
    assert_eq!(version["_npmUser"]["name"], "alice");
    assert_eq!(version["hasInstallScript"], true);
    assert_eq!(version["zeta"], 1);
    assert!(version.get("deprecated").is_none());
    let dist = &version["dist"];
    assert_eq!(dist["tarball"], "http://127.0.0.1:1/npm/@acme/lib/-/lib-1.0.0.tgz");
    assert_eq!(dist["shasum"], "ab".repeat(20));
    assert_eq!(dist["integrity"], format!("sha512-{}==", "A".repeat(86)));
    assert_eq!((&dist["fileCount"], &dist["unpackedSize"]), (&json!(2), &json!(1234)));
    assert!(dist.get("signatures").is_none());
}

#[test]
fn the_abbreviated_document_has_the_allowed_fields_only() {
    let extra = json!({"dependencies": {"a": "1"}, "peerDependenciesMeta": {"a": {"optional": true}}, "bin": {"x": "x.js"},
        "libc": ["musl"], "optionalDependencies": {"o": "1"}, "scripts": {"install": "x"}, "author": "me", "main": "x.js"});
    let doc = package("lib", vec![release("lib", "1.0.0", extra)], &[("latest", "1.0.0")]);
    let out = abbreviated(&doc);
    let keys: Vec<&String> = out.as_object().unwrap().keys().collect();
    assert_eq!(keys, ["name", "modified", "dist-tags", "versions", "time"]);
    let keys: Vec<&String> = out["versions"]["1.0.0"].as_object().unwrap().keys().collect();
    assert_eq!(
        keys,
        [
            "name",
            "version",
            "dependencies",
            "optionalDependencies",
            "peerDependenciesMeta",
            "bin",
            "libc",
            "hasInstallScript",
            "dist"
        ]
    );
}

#[test]
fn yanked_releases_leave_versions_time_and_tags() {
    let mut yanked = release("lib", "2.0.0", json!({}));
    yanked.row.is_yanked = true;
    yanked.row.status = ReleaseState::Yanked;
    let doc = package(
        "lib",
        vec![release("lib", "1.0.0", json!({})), release("lib", "1.1.0-rc.1", json!({})), yanked.clone()],
        &[("latest", "2.0.0"), ("next", "2.0.0"), ("old", "1.0.0")],
    );
    let out = full(&doc);
    assert_eq!(out["dist-tags"], json!({"latest": "1.0.0", "old": "1.0.0"}));
    assert!(out["versions"].get("2.0.0").is_none() && out["time"].get("2.0.0").is_none());
    assert!(render_full(&package("lib", vec![yanked], &[("latest", "2.0.0")]), BASE, None).is_none());
    assert!(render_full(&package("lib", vec![], &[]), BASE, None).is_none());
}

#[test]
fn latest_falls_back_to_a_prerelease_when_there_is_nothing_else() {
    let doc = package("lib", vec![release("lib", "1.0.0-a", json!({})), release("lib", "1.0.0-b", json!({}))], &[]);
    assert_eq!(full(&doc)["dist-tags"], json!({"latest": "1.0.0-b"}));
}

#[test]
fn deprecation_shows_in_both_forms() {
    let mut doc = package("lib", vec![release("lib", "1.0.0", json!({}))], &[("latest", "1.0.0")]);
    doc.releases[0].row.deprecation_message = Some("use \"other\"".into());
    assert_eq!(full(&doc)["versions"]["1.0.0"]["deprecated"], "use \"other\"");
    assert_eq!(abbreviated(&doc)["versions"]["1.0.0"]["deprecated"], "use \"other\"");
    doc.releases[0].row.deprecation_message = Some(String::new());
    assert!(full(&doc)["versions"]["1.0.0"].get("deprecated").is_none());
}

#[test]
fn every_version_is_signed_when_there_is_a_key() {
    let key = RegistryKey::from_pem(PEM).unwrap();
    let doc = package("lib", vec![release("lib", "1.0.0", json!({}))], &[("latest", "1.0.0")]);
    let out: Value = serde_json::from_slice(&render_abbreviated(&doc, BASE, Some(&key)).unwrap()).unwrap();
    let dist = &out["versions"]["1.0.0"]["dist"];
    let expected = key.sign("lib", "1.0.0", dist["integrity"].as_str().unwrap());
    assert_eq!(dist["signatures"], json!([expected]));
}

#[test]
fn a_release_without_a_document_still_renders() {
    let mut doc = package("lib", vec![release("lib", "1.0.0", json!({}))], &[]);
    doc.releases[0].row.metadata = "{}".into();
    assert_eq!(full(&doc)["versions"]["1.0.0"]["version"], "1.0.0");
    assert_eq!(abbreviated(&doc)["versions"]["1.0.0"]["name"], "lib");
}

#[test]
fn revisions_are_told_apart_from_foreign_ones() {
    let (a, b) = (PackageId::new(), PackageId::new());
    assert_eq!(parse_revision(a, &revision_of(a, 41)), Some(41));
    assert_eq!(parse_revision(b, &revision_of(a, 41)), None);
    for bad in ["undefined", "", "41", "41-", "x-y"] {
        assert_eq!(parse_revision(a, bad), None, "{bad}");
    }
}

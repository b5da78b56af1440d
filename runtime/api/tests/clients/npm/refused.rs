//! What must not get in.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use sha2::Digest;

use super::{Client, Desk};
use crate::{
    Server,
    npm_upload::{document, put, tarball},
    on_backends,
};

/// A tarball with one more entry of any kind.
fn tarball_with(name: &str, path: &str, kind: tar::EntryType, link: Option<&str>) -> Vec<u8> {
    let manifest = json!({ "name": name, "version": "1.0.0" }).to_string();
    let gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    let mut archive = tar::Builder::new(gzip);
    let mut header = tar::Header::new_ustar();
    header.set_size(manifest.len() as u64);
    header.set_mode(0o644);
    header.set_cksum();
    archive.append_data(&mut header, "package/package.json", manifest.as_bytes()).unwrap();
    let mut header = tar::Header::new_ustar();
    header.set_entry_type(kind);
    header.set_size(0);
    header.set_mode(0o644);
    // Written by hand: the library refuses to make what this test is about.
    header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
    if let Some(link) = link {
        header.set_link_name(link).unwrap();
    }
    header.set_cksum();
    archive.append(&header, std::io::empty()).unwrap();
    archive.into_inner().unwrap().finish().unwrap()
}

on_backends!(bad_uploads_are_refused_and_leave_nothing, async |server: Server| {
    let user = server.new_user("ada").await;
    let good = tarball("bad", "1.0.0", b"x");
    let edited = |edit: &dyn Fn(&mut Value)| {
        let mut body = document("bad", "1.0.0", &good);
        edit(&mut body);
        body
    };
    let other_bytes = |bytes: &[u8]| document("bad", "1.0.0", bytes);
    let file = "bad-1.0.0.tgz";
    let cases: Vec<(&str, u16, Value)> = vec![
        (
            "a path that climbs out",
            422,
            other_bytes(&tarball_with("bad", "package/../../evil", tar::EntryType::Regular, None)),
        ),
        ("an absolute path", 422, other_bytes(&tarball_with("bad", "/etc/evil", tar::EntryType::Regular, None))),
        (
            "a symlink",
            422,
            other_bytes(&tarball_with("bad", "package/l", tar::EntryType::Symlink, Some("/etc/passwd"))),
        ),
        ("another package inside", 422, other_bytes(&tarball("other", "1.0.0", b"x"))),
        ("another version inside", 422, other_bytes(&tarball("bad", "1.0.1", b"x"))),
        (
            "a hard link",
            422,
            other_bytes(&tarball_with("bad", "package/l", tar::EntryType::Link, Some("package/package.json"))),
        ),
        ("a device", 422, other_bytes(&tarball_with("bad", "package/d", tar::EntryType::Char, None))),
        ("a second root", 422, other_bytes(&tarball_with("bad", "other/x", tar::EntryType::Regular, None))),
        (
            "the same file twice",
            422,
            other_bytes(&tarball_with("bad", "package/PACKAGE.json", tar::EntryType::Regular, None)),
        ),
        ("no gzip", 422, other_bytes(b"plain text")),
        ("no version", 400, edited(&|b| b["versions"] = json!({}))),
        (
            "a loose version",
            400,
            edited(&|b| {
                let manifest = b["versions"]["1.0.0"].clone();
                b["versions"] = json!({ "v1.0.0": manifest });
                b["dist-tags"] = json!({});
            }),
        ),
        ("no digest", 400, edited(&|b| b["versions"]["1.0.0"]["dist"] = json!({}))),
        (
            "hex for an integrity",
            400,
            edited(&|b| b["versions"]["1.0.0"]["dist"]["integrity"] = json!(format!("sha512-{}", "ab".repeat(64)))),
        ),
        ("a strange attachment", 400, edited(&|b| b["_attachments"]["x.exe"] = json!({ "data": "AA==" }))),
        ("a tag of another version", 400, edited(&|b| b["dist-tags"] = json!({ "latest": "9.9.9" }))),
        ("strange access", 400, edited(&|b| b["access"] = json!("everyone"))),
        (
            "provenance of something else",
            422,
            edited(&|b| b["_attachments"]["bad-1.0.0.sigstore"] = json!({ "data": "{}" })),
        ),
        (
            "a wrong integrity",
            400,
            edited(&|b| {
                b["versions"]["1.0.0"]["dist"]["integrity"] = json!(format!("sha512-{}", STANDARD.encode([0; 64])))
            }),
        ),
        ("a wrong shasum", 400, edited(&|b| b["versions"]["1.0.0"]["dist"]["shasum"] = json!("00".repeat(20)))),
        ("a wrong length", 400, edited(&|b| b["_attachments"][file]["length"] = json!(1))),
        ("two versions", 400, edited(&|b| b["versions"]["2.0.0"] = json!({ "name": "bad", "version": "2.0.0" }))),
        ("another name", 400, edited(&|b| b["name"] = json!("worse"))),
        ("no base64", 400, edited(&|b| b["_attachments"][file]["data"] = json!("%%%"))),
        ("two tarballs", 400, edited(&|b| b["_attachments"]["x.tgz"] = json!({ "data": "AA==" }))),
        ("a tag that is a range", 400, edited(&|b| b["dist-tags"] = json!({ "^1": "1.0.0" }))),
        ("private", 400, edited(&|b| b["versions"]["1.0.0"]["private"] = json!(true))),
    ];
    for (what, wanted, body) in cases {
        let (status, text) = put(&server, &user.token, "bad", &body).await;
        assert_eq!(status, wanted, "{what}: {text}");
        let answer: Value = serde_json::from_str(&text).unwrap();
        assert!(
            answer["error"].as_str().is_some_and(|e| !e.is_empty()) && answer["error"] == answer["message"],
            "{text}"
        );
    }
    // Not JSON at all, and JSON that two readers read differently.
    for body in ["", "{", "[]", r#"{"name":"bad","name":"worse"}"#] {
        let request = server.http.put(format!("{}/npm/bad", server.base_url())).bearer_auth(&user.token);
        assert_eq!(request.body(body).send().await.unwrap().status().as_u16(), 400, "{body}");
    }
    for name in ["Upper", "fs", "node_modules", ".dot", "_under", "a~b", "@s"] {
        let (status, text) = put(&server, &user.token, name, &document(name, "1.0.0", &good)).await;
        assert!(matches!(status, 400 | 403 | 404), "{name}: {status} {text}");
    }
    assert_eq!(server.get("/npm/bad", Some(&user.token)).await.0, 404, "something was stored");
    // The number is still free: nothing of the refused uploads took it.
    assert_eq!(put(&server, &user.token, "bad", &document("bad", "1.0.0", &good)).await.0, 201);
    // Separators make no new name.
    let (status, text) =
        put(&server, &user.token, "b-a.d", &document("b-a.d", "1.0.0", &tarball("b-a.d", "1.0.0", b"x"))).await;
    assert_eq!(status, 403, "{text}");
    // Nor do they beside a name that nobody may know of; then it is not told which.
    let bytes = tarball("secretlib", "1.0.0", b"x");
    let mut hidden = document("secretlib", "1.0.0", &bytes);
    hidden["access"] = json!("restricted");
    assert_eq!(put(&server, &user.token, "secretlib", &hidden).await.0, 201);
    let stranger = server.new_user("mallory").await;
    let bytes = tarball("secret-lib", "1.0.0", b"x");
    let (status, text) = put(&server, &stranger.token, "secret-lib", &document("secret-lib", "1.0.0", &bytes)).await;
    assert_eq!((status, text.contains("secretlib")), (403, false), "{text}");
    // A client prints why.
    let desk = Desk::new(&server, "author", Some(&user.token));
    let dir = desk.package(&json!({ "name": "b-a-d", "version": "1.0.0" }));
    desk.run(Client::Npm10, &dir, &["publish"]).await.fails().says("too similar to existing package bad");
});

on_backends!(uploads_above_the_limit_are_refused, async |mut server: Server| {
    server.restart_with(&[("limits.artifact.tarball", "100KB")]).await;
    let user = server.new_user("ada").await;
    // Digests do not compress.
    let noise: Vec<u8> = (0..10_000_u32).flat_map(|n| sha2::Sha256::digest(n.to_le_bytes())).collect();
    let bytes = tarball("big", "1.0.0", &noise);
    let (status, text) = put(&server, &user.token, "big", &document("big", "1.0.0", &bytes)).await;
    assert_eq!(status, 413, "{text}");
    assert_eq!(server.get("/npm/big", Some(&user.token)).await.0, 404);
});

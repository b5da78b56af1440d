//! What must not get in, and releases that are held back.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use super::{Client, Desk};
use crate::{
    Backend, Server, User,
    npm_upload::{document, tarball},
    on_backends,
};

async fn put(server: &Server, user: &User, name: &str, body: &Value) -> (u16, String) {
    let response = server
        .http
        .put(format!("{}/npm/{}", server.base_url(), name.replace('/', "%2f")))
        .bearer_auth(&user.token)
        .json(body)
        .send()
        .await
        .unwrap();
    (response.status().as_u16(), response.text().await.unwrap())
}

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
        ("no gzip", 422, other_bytes(b"plain text")),
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
        let (status, text) = put(&server, &user, "bad", &body).await;
        assert_eq!(status, wanted, "{what}: {text}");
        let answer: Value = serde_json::from_str(&text).unwrap();
        assert!(
            answer["error"].as_str().is_some_and(|e| !e.is_empty()) && answer["error"] == answer["message"],
            "{text}"
        );
    }
    for name in ["Upper", "fs", "node_modules", ".dot", "_under", "a~b", "@s"] {
        let (status, text) = put(&server, &user, name, &document(name, "1.0.0", &good)).await;
        assert!(matches!(status, 400 | 403 | 404), "{name}: {status} {text}");
    }
    assert_eq!(server.get("/npm/bad", Some(&user.token)).await.0, 404, "something was stored");
    // The number is still free: nothing of the refused uploads took it.
    assert_eq!(put(&server, &user, "bad", &document("bad", "1.0.0", &good)).await.0, 201);
    // Separators make no new name.
    let (status, text) =
        put(&server, &user, "b-a.d", &document("b-a.d", "1.0.0", &tarball("b-a.d", "1.0.0", b"x"))).await;
    assert_eq!(status, 403, "{text}");
});

#[tokio::test(flavor = "multi_thread")]
async fn uploads_above_the_limit_are_refused() {
    let server = Server::start_with(Backend::Embedded, &[("limits.tarball_bytes", "100KB")]).await;
    let user = server.new_user("ada").await;
    let noise: Vec<u8> = (0..400_000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let (status, text) = put(&server, &user, "big", &document("big", "1.0.0", &tarball("big", "1.0.0", &noise))).await;
    assert_eq!(status, 413, "{text}");
    assert_eq!(server.get("/npm/big", Some(&user.token)).await.0, 404);
}

on_backends!(a_blocked_release_is_nowhere, async |server: Server| {
    let user = server.new_user("ada").await;
    let desk = Desk::new(&server, "author", Some(&user.token));
    desk.publish("held", "1.0.0").await;
    // What clients resolve from says one thing, the tarball another: blocked by policy.
    let bytes = tarball("held", "1.1.0", b"x");
    let mut body = document("held", "1.1.0", &bytes);
    body["versions"]["1.1.0"]["dependencies"] = json!({ "evil": "1.0.0" });
    let (status, text) = put(&server, &user, "held", &body).await;
    assert_eq!(status, 403, "{text}");
    assert!(text.contains("dependencies"), "{text}");
    let (_, packument) = server.get("/npm/held", Some(&user.token)).await;
    assert!(!packument.contains("1.1.0"), "{packument}");
    for path in ["/npm/held/1.1.0", "/npm/held/-/held-1.1.0.tgz"] {
        assert_eq!(server.get(path, Some(&user.token)).await.0, 404, "{path}");
    }
    desk.run(Client::Npm10, desk.home(), &["dist-tag", "add", "held@1.1.0", "x1"]).await.fails().says("E404");
    // A deprecation written back from a copy without the held release does not touch it.
    desk.run(Client::Npm10, desk.home(), &["deprecate", "held@1.0.0", "old"]).await.ok();
    // The number is burnt.
    let (status, text) = put(&server, &user, "held", &document("held", "1.1.0", &bytes)).await;
    assert_eq!(status, 409, "{text}");
    assert!(text.contains("You cannot publish over the previously published versions: 1.1.0."), "{text}");
});

#[tokio::test(flavor = "multi_thread")]
async fn a_release_still_being_judged_is_announced_to_its_publisher_only() {
    let server = Server::start_with(Backend::Embedded, &[("publish.wait_seconds", "0")]).await;
    let user = server.new_user("ada").await;
    let desk = Desk::new(&server, "author", Some(&user.token));
    let dir = desk.package(&json!({ "name": "slow", "version": "1.0.0" }));
    desk.run(Client::Npm10, &dir, &["publish"]).await.ok().says("held for review");
}

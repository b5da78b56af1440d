//! Uploads in all their shapes, and what is refused.

use publaryn_scan::corpus::{RawZipEntry, ZipBuilder};
use serde_json::{Value, json};

use super::{
    Desk, Lib,
    lib::{form, put, send},
};
use crate::{Backend, Server, on_backends};

on_backends!(curl_publishes_and_shows_why_not, async |server: Server| {
    let user = server.new_user("ada").await;
    let reader = server.token("ada", &user.password, &["packages:read"]).await;
    let desk = Desk::new(&server, "author");
    let dir = desk.project("files", &json!({}));
    std::fs::write(dir.join("lib-1.0.0.zip"), Lib::new("acme/lib", "1.0.0").zip()).unwrap();
    let url = format!("{}/composer/packages/acme/lib", server.base_url());
    let curl = async |credential: Option<&str>| {
        let mut args = vec!["-T", "lib-1.0.0.zip"];
        args.extend(credential.iter().flat_map(|c| ["-u", c]));
        args.push(&url);
        desk.curl(&dir, &args).await.ok()
    };
    curl(None).await.says("HTTP/1.1 401 a token is needed here").says("\"warning\":\"a token is needed here");
    curl(Some("x:pub_nonsense")).await.says("HTTP/1.1 401 the token is invalid");
    curl(Some(&format!("x:{reader}"))).await.says("HTTP/1.1 403 this credential lacks the scope");
    assert_eq!(server.get("/composer/p2/acme/lib.json", None).await.0, 404);
    curl(Some(&format!("x:{}", user.token))).await.says("HTTP/1.1 201").says("\"status\":\"published\"");
    curl(Some(&format!("x:{}", user.token))).await.says("HTTP/1.1 409 acme/lib 1.0.0 already exists");
    let (_, text) = server.get("/composer/p2/acme/lib.json", None).await;
    let document: Value = serde_json::from_str(&text).unwrap();
    let version = &document["packages"]["acme/lib"][0];
    assert_eq!((version["version"].as_str(), version["version_normalized"].as_str()), (Some("1.0.0"), Some("1.0.0.0")));
    assert_eq!(document["security-advisories"], json!([]));
    assert!(version.get("source").is_none() && version["license"] == json!(["MIT"]), "{version}");
});

on_backends!(every_shape_of_upload_is_taken, async |server: Server| {
    let user = server.new_user("ada").await;
    let token = Some(user.token.as_str());
    Lib::new("acme/lib", "1.0.0").below("lib-1.0.0/").live(&server, &user).await;
    // The version from outside, in all places it may stand.
    let bare = Lib::new("acme/lib", "1.1.0").with("version", Value::Null);
    let plain = "/composer/packages/acme/lib";
    assert_eq!(put(&server, &format!("{plain}?version=v1.1.0"), token, bare.zip()).await.status, 201);
    let plugin = "/composer/packages/upload/acme/lib";
    let more = bare.clone().file("more", "x").zip();
    assert_eq!(put(&server, &format!("{plugin}/1.2.0"), token, more.clone()).await.status, 201);
    let zip = bare.clone().file("other", "x").zip();
    let manifest = Lib::new("acme/lib", "1.3").manifest.to_string();
    let (kind, body) = form(&[
        ("composer.json", None, manifest.as_bytes()),
        ("src-type", None, b"git"),
        ("dist.zip", Some("lib.zip"), &zip),
        ("src-url", None, b"https://git.invalid/lib.git"),
        ("src-ref", None, b"abc123"),
        ("version", None, b"1.3.0"),
    ]);
    // The address says the same in another spelling, and is what is shown.
    let said = send(&server, http::Method::PUT, &format!("{plain}?version=v1.3.0"), token, kind, body).await;
    assert_eq!(said.status, 201, "{said:?}");
    let (_, text) = server.get("/composer/p2/acme/lib.json", None).await;
    let document: Value = serde_json::from_str(&text).unwrap();
    let versions = document["packages"]["acme/lib"].as_array().unwrap();
    let shown: Vec<&str> = versions.iter().map(|v| v["version"].as_str().unwrap()).collect();
    assert_eq!(shown, ["v1.3.0", "1.2.0", "v1.1.0", "1.0.0"]);
    assert_eq!(
        versions[0]["source"],
        json!({ "type": "git", "url": "https://git.invalid/lib.git", "reference": "abc123" })
    );
    // A source in part is none.
    let zip = Lib::new("acme/part", "1.0.0").zip();
    let (kind, body) = form(&[("package", Some("a.zip"), &zip), ("src-type", None, b"git"), ("src-ref", None, b"abc")]);
    let said = send(&server, http::Method::PUT, "/composer/packages/acme/part", token, kind, body).await;
    assert_eq!(said.status, 201, "{said:?}");
    assert!(!server.get("/composer/p2/acme/part.json", None).await.1.contains("\"source\""));
    let desk = Desk::new(&server, "consumer");
    for version in ["1.0.0", "1.1.0", "1.2.0", "1.3.0"] {
        let dir = desk.project(version, &json!({ "acme/lib": version }));
        desk.run(&dir, &["install", "--prefer-dist"]).await.ok();
        assert!(dir.join("vendor/acme/lib/src/Hello.php").exists(), "{version}");
    }
    // One version, however it is spelled.
    for same in ["1.3", "v1.3.0", "1.3.0.0", "1.3.0+build"] {
        let said = put(&server, &format!("{plugin}/{}", same.replace('+', "%2B")), token, more.clone()).await;
        said.is(409, "already exists");
    }
});

on_backends!(a_vendor_belongs_to_whoever_came_first, async |server: Server| {
    let ada = server.new_user("ada").await;
    let mallory = server.new_user("mallory").await;
    Lib::new("acme/lib", "1.0.0").live(&server, &ada).await;
    let taken = "vendor acme belongs to another owner";
    Lib::new("acme/other", "1.0.0").put(&server, Some(&mallory.token)).await.is(403, taken);
    Lib::new("acme/lib", "2.0.0").put(&server, Some(&mallory.token)).await.is(403, "");
    Lib::new("acme-corp/lib", "1.0.0").live(&server, &mallory).await;
    Lib::new("acme/other", "1.0.0").live(&server, &ada).await;
});

on_backends!(nothing_wrong_is_stored, async |server: Server| {
    let user = server.new_user("ada").await;
    let token = Some(user.token.as_str());
    let path = "/composer/packages/acme/lib";
    let lib = || Lib::new("acme/lib", "1.0.0");
    let manifest = lib().manifest.to_string();
    let zip = || ZipBuilder::new().file("composer.json", manifest.as_bytes());
    let link = RawZipEntry { name: b"link", data: b"/etc/passwd", external: 0o120777 << 16, ..Default::default() };
    let whole = lib().zip();
    for (body, status, text) in [
        (b"not a zip".to_vec(), 422, "not a zip file"),
        (Vec::new(), 422, ""),
        (whole[..whole.len() - 30].to_vec(), 422, ""),
        ([&whole[..], b"more"].concat(), 422, "bytes after its end record"),
        (ZipBuilder::new().file("a.php", b"x").finish(), 422, "no composer.json"),
        (zip().file("../x", b"x").finish(), 422, ".."),
        (zip().file("/abs", b"x").finish(), 422, "absolute"),
        (zip().file("composer.json", b"{}").finish(), 422, ""),
        (zip().file("Composer.json", b"{}").finish(), 422, ""),
        (zip().entry(&link).finish(), 422, ""),
        (zip().file("bomb", &vec![0; 80 << 20]).finish(), 422, ""),
        (
            ZipBuilder::new().file("a/composer.json", manifest.as_bytes()).file("b/composer.json", b"{}").finish(),
            400,
            "more than one composer.json",
        ),
        (lib().with("require", json!({ "php": 8 })).zip(), 422, "composer.json: require.php must be a string"),
        (lib().with("require", json!({ "acme/lib": "*" })).zip(), 422, "requires itself"),
        (lib().with("require", json!({ "php": ">=8.*" })).zip(), 422, "`>=8.*` is no version constraint"),
        (lib().with("conflict", json!({ "acme/x": ">=1.0," })).zip(), 422, "is no version constraint"),
        (lib().with("bin", json!("bin/missing")).zip(), 422, "not there: bin/missing"),
        (lib().with("name", json!("Acme/Lib")).zip(), 422, "lower case"),
        (lib().with("name", json!("acme/other")).zip(), 400, "composer.json is of `acme/other`"),
        (lib().with("version", json!("dev-main")).zip(), 400, "dev-main is a branch; only tagged versions are hosted"),
        (lib().with("version", json!("nonsense")).zip(), 400, "is not a version"),
        (lib().with("version", Value::Null).zip(), 400, "no version"),
    ] {
        put(&server, path, token, body).await.is(status, text);
    }
    put(&server, &format!("{path}?version=2.0"), token, whole.clone()).await.is(400, "outside");
    put(&server, "/composer/packages/acme/ext-json", token, whole.clone()).await.is(400, "cannot be hosted");
    put(&server, "/composer/packages/php/lib", token, whole.clone()).await.is(400, "cannot be hosted");
    put(&server, "/composer/packages/ac--me/lib", token, whole.clone()).await.is(400, "no package name");
    let (kind, body) = form(&[("version", None, b"1.0.0")]);
    send(&server, http::Method::PUT, path, token, kind, body).await.is(400, "no zip");
    let (kind, body) = form(&[("package", Some("a.zip"), &whole), ("file", Some("b.zip"), &whole)]);
    send(&server, http::Method::PUT, path, token, kind, body).await.is(400, "more than one zip");
    let (kind, body) = form(&[
        ("package", Some("a.zip"), &whole),
        ("src-type", None, b"git"),
        ("src-url", None, b"file:///etc"),
        ("src-ref", None, b"abc"),
    ]);
    send(&server, http::Method::PUT, path, token, kind, body).await.is(400, "src-url must start with");
    let said = send(&server, http::Method::POST, path, token, "application/zip", Vec::new()).await;
    said.is(405, "not allowed");
    for path in ["/composer/p2/acme/lib.json", "/composer/p2/acme/other.json"] {
        assert_eq!(server.get(path, token).await.0, 404, "{path}");
    }
    assert!(!server.get("/composer/packages.json", token).await.1.contains("acme"));
    // Nothing of all that stands in the way of the real one.
    lib().live(&server, &user).await;
});

#[tokio::test(flavor = "multi_thread")]
async fn a_zip_above_the_limit_is_refused_whether_its_size_is_told_or_not() {
    let server = Server::start_with(Backend::Embedded, &[("limits.artifact.composer_zip", "100000")]).await;
    let user = server.new_user("ada").await;
    let lib = Lib::new("acme/lib", "1.0.0").file("bulk.bin", crate::bulk());
    lib.put(&server, Some(&user.token)).await.is(413, "larger than 100000 bytes");
    let zip = lib.zip();
    let (kind, body) = form(&[("package", Some("a.zip"), &zip)]);
    let path = "/composer/packages/acme/lib";
    send(&server, http::Method::PUT, path, Some(&user.token), kind, body).await.is(413, "larger than 100000 bytes");
    let desk = Desk::new(&server, "author");
    let dir = desk.project("files", &json!({}));
    std::fs::write(dir.join("big.zip"), zip).unwrap();
    let (url, who) = (format!("{}{path}", server.base_url()), format!("x:{}", user.token));
    // Chunked, without a length.
    desk.curl(&dir, &["-u", &who, "-H", "Transfer-Encoding: chunked", "-T", "big.zip", &url]).await.says("413");
    assert_eq!(server.get("/composer/p2/acme/lib.json", Some(&user.token)).await.0, 404);
    Lib::new("acme/lib", "1.0.0").live(&server, &user).await;
}

on_backends!(a_vendor_has_one_owner_however_many_come_at_once, async |server: Server| {
    let mut users = Vec::new();
    for name in ["ada", "bob", "cyd", "dan"] {
        users.push(server.new_user(name).await);
    }
    let uploads = users.iter().enumerate().map(|(n, user)| {
        let lib = Lib::new(&format!("race/lib{n}"), "1.0.0");
        let server = &server;
        async move { lib.put(server, Some(&user.token)).await }
    });
    let said = futures::future::join_all(uploads).await;
    let won = said.iter().filter(|said| said.status == 201).count();
    assert_eq!(won, 1, "{said:?}");
    for lost in said.iter().filter(|said| said.status != 201) {
        lost.is(403, "vendor race belongs to another owner");
    }
});

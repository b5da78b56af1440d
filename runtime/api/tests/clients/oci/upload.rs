//! Uploads by hand: whole, in pieces, out of step, too large, given up.

use reqwest::Method;

use super::{Wire, noise, sha256, sha512, wire};
use crate::{Server, on_backends};

const EMPTY: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

on_backends!(an_upload_goes_by_its_offset, async |server: Server| {
    let user = server.new_user("ada").await;
    let (wire, bytes) = (Wire::of(&server, &user), noise(3000, 10));
    let digest = sha256(&bytes);
    let started = wire.post("/v2/acme/app/blobs/uploads/").await.is(202);
    let path = started.header("location").to_owned();
    assert!(path.starts_with("/v2/acme/app/blobs/uploads/") && !path.contains('?'), "{path}");
    assert_eq!((started.header("range"), started.header("content-length")), ("0-0", "0"));
    assert!(path.ends_with(started.header("docker-upload-uuid")));
    assert_eq!(started.header("docker-distribution-api-version"), "registry/2.0");

    let range = async || {
        let status = wire.get(&path).await.is(204);
        assert_eq!(status.header("location"), path);
        status.header("range").to_owned()
    };
    assert_eq!(range().await, "0-0");
    let first = wire.patch(&path, &[("content-range", "0-999")], bytes[..1000].to_vec()).await.is(202);
    assert_eq!((first.header("range"), first.header("location")), ("0-999", path.as_str()));
    // Out of step: told where to go on, nothing written.
    for wrong in ["0-999", "1001-2000", "999-1998"] {
        let refused = wire.patch(&path, &[("content-range", wrong)], bytes[1000..2000].to_vec()).await;
        let refused = refused.refuses(416, "BLOB_UPLOAD_INVALID");
        assert_eq!((refused.header("range"), refused.header("location")), ("0-999", path.as_str()), "{wrong}");
    }
    let short = wire.patch(&path, &[("content-range", "1000-1999")], bytes[1000..1500].to_vec()).await;
    short.refuses(400, "SIZE_INVALID");
    wire.patch(&path, &[("content-range", "x")], bytes[1000..1500].to_vec()).await.refuses(400, "BLOB_UPLOAD_INVALID");
    assert_eq!(range().await, "0-999");
    // In the form of RFC 9110, and without any range.
    let second = wire.patch(&path, &[("content-range", "bytes 1000-1999/3000")], bytes[1000..2000].to_vec()).await;
    assert_eq!(second.is(202).header("range"), "0-1999");
    wire.put(&format!("{path}?digest={digest}"), &[("content-range", "0-999")], bytes[2000..].to_vec())
        .await
        .refuses(416, "BLOB_UPLOAD_INVALID");
    wire.put(&path, &[], "").await.refuses(400, "DIGEST_INVALID");
    wire.put(&format!("{path}?digest=sha256:zz"), &[], "").await.refuses(400, "DIGEST_INVALID");
    wire.put(&format!("{path}?digest=md5:{}", "0".repeat(32)), &[], "").await.refuses(400, "DIGEST_INVALID");
    assert_eq!(range().await, "0-1999");
    wire.patch(&path, &[], bytes[2000..2500].to_vec()).await.is(202);
    let done = wire.put(&format!("{path}?digest={digest}"), &[], bytes[2500..].to_vec()).await.is(201);
    assert_eq!(done.header("location"), format!("/v2/acme/app/blobs/{digest}"));
    assert_eq!(done.header("docker-content-digest"), digest);
    // The answer may have been lost; anything else is over.
    wire.put(&format!("{path}?digest={digest}"), &[], "").await.is(201);
    let last = [("content-range", "2500-2999")];
    wire.put(&format!("{path}?digest={digest}"), &last, bytes[2500..].to_vec()).await.is(201);
    wire.put(&format!("{path}?digest={EMPTY}"), &[], "").await.refuses(404, "BLOB_UPLOAD_UNKNOWN");
    wire.get(&path).await.refuses(404, "BLOB_UPLOAD_UNKNOWN");
    wire.patch(&path, &[], "more").await.refuses(404, "BLOB_UPLOAD_UNKNOWN");
    let head = wire.head(&format!("/v2/acme/app/blobs/{digest}")).await.is(200);
    assert_eq!((head.header("content-length"), head.header("docker-content-digest")), ("3000", digest.as_str()));
    assert_eq!(wire.get(&format!("/v2/acme/app/blobs/{digest}")).await.is(200).body, bytes);
});

on_backends!(uploads_come_in_every_form_and_digest, async |server: Server| {
    let user = server.new_user("ada").await;
    let wire = Wire::of(&server, &user);
    let uploads = "/v2/acme/app/blobs/uploads/";
    let single = async |bytes: &[u8], digest: &str| {
        wire.send(Method::POST, &format!("{uploads}?digest={digest}"), &[], bytes.to_vec()).await
    };
    // Empty, in each of three ways.
    single(b"", EMPTY).await.is(201);
    let path = wire.begin("acme/app").await;
    wire.put(&format!("{path}?digest={EMPTY}"), &[], "").await.is(201);
    let path = wire.begin("acme/app").await;
    wire.patch(&path, &[], "").await.is(202);
    wire.put(&format!("{path}?digest={EMPTY}"), &[], "").await.is(201);
    assert_eq!(wire.get(&format!("/v2/acme/app/blobs/{EMPTY}")).await.is(200).header("content-length"), "0");

    let bytes = noise(70_000, 11);
    single(&bytes, &sha256(&bytes)).await.is(201);
    single(&bytes, &sha256(b"other")).await.refuses(400, "DIGEST_INVALID");
    single(&bytes, "nonsense").await.refuses(400, "DIGEST_INVALID");
    // By SHA-512: announced, announced late, and not at all. Each name is its own.
    let long = sha512(&bytes);
    wire.get(&format!("/v2/acme/app/blobs/{long}")).await.refuses(404, "BLOB_UNKNOWN");
    single(&bytes, &long).await.is(201);
    assert_eq!(wire.get(&format!("/v2/acme/app/blobs/{long}")).await.is(200).body, bytes);
    let others = noise(70_000, 12);
    for (announced, seed) in [("?digest-algorithm=sha512", 13), ("", 14)] {
        let bytes = noise(6 << 20, seed);
        let started = wire.post(&format!("{uploads}{announced}")).await.is(202);
        let path = started.header("location").to_owned();
        for piece in bytes.chunks(2_500_000) {
            wire.patch(&path, &[], piece.to_vec()).await.is(202);
        }
        wire.put(&format!("{path}?digest={}", sha512(&bytes)), &[], "").await.is(201);
        let read = wire.get(&format!("/v2/acme/app/blobs/{}", sha512(&bytes))).await.is(200);
        assert!(read.body == bytes, "read back what was sent");
        wire.get(&format!("/v2/acme/app/blobs/{}", sha256(&bytes))).await.refuses(404, "BLOB_UNKNOWN");
        // The wrong one is found out, too.
        let path = wire.post(&format!("{uploads}{announced}")).await.is(202).header("location").to_owned();
        wire.patch(&path, &[], others.clone()).await.is(202);
        wire.put(&format!("{path}?digest={}", sha512(b"else")), &[], "").await.refuses(400, "DIGEST_INVALID");
        wire.get(&path).await.refuses(404, "BLOB_UPLOAD_UNKNOWN");
    }
    wire.post(&format!("{uploads}?digest-algorithm=md5")).await.refuses(400, "DIGEST_INVALID");

    // Wrong content ends the session; giving up does, too.
    let path = wire.begin("acme/app").await;
    wire.put(&format!("{path}?digest={}", sha256(b"a")), &[], "b").await.refuses(400, "DIGEST_INVALID");
    wire.get(&path).await.refuses(404, "BLOB_UPLOAD_UNKNOWN");
    let path = wire.begin("acme/app").await;
    wire.patch(&path, &[], "abc").await.is(202);
    wire.delete(&path).await.is(204);
    wire.get(&path).await.refuses(404, "BLOB_UPLOAD_UNKNOWN");
    wire.delete(&path).await.refuses(404, "BLOB_UPLOAD_UNKNOWN");
    wire.get("/v2/acme/app/blobs/uploads/nonsense").await.refuses(404, "BLOB_UPLOAD_UNKNOWN");
    // A session is of one person and one name.
    let path = wire.begin("acme/app").await;
    let other = Wire::of(&server, &server.new_user("eve").await);
    other.get(&path).await.refuses(404, "BLOB_UPLOAD_UNKNOWN");
    other.patch(&path, &[], "x").await.refuses(404, "BLOB_UPLOAD_UNKNOWN");
    wire.get(&path.replace("acme/app", "acme/other")).await.refuses(404, "BLOB_UPLOAD_UNKNOWN");
});

on_backends!(an_oversize_layer_or_manifest_is_refused, async |mut server: Server| {
    server.restart_with(&[("limits.artifact.oci_layer", "1048576"), ("limits.artifact.oci_manifest", "4096")]).await;
    let user = server.new_user("ada").await;
    let wire = Wire::of(&server, &user);
    let bytes = noise((1 << 20) + 1, 15);
    // Known by its length.
    let path = wire.begin("acme/app").await;
    wire.put(&format!("{path}?digest={}", sha256(&bytes)), &[], bytes.clone()).await.refuses(413, "SIZE_INVALID");
    wire.get(&path).await.refuses(404, "BLOB_UPLOAD_UNKNOWN");
    // Found out on the way, in one body and in two.
    let path = wire.begin("acme/app").await;
    let pieces: Vec<Result<Vec<u8>, std::io::Error>> = bytes.chunks(100_000).map(|piece| Ok(piece.to_vec())).collect();
    let body = reqwest::Body::wrap_stream(futures::stream::iter(pieces));
    wire.patch(&path, &[], body).await.refuses(413, "SIZE_INVALID");
    wire.get(&path).await.refuses(404, "BLOB_UPLOAD_UNKNOWN");
    let path = wire.begin("acme/app").await;
    wire.patch(&path, &[], bytes[..1 << 20].to_vec()).await.is(202);
    wire.patch(&path, &[], bytes[1 << 20..].to_vec()).await.refuses(413, "SIZE_INVALID");
    // The limit itself is allowed.
    wire.blob("acme/app", &bytes[..1 << 20]).await;

    let mut manifest = wire.prepare("acme/app", &[b"layer"]).await;
    let length = manifest.to_string().len();
    manifest["annotations"] = serde_json::json!({ "a": "x".repeat(4096 - length - 24) });
    let padding = 4096 - manifest.to_string().len();
    manifest["annotations"] = serde_json::json!({ "a": "x".repeat(4096 - length - 24 + padding) });
    assert_eq!(manifest.to_string().len(), 4096);
    wire.manifest("acme/app", "1", &manifest).await.is(201);
    manifest["annotations"]["a"] = serde_json::json!("x".repeat(4097));
    wire.manifest("acme/app", "1", &manifest).await.refuses(413, "MANIFEST_INVALID");
});

on_backends!(broken_manifests_are_refused, async |server: Server| {
    let user = server.new_user("ada").await;
    let wire = Wire::of(&server, &user);
    let good = wire.prepare("acme/app", &[b"layer"]).await;
    let path = "/v2/acme/app/manifests/1";
    let kind = [("content-type", wire::IMAGE)];
    let with = |edit: &dyn Fn(&mut serde_json::Value)| {
        let mut manifest = good.clone();
        edit(&mut manifest);
        manifest.to_string()
    };
    let cases: Vec<(&str, String)> = vec![
        ("not JSON", "{".into()),
        ("not an object", "[]".into()),
        ("cut off", good.to_string()[..100].to_owned()),
        ("schema 1", with(&|m| m["schemaVersion"] = 1.into())),
        ("another type inside", with(&|m| m["mediaType"] = wire::INDEX.into())),
        ("index and image at once", with(&|m| m["manifests"] = serde_json::json!([]))),
        ("wrong size", with(&|m| m["layers"][0]["size"] = 4.into())),
        ("broken digest", with(&|m| m["layers"][0]["digest"] = "sha256:x".into())),
        ("a NUL where texts are compared", with(&|m| m["artifactType"] = "a\u{0}b".into())),
        ("the same in a descriptor", with(&|m| m["config"]["mediaType"] = "a\u{0}b".into())),
        ("no config", with(&|m| drop(m.as_object_mut().unwrap().remove("config")))),
    ];
    for (what, body) in cases {
        let answer = wire.put(path, &kind, body).await;
        assert_eq!((answer.status, &answer.json()["errors"][0]["code"]), (400, &"MANIFEST_INVALID".into()), "{what}");
    }
    let missing = with(&|m| m["layers"][0]["digest"] = sha256(b"nowhere").into());
    let answer = wire.put(path, &kind, missing).await.refuses(400, "MANIFEST_BLOB_UNKNOWN");
    assert_eq!(answer.json()["errors"][0]["detail"]["digest"], sha256(b"nowhere"));
    wire.put(&format!("/v2/acme/app/manifests/{}", sha256(b"other")), &kind, good.to_string())
        .await
        .refuses(400, "DIGEST_INVALID");
    wire.put("/v2/acme/app/manifests/.bad", &kind, good.to_string()).await.refuses(400, "MANIFEST_INVALID");
    // Nothing of all that was kept.
    wire.get("/v2/acme/app/tags/list").await.is(404);
    wire.get("/v2/_catalog").await.is(200).json()["repositories"].as_array().unwrap().is_empty().then_some(()).unwrap();
    wire.put(path, &kind, good.to_string()).await.is(201);
    let read = wire.get(path).await.is(200);
    assert_eq!(read.body, good.to_string().as_bytes(), "byte for byte");
    // No text that is stored has a NUL, and PostgreSQL could not compare with one.
    let mut odd = good.clone();
    odd["annotations"] = serde_json::json!({ "org.opencontainers.image.description": "a\u{0}b" });
    wire.manifest("acme/app", "odd", &odd).await.is(201);
    assert_eq!(wire.get("/v2/acme/app/manifests/odd").await.is(200).body, odd.to_string().as_bytes());
    let referrers = format!("/v2/acme/app/referrers/{}?artifactType=%00", sha256(b"x"));
    for query in ["/v2/acme/app/tags/list?last=a%00", "/v2/_catalog?last=%00", referrers.as_str()] {
        wire.get(query).await.refuses(400, "UNSUPPORTED");
    }
    wire.delete("/v2/acme/app/manifests/odd").await.is(202);
    // Without a type it is known by what it says; with sixteen tags at once.
    let tags: Vec<String> = (0..16).map(|n| format!("tag=t{n}")).collect();
    let digest = sha256(good.to_string().as_bytes());
    let url = format!("/v2/acme/app/manifests/{digest}?{}", tags.join("&"));
    let answer = wire.put(&url, &[], good.to_string()).await.is(201);
    assert_eq!(answer.header("oci-tag").split(", ").count(), 16);
    let many: Vec<String> = (0..33).map(|n| format!("tag=t{n}")).collect();
    wire.put(&format!("/v2/acme/app/manifests/{digest}?{}", many.join("&")), &[], good.to_string()).await.is(414);
});

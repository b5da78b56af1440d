//! What clients do not show: headers, spellings, representations.

use serde_json::{Value, json};

use super::{publish, set_access};
use crate::{Server, on_backends};

on_backends!(packuments_are_revalidated_and_tarballs_kept, async |server: Server| {
    let user = server.new_user("ada").await;
    publish(&server, &user, "@w/lib", "1.0.0").await;
    let url = |path: &str| format!("{}/npm{path}", server.base_url());
    let get = |path: &str| server.http.get(url(path));
    let full = get("/@w%2flib").send().await.unwrap();
    let modified = full.headers()["last-modified"].clone();
    assert_eq!(full.headers()["cache-control"], "public, max-age=0, must-revalidate");
    assert_eq!(full.headers()["vary"], "Accept, Authorization, Accept-Encoding");
    assert_eq!(full.headers()["content-type"], "application/json");
    let etag = full.headers()["etag"].clone();
    let document: Value = full.json().await.unwrap();
    assert!(document["_rev"].as_str().unwrap().contains('-'));
    let again = get("/@w%2flib").header("if-none-match", &etag).send().await.unwrap();
    assert_eq!(again.status().as_u16(), 304);
    // pnpm sends both validators; the tag decides.
    let other = get("/@w%2flib").header("if-none-match", "\"x\"").header("if-modified-since", &modified);
    assert_eq!(other.send().await.unwrap().status().as_u16(), 200);
    let head = server.http.head(url("/@w%2flib")).send().await.unwrap();
    assert_eq!((head.status().as_u16(), &head.headers()["etag"]), (200, &etag));
    let packed = get("/@w%2flib").header("accept-encoding", "gzip").send().await.unwrap();
    assert_eq!(packed.headers()["content-encoding"], "gzip");
    assert_ne!(packed.headers()["etag"], etag);
    let short = get("/@w%2Flib").header("accept", "application/vnd.npm.install-v1+json").send().await.unwrap();
    assert_eq!(short.headers()["content-type"], "application/vnd.npm.install-v1+json");
    assert_ne!(short.headers()["etag"], etag);
    let mine = get("/@w/lib").bearer_auth(&user.token).send().await.unwrap();
    assert_eq!(mine.headers()["cache-control"], "private, max-age=0, must-revalidate");

    let tarball = document["versions"]["1.0.0"]["dist"]["tarball"].as_str().unwrap();
    assert_eq!(tarball, url("/@w/lib/-/lib-1.0.0.tgz"));
    let bytes = server.http.get(tarball).send().await.unwrap();
    assert_eq!(bytes.headers()["cache-control"], "public, max-age=31536000, immutable");
    assert_eq!(bytes.headers()["accept-ranges"], "bytes");
    let length: u64 = bytes.headers()["content-length"].to_str().unwrap().parse().unwrap();
    assert_eq!(bytes.bytes().await.unwrap().len() as u64, length);
    let head = server.http.head(tarball).send().await.unwrap();
    assert_eq!(
        (head.status().as_u16(), head.headers()["content-length"].to_str().unwrap()),
        (200, length.to_string().as_str())
    );
    let part = server.http.get(tarball).header("range", "bytes=0-9").send().await.unwrap();
    assert_eq!((part.status().as_u16(), part.bytes().await.unwrap().len()), (206, 10));
    for spelling in ["/@w%2flib/-/lib-1.0.0.tgz", "/@w/lib/-/@w/lib-1.0.0.tgz", "//@w/lib/-/lib-1.0.0.tgz"] {
        assert_eq!(get(spelling).send().await.unwrap().status().as_u16(), 200, "{spelling}");
    }
    for (path, wanted) in [
        ("/@w/lib/latest", 200),
        ("/@w%2flib/1.0.0", 200),
        ("/@w/lib/9.9.9", 404),
        ("/-/all", 404),
        ("/-/org/acme/package", 404),
        ("/-/team/acme/dev/user", 404),
        ("/-/stage", 404),
        ("/-/npm/v1/attestations/@w%2flib@1.0.0", 404),
        ("/npm", 404),
        ("/pnpm", 404),
        ("/-/npm/v1/keys", 200),
        ("/-/package/@w%2flib/dist-tags", 200),
        ("/-/package/@w%2flib/visibility", 200),
        ("/", 200),
        ("/-/ping", 200),
    ] {
        let answer = get(path).send().await.unwrap();
        assert_eq!(answer.status().as_u16(), wanted, "{path}");
        assert_eq!(answer.headers()["content-type"], "application/json", "{path}");
    }
});

on_backends!(hidden_and_missing_look_the_same, async |server: Server| {
    let user = server.new_user("ada").await;
    publish(&server, &user, "@h/lib", "1.0.0").await;
    set_access(&server, &user, "@h/lib", "restricted").await;
    let stranger = server.new_user("mallory").await;
    for token in [None, Some(stranger.token.as_str())] {
        for suffix in ["", "/1.0.0", "/-/lib-1.0.0.tgz"] {
            let hidden = server.get(&format!("/npm/@h/lib{suffix}"), token).await;
            let missing = server.get(&format!("/npm/@h/nil{suffix}").replace("lib-", "nil-"), token).await;
            assert_eq!(hidden, missing, "{suffix}");
            assert_eq!(hidden.0, 404);
        }
        for path in ["dist-tags", "visibility", "collaborators"] {
            let hidden = server.get(&format!("/npm/-/package/@h%2flib/{path}"), token).await;
            let missing = server.get(&format!("/npm/-/package/@h%2fnil/{path}"), token).await;
            assert_eq!(hidden, missing, "{path}");
        }
    }
    let broken = format!("pub_{}", "x".repeat(60));
    let (status, text) = server.get("/npm/@h/lib", Some(&broken)).await;
    assert_eq!((status, text.contains("Run npm login")), (401, true), "{text}");
});

on_backends!(a_dead_token_hinders_nobody_who_needs_none, async |server: Server| {
    let user = server.new_user("ada").await;
    publish(&server, &user, "open", "1.0.0").await;
    let dead = format!("pub_{}", "x".repeat(49));
    let login = json!({ "name": "ada", "password": user.password, "type": "user", "roles": [] });
    let url = |path: &str| format!("{}/npm{path}", server.base_url());
    for authorization in [format!("Bearer {dead}"), "Basic YWRhOm5vcGU=".to_owned(), "nonsense".to_owned()] {
        let with = |request: reqwest::RequestBuilder| request.header("authorization", &authorization);
        for (request, wanted) in [
            (server.http.get(url("/open")), 200),
            (server.http.get(url("/open/-/open-1.0.0.tgz")), 200),
            (server.http.get(url("/-/ping?write=true")), 200),
            (server.http.post(url("/-/v1/login")).json(&json!({})), 200),
            (server.http.put(url("/-/user/org.couchdb.user:ada")).json(&login), 201),
            (server.http.put(url("/-/user/org.couchdb.user:grace")).json(&login), 400),
            (server.http.get(url("/no-such-thing")), 401),
            (server.http.get(url("/-/whoami")), 401),
            (server.http.get(url("/-/user/org.couchdb.user:ada")), 401),
            (server.http.put(url("/open")).json(&json!({ "versions": {} })), 401),
            (server.http.delete(url("/-/package/open/dist-tags/x")), 401),
        ] {
            let answer = with(request).send().await.unwrap();
            let path = answer.url().path().to_owned();
            assert_eq!(answer.status().as_u16(), wanted, "{path} with {authorization}");
            assert!(answer.headers().get("www-authenticate").is_none(), "{path}: npm would hide the reason");
            if wanted >= 400 {
                let body: Value = answer.json().await.unwrap();
                assert!(body["error"].is_string() && body["error"] == body["message"], "{path}: {body}");
            }
        }
    }
    // Whoever is known is told about users, without anything secret.
    let (status, text) = server.get("/npm/-/user/org.couchdb.user:ada", Some(&user.token)).await;
    let known: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((status, known["email"].as_str()), (200, Some("ada@example.test")));
    assert!(!text.contains("password"), "{text}");
    assert_eq!(server.get("/npm/-/user/org.couchdb.user:nobody", Some(&user.token)).await.0, 404);
});

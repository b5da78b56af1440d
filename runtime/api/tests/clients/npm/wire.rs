//! What clients do not show: headers, spellings, representations.

use serde_json::Value;

use super::{Client, Desk};
use crate::{Backend, Server, on_backends};

on_backends!(packuments_are_revalidated_and_tarballs_kept, async |server: Server| {
    let user = server.new_user("ada").await;
    Desk::new(&server, "author", Some(&user.token)).publish("@w/lib", "1.0.0").await;
    let url = |path: &str| format!("{}/npm{path}", server.base_url());
    let get = |path: &str| server.http.get(url(path));
    let full = get("/@w%2flib").send().await.unwrap();
    assert_eq!(full.headers()["cache-control"], "public, max-age=0, must-revalidate");
    assert_eq!(full.headers()["vary"], "Accept, Authorization, Accept-Encoding");
    assert_eq!(full.headers()["content-type"], "application/json");
    let etag = full.headers()["etag"].clone();
    let document: Value = full.json().await.unwrap();
    assert!(document["_rev"].as_str().unwrap().contains('-'));
    let again = get("/@w%2flib").header("if-none-match", &etag).send().await.unwrap();
    assert_eq!(again.status().as_u16(), 304);
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
    let desk = Desk::new(&server, "author", Some(&user.token));
    desk.publish("@h/lib", "1.0.0").await;
    desk.run(Client::Npm10, desk.home(), &["access", "set", "status=private", "@h/lib"]).await.ok();
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

#[tokio::test(flavor = "multi_thread")]
async fn links_follow_the_configured_address_or_the_host() {
    let outside = "https://packages.example.test";
    let server = Server::start_with(Backend::Embedded, &[("server.base_url", outside)]).await;
    let user = server.new_user("ada").await;
    let document = crate::npm_upload::document("linked", "1.0.0", &crate::npm_upload::tarball("linked", "1.0.0", b"x"));
    let publish = async |server: &Server, token: &str| {
        let put = server.http.put(format!("{}/npm/linked", server.base_url())).bearer_auth(token).json(&document);
        assert_eq!(put.send().await.unwrap().status().as_u16(), 201);
    };
    let tarball = async |server: &Server, host: &str| {
        let get = server.http.get(format!("{}/npm/linked", server.base_url())).header("host", host);
        let packument: Value = get.send().await.unwrap().json().await.unwrap();
        packument["versions"]["1.0.0"]["dist"]["tarball"].as_str().unwrap().to_owned()
    };
    publish(&server, &user.token).await;
    assert_eq!(tarball(&server, "inside.test").await, format!("{outside}/npm/linked/-/linked-1.0.0.tgz"));

    let server = Server::start(Backend::Embedded).await;
    let user = server.new_user("ada").await;
    publish(&server, &user.token).await;
    assert_eq!(tarball(&server, "inside.test:81").await, "http://inside.test:81/npm/linked/-/linked-1.0.0.tgz");
}

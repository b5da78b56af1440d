//! Releases that are not live: held until they are judged, or blocked for good.

use serde_json::json;

use super::{Client, Desk, packument, publish};
use crate::{
    Server, bulk,
    npm_upload::{document, put, tarball},
    on_backends,
};

/// Waits until a version is visible.
async fn live(server: &Server, name: &str, version: &str) -> serde_json::Value {
    for _ in 0..300 {
        if let Some(seen) = packument(server, name).await
            && seen["versions"].get(version).is_some()
        {
            return seen;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    panic!("{name}@{version} never went live");
}

on_backends!(a_held_release_is_nowhere_until_it_is_judged, async |mut server: Server| {
    server.restart_with(&[("publish.wait_seconds", "1")]).await;
    let user = server.new_user("ada").await;
    let desk = Desk::new(&server, "author", Some(&user.token));
    publish(&server, &user, "slow", "1.0.0").await;
    let scanners = server.pause_scanners();

    // The publisher is told, on an existing package and on a new one.
    for (name, version, client) in
        [("slow", "1.1.0", Client::Npm10), ("slow", "1.2.0", Client::Npm11), ("@slow/new", "1.0.0", Client::Npm11)]
    {
        let dir = desk.package(&json!({ "name": name, "version": version }));
        std::fs::write(dir.join("bulk.bin"), bulk()).unwrap();
        let told = desk.run(client, &dir, &["publish"]).await.ok();
        told.says("held for review").says(&format!("/packages/npm/{name}"));
    }
    // Nobody sees them, the publisher included.
    for token in [None, Some(user.token.as_str())] {
        assert_eq!(server.get("/npm/@slow%2fnew", token).await.0, 404);
        assert_eq!(server.get("/npm/-/package/@slow%2fnew/dist-tags", token).await.0, 404);
        let (_, seen) = server.get("/npm/slow", token).await;
        assert!(!seen.contains("1.1.0") && !seen.contains("1.2.0"), "{seen}");
        for path in ["slow/1.1.0", "slow/-/slow-1.1.0.tgz", "@slow%2fnew/-/new-1.0.0.tgz"] {
            assert_eq!(server.get(&format!("/npm/{path}"), token).await.0, 404, "{path}");
        }
    }
    let app = desk.consumer("app", &json!({ "slow": "1.1.0" }));
    desk.run(Client::Npm10, &app, &["install"]).await.fails().says("ETARGET");
    desk.run(Client::Npm10, desk.home(), &["dist-tag", "add", "slow@1.1.0", "x1"]).await.fails().says("E404");
    // What a client writes back does not know of the held ones, and does not touch them.
    desk.run(Client::Npm10, desk.home(), &["deprecate", "slow", "old"]).await.ok();
    let (status, text) =
        put(&server, &user.token, "slow", &document("slow", "1.1.0", &tarball("slow", "1.1.0", b""))).await;
    assert_eq!(status, 409, "{text}");

    drop(scanners);
    live(&server, "slow", "1.1.0").await;
    live(&server, "@slow/new", "1.0.0").await;
    let seen = live(&server, "slow", "1.2.0").await;
    assert_eq!(seen["dist-tags"], json!({ "latest": "1.2.0" }));
    assert_eq!(seen["versions"]["1.0.0"]["deprecated"], "old");
    for version in ["1.1.0", "1.2.0"] {
        assert!(seen["versions"][version].get("deprecated").is_none(), "{seen}");
    }
    desk.run(Client::Npm10, &app, &["install"]).await.ok();
});

on_backends!(a_blocked_release_is_nowhere, async |server: Server| {
    let user = server.new_user("ada").await;
    let desk = Desk::new(&server, "author", Some(&user.token));
    publish(&server, &user, "held", "1.0.0").await;
    // What clients resolve from says one thing, the tarball another: blocked by policy.
    let bytes = tarball("held", "1.1.0", b"x");
    let mut body = document("held", "1.1.0", &bytes);
    body["versions"]["1.1.0"]["dependencies"] = json!({ "evil": "1.0.0" });
    let (status, text) = put(&server, &user.token, "held", &body).await;
    assert_eq!(status, 403, "{text}");
    assert!(text.contains("dependencies"), "{text}");
    let (_, seen) = server.get("/npm/held", Some(&user.token)).await;
    assert!(!seen.contains("1.1.0"), "{seen}");
    for path in ["/npm/held/1.1.0", "/npm/held/-/held-1.1.0.tgz"] {
        assert_eq!(server.get(path, Some(&user.token)).await.0, 404, "{path}");
    }
    desk.run(Client::Npm10, desk.home(), &["dist-tag", "add", "held@1.1.0", "x1"]).await.fails().says("E404");
    // The number is burnt.
    let (status, text) = put(&server, &user.token, "held", &document("held", "1.1.0", &bytes)).await;
    assert_eq!(status, 409, "{text}");
    assert!(text.contains("You cannot publish over the previously published versions: 1.1.0."), "{text}");

    // A real client, made to do so: yarn classic reads the manifest before a script changes it, and packs after.
    let add = "const p = require('./package.json'); p.dependencies = { evil: '1.0.0' }; \
               require('fs').writeFileSync('package.json', JSON.stringify(p))";
    let scripts = json!({ "prepublish": format!("node -e \"{add}\"") });
    let dir = desk.package(&json!({ "name": "held", "version": "1.2.0", "scripts": scripts }));
    let publish = ["publish", "--new-version", "1.2.0", "--non-interactive"];
    desk.run(Client::Yarn, &dir, &publish).await.fails().says("`dependencies` of the published manifest");
    assert!(packument(&server, "held").await.unwrap()["versions"].get("1.2.0").is_none());
});

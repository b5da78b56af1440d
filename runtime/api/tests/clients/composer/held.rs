//! Releases whose scan takes its time.

use std::time::Duration;

use serde_json::{Value, json};

use super::{Desk, Lib};
use crate::{Server, bulk, faults::state::eventually, on_backends};

on_backends!(a_held_release_is_nowhere_until_it_is_let_go, async |mut server: Server| {
    server.restart_with(&[("publish.wait_seconds", "1")]).await;
    let user = server.new_user("ada").await;
    let stopped = server.pause_scanners();
    let (_, first) = server.get("/composer/metadata/changes.json", None).await;
    let since = serde_json::from_str::<Value>(&first).unwrap()["timestamp"].clone();
    let lib = Lib::new("acme/lib", "1.0.0").with("provide", json!({ "virtual/thing": "1.0" }));
    let said = lib.file("bulk.bin", bulk()).put(&server, Some(&user.token)).await;
    assert_eq!((said.status, said.body["status"].as_str()), (202, Some("quarantined")), "{said:?}");
    let dist = said.body["dist"]["url"].as_str().unwrap().strip_prefix(&server.base_url()).unwrap().to_owned();
    for path in ["/composer/p2/acme/lib.json", "/composer/p2/acme/lib~dev.json", &dist] {
        assert_eq!(server.get(path, Some(&user.token)).await.0, 404, "{path}");
    }
    let changes = format!("/composer/metadata/changes.json?since={since}");
    let lists = ["/composer/packages.json", "/composer/list.json", "/composer/search.json?q=lib"];
    for path in lists.into_iter().chain(["/composer/providers/virtual/thing.json", &changes]) {
        let (status, text) = server.get(path, Some(&user.token)).await;
        assert!(status == 200 && !text.contains("acme"), "{path}: {status} {text}");
    }
    let desk = Desk::new(&server, "consumer");
    let dir = desk.project("app", &json!({ "acme/lib": "*" }));
    desk.run(&dir, &["install"]).await.ends_with(2).says("could not be found in any version");
    Lib::new("acme/lib", "1.0").put(&server, Some(&user.token)).await.is(409, "acme/lib 1.0 already exists");
    drop(stopped);
    eventually("the release is exposed", Duration::from_secs(60), async || {
        server.get("/composer/p2/acme/lib.json", None).await.0 == 200
    })
    .await;
    desk.run(&dir, &["install"]).await.ok().says("Installing acme/lib (1.0.0)");
    for path in ["/composer/providers/virtual/thing.json", &changes] {
        assert!(server.get(path, None).await.1.contains("acme/lib"), "{path}");
    }
});

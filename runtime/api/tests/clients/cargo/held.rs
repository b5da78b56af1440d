//! Releases that take their time: slow scans, held versions, and what becomes of them.
//!
//! A scan is slowed by stopping the scanner processes, as a busy machine would.

use std::time::Duration;

use serde_json::Value;

use super::{Machine, fetch, upload::Upload, versions};
use crate::{
    Server, bulk,
    faults::state::{eventually, settled},
    on_backends,
};

const EXPOSED_WITHIN: Duration = Duration::from_secs(30);

on_backends!(a_slow_scan_still_ends_in_a_clean_publish, async |server: Server| {
    let user = server.new_user("ada").await;
    let machine = Machine::new(&server, "m").logged_in(&user.token);
    let dir = machine.library("slow-one", "1.0.0", "");
    std::fs::write(dir.join("bulk.bin"), bulk()).unwrap();
    let stopped = server.pause_scanners();
    let release = async {
        // The clock starts when the upload is there.
        eventually("the scan starts", EXPOSED_WITHIN, async || server.log().contains("/cargo/index/sl/ow/slow-one"))
            .await;
        tokio::time::sleep(Duration::from_secs(3)).await;
        drop(stopped);
    };
    let (said, ()) = tokio::join!(machine.cargo(&dir, "publish --no-verify --registry pub"), release);
    said.succeeds().says("Published slow-one v1.0.0").never_says("held for review").never_says("timed out");
});

on_backends!(a_held_release_is_nowhere_until_it_is_let_go, async |mut server: Server| {
    server.restart_with(&[("publish.wait_seconds", "1")]).await;
    let user = server.new_user("ada").await;
    let machine = Machine::new(&server, "m").logged_in(&user.token);
    let stopped = server.pause_scanners();
    let dir = machine.library("held-one", "1.0.0", "");
    std::fs::write(dir.join("bulk.bin"), bulk()).unwrap();
    let said = machine.publish_patiently_for(2, &dir, "pub").await.succeeds();
    let review = format!("{}/packages/cargo/held-one/-/v/1.0.0", server.base_url());
    said.says("release is held for review").says(&review).says("timed out waiting");
    for token in [None, Some(user.token.as_str())] {
        for path in [
            "/cargo/index/he/ld/held-one",
            "/cargo/api/v1/crates/held-one/1.0.0/download",
            "/cargo/api/v1/crates/held-one",
        ] {
            assert_eq!(fetch(&server, path, token).await.0, 404, "{path}");
        }
    }
    // The index does not show it, so cargo uploads again and the server says why not.
    let again = machine.publish_patiently_for(2, &dir, "pub").await;
    again.fails_with("crate version `1.0.0` is already uploaded");
    // A mark set meanwhile is kept.
    machine.cargo(&dir, "yank --registry pub --version 1.0.0 held-one").await.succeeds();

    // Exposure, not upload, is what `pubtime` tells.
    let before = publaryn_core::Timestamp::now().to_seconds_string();
    drop(stopped);
    eventually("it is exposed", EXPOSED_WITHIN, async || {
        fetch(&server, "/cargo/index/he/ld/held-one", None).await.0 == 200
    })
    .await;
    let (_, line) = fetch(&server, "/cargo/index/he/ld/held-one", None).await;
    let line: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(line["yanked"], true);
    assert!(line["pubtime"].as_str().unwrap() >= before.as_str(), "{line} {before}");
    assert_eq!(fetch(&server, "/cargo/api/v1/crates/held-one/1.0.0/download", None).await.0, 200);
});

on_backends!(a_workspace_waits_for_its_held_member, async |mut server: Server| {
    server.restart_with(&[("publish.wait_seconds", "1")]).await;
    let user = server.new_user("ada").await;
    let machine = Machine::new(&server, "m").logged_in(&user.token);
    let dir = machine.workspace(
        "held",
        &[
            ("base-one", ""),
            (
                "top-one",
                "[dependencies]\nbase-one = { path = \"../base-one\", version = \"1.0.0\", registry = \"pub\" }\n",
            ),
        ],
    );
    std::fs::write(dir.join("base-one/bulk.bin"), bulk()).unwrap();
    let stopped = server.pause_scanners();
    let mut command = machine.command("cargo", &dir);
    command.env("RUSTC_BOOTSTRAP", "1").env("CARGO_PUBLISH_TIMEOUT", "2");
    let line = "-Zpublish-timeout publish --workspace --no-verify --registry pub";
    let said = machine.run(command, line.split(' '), "").await;
    said.fails_with("unable to publish top-one").says("release is held for review");
    drop(stopped);
    settled(&server, EXPOSED_WITHIN).await;
    assert_eq!(versions(&server, "/cargo/index/ba/se/base-one", None).await, ["1.0.0"]);
    machine
        .cargo(&dir, "publish -p top-one --no-verify --registry pub")
        .await
        .succeeds()
        .says("Published top-one v1.0.0");
});

on_backends!(a_blocked_release_burns_its_number, async |server: Server| {
    let user = server.new_user("ada").await;
    let mut upload = Upload::new("liar", "1.0.0");
    upload.json["deps"] = serde_json::json!([{ "name": "evil", "version_req": "^1", "kind": "normal" }]);
    let (status, body) = upload.send(&server, &user.token).await;
    assert_eq!(status, 403, "{body}");
    assert!(body.contains("normal dependency `evil` is missing from the manifest"), "{body}");
    assert_eq!(fetch(&server, "/cargo/index/li/ar/liar", Some(&user.token)).await.0, 404);
    let path = "/cargo/api/v1/crates/liar/1.0.0/download";
    assert_eq!(fetch(&server, path, Some(&user.token)).await.0, 404);
    // The number stays taken, as cargo says in its own words.
    let machine = Machine::new(&server, "m").logged_in(&user.token);
    machine.publish("pub", "liar", "1.0.0", "").await.fails_with("crate version `1.0.0` is already uploaded");
});

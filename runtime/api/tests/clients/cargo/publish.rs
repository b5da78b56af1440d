//! `cargo login`, `cargo publish`, and what it prints when the answer is no.

use super::{Machine, fetch, upload::Upload, versions};
use crate::{Server, on_backends};

on_backends!(login_leads_to_the_token_page, async |server: Server| {
    let user = server.new_user("ada").await;
    let machine = Machine::new(&server, "m");
    let dir = machine.dir("login");
    let line = ["-qefc", "cargo login --registry corp", "/dev/null"];
    let said = machine.run(machine.command("script", &dir), line.into_iter(), &format!("{}\n", user.token)).await;
    said.succeeds().says(&format!("{}/cargo/me", server.base_url()));
    machine.publish("corp", "after-login", "1.0.0", "").await.succeeds();
    machine.cargo(&dir, "logout --registry corp").await.succeeds();
    let client = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).build().unwrap();
    let page = client.get(format!("{}/cargo/me", server.base_url())).send().await.unwrap();
    assert_eq!(page.status().as_u16(), 302);
    assert_eq!(page.headers()["location"], format!("{}/settings/tokens", server.base_url()).as_str());
});

on_backends!(publish_says_what_happened, async |server: Server| {
    let ada = server.new_user("ada").await;
    let machine = Machine::new(&server, "m");
    machine.publish("pub", "foo-bar", "1.0.0+b1", "").await.fails_with("no token found");
    machine.login("pub", &ada.token);
    machine
        .publish("pub", "foo-bar", "1.0.0+b1", "")
        .await
        .succeeds()
        .says("Published foo-bar v1.0.0+b1 at registry `pub`")
        .never_says("warning: private crate");
    assert_eq!(versions(&server, "/cargo/index/fo/o-/foo-bar", None).await, ["1.0.0+b1"]);

    // The client itself knows of a version it can see.
    machine.publish("pub", "foo-bar", "1.0.0+b1", "").await.fails_with("already exists on `pub` index");
    machine.publish("pub", "foo-bar", "1.0.0+b2", "").await.fails_with("already exists on `pub` index");
    let (status, body) = Upload::new("foo-bar", "1.0.0+b2").send(&server, &ada.token).await;
    assert!(status == 409 && body.contains("crate version `1.0.0+b1` is already uploaded"), "{status} {body}");
    machine.publish("pub", "foo_bar", "2.0.0", "").await.fails_with("crate was previously named `foo-bar`");
    machine.publish("pub", "FOO-bar", "2.0.0", "").await.fails_with("crate was previously named `foo-bar`");

    machine.login("pub", "pub_notatokennotatokennotatokennotatokennotatoken");
    machine.publish("pub", "foo-bar", "1.1.0", "").await.fails_with("token is invalid or expired");
    let reader = server.token("ada", &ada.password, &["packages:read"]).await;
    machine.login("pub", &reader);
    machine.publish("pub", "foo-bar", "1.1.0", "").await.fails_with("packages:publish");
    let eve = server.new_user("eve").await;
    machine.login("pub", &eve.token);
    machine.publish("pub", "foo-bar", "1.1.0", "").await.fails_with("you are not an owner of crate `foo-bar`");
    // Tokens that users of other registries stored with their scheme are forwarded unchanged.
    machine.login("pub", &format!("Bearer {}", ada.token));
    machine.publish("pub", "foo-bar", "1.1.0", "").await.succeeds();
    assert_eq!(versions(&server, "/cargo/index/fo/o-/foo-bar", None).await, ["1.0.0+b1", "1.1.0"]);
});

on_backends!(a_workspace_is_published_in_one_go, async |server: Server| {
    let user = server.new_user("ada").await;
    let machine = Machine::new(&server, "m").logged_in(&user.token);
    let dir = machine.dir("ws");
    std::fs::write(dir.join("Cargo.toml"), "[workspace]\nmembers = [\"first\", \"second\"]\nresolver = \"2\"\n")
        .unwrap();
    for (name, tail) in [
        ("first", ""),
        ("second", "[dependencies]\nfirst = { path = \"../first\", version = \"1.0.0\", registry = \"pub\" }\n"),
    ] {
        let member = dir.join(name);
        std::fs::create_dir_all(member.join("src")).unwrap();
        std::fs::write(member.join("src/lib.rs"), "").unwrap();
        let manifest = format!(
            "[package]\nname = \"{name}\"\nversion = \"1.0.0\"\nedition = \"2021\"\ndescription = \"d\"\nlicense = \"MIT\"\n{tail}"
        );
        std::fs::write(member.join("Cargo.toml"), manifest).unwrap();
    }
    let said = machine.cargo(&dir, "publish --workspace --registry pub").await.succeeds();
    said.says("Published first v1.0.0").says("Published second v1.0.0");
    let (_, line) = fetch(&server, "/cargo/index/se/co/second", None).await;
    assert!(line.contains(r#""name":"first","req":"^1.0.0""#) && line.contains(r#""registry":null"#), "{line}");
});

on_backends!(what_is_not_decided_in_time_is_published_later, async |mut server: Server| {
    server.restart_with(&[("publish.wait_seconds", "0")]).await;
    let user = server.new_user("ada").await;
    let machine = Machine::new(&server, "m").logged_in(&user.token);
    let said = machine.publish("pub", "slow-scan", "1.0.0", "").await.succeeds();
    let review = format!("{}/packages/cargo/slow-scan/-/v/1.0.0", server.base_url());
    said.says("release is held for review").says(&review).says("Published slow-scan v1.0.0");
});

on_backends!(a_manifest_that_differs_from_the_request_is_blocked, async |server: Server| {
    let user = server.new_user("ada").await;
    let mut upload = Upload::new("liar", "1.0.0");
    upload.json["deps"] = serde_json::json!([{ "name": "evil", "version_req": "^1", "kind": "normal" }]);
    let (status, body) = upload.send(&server, &user.token).await;
    assert_eq!(status, 403, "{body}");
    assert!(body.contains("normal dependency `evil` is missing from the manifest"), "{body}");
    assert_eq!(fetch(&server, "/cargo/index/li/ar/liar", Some(&user.token)).await.0, 404);
    let path = "/cargo/api/v1/crates/liar/1.0.0/download";
    assert_eq!(fetch(&server, path, Some(&user.token)).await.0, 404);
    // The number stays taken.
    let (status, body) = Upload::new("liar", "1.0.0").send(&server, &user.token).await;
    assert_eq!(status, 409, "{body}");
    assert!(body.contains("crate version `1.0.0` is already uploaded"), "{body}");
});

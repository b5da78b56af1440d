//! `cargo login`, `cargo publish`, and what it prints when the answer is no.

use super::{Machine, fetch, upload::Upload, versions};
use crate::{Server, faults::packages::noise, on_backends};

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
    let dir = machine.workspace(
        "ws",
        &[
            ("first", ""),
            ("second", "[dependencies]\nfirst = { path = \"../first\", version = \"1.0.0\", registry = \"pub\" }\n"),
        ],
    );
    let said = machine.cargo(&dir, "publish --workspace --registry pub").await.succeeds();
    said.says("Published first v1.0.0").says("Published second v1.0.0");
    let (_, line) = fetch(&server, "/cargo/index/se/co/second", None).await;
    assert!(line.contains(r#""name":"first","req":"^1.0.0""#) && line.contains(r#""registry":null"#), "{line}");
});

on_backends!(large_crates_are_sent_after_asking, async |mut server: Server| {
    // Above 1 MiB cargo waits for `100 Continue` before it sends the body.
    server.restart_with(&[("limits.artifact.crate", "4MiB")]).await;
    let user = server.new_user("ada").await;
    let machine = Machine::new(&server, "m").logged_in(&user.token);
    let large = machine.library("large-one", "1.0.0", "");
    std::fs::write(large.join("src/noise.bin"), noise(3 << 20, 1)).unwrap();
    machine.cargo(&large, "publish --no-verify --registry pub").await.succeeds().says("Published large-one v1.0.0");
    let url = format!("{}/cargo/api/v1/crates/large-one/1.0.0/download", server.base_url());
    let archive = server.http.get(url).send().await.unwrap().bytes().await.unwrap();
    assert!(archive.len() > 1 << 20, "{} bytes do not make cargo ask", archive.len());

    let oversize = machine.library("large-one", "2.0.0", "");
    std::fs::write(oversize.join("src/noise.bin"), noise(9 << 20, 2)).unwrap();
    let said = machine.cargo(&oversize, "publish --no-verify --registry pub").await;
    said.fails_with("max upload size is: 4194304").says("413");
    // Refused from the head alone: without a token, and with one that may not.
    machine.login("pub", "pub_notatokennotatokennotatokennotatokennotatoken");
    machine.cargo(&oversize, "publish --no-verify --registry pub").await.fails_with("token is invalid or expired");
    assert_eq!(versions(&server, "/cargo/index/la/rg/large-one", None).await, ["1.0.0"]);
});

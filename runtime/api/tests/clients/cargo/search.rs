//! `cargo search`: the index follows a publish within seconds, so tests wait for it.

use std::{path::Path, time::Duration};

use super::{Machine, Said, fetch};
use crate::{Server, on_backends};

/// Indexing is a job; a busy machine gets a minute.
const INDEXED_WITHIN: Duration = Duration::from_secs(60);

async fn search_until(machine: &Machine, dir: &Path, line: &str, wanted: &str) -> Said {
    let deadline = tokio::time::Instant::now() + INDEXED_WITHIN;
    loop {
        let said = machine.cargo(dir, line).await.succeeds();
        if said.out.contains(wanted) {
            return said;
        }
        assert!(tokio::time::Instant::now() < deadline, "`{line}` never found `{wanted}`: {said:?}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

on_backends!(search_finds_what_the_caller_may_see, async |mut server: Server| {
    let pia = server.new_user("pia").await;
    let machine = Machine::new(&server, "pia").logged_in(&pia.token);
    let here = machine.dir("here");
    for version in ["1.0.0", "1.1.0", "2.0.0-rc.1"] {
        machine.publish("pub", "walrus-core", version, "").await.succeeds();
    }
    let said = search_until(&machine, &here, "search walrus --registry pub", "walrus-core").await;
    said.says("walrus-core = \"1.1.0\"").says("# a test");
    machine.cargo(&here, "yank --registry pub --version 1.1.0 walrus-core").await.succeeds();
    search_until(&machine, &here, "search walrus --registry pub --limit 100", "walrus-core = \"1.0.0\"").await;

    server.restart_with(&[("packages.personal_repository_visibility", "private")]).await;
    let ada = server.new_user("ada").await;
    let private = Machine::new(&server, "ada").logged_in(&ada.token);
    private.publish("corp", "walrus-secret", "1.0.0", "").await.succeeds();
    search_until(&private, &here, "search walrus --registry corp", "walrus-secret").await.says("walrus-core");
    private.cargo(&here, "search walrus --registry pub").await.succeeds().never_says("walrus-secret");
    machine.cargo(&here, "search walrus --registry corp").await.succeeds().never_says("walrus-secret");

    server.restart_with(&[("packages.personal_repository_visibility", "unlisted")]).await;
    let una = server.new_user("una").await;
    let unlisted = Machine::new(&server, "una").logged_in(&una.token);
    unlisted.publish("pub", "walrus-unlisted", "1.0.0", "").await.succeeds();
    assert_eq!(fetch(&server, "/cargo/index/wa/lr/walrus-unlisted", None).await.0, 200);
    unlisted.publish("pub", "walrus-unlisted", "1.1.0", "").await.succeeds();
    // Something listed and published later is found, so the index has passed the unlisted one.
    machine.publish("pub", "walrus-later", "1.0.0", "").await.succeeds();
    search_until(&machine, &here, "search walrus --registry pub", "walrus-later").await.never_says("walrus-unlisted");
    unlisted.cargo(&here, "search walrus --registry corp").await.succeeds().never_says("walrus-unlisted");
});

on_backends!(any_text_can_be_searched_for, async |server: Server| {
    let machine = Machine::new(&server, "m");
    let here = machine.dir("here");
    for text in ["a%20b", "%C3%BC", "%25", "%22%27%3C", "+", "%00", "%FF"] {
        let (status, body) = fetch(&server, &format!("/cargo/api/v1/crates?q={text}&per_page=100"), None).await;
        assert_eq!(status, 200, "{text}: {body}");
        let body: serde_json::Value = serde_json::from_str(&body).unwrap();
        assert!(body["crates"].is_array() && body["meta"]["total"].is_u64(), "{text}: {body}");
    }
    for query in ["", "?q=", "?q=x&per_page=0", "?q=x&per_page=100000", "?q=x&page=99999999999", "?per_page=x"] {
        assert_eq!(fetch(&server, &format!("/cargo/api/v1/crates{query}"), None).await.0, 200, "{query}");
    }
    for query in ["ü", "a b", "%", "&q=x", "#"] {
        let args = ["search", query, "--registry", "pub", "--limit", "100"];
        machine.run(machine.command("cargo", &here), args.into_iter(), "").await.succeeds();
    }
});

//! Searching, auditing, verifying signatures.

use serde_json::json;

use super::{Client, Desk};
use crate::{Server, on_backends};

/// Searches until the index has caught up; it follows within seconds, not at once.
async fn search(desk: &Desk, client: Client, text: &str, wanted: &str) -> bool {
    for _ in 0..60 {
        let found = desk.run(client, desk.home(), &["search", text]).await.ok();
        if found.text.contains(wanted) {
            return true;
        }
        tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    }
    false
}

on_backends!(search_finds_what_the_caller_may_see, async |server: Server| {
    let user = server.new_user("ada").await;
    let desk = Desk::new(&server, "author", Some(&user.token));
    desk.publish_json(&json!({ "name": "findable-thing", "version": "1.0.0", "description": "a quokka" })).await;
    desk.publish_json(&json!({ "name": "@quiet/thing", "version": "1.0.0", "description": "a quokka too" })).await;
    desk.run(Client::Npm10, desk.home(), &["access", "set", "status=private", "@quiet/thing"]).await.ok();
    let anonymous = Desk::new(&server, "anonymous", None);
    for client in [Client::Npm10, Client::Npm11] {
        assert!(search(&anonymous, client, "quokka", "findable-thing").await, "{client:?}");
        assert!(search(&desk, client, "quokka", "@quiet/thing").await, "{client:?}");
        anonymous.run(client, anonymous.home(), &["search", "quokka"]).await.ok().never_says("@quiet");
        let found = anonymous.run(client, anonymous.home(), &["search", "--json", "quokka"]).await.ok().json();
        assert_eq!(found[0]["name"], "findable-thing");
        assert_eq!(found.as_array().unwrap().len(), 1);
        anonymous.run(client, anonymous.home(), &["search", "no-such-thing-anywhere"]).await.ok();
    }
    anonymous.run(Client::Pnpm10, anonymous.home(), &["search", "quokka"]).await.ok().says("findable-thing");
});

on_backends!(audits_report_findings_on_installed_versions, async |server: Server| {
    let user = server.new_user("ada").await;
    let desk = Desk::new(&server, "author", Some(&user.token));
    // A dependency over plain http is a recorded finding that does not block.
    desk.publish_json(&json!({
        "name": "risky", "version": "1.0.0", "optionalDependencies": { "elsewhere": "http://127.0.0.1:1/x.tgz" },
    }))
    .await;
    desk.publish("clean", "1.0.0").await;
    for client in Client::ALL {
        if client == Client::Yarn {
            // Its audit is hard-wired to its default registry.
            continue;
        }
        for (package, is_clean) in [("risky", false), ("clean", true)] {
            let desk = Desk::new(&server, &format!("{}-{package}", client.name()), None)
                .with_env("YARN_NODE_LINKER", "node-modules");
            let dir = desk.consumer("app", &json!({ package: "1.0.0" }));
            if client == Client::Berry {
                std::fs::write(dir.join("yarn.lock"), "").unwrap();
            }
            let args: &[&str] = match client {
                Client::Berry => &["install", "--mode=update-lockfile"],
                Client::Npm10 | Client::Npm11 => &["install", "--omit=optional", "--package-lock-only"],
                _ => &["install", "--no-optional"],
            };
            // Only the lockfile is needed; what cannot be fetched is optional.
            desk.run(client, &dir, args).await;
            let args: &[&str] = if client == Client::Berry { &["npm", "audit", "--all"] } else { &["audit"] };
            let ran = desk.run(client, &dir, args).await;
            if is_clean {
                ran.ok();
            } else {
                ran.fails().says("risky").says("high").says("/packages/npm/risky").says("fetched from outside");
            }
        }
    }
});

on_backends!(signatures_are_verified, async |server: Server| {
    let user = server.new_user("ada").await;
    let author = Desk::new(&server, "author", Some(&user.token));
    author.publish("signed", "1.0.0").await;
    author.publish("@scope/signed", "1.0.0").await;
    let desk = Desk::new(&server, "verifier", None);
    let dir = desk.consumer("app", &json!({ "signed": "1.0.0", "@scope/signed": "1.0.0" }));
    desk.run(Client::Pnpm12, &dir, &["install"]).await.ok();
    desk.run(Client::Pnpm12, &dir, &["audit", "signatures"]).await.ok().says("2");
});

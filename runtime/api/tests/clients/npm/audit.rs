//! Searching, auditing, verifying signatures.

use serde_json::json;

use super::{
    Client, Desk,
    proxy::{Manner, Proxy},
    publish, publish_json, set_access,
};
use crate::{Server, on_backends};

/// Waits until a search finds something: the index follows within seconds, not at once.
async fn indexed(server: &Server, token: Option<&str>, text: &str, wanted: &str) {
    for _ in 0..150 {
        let (_, found) = server.get(&format!("/npm/-/v1/search?text={text}"), token).await;
        if found.contains(wanted) {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    }
    panic!("`{wanted}` never came into the index");
}

on_backends!(search_finds_what_the_caller_may_see, async |server: Server| {
    let user = server.new_user("ada").await;
    let open =
        json!({ "name": "findable-thing", "version": "1.0.0", "description": "a quokka", "keywords": ["marsupial"] });
    publish_json(&server, &user, &open).await;
    let closed = json!({ "name": "@quiet/thing", "version": "1.0.0", "description": "a quokka too" });
    publish_json(&server, &user, &closed).await;
    set_access(&server, &user, "@quiet/thing", "restricted").await;
    indexed(&server, None, "quokka", "findable-thing").await;
    indexed(&server, Some(&user.token), "quokka", "@quiet/thing").await;
    let desk = Desk::new(&server, "author", Some(&user.token));
    let anonymous = Desk::new(&server, "anonymous", None);
    for client in [Client::Npm10, Client::Npm11, Client::Pnpm10, Client::Pnpm12] {
        let search = async |desk: &Desk, args: &[&str]| desk.run(client, desk.home(), args).await.ok();
        search(&desk, &["search", "quokka"]).await.says("findable-thing").says("@quiet/thing");
        search(&anonymous, &["search", "quokka"]).await.says("findable-thing").never_says("@quiet");
        search(&anonymous, &["search", "no-such-thing-anywhere"]).await.never_says("findable");
        let found = search(&anonymous, &["search", "--json", "quokka"]).await.json();
        assert_eq!(found[0]["name"], "findable-thing");
        assert_eq!(found.as_array().unwrap().len(), 1);
    }
    for (text, hits) in [
        ("keywords:marsupial", 1),
        ("maintainer:ada+quokka", 1),
        ("author:nobody+quokka", 0),
        ("scope:quiet", 0),
        ("not:unstable+quokka", 1),
        ("", 1),
        ("quokka&size=0", 0),
        ("quokka&from=5", 0),
    ] {
        let (status, found) = server.get(&format!("/npm/-/v1/search?text={text}"), None).await;
        let found: serde_json::Value = serde_json::from_str(&found).unwrap();
        assert_eq!((status, found["objects"].as_array().unwrap().len()), (200, hits), "{text}: {found}");
    }
});

on_backends!(audits_report_findings_on_installed_versions, async |server: Server| {
    let user = server.new_user("ada").await;
    publish(&server, &user, "clean", "1.0.0").await;
    // A dependency over plain http is a recorded finding that does not block. It leads back here, under another
    // host, because pnpm takes an address below the registry's own for a package name.
    let (_, port) = server.host().rsplit_once(':').unwrap();
    let elsewhere = json!({ "elsewhere": format!("http://localhost:{port}/npm/clean/-/clean-1.0.0.tgz") });
    publish_json(&server, &user, &json!({ "name": "risky", "version": "1.0.0", "dependencies": elsewhere })).await;
    for client in Client::ALL {
        if client == Client::Yarn {
            // Its audit is hard-wired to its default registry.
            continue;
        }
        let desk = Desk::new(&server, client.name(), None).with_env("YARN_NODE_LINKER", "node-modules");
        for (package, is_clean) in [("risky", false), ("clean", true)] {
            let dir = desk.consumer(&format!("app-{package}"), &json!({ package: "1.0.0" }));
            std::fs::write(dir.join("yarn.lock"), "").unwrap();
            desk.run(client, &dir, &["install"]).await.ok();
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

on_backends!(the_older_audit_form_is_answered_too, async |server: Server| {
    let user = server.new_user("ada").await;
    let elsewhere = json!({ "elsewhere": "http://127.0.0.1:1/x.tgz" });
    let risky = json!({ "name": "risky", "version": "1.0.0", "optionalDependencies": elsewhere });
    publish_json(&server, &user, &risky).await;
    let tree = json!({ "name": "app", "requires": { "a": "1" }, "dependencies": {
        "a": { "version": "1.0.0", "dependencies": { "risky": { "version": "1.0.0" } } },
        "risky": { "version": "2.0.0" },
    }});
    for path in ["quick", ""] {
        let url = format!("{}/npm/-/npm/v1/security/audits/{path}", server.base_url());
        let answer: serde_json::Value = server.http.post(url).json(&tree).send().await.unwrap().json().await.unwrap();
        let advisories = answer["advisories"].as_object().unwrap();
        assert_eq!(advisories.len(), 1, "{answer}");
        let advisory = advisories.values().next().unwrap();
        assert_eq!(advisory["findings"], json!([{ "version": "1.0.0", "paths": ["a>risky"] }]));
        assert_eq!(answer["metadata"]["vulnerabilities"]["high"], 1);
        assert_eq!(answer["metadata"]["totalDependencies"], 3);
    }
    // What the caller may not see has no advisories.
    set_access(&server, &user, "risky", "restricted").await;
    let url = format!("{}/npm/-/npm/v1/security/advisories/bulk", server.base_url());
    let bulk = json!({ "risky": ["1.0.0"] });
    let anonymous = server.http.post(&url).json(&bulk).send().await.unwrap();
    assert_eq!(anonymous.text().await.unwrap(), "{}");
    let owner = server.http.post(&url).bearer_auth(&user.token).json(&bulk).send().await.unwrap();
    let advisory = owner.json::<serde_json::Value>().await.unwrap()["risky"][0].clone();
    assert!(advisory["id"].is_u64() && advisory["cvss"]["score"] == 0, "{advisory}");
});

on_backends!(signatures_are_verified, async |server: Server| {
    let user = server.new_user("ada").await;
    for name in ["signed", "@scope/signed", "unsigned"] {
        publish(&server, &user, name, "1.0.0").await;
    }
    let desk = Desk::new(&server, "verifier", None);
    let dir = desk.consumer("app", &json!({ "signed": "1.0.0", "@scope/signed": "1.0.0" }));
    desk.run(Client::Pnpm12, &dir, &["install"]).await.ok();
    desk.run(Client::Pnpm12, &dir, &["audit", "signatures"]).await.ok().says("2");
    // Somebody between client and server takes one away.
    let proxy = Proxy::start(&server.scratch("proxy"), Manner::DropSignatures).await;
    proxy.lead_to(&server);
    let desk = Desk::behind(&server, "robbed", &proxy, None);
    let dir = desk.consumer("app", &json!({ "signed": "1.0.0", "unsigned": "1.0.0" }));
    desk.run(Client::Pnpm12, &dir, &["install"]).await.ok();
    desk.run(Client::Pnpm12, &dir, &["audit", "signatures"]).await.fails().says("unsigned@1.0.0");
});

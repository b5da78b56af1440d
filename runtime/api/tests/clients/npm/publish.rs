//! Publishing with every client, and what the others then see of it.

use std::path::Path;

use serde_json::json;

use super::{Client, Desk, Ran};
use crate::{Server, on_backends};

/// The publish command of each client.
async fn publish_with(desk: &Desk, client: Client, dir: &Path, more: &[&str]) -> Ran {
    if client == Client::Berry {
        // It publishes workspaces only, and an install makes the folder one.
        std::fs::write(dir.join("yarn.lock"), "").unwrap();
        desk.run(client, dir, &["install"]).await.ok();
    }
    let version = std::fs::read_to_string(dir.join("package.json")).unwrap();
    let version: serde_json::Value = serde_json::from_str(&version).unwrap();
    let version = version["version"].as_str().unwrap().to_owned();
    let mut args: Vec<&str> = match client {
        Client::Npm10 | Client::Npm11 | Client::Bun => vec!["publish"],
        Client::Pnpm10 | Client::Pnpm12 => vec!["publish", "--no-git-checks"],
        Client::Yarn => vec!["publish", "--new-version", &version, "--non-interactive"],
        Client::Berry => vec!["npm", "publish"],
    };
    args.extend(more);
    desk.run(client, dir, &args).await
}

on_backends!(every_client_publishes_scoped_and_unscoped, async |server: Server| {
    let user = server.new_user("ada").await;
    let desk = Desk::new(&server, "pub", Some(&user.token));
    for client in Client::ALL {
        for name in [format!("by-{}", client.name()), format!("@things/by-{}", client.name())] {
            let dir = desk.package(&json!({
                "name": name, "version": "1.0.0", "description": "a thing", "license": "MIT", "keywords": ["thing"],
                "bin": "./index.js", "dependencies": {}, "peerDependencies": { "peer": "^1.0.0" },
                "peerDependenciesMeta": { "peer": { "optional": true } }, "engines": { "node": ">=10" },
                "scripts": { "test": "true" }, "repository": "github:o/r",
            }));
            publish_with(&desk, client, &dir, &[]).await.ok();
            let shown = desk.run(Client::Npm10, desk.home(), &["view", &name, "--json"]).await.ok().json();
            assert_eq!(shown["version"], "1.0.0", "{name}");
            assert_eq!(shown["dist-tags"]["latest"], "1.0.0", "{name}");
            assert_eq!(shown["maintainers"][0], "ada <ada@example.test>", "{name}");
            assert_eq!(shown["peerDependenciesMeta"]["peer"]["optional"], true, "{name}");
            desk.run(Client::Npm11, desk.home(), &["view", &name]).await.ok().says("published").says("by ada");
        }
    }
});

on_backends!(a_version_is_published_once, async |server: Server| {
    let user = server.new_user("ada").await;
    let desk = Desk::new(&server, "twice", Some(&user.token));
    for client in Client::ALL {
        let name = format!("once-{}", client.name());
        let dir = desk.package(&json!({ "name": name, "version": "1.0.0" }));
        publish_with(&desk, client, &dir, &[]).await.ok();
        let more: &[&str] = match client {
            // These two look first, and must be told not to.
            Client::Npm11 | Client::Pnpm12 | Client::Pnpm10 => &["--force"],
            _ => &[],
        };
        let again = publish_with(&desk, client, &dir, more).await;
        match client {
            // pnpm calls a publish of what is there already a success in some of its versions.
            Client::Pnpm10 | Client::Pnpm12 => drop(again),
            _ => drop(again.fails().says("cannot publish over")),
        }
        let shown = desk.run(Client::Npm10, desk.home(), &["view", &name, "versions", "--json"]).await.ok().json();
        assert!(shown == json!(["1.0.0"]) || shown == json!("1.0.0"), "{shown}");
        if matches!(client, Client::Berry | Client::Bun) {
            publish_with(&desk, client, &dir, &["--tolerate-republish"]).await.ok();
        }
    }
});

on_backends!(tags_and_prereleases_are_published_beside_latest, async |server: Server| {
    let user = server.new_user("ada").await;
    let desk = Desk::new(&server, "tags", Some(&user.token));
    desk.publish("tagged", "1.0.0").await;
    let next = desk.package(&json!({ "name": "tagged", "version": "2.0.0-rc.1" }));
    desk.run(Client::Npm11, &next, &["publish", "--tag", "next"]).await.ok();
    let tags = desk.run(Client::Npm10, desk.home(), &["view", "tagged", "dist-tags", "--json"]).await.ok().json();
    assert_eq!(tags, json!({ "latest": "1.0.0", "next": "2.0.0-rc.1" }));
});

on_backends!(publishing_needs_a_token_that_may, async |server: Server| {
    let user = server.new_user("ada").await;
    let reader = server.token("ada", &user.password, &["packages:read"]).await;
    let stranger = server.new_user("mallory").await;
    let desk = Desk::new(&server, "rights", Some(&user.token));
    desk.publish("mine", "1.0.0").await;
    let dir = desk.package(&json!({ "name": "mine", "version": "1.0.1" }));

    desk.configure(None, None);
    desk.run(Client::Npm10, &dir, &["publish"]).await.fails().says("ENEEDAUTH");
    desk.run(Client::Yarn, &dir, &["publish", "--new-version", "1.0.1", "--non-interactive"]).await.fails();
    desk.configure(Some(&format!("pub_{}", "x".repeat(60))), None);
    for client in [Client::Npm10, Client::Npm11] {
        desk.run(client, &dir, &["publish"]).await.fails().says("E401").says("Access token is invalid or expired");
    }
    desk.configure(Some(&reader), None);
    for client in [Client::Npm10, Client::Npm11] {
        desk.run(client, &dir, &["publish"]).await.fails().says("E403").says("packages:publish");
    }
    desk.configure(Some(&stranger.token), None);
    for client in [Client::Npm10, Client::Bun] {
        desk.run(client, &dir, &["publish"]).await.fails().says("you lack the permission");
    }
    let (_, packument) = server.get("/npm/mine", None).await;
    assert!(!packument.contains("1.0.1"), "{packument}");
});

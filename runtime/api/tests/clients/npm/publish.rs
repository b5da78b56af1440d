//! Publishing with every client, and what the others then see of it.

use std::path::Path;

use serde_json::{Value, json};

use super::{Client, Desk, Ran, packument, publish};
use crate::{Server, on_backends};

/// The publish command of each client.
async fn publish_with(desk: &Desk, client: Client, dir: &Path, more: &[&str]) -> Ran {
    if client == Client::Berry && !dir.join("yarn.lock").exists() {
        // It publishes workspaces only, and an install makes the folder one.
        std::fs::write(dir.join("yarn.lock"), "").unwrap();
        desk.run(client, dir, &["install"]).await.ok();
    }
    let manifest: Value = serde_json::from_slice(&std::fs::read(dir.join("package.json")).unwrap()).unwrap();
    let version = manifest["version"].as_str().unwrap();
    let mut args: Vec<&str> = match client {
        Client::Npm10 | Client::Npm11 | Client::Bun => vec!["publish"],
        Client::Pnpm10 | Client::Pnpm12 => vec!["publish", "--no-git-checks"],
        Client::Yarn => vec!["publish", "--new-version", version, "--non-interactive"],
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
            // yarn berry publishes scoped packages as private ones.
            let (status, seen) = server.get(&format!("/npm/{name}"), Some(&user.token)).await;
            assert_eq!(status, 200, "{name} is not there");
            let seen: Value = serde_json::from_str(&seen).unwrap();
            let version = &seen["versions"]["1.0.0"];
            assert_eq!(seen["dist-tags"], json!({ "latest": "1.0.0" }), "{name}");
            assert_eq!(seen["maintainers"], json!([{ "name": "ada", "email": "ada@example.test" }]), "{name}");
            assert_eq!(seen["readme"], format!("# {name}\n"), "{name}");
            assert_eq!(version["peerDependenciesMeta"]["peer"]["optional"], true, "{name}");
            assert_eq!(version["_npmUser"]["name"], "ada", "{name}");
            assert!(version["dist"]["unpackedSize"].as_u64().is_some_and(|bytes| bytes > 100), "{version}");
            for absent in ["readme", "integrity", "shasum"] {
                assert!(version.get(absent).is_none(), "{name}: {absent} in {version}");
            }
        }
        let name = format!("@things/by-{}", client.name());
        let is_public = packument(&server, &name).await.is_some();
        assert_eq!(is_public, client != Client::Berry, "{name}");
        let view = desk.run(Client::Npm11, desk.home(), &["view", &name]).await.ok();
        view.says("@1.0.0").says("latest: 1.0.0").says("published").says("by ada <ada@example.test>");
    }
});

on_backends!(a_version_is_published_once, async |server: Server| {
    let user = server.new_user("ada").await;
    let desk = Desk::new(&server, "twice", Some(&user.token));
    for client in Client::ALL {
        let name = format!("once-{}", client.name());
        publish(&server, &user, &name, "1.0.0").await;
        let dir = desk.package(&json!({ "name": name, "version": "1.0.0" }));
        let more: &[&str] = match client {
            // These look first, and must be told not to.
            Client::Npm11 | Client::Pnpm10 | Client::Pnpm12 => &["--force"],
            _ => &[],
        };
        let again = publish_with(&desk, client, &dir, more).await;
        again.fails().says("cannot publish over the previously published versions: 1.0.0");
        if matches!(client, Client::Berry | Client::Bun) {
            publish_with(&desk, client, &dir, &["--tolerate-republish"]).await.ok();
        }
        let seen = packument(&server, &name).await.unwrap();
        assert_eq!(seen["versions"].as_object().unwrap().len(), 1, "{name}");
    }
});

on_backends!(tags_and_prereleases_are_published_beside_latest, async |server: Server| {
    let user = server.new_user("ada").await;
    let desk = Desk::new(&server, "tags", Some(&user.token));
    publish(&server, &user, "tagged", "1.0.0").await;
    let next = desk.package(&json!({ "name": "tagged", "version": "2.0.0-rc.1" }));
    desk.run(Client::Npm11, &next, &["publish", "--tag", "next"]).await.ok();
    let tags = packument(&server, "tagged").await.unwrap()["dist-tags"].clone();
    assert_eq!(tags, json!({ "latest": "1.0.0", "next": "2.0.0-rc.1" }));
    // A first release is `latest`, whatever its publisher called it.
    let only = desk.package(&json!({ "name": "only-beta", "version": "1.0.0-beta.1" }));
    desk.run(Client::Pnpm12, &only, &["publish", "--no-git-checks", "--tag", "beta"]).await.ok();
    let tags = packument(&server, "only-beta").await.unwrap()["dist-tags"].clone();
    assert_eq!(tags, json!({ "latest": "1.0.0-beta.1", "beta": "1.0.0-beta.1" }));
});

on_backends!(publishing_needs_a_token_that_may, async |server: Server| {
    let user = server.new_user("ada").await;
    let reader = server.token("ada", &user.password, &["packages:read"]).await;
    let stranger = server.new_user("mallory").await;
    let desk = Desk::new(&server, "rights", Some(&user.token));
    publish(&server, &user, "mine", "1.0.0").await;
    let dir = desk.package(&json!({ "name": "mine", "version": "1.0.1" }));
    let dead = format!("pub_{}", "x".repeat(49));
    let cases = [
        (None, "need"),
        (Some(dead.as_str()), "Access token is invalid or expired"),
        (Some(reader.as_str()), "packages:publish"),
        (Some(stranger.token.as_str()), "you lack the permission"),
    ];
    for (token, why) in cases {
        desk.configure(token, None);
        for client in Client::ALL {
            let refused = publish_with(&desk, client, &dir, &[]).await.fails();
            match (client, token) {
                (Client::Npm10 | Client::Npm11, None) => drop(refused.says("ENEEDAUTH")),
                // The others word a missing login, and yarn berry any 401, in their own way.
                (_, None) => {}
                (Client::Berry, Some(token)) if token == dead => drop(refused.says("Invalid authentication")),
                _ => drop(refused.says(why)),
            }
        }
    }
    let seen = packument(&server, "mine").await.unwrap();
    assert_eq!(seen["versions"].as_object().unwrap().len(), 1, "{seen}");
});

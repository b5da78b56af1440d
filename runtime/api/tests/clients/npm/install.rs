//! Installing with every client: with and without lockfile, by range, tag and version, private and public.

use std::path::Path;

use serde_json::{Value, json};

use super::{Client, Desk, Ran};
use crate::{Server, on_backends};

async fn install(desk: &Desk, client: Client, dir: &Path, more: &[&str]) -> Ran {
    if client == Client::Berry && !dir.join("yarn.lock").exists() {
        std::fs::write(dir.join("yarn.lock"), "").unwrap();
    }
    let mut args = vec!["install"];
    args.extend(more);
    desk.run(client, dir, &args).await
}

fn frozen(client: Client) -> &'static [&'static str] {
    match client {
        Client::Npm10 | Client::Npm11 => &["ci"],
        Client::Pnpm10 | Client::Pnpm12 | Client::Yarn | Client::Bun => &["install", "--frozen-lockfile"],
        Client::Berry => &["install", "--immutable"],
    }
}

/// What `require` gives for each dependency.
async fn assert_works(desk: &Desk, client: Client, dir: &Path, wanted: &[(&str, &str)]) {
    for (name, version) in wanted {
        let expression = format!("require('{name}')");
        let pnp = dir.join(".pnp.cjs");
        if pnp.exists() {
            let script = format!("require({:?}).setup(); module.createRequire({:?})('{name}')", pnp, dir.join("x.js"));
            let script = script.replace("module.createRequire", "require('module').createRequire");
            desk.node(dir, &script).await.ok().says(&format!("{name}@{version}"));
        } else {
            let _ = client;
            desk.node(dir, &expression).await.ok().says(&format!("{name}@{version}"));
        }
    }
}

fn forget_caches(desk: &Desk) {
    for folder in [".cache", ".npm", ".local", ".bun", ".yarn", ".config", "tmp"] {
        // Not every client made every folder.
        let _ = std::fs::remove_dir_all(desk.home().join(folder));
    }
}

fn forget_modules(dir: &Path) {
    for folder in ["node_modules", ".yarn"] {
        let _ = std::fs::remove_dir_all(dir.join(folder));
    }
    let _ = std::fs::remove_file(dir.join(".pnp.cjs"));
}

on_backends!(every_client_installs_from_empty_caches, async |server: Server| {
    let user = server.new_user("ada").await;
    let author = Desk::new(&server, "author", Some(&user.token));
    for version in ["1.0.0", "1.2.0", "2.0.0"] {
        author.publish("plain", version).await;
    }
    author.publish_json(&json!({ "name": "@deep/inner", "version": "1.0.0" })).await;
    author
        .publish_json(
            &json!({ "name": "@deep/outer", "version": "1.0.0", "dependencies": { "@deep/inner": "^1.0.0" } }),
        )
        .await;
    let beta = author.package(&json!({ "name": "@deep/tagged", "version": "3.0.0-beta.1" }));
    author.run(Client::Npm10, &beta, &["publish", "--tag", "beta"]).await.ok();
    let dependencies = json!({ "plain": "^1.0.0", "@deep/outer": "1.0.0", "@deep/tagged": "beta" });
    let wanted = [("plain", "1.2.0"), ("@deep/outer", "1.0.0"), ("@deep/tagged", "3.0.0-beta.1")];
    for client in Client::ALL {
        for linker in ["node-modules", "pnp"] {
            if linker == "pnp" && client != Client::Berry {
                continue;
            }
            let desk =
                Desk::new(&server, &format!("{}-{linker}", client.name()), None).with_env("YARN_NODE_LINKER", linker);
            let dir = desk.consumer("app", &dependencies);
            install(&desk, client, &dir, &[]).await.ok();
            assert_works(&desk, client, &dir, &wanted).await;
            // The lockfile alone, on a fresh machine.
            forget_modules(&dir);
            forget_caches(&desk);
            desk.run(client, &dir, frozen(client)).await.ok();
            assert_works(&desk, client, &dir, &wanted).await;
        }
    }
});

on_backends!(a_second_install_only_revalidates, async |server: Server| {
    let user = server.new_user("ada").await;
    let author = Desk::new(&server, "author", Some(&user.token));
    author.publish("cached", "1.0.0").await;
    for client in [Client::Npm10, Client::Npm11, Client::Pnpm10] {
        let desk = Desk::new(&server, client.name(), None);
        let dir = desk.consumer("app", &json!({ "cached": "^1.0.0" }));
        install(&desk, client, &dir, &[]).await.ok();
        forget_modules(&dir);
        for lockfile in ["package-lock.json", "pnpm-lock.yaml"] {
            // Only one of them is there.
            let _ = std::fs::remove_file(dir.join(lockfile));
        }
        let before = server.log().lines().count();
        install(&desk, client, &dir, &[]).await.ok();
        let answers: Vec<u64> = server
            .log()
            .lines()
            .skip(before)
            .filter_map(|line| serde_json::from_str::<Value>(line).ok())
            .filter(|line| line["path"] == "/npm/cached")
            .filter_map(|line| line["status"].as_u64())
            .collect();
        assert!(answers.iter().all(|status| *status == 304), "{client:?}: {answers:?}");
    }
});

on_backends!(private_packages_need_a_token_of_somebody_entitled, async |server: Server| {
    let user = server.new_user("ada").await;
    let author = Desk::new(&server, "author", Some(&user.token));
    author.publish("@secret/lib", "1.0.0").await;
    author.publish("hidden", "1.0.0").await;
    author.publish("open", "1.0.0").await;
    author.run(Client::Npm10, author.home(), &["access", "set", "status=private", "@secret/lib"]).await.ok();
    // npm itself refuses to make an unscoped package private; the registry does not care who asks.
    for name in ["hidden"] {
        let response = server
            .http
            .post(format!("{}/npm/-/package/{name}/access", server.base_url()))
            .bearer_auth(&user.token)
            .json(&json!({ "access": "restricted" }))
            .send()
            .await
            .unwrap();
        assert_eq!(response.status().as_u16(), 200);
    }
    let revoked = server.token("ada", &user.password, &["packages:read"]).await;
    let gone = server
        .http
        .delete(format!("{}/npm/-/user/token/{revoked}", server.base_url()))
        .bearer_auth(&revoked)
        .send()
        .await
        .unwrap();
    assert_eq!(gone.status().as_u16(), 200);
    for client in Client::ALL {
        let anonymous = Desk::new(&server, &format!("{}-anonymous", client.name()), None);
        let dir = anonymous.consumer("app", &json!({ "@secret/lib": "^1.0.0" }));
        install(&anonymous, client, &dir, &[]).await.fails().says("404");

        let member = Desk::new(&server, &format!("{}-member", client.name()), Some(&user.token))
            .with_env("YARN_NODE_LINKER", "node-modules");
        let dir = member.consumer("app", &json!({ "@secret/lib": "^1.0.0" }));
        install(&member, client, &dir, &[]).await.ok();
        assert_works(&member, client, &dir, &[("@secret/lib", "1.0.0")]).await;

        // yarn sends a token for unscoped names only when told to.
        let always = Desk::new(&server, &format!("{}-always", client.name()), Some(&user.token))
            .with_env("YARN_NODE_LINKER", "node-modules")
            .with_env("npm_config_always_auth", "true")
            .with_env("YARN_NPM_ALWAYS_AUTH", "true");
        let rc = always.home().join(".yarnrc.yml");
        let text = std::fs::read_to_string(&rc).unwrap().replace("npmAlwaysAuth: false", "npmAlwaysAuth: true");
        std::fs::write(rc, text).unwrap();
        let dir = always.consumer("app", &json!({ "hidden": "^1.0.0" }));
        install(&always, client, &dir, &[]).await.ok();

        let stale = Desk::new(&server, &format!("{}-stale", client.name()), Some(&revoked))
            .with_env("YARN_NODE_LINKER", "node-modules");
        let dir = stale.consumer("private", &json!({ "@secret/lib": "^1.0.0" }));
        install(&stale, client, &dir, &[]).await.fails();
        let dir = stale.consumer("public", &json!({ "open": "^1.0.0" }));
        install(&stale, client, &dir, &[]).await.ok();
    }
    let stale = Desk::new(&server, "stale", Some(&revoked));
    stale.run(Client::Npm10, stale.home(), &["view", "@secret/lib"]).await.fails().says("E401").says("npm login");
    let stranger = server.new_user("mallory").await;
    let desk = Desk::new(&server, "stranger", Some(&stranger.token));
    desk.run(Client::Npm11, desk.home(), &["view", "@secret/lib"]).await.fails().says("E404");
});

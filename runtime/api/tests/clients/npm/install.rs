//! Installing with every client: with and without lockfile, by range, tag and version, private and public.

use std::path::Path;

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use super::{Client, Desk, Ran, publish, publish_json, set_access};
use crate::{Server, npm_upload, on_backends};

async fn install(desk: &Desk, client: Client, dir: &Path) -> Ran {
    if client == Client::Berry && !dir.join("yarn.lock").exists() {
        std::fs::write(dir.join("yarn.lock"), "").unwrap();
    }
    desk.run(client, dir, &["install"]).await
}

fn frozen(client: Client) -> &'static [&'static str] {
    match client {
        Client::Npm10 | Client::Npm11 => &["ci"],
        Client::Pnpm10 | Client::Pnpm12 | Client::Yarn | Client::Bun => &["install", "--frozen-lockfile"],
        Client::Berry => &["install", "--immutable"],
    }
}

/// What `require` gives for each dependency.
async fn assert_works(desk: &Desk, dir: &Path, wanted: &[(&str, &str)]) {
    let required: Vec<String> = wanted.iter().map(|(name, _)| format!("load('{name}')")).collect();
    let pnp = dir.join(".pnp.cjs");
    let load = if pnp.exists() {
        let here = dir.join("x.js");
        format!("(require({pnp:?}).setup(), require('module').createRequire({here:?}))")
    } else {
        "require".to_owned()
    };
    let script = format!("const load = {load}; [{}].join(' ')", required.join(", "));
    let all: Vec<String> = wanted.iter().map(|(name, version)| format!("{name}@{version}")).collect();
    desk.node(dir, &script).await.ok().says(&all.join(" "));
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
    for version in ["1.0.0", "1.2.0", "2.0.0"] {
        publish(&server, &user, "plain", version).await;
    }
    publish(&server, &user, "@deep/inner", "1.0.0").await;
    let outer = json!({ "name": "@deep/outer", "version": "1.0.0", "dependencies": { "@deep/inner": "^1.0.0" } });
    publish_json(&server, &user, &outer).await;
    publish(&server, &user, "@deep/tagged", "2.0.0").await;
    let beta = json!({ "name": "@deep/tagged", "version": "3.0.0-beta.1" });
    npm_upload::publish(&server, &user.token, &beta, "beta").await;
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
            install(&desk, client, &dir).await.ok();
            assert_works(&desk, &dir, &wanted).await;
            // The lockfile alone, on a fresh machine.
            forget_modules(&dir);
            forget_caches(&desk);
            desk.run(client, &dir, frozen(client)).await.ok();
            assert_works(&desk, &dir, &wanted).await;
        }
    }
});

on_backends!(a_second_install_only_revalidates, async |server: Server| {
    let user = server.new_user("ada").await;
    publish(&server, &user, "cached", "1.0.0").await;
    // yarn classic and pnpm 10 send no validators.
    for client in [Client::Npm10, Client::Npm11, Client::Pnpm12, Client::Berry, Client::Bun] {
        let desk = Desk::new(&server, client.name(), None).with_env("YARN_NODE_LINKER", "node-modules");
        let dir = desk.consumer("app", &json!({ "cached": "^1.0.0" }));
        install(&desk, client, &dir).await.ok();
        forget_modules(&dir);
        for lockfile in ["package-lock.json", "pnpm-lock.yaml", "yarn.lock", "bun.lock"] {
            // Only one of them is there.
            let _ = std::fs::remove_file(dir.join(lockfile));
        }
        let before = server.log().lines().count();
        install(&desk, client, &dir).await.ok();
        let answers: Vec<(String, u64)> = server
            .log()
            .lines()
            .skip(before)
            .filter_map(|line| serde_json::from_str::<Value>(line).ok())
            .filter_map(|line| Some((line["path"].as_str()?.to_owned(), line["status"].as_u64()?)))
            .filter(|(path, _)| path == "/npm/cached")
            .collect();
        assert!(!answers.is_empty() && answers.iter().all(|(_, status)| *status == 304), "{client:?}: {answers:?}");
    }
});

on_backends!(private_packages_need_a_token_of_somebody_entitled, async |server: Server| {
    let user = server.new_user("ada").await;
    for name in ["@secret/lib", "hidden", "open"] {
        publish(&server, &user, name, "1.0.0").await;
    }
    // npm itself refuses to make an unscoped package private; the registry does not care who asks.
    for name in ["@secret/lib", "hidden"] {
        set_access(&server, &user, name, "restricted").await;
    }
    let revoked = server.token("ada", &user.password, &["packages:read"]).await;
    let logout = format!("{}/npm/-/user/token/{revoked}", server.base_url());
    let gone = server.http.delete(logout).bearer_auth(&revoked).send().await.unwrap();
    assert_eq!(gone.status().as_u16(), 200);
    let stranger = server.new_user("mallory").await;
    for client in Client::ALL {
        let desk = |who: &str, token: Option<&str>| {
            Desk::new(&server, &format!("{}-{who}", client.name()), token).with_env("YARN_NODE_LINKER", "node-modules")
        };
        let anonymous = desk("anonymous", None);
        let dir = anonymous.consumer("app", &json!({ "@secret/lib": "^1.0.0" }));
        // yarn classic prints the text in place of the status.
        let missing = if client == Client::Yarn { "Not found" } else { "404" };
        install(&anonymous, client, &dir).await.fails().says(missing);

        let is_yarn = matches!(client, Client::Yarn | Client::Berry);
        let member = desk("member", Some(&user.token));
        // yarn sends a token for unscoped names only when told to.
        let dependencies =
            if is_yarn { json!({ "@secret/lib": "^1" }) } else { json!({ "@secret/lib": "^1", "hidden": "^1" }) };
        let dir = member.consumer("app", &dependencies);
        install(&member, client, &dir).await.ok();
        assert_works(&member, &dir, &[("@secret/lib", "1.0.0")]).await;
        if is_yarn {
            let always = desk("always", Some(&user.token)).with_env("npm_config_always_auth", "true");
            let rc = always.home().join(".yarnrc.yml");
            let text = std::fs::read_to_string(&rc).unwrap().replace("npmAlwaysAuth: false", "npmAlwaysAuth: true");
            std::fs::write(rc, text).unwrap();
            let dir = always.consumer("app", &json!({ "hidden": "^1.0.0" }));
            install(&always, client, &dir).await.ok();
        }

        let stale = desk("stale", Some(&revoked));
        let dir = stale.consumer("private", &json!({ "@secret/lib": "^1.0.0" }));
        let invalid = match client {
            Client::Yarn => "Access token is invalid or expired",
            Client::Berry => "Invalid authentication",
            _ => "401",
        };
        install(&stale, client, &dir).await.fails().says(invalid);
        let dir = stale.consumer("public", &json!({ "open": "^1.0.0" }));
        install(&stale, client, &dir).await.ok();
    }
    // The older form of credentials: name and token in one.
    let basic = Desk::new(&server, "basic", None);
    let credential = STANDARD.encode(format!("ada:{}", user.token));
    let npmrc = format!("registry={0}/npm/\n//{1}/npm/:_auth={credential}\n", server.base_url(), server.host());
    std::fs::write(basic.home().join(".npmrc"), npmrc).unwrap();
    basic.run(Client::Npm10, basic.home(), &["view", "@secret/lib", "version"]).await.ok().says("1.0.0");

    let stale = Desk::new(&server, "stale", Some(&revoked));
    stale.run(Client::Npm10, stale.home(), &["view", "@secret/lib"]).await.fails().says("E401").says("npm login");
    let desk = Desk::new(&server, "stranger", Some(&stranger.token));
    desk.run(Client::Npm11, desk.home(), &["view", "@secret/lib"]).await.fails().says("E404");
});

//! Changing what is published: deprecations, tags, owners, access, stars.

use serde_json::json;

use super::{Client, Desk, packument, publish};
use crate::{Server, on_backends};

on_backends!(deprecation_warns_and_can_be_taken_back, async |server: Server| {
    let user = server.new_user("ada").await;
    let desk = Desk::new(&server, "author", Some(&user.token));
    publish(&server, &user, "old", "1.0.0").await;
    publish(&server, &user, "old", "1.1.0").await;
    let consumer = Desk::new(&server, "consumer", None);
    for client in [Client::Npm10, Client::Npm11, Client::Pnpm10, Client::Pnpm12] {
        desk.run(client, desk.home(), &["deprecate", "old@1.0.0", "use the new one"]).await.ok();
        let versions = packument(&server, "old").await.unwrap()["versions"].clone();
        assert_eq!(versions["1.0.0"]["deprecated"], "use the new one", "{client:?}");
        assert!(versions["1.1.0"].get("deprecated").is_none(), "{client:?}");
        if client == Client::Npm10 {
            let app = consumer.consumer("app", &json!({ "old": "1.0.0" }));
            consumer.run(client, &app, &["install"]).await.ok().says("use the new one");
            consumer.run(client, consumer.home(), &["view", "old@1.0.0"]).await.ok().says("use the new one");
        }
        let back: &[&str] =
            if client == Client::Pnpm12 { &["undeprecate", "old@1.0.0"] } else { &["deprecate", "old@1.0.0", ""] };
        desk.run(client, desk.home(), back).await.ok();
        let versions = packument(&server, "old").await.unwrap()["versions"].clone();
        assert!(versions["1.0.0"].get("deprecated").is_none(), "{client:?}");
    }
});

on_backends!(dist_tags_are_added_listed_and_removed, async |server: Server| {
    let user = server.new_user("ada").await;
    let desk = Desk::new(&server, "author", Some(&user.token));
    publish(&server, &user, "@tag/lib", "1.0.0").await;
    publish(&server, &user, "@tag/lib", "2.0.0").await;
    let dir = desk.consumer("app", &json!({}));
    std::fs::write(dir.join("yarn.lock"), "").unwrap();
    for (n, client) in Client::ALL.into_iter().enumerate() {
        let tag = format!("t-{n}");
        let (add, list, remove): (Vec<&str>, Vec<&str>, Vec<&str>) = match client {
            Client::Npm10 | Client::Npm11 | Client::Pnpm10 | Client::Pnpm12 => (
                vec!["dist-tag", "add", "@tag/lib@1.0.0", &tag],
                vec!["dist-tag", "ls", "@tag/lib"],
                vec!["dist-tag", "rm", "@tag/lib", &tag],
            ),
            Client::Yarn => (
                vec!["tag", "add", "@tag/lib@1.0.0", &tag],
                vec!["tag", "list", "@tag/lib"],
                vec!["tag", "remove", "@tag/lib", &tag],
            ),
            Client::Berry => (
                vec!["npm", "tag", "add", "@tag/lib@1.0.0", &tag],
                vec!["npm", "tag", "list", "@tag/lib"],
                vec!["npm", "tag", "remove", "@tag/lib", &tag],
            ),
            Client::Bun => continue,
        };
        desk.run(client, &dir, &add).await.ok();
        desk.run(client, &dir, &list).await.ok().says(&tag).says("latest");
        desk.run(client, &dir, &remove).await.ok();
        let tags = packument(&server, "@tag/lib").await.unwrap()["dist-tags"].clone();
        assert_eq!(tags, json!({ "latest": "2.0.0" }), "{client:?}");
    }
    desk.run(Client::Npm10, &dir, &["dist-tag", "add", "@tag/lib@1.0.0", "latest"]).await.ok();
    assert_eq!(packument(&server, "@tag/lib").await.unwrap()["dist-tags"]["latest"], "1.0.0");
    desk.run(Client::Npm10, &dir, &["dist-tag", "rm", "@tag/lib", "latest"]).await.fails().says("cannot be removed");
    desk.run(Client::Npm10, &dir, &["dist-tag", "add", "@tag/lib@9.9.9", "x9"]).await.fails().says("E404");
    desk.run(Client::Npm10, &dir, &["dist-tag", "add", "@tag/lib@1.0.0", "1.x"]).await.fails();
    let stranger = server.new_user("mallory").await;
    let desk = Desk::new(&server, "stranger", Some(&stranger.token));
    desk.run(Client::Npm10, desk.home(), &["dist-tag", "add", "@tag/lib@1.0.0", "evil"]).await.fails().says("E403");
});

on_backends!(owners_are_added_and_removed, async |server: Server| {
    let ada = server.new_user("ada").await;
    let grace = server.new_user("grace").await;
    let desk = Desk::new(&server, "ada", Some(&ada.token));
    let other = Desk::new(&server, "grace", Some(&grace.token));
    publish(&server, &ada, "ours", "1.0.0").await;
    let home = desk.home();
    for (client, version) in [(Client::Npm10, "1.1.0"), (Client::Npm11, "1.2.0"), (Client::Pnpm12, "1.3.0")] {
        // pnpm names the package first.
        let (user, package) = if client == Client::Pnpm12 { ("ours", "grace") } else { ("grace", "ours") };
        desk.run(client, home, &["owner", "add", user, package]).await.ok();
        desk.run(client, home, &["owner", "ls", "ours"]).await.ok().says("ada").says("grace");
        publish(&server, &grace, "ours", version).await;
        desk.run(client, home, &["owner", "rm", user, package]).await.ok();
        let owners = packument(&server, "ours").await.unwrap()["maintainers"].clone();
        assert_eq!(owners, json!([{ "name": "ada", "email": "ada@example.test" }]), "{client:?}");
    }
    let refused = other.package(&json!({ "name": "ours", "version": "3.0.0" }));
    other.run(Client::Npm10, &refused, &["publish"]).await.fails().says("E403");
    desk.run(Client::Npm10, home, &["owner", "add", "nobody-here", "ours"]).await.fails();
    desk.run(Client::Npm10, home, &["owner", "rm", "ada", "ours"]).await.fails();
    desk.run(Client::Pnpm12, home, &["owner", "rm", "ours", "ada"]).await.fails().says("last owner");
    other.run(Client::Pnpm12, other.home(), &["owner", "add", "ours", "grace"]).await.fails();
    let owners = packument(&server, "ours").await.unwrap()["maintainers"].clone();
    assert_eq!(owners, json!([{ "name": "ada", "email": "ada@example.test" }]));
});

on_backends!(access_is_shown_and_changed, async |server: Server| {
    let user = server.new_user("ada").await;
    let desk = Desk::new(&server, "author", Some(&user.token));
    publish(&server, &user, "@vis/lib", "1.0.0").await;
    for client in [Client::Npm10, Client::Npm11, Client::Pnpm12] {
        let run = async |args: &[&str]| desk.run(client, desk.home(), args).await;
        let private = if client == Client::Pnpm12 { "restricted" } else { "private" };
        run(&["access", "get", "status", "@vis/lib"]).await.ok().says("public");
        run(&["access", "set", "status=private", "@vis/lib"]).await.ok();
        run(&["access", "get", "status", "@vis/lib"]).await.ok().says(private);
        assert!(packument(&server, "@vis/lib").await.is_none(), "anyone can read it");
        run(&["access", "set", "status=public", "@vis/lib"]).await.ok();
        assert!(packument(&server, "@vis/lib").await.is_some());
        run(&["access", "list", "packages", "ada"]).await.ok().says("@vis/lib");
        run(&["access", "set", "mfa=publish", "@vis/lib"]).await.fails().says("not supported");
        if client != Client::Pnpm12 {
            // pnpm reads another form than npm's from the same address.
            run(&["access", "list", "collaborators", "@vis/lib"]).await.ok().says("ada");
        }
    }
    let stranger = server.new_user("mallory").await;
    let other = Desk::new(&server, "stranger", Some(&stranger.token));
    other.run(Client::Npm10, other.home(), &["access", "set", "status=private", "@vis/lib"]).await.fails().says("E403");
    for client in [Client::Npm10, Client::Pnpm12] {
        desk.run(client, desk.home(), &["star", "@vis/lib"]).await.ok();
        desk.run(client, desk.home(), &["stars", "ada"]).await.ok().says("@vis/lib");
        desk.run(client, desk.home(), &["unstar", "@vis/lib"]).await.ok();
        desk.run(client, desk.home(), &["stars", "ada"]).await.never_says("@vis/lib");
    }
});

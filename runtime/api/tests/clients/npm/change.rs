//! Changing what is published: deprecations, unpublishing, tags, owners, access.

use serde_json::{Value, json};

use super::{Client, Desk};
use crate::{Server, on_backends};

async fn packument(server: &Server, name: &str) -> Option<Value> {
    let (status, body) = server.get(&format!("/npm/{name}"), None).await;
    (status == 200).then(|| serde_json::from_str(&body).unwrap())
}

on_backends!(deprecation_warns_and_can_be_taken_back, async |server: Server| {
    let user = server.new_user("ada").await;
    let desk = Desk::new(&server, "author", Some(&user.token));
    desk.publish("old", "1.0.0").await;
    desk.publish("old", "1.1.0").await;
    for client in [Client::Npm10, Client::Npm11, Client::Pnpm10] {
        desk.run(client, desk.home(), &["deprecate", "old@1.0.0", "use the new one"]).await.ok();
        let versions = packument(&server, "old").await.unwrap()["versions"].clone();
        assert_eq!(versions["1.0.0"]["deprecated"], "use the new one", "{client:?}");
        assert!(versions["1.1.0"].get("deprecated").is_none(), "{client:?}");
        let consumer = Desk::new(&server, &format!("consumer-{}", client.name()), None);
        let app = consumer.consumer("app", &json!({ "old": "1.0.0" }));
        consumer.run(Client::Npm10, &app, &["install"]).await.ok().says("use the new one");
        desk.run(client, desk.home(), &["deprecate", "old@1.0.0", ""]).await.ok();
        let versions = packument(&server, "old").await.unwrap()["versions"].clone();
        assert!(versions["1.0.0"].get("deprecated").is_none(), "{client:?}");
    }
});

on_backends!(one_version_is_unpublished, async |server: Server| {
    let user = server.new_user("ada").await;
    let desk = Desk::new(&server, "author", Some(&user.token));
    for (name, client) in [("@gone/a", Client::Npm10), ("@gone/b", Client::Npm11), ("gone-c", Client::Npm10)] {
        for version in ["1.0.0", "1.1.0"] {
            desk.publish(name, version).await;
        }
        if name == "@gone/b" {
            // npm then asks for a doubled path in its second request and ignores the answer.
            desk.configure(Some(&user.token), Some("@gone"));
        }
        desk.run(client, desk.home(), &["unpublish", &format!("{name}@1.1.0")]).await.ok();
        desk.configure(Some(&user.token), None);
        let document = packument(&server, name).await.unwrap();
        let left: Vec<&String> = document["versions"].as_object().unwrap().keys().collect();
        assert_eq!(left, ["1.0.0"]);
        assert_eq!(document["dist-tags"], json!({ "latest": "1.0.0" }));
        let file = format!("{}-1.1.0.tgz", name.rsplit('/').next().unwrap());
        assert_eq!(server.get(&format!("/npm/{name}/-/{file}"), None).await.0, 404);
        let again = desk.package(&json!({ "name": name, "version": "1.1.0" }));
        desk.run(Client::Npm10, &again, &["publish"]).await.fails().says("E409").says("1.1.0");
    }
});

on_backends!(a_whole_package_is_unpublished, async |server: Server| {
    let user = server.new_user("ada").await;
    let desk = Desk::new(&server, "author", Some(&user.token));
    for (name, client) in [("whole-a", Client::Npm10), ("@whole/b", Client::Npm11)] {
        desk.publish(name, "1.0.0").await;
        desk.run(client, desk.home(), &["unpublish", name, "--force"]).await.ok();
        assert!(packument(&server, name).await.is_none());
        let again = desk.package(&json!({ "name": name, "version": "1.0.0" }));
        desk.run(Client::Npm10, &again, &["publish"]).await.fails();
        let stranger = server.new_user(&format!("thief-{}", client.name())).await;
        let thief = Desk::new(&server, &stranger.name, Some(&stranger.token));
        let dir = thief.package(&json!({ "name": name, "version": "9.0.0" }));
        thief.run(Client::Npm10, &dir, &["publish"]).await.fails();
        assert!(packument(&server, name).await.is_none());
    }
});

on_backends!(dist_tags_are_added_listed_and_removed, async |server: Server| {
    let user = server.new_user("ada").await;
    let desk = Desk::new(&server, "author", Some(&user.token));
    desk.publish("@tag/lib", "1.0.0").await;
    desk.publish("@tag/lib", "2.0.0").await;
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
    desk.run(Client::Npm10, &dir, &["dist-tag", "rm", "@tag/lib", "latest"]).await.fails();
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
    desk.publish("ours", "1.0.0").await;
    let home = desk.home();
    for client in [Client::Npm10, Client::Npm11] {
        desk.run(client, home, &["owner", "add", "grace", "ours"]).await.ok();
        desk.run(client, home, &["owner", "ls", "ours"]).await.ok().says("ada").says("grace");
        let version = if client == Client::Npm10 { "1.1.0" } else { "1.2.0" };
        other.publish("ours", version).await;
        desk.run(client, home, &["owner", "rm", "grace", "ours"]).await.ok();
        let refused = other.package(&json!({ "name": "ours", "version": "3.0.0" }));
        other.run(client, &refused, &["publish"]).await.fails().says("E403");
    }
    desk.run(Client::Npm10, home, &["owner", "add", "nobody-here", "ours"]).await.fails();
    desk.run(Client::Npm10, home, &["owner", "rm", "ada", "ours"]).await.fails();
    let owners = packument(&server, "ours").await.unwrap()["maintainers"].clone();
    assert_eq!(owners, json!([{ "name": "ada", "email": "ada@example.test" }]));
});

on_backends!(access_is_shown_and_changed, async |server: Server| {
    let user = server.new_user("ada").await;
    let desk = Desk::new(&server, "author", Some(&user.token));
    desk.publish("@vis/lib", "1.0.0").await;
    for client in [Client::Npm10, Client::Npm11] {
        let run = async |args: &[&str]| desk.run(client, desk.home(), args).await;
        run(&["access", "get", "status", "@vis/lib"]).await.ok().says("public");
        run(&["access", "set", "status=private", "@vis/lib"]).await.ok();
        run(&["access", "get", "status", "@vis/lib"]).await.ok().says("private");
        assert!(packument(&server, "@vis/lib").await.is_none(), "anyone can read it");
        run(&["access", "set", "status=public", "@vis/lib"]).await.ok();
        assert!(packument(&server, "@vis/lib").await.is_some());
        run(&["access", "list", "collaborators", "@vis/lib"]).await.ok().says("ada");
        run(&["access", "list", "packages", "ada"]).await.ok().says("@vis/lib");
        run(&["access", "set", "mfa=publish", "@vis/lib"]).await.fails().says("not supported");
    }
    desk.run(Client::Npm10, desk.home(), &["star", "@vis/lib"]).await.ok();
    desk.run(Client::Npm10, desk.home(), &["stars", "ada"]).await.ok().says("@vis/lib");
    desk.run(Client::Npm10, desk.home(), &["unstar", "@vis/lib"]).await.ok();
    desk.run(Client::Npm10, desk.home(), &["stars", "ada"]).await.never_says("@vis/lib");
});

#[tokio::test(flavor = "multi_thread")]
async fn after_the_window_only_deprecation_is_left() {
    let server = Server::start_with(crate::Backend::Embedded, &[("packages.delete_window_hours", "0")]).await;
    let user = server.new_user("ada").await;
    let desk = Desk::new(&server, "author", Some(&user.token));
    desk.publish("settled", "1.0.0").await;
    desk.publish("settled", "1.1.0").await;
    desk.run(Client::Npm10, desk.home(), &["unpublish", "settled@1.1.0"]).await.fails().says("E403").says("deprecate");
    desk.run(Client::Npm10, desk.home(), &["unpublish", "settled", "--force"]).await.fails().says("E403");
    assert_eq!(packument(&server, "settled").await.unwrap()["versions"].as_object().unwrap().len(), 2);
}

//! Taking back what was published.

use serde_json::{Value, json};

use super::{Client, Desk, packument, publish, publish_json};
use crate::{Server, on_backends};

on_backends!(one_version_is_unpublished, async |server: Server| {
    let user = server.new_user("ada").await;
    let desk = Desk::new(&server, "author", Some(&user.token));
    let clients =
        [("@gone/a", Client::Npm10), ("@gone/b", Client::Npm11), ("gone-c", Client::Npm10), ("gone-d", Client::Pnpm12)];
    for (name, client) in clients {
        for version in ["1.0.0", "1.1.0"] {
            publish(&server, &user, name, version).await;
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
    // What others here ask for stays.
    let dependent = json!({ "name": "leans", "version": "1.0.0", "dependencies": { "gone-c": "^1.0.0" } });
    publish_json(&server, &user, &dependent).await;
    let refused = desk.run(Client::Npm10, desk.home(), &["unpublish", "gone-c", "--force"]).await.fails();
    refused.says("E403").says("other packages depend on `gone-c`");
    desk.run(Client::Npm10, desk.home(), &["unpublish", "leans", "--force"]).await.ok();
    desk.run(Client::Npm10, desk.home(), &["unpublish", "gone-c", "--force"]).await.ok();
    assert!(packument(&server, "gone-c").await.is_none());
});

on_backends!(a_whole_package_is_unpublished, async |mut server: Server| {
    let user = server.new_user("ada").await;
    let stranger = server.new_user("mallory").await;
    let desk = Desk::new(&server, "author", Some(&user.token));
    let thief = Desk::new(&server, "thief", Some(&stranger.token));
    for (name, client) in [("whole-a", Client::Npm10), ("@whole/b", Client::Npm11), ("whole-c", Client::Pnpm12)] {
        publish(&server, &user, name, "1.0.0").await;
        thief.run(client, thief.home(), &["unpublish", name, "--force"]).await.fails();
        assert!(packument(&server, name).await.is_some());
        desk.run(client, desk.home(), &["unpublish", name, "--force"]).await.ok();
        assert!(packument(&server, name).await.is_none());
        let again = desk.package(&json!({ "name": name, "version": "1.0.0" }));
        desk.run(Client::Npm10, &again, &["publish"]).await.fails().says("24 hours");
        let dir = thief.package(&json!({ "name": name, "version": "9.0.0" }));
        thief.run(Client::Npm10, &dir, &["publish"]).await.fails();
        assert!(packument(&server, name).await.is_none());
    }
    // After the day, with new numbers only.
    let day_ago = "UPDATE packages SET deleted_at = deleted_at - 90000000000";
    server.database().await.execute_raw(day_ago).await.unwrap();
    // It remembers what it knows of packages, being the only writer.
    server.restart().await;
    let again = desk.package(&json!({ "name": "whole-a", "version": "1.0.0" }));
    desk.run(Client::Npm10, &again, &["publish"]).await.fails().says("E409");
    let next = desk.package(&json!({ "name": "whole-a", "version": "1.0.1" }));
    desk.run(Client::Npm10, &next, &["publish"]).await.ok();
    let seen = packument(&server, "whole-a").await.unwrap();
    assert_eq!(seen["versions"].as_object().unwrap().keys().collect::<Vec<_>>(), ["1.0.1"]);
});

on_backends!(after_the_window_only_deprecation_is_left, async |mut server: Server| {
    server.restart_with(&[("packages.delete_window_hours", "0")]).await;
    let user = server.new_user("ada").await;
    let desk = Desk::new(&server, "author", Some(&user.token));
    publish(&server, &user, "settled", "1.0.0").await;
    publish(&server, &user, "settled", "1.1.0").await;
    let refused = desk.run(Client::Npm10, desk.home(), &["unpublish", "settled@1.1.0"]).await.fails();
    refused.says("E403").says("deprecate");
    desk.run(Client::Npm10, desk.home(), &["unpublish", "settled", "--force"]).await.fails().says("E403");
    assert_eq!(packument(&server, "settled").await.unwrap()["versions"].as_object().unwrap().len(), 2);
});

on_backends!(a_stale_or_missing_revision_changes_nothing, async |server: Server| {
    let user = server.new_user("ada").await;
    publish(&server, &user, "raced", "1.0.0").await;
    let before = packument(&server, "raced").await.unwrap();
    publish(&server, &user, "raced", "1.1.0").await;
    let stale = before["_rev"].as_str().unwrap();
    for rev in [stale, "undefined", "1-00000000000000000000000000000000", "99"] {
        let url = format!("{}/npm/raced/-rev/{rev}", server.base_url());
        let mut emptied = before.clone();
        emptied["versions"] = json!({});
        for request in [server.http.put(&url).json(&emptied), server.http.delete(&url)] {
            let refused = request.bearer_auth(&user.token).send().await.unwrap();
            assert_eq!(refused.status().as_u16(), 409, "{rev}");
            let answer: Value = refused.json().await.unwrap();
            assert_eq!(answer["error"], "Document update conflict.");
        }
    }
    let seen = packument(&server, "raced").await.unwrap();
    assert_eq!(seen["versions"].as_object().unwrap().len(), 2);
    // The second half of an unpublish whose first half did it all is a success whatever it names.
    let url = format!("{}/npm/raced/-/raced-9.9.9.tgz/-rev/{stale}", server.base_url());
    let gone = server.http.delete(url).bearer_auth(&user.token).send().await.unwrap();
    assert_eq!(gone.status().as_u16(), 200);
    // An editor of the document learns its revision whatever it says it accepts.
    let url = format!("{}/npm/raced?write=true", server.base_url());
    let short = "application/vnd.npm.install-v1+json; q=1.0, application/json; q=0.8, */*";
    let document: Value = server.http.get(url).header("accept", short).send().await.unwrap().json().await.unwrap();
    assert_eq!(document["_rev"], seen["_rev"]);
});

//! `cargo owner`, against a client that panics on the wrong shape.

use serde_json::json;

use super::{Machine, fetch};
use crate::{Server, on_backends};

on_backends!(owners_are_listed_added_and_removed, async |server: Server| {
    let ada = server.new_user("ada").await;
    let bob = server.new_user("bob").await;
    let machine = Machine::new(&server, "m").logged_in(&ada.token);
    let here = machine.dir("here");
    machine.publish("pub", "shared", "1.0.0", "").await.succeeds();
    machine.cargo(&here, "owner --registry pub --list shared").await.succeeds().says("ada");

    let add = machine.cargo(&here, "owner --registry pub --add bob shared").await.succeeds();
    add.says("user bob has been added to the owners of crate shared");
    let again = machine.cargo(&here, "owner --registry pub --add bob shared").await.succeeds();
    again.says("user bob is already an owner of crate shared");
    machine.cargo(&here, "owner --registry pub --list shared").await.succeeds().says("ada").says("bob");

    // All or nothing: the unknown one keeps the known one out.
    server.new_user("carl").await;
    let unknown = machine.cargo(&here, "owner --registry pub --add carl --add nobody-here shared").await;
    unknown.fails_with("could not find user with login `nobody-here`");
    machine.cargo(&here, "owner --registry pub --list shared").await.succeeds().never_says("carl");
    machine.cargo(&here, "owner --registry pub --add github:acme:core shared").await.fails_with("org:team");
    machine.cargo(&here, "owner --registry pub --add acme:core shared").await.fails_with("could not find team");

    let bobs = Machine::new(&server, "bob").logged_in(&bob.token);
    bobs.publish("pub", "shared", "1.1.0", "").await.succeeds();
    machine.cargo(&here, "owner --registry pub --remove carl shared").await.fails_with("could not find owner");
    machine.cargo(&here, "owner --registry pub --remove bob shared").await.succeeds();
    machine.cargo(&here, "owner --registry pub --list shared").await.succeeds().never_says("bob");
    bobs.publish("pub", "shared", "1.2.0", "").await.fails_with("you are not an owner of crate `shared`");
    let foreign = bobs.cargo(&here, "owner --registry pub --add bob shared").await;
    foreign.fails_with("you are not an owner of crate `shared`");
    let last = machine.cargo(&here, "owner --registry pub --remove ada shared").await;
    last.fails_with("cannot remove the last owner of crate `shared`").never_says("panicked");
    machine.cargo(&here, "owner --registry pub --list absent").await.fails_with("404");
});

on_backends!(crates_of_organizations_belong_to_teams, async |server: Server| {
    let ada = server.new_user("ada").await;
    server.new_user("bob").await;
    let login = json!({ "username_or_email": ada.name, "password": ada.password });
    let session = server.post("/v1/auth/login", None, &login).await;
    let session = session["token"].as_str();
    let org = server.post("/v1/orgs", session, &json!({ "name": "Acme", "slug": "acme" })).await;
    for slug in ["core", "docs"] {
        server.post("/v1/orgs/acme/teams", session, &json!({ "name": slug, "slug": slug })).await;
    }
    let repository = json!({ "name": "Main", "slug": "main", "kind": "public", "owner_org_id": org["id"] });
    server.post("/v1/repositories", session, &repository).await;
    let package = json!({ "ecosystem": "cargo", "name": "shared", "repository_slug": "main" });
    server.post("/v1/packages", session, &package).await;
    for (team, permission) in [("core", "publish"), ("docs", "write_metadata")] {
        let path = format!("{}/v1/orgs/acme/teams/{team}/package-access/cargo/shared", server.base_url());
        let granted = server.http.put(path).bearer_auth(session.unwrap()).json(&json!({ "permissions": [permission] }));
        assert_eq!(granted.send().await.unwrap().status(), 200);
    }
    let machine = Machine::new(&server, "m").logged_in(&ada.token);
    let here = machine.dir("here");
    machine.publish("pub", "shared", "1.0.0", "").await.succeeds();
    let listed = machine.cargo(&here, "owner --registry pub --list shared").await.succeeds();
    listed.says("acme:core").never_says("acme:docs").never_says("ada");
    for change in ["--add bob", "--remove ada", "--add acme:docs", "--remove acme:core"] {
        let refused = machine.cargo(&here, &format!("owner --registry pub {change} shared")).await;
        refused.fails_with("managed by organization `acme`").never_says("panicked");
    }
});

on_backends!(owner_ids_are_small_integers, async |server: Server| {
    let ada = server.new_user("ada").await;
    let machine = Machine::new(&server, "m").logged_in(&ada.token);
    machine.publish("pub", "shared", "1.0.0", "").await.succeeds();
    let (status, body) = fetch(&server, "/cargo/api/v1/crates/shared/owners", Some(&ada.token)).await;
    let body: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!(status, 200);
    assert!(body["users"][0]["id"].as_u64().is_some_and(|id| u32::try_from(id).is_ok()), "{body}");
    assert_eq!(body["users"][0]["login"], "ada");
    assert!(!body.to_string().contains("example.test"), "e-mail addresses stay private: {body}");
});

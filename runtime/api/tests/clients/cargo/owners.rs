//! `cargo owner`, against a client that panics on the wrong shape.

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

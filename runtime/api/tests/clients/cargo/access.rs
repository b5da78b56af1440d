//! Private crates and the two entry points.

use super::{Machine, fetch, upload::Upload};
use crate::{Server, on_backends};

/// Later first publishes make private repositories.
const PRIVATE: &[(&str, &str)] = &[("packages.personal_repository_visibility", "private")];

on_backends!(private_crates_are_for_members_only, async |mut server: Server| {
    let pia = server.new_user("pia").await;
    let machine = Machine::new(&server, "pia").logged_in(&pia.token);
    machine.publish("pub", "common", "1.0.0", "").await.succeeds();
    server.restart_with(PRIVATE).await;
    let ada = server.new_user("ada").await;
    let ada_machine = Machine::new(&server, "ada").logged_in(&ada.token);
    let tail = "[dependencies]\ncommon = { version = \"1\", registry = \"pub\" }\n";
    let said = ada_machine.publish("corp", "secret-lib", "1.0.0", tail).await.succeeds();
    let hint = format!("private crate: use `sparse+{}/cargo/index/auth/`", server.base_url());
    said.says("Published secret-lib v1.0.0").says(&hint);

    // Through the anonymous entry point there is nothing; through the other one it builds.
    let anonymous =
        ada_machine.program("by-pub", "[dependencies]\nsecret-lib = { version = \"1\", registry = \"pub\" }\n");
    ada_machine.cargo(&anonymous, "build").await.fails_with("no matching package");
    let tail = "[dependencies]\nsecret-lib = { version = \"1\", registry = \"corp\" }\n\
                common = { version = \"1\", registry = \"corp\" }\n";
    let member = ada_machine.program("by-corp", tail);
    ada_machine.cargo(&member, "build").await.succeeds();
    // One copy, although `secret-lib` wrote `pub` and this project `corp`.
    let lock = std::fs::read_to_string(member.join("Cargo.lock")).unwrap();
    assert_eq!(lock.matches("name = \"common\"").count(), 1, "{lock}");

    // A stranger cannot tell it from a crate that does not exist.
    let eve = server.new_user("eve").await;
    for token in [None, Some(eve.token.as_str())] {
        for (hidden, absent) in [
            ("/cargo/api/v1/crates/secret-lib/1.0.0/download", "/cargo/api/v1/crates/absent/1.0.0/download"),
            ("/cargo/api/v1/crates/secret-lib", "/cargo/api/v1/crates/absent"),
            ("/cargo/index/se/cr/secret-lib", "/cargo/index/ab/se/absent"),
        ] {
            let answer = fetch(&server, hidden, token).await;
            assert_eq!(answer.0, 404, "{hidden}");
            assert_eq!(answer, fetch(&server, absent, token).await, "{hidden}");
        }
    }
    let (status, text) = fetch(&server, "/cargo/index/auth/se/cr/secret-lib", Some(&eve.token)).await;
    assert_eq!((status, text.as_str()), (404, "not found\n"));
    let stranger = Machine::new(&server, "eve").logged_in(&eve.token);
    let theirs = stranger.program("stranger", tail);
    stranger.cargo(&theirs, "build").await.fails_with("no matching package");
    stranger.publish("corp", "secret-lib", "9.0.0", "").await.fails_with("this name is not available");
    let yank = stranger.cargo(&theirs, "yank --registry corp --version 1.0.0 secret-lib").await;
    yank.fails_with("404");

    // What is private is no business of shared caches.
    for path in ["/cargo/api/v1/crates/secret-lib/1.0.0/download", "/cargo/index/auth/se/cr/secret-lib"] {
        let request = server.http.get(format!("{}{path}", server.base_url())).header("authorization", &ada.token);
        let response = request.send().await.unwrap();
        assert_eq!(response.status().as_u16(), 200, "{path}");
        assert!(response.headers()["cache-control"].to_str().unwrap().starts_with("private, "), "{path}");
    }

    // Tokens end, and a registry that asks for one needs a provider.
    let revoked = server.http.delete(format!("{}/v1/tokens/current", server.base_url())).bearer_auth(&ada.token);
    assert!(revoked.send().await.unwrap().status().is_success());
    ada_machine.empty_cache();
    ada_machine.cargo(&member, "fetch").await.fails_with("token rejected for `corp`");
    ada_machine.drop_credential_provider();
    let hint = "authenticated registries require a credential-provider";
    ada_machine.cargo(&member, "fetch").await.fails_with(hint);
    // A stale token does not break what anybody may have.
    let stale = fetch(&server, "/cargo/api/v1/crates/common/1.0.0/download", Some(&ada.token)).await.0;
    assert_eq!(stale, 200);
    assert_eq!(fetch(&server, "/cargo/index/co/mm/common", Some(&ada.token)).await.0, 200);
    assert_eq!(fetch(&server, "/cargo/index/se/cr/secret-lib", Some(&ada.token)).await.0, 404);
    let hidden = fetch(&server, "/cargo/api/v1/crates/secret-lib/1.0.0/download", Some(&ada.token)).await.0;
    assert_eq!(hidden, 401);
});

on_backends!(
    a_private_crate_published_through_the_plain_entry_point_says_where_to_find_it,
    async |mut server: Server| {
        server.restart_with(PRIVATE).await;
        let ada = server.new_user("ada").await;
        let machine = Machine::new(&server, "m").logged_in(&ada.token);
        let hint = format!("private crate: use `sparse+{}/cargo/index/auth/`", server.base_url());
        let dir = machine.library("loud", "1.0.0", "");
        // The anonymous entry point will never show it.
        machine.publish_patiently_for(2, &dir, "pub").await.succeeds().says(&hint).says("timed out waiting");
        let (status, body) = Upload::new("quiet", "1.0.0").send(&server, &ada.token).await;
        assert_eq!(status, 200);
        let warnings: serde_json::Value = serde_json::from_str(&body).unwrap();
        let other: Vec<&str> =
            warnings["warnings"]["other"].as_array().unwrap().iter().filter_map(|w| w.as_str()).collect();
        assert!(other.contains(&hint.as_str()), "{other:?}");
        assert_eq!(fetch(&server, "/cargo/index/auth/qu/ie/quiet", Some(&ada.token)).await.0, 200);
    }
);

on_backends!(the_authenticated_entry_point_always_asks, async |server: Server| {
    let ada = server.new_user("ada").await;
    let base = server.base_url();
    for path in ["/cargo/index/auth/config.json", "/cargo/index/auth/ab/se/absent"] {
        for token in [None, Some("pub_nonsense")] {
            let mut request = server.http.get(format!("{base}{path}"));
            if let Some(token) = token {
                request = request.header("authorization", token);
            }
            let response = request.send().await.unwrap();
            assert_eq!(response.status().as_u16(), 401, "{path}");
            assert_eq!(response.headers()["www-authenticate"], format!("Cargo login_url=\"{base}/cargo/me\"").as_str());
        }
    }
    let (status, config) = fetch(&server, "/cargo/index/auth/config.json", Some(&ada.token)).await;
    assert_eq!(status, 200);
    assert!(config.ends_with(r#","auth-required":true}"#), "{config}");
});

on_backends!(an_instance_may_ask_everybody_for_a_token, async |mut server: Server| {
    server.restart_with(&[("cargo.auth_required", "true")]).await;
    let ada = server.new_user("ada").await;
    let machine = Machine::new(&server, "m").logged_in(&ada.token);
    machine.publish("corp", "closed", "1.0.0", "").await.succeeds();
    for path in [
        "/cargo/index/config.json",
        "/cargo/index/cl/os/closed",
        "/cargo/api/v1/crates/closed/1.0.0/download",
        "/cargo/api/v1/crates?q=closed",
        "/cargo/api/v1/crates/closed",
    ] {
        assert_eq!(fetch(&server, path, None).await.0, 401, "{path}");
        assert_eq!(fetch(&server, path, Some("pub_nonsense")).await.0, 401, "{path}");
        assert_eq!(fetch(&server, path, Some(&ada.token)).await.0, 200, "{path}");
    }
    let dir = machine.program("user", "[dependencies]\nclosed = { version = \"1\", registry = \"corp\" }\n");
    machine.cargo(&dir, "build").await.succeeds();

    // The plain entry point works like the other one, with a token only.
    let dir = machine.program("plain", "[dependencies]\nclosed = { version = \"1\", registry = \"pub\" }\n");
    machine.cargo(&dir, "build").await.fails_with("authenticated registries require a credential-provider");
    machine.provide_token_to_pub();
    machine.cargo(&dir, "build").await.succeeds();
    machine.publish("pub", "closed", "1.1.0", "").await.succeeds().says("Published closed v1.1.0");
    machine.cargo(&dir, "update").await.succeeds();
    machine.cargo(&dir, "search closed --registry pub").await.succeeds();
    machine.cargo(&dir, "owner --list --registry pub closed").await.succeeds().says("ada");
    machine.cargo(&dir, "yank --version 1.0.0 --registry pub closed").await.succeeds();
    machine.cargo(&dir, "info closed --registry pub").await.succeeds().says("version: 1.1.0");
    let nobody = Machine::new(&server, "nobody");
    nobody.provide_token_to_pub();
    let dir = nobody.program("user", "[dependencies]\nclosed = { version = \"1\", registry = \"pub\" }\n");
    nobody.cargo(&dir, "build").await.fails_with("no token found for `pub`");
});

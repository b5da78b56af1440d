use serde_json::{Value, json};

use crate::app::{self, column, members};

const ORG: [&str; 15] = [
    "avatar_url",
    "capabilities",
    "created_at",
    "default_repository_slug",
    "description",
    "email",
    "id",
    "is_verified",
    "member_directory_is_private",
    "mfa_required",
    "name",
    "restrict_private_reads",
    "slug",
    "updated_at",
    "website",
];

#[tokio::test(flavor = "multi_thread")]
async fn an_organization_is_made_shown_and_changed() {
    app::each(async |server| {
        let (ada, eve) = (server.person("ada").await, server.person("eve").await);
        let body = json!({"name": " Acme ", "slug": "acme", "description": "Anvils", "website": "https://acme.test"});
        let made = server.post("/v1/orgs", body.clone()).bearer(&ada.token).expect(201).await.body;
        assert_eq!(members(&made), ORG);
        assert_eq!((&made["name"], &made["mfa_required"]), (&json!("Acme"), &json!(false)));
        assert!(made["capabilities"].as_object().unwrap().values().all(|may| may == true), "{made}");

        let taken = server.post("/v1/orgs", body).bearer(&eve.token).problem(409, "already_exists").await;
        assert_eq!(taken["field"], "slug");
        for slug in ["Acme", "-acme", "a b", "", "settings", "np-m"] {
            let code = if matches!(slug, "settings" | "np-m") { "reserved_name" } else { "validation_failed" };
            let body = json!({"name": "x", "slug": slug});
            server.post("/v1/orgs", body).bearer(&eve.token).problem(422, code).await;
        }
        server.post("/v1/orgs", json!({})).problem(401, "unauthenticated").await;

        // Anybody sees the profile; the rules are for members.
        let seen = server.get("/v1/orgs/acme").expect(200).await;
        assert_eq!(members(&seen.body), ORG);
        assert_eq!((&seen.body["mfa_required"], &seen.body["name"]), (&Value::Null, &json!("Acme")));
        assert!(seen.body["capabilities"].as_object().unwrap().values().all(|may| may == false));
        assert!(seen.headers.contains_key("etag"));
        server.get("/v1/orgs/none").problem(404, "not_found").await;

        let change = |body: Value| server.patch("/v1/orgs/acme", body).bearer(&ada.token);
        let changed = change(json!({"name": "Acme Inc", "website": null})).expect(200).await.body;
        assert_eq!((&changed["name"], &changed["website"]), (&json!("Acme Inc"), &Value::Null));
        assert!(changed["message"].is_string());
        change(json!({"name": "Acme Inc"})).expect(200).await;
        assert_eq!(server.audited("org_update").await, 1);
        change(json!({"name": null, "website": "ftp://x"})).problem(422, "validation_failed").await;
        change(json!({"default_repository_slug": "nowhere"})).problem(422, "validation_failed").await;
        change(json!({"mfa_required": true})).problem(409, "mfa_not_enabled").await;
        server.patch("/v1/orgs/acme", json!({})).bearer(&eve.token).problem(403, "insufficient_permission").await;
        server.patch("/v1/orgs/acme", json!({})).problem(401, "unauthenticated").await;
        let reader = server.api_token(&ada, &["orgs:read"]).await;
        server.patch("/v1/orgs/acme", json!({})).bearer(&reader).problem(403, "insufficient_scope").await;
        // The scope is asked for before the organization is.
        server.patch("/v1/orgs/none", json!({})).bearer(&reader).problem(403, "insufficient_scope").await;

        let etag = server.get("/v1/orgs/acme").bearer(&ada.token).expect(200).await.headers["etag"].clone();
        let etag = etag.to_str().unwrap().to_owned();
        change(json!({"description": "Rockets"})).header("if-match", &etag).expect(200).await;
        let stale = change(json!({"description": "Skates"})).header("if-match", &etag);
        stale.problem(412, "precondition_failed").await;

        let own = server.get("/v1/users/me/organizations").bearer(&ada.token).expect(200).await.body;
        assert_eq!(column(&own["organizations"], "slug"), ["acme"]);
        assert_eq!((&own["organizations"][0]["role"], &own["total"]), (&json!("owner"), &json!(1)));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_owners_in_a_session_delete_what_is_empty() {
    app::each(async |server| {
        let (ada, bob) = (server.person("ada").await, server.person("bob").await);
        let org = server.org(&ada, "acme").await;
        server.join(&ada, "acme", &bob, "admin").await;
        server.repository(&ada, &org, "acme-main", "public", "public").await;
        let path = "/v1/orgs/acme";
        server.delete(path).bearer(&ada.token).problem(409, "organization_not_empty").await;
        server.delete("/v1/repositories/acme-main").bearer(&ada.token).expect(200).await;
        let token = server.api_token(&ada, &["orgs:write"]).await;
        server.delete(path).bearer(&token).problem(403, "session_required").await;
        server.delete(path).bearer(&bob.token).problem(403, "insufficient_permission").await;
        server.delete(path).bearer(&ada.token).expect(200).await;
        server.get(path).problem(404, "not_found").await;
        assert_eq!(server.audited("org_delete").await, 1);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_organization_is_handed_over_to_a_member() {
    app::each(async |server| {
        let (ada, bob, eve) = (server.person("ada").await, server.person("bob").await, server.person("eve").await);
        server.org(&ada, "acme").await;
        server.join(&ada, "acme", &bob, "viewer").await;
        let hand = |to: &str| server.post("/v1/orgs/acme/ownership-transfer", json!({"username": to}));
        hand("eve").bearer(&ada.token).problem(404, "not_found").await;
        hand("ada").bearer(&ada.token).problem(422, "validation_failed").await;
        hand("bob").bearer(&bob.token).problem(403, "insufficient_permission").await;
        hand("bob").bearer(&eve.token).problem(403, "insufficient_permission").await;
        let answer = hand("bob").bearer(&ada.token).expect(200).await.body;
        assert_eq!(members(&answer), ["message", "new_owner", "org", "previous_owner"]);
        assert_eq!(answer["new_owner"]["role"], "owner");
        hand("ada").bearer(&ada.token).problem(403, "insufficient_permission").await;
        let list = server.get("/v1/orgs/acme/members").bearer(&ada.token).expect(200).await.body;
        assert_eq!(column(&list["members"], "username"), ["bob", "ada"]);
        assert_eq!(column(&list["members"], "role"), ["owner", "admin"]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_required_second_factor_stops_governing_and_not_reading() {
    app::each(async |server| {
        let (ada, bob) = (server.person("ada").await, server.person("bob").await);
        server.org(&ada, "acme").await;
        server.join(&ada, "acme", &bob, "admin").await;
        server.give_mfa(&ada).await;
        server.patch("/v1/orgs/acme", json!({"mfa_required": true})).bearer(&ada.token).expect(200).await;
        let team = json!({"name": "t", "slug": "t"});
        let refused = server.post("/v1/orgs/acme/teams", team.clone()).bearer(&bob.token);
        assert_eq!(refused.problem(403, "mfa_required_by_organization").await["org"], "acme");
        server.get("/v1/orgs/acme/teams").bearer(&bob.token).expect(200).await;
        server.post("/v1/orgs/acme/teams", team).bearer(&ada.token).expect(201).await;
        server.delete("/v1/orgs/acme/members/bob").bearer(&bob.token).expect(200).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_lost_its_packages_can_be_deleted_and_their_names_are_gone() {
    app::each(async |server| {
        let (ada, eve) = (server.person("ada").await, server.person("eve").await);
        let acme = server.org(&ada, "acme").await;
        server.repository(&ada, &acme, "main", "public", "public").await;
        server.post("/v1/repositories", json!({"name": "own", "slug": "own"})).bearer(&ada.token).expect(201).await;
        for (name, repository) in [("gone-tool", "main"), ("kept-tool", "main"), ("moved-tool", "own")] {
            let body = json!({"ecosystem": "npm", "name": name, "repository_slug": repository});
            server.post("/v1/packages", body).bearer(&ada.token).expect(201).await;
            server.npm_published(&ada.token, name, "1.0.0").await;
        }
        let transfer = json!({"target_org_slug": "acme"});
        let transfer = server.post("/v1/packages/npm/moved-tool/ownership-transfer", transfer);
        transfer.bearer(&ada.token).expect(200).await;
        let unpublish = async |name: &str| {
            let path = format!("/npm/{name}");
            let revision = server.get(format!("{path}?write=true")).bearer(&ada.token).expect(200).await.body;
            let path = format!("{path}/-rev/{}", revision["_rev"].as_str().unwrap_or("1"));
            let answer = server.delete(path).bearer(&ada.token).send().await;
            assert!((200..300).contains(&answer.status), "{answer:?}");
        };
        unpublish("gone-tool").await;
        unpublish("moved-tool").await;
        let drop_repository = |slug: &str| server.delete(format!("/v1/repositories/{slug}")).bearer(&ada.token);
        drop_repository("main").problem(409, "repository_not_empty").await;
        // What was refused took nothing with it: the name is still its owner's.
        assert_eq!(server.db().count_rows("retired_names").await.unwrap(), 0);
        unpublish("kept-tool").await;
        drop_repository("main").expect(200).await;
        // Its repository is another's, and its owner goes.
        let drop_org = || server.delete("/v1/orgs/acme").bearer(&ada.token);
        drop_org().expect(200).await;
        drop_repository("own").expect(200).await;

        let noted =
            server.db().count_rows("audit_log WHERE metadata LIKE '%gone-tool%' AND action = 'repository_delete'");
        assert_eq!(noted.await.unwrap(), 1);
        server.post("/v1/repositories", json!({"name": "new", "slug": "new"})).bearer(&eve.token).expect(201).await;
        for name in ["gone-tool", "kept-tool", "moved-tool"] {
            let body = json!({"ecosystem": "npm", "name": name, "repository_slug": "new"});
            server.post("/v1/packages", body).bearer(&eve.token).problem(422, "reserved_name").await;
            let native = server.npm_publish(&ada.token, name, "2.0.0").await;
            assert!((400..500).contains(&native.status), "{native:?}");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn counts_and_grants_tell_no_more_than_the_lists() {
    app::each(async |server| {
        let (ada, vic, mia) = (server.person("ada").await, server.person("vic").await, server.person("mia").await);
        let acme = server.org(&ada, "acme").await;
        server.join(&ada, "acme", &vic, "viewer").await;
        server.join(&ada, "acme", &mia, "maintainer").await;
        server.repository(&ada, &acme, "main", "public", "public").await;
        for (name, visibility) in [("a-open", "public"), ("b-inner", "internal_org"), ("c-secret", "private")] {
            let body = json!({"ecosystem": "npm", "name": name, "repository_slug": "main", "visibility": visibility});
            server.post("/v1/packages", body).bearer(&ada.token).expect(201).await;
        }
        let counts = async |token: &str| {
            let own = server.get("/v1/users/me/organizations").bearer(token).expect(200).await.body;
            let repository = server.get("/v1/repositories/main").bearer(token).expect(200).await.body;
            let packages = server.get("/v1/orgs/acme/packages").bearer(token).expect(200).await.body;
            let number = |value: &serde_json::Value| value.as_i64().unwrap();
            (
                number(&own["organizations"][0]["package_count"]),
                number(&repository["package_count"]),
                number(&packages["total"]),
            )
        };
        assert_eq!(counts(&vic.token).await, (3, 3, 3));
        server.patch("/v1/orgs/acme", json!({"restrict_private_reads": true})).bearer(&ada.token).expect(200).await;
        assert_eq!(counts(&vic.token).await, (2, 2, 2));
        assert_eq!(counts(&mia.token).await, (3, 3, 3));
        let blind = server.api_token(&mia, &["orgs:read"]).await;
        assert_eq!(counts(&blind).await, (1, 1, 1));

        server.team(&ada, "acme", "core", &[&mia]).await;
        let grant = "/v1/orgs/acme/teams/core/package-access/npm/a-open";
        server.put(grant, json!({"permissions": ["publish"]})).bearer(&ada.token).expect(200).await;
        let shown = async |token: &str| {
            let page = server.get("/v1/packages/npm/a-open").bearer(token).expect(200).await.body;
            page["team_access"].as_array().unwrap().len()
        };
        assert_eq!(shown(&ada.token).await, 1);
        let narrow = server.api_token(&ada, &["packages:read"]).await;
        assert_eq!(shown(&narrow).await, 0, "grants are read with orgs:read");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn automation_tokens_are_read_without_a_second_factor() {
    app::each(async |server| {
        let (ada, bob) = (server.person("ada").await, server.person("bob").await);
        server.org(&ada, "acme").await;
        server.join(&ada, "acme", &bob, "admin").await;
        let reader = server.api_token(&bob, &["tokens:read"]).await;
        let list = |token: &str| server.get("/v1/tokens?org=acme").bearer(token);
        list(&reader).expect(200).await;
        server.give_mfa(&ada).await;
        server.patch("/v1/orgs/acme", json!({"mfa_required": true})).bearer(&ada.token).expect(200).await;
        list(&bob.token).expect(200).await;
        let create = json!({"name": "ci", "kind": "org_automation", "org_slug": "acme", "scopes": ["packages:read"]});
        server.post("/v1/tokens", create).bearer(&bob.token).problem(403, "mfa_required_by_organization").await;
    })
    .await;
}

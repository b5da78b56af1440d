use serde_json::{Value, json};

use crate::app::{self, members, pointers, text};

const TOKEN: [&str; 12] = [
    "created_at",
    "expires_at",
    "id",
    "kind",
    "last_four",
    "last_used_at",
    "name",
    "org_slug",
    "package",
    "prefix",
    "repository_slug",
    "scopes",
];

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_shown_once_listed_and_revoked() {
    for app in app::each().await {
        let session = app.someone("alice").await;
        let body = json!({"name": " laptop ", "scopes": ["packages:publish", "tokens:read"]});
        let made = app.post("/v1/tokens", body).bearer(&session).expect(201).await.body;
        let secret = text(&made["token"]);
        assert!(secret.starts_with("pub_") && secret.ends_with(&text(&made["last_four"])));
        assert!(!text(&made["warning"]).is_empty());
        assert_eq!(
            (&made["name"], &made["kind"], &made["prefix"]),
            (&json!("laptop"), &json!("personal"), &json!("pub_"))
        );

        let list = app.get("/v1/tokens").bearer(&secret).expect(200).await.body;
        assert_eq!((&list["total"], &list["per_page"], &list["has_next"]), (&json!(1), &json!(100), &json!(false)));
        assert_eq!(members(&list["tokens"][0]), TOKEN);
        assert_eq!(list["tokens"][0]["id"], made["id"]);
        assert!(!list.to_string().contains(&secret));

        let path = format!("/v1/tokens/{}", text(&made["id"]));
        let stranger = app.someone("bob").await;
        app.call("DELETE", path.clone()).bearer(&stranger).problem(404, "not_found").await;
        app.call("DELETE", path.clone()).bearer(&secret).problem(403, "insufficient_scope").await;
        app.call("DELETE", path.clone()).bearer(&session).expect(200).await;
        app.call("DELETE", path).bearer(&session).problem(404, "not_found").await;
        app.get("/v1/tokens").bearer(&secret).problem(401, "token_revoked").await;
        assert_eq!(app.get("/v1/tokens").bearer(&session).expect(200).await.body["total"], 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn faults_of_a_request_are_named() {
    for app in app::each().await {
        let session = app.someone("alice").await;
        let create = |body: Value| app.post("/v1/tokens", body).bearer(&session);
        let unknown = json!({"name": "x", "scopes": ["packages:read", "packages:eat", "root"]});
        let problem = create(unknown).problem(422, "unknown_scope").await;
        assert_eq!(pointers(&problem), ["/scopes/1", "/scopes/2"]);
        let many = json!({"kind": "magic", "expires_in_days": 0, "package": {"ecosystem": "npm", "name": "a b"}, "role": "owner"});
        let problem = create(many).problem(422, "validation_failed").await;
        assert_eq!(pointers(&problem), ["/name", "/kind", "/scopes", "/expires_in_days", "/package/name"]);
        for (body, place) in [
            (json!({"name": "x", "scopes": []}), "/scopes"),
            (json!({"name": "x", "scopes": "packages:read"}), "/scopes"),
            (
                json!({"name": "x", "scopes": ["packages:read"], "expires_in_days": 1, "expires_in_seconds": 1}),
                "/expires_in_seconds",
            ),
            (json!({"name": "x", "scopes": ["packages:read"], "expires_in_seconds": -5}), "/expires_in_seconds"),
            (json!({"name": "x", "scopes": ["packages:read"], "expires_in_days": 1.5}), "/expires_in_days"),
            (json!({"name": "x", "scopes": ["packages:read"], "expires_in_days": 9e18 as i64}), "/expires_in_days"),
            (json!({"name": "x", "scopes": ["packages:read"], "org_slug": "acme"}), "/org_slug"),
            (
                json!({"name": "x", "scopes": ["packages:read"], "repository_slug": "r", "package": {"ecosystem": "npm", "name": "a"}}),
                "/package",
            ),
            (json!({"name": "x", "scopes": ["packages:read"], "kind": "package"}), "/package"),
            (
                json!({"name": "x", "scopes": ["packages:read"], "kind": "ci", "expires_in_days": null}),
                "/expires_in_days",
            ),
            (json!({"name": "x", "scopes": ["packages:read"], "kind": "ci", "expires_in_days": 2}), "/expires_in_days"),
        ] {
            let problem = create(body.clone()).problem(422, "validation_failed").await;
            assert_eq!(pointers(&problem), [place], "{body}");
        }
        let admin = create(json!({"name": "x", "scopes": ["audit:read", "packages:read"]}));
        assert_eq!(admin.problem(403, "scope_not_grantable").await["scopes"], json!(["audit:read"]));
        // A token that may make no tokens, or none that live as long, says which scopes it did not hand on.
        let short = json!({"name": "x", "scopes": ["tokens:write", "packages:read"], "expires_in_days": 1});
        let short = text(&create(short).expect(201).await.body["token"]);
        let wish = json!({"name": "y", "scopes": ["packages:read"], "expires_in_days": 2});
        let refused = app.post("/v1/tokens", wish).bearer(&short).problem(403, "scope_not_grantable").await;
        assert_eq!(refused["scopes"], json!(["packages:read"]));
        let missing = json!({"name": "x", "kind": "package", "scopes": ["packages:read"], "package": {"ecosystem": "bun", "name": "a"}});
        create(missing).problem(404, "not_found").await;
        create(json!({"name": "x", "kind": "org-automation", "org_slug": "a", "scopes": ["packages:read"]}))
            .problem(404, "not_found")
            .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn lifetimes_are_asked_for_in_days_seconds_or_never() {
    for app in app::each().await {
        let session = app.someone("alice").await;
        let create = async |extra: Value| {
            let mut body = json!({"name": "x", "scopes": ["packages:publish"]});
            body.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
            app.post("/v1/tokens", body).bearer(&session).expect(201).await.body
        };
        assert!(create(json!({"expires_in_days": null})).await["expires_at"].is_null());
        assert!(create(json!({})).await["expires_at"].is_string());
        assert!(create(json!({"expires_in_days": 1})).await["expires_at"].is_string());
        let ci = create(json!({"kind": "CI", "expires_in_seconds": 60})).await;
        assert_eq!(ci["kind"], "ci");
        assert!(ci["expires_at"].is_string());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_current_credential_is_described_and_can_end_itself() {
    for app in app::each().await {
        let session = app.someone("alice").await;
        let expected = ["credential", "expires_at", "scopes", "session", "token", "user"];
        let own = app.get("/v1/tokens/current").bearer(&session).expect(200).await.body;
        assert_eq!(members(&own), expected);
        assert_eq!((&own["credential"], &own["token"]), (&json!("session"), &Value::Null));
        assert_eq!((&own["session"]["current"], &own["user"]["username"]), (&json!(true), &json!("alice")));
        app.call("DELETE", "/v1/tokens/current").bearer(&session).problem(403, "credential_not_accepted").await;

        let token = app.token(&session, &["packages:read"]).await;
        let own = app.get("/v1/tokens/current").bearer(&token).expect(200).await.body;
        assert_eq!(members(&own), expected);
        assert_eq!((&own["credential"], &own["session"]), (&json!("api_token"), &Value::Null));
        assert_eq!((&own["scopes"], &own["expires_at"]), (&json!(["packages:read"]), &own["token"]["expires_at"]));
        app.call("DELETE", "/v1/tokens/current").bearer(&token).expect(200).await;
        app.get("/v1/tokens/current").bearer(&token).problem(401, "token_revoked").await;
        app.get("/v1/tokens/current").problem(401, "unauthenticated").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_are_paged() {
    for app in app::each().await {
        let session = app.someone("alice").await;
        for _ in 0..3 {
            app.token(&session, &["packages:read"]).await;
        }
        let page = app.get("/v1/tokens?per_page=2&page=0").bearer(&session).expect(200).await;
        assert_eq!((&page.body["page"], &page.body["per_page"]), (&json!(1), &json!(2)));
        assert_eq!((page.body["tokens"].as_array().unwrap().len(), &page.body["has_next"]), (2, &json!(true)));
        assert_eq!(page.headers["link"], "<?per_page=2&page=2>; rel=\"next\"");
        let past = app.get("/v1/tokens?per_page=2&page=9").bearer(&session).expect(200).await.body;
        assert_eq!((past["tokens"].as_array().unwrap().len(), &past["total"]), (0, &json!(3)));
        app.get("/v1/tokens?page=x").bearer(&session).problem(400, "malformed_request").await;
        app.get("/v1/tokens?page=10001").bearer(&session).problem(422, "validation_failed").await;
        app.get("/v1/tokens?include_expired=maybe").bearer(&session).problem(400, "malformed_request").await;
        app.get("/v1/tokens?org=acme").bearer(&session).problem(404, "not_found").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn organizations_have_tokens_that_their_admins_manage() {
    for app in app::each().await {
        let owner = app.someone("olga").await;
        let viewer = app.someone("vera").await;
        app.post("/v1/orgs", json!({"name": "Acme", "slug": "acme"})).bearer(&owner).expect(201).await;
        let member = json!({"username": "vera", "role": "viewer"});
        app.post("/v1/orgs/acme/members", member).bearer(&owner).expect(201).await;
        let create = |session: &str, extra: Value| {
            let mut body =
                json!({"name": "ci", "kind": "org_automation", "org_slug": "acme", "scopes": ["packages:publish"]});
            body.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
            app.post("/v1/tokens", body).bearer(session)
        };
        create(&viewer, json!({})).problem(403, "insufficient_permission").await;
        create(&owner, json!({"role": "owner"})).problem(422, "validation_failed").await;
        create(&owner, json!({"role": "nonsense"})).problem(422, "validation_failed").await;
        create(&owner, json!({"repository_slug": "x"})).problem(422, "validation_failed").await;
        let excess = create(&owner, json!({"scopes": ["orgs:write"]})).problem(403, "scope_not_grantable").await;
        assert_eq!(excess["scopes"], json!(["orgs:write"]));
        let made = create(&owner, json!({"scopes": ["packages:publish", "orgs:read"]})).expect(201).await.body;
        assert_eq!((&made["kind"], &made["org_slug"]), (&json!("org_automation"), &json!("acme")));
        let secret = text(&made["token"]);

        // It is nobody: no account, no creating of tokens, but it knows what it is.
        app.get("/v1/users/me").bearer(&secret).problem(404, "not_found").await;
        let own = app.get("/v1/tokens/current").bearer(&secret).expect(200).await.body;
        assert_eq!((&own["user"], &own["token"]["org_slug"]), (&Value::Null, &json!("acme")));
        app.get("/v1/tokens?org=acme").bearer(&viewer).problem(403, "insufficient_permission").await;
        let list = app.get("/v1/tokens?org=acme").bearer(&owner).expect(200).await.body;
        assert_eq!((&list["total"], &list["tokens"][0]["id"]), (&json!(1), &made["id"]));
        assert_eq!(app.get("/v1/tokens").bearer(&owner).expect(200).await.body["total"], 0);

        let path = format!("/v1/tokens/{}", text(&made["id"]));
        app.call("DELETE", path.clone()).bearer(&viewer).problem(404, "not_found").await;
        app.call("DELETE", path.clone()).bearer(&owner).expect(200).await;
        app.call("DELETE", path).bearer(&owner).problem(404, "not_found").await;
        app.get("/v1/tokens/current").bearer(&secret).problem(401, "token_revoked").await;
        assert_eq!(app.get("/v1/tokens?org=acme").bearer(&owner).expect(200).await.body["total"], 0);

        // It can end itself, and outlives whoever made it.
        let made = create(&owner, json!({"role": "auditor"})).expect(201).await.body;
        app.identity.set_active("olga", false).await.unwrap();
        app.call("DELETE", "/v1/tokens/current").bearer(&text(&made["token"])).expect(200).await;
    }
}

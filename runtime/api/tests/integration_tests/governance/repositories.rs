use serde_json::{Value, json};

use crate::app::{self, column, members};

#[tokio::test(flavor = "multi_thread")]
async fn the_four_kinds_hold_what_they_may() {
    app::each(async |server| {
        let (ada, eve) = (server.person("ada").await, server.person("eve").await);
        let acme = server.org(&ada, "acme").await;
        let create = |body: Value| server.post("/v1/repositories", body).bearer(&ada.token);
        for (kind, default) in
            [("public", "public"), ("private", "private"), ("staging", "private"), ("release", "public")]
        {
            let made = create(json!({"name": kind, "slug": format!("r-{kind}"), "kind": kind})).expect(201).await.body;
            assert_eq!((&made["visibility"], &made["kind"]), (&json!(default), &json!(kind)));
            assert_eq!((&made["owner_username"], &made["upstream_url"]), (&json!("ada"), &Value::Null));
        }
        let made = create(json!({"name": "x", "slug": "plain"})).expect(201).await.body;
        let expected = [
            "can_create_packages",
            "can_manage",
            "can_transfer",
            "created_at",
            "description",
            "id",
            "kind",
            "name",
            "owner_org_id",
            "owner_org_name",
            "owner_org_slug",
            "owner_user_id",
            "owner_username",
            "package_count",
            "slug",
            "updated_at",
            "upstream_url",
            "visibility",
        ];
        assert_eq!(members(&made), expected);
        for kind in ["proxy", "virtual", "Proxy"] {
            let body = json!({"name": "x", "slug": "foreign", "kind": kind});
            create(body).problem(409, "unsupported_repository_kind").await;
        }
        create(json!({"name": "x", "slug": "y", "kind": "odd"})).problem(422, "validation_failed").await;
        create(json!({"name": "x", "slug": "plain"})).problem(409, "already_exists").await;
        let body = json!({"name": "x", "slug": "y", "kind": "private", "visibility": "unlisted"});
        assert_eq!(create(body).problem(422, "visibility_too_broad").await["limit"], "private");
        let body = json!({"name": "x", "slug": "y", "visibility": "internal-org"});
        create(body).problem(422, "visibility_needs_organization").await;
        let body = json!({"name": "x", "slug": "inner", "visibility": "internal-org", "owner_org_id": acme["id"]});
        assert_eq!(create(body).expect(201).await.body["visibility"], "internal_org");
        let body = json!({"name": "x", "slug": "y", "owner_org_id": acme["id"]});
        server.post("/v1/repositories", body).bearer(&eve.token).problem(403, "insufficient_permission").await;
        let body = json!({"name": "x", "slug": "y", "owner_user_id": ada.id});
        server.post("/v1/repositories", body).bearer(&eve.token).problem(403, "insufficient_permission").await;

        // Lists show what the caller may be told of.
        let slugs = async |query: &str, person| {
            column(
                &server.get(format!("/v1/repositories{query}")).maybe(person).expect(200).await.body["repositories"],
                "slug",
            )
        };
        assert_eq!(slugs("", None).await, ["plain", "r-public", "r-release"]);
        assert_eq!(slugs("", Some(&ada)).await, ["inner", "plain", "r-private", "r-public", "r-release", "r-staging"]);
        assert_eq!(slugs("?owner=me&kind=staging", Some(&ada)).await, ["r-staging"]);
        assert_eq!(slugs("?owner=ada", Some(&eve)).await, ["plain", "r-public", "r-release"]);
        assert_eq!(slugs("?owner=nobody", None).await, Vec::<String>::new());
        assert_eq!(slugs("?org=acme", Some(&ada)).await, ["inner"]);
        server.get("/v1/repositories?owner=me").problem(401, "unauthenticated").await;
        let org = server.get("/v1/orgs/acme/repositories").bearer(&eve.token).expect(200).await.body;
        assert_eq!(org["repositories"], json!([]));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wider_visibility_is_confirmed_and_followed_by_packages() {
    app::each(async |server| {
        let (ada, eve) = (server.person("ada").await, server.person("eve").await);
        server.npm_published(&ada.token, "tool-of-ada", "1.0.0").await;
        let patch = |body: Value| server.patch("/v1/repositories/ada", body).bearer(&ada.token);
        assert_eq!(server.npm_read(None, "tool-of-ada").await, 200);
        patch(json!({"visibility": "private"})).expect(200).await;
        assert_eq!(server.npm_read(None, "tool-of-ada").await, 404);
        assert_eq!(server.npm_read(Some(&eve.token), "tool-of-ada").await, 404);
        assert_eq!(server.npm_read(Some(&ada.token), "tool-of-ada").await, 200);
        let refused = patch(json!({"visibility": "public"})).problem(409, "confirmation_required").await;
        assert_eq!(refused["affected_packages"], 1);
        patch(json!({"visibility": "public", "confirm_exposure": true})).expect(200).await;
        assert_eq!(server.npm_read(None, "tool-of-ada").await, 200);
        patch(json!({"visibility": null})).problem(422, "validation_failed").await;
        server.delete("/v1/repositories/ada").bearer(&ada.token).problem(409, "repository_not_empty").await;
        server
            .patch("/v1/repositories/ada", json!({"name": "x"}))
            .bearer(&eve.token)
            .problem(403, "insufficient_permission")
            .await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repository_moves_and_its_packages_stay_with_their_owner() {
    app::each(async |server| {
        let (ada, bob) = (server.person("ada").await, server.person("bob").await);
        let (acme, _) = (server.org(&ada, "acme").await, server.org(&ada, "beta").await);
        server.join(&ada, "acme", &bob, "viewer").await;
        server.repository(&ada, &acme, "vault", "private", "private").await;
        let default = json!({"default_repository_slug": "vault"});
        server.patch("/v1/orgs/acme", default).bearer(&ada.token).expect(200).await;
        let claim = json!({"ecosystem": "npm", "namespace": "@acme", "owner_org_id": acme["id"]});
        server.post("/v1/namespaces", claim).bearer(&ada.token).expect(201).await;
        server.npm_published(&ada.token, "@acme/tool", "1.0.0").await;
        server.team(&ada, "acme", "core", &[&bob]).await;
        let grant = "/v1/orgs/acme/teams/core/repository-access/vault";
        server.put(grant, json!({"permissions": ["publish"]})).bearer(&ada.token).expect(200).await;
        server.npm_published(&bob.token, "@acme/tool", "1.0.1").await;
        let bound =
            json!({"name": "b", "kind": "repository", "repository_slug": "vault", "scopes": ["packages:publish"]});
        let bound = server.post("/v1/tokens", bound).bearer(&ada.token).expect(201).await.body;
        let bound = app::text(&bound["token"]);
        server.npm_published(&bound, "@acme/tool", "1.0.2").await;

        let hand = |to: &str| server.post("/v1/repositories/vault/ownership-transfer", json!({"target_org_slug": to}));
        hand("beta").bearer(&bob.token).problem(403, "insufficient_permission").await;
        let moved = hand("beta").bearer(&ada.token).expect(200).await.body;
        assert_eq!((&moved["owner"]["slug"], &moved["repository"]["slug"]), (&json!("beta"), &json!("vault")));
        hand("beta").bearer(&ada.token).problem(409, "already_owner").await;
        // The grant ended, the token died, the package still belongs to acme.
        assert_eq!(server.npm_publish(&bob.token, "@acme/tool", "1.0.3").await.status, 403);
        assert_eq!(server.npm_publish(&bound, "@acme/tool", "1.0.3").await.status, 401);
        assert_eq!(server.npm_read(Some(&bob.token), "@acme/tool").await, 200);
        server.get("/v1/repositories/vault").bearer(&bob.token).problem(404, "not_found").await;
        let org = server.get("/v1/orgs/acme").bearer(&ada.token).expect(200).await.body;
        assert_eq!(org["default_repository_slug"], Value::Null);
        assert_eq!(server.audited("repository_transfer").await, 2);
    })
    .await;
}

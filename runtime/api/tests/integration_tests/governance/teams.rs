use serde_json::{Value, json};

use crate::app::{self, column, text};

#[tokio::test(flavor = "multi_thread")]
async fn teams_hold_members_of_the_organization() {
    app::each(async |server| {
        let (ada, bob, eve) = (server.person("ada").await, server.person("bob").await, server.person("eve").await);
        server.org(&ada, "acme").await;
        server.join(&ada, "acme", &bob, "viewer").await;
        server.team(&ada, "acme", "core", &[&bob]).await;
        let teams = "/v1/orgs/acme/teams";
        server
            .post(teams, json!({"name": "x", "slug": "core"}))
            .bearer(&ada.token)
            .problem(409, "already_exists")
            .await;
        server
            .post(teams, json!({"name": "x", "slug": "x"}))
            .bearer(&bob.token)
            .problem(403, "insufficient_permission")
            .await;
        let core = server.get("/v1/orgs/acme/teams/core").bearer(&bob.token).expect(200).await.body;
        assert_eq!((&core["member_count"], &core["slug"]), (&json!(1), &json!("core")));
        server.get("/v1/orgs/acme/teams/core").bearer(&eve.token).problem(403, "insufficient_permission").await;
        server.get("/v1/orgs/acme/teams/none").bearer(&bob.token).problem(404, "not_found").await;

        let add = |name: &str| server.post("/v1/orgs/acme/teams/core/members", json!({"username": name}));
        add("bob").bearer(&ada.token).expect(200).await;
        add("eve").bearer(&ada.token).problem(422, "validation_failed").await;
        add("nobody").bearer(&ada.token).problem(404, "not_found").await;
        let list = server.get("/v1/orgs/acme/teams/core/members").bearer(&bob.token).expect(200).await.body;
        assert_eq!(
            (column(&list["members"], "username"), &list["team"]["slug"]),
            (vec!["bob".to_owned()], &json!("core"))
        );

        let renamed = server.patch("/v1/orgs/acme/teams/core", json!({"name": "Core", "description": "c"}));
        assert_eq!(renamed.bearer(&ada.token).expect(200).await.body["name"], "Core");
        // Whoever leaves the organization leaves its teams.
        server.delete("/v1/orgs/acme/members/bob").bearer(&ada.token).expect(200).await;
        let core = server.get("/v1/orgs/acme/teams/core").bearer(&ada.token).expect(200).await.body;
        assert_eq!(core["member_count"], 0);
        server.delete("/v1/orgs/acme/teams/core/members/bob").bearer(&ada.token).problem(404, "not_found").await;
        server.delete("/v1/orgs/acme/teams/core").bearer(&ada.token).expect(200).await;
        server.delete("/v1/orgs/acme/teams/core").bearer(&ada.token).problem(404, "not_found").await;
        let actions = ["team_create", "team_update", "team_delete", "team_member_add"];
        for action in actions {
            assert_eq!(server.audited(action).await, 1, "{action}");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn grants_open_what_the_organization_owns_and_nothing_else() {
    app::each(async |server| {
        let (ada, bob, eve) = (server.person("ada").await, server.person("bob").await, server.person("eve").await);
        let (acme, other) = (server.org(&ada, "acme").await, server.org(&eve, "other").await);
        server.patch("/v1/orgs/acme", json!({"restrict_private_reads": true})).bearer(&ada.token).expect(200).await;
        server.join(&ada, "acme", &bob, "viewer").await;
        server.repository(&ada, &acme, "vault", "private", "private").await;
        server.repository(&eve, &other, "theirs", "public", "public").await;
        server.team(&ada, "acme", "core", &[&bob]).await;
        let read = || server.get("/v1/repositories/vault").bearer(&bob.token);
        read().problem(404, "not_found").await;

        let access = "/v1/orgs/acme/teams/core/repository-access";
        let grant = |slug: &str, permissions: Value| {
            server.put(format!("{access}/{slug}"), json!({"permissions": permissions})).bearer(&ada.token)
        };
        let set = grant("vault", json!(["read_private", "admin", "admin"])).expect(200).await.body;
        assert_eq!(
            (&set["permissions"], &set["repository"]["slug"]),
            (&json!(["admin", "read_private"]), &json!("vault"))
        );
        grant("vault", json!(["admin", "read_private"])).expect(200).await;
        assert_eq!(server.audited("team_repository_access_update").await, 1);
        let view = read().expect(200).await.body;
        assert_eq!((&view["can_manage"], &view["can_transfer"]), (&json!(true), &json!(true)));
        grant("vault", json!(["read_private"])).expect(200).await;
        assert_eq!(read().expect(200).await.body["can_manage"], false);

        grant("vault", json!([])).problem(422, "validation_failed").await;
        grant("vault", json!(["everything"])).problem(422, "validation_failed").await;
        grant("theirs", json!(["admin"])).problem(404, "not_found").await;
        grant("none", json!(["admin"])).problem(404, "not_found").await;
        let list = server.get(access).bearer(&ada.token).expect(200).await.body;
        assert_eq!(column(&list["repository_access"], "slug"), ["vault"]);
        server.get(access).bearer(&bob.token).problem(403, "insufficient_permission").await;

        server.delete(format!("{access}/vault")).bearer(&ada.token).expect(200).await;
        server.delete(format!("{access}/vault")).bearer(&ada.token).problem(404, "not_found").await;
        read().problem(404, "not_found").await;

        // Claims take two permissions only.
        let claim = json!({"ecosystem": "npm", "namespace": "@acme", "owner_org_id": acme["id"]});
        let claim = server.post("/v1/namespaces", claim).bearer(&ada.token).expect(201).await.body;
        let path = format!("/v1/orgs/acme/teams/core/namespace-access/{}", text(&claim["id"]));
        server
            .put(&path, json!({"permissions": ["publish"]}))
            .bearer(&ada.token)
            .problem(422, "validation_failed")
            .await;
        let look = || server.get("/v1/namespaces/lookup?ecosystem=npm&namespace=@acme").bearer(&bob.token);
        assert_eq!(look().expect(200).await.body["can_manage"], false);
        server.put(&path, json!({"permissions": ["admin"]})).bearer(&ada.token).expect(200).await;
        assert_eq!(look().expect(200).await.body["can_manage"], true);
        server.delete(&path).bearer(&ada.token).expect(200).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn package_grants_count_while_the_team_holds_them() {
    app::each(async |server| {
        let (ada, bob) = (server.person("ada").await, server.person("bob").await);
        let acme = server.org(&ada, "acme").await;
        server.join(&ada, "acme", &bob, "viewer").await;
        server.team(&ada, "acme", "core", &[&bob]).await;
        server.repository(&ada, &acme, "vault", "private", "private").await;
        let claim = json!({"ecosystem": "npm", "namespace": "@acme", "owner_org_id": acme["id"]});
        server.post("/v1/namespaces", claim).bearer(&ada.token).expect(201).await;
        server.npm_published(&ada.token, "@acme/tool", "1.0.0").await;
        assert_eq!(server.npm_publish(&bob.token, "@acme/tool", "1.1.0").await.status, 403);
        let path = "/v1/orgs/acme/teams/core/package-access/npm/@acme%2Ftool";
        let granted = server.put(path, json!({"permissions": ["publish"]})).bearer(&ada.token).expect(200).await.body;
        assert_eq!(granted["package"]["name"], "@acme/tool");
        server.npm_published(&bob.token, "@acme/tool", "1.1.0").await;
        let list = server.get("/v1/orgs/acme/teams/core/package-access").bearer(&ada.token).expect(200).await.body;
        assert_eq!(column(&list["package_access"], "name"), ["@acme/tool"]);
        server
            .put("/v1/orgs/acme/teams/core/package-access/npm/absent", json!({"permissions": ["publish"]}))
            .bearer(&ada.token)
            .problem(404, "not_found")
            .await;
        server.delete("/v1/orgs/acme/teams/core/members/bob").bearer(&ada.token).expect(200).await;
        assert_eq!(server.npm_publish(&bob.token, "@acme/tool", "1.2.0").await.status, 403);
    })
    .await;
}

use serde_json::{Value, json};

use crate::app;

#[tokio::test(flavor = "multi_thread")]
async fn a_package_moves_with_everything_that_follows() {
    app::each(async |server| {
        let (ada, bob, eve) = (server.person("ada").await, server.person("bob").await, server.person("eve").await);
        let (acme, beta) = (server.org(&ada, "acme").await, server.org(&ada, "beta").await);
        server.org(&eve, "eves").await;
        server.join(&ada, "acme", &bob, "maintainer").await;
        server.repository(&ada, &acme, "vault", "private", "private").await;
        server.repository(&ada, &beta, "beta-vault", "private", "private").await;
        let body = json!({"ecosystem": "npm", "name": "moving-tool", "repository_slug": "vault"});
        server.post("/v1/packages", body).bearer(&ada.token).expect(201).await;
        server.npm_published(&bob.token, "moving-tool", "1.0.0").await;
        server.team(&ada, "acme", "core", &[&bob]).await;
        let grant = "/v1/orgs/acme/teams/core/package-access/npm/moving-tool";
        server.put(grant, json!({"permissions": ["admin"]})).bearer(&ada.token).expect(200).await;
        let page = server.get("/v1/packages/npm/moving-tool").bearer(&ada.token).expect(200).await.body;
        assert_eq!(page["team_access"][0]["team_slug"], "core");
        let bound = json!({
            "name": "b", "kind": "package", "package": {"ecosystem": "npm", "name": "moving-tool"},
            "scopes": ["packages:publish"],
        });
        let bound = server.post("/v1/tokens", bound).bearer(&bob.token).expect(201).await.body;
        let bound = app::text(&bound["token"]);

        let path = "/v1/packages/npm/moving-tool/ownership-transfer";
        let hand = |body: Value| server.post(path, body);
        hand(json!({"target_org_slug": "eves"})).bearer(&ada.token).problem(403, "insufficient_permission").await;
        hand(json!({"target_org_slug": "none"})).bearer(&ada.token).problem(404, "not_found").await;
        hand(json!({"target_org_slug": "acme"})).bearer(&ada.token).problem(409, "already_owner").await;
        hand(json!({"target_org_slug": "eves"})).bearer(&eve.token).problem(404, "not_found").await;
        hand(json!({})).bearer(&ada.token).problem(422, "validation_failed").await;
        let moved = hand(json!({"target_org_slug": "beta"})).bearer(&ada.token).expect(200).await.body;
        assert_eq!((&moved["owner"]["slug"], &moved["repository_slug"]), (&json!("beta"), &json!("vault")));
        // The old organization's people and grants have no right on it, though it lies in their repository.
        assert_eq!(server.npm_publish(&bob.token, "moving-tool", "1.1.0").await.status, 404);
        assert_eq!(server.npm_publish(&bound, "moving-tool", "1.1.0").await.status, 401);
        server.get("/v1/packages/npm/moving-tool").bearer(&bob.token).problem(404, "not_found").await;
        server.npm_published(&ada.token, "moving-tool", "1.1.0").await;
        assert_eq!(server.audited("package_transfer").await, 2);
        let again = json!({"target_org_slug": "acme", "target_repository_slug": "beta-vault"});
        hand(again).bearer(&ada.token).problem(404, "not_found").await;
        let home = json!({"target_org_slug": "acme", "target_repository_slug": "vault"});
        hand(home).bearer(&ada.token).expect(200).await;
        server.npm_published(&bob.token, "moving-tool", "1.2.0").await;
    })
    .await;
}

use serde_json::{Value, json};

use crate::app::{self, column, members, text};

#[tokio::test(flavor = "multi_thread")]
async fn namespaces_are_claimed_once() {
    app::each(async |server| {
        let (ada, eve) = (server.person("ada").await, server.person("eve").await);
        let acme = server.org(&ada, "acme").await;
        let claim = |body: Value| server.post("/v1/namespaces", body);
        let made = claim(json!({"ecosystem": "npm", "namespace": "@Acme", "owner_org_id": acme["id"]}));
        let made = made.bearer(&ada.token).expect(201).await.body;
        let expected = [
            "can_manage",
            "can_transfer",
            "created_at",
            "ecosystem",
            "id",
            "is_verified",
            "namespace",
            "owner_org_id",
            "owner_org_slug",
            "owner_user_id",
            "owner_username",
        ];
        assert_eq!(members(&made), expected);
        assert_eq!((&made["owner_org_slug"], &made["can_manage"]), (&json!("acme"), &json!(true)));
        claim(json!({"ecosystem": "npm", "namespace": "@acme"}))
            .bearer(&ada.token)
            .problem(409, "already_exists")
            .await;
        claim(json!({"ecosystem": "bun", "namespace": "@ACME"}))
            .bearer(&eve.token)
            .problem(409, "already_exists")
            .await;
        claim(json!({"ecosystem": "npm", "namespace": "acme"})).bearer(&eve.token).problem(422, "invalid_name").await;
        claim(json!({"ecosystem": "npm", "namespace": "@security"}))
            .bearer(&eve.token)
            .problem(422, "reserved_name")
            .await;
        claim(json!({"ecosystem": "npm"})).bearer(&eve.token).problem(422, "validation_failed").await;
        let both = json!({"ecosystem": "npm", "namespace": "@x", "owner_org_id": acme["id"], "owner_user_id": ada.id});
        claim(both).bearer(&ada.token).problem(422, "validation_failed").await;
        let foreign = json!({"ecosystem": "npm", "namespace": "@x", "owner_user_id": ada.id});
        claim(foreign).bearer(&eve.token).problem(403, "insufficient_permission").await;
        let foreign = json!({"ecosystem": "npm", "namespace": "@x", "owner_org_id": acme["id"]});
        claim(foreign).bearer(&eve.token).problem(403, "insufficient_permission").await;
        claim(json!({"ecosystem": "npm", "namespace": "@x"})).problem(401, "unauthenticated").await;

        // Sub-claims are for the owner of the covering claim, in either order.
        let maven = |namespace: &str| claim(json!({"ecosystem": "maven", "namespace": namespace}));
        maven("com.acme.deep").bearer(&ada.token).expect(201).await;
        maven("com.acme").bearer(&eve.token).problem(409, "namespace_in_use").await;
        maven("com.acme").bearer(&ada.token).expect(201).await;
        maven("com.acme.other").bearer(&eve.token).problem(409, "namespace_in_use").await;
        maven("com.acmee").bearer(&eve.token).expect(201).await;
        let look = |query: &str| server.get(format!("/v1/namespaces/lookup?ecosystem=maven&namespace={query}"));
        assert_eq!(look("com.acme.deep.er").expect(200).await.body["namespace"], "com.acme.deep");
        assert_eq!(look("com.acme.x").expect(200).await.body["namespace"], "com.acme");
        look("org.acme").problem(404, "not_found").await;
        server.get("/v1/namespaces/lookup").problem(422, "validation_failed").await;

        let list = server.get(format!("/v1/namespaces?owner_org_id={}", text(&acme["id"]))).expect(200).await.body;
        assert_eq!(column(&list["namespaces"], "namespace"), ["@Acme"]);
        let all = server.get("/v1/namespaces?ecosystem=maven&per_page=2").expect(200).await.body;
        assert_eq!((&all["total"], &all["has_next"]), (&json!(3), &json!(true)));
        assert_eq!(column(&all["namespaces"], "namespace"), ["com.acmee", "com.acme"]);
        server.get("/v1/namespaces?owner_org_id=x").problem(400, "malformed_request").await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_does_not_take_in_packages_of_others() {
    app::each(async |server| {
        let (ada, eve) = (server.person("ada").await, server.person("eve").await);
        server.npm_published(&eve.token, "@acme/tool", "1.0.0").await;
        let claim = json!({"ecosystem": "npm", "namespace": "@acme"});
        server.post("/v1/namespaces", claim.clone()).bearer(&ada.token).problem(409, "namespace_in_use").await;
        server.post("/v1/namespaces", claim).bearer(&eve.token).expect(201).await;
        // A name next to the namespace is not in it.
        server.npm_published(&eve.token, "@acmf/tool", "1.0.0").await;
        server
            .post("/v1/namespaces", json!({"ecosystem": "npm", "namespace": "@acme-x"}))
            .bearer(&ada.token)
            .expect(201)
            .await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn claims_change_hands_and_are_verified() {
    app::each(async |server| {
        let (ada, bob, root) = (server.person("ada").await, server.person("bob").await, server.admin("root1").await);
        let acme = server.org(&ada, "acme").await;
        server.org(&ada, "beta").await;
        server.org(&bob, "bobs").await;
        server.join(&ada, "acme", &bob, "maintainer").await;
        let claim = json!({"ecosystem": "npm", "namespace": "@acme", "owner_org_id": acme["id"]});
        let claim = server.post("/v1/namespaces", claim).bearer(&ada.token).expect(201).await.body;
        let path = format!("/v1/namespaces/{}", text(&claim["id"]));
        let hand = |to: &str| server.post(format!("{path}/ownership-transfer"), json!({"target_org_slug": to}));
        hand("bobs").bearer(&bob.token).problem(403, "insufficient_permission").await;
        hand("bobs").bearer(&ada.token).problem(403, "insufficient_permission").await;
        hand("none").bearer(&ada.token).problem(404, "not_found").await;
        hand("acme").bearer(&ada.token).problem(409, "already_owner").await;
        server.team(&ada, "acme", "core", &[&bob]).await;
        let grant = format!("/v1/orgs/acme/teams/core/namespace-access/{}", text(&claim["id"]));
        server.put(&grant, json!({"permissions": ["transfer_ownership"]})).bearer(&ada.token).expect(200).await;
        let moved = hand("bobs").bearer(&bob.token).expect(200).await.body;
        assert_eq!((&moved["owner"]["slug"], &moved["owner"]["type"]), (&json!("bobs"), &json!("organization")));
        server.delete(&grant).bearer(&ada.token).problem(404, "not_found").await;
        server.delete(&path).bearer(&ada.token).problem(403, "insufficient_permission").await;

        let verify = || server.post(format!("{path}/verify"), json!({"is_verified": true, "note": "called them"}));
        verify().bearer(&bob.token).problem(403, "insufficient_scope").await;
        assert_eq!(verify().bearer(&root.token).expect(200).await.body["is_verified"], true);
        let listed = server.get("/v1/namespaces?verified=true").expect(200).await.body;
        assert_eq!(column(&listed["namespaces"], "namespace"), ["@acme"]);
        server.delete(&path).bearer(&root.token).problem(403, "insufficient_permission").await;
        server.delete(&path).bearer(&bob.token).expect(200).await;
        server.delete(&path).bearer(&bob.token).problem(404, "not_found").await;
        for (action, times) in [
            ("namespace_claim_create", 1),
            ("namespace_claim_transfer", 2),
            ("namespace_claim_verify", 1),
            ("namespace_claim_delete", 1),
        ] {
            assert_eq!(server.audited(action).await, times, "{action}");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn operators_may_keep_claims_to_themselves() {
    app::each_with(&[("namespaces.claim_policy", "admin")], async |server| {
        let (ada, root) = (server.person("ada").await, server.admin("root1").await);
        let claim = json!({"ecosystem": "npm", "namespace": "@acme"});
        server.post("/v1/namespaces", claim.clone()).bearer(&ada.token).problem(403, "platform_admin_required").await;
        server.post("/v1/namespaces", claim).bearer(&root.token).expect(201).await;
    })
    .await;
}

use serde_json::{Value, json};

use crate::app::{self, members, pointers};

const USER_PUBLIC: [&str; 7] = ["avatar_url", "bio", "created_at", "display_name", "id", "username", "website"];

#[tokio::test(flavor = "multi_thread")]
async fn profiles_are_public_but_addresses_are_not() {
    for app in app::each().await {
        app.register("Alice").await;
        let open = app.get("/v1/users/aLiCe").expect(200).await.body;
        assert_eq!(members(&open), USER_PUBLIC);
        assert_eq!(open["username"], "Alice");
        assert!(!open.to_string().contains("example.com"));
        app.get("/v1/users/nobody").problem(404, "not_found").await;
        app.identity.set_active("alice", false).await.unwrap();
        app.get("/v1/users/alice").problem(404, "not_found").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn me_shows_the_scopes_of_the_presented_credential() {
    for app in app::each().await {
        let session = app.someone("alice").await;
        let token = app.token(&session, &["packages:read", "profile:write"]).await;
        let me = app.get("/v1/users/me").bearer(&token).expect(200).await.body;
        assert_eq!(me["scopes"], json!(["profile:write", "packages:read"]));
        assert_eq!((&me["email"], &me["is_admin"]), (&json!("alice@example.com"), &json!(false)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn people_change_their_own_profile_only() {
    for app in app::each().await {
        let alice = app.someone("alice").await;
        let bob = app.someone("bob").await;
        let patch = |path: &str, body: Value, session: &str| app.call("PATCH", path).json(body).bearer(session);
        let body =
            json!({"display_name": " Alice ", "website": "https://example.com/a", "email": "ignored@example.com"});
        let me = patch("/v1/users/me", body, &alice).expect(200).await.body;
        assert_eq!((&me["display_name"], &me["email"]), (&json!("Alice"), &json!("alice@example.com")));
        let named = patch("/v1/users/ALICE", json!({"display_name": null}), &alice).expect(200).await.body;
        assert_eq!((&named["display_name"], &named["website"]), (&Value::Null, &json!("https://example.com/a")));
        assert!(named["message"].is_string());
        assert!(named.get("email").is_none());
        let other = patch("/v1/users/alice", json!({"bio": "x"}), &bob).problem(403, "insufficient_permission").await;
        assert!(other["required"].is_array());

        let bad = json!({"display_name": 5, "website": "ftp://x", "avatar_url": "javascript:x", "bio": "ok"});
        let problem = patch("/v1/users/me", bad, &alice).problem(422, "validation_failed").await;
        assert_eq!(pointers(&problem), ["/display_name", "/website", "/avatar_url"]);
        assert!(app.get("/v1/users/alice").expect(200).await.body["bio"].is_null(), "nothing of it was kept");

        let token = app.token(&alice, &["packages:write"]).await;
        patch("/v1/users/me", json!({}), &token).problem(403, "insufficient_scope").await;
        app.call("PATCH", "/v1/users/me").json(json!({})).problem(401, "unauthenticated").await;
    }
}

use publaryn_registry::identity::IdentitySettings;
use serde_json::{Value, json};

use crate::app::{self, App, PASSWORD, members, text};

const USER_SELF: [&str; 12] = [
    "avatar_url",
    "bio",
    "created_at",
    "display_name",
    "email",
    "email_verified",
    "id",
    "is_admin",
    "mfa_enabled",
    "scopes",
    "username",
    "website",
];

#[tokio::test(flavor = "multi_thread")]
async fn registration_answers_201_and_names_what_is_taken() {
    for app in app::each().await {
        let body = json!({"username": " Alice ", "email": "Alice@Example.com", "password": PASSWORD});
        let made = app.post("/v1/auth/register", body.clone()).expect(201).await.body;
        assert_eq!(members(&made), ["email", "id", "username"]);
        assert_eq!((&made["username"], &made["email"]), (&json!("Alice"), &json!("Alice@Example.com")));
        let again = app.post("/v1/auth/register", body).problem(409, "already_exists").await;
        assert_eq!(again["field"], "username");
        let other = json!({"username": "bob", "email": "ALICE@example.com", "password": PASSWORD});
        let again = app.post("/v1/auth/register", other).problem(409, "already_exists").await;
        assert_eq!(again["field"], "email");
    }
    for app in app::each_with(IdentitySettings { registration_is_open: false, ..app::settings() }).await {
        app.post("/v1/auth/register", json!({})).problem(403, "registration_closed").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_answers_with_everything_a_client_needs() {
    for app in app::each().await {
        app.register("alice").await;
        let login = app.login("alice@example.com").await;
        let expected = [
            "expires_in",
            "refresh_expires_in",
            "refresh_token",
            "scopes",
            "session_id",
            "token",
            "token_type",
            "user",
        ];
        assert_eq!(members(&login), expected);
        assert_eq!(members(&login["user"]), USER_SELF);
        assert_eq!((&login["token_type"], &login["expires_in"]), (&json!("Bearer"), &json!(3600)));
        assert_eq!(login["refresh_expires_in"], 86_400);
        assert_eq!(login["scopes"], login["user"]["scopes"]);
        assert!(!login["scopes"].as_array().unwrap().contains(&json!("admin:write")));
        let me = app.get("/v1/users/me").bearer(&text(&login["token"])).expect(200).await.body;
        assert_eq!(me["username"], "alice");

        let wrong = json!({"username_or_email": "alice", "password": "not the password"});
        let unknown = json!({"username_or_email": "nobody", "password": "not the password"});
        let one = app.post("/v1/auth/login", wrong).problem(401, "invalid_credentials").await;
        let other = app.post("/v1/auth/login", unknown).problem(401, "invalid_credentials").await;
        assert_eq!(one["detail"], other["detail"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn too_many_failures_are_throttled_with_a_time_to_wait() {
    for app in app::each().await {
        app.register("alice").await;
        let wrong = json!({"username_or_email": "alice", "password": "not the password"});
        for _ in 0..10 {
            app.post("/v1/auth/login", wrong.clone()).problem(401, "invalid_credentials").await;
        }
        let right = json!({"username_or_email": "alice", "password": PASSWORD});
        let answer = app.post("/v1/auth/login", right).expect(429).await;
        assert_eq!(answer.body["code"], "login_throttled");
        let seconds = answer.body["retry_after_seconds"].as_u64().unwrap();
        assert!((1..=900).contains(&seconds));
        assert_eq!(answer.headers["retry-after"], seconds.to_string().as_str());
    }
}

async fn refresh(app: &App, token: &Value) -> app::Answer {
    app.post("/v1/auth/refresh", json!({ "refresh_token": token })).send().await
}

#[tokio::test(flavor = "multi_thread")]
async fn refresh_tokens_rotate_and_a_prompt_repetition_gets_the_same_answer() {
    for app in app::each().await {
        app.register("alice").await;
        let login = app.login("alice").await;
        let first = refresh(&app, &login["refresh_token"]).await;
        let repeated = refresh(&app, &login["refresh_token"]).await;
        assert_eq!(first.status.as_u16(), 200, "{}", first.body);
        assert_ne!(first.body["refresh_token"], login["refresh_token"]);
        assert_eq!(first.body, repeated.body);
        // Two generations back is beyond any grace.
        refresh(&app, &first.body["refresh_token"]).await;
        let reused = app.post("/v1/auth/refresh", json!({"refresh_token": login["refresh_token"]}));
        reused.problem(401, "refresh_token_reused").await;
        app.get("/v1/users/me").bearer(&text(&first.body["token"])).problem(401, "session_revoked").await;
        app.post("/v1/auth/refresh", json!({"refresh_token": "nonsense"})).problem(401, "refresh_token_invalid").await;
        app.post("/v1/auth/refresh", json!({})).problem(422, "validation_failed").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_portal_keeps_its_refresh_token_in_a_cookie() {
    for app in app::each().await {
        app.register("alice").await;
        let login = json!({"username_or_email": "alice", "password": PASSWORD, "cookie": true});
        let login = app.post("/v1/auth/login", login).expect(200).await;
        assert!(login.body.get("refresh_token").is_none());
        let set = login.headers["set-cookie"].to_str().unwrap();
        assert!(set.contains("HttpOnly") && set.contains("SameSite=Strict") && set.contains("Path=/v1/auth"), "{set}");
        let cookie = set.split(';').next().unwrap().to_owned();

        let plain = app.post("/v1/auth/refresh", json!({"cookie": true})).header("cookie", &cookie);
        plain.problem(401, "refresh_token_invalid").await;
        let portal =
            |body: Value, path: &str| app.post(path, body).header("cookie", &cookie).header("x-publaryn-portal", "1");
        let refreshed = portal(json!({"cookie": true}), "/v1/auth/refresh").expect(200).await;
        assert!(refreshed.body.get("refresh_token").is_none());
        let next = refreshed.headers["set-cookie"].to_str().unwrap().split(';').next().unwrap().to_owned();
        assert_ne!(next, cookie);
        // Signing out works without an access token, too, and takes the cookie away.
        let out = app.post("/v1/auth/logout", json!({})).header("cookie", &next).header("x-publaryn-portal", "1");
        let out = out.expect(200).await;
        assert!(out.headers["set-cookie"].to_str().unwrap().contains("Max-Age=0"));
        let token = text(&refreshed.body["token"]);
        app.get("/v1/users/me").bearer(&token).problem(401, "session_revoked").await;

        // From all sessions, too, with nothing but the cookie.
        let sign_in = async || {
            let login = json!({"username_or_email": "alice", "password": PASSWORD, "cookie": true});
            app.post("/v1/auth/login", login).header("x-publaryn-portal", "1").expect(200).await
        };
        let (here, there) = (sign_in().await, sign_in().await);
        let cookie = here.headers["set-cookie"].to_str().unwrap().split(';').next().unwrap().to_owned();
        let out = app.post("/v1/auth/logout", json!({"all": true})).header("cookie", &cookie);
        out.header("x-publaryn-portal", "1").expect(200).await;
        for session in [here, there] {
            let token = text(&session.body["token"]);
            app.get("/v1/users/me").bearer(&token).problem(401, "session_revoked").await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn logout_needs_a_session_or_nothing() {
    for app in app::each().await {
        let session = app.someone("alice").await;
        let other = text(&app.login("alice").await["token"]);
        app.call("POST", "/v1/auth/logout").expect(200).await;
        let token = app.token(&session, &["packages:read"]).await;
        app.call("POST", "/v1/auth/logout").bearer(&token).problem(403, "session_required").await;
        app.call("POST", "/v1/auth/logout").bearer(&session).expect(200).await;
        app.get("/v1/users/me").bearer(&session).problem(401, "session_revoked").await;
        app.get("/v1/users/me").bearer(&other).expect(200).await;
        app.post("/v1/auth/logout", json!({"all": true})).bearer(&other).expect(200).await;
        app.get("/v1/users/me").bearer(&token).expect(200).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn passwords_are_changed_by_who_knows_them() {
    for app in app::each().await {
        let session = app.someone("alice").await;
        let other = text(&app.login("alice").await["token"]);
        let change = |current: &str, new: &str| {
            app.post("/v1/auth/password", json!({"current_password": current, "new_password": new})).bearer(&session)
        };
        change("not the password", "a whole new password").problem(401, "invalid_credentials").await;
        let short = change(PASSWORD, "short").problem(422, "validation_failed").await;
        assert_eq!(app::pointers(&short), ["/new_password"]);
        change(PASSWORD, "a whole new password").expect(200).await;
        app.get("/v1/users/me").bearer(&other).problem(401, "session_revoked").await;
        app.get("/v1/users/me").bearer(&session).expect(200).await;
        let token = app.token(&session, &["packages:read"]).await;
        app.post("/v1/auth/password", json!({})).bearer(&token).problem(403, "session_required").await;
        app.post("/v1/auth/password", json!({})).problem(401, "unauthenticated").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_are_listed_and_ended() {
    for app in app::each().await {
        let here = app.someone("alice").await;
        let there = app.login("alice").await;
        let list = app.get("/v1/auth/sessions").bearer(&here).header("user-agent", "x").expect(200).await.body;
        assert_eq!(members(&list), ["has_next", "page", "per_page", "sessions", "total"]);
        assert_eq!(list["total"], 2);
        let expected = ["created_at", "current", "expires_at", "id", "ip_address", "last_seen_at", "mfa", "user_agent"];
        assert_eq!(members(&list["sessions"][0]), expected);
        assert_eq!(list["sessions"][0]["id"], there["session_id"]);
        assert_eq!(list["sessions"][0]["current"], false);
        assert_eq!(list["sessions"][1]["current"], true);
        assert_eq!(list["sessions"][1]["ip_address"], "192.0.2.1");
        let path = format!("/v1/auth/sessions/{}", text(&there["session_id"]));
        let stranger = app.someone("bob").await;
        app.call("DELETE", path.clone()).bearer(&stranger).problem(404, "not_found").await;
        app.call("DELETE", path.clone()).bearer(&here).expect(200).await;
        app.call("DELETE", path).bearer(&here).problem(404, "not_found").await;
        app.get("/v1/users/me").bearer(&text(&there["token"])).problem(401, "session_revoked").await;
        app.call("DELETE", "/v1/auth/sessions/x").bearer(&here).problem(400, "malformed_request").await;
        let token = app.token(&here, &["packages:read"]).await;
        app.get("/v1/auth/sessions").bearer(&token).problem(403, "session_required").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn scopes_are_explained() {
    for app in app::each().await {
        let scopes = app.get("/v1/auth/scopes").expect(200).await.body["scopes"].clone();
        let list = scopes.as_array().unwrap();
        assert_eq!(list.len(), 18);
        assert!(list.iter().all(|scope| members(scope) == ["admin_only", "description", "implies", "name"]));
        let write = list.iter().find(|scope| scope["name"] == "packages:write").unwrap();
        assert_eq!(write["implies"], json!(["packages:publish", "security:write"]));
        let admin = list.iter().filter(|scope| scope["admin_only"] == true).count();
        assert_eq!(admin, 2);
    }
}

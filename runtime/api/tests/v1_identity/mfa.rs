use publaryn_auth::totp::TotpSecret;
use publaryn_core::Timestamp;
use serde_json::{Value, json};

use crate::app::{self, App, PASSWORD, members, text};

/// The code of the authenticator app, `steps` from now: each step is good once.
fn code(secret: &Value, steps: u64) -> String {
    let app = TotpSecret::from_base32(&text(secret)).unwrap();
    app.code_at(Timestamp::now() + std::time::Duration::from_secs(30 * steps))
}

/// Switches the second factor on and gives the offer.
async fn enable(app: &App, session: &str) -> Value {
    let offer = app.call("POST", "/v1/auth/mfa/setup").bearer(session).expect(200).await.body;
    let body = json!({"code": code(&offer["secret"], 0)});
    let on = app.post("/v1/auth/mfa/verify-setup", body).bearer(session).expect(200).await.body;
    assert_eq!(on, json!({"mfa_enabled": true}));
    offer
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_factor_from_the_offer_to_the_login() {
    for app in app::each().await {
        let session = app.someone("alice").await;
        let other = text(&app.login("alice").await["token"]);
        let status = app.get("/v1/auth/mfa").bearer(&session).expect(200).await.body;
        assert_eq!(
            status,
            json!({"mfa_enabled": false, "enabled_at": null, "recovery_codes_remaining": 0, "setup_pending": false})
        );
        let verify = |body: Value| app.post("/v1/auth/mfa/verify-setup", body).bearer(&session);
        verify(json!({"code": "123456"})).problem(409, "mfa_setup_missing").await;
        let offer = app.post("/v1/auth/mfa/setup", json!({})).bearer(&session).expect(200).await.body;
        assert_eq!(members(&offer), ["provisioning_uri", "recovery_codes", "secret"]);
        assert_eq!(offer["recovery_codes"].as_array().unwrap().len(), 8);
        verify(json!({"code": "nonsense"})).problem(422, "mfa_code_invalid").await;
        verify(json!({})).problem(422, "validation_failed").await;
        let offer = enable(&app, &session).await;
        app.get("/v1/auth/mfa").bearer(&other).problem(401, "session_revoked").await;
        let status = app.get("/v1/auth/mfa").bearer(&session).expect(200).await.body;
        assert_eq!((&status["mfa_enabled"], &status["recovery_codes_remaining"]), (&json!(true), &json!(8)));
        assert!(status["enabled_at"].is_string());
        assert_eq!(app.get("/v1/users/me").bearer(&session).expect(200).await.body["mfa_enabled"], true);
        app.call("POST", "/v1/auth/mfa/setup").bearer(&session).problem(409, "mfa_already_enabled").await;

        // The password alone gives a token that is good for one thing.
        let pending = app.login("alice").await;
        assert_eq!(members(&pending), ["expires_in", "mfa_required", "mfa_token"]);
        assert_eq!((&pending["mfa_required"], &pending["expires_in"]), (&json!(true), &json!(300)));
        app.get("/v1/users/me").bearer(&text(&pending["mfa_token"])).problem(401, "unauthenticated").await;
        let answer =
            |token: &Value, code: &str| app.post("/v1/auth/mfa/challenge", json!({"mfa_token": token, "code": code}));
        answer(&pending["mfa_token"], "000000").problem(401, "mfa_code_invalid").await;
        let login = answer(&pending["mfa_token"], &code(&offer["secret"], 1)).expect(200).await.body;
        assert!(login.get("recovery_codes_remaining").is_none());
        let token = text(&login["token"]);
        let sessions = app.get("/v1/auth/sessions").bearer(&token).expect(200).await.body;
        assert!(sessions["sessions"].as_array().unwrap().iter().all(|session| session["mfa"] == true));
        answer(&pending["mfa_token"], "000000").problem(401, "mfa_challenge_expired").await;

        let pending = app.login("alice").await;
        let recovery = text(&offer["recovery_codes"][0]);
        let login = answer(&pending["mfa_token"], &recovery).expect(200).await.body;
        assert_eq!(login["recovery_codes_remaining"], 7);
        let pending = app.login("alice").await;
        for _ in 0..5 {
            answer(&pending["mfa_token"], &recovery).problem(401, "mfa_code_invalid").await;
        }
        answer(&pending["mfa_token"], &text(&offer["recovery_codes"][1])).problem(401, "mfa_challenge_exhausted").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_of_the_factor_need_a_code_and_a_session() {
    for app in app::each().await {
        let session = app.someone("alice").await;
        let post = |path: &str, body: Value| app.post(path, body).bearer(&session);
        post("/v1/auth/mfa/disable", json!({"code": "000000"})).problem(409, "mfa_not_enabled").await;
        post("/v1/auth/mfa/recovery-codes", json!({"code": "000000"})).problem(409, "mfa_not_enabled").await;
        let token = app.token(&session, &["profile:write"]).await;
        for (method, path) in [
            ("GET", "/v1/auth/mfa"),
            ("POST", "/v1/auth/mfa/setup"),
            ("POST", "/v1/auth/mfa/disable"),
            ("POST", "/v1/auth/mfa/verify-setup"),
            ("POST", "/v1/auth/mfa/recovery-codes"),
        ] {
            app.call(method, path).bearer(&token).problem(403, "session_required").await;
        }
        let offer = enable(&app, &session).await;
        let renew = json!({"code": code(&offer["secret"], 1)});
        let fresh = post("/v1/auth/mfa/recovery-codes", renew).expect(200).await.body;
        assert_ne!(fresh["recovery_codes"], offer["recovery_codes"]);
        post("/v1/auth/mfa/disable", json!({"code": offer["recovery_codes"][0]}))
            .problem(422, "mfa_code_invalid")
            .await;
        let off = post("/v1/auth/mfa/disable", json!({"code": fresh["recovery_codes"][0]})).expect(200).await.body;
        assert_eq!(off, json!({"mfa_enabled": false}));
        assert!(app.login("alice").await["token"].is_string());
        let body = json!({"username_or_email": "alice", "password": PASSWORD, "cookie": true});
        assert!(app.post("/v1/auth/login", body).expect(200).await.headers.contains_key("set-cookie"));
    }
}

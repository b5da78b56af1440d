//! control-plane.md §1: what holds for every route.

use serde_json::{Value, json};

use crate::app::{self, pointers};

#[tokio::test(flavor = "multi_thread")]
async fn unknown_routes_and_methods_are_problems() {
    for app in app::each().await {
        for path in ["/v1/nothing", "/v1/auth", "/v1/auth/login/", "/v1/tokens/", "/v1/users/"] {
            app.get(path).problem(404, "route_not_found").await;
        }
        let answer = app.call("DELETE", "/v1/auth/login").expect(405).await;
        assert_eq!(answer.headers["allow"], "POST");
        assert_eq!(answer.body["code"], "method_not_allowed");
        let allow = app.call("PUT", "/v1/users/me").expect(405).await.headers["allow"].to_str().unwrap().to_owned();
        assert!(allow.contains("GET") && allow.contains("PATCH") && allow.contains("HEAD"), "{allow}");
        // The route comes before the credential.
        app.get("/v1/nothing").bearer("nonsense").problem(404, "route_not_found").await;
        app.call("DELETE", "/v1/auth/login").bearer("nonsense").problem(405, "method_not_allowed").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_credential_is_refused_on_public_routes_too() {
    for app in app::each().await {
        app.register("alice").await;
        for path in ["/v1/users/alice", "/v1/auth/scopes", "/v1/users/nobody"] {
            app.get(path).bearer("nonsense").problem(401, "unauthenticated").await;
            app.get(path).header("authorization", "Basic YTpi").problem(401, "unauthenticated").await;
            let twice = app.get(path).header("authorization", "").header("authorization", "Bearer x");
            twice.problem(401, "unauthenticated").await;
        }
        app.post("/v1/auth/login", json!({})).bearer("nonsense").problem(401, "unauthenticated").await;
        app.get("/v1/users/me").problem(401, "unauthenticated").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn checks_follow_the_order_of_the_contract() {
    for app in app::each().await {
        let session = app.someone("alice").await;
        let reader = app.token(&session, &["packages:read"]).await;
        // Scope before the body, body syntax before the resource, the resource before semantics.
        let scope = app.call("POST", "/v1/tokens").raw("text/plain", "{").bearer(&reader);
        assert_eq!(scope.problem(403, "insufficient_scope").await["required_scopes"], json!(["tokens:write"]));
        app.call("POST", "/v1/tokens")
            .raw("text/plain", "{")
            .bearer(&session)
            .problem(415, "unsupported_media_type")
            .await;
        app.call("PATCH", "/v1/users/nobody")
            .raw("application/json", "{")
            .bearer(&session)
            .problem(400, "malformed_request")
            .await;
        let bad = json!({"website": "nonsense"});
        app.call("PATCH", "/v1/users/nobody").json(bad.clone()).bearer(&session).problem(404, "not_found").await;
        app.call("PATCH", "/v1/users/alice").json(bad).bearer(&session).problem(422, "validation_failed").await;
        app.call("DELETE", "/v1/tokens/nonsense").bearer(&reader).problem(403, "insufficient_scope").await;
        app.call("DELETE", "/v1/tokens/nonsense").bearer(&session).problem(400, "malformed_request").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_are_bounded_and_must_be_json_objects() {
    for app in app::each().await {
        let login = |content_type: &str, body: &str| app.call("POST", "/v1/auth/login").raw(content_type, body).send();
        for (content_type, body, status) in [
            ("application/json", "{", 400),
            ("application/json", "", 400),
            ("application/json", "{\"a\": \"\u{1}\"}", 400),
            ("application/json", "[]", 422),
            ("application/json", "null", 422),
            ("application/x-www-form-urlencoded", "username=a", 415),
            ("application/json; charset=utf-8", "{}", 422),
        ] {
            assert_eq!(login(content_type, body).await.status.as_u16(), status, "{content_type} {body}");
        }
        let deep = format!("{{\"a\": {}{}}}", "[".repeat(64), "]".repeat(64));
        assert_eq!(login("application/json", &deep).await.status.as_u16(), 400);
        let large = login("application/json", &format!("{{\"a\": \"{}\"}}", "x".repeat(5000))).await;
        assert_eq!((large.status.as_u16(), &large.body["limit_bytes"]), (413, &json!(4096)));
        let quoted = login("application/json", "{\"password\": \"hunter2\", oops").await.body.to_string();
        assert!(!quoted.contains("hunter2"), "{quoted}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_fault_of_a_body_is_listed() {
    for app in app::each().await {
        let body = json!({"username": "a b", "email": 5, "password": "short"});
        let problem = app.post("/v1/auth/register", body).problem(422, "validation_failed").await;
        assert_eq!(pointers(&problem), ["/username", "/email", "/password"]);
        let problem = app.post("/v1/auth/register", json!({})).problem(422, "validation_failed").await;
        assert_eq!(pointers(&problem), ["/username", "/email", "/password"]);
        let reserved = json!({"username": "Admin", "email": "a@b.c", "password": app::PASSWORD});
        let problem = app.post("/v1/auth/register", reserved).problem(422, "reserved_name").await;
        assert_eq!(pointers(&problem), ["/username"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_carry_request_ids_and_are_private_unless_public() {
    for app in app::each().await {
        let session = app.someone("alice").await;
        let own = app.get("/v1/users/me").bearer(&session).header("x-request-id", "my-id_1.2").expect(200).await;
        assert_eq!(own.headers["x-request-id"], "my-id_1.2");
        assert_eq!(own.headers["cache-control"], "private, no-store");
        assert_eq!(own.headers["x-content-type-options"], "nosniff");
        let odd = app.get("/v1/users/me").header("x-request-id", "a b").expect(401).await;
        assert_ne!(odd.headers["x-request-id"], "a b");

        let open = app.get("/v1/users/alice").expect(200).await;
        assert_eq!(open.headers["cache-control"], "public, max-age=0, must-revalidate");
        assert_eq!(open.headers["vary"], "Authorization, Accept, Origin");
        let etag = open.headers["etag"].to_str().unwrap().to_owned();
        let again = app.get("/v1/users/alice").header("if-none-match", format!("W/{etag}")).expect(304).await;
        assert!(again.body.is_null() && again.headers["etag"] == etag.as_str());
        app.call("PATCH", "/v1/users/me").json(json!({"bio": "x"})).bearer(&session).expect(200).await;
        app.get("/v1/users/alice").header("if-none-match", etag).expect(200).await;
        let signed_in = app.get("/v1/users/alice").bearer(&session).expect(200).await;
        assert_eq!(signed_in.headers["cache-control"], "private, no-store");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn head_is_answered_wherever_get_is() {
    for app in app::each().await {
        let session = app.someone("alice").await;
        for path in [
            "/v1/users/me",
            "/v1/users/alice",
            "/v1/tokens",
            "/v1/tokens/current",
            "/v1/auth/sessions",
            "/v1/auth/scopes",
        ] {
            let head = app.call("HEAD", path).bearer(&session).expect(200).await;
            assert!(head.body.is_null(), "{path}");
        }
    }
}

/// What is declared is what the router serves: every documented path answers a method it does not know with
/// exactly the documented ones.
#[tokio::test(flavor = "multi_thread")]
async fn the_router_and_the_document_have_the_same_routes() {
    let document: Value = serde_json::from_str(publaryn_api::openapi()).unwrap();
    for app in app::each().await {
        for (path, item) in document["paths"].as_object().unwrap() {
            // Probes belong to another router, and are tested there.
            if !path.starts_with("/v1/") {
                continue;
            }
            let address = path.replace(['{', '}'], "");
            let answer = app.call("TRACE", address).expect(405).await;
            let mut allowed: Vec<String> =
                answer.headers["allow"].to_str().unwrap().split(',').map(|m| m.trim().to_lowercase()).collect();
            allowed.retain(|method| method != "head");
            allowed.sort();
            let mut documented: Vec<&str> = item.as_object().unwrap().keys().map(String::as_str).collect();
            documented.sort_unstable();
            assert_eq!(allowed, documented, "{path}");
        }
    }
}

/// The declared kind of credential is what the guard asks for.
#[tokio::test(flavor = "multi_thread")]
async fn declared_credentials_are_demanded() {
    let document: Value = serde_json::from_str(publaryn_api::openapi()).unwrap();
    for app in app::each().await {
        let session = app.someone("alice").await;
        let weak = app.token(&session, &["orgs:join"]).await;
        for (path, item) in document["paths"].as_object().unwrap() {
            for (method, operation) in item.as_object().unwrap() {
                if !path.starts_with("/v1/") {
                    continue;
                }
                let address = path.replace("{id}", &uuid::Uuid::nil().to_string()).replace(['{', '}'], "");
                let method: &'static str = method.to_uppercase().leak();
                let is_public = operation["security"].as_array().unwrap().len() == 2;
                let scopes = operation["x-required-scopes"].as_array().cloned().unwrap_or_default();
                if !is_public {
                    app.call(method, address.clone()).problem(401, "unauthenticated").await;
                }
                if !scopes.is_empty() && !scopes.contains(&json!("orgs:join")) {
                    let refused = app.call(method, address).bearer(&weak).problem(403, "insufficient_scope").await;
                    assert_eq!(refused["required_scopes"], json!(scopes), "{method} {path}");
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_with_secrets_are_not_kept_for_a_key() {
    for app in app::each().await {
        let session = app.someone("alice").await;
        let logout = |key: &str, body: Value| {
            let other = app.post("/v1/auth/logout", body);
            other.header("idempotency-key", key).bearer(&session)
        };
        // `/v1/auth/*` ignores the key: its answers hold secrets or end what was presented.
        logout("k", json!({})).expect(200).await;
        logout("k", json!({})).problem(401, "session_revoked").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn require_login_closes_public_reads() {
    for app in app::each_closed().await {
        app.register("alice").await;
        let session = app::text(&app.login("alice").await["token"]);
        app.get("/v1/users/alice").problem(401, "unauthenticated").await;
        app.get("/v1/users/alice").bearer(&session).expect(200).await;
        app.get("/v1/auth/scopes").expect(200).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn large_answers_are_packed_and_small_ones_are_not() {
    for app in app::each().await {
        for (coding, magic) in [("gzip", &[0x1f, 0x8b][..]), ("zstd", &[0x28, 0xb5, 0x2f, 0xfd][..]), ("br", &[][..])] {
            let packed = app.get("/v1/auth/scopes").header("accept-encoding", coding).expect(200).await;
            assert_eq!(packed.headers["content-encoding"], coding);
            assert!(packed.bytes.starts_with(magic) && packed.bytes.len() < 1500, "{coding}: {}", packed.bytes.len());
            let vary: Vec<_> = packed.headers.get_all("vary").iter().map(|v| v.to_str().unwrap()).collect();
            assert!(vary.join(", ").to_lowercase().contains("accept-encoding"), "{vary:?}");
        }
        let plain = app.get("/v1/auth/scopes").expect(200).await;
        assert!(plain.headers.get("content-encoding").is_none() && plain.bytes.len() > 1024);
        app.register("alice").await;
        let small = app.get("/v1/users/alice").header("accept-encoding", "gzip").expect(200).await;
        assert!(small.headers.get("content-encoding").is_none());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_document_and_its_page_are_served_from_here() {
    for app in app::each().await {
        let document = app.get("/api-docs/openapi.json").expect(200).await;
        assert_eq!(document.body["openapi"], "3.1.0");
        assert_eq!(document.bytes, publaryn_api::openapi().as_bytes());
        let etag = document.headers["etag"].to_str().unwrap().to_owned();
        app.get("/api-docs/openapi.json").header("if-none-match", etag).send_unchecked(304).await;
        let page = app.get("/swagger-ui").expect(200).await;
        let html = String::from_utf8(page.bytes.to_vec()).unwrap();
        assert!(!html.contains("http://") && !html.contains("https://"), "{html}");
        for link in html.split('"').filter(|text| text.starts_with("swagger-ui/")) {
            let plain = app.get(format!("/{link}")).send_unchecked(200).await;
            assert!(plain.headers.get("content-encoding").is_none());
            let packed =
                app.get(format!("/{link}")).header("accept-encoding", "br, gzip;q=0.5").send_unchecked(200).await;
            if packed.headers.contains_key("content-encoding") {
                let mut unpacked = Vec::new();
                std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(&packed.bytes[..]), &mut unpacked)
                    .unwrap();
                assert_eq!(unpacked, plain.bytes);
            }
        }
        app.get("/swagger-ui/other.js").problem(404, "route_not_found").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn undecodable_parts_of_an_address_are_malformed() {
    for app in app::each().await {
        app.get("/v1/users/%ff").problem(400, "malformed_request").await;
        app.get("/v1/users/a%00b").problem(400, "malformed_request").await;
        let session = app.someone("alice").await;
        app.get("/v1/tokens?org=%ff").bearer(&session).problem(400, "malformed_request").await;
    }
}

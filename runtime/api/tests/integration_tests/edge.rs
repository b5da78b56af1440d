//! What holds around every request: browsers of other origins, addresses behind proxies, headers, limits of size, and
//! requests that are sent twice.

use serde_json::json;

use crate::{
    app::{self, Answer, Server, text},
    limits::limited,
    npm::tarball,
};

const PORTAL: &str = "https://portal.example.com";

fn header<'a>(answer: &'a Answer, name: &str) -> Option<&'a str> {
    answer.headers.get(name).map(|value| value.to_str().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn allowed_origins_call_from_browsers_and_no_others() {
    app::each_with(&[("server.cors_allowed_origins", PORTAL)], async |server| {
        let preflight = |path: &str, origin: &str| {
            let call = server.call("OPTIONS", path).header("origin", origin);
            call.header("access-control-request-method", "PATCH")
                .header("access-control-request-headers", "authorization,if-match")
        };
        for path in ["/v1/orgs/acme", "/v1/nothing/there", "/_/oidc/audience", "/api-docs/openapi.json"] {
            let answer = preflight(path, PORTAL).open_if(204).await.unwrap_or_else(|| panic!("{path}"));
            let said = |name: &str| answer.headers().get(name).map(|value| value.to_str().unwrap());
            assert_eq!(said("access-control-allow-origin"), Some(PORTAL), "{path}");
            assert!(said("access-control-allow-methods").unwrap().contains("PATCH"));
            for wanted in ["authorization", "if-match", "idempotency-key", "content-type"] {
                assert!(said("access-control-allow-headers").unwrap().contains(wanted));
            }
            assert!(said("vary").unwrap().contains("Origin"));
            assert_eq!(said("access-control-allow-credentials"), None);
            let status = if path.ends_with("there") { 404 } else { 405 };
            let refused = preflight(path, "https://portal.example.com.evil.example").open_if(status).await;
            let refused = refused.unwrap_or_else(|| panic!("{path}"));
            assert!(!refused.headers().contains_key("access-control-allow-origin"), "{path}");
        }
        // Refusals can be read, too: their code is what a page goes by.
        for (path, status) in [("/v1/stats", 200), ("/v1/users/me", 401), ("/v1/none", 404)] {
            let answer = server.get(path).header("origin", PORTAL).expect(status).await;
            assert_eq!(header(&answer, "access-control-allow-origin"), Some(PORTAL), "{path}");
            let exposed = header(&answer, "access-control-expose-headers").unwrap();
            for name in ["x-request-id", "x-ratelimit-remaining", "link", "etag"] {
                assert!(exposed.contains(name), "{exposed}");
            }
            assert!(header(&answer, "vary").unwrap().contains("Origin"));
            let other = server.get(path).header("origin", "http://portal.example.com").expect(status).await;
            assert_eq!(header(&other, "access-control-allow-origin"), None, "{path}");
            assert!(header(&other, "vary").unwrap().contains("Origin"), "caches keep the two apart");
        }
    })
    .await;
    app::each(async |server| {
        let answer = server.get("/v1/stats").header("origin", PORTAL).expect(200).await;
        assert_eq!(header(&answer, "access-control-allow-origin"), None);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn probes_documents_and_nothing_answer_in_the_form_of_the_api() {
    app::each(async |server| {
        for path in ["/health", "/readiness", "/nothing", "/api-docs/x", "/npm/left-pad", "/v2/", "/v1/stats"] {
            let answer = server.get(path).send().await;
            assert_eq!(header(&answer, "x-content-type-options"), Some("nosniff"), "{path}");
            assert!(header(&answer, "x-request-id").is_some(), "{path}");
        }
        for path in ["/health", "/readiness", "/v1/stats", "/api-docs/openapi.json"] {
            let answer = server.call("DELETE", path).expect(405).await;
            assert_eq!(header(&answer, "content-type"), Some("application/problem+json"), "{path}");
            assert_eq!(answer.body["code"], "method_not_allowed", "{path}");
            assert!(header(&answer, "allow").unwrap().contains("GET"), "{path}");
        }
        assert_eq!(header(&server.get("/health").expect(200).await, "cache-control"), Some("private, no-store"));
        for path in ["/api-docs/openapi.json", "/swagger-ui", "/v1/stats"] {
            server.get(path).bearer("pub_nonsense").problem(401, "unauthenticated").await;
            server.get(path).expect(200).await;
        }
        server.get("/health").bearer("pub_nonsense").expect(200).await;
    })
    .await;
}

/// The address the audit log has of the latest request to sign out, made with these headers.
async fn seen_from(server: &Server, headers: &[(&str, &str)]) -> String {
    let session = server.login("ada").await;
    let call = server.get("/v1/auth/sessions").bearer(&session);
    call.expect(200).await;
    let mut login = server.post("/v1/auth/login", json!({"username_or_email": "ada", "password": app::PASSWORD}));
    for (name, value) in headers {
        login = login.header(name, value);
    }
    let session = text(&login.expect(200).await.body["token"]);
    let list = server.get("/v1/auth/sessions").bearer(&session).expect(200).await.body;
    let current = list["sessions"].as_array().unwrap().iter().find(|session| session["current"] == true).unwrap();
    text(&current["ip_address"])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_behind_a_proxy_cannot_choose_its_address() {
    app::each_with(&[("server.trusted_proxies", "127.0.0.1/32,10.0.0.0/8")], async |server| {
        server.person("ada").await;
        for (name, value, address) in [
            ("x-forwarded-for", "198.51.100.7, 192.0.2.1", "192.0.2.1"),
            ("x-forwarded-for", "198.51.100.7, 192.0.2.1:4711, 10.0.0.2", "192.0.2.1"),
            ("x-forwarded-for", "198.51.100.7, [2001:db8::1]:4711", "2001:db8::1"),
            ("x-forwarded-for", "198.51.100.7, unknown", "127.0.0.1"),
            ("forwarded", "for=198.51.100.7, for=\"192.0.2.1:4711\";proto=https", "192.0.2.1"),
        ] {
            assert_eq!(seen_from(server, &[(name, value)]).await, address, "{name}: {value}");
        }
        let both = [("forwarded", "for=198.51.100.7"), ("x-forwarded-for", "192.0.2.1")];
        assert_eq!(seen_from(server, &both).await, "192.0.2.1");
    })
    .await;
    app::each(async |server| {
        server.person("ada").await;
        assert_eq!(seen_from(server, &[("x-forwarded-for", "192.0.2.1")]).await, "127.0.0.1");
    })
    .await;
    // What the client wrote before its own address buys it no second bucket.
    app::each_with(&limited(&[("rate_limit.read_per_minute", "1")]), async |server| {
        let stats = |value: &str| server.get("/v1/stats").header("x-forwarded-for", value);
        stats("198.51.100.1, 192.0.2.1:1000").expect(200).await;
        stats("198.51.100.2, 192.0.2.1:1001").expect(429).await;
        stats("198.51.100.1").expect(200).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_and_files_have_limits() {
    app::each_with(&[("limits.artifact.tarball", "1KiB")], async |server| {
        let ada = server.person("ada").await;
        let body = json!({"name": "x".repeat(1 << 20), "slug": "acme"});
        let refused = server.post("/v1/orgs", body).bearer(&ada.token).problem(413, "payload_too_large").await;
        assert_eq!(refused["limit_bytes"], 1 << 20);

        server.post("/v1/repositories", json!({"name": "main", "slug": "main"})).bearer(&ada.token).expect(201).await;
        let package = json!({"ecosystem": "npm", "name": "large-tool", "repository_slug": "main"});
        server.post("/v1/packages", package).bearer(&ada.token).expect(201).await;
        let releases = "/v1/packages/npm/large-tool/releases";
        server.post(releases, json!({"version": "1.0.0"})).bearer(&ada.token).expect(201).await;
        let file = format!("{releases}/1.0.0/artifacts/large-tool-1.0.0.tgz?kind=tarball");
        let put = |bytes: Vec<u8>| server.call("PUT", &file).bytes(bytes).bearer(&ada.token);
        let refused = put(vec![0; 1025]).problem(413, "artifact_too_large").await;
        assert_eq!((&refused["limit_bytes"], &refused["kind"]), (&json!(1024), &json!("tarball")));
        put(tarball("large-tool", "1.0.0")).expect(201).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_package_and_a_release_hold_so_much() {
    let limits = [("limits.releases_per_package", "2"), ("limits.artifacts_per_release", "1")];
    app::each_with(&limits, async |server| {
        let ada = server.person("ada").await;
        server.npm_published(&ada.token, "full-tool", "1.0.0").await;
        let releases = "/v1/packages/npm/full-tool/releases";
        let draft = |version: &str| server.post(releases, json!({"version": version})).bearer(&ada.token);
        draft("2.0.0").expect(201).await;
        draft("3.0.0").problem(422, "too_many_releases").await;
        let native = server.npm_publish(&ada.token, "full-tool", "3.0.0").await;
        assert!((400..500).contains(&native.status) && native.text.contains("at most 2 releases"), "{native:?}");
        draft("2.0.0").problem(409, "already_exists").await;

        let put = |name: &str, query: &str, bytes: Vec<u8>| {
            let path = format!("{releases}/2.0.0/artifacts/{name}?{query}");
            server.call("PUT", path).bytes(bytes).bearer(&ada.token)
        };
        let bytes = tarball("full-tool", "2.0.0");
        put("full-tool-2.0.0.tgz", "kind=tarball", bytes.clone()).expect(201).await;
        put("full-tool-2.0.0.tgz", "kind=tarball", bytes).expect(200).await;
        put("full-tool.sha256", "kind=checksum", b"0".to_vec()).problem(422, "too_many_files").await;
        // A place that was given up is free again.
        server.delete(format!("{releases}/2.0.0")).bearer(&ada.token).expect(200).await;
        draft("3.0.0").expect(201).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_is_sent_again_is_made_once() {
    app::each(async |server| {
        let ada = server.person("ada").await;
        let create = |query: &str, name: &str| {
            let call = server.post(format!("/v1/orgs{query}"), json!({"name": name, "slug": "acme"}));
            call.bearer(&ada.token).header("idempotency-key", "key-1")
        };
        let first = create("", "Acme").expect(201).await;
        assert_eq!(header(&first, "idempotency-replayed"), None);
        // The key goes with the path; what follows it does not make another request of it.
        for query in ["", "?x=1"] {
            let again = create(query, "Acme").expect(201).await;
            assert_eq!(header(&again, "idempotency-replayed"), Some("true"), "{query}");
            assert_eq!(again.body["id"], first.body["id"]);
        }
        assert_eq!(server.audited("org_create").await, 1);
        create("", "Other").problem(422, "idempotency_key_reused").await;
        let bob = server.person("bob").await;
        let other = server.post("/v1/orgs", json!({"name": "Acme", "slug": "acme"}));
        other.bearer(&bob.token).header("idempotency-key", "key-1").problem(409, "already_exists").await;
        // As a process leaves it that is still at work.
        server.db().execute_raw("UPDATE idempotency_keys SET status = NULL, body = NULL").await.unwrap();
        create("", "Acme").problem(409, "idempotency_in_progress").await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_token_says_so() {
    app::each(async |server| {
        let ada = server.person("ada").await;
        let token = server.api_token(&ada, &["packages:read"]).await;
        server.get("/v1/tokens/current").bearer(&token).expect(200).await;
        server.db().execute_raw("UPDATE tokens SET expires_at = 1").await.unwrap();
        for path in ["/v1/tokens/current", "/v1/stats"] {
            server.get(path).bearer(&token).problem(401, "token_expired").await;
        }
        let publish = server.npm_publish(&token, "late-tool", "1.0.0").await;
        assert_eq!(publish.status, 401, "{publish:?}");
    })
    .await;
}

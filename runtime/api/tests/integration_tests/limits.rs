//! Rate limits over HTTP (control-plane.md §1.6): who pays, what clients are told, and how a refusal looks.

use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::app::{self, Answer, Call, PASSWORD, Server};

/// Limits switched on, with clients told apart by the address that a trusted proxy names.
pub fn limited<'a>(limits: &[(&'static str, &'a str)]) -> Vec<(&'static str, &'a str)> {
    let on = [("rate_limit.enabled", "true"), ("server.trusted_proxies", "127.0.0.1/32")];
    [&on[..], limits].concat()
}

pub fn from(call: Call, address: &str) -> Call {
    call.header("x-forwarded-for", address)
}

/// Limit, remaining requests, seconds until all are there again.
pub fn told(answer: &Answer) -> Option<(u64, u64, u64)> {
    let number = |name: &str| answer.headers.get(name)?.to_str().unwrap().parse().ok();
    Some((number("x-ratelimit-limit")?, number("x-ratelimit-remaining")?, number("x-ratelimit-reset")?))
}

fn retry_after(answer: &Answer) -> u64 {
    answer.headers["retry-after"].to_str().unwrap().parse().unwrap()
}

fn basic(name: &str, secret: &str) -> String {
    format!("Basic {}", BASE64_STANDARD.encode(format!("{name}:{secret}")))
}

pub fn login(server: &Server, name: &str, password: &str) -> Call {
    server.post("/v1/auth/login", json!({"username_or_email": name, "password": password}))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_is_told_where_it_stands_and_refused_beyond() {
    app::each_with(&limited(&[("rate_limit.read_per_minute", "2")]), async |server| {
        let stats = |address: &'static str| from(server.get("/v1/stats"), address);
        for left in [1, 0] {
            let answer = stats("192.0.2.1").expect(200).await;
            let (limit, remaining, reset) = told(&answer).unwrap();
            assert_eq!((limit, remaining), (2, left));
            assert!((1..=60).contains(&reset), "{reset}");
        }
        let refused = stats("192.0.2.1").expect(429).await;
        assert_eq!(refused.headers["content-type"], "application/problem+json");
        assert_eq!(refused.body["code"], "rate_limited");
        assert_eq!(refused.body["retry_after_seconds"], retry_after(&refused));
        assert!((1..=30).contains(&retry_after(&refused)), "{refused:?}");
        assert_eq!(told(&refused).unwrap().1, 0);
        let head = from(server.call("HEAD", "/v1/stats"), "192.0.2.1").send().await;
        assert_eq!(head.status, 429, "a HEAD is a read, too");

        stats("192.0.2.2").expect(200).await;
        stats("2001:db8::1").expect(200).await;
        stats("2001:db8::2:1").expect(200).await;
        stats("2001:db8::3").expect(429).await;
        stats("2001:db8:0:1::1").expect(200).await;

        // Other tiers have their own; what is no route, and what is no request of a client's, has none.
        let other = from(server.post("/v1/auth/logout", json!({})), "192.0.2.1").expect(200).await;
        assert_eq!(told(&other).map(|told| told.0), Some(20));
        for (path, status) in
            [("/v1/none", 404), ("/health", 200), ("/readiness", 200), ("/api-docs/openapi.json", 200)]
        {
            let answer = from(server.get(path), "192.0.2.1").expect(status).await;
            assert_eq!(told(&answer), None, "{path}");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_credential_has_a_limit_of_its_own_and_an_account_one_for_all_sessions() {
    app::each_with(&limited(&[("rate_limit.read_per_minute", "2")]), async |server| {
        let ada = server.person("ada").await;
        let (one, two) =
            (server.api_token(&ada, &["packages:read"]).await, server.api_token(&ada, &["orgs:read"]).await);
        let again = server.login("ada").await;
        let current = |token: &str| server.get("/v1/tokens/current").bearer(token);
        for _ in 0..2 {
            current(&one).expect(200).await;
            current(&ada.token).expect(200).await;
        }
        current(&one).problem(429, "rate_limited").await;
        current(&ada.token).problem(429, "rate_limited").await;
        current(&again).problem(429, "rate_limited").await;
        current(&two).expect(200).await;
        server.get("/v1/stats").expect(200).await;
        // A credential that does not hold comes before the limit (§1.2).
        for _ in 0..3 {
            current("pub_nonsense").problem(401, "unauthenticated").await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_limit_comes_before_scopes_and_bodies() {
    app::each_with(&limited(&[("rate_limit.write_per_minute", "2")]), async |server| {
        let ada = server.person("ada").await;
        let token = server.api_token(&ada, &["packages:read"]).await;
        let attempt = || server.call("POST", "/v1/orgs").bytes(b"{".to_vec()).bearer(&token);
        attempt().problem(403, "insufficient_scope").await;
        attempt().problem(403, "insufficient_scope").await;
        attempt().problem(429, "rate_limited").await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn logins_are_limited_by_address() {
    let limits = limited(&[("rate_limit.auth_per_minute", "3")]);
    app::each_with(&limits, async |server| {
        server.person("ada").await;
        for password in ["wrong password", "wrong password", PASSWORD] {
            let status = if password == PASSWORD { 200 } else { 401 };
            from(login(server, "ada", password), "192.0.2.1").expect(status).await;
        }
        from(login(server, "ada", PASSWORD), "192.0.2.1").problem(429, "rate_limited").await;
        from(login(server, "ada", PASSWORD), "192.0.2.2").expect(200).await;
        // A credential buys no further attempts.
        let body = json!({"current_password": PASSWORD, "new_password": "another good one"});
        let token = from(login(server, "ada", PASSWORD), "192.0.2.2").expect(200).await.body["token"].clone();
        let change = server.post("/v1/auth/password", body).bearer(token.as_str().unwrap());
        from(change, "192.0.2.1").problem(429, "rate_limited").await;
        from(server.get("/v1/auth/scopes"), "192.0.2.1").expect(200).await;
    })
    .await;
    // Whoever is no trusted proxy cannot say where it calls from.
    app::each_with(&[("rate_limit.enabled", "true"), ("rate_limit.auth_per_minute", "1")], async |server| {
        from(login(server, "eve", "guess"), "192.0.2.1").expect(401).await;
        from(login(server, "eve", "guess"), "192.0.2.2").expect(429).await;
    })
    .await;
}

/// A native request, and how its refusal looks: media type, where the text is (a pointer into JSON), and a word of it.
struct Form {
    method: &'static str,
    path: &'static str,
    media: &'static str,
    place: Option<&'static str>,
    word: &'static str,
}

const fn form(
    method: &'static str,
    path: &'static str,
    media: &'static str,
    place: Option<&'static str>,
    word: &'static str,
) -> Form {
    Form { method, path, media, place, word }
}

const JSON: &str = "application/json";
const TEXT: &str = "text/plain; charset=utf-8";
const MANY: &str = "too many requests";

const FORMS: [Form; 18] = [
    form("GET", "/npm/left-pad", JSON, Some("/error"), MANY),
    form("PUT", "/npm/left-pad", JSON, Some("/error"), MANY),
    form("GET", "/cargo/index/le/ft/left-pad", TEXT, None, MANY),
    form("GET", "/cargo/api/v1/crates", JSON, Some("/errors/0/detail"), MANY),
    form("PUT", "/cargo/api/v1/crates/new", JSON, Some("/errors/0/detail"), MANY),
    form("GET", "/pypi/simple/left-pad/", TEXT, None, MANY),
    form("POST", "/pypi/legacy/", TEXT, None, MANY),
    form("GET", "/maven/com/acme/a/1.0/a-1.0.pom", "application/problem+json", Some("/detail"), MANY),
    form("PUT", "/maven/com/acme/a/1.0/a-1.0.pom", "application/problem+json", Some("/detail"), MANY),
    form("GET", "/nuget/v3/index.json", TEXT, None, MANY),
    form("PUT", "/nuget/v2/package", TEXT, None, MANY),
    form("GET", "/rubygems/info/left-pad", TEXT, None, MANY),
    form("POST", "/rubygems/api/v1/gems", TEXT, None, MANY),
    form("GET", "/composer/packages.json", JSON, Some("/warning"), MANY),
    form("PUT", "/composer/acme/a/1.0.0", JSON, Some("/warning"), MANY),
    form("GET", "/v2/", JSON, Some("/errors/0/code"), "TOOMANYREQUESTS"),
    form("POST", "/v2/acme/a/blobs/uploads/", JSON, Some("/errors/0/code"), "TOOMANYREQUESTS"),
    form("GET", "/oci/v2/_catalog", JSON, Some("/errors/0/message"), MANY),
];

#[tokio::test(flavor = "multi_thread")]
async fn every_ecosystem_refuses_in_its_own_form() {
    let limits = [("rate_limit.protocol_read_per_minute", "1"), ("rate_limit.protocol_write_per_minute", "1")];
    app::each_with(&limited(&limits), async |server| {
        for (n, Form { method, path, media, place, word }) in FORMS.iter().enumerate() {
            let ask = || from(server.call(method, path), &format!("198.51.100.{n}"));
            let first = ask().send().await;
            assert!(first.status != 429 && told(&first).is_some_and(|told| told.0 == 1), "{method} {path}: {first:?}");
            let refused = ask().expect(429).await;
            assert_eq!(refused.headers["content-type"], *media, "{method} {path}");
            let said = place.map_or(Some(refused.text.as_str()), |place| refused.body.pointer(place)?.as_str());
            assert!(said.is_some_and(|said| said.contains(word)), "{method} {path}: {}", refused.text);
            assert!((1..=60).contains(&retry_after(&refused)), "{method} {path}");
            assert_eq!(told(&refused).map(|told| (told.0, told.1)), Some((1, 0)), "{method} {path}");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_native_refusal_comes_before_the_body() {
    app::each_with(&limited(&[("rate_limit.protocol_write_per_minute", "1")]), async |server| {
        server.put("/npm/left-pad", json!({})).send().await;
        let mut stream = TcpStream::connect(server.address()).await.unwrap();
        let head = "PUT /npm/left-pad HTTP/1.1\r\nhost: x\r\ncontent-length: 1000000\r\nexpect: 100-continue\r\n\r\n";
        stream.write_all(head.as_bytes()).await.unwrap();
        // Nothing of the body is ever sent; the connection ends because it was not.
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        let answer = String::from_utf8(answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 429 too many requests"), "{answer}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn native_callers_pay_for_themselves_when_their_credential_holds() {
    app::each_with(&limited(&[("rate_limit.protocol_read_per_minute", "2")]), async |server| {
        let ada = server.person("ada").await;
        let token = server.api_token(&ada, &["packages:read"]).await;
        let read = |authorization: Option<String>| {
            let call = server.get("/npm/left-pad");
            match authorization {
                Some(value) => call.header("authorization", &value),
                None => call,
            }
        };
        // Whatever does not hold pays for nobody but its address.
        let unknown = publaryn_auth::Token::mint().token.expose().to_owned();
        for bad in [format!("Bearer {unknown}"), basic("ada", PASSWORD)] {
            read(Some(bad)).expect(401).await;
        }
        read(None).expect(429).await;
        read(Some(format!("Bearer {unknown}"))).expect(429).await;
        // One credential in any of its dialects.
        read(Some(format!("Bearer {token}"))).expect(404).await;
        read(Some(basic("x", &token))).expect(404).await;
        read(Some(token.clone())).expect(429).await;
        let nuget = |token: &str| server.get("/nuget/v3/index.json").header("x-nuget-apikey", token);
        nuget(&token).expect(429).await;
        read(Some(format!("Bearer {}", ada.token))).expect(404).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_failed_token_exchanges_of_oci_count() {
    app::each_with(&limited(&[("rate_limit.auth_per_minute", "3")]), async |server| {
        let ada = server.person("ada").await;
        let token = server.api_token(&ada, &["packages:read"]).await;
        let exchange = |authorization: Option<&str>, address: &str| {
            let call = from(server.get("/v2/token?service=publaryn&scope=repository:a/b:pull"), address);
            match authorization {
                Some(value) => call.header("authorization", value),
                None => call,
            }
        };
        let (right, wrong) = (basic("ada", &token), basic("ada", "a wrong password"));
        for _ in 0..5 {
            exchange(None, "192.0.2.1").expect(200).await;
            exchange(Some(&right), "192.0.2.1").expect(200).await;
            exchange(Some(&basic("ada", PASSWORD)), "192.0.2.1").expect(200).await;
        }
        for _ in 0..3 {
            exchange(Some(&wrong), "192.0.2.1").expect(401).await;
        }
        let refused = exchange(Some(&right), "192.0.2.1").expect(429).await;
        assert_eq!(refused.body["errors"][0]["code"], "TOOMANYREQUESTS");
        assert!(retry_after(&refused) >= 1);
        exchange(Some(&right), "192.0.2.2").expect(200).await;
        // In a form it is no less an exchange.
        for status in [401, 401, 401, 429] {
            let body = format!("grant_type=password&service=publaryn&username=eve{status}&password=guess");
            let call = server.call("POST", "/v2/token").bytes(body.into_bytes());
            let call = call.header("content-type", "application/x-www-form-urlencoded");
            from(call, "192.0.2.3").expect(status).await;
        }
        // A password may come with any request; being asked for one is no failure.
        let ping = |authorization: Option<&str>| {
            let call = from(server.get("/v2/"), "192.0.2.4");
            authorization.map_or(from(server.get("/v2/"), "192.0.2.4"), |value| call.header("authorization", value))
        };
        for _ in 0..5 {
            ping(None).expect(401).await;
        }
        for status in [401, 401, 401, 429] {
            ping(Some(&wrong)).expect(status).await;
        }
        ping(None).expect(401).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn native_logins_and_exchanges_count_as_logins() {
    app::each_with(&limited(&[("rate_limit.auth_per_minute", "1")]), async |server| {
        let user = json!({"name": "eve", "password": "guess"});
        for (n, (method, path, body, place, word)) in [
            ("PUT", "/npm/-/user/org.couchdb.user:eve", user, "/error", "too many requests"),
            ("POST", "/npm/-/v1/login", json!({}), "/error", "too many requests"),
            ("POST", "/-/npm/v1/oidc/token/exchange/package/a", json!({}), "/error", "too many requests"),
            ("POST", "/cargo/api/v1/trusted_publishing/tokens", json!({}), "/errors/0/detail", "too many requests"),
            ("POST", "/_/oidc/mint-token", json!({"token": "x"}), "/errors/0/code", "rate-limited"),
        ]
        .into_iter()
        .enumerate()
        {
            let ask = || from(server.call(method, path).json(body.clone()), &format!("203.0.113.{n}"));
            let first = ask().send().await;
            assert!(first.status != 429 && told(&first).is_some_and(|told| told.0 == 1), "{path}: {first:?}");
            let refused = ask().expect(429).await;
            let said = refused.body.pointer(place).and_then(Value::as_str);
            assert!(said.is_some_and(|said| said.contains(word)), "{path}: {}", refused.text);
            assert!(retry_after(&refused) >= 1, "{path}");
        }
        let sign_in = || from(server.call("POST", "/rubygems/api/v1/api_key"), "203.0.113.99");
        sign_in().header("authorization", &basic("eve", "guess")).expect(401).await;
        let refused = sign_in().header("authorization", &basic("eve", "guess")).expect(429).await;
        assert!(refused.text.starts_with("too many requests"), "{}", refused.text);
        // Other requests of the same ecosystems are none.
        let read = from(server.get("/npm/-/ping"), "203.0.113.0").expect(200).await;
        assert_eq!(told(&read).map(|told| told.0), Some(30_000));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn switched_off_there_is_no_trace_of_limits() {
    let settings = [("rate_limit.enabled", "false"), ("rate_limit.read_per_minute", "1")];
    app::each_with(&settings, async |server| {
        for path in ["/v1/stats", "/npm/-/ping", "/v1/stats"] {
            let answer = server.get(path).expect(200).await;
            assert_eq!(told(&answer), None, "{path}");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_head_of_a_request_is_bounded() {
    app::each_with(&[], async |server| {
        let answer = async |filler: usize| {
            let mut stream = TcpStream::connect(server.address()).await.unwrap();
            let head = format!(
                "GET /health HTTP/1.1\r\nhost: x\r\nconnection: close\r\naccept: {}\r\n\r\n",
                ",".repeat(filler)
            );
            // The server may hang up in the middle of it.
            let _ = stream.write_all(head.as_bytes()).await;
            let mut answer = Vec::new();
            let _ = stream.read_to_end(&mut answer).await;
            String::from_utf8(answer).unwrap()
        };
        let good = answer(48 << 10).await;
        assert!(good.starts_with("HTTP/1.1 200"), "{good}");
        let bad = answer(300 << 10).await;
        assert!(bad.is_empty() || bad.starts_with("HTTP/1.1 431"), "{bad}");
    })
    .await;
}

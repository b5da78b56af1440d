//! Who may do what: tokens, challenges, what is hidden.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use super::{Answer, Desk, Wire, layer, sha256};
use crate::{Backend, Server, on_backends};

/// What a token endpoint gave.
fn token(answer: &Answer) -> String {
    let body = answer.json();
    assert_eq!(body["token"], body["access_token"]);
    assert!(body["expires_in"].as_u64().unwrap() >= 60 && body["issued_at"].is_string(), "{body}");
    body["token"].as_str().unwrap().to_owned()
}

/// What a token says it is for.
fn access(token: &str) -> Value {
    use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
    let claims = URL_SAFE_NO_PAD.decode(token.split('.').nth(1).expect("a JWT")).expect("a JWT");
    serde_json::from_slice::<Value>(&claims).expect("claims are JSON")["access"].clone()
}

fn challenge(answer: Answer, scope: &str) {
    let challenge = answer.refuses(401, "UNAUTHORIZED");
    let all: Vec<_> = challenge.headers.get_all("www-authenticate").iter().collect();
    assert_eq!(all.len(), 1, "exactly one challenge");
    let text = challenge.header("www-authenticate");
    assert!(text.starts_with("Bearer realm=\"http://127.0.0.1:"), "{text}");
    assert!(text.contains("service=\"publaryn\"") && text.contains(&format!("scope=\"{scope}\"")), "{text}");
}

on_backends!(tokens_hold_what_was_asked_and_may_be_had, async |server: Server| {
    let (user, stranger) = (server.new_user("ada").await, server.new_user("eve").await);
    let (ada, nobody) = (Wire::of(&server, &user), Wire::anonymous(&server));
    ada.image("acme/app", "1", &[b"layer"]).await;
    let ask = async |wire: &Wire, query: &str| wire.get(&format!("/v2/token?service=publaryn{query}")).await;

    // Nobody gets a token, too: it reads what is open.
    let anonymous = token(&ask(&nobody, "&scope=repository:acme/app:pull,push").await.is(200));
    assert_eq!(access(&anonymous), json!([{ "type": "repository", "name": "acme/app", "actions": ["pull"] }]));
    let open = Wire::with_bearer(&server, &anonymous);
    open.get("/v2/").await.is(200);
    open.get("/v2/acme/app/manifests/1").await.is(200);
    challenge(open.post("/v2/acme/app/blobs/uploads/").await, "repository:acme/app:pull,push");
    // In any order, repeated, in one value, with kinds nobody knows.
    let query = "&scope=repository:acme/app:push,pull%20repository:acme/new:pull,push&scope=repository:acme/app:delete\
                 &scope=*&scope=repository(plugin):x:pull&scope=registry:catalog:*";
    let granted = access(&token(&ask(&ada, query).await.is(200)));
    assert_eq!(
        granted,
        json!([
            { "type": "repository", "name": "acme/app", "actions": ["push", "pull", "delete"] },
            { "type": "repository", "name": "acme/new", "actions": ["pull", "push"] },
            { "type": "registry", "name": "catalog", "actions": ["*"] },
        ])
    );
    // A stranger reads and writes no more than they may; asking for more is no error.
    let eve = Wire::of(&server, &stranger);
    let hers = token(&ask(&eve, "&scope=repository:acme/app:pull,push,delete").await.is(200));
    assert_eq!(access(&hers), json!([{ "type": "repository", "name": "acme/app", "actions": ["pull"] }]));
    Wire::with_bearer(&server, &hers).get("/v2/acme/app/manifests/1").await.is(200);
    // A token for less than is needed says what for; one for more rights than are left gives none.
    let pull = Wire::with_bearer(&server, &token(&ask(&ada, "&scope=repository:acme/app:pull").await.is(200)));
    let refused = pull.post("/v2/acme/app/blobs/uploads/").await;
    assert!(refused.header("www-authenticate").contains("error=\"insufficient_scope\""), "{refused:?}");
    challenge(refused, "repository:acme/app:pull,push");

    // The other form: credentials in a body, as containerd sends them.
    let form = async |fields: &str| {
        nobody
            .send(
                Method::POST,
                "/v2/token",
                &[("content-type", "application/x-www-form-urlencoded")],
                fields.to_owned(),
            )
            .await
    };
    let password = user.password.replace(' ', "%20");
    let login = format!(
        "grant_type=password&username=ada&password={password}&service=publaryn&client_id=x&scope=repository:acme/app:pull,push"
    );
    let given = form(&login).await.is(200);
    assert_eq!(given.json()["scope"], "repository:acme/app:pull,push");
    Wire::with_bearer(&server, &token(&given)).post("/v2/acme/app/blobs/uploads/").await.is(202);
    let refresh = format!(
        "grant_type=refresh_token&refresh_token={}&service=publaryn&scope=repository:acme/app:pull",
        user.token
    );
    Wire::with_bearer(&server, &token(&form(&refresh).await.is(200))).get("/v2/acme/app/manifests/1").await.is(200);
    form("grant_type=password&username=ada&password=wrong").await.refuses(401, "UNAUTHORIZED");
    form("grant_type=refresh_token&refresh_token=pub_nonsense").await.refuses(401, "UNAUTHORIZED");
    form("grant_type=other").await.refuses(400, "UNSUPPORTED");

    // What does not hold is refused on open repositories, too.
    for wire in [
        Wire::with_password(&server, "ada", "wrong"),
        Wire::with_password(&server, "x", "pub_nonsense"),
        Wire::with_bearer(&server, "nonsense"),
        Wire::with_bearer(&server, &format!("{}x", user.token)),
    ] {
        let refused = wire.get("/v2/acme/app/manifests/1").await.refuses(401, "UNAUTHORIZED");
        assert!(refused.header("www-authenticate").contains("error=\"invalid_token\""), "{refused:?}");
        ask(&wire, "").await.refuses(401, "UNAUTHORIZED");
    }
    // Any user name goes with an API token, which is also good as it is.
    for wire in [Wire::with_password(&server, "anything", &user.token), Wire::with_bearer(&server, &user.token)] {
        wire.get("/v2/").await.is(200);
        wire.post("/v2/acme/app/blobs/uploads/").await.is(202);
    }
    assert!(ask(&ada, "&offline_token=true").await.is(200).json().get("refresh_token").is_none());
});

on_backends!(rights_are_asked_at_each_use, async |server: Server| {
    let user = server.new_user("ada").await;
    let ada = Wire::of(&server, &user);
    ada.image("acme/app", "1", &[b"layer"]).await;
    let parent = server.token("ada", &user.password, &["packages:write"]).await;
    let query = "/v2/token?service=publaryn&scope=repository:acme/app:pull,push";
    let bearer = token(&Wire::with_password(&server, "ada", &parent).get(query).await.is(200));
    let wire = Wire::with_bearer(&server, &bearer);
    wire.post("/v2/acme/app/blobs/uploads/").await.is(202);
    let db = server.database().await;
    // The token it came from is revoked; the bearer token is worth nothing then.
    db.execute_raw(
        "UPDATE tokens SET revoked_at = 1 WHERE id = (SELECT id FROM tokens ORDER BY created_at DESC LIMIT 1)",
    )
    .await
    .unwrap();
    let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
    while wire.post("/v2/acme/app/blobs/uploads/").await.status != 401 {
        assert!(tokio::time::Instant::now() < deadline, "a revoked parent still counts");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    // One that may only read.
    let reader = server.new_user_with("bob", &["packages:read"]).await;
    let bob = Wire::of(&server, &reader);
    bob.get("/v2/acme/app/manifests/1").await.is(200);
    let refused = bob.post("/v2/bob/app/blobs/uploads/").await;
    assert!(matches!(refused.status, 401 | 403), "{refused:?}");
});

/// On one back end only: it takes a minute, and tokens know no back end.
#[tokio::test(flavor = "multi_thread")]
async fn an_upload_outlives_the_token_it_began_with() {
    // The shortest there is.
    let server = Server::start_with(Backend::Embedded, &[("oci.token_ttl_seconds", "60")]).await;
    let user = server.new_user("ada").await;
    let query = "/v2/token?service=publaryn&scope=repository:acme/app:pull,push";
    let bearer = token(&Wire::of(&server, &user).get(query).await.is(200));
    let wire = Wire::with_bearer(&server, &bearer);
    let path = wire.begin("acme/app").await;
    tokio::time::sleep(Duration::from_secs(67)).await;
    let refused = wire.post("/v2/acme/app/blobs/uploads/").await.refuses(401, "UNAUTHORIZED");
    assert!(refused.header("www-authenticate").contains("error=\"invalid_token\""));
    wire.patch(&path, &[], "slow").await.is(202);
    wire.put(&format!("{path}?digest={}", sha256(b"slow")), &[], "").await.is(201);
    wire.head(&format!("/v2/acme/app/blobs/{}", sha256(b"slow"))).await.is(401);
}

on_backends!(hidden_and_missing_repositories_look_alike, async |mut server: Server| {
    let stranger = server.new_user("eve").await;
    let eve = Wire::of(&server, &stranger);
    eve.image("eve/open", "1", &[b"x"]).await;
    server.restart_with(&[("packages.personal_repository_visibility", "private")]).await;
    let user = server.new_user("ada").await;
    let ada = Wire::of(&server, &user);
    let digest = ada.image("acme/hidden", "1", &[b"secret"]).await;
    let blob = sha256(b"secret");
    ada.get("/v2/acme/hidden/manifests/1").await.is(200);

    // Nor does what a token may name tell them apart.
    for (wire, granted) in [(&eve, json!(["pull"])), (&Wire::anonymous(&server), json!(null))] {
        for name in ["acme/hidden", "acme/missing"] {
            let query = format!("/v2/token?service=publaryn&scope=repository:{name}:pull");
            let issued = access(&token(&wire.get(&query).await.is(200)));
            assert_eq!(issued[0]["actions"], granted, "{name}");
        }
    }

    let routes = |name: &str| {
        [
            (Method::GET, format!("/v2/{name}/manifests/1")),
            (Method::HEAD, format!("/v2/{name}/manifests/1")),
            (Method::GET, format!("/v2/{name}/manifests/{digest}")),
            (Method::GET, format!("/v2/{name}/blobs/{blob}")),
            (Method::GET, format!("/v2/{name}/tags/list")),
            (Method::GET, format!("/v2/{name}/referrers/{digest}")),
            (Method::DELETE, format!("/v2/{name}/manifests/1")),
        ]
    };
    // A name the stranger could not make either, so that missing means missing.
    let shown = |answer: Answer, name: &str| {
        let mut headers: Vec<(String, String)> = answer
            .headers
            .iter()
            .filter(|(key, _)| !matches!(key.as_str(), "date" | "x-request-id"))
            .map(|(key, value)| (key.to_string(), value.to_str().unwrap().replace(name, "NAME")))
            .collect();
        headers.sort();
        (answer.status, headers, String::from_utf8_lossy(&answer.body).replace(name, "NAME"))
    };
    let open = token(&Wire::anonymous(&server).get("/v2/token?service=publaryn").await.is(200));
    for wire in [Wire::anonymous(&server), Wire::with_bearer(&server, &open)] {
        for ((method, hidden), (_, missing)) in routes("acme/hidden").into_iter().zip(routes("acme/absent")) {
            let hidden = shown(wire.send(method.clone(), &hidden, &[], "").await, "acme/hidden");
            let missing = shown(wire.send(method.clone(), &missing, &[], "").await, "acme/absent");
            assert_eq!(hidden.0, 401, "{method} {hidden:?}");
            assert_eq!(hidden, missing, "{method}");
        }
    }
    // Whoever could make the missing one is told the same of both, piece by piece; and whoever could not, as well.
    for ((method, hidden), (_, missing)) in routes("acme/hidden").into_iter().zip(routes("acme/absent")) {
        let hidden = shown(eve.send(method.clone(), &hidden, &[], "").await, "acme/hidden");
        let missing = shown(eve.send(method.clone(), &missing, &[], "").await, "acme/absent");
        assert_eq!(hidden, missing, "{method}");
        assert!(hidden.0 == 404 || hidden.2.contains("\"manifests\":[]"), "{method} {hidden:?}");
    }
    eve.post("/v2/acme/hidden/blobs/uploads/").await.refuses(404, "NAME_UNKNOWN");
    ada.post("/v2/eve/open/blobs/uploads/").await.refuses(403, "DENIED");
    // What one could make is missing piece by piece, which is how helm finds out that a chart is new.
    eve.get("/v2/eve/new/manifests/1").await.refuses(404, "MANIFEST_UNKNOWN");
    eve.get(&format!("/v2/eve/new/referrers/{digest}")).await.is(200);
});

// A claim is public; what is below it is not.
on_backends!(below_a_claim_hidden_and_missing_look_alike, async |mut server: Server| {
    let stranger = server.new_user("eve").await;
    server.restart_with(&[("packages.personal_repository_visibility", "private")]).await;
    let user = server.new_user("ada").await;
    let (ada, eve) = (Wire::of(&server, &user), Wire::of(&server, &stranger));
    let claim = json!({ "ecosystem": "oci", "namespace": "acme" });
    let may_claim = server.token("ada", &user.password, &["namespaces:write"]).await;
    server.post("/v1/namespaces", Some(&may_claim), &claim).await;
    let digest = ada.image("acme/hidden", "1", &[b"secret"]).await;
    // Its owner finds out that a name is new, as anybody does elsewhere.
    ada.get("/v2/acme/missing/manifests/1").await.refuses(404, "MANIFEST_UNKNOWN");
    let seen = async |name: &str| {
        let mut seen = Vec::new();
        for (method, rest) in [
            (Method::GET, "manifests/1".to_owned()),
            (Method::GET, format!("blobs/{}", sha256(b"secret"))),
            (Method::GET, "tags/list".to_owned()),
            (Method::GET, format!("referrers/{digest}")),
            (Method::DELETE, "manifests/1".to_owned()),
            (Method::POST, "blobs/uploads/".to_owned()),
        ] {
            let answer = eve.send(method.clone(), &format!("/v2/{name}/{rest}"), &[], "").await;
            seen.push((method, answer.status, String::from_utf8_lossy(&answer.body).replace(name, "NAME")));
        }
        let query = format!("/v2/token?service=publaryn&scope=repository:{name}:pull,push");
        let granted = access(&token(&eve.get(&query).await.is(200))).to_string().replace(name, "NAME");
        seen.push((Method::GET, 200, granted));
        seen
    };
    let hidden = seen("acme/hidden").await;
    assert_eq!(hidden, seen("acme/missing").await);
    assert!(hidden[..6].iter().all(|answer| answer.1 == 404), "{hidden:?}");
});

on_backends!(where_reading_needs_a_login_nobody_is_told_anything, async |mut server: Server| {
    let user = server.new_user("ada").await;
    Wire::of(&server, &user).image("acme/app", "1", &[b"layer"]).await;
    server.restart_with(&[("access.require_login", "true")]).await;
    let ada = Wire::of(&server, &user);
    let query = "/v2/token?service=publaryn&scope=repository:acme/app:pull&scope=registry:catalog:*";
    let open = Wire::with_bearer(&server, &token(&Wire::anonymous(&server).get(query).await.is(200)));
    for wire in [Wire::anonymous(&server), open] {
        challenge(wire.get("/v2/_catalog").await, "registry:catalog:*");
        for path in ["manifests/1", "tags/list"] {
            challenge(wire.get(&format!("/v2/acme/app/{path}")).await, "repository:acme/app:pull");
        }
    }
    assert_eq!(ada.get("/v2/_catalog").await.is(200).json()["repositories"], json!(["acme/app"]));
    ada.get("/v2/acme/app/manifests/1").await.is(200);
});

on_backends!(a_second_factor_asks_for_an_api_token, async |server: Server| {
    let user = server.new_user("ada").await;
    let enrol = "UPDATE users SET totp_enabled_at = 1";
    server.database().await.execute_raw(enrol).await.unwrap();
    let desk = Desk::new(&server, "mfa");
    let told = Wire::with_password(&server, "ada", &user.password).get("/v2/token?service=publaryn").await;
    let told = told.refuses(401, "UNAUTHORIZED");
    let message = told.json()["errors"][0]["message"].as_str().unwrap().to_owned();
    assert!(message.contains("API token"), "{message}");
    let login = |secret: &str| format!("login --tls-verify=false -u ada -p {secret} HOST");
    desk.run("skopeo", &login(&user.token), "").await.succeeds();
    Wire::of(&server, &user).image("acme/app", "1", &[&layer(&[("a", b"a")])]).await;
});

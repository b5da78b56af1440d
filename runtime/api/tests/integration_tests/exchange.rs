//! Trusted publishing: a CI job's identity token for one that publishes.

use publaryn_core::Timestamp;
use serde_json::{Value, json};

use crate::{
    app::{self, Answer, Person, Server, text},
    issuer::{Issuer, github, gitlab},
};

const AUDIENCE: &str = "packages.test";
const MAIN: &str = "refs/heads/main";

/// Runs a body on servers that trust `issuer`.
async fn trusting(issuer: &Issuer, body: impl AsyncFn(&Server)) {
    app::each_with(&[("oidc.issuers", issuer.url()), ("oidc.audience", AUDIENCE)], body).await;
}

/// A package without releases.
async fn package(server: &Server, owner: &Person, ecosystem: &str, name: &str) {
    // One repository is enough for all of a test's packages.
    let slug = format!("{}-packages", owner.name);
    let body = json!({"name": slug, "slug": slug, "visibility": "public"});
    server.post("/v1/repositories", body).bearer(&owner.token).send().await;
    let body = json!({"ecosystem": ecosystem, "name": name, "repository_slug": slug});
    server.post("/v1/packages", body).bearer(&owner.token).expect(201).await;
}

async fn trust(server: &Server, owner: &Person, package: &str, more: Value) -> Value {
    let path = format!("/v1/packages/{package}/trusted-publishers");
    server.post(path, more).bearer(&owner.token).expect(201).await.body
}

async fn exchange(server: &Server, token: &str) -> Answer {
    server.post("/_/oidc/mint-token", json!({ "token": token })).send().await
}

async fn minted(server: &Server, token: &str) -> String {
    let answer = exchange(server, token).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    text(&answer.body["token"])
}

#[track_caller]
fn refused(answer: &Answer, code: &str, says: &str) {
    let error = &answer.body["errors"][0];
    let described = error["description"].as_str().is_some_and(|text| text.contains(says));
    assert!(
        answer.status == 422 && answer.body["message"] == "Token request failed" && error["code"] == code && described,
        "wanted {code} ({says}), got {}: {}",
        answer.status,
        answer.text
    );
}

fn with(mut claims: Value, name: &str, value: Value) -> Value {
    claims[name] = value;
    claims
}

fn job() -> Value {
    with(github("Acme/Widget", "release.yml", MAIN), "aud", json!(AUDIENCE))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_gets_a_token_for_its_package_and_for_nothing_else() {
    let issuer = Issuer::start().await;
    trusting(&issuer, async |server| {
        let ada = server.person("ada").await;
        package(server, &ada, "npm", "widget-tool").await;
        package(server, &ada, "npm", "other-tool").await;
        let trusted = json!({
            "issuer": issuer.url(), "subject": "repo:acme/widget", "repository": "acme/widget",
            "workflow_ref": "release.yml",
        });
        let made = trust(server, &ada, "npm/widget-tool", trusted).await;
        assert_eq!(made["subject"], "repo:acme/widget");
        let audience = server.get("/_/oidc/audience").expect(200).await.body;
        assert_eq!(audience, json!({ "audience": AUDIENCE }));

        let identity = issuer.sign(&job());
        let body = json!({ "token": identity, "ecosystem": "npm" });
        let answer = server.post("/_/oidc/mint-token", body.clone()).expect(200).await;
        assert_eq!(answer.body["success"], true);
        let expires = answer.body["expires"].as_i64().unwrap() - Timestamp::now().as_micros() / 1_000_000;
        assert!((840..=901).contains(&expires), "absolute, a quarter of an hour from now: {}", answer.text);
        assert_eq!(answer.headers["cache-control"], "private, no-store");
        refused(&server.post("/_/oidc/mint-token", body).send().await, "invalid-reuse-token", "already used");

        let token = text(&answer.body["token"]);
        server.npm_published(&token, "widget-tool", "1.0.0").await;
        assert_eq!(server.npm_publish(&token, "other-tool", "1.0.0").await.status, 403);
        assert_eq!(server.npm_publish(&token, "new-tool", "1.0.0").await.status, 403);
        server.get("/v1/packages/npm/widget-tool").bearer(&token).problem(403, "credential_not_accepted").await;
        server.get("/v1/tokens/current").bearer(&token).problem(403, "credential_not_accepted").await;

        // The audit log tells where it came from, and nobody's token list shows it.
        let root = server.admin("boss").await;
        let log = server.get("/v1/audit?action=token_create").bearer(&root.token).expect(200).await.body;
        let entry = &log["logs"][0];
        let metadata = &entry["metadata"];
        assert_eq!(
            (&metadata["source"], &metadata["trusted_publisher_id"]),
            (&json!("trusted_publishing"), &made["id"])
        );
        assert_eq!(metadata["workload"]["repository"], "Acme/Widget");
        assert_eq!((&metadata["workload"]["ref"], &metadata["workload"]["run_id"]), (&json!(MAIN), &json!("42")));
        assert_eq!(entry["actor_username"], "ada");
        assert!(!log.to_string().contains(&token[8..]) && !log.to_string().contains(&identity[..40]), "{log}");
        let list = server.get("/v1/tokens").bearer(&ada.token).expect(200).await.body;
        assert_eq!(list["total"], 0);
        let publishers = server.get("/v1/packages/npm/widget-tool/trusted-publishers").expect(200).await.body;
        assert!(publishers["trusted_publishers"][0]["last_used_at"].is_string(), "{publishers}");

        // Burning needs no more than the token; what is unknown is burnt already.
        for _ in 0..2 {
            server.post("/_/oidc/burn-token", json!({ "token": token })).expect(200).await;
        }
        assert_eq!(server.npm_publish(&token, "widget-tool", "1.1.0").await.status, 401);
        server.post("/_/oidc/burn-token", json!({ "token": "pub_nonsense" })).expect(200).await;
        let own = server.api_token(&ada, &["packages:publish"]).await;
        server.post("/_/oidc/burn-token", json!({ "token": own })).expect(200).await;
        server.npm_published(&own, "widget-tool", "1.2.0").await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_that_do_not_hold_are_told_apart() {
    let issuer = Issuer::start().await;
    trusting(&issuer, async |server| {
        let ada = server.person("ada").await;
        package(server, &ada, "pypi", "widget").await;
        let trusted = json!({ "issuer": issuer.url(), "subject": "repo:acme/widget", "workflow_ref": "release.yml" });
        trust(server, &ada, "pypi/widget", trusted).await;
        let now = Timestamp::now().as_micros() / 1_000_000;
        for (claim, value, code, says) in [
            ("aud", json!("elsewhere.test"), "invalid-token", "aud"),
            ("aud", json!([AUDIENCE, "elsewhere.test"]), "invalid-token", "aud"),
            ("exp", json!(now - 60), "invalid-token", "expired"),
            ("exp", json!(now + 7200), "invalid-token", "hour"),
            ("nbf", json!(now + 120), "invalid-token", "not valid yet"),
            ("jti", Value::Null, "invalid-token", "jti"),
            ("iss", json!("https://evil.test"), "invalid-payload", "issuer"),
            ("iss", json!(format!("{}/", issuer.url())), "invalid-payload", "issuer"),
            ("repository", json!("acme/gadget"), "invalid-publisher", "sub"),
            ("repository_owner", json!("evil"), "invalid-publisher", "repository_owner"),
            (
                "job_workflow_ref",
                json!(format!("Acme/Widget/.github/workflows/x.yml@{MAIN}")),
                "invalid-publisher",
                "job_workflow_ref",
            ),
            ("event_name", json!("pull_request_target"), "invalid-publisher", "event_name"),
        ] {
            let answer = exchange(server, &issuer.sign(&with(job(), claim, value.clone()))).await;
            refused(&answer, code, says);
        }
        // Public keys are no secrets.
        let forged = issuer.forge(jsonwebtoken::Algorithm::HS256, b"public", &job());
        refused(&exchange(server, &forged).await, "invalid-token", "RS256 or ES256");
        let good = issuer.sign(&job());
        let (head, signature) = good.rsplit_once('.').unwrap();
        let flipped = signature.chars().rev().collect::<String>();
        refused(&exchange(server, &format!("{head}.{flipped}")).await, "invalid-token", "signature");
        let other = Issuer::start().await;
        let theirs = other.sign(&with(job(), "iss", json!(issuer.url())));
        refused(&exchange(server, &theirs).await, "invalid-token", "key");
        for body in [json!({}), json!({ "token": 1 }), json!([]), json!({ "token": "x" })] {
            refused(&server.post("/_/oidc/mint-token", body).send().await, "invalid-payload", "");
        }
        refused(&server.call("POST", "/_/oidc/mint-token").bytes(b"{".to_vec()).send().await, "invalid-payload", "");
        let huge = json!({ "token": "x".repeat(100_000) });
        refused(&server.post("/_/oidc/mint-token", huge).send().await, "invalid-payload", "");
        let body = json!({ "token": good, "ecosystem": "gopher" });
        refused(&server.post("/_/oidc/mint-token", body).send().await, "invalid-payload", "ecosystem");
        // Nothing of all that used the good one up.
        minted(server, &good).await;
        assert_eq!(server.audited("token_create").await, 1);
        server.call("GET", "/_/oidc/mint-token").problem(405, "method_not_allowed").await;
        server.get("/_/oidc/x").problem(404, "route_not_found").await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_kept_and_asked_for_anew_when_they_change() {
    let issuer = Issuer::start().await;
    let asked_before = std::sync::atomic::AtomicUsize::new(0);
    trusting(&issuer, async |server| {
        use std::sync::atomic::Ordering::Relaxed;
        let ada = server.person("ada").await;
        package(server, &ada, "pypi", "widget").await;
        trust(server, &ada, "pypi/widget", json!({ "issuer": issuer.url(), "subject": "repo:acme/widget" })).await;
        // While nobody has keys yet, an issuer that is away is a failure of its own.
        issuer.set_away(true);
        let token = issuer.sign(&job());
        let answer = exchange(server, &token).await;
        assert_eq!(
            (answer.status, &answer.body["errors"][0]["code"]),
            (503, &json!("internal-error")),
            "{}",
            answer.text
        );
        assert!(answer.headers.contains_key("retry-after"));
        issuer.set_away(false);
        loop {
            let answer = exchange(server, &token).await;
            if answer.status == 200 {
                break;
            }
            assert_eq!(answer.status, 503, "{}", answer.text);
            tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        }
        let known = issuer.key_requests();
        for _ in 0..5 {
            minted(server, &issuer.sign(&job())).await;
        }
        assert_eq!(issuer.key_requests(), known, "known keys are not asked for again");
        // Anybody can send unknown keys: that makes no more than one question a minute.
        let other = Issuer::start().await;
        for _ in 0..5 {
            let theirs = other.sign(&with(job(), "iss", json!(issuer.url())));
            refused(&exchange(server, &theirs).await, "invalid-token", "key");
        }
        assert!(issuer.key_requests() <= known + 1, "{} after {known}", issuer.key_requests());
        asked_before.fetch_add(issuer.key_requests(), Relaxed);
    })
    .await;
    assert!(asked_before.into_inner() > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn rsa_keys_and_configured_key_addresses_work_too() {
    let issuer = Issuer::start().await;
    issuer.rotate_to_rsa();
    trusting(&issuer, async |server| {
        let ada = server.person("ada").await;
        package(server, &ada, "pypi", "widget").await;
        trust(server, &ada, "pypi/widget", json!({ "issuer": issuer.url(), "subject": "repo:acme/widget" })).await;
        minted(server, &issuer.sign(&job())).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_most_precise_publisher_counts_and_one_package_is_named() {
    let issuer = Issuer::start().await;
    let host = issuer.url().split_once("://").unwrap().1.to_owned();
    trusting(&issuer, async |server| {
        let ada = server.person("ada").await;
        for name in ["one", "two"] {
            package(server, &ada, "pypi", &format!("widget-{name}")).await;
        }
        let trusted = |environment: Option<&str>| {
            json!({ "issuer": issuer.url(), "subject": "repo:Acme/Widget", "environment": environment })
        };
        trust(server, &ada, "pypi/widget-one", trusted(None)).await;
        trust(server, &ada, "pypi/widget-two", trusted(None)).await;
        refused(&exchange(server, &issuer.sign(&job())).await, "invalid-publisher", "several packages");
        let named = |claims: &Value, package: &str| json!({ "token": issuer.sign(claims), "package": package });
        let answer = server.post("/_/oidc/mint-token", named(&job(), "Widget.Two")).expect(200).await;
        let path = "/v1/packages/pypi/widget-two/trusted-publishers";
        let used = server.get(path).expect(200).await.body;
        assert!(used["trusted_publishers"][0]["last_used_at"].is_string(), "{used}");
        refused(&server.post("/_/oidc/mint-token", named(&job(), "widget-three")).send().await, "invalid-publisher", "");
        // Of another ecosystem nothing is trusted.
        let body = json!({ "token": issuer.sign(&job()), "ecosystem": "cargo" });
        refused(&server.post("/_/oidc/mint-token", body).send().await, "invalid-publisher", "sub");
        // What names the environment is meant more than what takes any.
        let precise = trust(server, &ada, "pypi/widget-two", trusted(Some("release"))).await;
        let in_release = with(job(), "environment", json!("Release"));
        let second = minted(server, &issuer.sign(&in_release)).await;
        let gone = format!("{path}/{}", text(&precise["id"]));
        server.delete(&gone).bearer(&ada.token).expect(200).await;
        // The tokens minted through a publisher end with it, others do not.
        let dead = async |token: &str| {
            let row = server.db().token_identity(publaryn_auth::Token::parse(token).unwrap().hash().as_bytes()).await;
            row.unwrap().unwrap().token.is_revoked()
        };
        assert!(dead(&second).await && !dead(&text(&answer.body["token"])).await);

        // A repository that was given to somebody else is not the one that was trusted.
        let resurrected = with(job(), "repository_owner_id", json!("666"));
        refused(&server.post("/_/oidc/mint-token", named(&resurrected, "widget-two")).send().await, "invalid-publisher", "repository_owner_id");
        minted_named(server, named(&job(), "widget-two")).await;

        // GitLab says the same in other words; others by their exact subject.
        package(server, &ada, "pypi", "tanuki").await;
        let lab = json!({
            "issuer": issuer.url(), "subject": "project_path:acme/tools/widget", "workflow_ref": ".gitlab-ci.yml",
        });
        trust(server, &ada, "pypi/tanuki", lab).await;
        let claims = with(gitlab(&host, "Acme/tools/widget", ".gitlab-ci.yml", MAIN), "aud", json!(AUDIENCE));
        minted(server, &issuer.sign(&claims)).await;
        let elsewhere = with(claims, "sub", json!("project_path:acme/tools/widget-fork:ref:main"));
        refused(&exchange(server, &issuer.sign(&elsewhere)).await, "invalid-publisher", "sub");
        package(server, &ada, "pypi", "plain").await;
        trust(server, &ada, "pypi/plain", json!({ "issuer": issuer.url(), "subject": "builder-7" })).await;
        let plain = |sub: &str| issuer.sign(&json!({ "aud": AUDIENCE, "sub": sub }));
        minted(server, &plain("builder-7")).await;
        refused(&exchange(server, &plain("builder-77")).await, "invalid-publisher", "sub");
    })
    .await;
}

async fn minted_named(server: &Server, body: Value) {
    server.post("/_/oidc/mint-token", body).expect(200).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn packages_that_take_nothing_and_people_who_left_mint_nothing() {
    let issuer = Issuer::start().await;
    trusting(&issuer, async |server| {
        let (ada, root) = (server.person("ada").await, server.admin("boss").await);
        package(server, &ada, "pypi", "widget").await;
        trust(server, &ada, "pypi/widget", json!({ "issuer": issuer.url(), "subject": "repo:acme/widget" })).await;
        let path = "/v1/packages/pypi/widget";
        let archived = async |is: bool| {
            server.patch(path, json!({ "is_archived": is })).bearer(&ada.token).expect(200).await;
        };
        archived(true).await;
        refused(&exchange(server, &issuer.sign(&job())).await, "invalid-publisher", "archived");
        archived(false).await;
        server.put(format!("{path}/quarantine"), json!({ "reason": "?" })).bearer(&ada.token).expect(200).await;
        refused(&exchange(server, &issuer.sign(&job())).await, "invalid-publisher", "quarantined");
        server.delete(format!("{path}/quarantine")).bearer(&ada.token).expect(200).await;
        minted(server, &issuer.sign(&job())).await;
        let body = json!({ "is_active": false });
        server.patch("/v1/admin/users/ada", body).bearer(&root.token).expect(200).await;
        refused(&exchange(server, &issuer.sign(&job())).await, "invalid-publisher", "account");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn being_off_is_said() {
    app::each_with(&[("oidc.issuers", "")], async |server| {
        let answer = server.get("/_/oidc/audience").expect(403).await;
        assert!(answer.body["message"].as_str().is_some_and(|text| text.contains("not enabled")), "{}", answer.text);
        refused(&exchange(server, "x.y.z").await, "not-enabled", "not enabled");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_identity_token_is_good_for_one_of_many_at_once() {
    let issuer = Issuer::start().await;
    trusting(&issuer, async |server| {
        let ada = server.person("ada").await;
        package(server, &ada, "pypi", "widget").await;
        trust(server, &ada, "pypi/widget", json!({ "issuer": issuer.url(), "subject": "repo:acme/widget" })).await;
        let token = issuer.sign(&job());
        let answers = futures::future::join_all((0..16).map(|_| exchange(server, &token))).await;
        let won = answers.iter().filter(|answer| answer.status == 200).count();
        assert_eq!(won, 1);
        answers
            .iter()
            .filter(|answer| answer.status != 200)
            .for_each(|answer| refused(answer, "invalid-reuse-token", ""));
    })
    .await;
}

async fn pend(server: &Server, owner: &Person, name: &str, more: Value) -> Value {
    let slug = format!("{}-packages", owner.name);
    let repository = json!({"name": slug, "slug": slug, "visibility": "public"});
    server.post("/v1/repositories", repository).bearer(&owner.token).send().await;
    let mut body = json!({"ecosystem": "npm", "name": name, "repository_slug": slug, "subject": "repo:acme/widget"});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    server.post("/v1/trusted-publishers/pending", body).bearer(&owner.token).expect(201).await.body
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pending_publisher_creates_its_package_with_the_first_exchange() {
    let issuer = Issuer::start().await;
    trusting(&issuer, async |server| {
        let (ada, eve) = (server.person("ada").await, server.person("eve").await);
        let trusted = json!({ "issuer": issuer.url(), "workflow_ref": "release.yml" });
        let pending = pend(server, &ada, "new-tool", trusted.clone()).await;
        assert_eq!((&pending["name"], &pending["repository_slug"]), (&json!("new-tool"), &json!("ada-packages")));
        let at = "/v1/trusted-publishers/pending";
        let list = async |who: &Person| server.get(at).bearer(&who.token).expect(200).await.body;
        assert_eq!(list(&ada).await["pending_publishers"], json!([pending]));
        assert_eq!(list(&eve).await["total"], 0, "nobody sees those of others");
        server.get(at).problem(401, "unauthenticated").await;
        // Nothing is held, and nothing is there.
        server.get("/v1/packages/npm/new-tool").bearer(&ada.token).expect(404).await;

        let swap = |claims: Value| json!({ "token": issuer.sign(&claims), "ecosystem": "npm" });
        let elsewhere = with(job(), "job_workflow_ref", json!(format!("Acme/Widget/.github/workflows/x.yml@{MAIN}")));
        let answer = server.post("/_/oidc/mint-token", swap(elsewhere)).send().await;
        refused(&answer, "invalid-publisher", "sub");
        let identity = swap(job());
        let answer = server.post("/_/oidc/mint-token", identity.clone()).expect(200).await;
        let token = text(&answer.body["token"]);
        server.npm_published(&token, "new-tool", "1.0.0").await;
        assert_eq!(server.npm_publish(&token, "newer-tool", "1.0.0").await.status, 403);
        // It is an ordinary trusted publisher now.
        assert_eq!(list(&ada).await["total"], 0);
        let publishers = server.get("/v1/packages/npm/new-tool/trusted-publishers").expect(200).await.body;
        let publisher = &publishers["trusted_publishers"][0];
        assert_eq!((&publisher["id"], publisher["last_used_at"].is_string()), (&pending["id"], true));
        refused(&server.post("/_/oidc/mint-token", identity).send().await, "invalid-reuse-token", "already used");
        server.post("/_/oidc/mint-token", swap(with(job(), "jti", json!("2")))).expect(200).await;
        let root = server.admin("boss").await;
        let log = server.get("/v1/audit?action=package_create").bearer(&root.token).expect(200).await.body;
        let entry = &log["logs"][0];
        assert_eq!(
            (&entry["actor_username"], &entry["metadata"]["source"]),
            (&json!("ada"), &json!("trusted_publishing"))
        );
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pending_publisher_that_cannot_be_used_leaves_nothing() {
    let issuer = Issuer::start().await;
    trusting(&issuer, async |server| {
        let (ada, eve) = (server.person("ada").await, server.person("eve").await);
        let trusted = json!({ "issuer": issuer.url() });
        let at = "/v1/trusted-publishers/pending";
        let body = |more: Value| {
            let mut body = json!({
                "ecosystem": "npm", "name": "some-tool", "repository_slug": "ada-packages",
                "issuer": issuer.url(), "subject": "repo:acme/widget",
            });
            body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            body
        };
        pend(server, &ada, "first-tool", trusted.clone()).await;
        for (more, status, code) in [
            (json!({ "issuer": "https://evil.test" }), 422, "issuer_not_allowed"),
            (json!({ "name": "first-tool" }), 409, "already_exists"),
            (json!({ "name": "npm" }), 422, "reserved_name"),
            (json!({ "repository_slug": "nowhere" }), 404, "not_found"),
        ] {
            server.post(at, body(more)).bearer(&ada.token).problem(status, code).await;
        }
        server.post(at, body(json!({}))).bearer(&eve.token).expect(403).await;

        // Several names for one job: it says which.
        let second = pend(server, &ada, "second-tool", trusted.clone()).await;
        let ask = async |package: Option<&str>, jti: &str| {
            let token = issuer.sign(&with(job(), "jti", json!(jti)));
            let body = json!({ "token": token, "ecosystem": "npm", "package": package });
            server.post("/_/oidc/mint-token", body).send().await
        };
        refused(&ask(None, "1").await, "invalid-pending-publisher", "name one");
        let path = format!("{at}/{}", text(&second["id"]));
        server.delete(&path).bearer(&eve.token).expect(404).await;
        server.delete(&path).bearer(&ada.token).expect(200).await;
        refused(&ask(Some("second-tool"), "2").await, "invalid-publisher", "");

        // The name went to somebody else meanwhile. The same token is still good for another try.
        package(server, &eve, "npm", "first-tool").await;
        for _ in 0..2 {
            refused(&ask(Some("first-tool"), "3").await, "invalid-pending-publisher", "somebody else");
        }
        let pending = server.get(at).bearer(&ada.token).expect(200).await.body;
        assert_eq!(pending["total"], 1, "it is kept: the name may become free");
        // Whoever may create nothing any more lets nobody create.
        pend(server, &ada, "third-tool", trusted).await;
        let root = server.admin("boss").await;
        server.patch("/v1/admin/users/ada", json!({ "is_active": false })).bearer(&root.token).expect(200).await;
        refused(&ask(Some("third-tool"), "4").await, "invalid-pending-publisher", "no account");
        server.get("/v1/packages/npm/third-tool").bearer(&root.token).expect(404).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_workload_learns_nothing_of_other_packages_and_is_named_in_the_log() {
    let issuer = Issuer::start().await;
    trusting(&issuer, async |server| {
        let (ada, eve) = (server.person("ada").await, server.person("eve").await);
        package(server, &ada, "npm", "widget").await;
        let body = json!({"issuer": issuer.url(), "subject": "repo:acme/widget", "workflow_ref": "release.yml"});
        let publisher = trust(server, &ada, "npm/widget", body).await;
        server.npm_published(&eve.token, "open-tool", "1.0.0").await;
        server.npm_published(&eve.token, "hidden-tool", "1.0.0").await;
        let hide = json!({"visibility": "private"});
        server.patch("/v1/packages/npm/hidden-tool", hide).bearer(&eve.token).expect(200).await;
        let body = json!({ "token": issuer.sign(&job()), "ecosystem": "npm" });
        let token = text(&server.post("/_/oidc/mint-token", body).expect(200).await.body["token"]);
        for name in ["open-tool", "hidden-tool", "missing-tool"] {
            assert_eq!(server.npm_read(Some(&token), name).await, 403, "{name}");
        }
        server.npm_published(&token, "widget", "1.0.0").await;
        assert_eq!(server.npm_read(Some(&token), "widget").await, 200);
        let root = server.admin("root1").await;
        let log = server.get("/v1/audit?action=release_publish").bearer(&root.token).expect(200).await.body;
        let entries = log["logs"].as_array().unwrap();
        let ids: Vec<&Value> = entries.iter().map(|entry| &entry["metadata"]["trusted_publisher_id"]).collect();
        assert!(ids.contains(&&publisher["id"]), "{log}");
    })
    .await;
}

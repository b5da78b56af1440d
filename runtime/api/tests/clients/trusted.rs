//! Trusted publishing with the clients themselves, in the surroundings that CI systems give them.

use serde_json::{Value, json};

use crate::{
    Server, User, cargo,
    issuer::{Issuer, REQUEST_TOKEN, github, gitlab},
    npm,
    npm::proxy::{Manner, Proxy},
    on_backends, pypi,
};

const TAG: &str = "refs/tags/v1";

/// An account with an empty package that trusts a workflow of `acme/widget`.
async fn package(server: &Server, user: &User, issuer: &Issuer, ecosystem: &str, name: &str) {
    let slug = format!("{ecosystem}-packages");
    let repository = json!({ "name": slug, "slug": slug, "visibility": "public" });
    server.post("/v1/repositories", Some(&user.token), &repository).await;
    let package = json!({ "ecosystem": ecosystem, "name": name, "repository_slug": slug });
    server.post("/v1/packages", Some(&user.token), &package).await;
    let trusted = json!({ "issuer": issuer.url(), "subject": "repo:acme/widget", "workflow_ref": "release.yml" });
    trust(server, user, ecosystem, name, &trusted).await;
}

async fn trust(server: &Server, user: &User, ecosystem: &str, name: &str, trusted: &Value) {
    let path = format!("/v1/packages/{ecosystem}/{name}/trusted-publishers");
    server.post(&path, Some(&user.token), trusted).await;
}

/// Puts a proxy that speaks TLS before the server, since PyPI's clients ask by https only, and lets it trust the issuer.
async fn behind_tls(server: &mut Server, issuer: &Issuer) -> (Proxy, String) {
    let proxy = Proxy::start(&server.scratch("proxy"), Manner::Tls).await;
    proxy.lead_to(server);
    let outside = format!("https://{}", proxy.host());
    let settings = [("oidc.issuers", issuer.url()), ("oidc.audience", "packages.test"), ("server.base_url", &outside)];
    server.restart_with(&settings).await;
    (proxy, outside)
}

/// Where a job on GitHub runs.
fn at_github(server: &Server, issuer: &Issuer, authority: &str) -> pypi::Desk {
    pypi::Desk::new(server, "github")
        .with_env("SSL_CERT_FILE", authority)
        .with_env("GITHUB_ACTIONS", "true")
        .with_env("ACTIONS_ID_TOKEN_REQUEST_URL", &issuer.job_url())
        .with_env("ACTIONS_ID_TOKEN_REQUEST_TOKEN", REQUEST_TOKEN)
}

/// How often a path was asked for, and with which answers.
fn answers(server: &Server, method: &str, path: &str) -> Vec<u64> {
    let all = server.requests(0).into_iter();
    all.filter(|(m, p, _)| m == method && p == path).map(|(_, _, status)| status).collect()
}

on_backends!(uv_publishes_without_a_stored_token, async |mut server: Server| {
    let issuer = Issuer::start().await;
    let (proxy, outside) = behind_tls(&mut server, &issuer).await;
    let user = server.new_user("ada").await;
    package(&server, &user, &issuer, "pypi", "widget").await;
    // Nothing is there before the first file.
    assert_eq!(server.get("/pypi/simple/widget/", None).await.0, 404);

    let authority = proxy.authority().expect("it speaks TLS").display().to_string();
    let url = format!("{outside}/pypi/legacy/");
    let publish = ["publish", "--publish-url", &url, "--trusted-publishing", "always"];
    let at_github = at_github(&server, &issuer, &authority);

    // Of another workflow: the client says which claim it was.
    let dir = at_github.dist(&pypi::Dist::new("widget", "1.0"));
    issuer.set_job(github("acme/widget", "test.yml", TAG));
    at_github.run(pypi::Client::Uv, &dir, &publish).await.fails().says("job_workflow_ref");
    issuer.set_job(github("acme/widget", "release.yml", TAG));
    at_github.run(pypi::Client::Uv, &dir, &publish).await.ok();
    let (_, page) = server.get("/pypi/simple/widget/", None).await;
    assert_eq!(page.matches("<a href").count(), 2, "{page}");
    // Two files, one exchange, and the token ended afterwards.
    assert_eq!(answers(&server, "POST", "/_/oidc/mint-token"), [422, 200]);
    assert_eq!(answers(&server, "POST", "/pypi/legacy/"), [200, 200]);
    assert_eq!(answers(&server, "POST", "/_/oidc/burn-token"), [200]);

    // The issuer's new key is noticed.
    issuer.rotate();
    let dir = at_github.dist(&pypi::Dist::new("widget", "1.1"));
    at_github.run(pypi::Client::Uv, &dir, &publish).await.ok();
    // The token is for this project alone.
    let dir = at_github.dist(&pypi::Dist::new("gadget", "1.0"));
    at_github.run(pypi::Client::Uv, &dir, &publish).await.fails();
    assert_eq!(server.get("/pypi/simple/gadget/", None).await.0, 404);

    // GitLab hands a job one token for its whole life.
    let host = issuer.url().split_once("://").expect("a URL").1;
    let trusted = json!({ "issuer": issuer.url(), "subject": "project_path:acme/widget" });
    trust(&server, &user, "pypi", "widget", &trusted).await;
    let mut claims = gitlab(host, "acme/widget", ".gitlab-ci.yml", "refs/heads/main");
    claims["aud"] = json!("packages.test");
    let at_gitlab = pypi::Desk::new(&server, "gitlab")
        .with_env("SSL_CERT_FILE", &authority)
        .with_env("GITLAB_CI", "true")
        .with_env("PACKAGES_TEST_ID_TOKEN", &issuer.sign(&claims));
    let dir = at_gitlab.dist(&pypi::Dist::new("widget", "2.0"));
    at_gitlab.run(pypi::Client::Uv, &dir, &publish).await.ok();
    let dir = at_gitlab.dist(&pypi::Dist::new("widget", "2.1"));
    at_gitlab.run(pypi::Client::Uv, &dir, &publish).await.fails().says("already used");
    let (_, page) = server.get("/pypi/simple/widget/", None).await;
    assert!(page.contains("widget-2.0") && !page.contains("widget-2.1"), "{page}");
});

on_backends!(a_minted_token_uploads_and_reads_nothing, async |mut server: Server| {
    let issuer = Issuer::start().await;
    server.restart_with(&[("oidc.issuers", issuer.url()), ("oidc.audience", "packages.test")]).await;
    let user = server.new_user("ada").await;
    package(&server, &user, &issuer, "pypi", "widget").await;
    let mut claims = github("acme/widget", "release.yml", TAG);
    claims["aud"] = json!("packages.test");
    let minted = server.post("/_/oidc/mint-token", None, &json!({ "token": issuer.sign(&claims) })).await;
    let token = minted["token"].as_str().expect("a token");
    let desk = pypi::Desk::new(&server, "author");
    let dir = desk.dist(&pypi::Dist::new("widget", "1.0"));
    let url = desk.legacy();
    let twine = ["upload", "--repository-url", &url, "-u", "__token__", "-p", token, "dist/widget-1.0.tar.gz"];
    desk.run(pypi::Client::Twine, &dir, &twine).await.ok();
    assert_eq!(server.get("/pypi/simple/widget/", Some(token)).await.0, 403);
    assert_eq!(server.get("/pypi/simple/", Some(token)).await.0, 403);
    assert_eq!(server.get("/v1/packages/pypi/widget", Some(token)).await.0, 403);
    server.post("/_/oidc/burn-token", None, &json!({ "token": token })).await;
    desk.run(pypi::Client::Twine, &dir, &twine).await.fails().says("Invalid or non-existent authentication");
});

on_backends!(npm_and_pnpm_publish_without_a_stored_token, async |mut server: Server| {
    let issuer = Issuer::start().await;
    server.restart_with(&[("oidc.issuers", issuer.url())]).await;
    let user = server.new_user("ada").await;
    package(&server, &user, &issuer, "npm", "widget-tool").await;
    issuer.set_job(github("acme/widget", "release.yml", TAG));
    for (client, version) in [(npm::Client::Npm11, "1.0.0"), (npm::Client::Pnpm12, "1.1.0")] {
        let desk = npm::Desk::new(&server, client.name(), None)
            .with_env("GITHUB_ACTIONS", "true")
            .with_env("CI", "true")
            .with_env("ACTIONS_ID_TOKEN_REQUEST_URL", &issuer.job_url())
            .with_env("ACTIONS_ID_TOKEN_REQUEST_TOKEN", REQUEST_TOKEN);
        let dir = desk.package(&json!({ "name": "widget-tool", "version": version }));
        let publish = if client == npm::Client::Npm11 { vec!["publish"] } else { vec!["publish", "--no-git-checks"] };
        desk.run(client, &dir, &publish).await.ok();
        let (_, packument) = server.get("/npm/widget-tool", None).await;
        assert!(packument.contains(&format!("\"{version}\"")), "{client:?}: {packument}");
        // A package that trusts nobody: they go on without a token, and are told to log in.
        let dir = desk.package(&json!({ "name": format!("other-{}", client.name()), "version": "1.0.0" }));
        desk.run(client, &dir, &publish).await.fails();
        if client == npm::Client::Npm11 {
            desk.run(client, &dir, &["dist-tag", "add", "widget-tool@1.0.0", "beta"]).await.ok();
            assert!(server.get("/npm/widget-tool", None).await.1.contains("beta"));
        }
    }
});

on_backends!(cargo_publishes_with_an_exchanged_token, async |mut server: Server| {
    let issuer = Issuer::start().await;
    server.restart_with(&[("oidc.issuers", issuer.url()), ("oidc.audience", "packages.test")]).await;
    let user = server.new_user("ada").await;
    package(&server, &user, &issuer, "cargo", "widget-lib").await;
    let mut claims = github("acme/widget", "release.yml", TAG);
    claims["aud"] = json!("packages.test");
    let url = format!("{}/cargo/api/v1/trusted_publishing/tokens", server.base_url());
    let exchange = async |body: Value| {
        let answer = server.http.post(&url).json(&body).send().await.expect("the server answers");
        (answer.status().as_u16(), answer.json::<Value>().await.expect("JSON"))
    };
    let identity = issuer.sign(&claims);
    let (status, answer) = exchange(json!({ "jwt": identity })).await;
    assert_eq!(status, 200, "{answer}");
    let token = answer["token"].as_str().expect("a token").to_owned();
    let (status, answer) = exchange(json!({ "jwt": identity })).await;
    assert!(
        status == 400 && answer["errors"][0]["detail"].as_str().is_some_and(|d| d.contains("already used")),
        "{answer}"
    );
    assert_eq!(exchange(json!({ "jwt": "x.y.z" })).await.0, 400);
    assert_eq!(exchange(json!({})).await.0, 400);

    let machine = cargo::Machine::new(&server, "m");
    machine.login("pub", &token);
    machine.publish("pub", "widget-lib", "1.0.0", "").await.succeeds();
    machine.publish("pub", "gadget-lib", "1.0.0", "").await.fails_with("");
    let burn = || async {
        let answer = server.http.delete(&url).bearer_auth(&token).send().await.expect("the server answers");
        answer.status().as_u16()
    };
    assert_eq!(burn().await, 204);
    assert_eq!(burn().await, 204);
    machine.publish("pub", "widget-lib", "1.1.0", "").await.fails_with("token is invalid or expired");
});

on_backends!(uv_publishes_a_project_that_does_not_exist_yet, async |mut server: Server| {
    let issuer = Issuer::start().await;
    let (proxy, outside) = behind_tls(&mut server, &issuer).await;
    let user = server.new_user("ada").await;
    let repository = json!({ "name": "python", "slug": "python", "visibility": "public" });
    server.post("/v1/repositories", Some(&user.token), &repository).await;
    let pending = json!({
        "ecosystem": "pypi", "name": "Gizmo.Tool", "repository_slug": "python",
        "issuer": issuer.url(), "subject": "repo:acme/gizmo", "workflow_ref": "release.yml", "environment": "pypi",
    });
    server.post("/v1/trusted-publishers/pending", Some(&user.token), &pending).await;
    let url = format!("{outside}/pypi/legacy/");
    let publish = ["publish", "--publish-url", &url, "--trusted-publishing", "always"];
    let authority = proxy.authority().expect("it speaks TLS").display().to_string();
    let desk = at_github(&server, &issuer, &authority);
    let dir = desk.dist(&pypi::Dist::new("gizmo-tool", "1.0"));
    let mut job = github("acme/gizmo", "release.yml", TAG);
    issuer.set_job(job.clone());
    desk.run(pypi::Client::Uv, &dir, &publish).await.fails().says("no corresponding publisher");
    assert_eq!(server.get("/v1/packages/pypi/gizmo-tool", Some(&user.token)).await.0, 404, "of another environment");
    job["environment"] = json!("pypi");
    issuer.set_job(job);
    desk.run(pypi::Client::Uv, &dir, &publish).await.ok();
    let (_, page) = server.get("/pypi/simple/gizmo-tool/", None).await;
    assert_eq!(page.matches("<a href").count(), 2, "{page}");
    assert_eq!(
        server.get("/v1/trusted-publishers/pending", Some(&user.token)).await.1.matches("Gizmo.Tool").count(),
        0
    );
});

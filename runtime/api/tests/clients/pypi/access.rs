//! Private projects, credentials in all the places clients keep them, instances without anonymous reads.

use serde_json::Value;

use super::{Client, Desk, Dist};
use crate::{Backend, Server, on_backends};

const INSTALLERS: [Client; 3] = [Client::Pip23, Client::Pip26, Client::Uv];

on_backends!(private_projects_need_somebody_entitled, async |server: Server| {
    let mut server = server;
    server.restart_with(&[("access.anonymous_miss", "not_found")]).await;
    let user = server.new_user("ada").await;
    let stranger = server.new_user("mallory").await;
    Dist::new("open", "1.0").upload_wheel().live(&server, &user).await;
    Dist::new("secret", "1.0").upload_wheel().live(&server, &user).await;
    let (_, page) = server.get("/pypi/simple/secret/", None).await;
    let url = page.split_once("href=\"").unwrap().1.split('#').next().unwrap().to_owned();
    let path = url.strip_prefix(&server.base_url()).unwrap().to_owned();
    server.set_visibility("pypi", "secret", "private").await;

    for hidden in ["/pypi/simple/secret/", &path, &format!("{path}.metadata"), "/pypi/secret/json"] {
        let missing = server.get("/pypi/simple/missing/", None).await;
        assert_eq!(server.get(hidden, None).await, missing, "{hidden}");
        assert_eq!(server.get(hidden, Some(&stranger.token)).await.0, 404, "{hidden}");
        assert_eq!(server.get(hidden, Some("pub_nonsense")).await.0, 401, "{hidden}");
        assert_eq!(server.get(hidden, Some(&user.token)).await.0, 200, "{hidden}");
    }
    // A stale token must not break public installs.
    assert_eq!(server.get("/pypi/simple/open/", Some("pub_nonsense")).await.0, 200);
    let list = async |token: Option<&str>| {
        let path = "/pypi/simple/?format=application/vnd.pypi.simple.v1+json";
        let (_, text) = server.get(path, token).await;
        serde_json::from_str::<Value>(&text).unwrap()["projects"].as_array().unwrap().len()
    };
    assert_eq!((list(None).await, list(Some(&stranger.token)).await, list(Some(&user.token)).await), (1, 1, 2));

    let revoked = server.token("ada", &user.password, &["packages:read"]).await;
    server.revoke(&revoked).await;
    for client in INSTALLERS {
        let desk = Desk::new(&server, client.name());
        let venv = desk.venv("private").await;
        let nothing = if client == Client::Uv { "not found" } else { "No matching distribution found for secret" };
        desk.install(client, &venv, &desk.index(), &["secret"]).await.fails().says(nothing);
        desk.install(client, &venv, &desk.index_as(&stranger.token), &["secret"]).await.fails();
        desk.install(client, &venv, &desk.index_as(&revoked), &["secret"]).await.fails();
        desk.install(client, &venv, &desk.index_as(&revoked), &["open"]).await.ok();
        desk.install(client, &venv, &desk.index_as(&user.token), &["secret"]).await.ok();
        assert_eq!(desk.version(&venv, "secret").await, "1.0");

        let desk = Desk::new(&server, &format!("{}-netrc", client.name()));
        let host = server.host().split(':').next().unwrap().to_owned();
        let netrc =
            desk.write(desk.home(), ".netrc", format!("machine {host}\nlogin __token__\npassword {}\n", user.token));
        std::fs::set_permissions(&netrc, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        let venv = desk.venv("netrc").await;
        desk.install(client, &venv, &desk.index(), &["secret"]).await.ok();
    }
});

on_backends!(quarantined_projects_are_gone_for_everybody, async |server: Server| {
    let user = server.new_user("ada").await;
    let dist = Dist::new("suspect", "1.0");
    dist.upload_wheel().live(&server, &user).await;
    let id = server.artifact_id(&dist.wheel_name()).await;
    let file = format!("/pypi/files/{id}/{}", dist.wheel_name());
    let metadata = format!("{file}.metadata");
    let all = ["/pypi/simple/suspect/", &file, &metadata, "/pypi/suspect/json"];
    for path in all {
        assert_eq!(server.get(path, None).await.0, 200, "{path}");
    }
    server.set_visibility("pypi", "suspect", "quarantined").await;
    for path in all {
        // Even its owner is told no more than of what never was.
        let missing = server.get("/pypi/simple/missing/", Some(&user.token)).await;
        assert_eq!(missing.0, 404);
        assert_eq!(server.get(path, Some(&user.token)).await, missing, "{path}");
    }
    let (_, list) = server.get("/pypi/simple/", Some(&user.token)).await;
    assert!(!list.contains("suspect"), "{list}");
    let (status, text) = Dist::new("suspect", "2.0").upload_wheel().send(&server, Some(&user.token)).await;
    assert_eq!((status, text.as_str()), (403, "403 the package is quarantined"));
});

on_backends!(project_managers_send_their_credentials, async |server: Server| {
    let user = server.new_user("ada").await;
    Dist::new("secret", "1.0").upload_wheel().live(&server, &user).await;
    server.set_visibility("pypi", "secret", "private").await;

    let desk = Desk::new(&server, "uv")
        .with_env("UV_INDEX_CORP_USERNAME", "__token__")
        .with_env("UV_INDEX_CORP_PASSWORD", &user.token);
    let dir = desk.folder("app");
    let project = "[project]\nname = \"app\"\nversion = \"1.0\"\nrequires-python = \">=3.9\"\ndependencies = []\n";
    let source = format!("[[tool.uv.index]]\nname = \"corp\"\nurl = \"{}\"\ndefault = true\n", desk.index());
    desk.write(&dir, "pyproject.toml", format!("{project}{source}"));
    desk.run(Client::Uv, &dir, &["add", "secret"]).await.ok();

    let desk = Desk::new(&server, "poetry");
    let dir = desk.folder("app");
    let project = "[project]\nname = \"app\"\nversion = \"1.0\"\nrequires-python = \">=3.9\"\n[tool.poetry]\npackage-mode = false\n";
    let source =
        format!("[[tool.poetry.source]]\nname = \"corp\"\nurl = \"{}\"\npriority = \"primary\"\n", desk.index());
    desk.write(&dir, "pyproject.toml", format!("{project}{source}"));
    desk.run(Client::Poetry, &dir, &["add", "secret"]).await.fails();
    desk.run(Client::Poetry, &dir, &["config", "http-basic.corp", "__token__", &user.token]).await.ok();
    desk.run(Client::Poetry, &dir, &["add", "secret"]).await.ok();
});

on_backends!(anonymous_misses_are_challenged_where_something_is_hidden, async |server: Server| {
    let user = server.new_user("ada").await;
    let missing = server.http.get(format!("{}/pypi/simple/missing/", server.base_url())).send().await.unwrap();
    assert_eq!(missing.status().as_u16(), 404, "nothing is hidden here");
    let mut server = server;
    Dist::new("secret", "1.0").upload_wheel().live(&server, &user).await;
    server.set_visibility("pypi", "secret", "private").await;
    // What is known of the instance may be a minute old; a restart forgets it.
    server.restart().await;
    for path in ["/pypi/simple/secret/", "/pypi/simple/missing/"] {
        let response = server.http.get(format!("{}{path}", server.base_url())).send().await.unwrap();
        assert_eq!(response.status().as_u16(), 401, "{path}");
        assert_eq!(response.headers()["www-authenticate"], "Basic realm=\"Publaryn\"");
        assert_eq!(server.get(path, Some(&user.token)).await.0, if path.contains("secret") { 200 } else { 404 });
    }
});

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_without_anonymous_reads_asks_everywhere() {
    let server = Server::start_with(Backend::Embedded, &[("access.require_login", "true")]).await;
    let user = server.new_user("ada").await;
    Dist::new("demo", "1.0").upload_wheel().live(&server, &user).await;
    for path in ["/pypi/simple/", "/pypi/simple/demo/", "/pypi/simple/missing/", "/pypi/demo/json", "/pypi/files/x/y"] {
        let response = server.http.get(format!("{}{path}", server.base_url())).send().await.unwrap();
        assert_eq!(response.status().as_u16(), 401, "{path}");
        assert_eq!(response.headers()["www-authenticate"], "Basic realm=\"Publaryn\"");
    }
    assert_eq!(server.get("/pypi/simple/demo/", Some(&user.token)).await.0, 200);
    for client in Client::PIPS {
        let desk = Desk::new(&server, client.name()).with_env("PIP_NO_INPUT", "0");
        let venv = desk.venv("asks").await;
        // It asks for a user name; nobody answers.
        desk.install(client, &venv, &desk.index(), &["demo"]).await.fails().says("User for 127.0.0.1");
        desk.install(client, &venv, &desk.index_as(&user.token), &["demo"]).await.ok();
    }
}

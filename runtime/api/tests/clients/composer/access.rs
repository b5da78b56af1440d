//! Private packages, credentials in all the places Composer keeps them, instances without anonymous reads.

use serde_json::json;

use super::{Desk, Lib};
use crate::{Backend, Server, on_backends};

on_backends!(private_packages_need_somebody_entitled, async |server: Server| {
    let user = server.new_user("ada").await;
    let stranger = server.new_user("mallory").await;
    Lib::new("acme/open", "1.0.0").live(&server, &user).await;
    let said = Lib::new("acme/secret", "1.0.0").live(&server, &user).await;
    let dist = said.body["dist"]["url"].as_str().unwrap().strip_prefix(&server.base_url()).unwrap().to_owned();
    server.set_visibility("composer", "acme/secret", "private").await;
    for path in ["/composer/p2/acme/secret.json", "/composer/p2/acme/secret~dev.json", &dist] {
        let missing = server.get("/composer/p2/acme/missing.json", None).await;
        assert_eq!(server.get(path, None).await, missing, "{path}");
        assert_eq!(server.get(path, Some(&stranger.token)).await.0, 404, "{path}");
        assert_eq!(server.get(path, Some("pub_nonsense")).await.0, 401, "{path}");
        assert_eq!(server.get(path, Some(&user.token)).await.0, 200, "{path}");
    }
    for path in ["/composer/list.json", "/composer/search.json?q=secret"] {
        assert!(!server.get(path, None).await.1.contains("acme/secret"), "{path}");
        assert!(!server.get(path, Some(&stranger.token)).await.1.contains("acme/secret"), "{path}");
    }

    let host = server.host();
    let require = json!({ "acme/secret": "^1.0", "acme/open": "^1.0" });
    let desk = Desk::new(&server, "one");
    let dir = desk.project("app", &require);
    let absent = "could not be found in any version";
    desk.run(&dir, &["install"]).await.ends_with(2).says(absent);
    // The same cache, now with a token: nothing stale is in the way.
    desk.run(&dir, &["config", &format!("http-basic.{host}"), "token", &user.token]).await.ok();
    desk.run(&dir, &["install"]).await.ok().says("Installing acme/secret (1.0.0)");
    // And back to nobody.
    desk.run(&dir, &["config", "--auth", "--unset", &format!("http-basic.{host}")]).await.ok();
    let locked = "found acme/secret[1.0.0] in the lock file but not in remote repositories";
    desk.run(&dir, &["update"]).await.ends_with(2).says(locked);

    let desk = Desk::new(&server, "bearer");
    let dir = desk.project("app", &require);
    desk.run(&dir, &["config", &format!("bearer.{host}"), &user.token]).await.ok();
    desk.run(&dir, &["install"]).await.ok();

    let auth = |token: &str| json!({ "http-basic": { host: { "username": token, "password": "" } } }).to_string();
    let desk = Desk::new(&server, "env").with_env("COMPOSER_AUTH", &auth(&user.token));
    let dir = desk.project("app", &require);
    desk.run(&dir, &["install"]).await.ok();

    let desk = Desk::new(&server, "stranger").with_env("COMPOSER_AUTH", &auth(&stranger.token));
    let dir = desk.project("app", &require);
    desk.run(&dir, &["install"]).await.ends_with(2).says(absent);

    let desk = Desk::new(&server, "wrong").with_env("COMPOSER_AUTH", &auth("pub_nonsense"));
    let dir = desk.project("app", &require);
    desk.run(&dir, &["install"]).await.fails().says("401").says("the token is invalid, expired or revoked");
});

on_backends!(quarantined_packages_are_gone_for_everybody, async |server: Server| {
    let user = server.new_user("ada").await;
    let said = Lib::new("acme/suspect", "1.0.0").live(&server, &user).await;
    let dist = said.body["dist"]["url"].as_str().unwrap().strip_prefix(&server.base_url()).unwrap().to_owned();
    let desk = Desk::new(&server, "consumer");
    let dir = desk.project("app", &json!({ "acme/suspect": "*" }));
    desk.run(&dir, &["update", "--no-install"]).await.ok();
    server.set_visibility("composer", "acme/suspect", "quarantined").await;
    for path in ["/composer/p2/acme/suspect.json", "/composer/p2/acme/suspect~dev.json", &dist] {
        assert_eq!(server.get(path, Some(&user.token)).await.0, 404, "{path}");
    }
    for path in ["/composer/list.json", "/composer/packages.json"] {
        assert!(!server.get(path, Some(&user.token)).await.1.contains("acme"), "{path}");
    }
    desk.run(&dir, &["install"]).await.fails().says("404");
    Lib::new("acme/suspect", "2.0.0").put(&server, Some(&user.token)).await.is(403, "quarantined");
});

on_backends!(unlisted_packages_are_found_by_their_name, async |server: Server| {
    let user = server.new_user("ada").await;
    Lib::new("acme/open", "1.0.0").live(&server, &user).await;
    Lib::new("globex/quiet", "1.0.0").live(&server, &user).await;
    server.set_visibility("composer", "globex/quiet", "unlisted").await;
    assert!(!server.get("/composer/packages.json", None).await.1.contains("globex"));
    let desk = Desk::new(&server, "consumer");
    let dir = desk.project("app", &json!({ "globex/quiet": "*" }));
    desk.run(&dir, &["install"]).await.ok().says("Installing globex/quiet (1.0.0)");
});

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_without_anonymous_reads_asks_everywhere() {
    let server = Server::start_with(Backend::Embedded, &[("access.require_login", "true")]).await;
    let user = server.new_user("ada").await;
    Lib::new("acme/lib", "1.0.0").live(&server, &user).await;
    for path in [
        "/composer/packages.json",
        "/composer/p2/acme/lib.json",
        "/composer/p2/acme/missing.json",
        "/composer/list.json",
    ] {
        let response = server.http.get(format!("{}{path}", server.base_url())).send().await.unwrap();
        assert_eq!(response.status().as_u16(), 401, "{path}");
        assert_eq!(response.headers()["www-authenticate"], "Basic realm=\"Publaryn\"");
    }
    let desk = Desk::new(&server, "consumer");
    let dir = desk.project("app", &json!({ "acme/lib": "*" }));
    desk.run(&dir, &["install"]).await.fails().says("401").says("a token is needed here");
    desk.run(&dir, &["config", &format!("http-basic.{}", server.host()), "token", &user.token]).await.ok();
    desk.run(&dir, &["install"]).await.ok();
}

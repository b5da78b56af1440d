//! Logging in and out, tokens, the profile.

use serde_json::json;

use super::{Client, Desk, desk::secrets, packument, publish};
use crate::{
    Server,
    npm_upload::{document, put, tarball},
    on_backends,
};

const LEGACY: [&str; 2] = ["login", "--auth-type=legacy"];

on_backends!(login_at_the_terminal_and_logout, async |server: Server| {
    let user = server.new_user("ada").await;
    let desk = Desk::new(&server, "terminal", None);
    let home = desk.home();
    let client = Client::Npm10;
    desk.run(client, home, &["whoami"]).await.fails().says("ENEEDAUTH");
    let wrong = [("Username:", "ada"), ("Password:", "not the password")];
    desk.type_into(client, home, &LEGACY, &wrong).await.fails().says("E401").says("Incorrect username or password.");
    let right = [("Username:", "ada"), ("Password:", &user.password)];
    desk.type_into(client, home, &LEGACY, &right).await.ok().says("Logged in");
    desk.run(client, home, &["whoami"]).await.ok().says("ada");
    desk.run(client, home, &["ping"]).await.ok();
    desk.run(client, home, &["profile", "set", "fullname", "Ada L."]).await.ok();
    desk.run(client, home, &["profile", "get", "fullname", "email"]).await.ok().says("Ada L.").says("ada@example.test");
    let token = desk.stored_token();
    desk.run(client, home, &["logout"]).await.ok();
    let (status, _) = server.get("/npm/-/whoami", Some(&token)).await;
    assert_eq!(status, 401, "the token lives on");
    // The dead token is still configured when logging in again.
    desk.configure(Some(&token), None);
    desk.run(client, home, &["whoami"]).await.fails().says("E401");
    desk.type_into(client, home, &LEGACY, &right).await.ok().says("Logged in");
    desk.run(client, home, &["whoami"]).await.ok().says("ada");
    let answers =
        [("Current password:", &*user.password), ("New password:", "a better one"), ("Again", "a better one")];
    desk.type_into(client, home, &["profile", "set", "password"], &answers).await.ok();
    desk.run(client, home, &["profile", "set", "twitter", "ada"]).await.fails().says("cannot be changed here");
    let old = format!("--password={}", user.password);
    desk.run(Client::Npm11, home, &["token", "create", "--name=x", &old]).await.fails().says("E401");
    desk.run(Client::Npm11, home, &["token", "create", "--name=x", "--password=a better one"]).await.ok();
    assert!(!server.log().contains("/-/user/token/pub_"), "a token reached the log");
});

on_backends!(login_in_the_browser, async |server: Server| {
    let user = server.new_user("ada").await;
    for client in [Client::Npm11, Client::Pnpm12] {
        let desk = Desk::new(&server, client.name(), None);
        let mut login = desk.start(client, desk.home(), &["login"]);
        let page = login.prints("/-/v1/login/").await;
        let page = format!("{}/npm/-/v1/login/{page}", server.base_url());
        let shown = server.http.get(&page).send().await.unwrap();
        assert_eq!(shown.status().as_u16(), 200);
        assert!(shown.text().await.unwrap().contains("<form"));
        let fill = async |password: &str| {
            let form = [("username", "ada"), ("password", password)];
            let form = form.map(|(key, value)| format!("{key}={}", value.replace(' ', "+"))).join("&");
            server.http.post(&page).body(form).send().await.unwrap().status().as_u16()
        };
        assert_eq!(fill("not the password").await, 401);
        // Asked meanwhile: not yet, and when to ask again.
        let done = page.replace("/login/", "/done/");
        let waiting = server.http.get(&done).bearer_auth("pub_dead").send().await.unwrap();
        assert_eq!(waiting.status().as_u16(), 202);
        assert_eq!(waiting.headers()["retry-after"], "2");
        assert_eq!(fill(&user.password).await, 200);
        login.ended().await.ok().says("Logged in");
        desk.run(client, desk.home(), &["whoami"]).await.ok().says("ada");
        assert_eq!(server.http.get(&done).send().await.unwrap().status().as_u16(), 404, "a token is handed out once");
        assert_eq!(fill(&user.password).await, 404);
        let token = desk.stored_token();
        desk.run(client, desk.home(), &["logout"]).await.ok();
        assert_eq!(server.get("/npm/-/whoami", Some(&token)).await.0, 401, "the token lives on");
    }
});

on_backends!(both_yarns_log_in, async |server: Server| {
    let user = server.new_user("ada").await;
    let desk = Desk::new(&server, "yarns", None);
    // Classic asks for the password when it publishes, and ends its session afterwards.
    let dir = desk.package(&json!({ "name": "by-password", "version": "1.0.0" }));
    let answers = [("npm username", "ada"), ("npm email", "ada@example.test"), ("npm password", &*user.password)];
    let publish = ["publish", "--new-version", "1.0.0"];
    desk.type_into(Client::Yarn, &dir, &publish, &answers).await.ok().says("Published");
    assert!(packument(&server, "by-password").await.is_some());

    let answers = [("Username:", "ada"), ("Password:", &*user.password)];
    desk.type_into(Client::Berry, desk.home(), &["npm", "login"], &answers).await.ok().says("logged in");
    let token = desk.stored_token();
    assert_eq!(server.get("/npm/-/whoami", Some(&token)).await.0, 200);
});

on_backends!(an_account_made_by_adduser, async |mut server: Server| {
    let args = ["adduser", "--auth-type=legacy"];
    for (client, name) in [(Client::Npm10, "grace"), (Client::Npm11, "hopper")] {
        let desk = Desk::new(&server, client.name(), None);
        let email = format!("{name}@example.test");
        let answers = [("Username:", name), ("Password:", "a long enough one"), ("mail", &email)];
        desk.type_into(client, desk.home(), &args, &answers).await.ok().says("Logged in");
        desk.run(client, desk.home(), &["whoami"]).await.ok().says(name);
    }
    server.restart_with(&[("auth.registration", "closed")]).await;
    let body = json!({ "name": "late", "password": "a long enough one", "email": "late@example.test", "type": "user" });
    let url = format!("{}/npm/-/user/org.couchdb.user:late", server.base_url());
    let refused = server.http.put(url).json(&body).send().await.unwrap();
    assert_eq!(refused.status().as_u16(), 403);
    assert!(refused.text().await.unwrap().contains("registration"));
});

on_backends!(tokens_are_listed_created_and_revoked, async |server: Server| {
    let user = server.new_user("ada").await;
    for client in [Client::Npm10, Client::Npm11] {
        let desk = Desk::new(&server, client.name(), Some(&user.token));
        let home = desk.home();
        let created = match client {
            Client::Npm10 => {
                let args = ["token", "create", "--read-only"];
                desk.type_into(client, home, &args, &[("password:", &user.password)]).await
            }
            _ => {
                desk.run(client, home, &["token", "create", "--name=ro", &format!("--password={}", user.password)])
                    .await
            }
        };
        let secret = secrets(&created.ok().text).pop().expect("a new token is shown");
        let (status, who) = server.get("/npm/-/whoami", Some(&secret)).await;
        assert_eq!((status, who.as_str()), (200, r#"{"username":"ada"}"#));
        desk.run(client, home, &["token", "list"]).await.ok().says("pub_").never_says(&secret);
        desk.run(client, home, &["token", "revoke", &secret]).await.ok();
        assert_eq!(server.get("/npm/-/whoami", Some(&secret)).await.0, 401);
        assert_eq!(server.get("/npm/-/whoami", Some(&user.token)).await.0, 200);
        // By its key, as the list shows it.
        let list = desk.run(client, home, &["token", "list", "--json"]).await.ok().json();
        assert!(list.as_array().unwrap().iter().all(|token| token["key"].as_str().unwrap().len() >= 12), "{list}");
    }
    // Restrictions are kept, or the token is refused.
    for name in ["mine", "other"] {
        publish(&server, &user, name, "1.0.0").await;
    }
    let desk = Desk::new(&server, "restricted", Some(&user.token));
    let password = format!("--password={}", user.password);
    let narrow = ["--packages=mine", "--packages-and-scopes-permission=read-write"];
    let create = [&["token", "create", "--name=narrow", &password], &narrow[..]].concat();
    let narrow = secrets(&desk.run(Client::Npm11, desk.home(), &create).await.ok().text).pop().unwrap();
    for (name, wanted) in [("mine", 201), ("other", 403)] {
        let body = document(name, "1.1.0", &tarball(name, "1.1.0", b""));
        assert_eq!(put(&server, &narrow, name, &body).await.0, wanted, "{name}");
    }
    let create = ["token", "create", "--name=net", &password, "--cidr=10.0.0.0/8"];
    desk.run(Client::Npm11, desk.home(), &create).await.fails().says("not supported by this registry");

    // Others' tokens are nobody's business: the answer is that of an unknown one, and nothing happens.
    let stranger = server.new_user("mallory").await;
    for path in ["-/user/token", "-/npm/v1/tokens/token"] {
        let url = format!("{}/npm/{path}/{narrow}", server.base_url());
        let answer = server.http.delete(url).bearer_auth(&stranger.token).send().await.unwrap();
        assert!(answer.status().is_success(), "{path}: {}", answer.status());
    }
    assert_eq!(server.get("/npm/-/whoami", Some(&narrow)).await.0, 200);

    // Who uses a token that is about to end is told so.
    let session = json!({ "username_or_email": "ada", "password": user.password });
    let session = server.post("/v1/auth/login", None, &session).await;
    let wish = json!({ "name": "short", "scopes": ["packages:write"], "expires_in_days": 2 });
    let short = server.post("/v1/tokens", session["token"].as_str(), &wish).await;
    desk.configure(short["token"].as_str(), None);
    desk.run(Client::Npm10, desk.home(), &["whoami"]).await.ok().says("your token expires in");
    desk.configure(Some(&user.token), None);
    desk.run(Client::Npm10, desk.home(), &["whoami"]).await.ok().never_says("expires");

    let other = server.token("ada", &user.password, &["packages:read"]).await;
    let desk = Desk::new(&server, "by-key", Some(&user.token));
    let list = desk.run(Client::Npm10, desk.home(), &["token", "list", "--json"]).await.ok().json();
    let newest = list[0]["key"].as_str().unwrap();
    desk.run(Client::Pnpm12, desk.home(), &["token", "revoke", newest]).await.ok();
    assert_eq!(server.get("/npm/-/whoami", Some(&other)).await.0, 401);
});

on_backends!(other_clients_know_who_they_are, async |server: Server| {
    let user = server.new_user("ada").await;
    let desk = Desk::new(&server, "who", Some(&user.token));
    let dir = desk.consumer("app", &json!({}));
    std::fs::write(dir.join("yarn.lock"), "").unwrap();
    desk.run(Client::Pnpm10, &dir, &["whoami"]).await.ok().says("ada");
    desk.run(Client::Pnpm12, &dir, &["whoami"]).await.ok().says("ada");
    desk.run(Client::Berry, &dir, &["npm", "whoami"]).await.ok().says("ada");
    desk.run(Client::Bun, &dir, &["pm", "whoami"]).await.ok().says("ada");
    let dead = format!("pub_{}", "x".repeat(49));
    desk.configure(Some(&dead), None);
    desk.run(Client::Berry, &dir, &["npm", "whoami"]).await.fails().says("Invalid authentication");
});

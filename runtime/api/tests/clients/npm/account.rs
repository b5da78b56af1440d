//! Logging in and out, tokens, the profile.

use super::{Client, Desk};
use crate::{Server, on_backends};

on_backends!(login_at_the_terminal_and_logout, async |server: Server| {
    let user = server.new_user("ada").await;
    for client in [Client::Npm10, Client::Npm11] {
        let desk = Desk::new(&server, client.name(), None);
        let home = desk.home();
        desk.run(client, home, &["whoami"]).await.fails().says("ENEEDAUTH");
        let login = ["login", "--auth-type=legacy"];
        desk.type_into(client, home, &login, &["ada", "not the password"])
            .await
            .fails()
            .says("Incorrect username or password");
        desk.type_into(client, home, &login, &["ada", &user.password]).await.ok().says("Logged in");
        desk.run(client, home, &["whoami"]).await.ok().says("ada");
        desk.run(client, home, &["ping"]).await.ok();
        desk.run(client, home, &["profile", "get", "email"]).await.ok().says("ada@example.test");
        let npmrc = std::fs::read_to_string(home.join(".npmrc")).unwrap();
        let token = npmrc.split("_authToken=").nth(1).unwrap().split_whitespace().next().unwrap().to_owned();
        desk.run(client, home, &["logout"]).await.ok();
        let (status, _) = server.get("/npm/-/whoami", Some(&token)).await;
        assert_eq!(status, 401, "the token lives on");
        // The dead token is still configured when logging in again.
        desk.configure(Some(&token), None);
        desk.type_into(client, home, &login, &["ada", &user.password]).await.ok().says("Logged in");
        desk.run(client, home, &["whoami"]).await.ok().says("ada");
    }
    assert!(!server.log().contains("/-/user/token/pub_"), "a token reached the log");
});

on_backends!(an_account_made_by_adduser, async |server: Server| {
    let desk = Desk::new(&server, "new", None);
    let args = ["adduser", "--auth-type=legacy"];
    desk.type_into(Client::Npm10, desk.home(), &args, &["grace", "a long enough one", "grace@example.test"])
        .await
        .ok()
        .says("Logged in");
    desk.run(Client::Npm10, desk.home(), &["whoami"]).await.ok().says("grace");
    desk.publish("from-grace", "1.0.0").await;
});

on_backends!(tokens_are_listed_created_and_revoked, async |server: Server| {
    let user = server.new_user("ada").await;
    for client in [Client::Npm10, Client::Npm11] {
        let desk = Desk::new(&server, client.name(), Some(&user.token));
        let home = desk.home();
        let created = match client {
            Client::Npm10 => desk.type_into(client, home, &["token", "create", "--read-only"], &[&user.password]).await,
            _ => {
                desk.run(client, home, &["token", "create", "--name=ro", &format!("--password={}", user.password)])
                    .await
            }
        };
        let created = created.ok();
        let secret: String =
            created.text.split("pub_").nth(1).unwrap().chars().take_while(char::is_ascii_alphanumeric).collect();
        let secret = format!("pub_{secret}");
        let (status, who) = server.get("/npm/-/whoami", Some(&secret)).await;
        assert_eq!((status, who.as_str()), (200, r#"{"username":"ada"}"#));
        desk.run(client, home, &["token", "list"]).await.ok().says("pub_").never_says(&secret);
        desk.run(client, home, &["token", "revoke", &secret]).await.ok();
        assert_eq!(server.get("/npm/-/whoami", Some(&secret)).await.0, 401);
        assert_eq!(server.get("/npm/-/whoami", Some(&user.token)).await.0, 200);
    }
});

on_backends!(other_clients_know_who_they_are, async |server: Server| {
    let user = server.new_user("ada").await;
    let desk = Desk::new(&server, "who", Some(&user.token));
    let dir = desk.consumer("app", &serde_json::json!({}));
    std::fs::write(dir.join("yarn.lock"), "").unwrap();
    desk.run(Client::Pnpm10, &dir, &["whoami"]).await.ok().says("ada");
    desk.run(Client::Pnpm12, &dir, &["whoami"]).await.ok().says("ada");
    desk.run(Client::Berry, &dir, &["npm", "whoami"]).await.ok().says("ada");
    desk.run(Client::Bun, &dir, &["pm", "whoami"]).await.ok().says("ada");
});

//! Clients that reach the server under another name: links in documents must lead where they came from.

use serde_json::{Value, json};

use super::{
    Client, Desk, packument,
    proxy::{Manner, Proxy},
    publish, set_access,
};
use crate::{Server, on_backends};

/// Publishes and installs through the proxy, so that the token must be sent to every link of a document.
async fn used_through(server: &Server, proxy: &Proxy, token: &str, round: u32) {
    for client in [Client::Npm11, Client::Pnpm12, Client::Yarn, Client::Berry, Client::Bun] {
        let desk = Desk::behind(server, &format!("{}-{round}", client.name()), proxy, Some(token))
            .with_env("YARN_NODE_LINKER", "node-modules")
            // bun takes no `cafile` from npm's configuration.
            .with_env("NODE_EXTRA_CA_CERTS", &proxy.authority().unwrap().display().to_string());
        let app = desk.consumer("app", &json!({ "@inner/secret": "^1.0.0" }));
        std::fs::write(app.join("yarn.lock"), "").unwrap();
        desk.run(client, &app, &["install"]).await.ok();
        desk.node(&app, "require('@inner/secret')").await.ok().says("@inner/secret@1.0.0");
        if client == Client::Npm11 {
            let dir = desk.package(&json!({ "name": format!("through-{round}"), "version": "1.0.0" }));
            desk.run(client, &dir, &["publish"]).await.ok();
        }
    }
}

on_backends!(clients_behind_a_proxy_with_tls_get_links_to_it, async |mut server: Server| {
    let user = server.new_user("ada").await;
    publish(&server, &user, "@inner/secret", "1.0.0").await;
    set_access(&server, &user, "@inner/secret", "restricted").await;
    let proxy = Proxy::start(&server.scratch("proxy"), Manner::Tls).await;
    proxy.lead_to(&server);
    let link = async |server: &Server| {
        let get = server.http.get(format!("{}/npm/@inner/secret", server.base_url())).bearer_auth(&user.token);
        let get = get.header("x-forwarded-host", "elsewhere.test").header("x-forwarded-proto", "https");
        let document: Value = get.send().await.unwrap().json().await.unwrap();
        document["versions"]["1.0.0"]["dist"]["tarball"].as_str().unwrap().to_owned()
    };
    let path = "npm/@inner/secret/-/secret-1.0.0.tgz";

    // Nobody is trusted: the headers are hearsay, and links follow the host that was asked.
    assert_eq!(link(&server).await, format!("{}/{path}", server.base_url()));

    // The proxy is trusted: links follow what it says.
    server.restart_with(&[("server.trusted_proxies", "127.0.0.0/8")]).await;
    assert_eq!(link(&server).await, format!("https://elsewhere.test/{path}"));
    used_through(&server, &proxy, &user.token, 1).await;

    // The server was told its name: that wins over everything.
    let outside = format!("https://{}", proxy.host());
    server.restart_with(&[("server.base_url", &outside), ("server.trusted_proxies", "")]).await;
    assert_eq!(link(&server).await, format!("{outside}/{path}"));
    used_through(&server, &proxy, &user.token, 2).await;
    assert!(packument(&server, "through-1").await.is_some() && packument(&server, "through-2").await.is_some());
});

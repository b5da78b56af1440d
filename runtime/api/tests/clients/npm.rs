//! The npm family against a real server: every line of "Done means" in protocols/npm.md.
//!
//! [`Desk`] is a person's machine: a fresh home, empty caches, a configuration file and the clients that
//! `benches/services/npm-clients.sh` installed. Nothing leaves loopback.

mod account;
mod audit;
mod change;
mod desk;
mod held;
mod install;
mod outside;
pub mod proxy;
mod publish;
mod refused;
mod run;
mod second_factor;
mod unpublish;
mod wire;

use serde_json::{Value, json};

pub use crate::process::Ran;
pub use desk::{Client, Desk};

use crate::{Server, User, npm_upload};

/// Publishes `name@version` without a client, for what is only the stage of a test.
async fn publish(server: &Server, user: &User, name: &str, version: &str) {
    publish_json(server, user, &json!({ "name": name, "version": version })).await;
}

/// Publishes a package with this `package.json` without a client.
async fn publish_json(server: &Server, user: &User, package_json: &Value) {
    npm_upload::publish(server, &user.token, package_json, "latest").await;
}

/// What anonymous clients see of a package.
async fn packument(server: &Server, name: &str) -> Option<Value> {
    let (status, body) = server.get(&format!("/npm/{name}"), None).await;
    (status == 200).then(|| serde_json::from_str(&body).expect("a packument is JSON"))
}

/// Makes a package private, or public again.
async fn set_access(server: &Server, user: &User, name: &str, access: &str) {
    let url = format!("{}/npm/-/package/{}/access", server.base_url(), name.replace('/', "%2f"));
    let request = server.http.post(url).bearer_auth(&user.token).json(&json!({ "access": access }));
    assert_eq!(request.send().await.expect("the server answers").status().as_u16(), 200);
}

//! schemathesis reads the OpenAPI document and makes requests of it, fitting and unfitting ones, as anybody, as a
//! person and as a platform administrator: no answer is a server error, and every answer is as the document says.

use std::{process::Stdio, sync::LazyLock};

use serde_json::{Value, json};
use tokio::process::Command;

use crate::{Server, on_backends};

/// The program that `benches/services/openapi-clients.sh` installs.
static SCHEMATHESIS: LazyLock<String> = LazyLock::new(|| {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../../benches/services/openapi-clients.sh");
    let output = std::process::Command::new("sh").arg(script).output().expect("sh runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    format!("{}/schemathesis/bin/st", String::from_utf8(output.stdout).expect("a path").trim())
});

/// What would end the credential that the run goes on with.
const LEFT_OUT: &str = "^/v1/(auth/(logout|password|mfa.*)|tokens/current)$";

/// Something of everything, so that the requests find it.
async fn furnish(server: &Server, token: &str) {
    let token = Some(token);
    let org = server.post("/v1/orgs", token, &json!({"name": "Acme", "slug": "acme"})).await;
    for (slug, visibility) in [("main", "public"), ("vault", "private")] {
        let body = json!({"name": slug, "slug": slug, "kind": visibility, "owner_org_id": org["id"]});
        server.post("/v1/repositories", token, &body).await;
    }
    server.post("/v1/orgs/acme/teams", token, &json!({"name": "Core", "slug": "core"})).await;
    for (name, repository) in [("tool", "main"), ("secret-tool", "vault")] {
        let body = json!({"ecosystem": "npm", "name": name, "repository_slug": repository});
        server.post("/v1/packages", token, &body).await;
        for version in ["1.0.0", "2.0.0"] {
            let path = format!("/v1/packages/npm/{name}/releases");
            server.post(&path, token, &json!({"version": version})).await;
        }
    }
    let body = json!({"ecosystem": "npm", "namespace": "@acme", "owner_org_id": org["id"]});
    server.post("/v1/namespaces", token, &body).await;
}

/// Runs it as whoever that header stands for.
async fn drive(server: &Server, who: &str, token: Option<&str>) {
    let config = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients/openapi/schemathesis.toml");
    let mut command = Command::new(&*SCHEMATHESIS);
    command
        .args(["--no-color", "--config-file", config, "run", "--exclude-path-regex", LEFT_OUT, "--warnings", "off"])
        // The other documents are pages for people.
        .args(["--include-path-regex", "^/v1/"])
        .arg(format!("{}/api-docs/openapi.json", server.base_url()))
        .current_dir(server.scratch(who))
        .env("PUBLARYN_URL", server.base_url())
        // An empty header is none.
        .env("PUBLARYN_AUTHORIZATION", token.map_or_else(String::new, |token| format!("Bearer {token}")))
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let output = command.output().await.expect("schemathesis runs");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "as {who}: {}\n{said}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(said.contains("test cases"), "as {who} nothing was asked:\n{said}");
}

async fn session(server: &Server, name: &str) -> String {
    let login = json!({"username_or_email": name, "password": format!("correct horse {name}")});
    let session: Value = server.post("/v1/auth/login", None, &login).await;
    session["token"].as_str().expect("a session").to_owned()
}

on_backends!(every_answer_is_as_the_document_says, async |server: Server| {
    for name in ["ada", "bob", "chief"] {
        server.new_user_with(name, &["packages:read"]).await;
    }
    let promote = "UPDATE users SET is_admin = TRUE WHERE username = 'chief'";
    server.database().await.execute_raw(promote).await.expect("she is there");
    furnish(&server, &session(&server, "ada").await).await;
    drive(&server, "anybody", None).await;
    drive(&server, "ada", Some(&session(&server, "ada").await)).await;
    drive(&server, "chief", Some(&session(&server, "chief").await)).await;
});

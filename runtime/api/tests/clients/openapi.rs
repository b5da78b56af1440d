//! schemathesis reads the OpenAPI document and makes requests of it, fitting and unfitting ones, as anybody, as a
//! person and as a platform administrator: no answer is a server error, and every answer is as the document says.
//! Every run makes the same requests.

use std::{sync::LazyLock, time::Duration};

use serde_json::{Value, json};
use tokio::process::Command;

use crate::{Server, on_backends, process};

/// The program that `benches/services/openapi-clients.sh` installs.
static SCHEMATHESIS: LazyLock<String> = LazyLock::new(|| {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../../benches/services/openapi-clients.sh");
    let output = std::process::Command::new("sh").arg(script).output().expect("sh runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    format!("{}/schemathesis/bin/st", String::from_utf8(output.stdout).expect("a path").trim())
});

const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance";
/// What would end the credential that a run goes on with, pages for people, and what has no end.
const LEFT_OUT: &str =
    "^/v1/(auth/(logout|password|mfa.*|sessions/.*)|tokens/.+|admin/jobs/stream)$|^/(swagger-ui|metrics)";
const EXAMPLES: &str = "8";
/// On a busy machine.
const LONGEST: Duration = Duration::from_secs(300);

/// Something of everything that `openapi/names.toml` names.
async fn furnish(server: &Server, token: &str) {
    let token = Some(token);
    let org = server.post("/v1/orgs", token, &json!({"name": "Acme", "slug": "acme"})).await;
    for name in ["bob", "carl"] {
        server.post("/v1/orgs/acme/members", token, &json!({"username": name, "role": "viewer"})).await;
    }
    for slug in ["core", "spare"] {
        server.post("/v1/orgs/acme/teams", token, &json!({"name": slug, "slug": slug})).await;
    }
    for (slug, visibility) in [("main", "public"), ("vault", "private")] {
        let body = json!({"name": slug, "slug": slug, "kind": visibility, "owner_org_id": org["id"]});
        server.post("/v1/repositories", token, &body).await;
    }
    for (name, repository) in [("tool", "main"), ("secret-tool", "vault")] {
        let body = json!({"ecosystem": "npm", "name": name, "repository_slug": repository});
        server.post("/v1/packages", token, &body).await;
        for version in ["2.0.0", "3.0.0"] {
            let path = format!("/v1/packages/npm/{name}/releases");
            server.post(&path, token, &json!({"version": version})).await;
        }
    }
    let body = json!({"ecosystem": "npm", "namespace": "@acme", "owner_org_id": org["id"]});
    server.post("/v1/namespaces", token, &body).await;
}

/// Makes requests of the routes that `options` choose.
async fn drive(server: &Server, who: &str, token: Option<&str>, options: &[&str]) {
    let names = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients/openapi/names.toml");
    let mut command = Command::new(&*SCHEMATHESIS);
    command.arg("--no-color");
    if token.is_some() {
        command.args(["--config-file", names]);
    }
    command
        .args(["run", "--checks", CHECKS, "--phases", "coverage,fuzzing", "--max-examples", EXAMPLES])
        .args(["--generation-deterministic", "--generation-with-security-parameters", "false", "--warnings", "off"])
        .args(["--continue-on-failure", "--request-timeout", "60", "--exclude-path-regex", LEFT_OUT])
        .args(options)
        .arg(format!("{}/api-docs/openapi.json", server.base_url()))
        .current_dir(server.scratch(who))
        .kill_on_drop(true);
    if let Some(token) = token {
        command.arg("--header").arg(format!("Authorization: Bearer {token}"));
    }
    process::run(command, who, "", LONGEST).await.said(who).succeeds().says("Test cases:");
}

async fn session(server: &Server, name: &str) -> String {
    let login = json!({"username_or_email": name, "password": format!("correct horse {name}")});
    let session: Value = server.post("/v1/auth/login", None, &login).await;
    session["token"].as_str().expect("a session").to_owned()
}

on_backends!(every_answer_is_as_the_document_says, async |server: Server| {
    for name in ["ada", "bob", "carl", "chief"] {
        server.new_user_with(name, &["packages:read"]).await;
    }
    let promote = "UPDATE users SET is_admin = TRUE WHERE username = 'chief'";
    server.database().await.execute_raw(promote).await.expect("she is there");
    furnish(&server, &session(&server, "ada").await).await;
    // Names as they come; writes want a credential first.
    drive(&server, "anybody", None, &["--include-method", "GET"]).await;
    drive(&server, "ada", Some(&session(&server, "ada").await), &[]).await;
    let operators = ["--include-path-regex", "^/v1/(admin|audit|namespaces|packages/.*/quarantine)"];
    drive(&server, "chief", Some(&session(&server, "chief").await), &operators).await;
    assert!(!server.log().contains("\"level\":\"error\""), "{}", server.log());
});

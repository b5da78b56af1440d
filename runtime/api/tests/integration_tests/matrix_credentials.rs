//! Derivation rules R6, R7, R8 and R11 of access.md §10: what the credential takes away from its person.

use publaryn_auth::Token;
use publaryn_core::{PackageId, Scope, Timestamp, TokenId, TokenKind};
use publaryn_metadata::tokens::TokenRow;
use serde_json::{Value, json};

use crate::app::{self, Call, Person, Server, text};

/// Every row that writes: its number, the scope it needs, and the request on a package of `name`.
fn writes(name: &str) -> Vec<(u8, &'static str, &'static str, String, Value)> {
    let path = format!("/v1/packages/npm/{name}");
    let id = "00000000-0000-7000-8000-000000000000";
    vec![
        (6, "packages:write", "PATCH", path.clone(), json!({"description": "x"})),
        (7, "packages:write", "PATCH", path.clone(), json!({"is_archived": false})),
        (7, "packages:write", "DELETE", format!("{path}?mode=no"), Value::Null),
        (8, "packages:publish", "POST", format!("{path}/releases"), json!({})),
        (8, "packages:publish", "POST", format!("{path}/releases/1.0.0/publish"), json!({})),
        (8, "packages:publish", "PUT", format!("{path}/releases/1.0.0/artifacts/x.tgz?kind=tarball"), json!({})),
        (9, "packages:write", "PUT", format!("{path}/releases/1.0.0/yank"), json!({})),
        (9, "packages:write", "PUT", format!("{path}/releases/1.0.0/unyank"), json!({})),
        (9, "packages:write", "PUT", format!("{path}/releases/1.0.0/deprecate"), json!({})),
        (9, "packages:write", "PUT", format!("{path}/releases/1.0.0/undeprecate"), json!({})),
        (10, "packages:publish", "PUT", format!("{path}/tags/t"), json!({})),
        (10, "packages:publish", "DELETE", format!("{path}/tags/none"), Value::Null),
        (11, "packages:publish", "DELETE", format!("{path}/releases/9.9.9"), Value::Null),
        (14, "packages:write", "POST", format!("{path}/trusted-publishers"), json!({})),
        (14, "packages:write", "DELETE", format!("{path}/trusted-publishers/{id}"), Value::Null),
        (15, "security:write", "PATCH", format!("{path}/security-findings/{id}"), json!({})),
        (16, "security:write", "PUT", format!("{path}/quarantine"), json!({})),
        (16, "security:write", "DELETE", format!("{path}/quarantine"), Value::Null),
        (17, "packages:transfer", "POST", format!("{path}/ownership-transfer"), json!({})),
    ]
}

const READS: [&str; 5] = ["", "/releases", "/releases/1.0.0", "/tags", "/trusted-publishers"];

fn request(server: &Server, method: &str, path: &str, body: &Value) -> Call {
    let call = server.call(method, path);
    if body.is_null() { call } else { call.json(body.clone()) }
}

/// `open-tool` in public, `shut-tool` in private; both of the same person.
async fn stage(server: &Server) -> Person {
    let ada = server.person("ada").await;
    let body = json!({"name": "m", "slug": "m"});
    server.post("/v1/repositories", body).bearer(&ada.token).expect(201).await;
    for (name, visibility) in [("open-tool", "public"), ("shut-tool", "private")] {
        let body = json!({"ecosystem": "npm", "name": name, "repository_slug": "m", "visibility": visibility});
        server.post("/v1/packages", body).bearer(&ada.token).expect(201).await;
        server.npm_published(&ada.token, name, "1.0.0").await;
    }
    ada
}

#[tokio::test(flavor = "multi_thread")]
async fn r6_a_missing_scope_refuses_before_the_package_is_looked_up() {
    app::each(async |server| {
        let ada = stage(server).await;
        let bare = server.api_token(&ada, &["tokens:read"]).await;
        let mut cells = 0;
        for name in ["open-tool", "shut-tool", "absent-tool"] {
            for (row, scope, method, path, body) in writes(name) {
                let answer =
                    request(server, method, &path, &body).bearer(&bare).problem(403, "insufficient_scope").await;
                let told = answer["required_scopes"].as_array().unwrap().contains(&json!(scope));
                assert!(told || row == 11 || row == 16, "row {row}: {answer}");
                cells += 1;
            }
            for rest in READS {
                let wanted = if name == "open-tool" { 200 } else { 404 };
                server.get(format!("/v1/packages/npm/{name}{rest}")).bearer(&bare).expect(wanted).await;
                cells += 1;
            }
        }
        println!("access matrix: {cells} cells for R6");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn r7_a_bound_token_stays_within_its_binding() {
    app::each(async |server| {
        let ada = stage(server).await;
        let body = json!({"ecosystem": "npm", "name": "bound-tool", "repository_slug": "m"});
        server.post("/v1/packages", body).bearer(&ada.token).expect(201).await;
        let body = json!({
            "name": "b", "kind": "package", "package": {"ecosystem": "npm", "name": "bound-tool"},
            "scopes": ["packages:write", "security:write"],
        });
        let bound = text(&server.post("/v1/tokens", body).bearer(&ada.token).expect(201).await.body["token"]);
        let mut cells = 0;
        for (name, status, code) in [("open-tool", 403, "token_not_bound"), ("shut-tool", 404, "not_found")] {
            for (row, _, method, path, body) in writes(name) {
                // Bound tokens never transfer; what is not there is not there for anybody.
                if row == 17 || row == 11 {
                    continue;
                }
                request(server, method, &path, &body).bearer(&bound).problem(status, code).await;
                cells += 1;
            }
            for rest in READS {
                let wanted = if name == "open-tool" { 200 } else { 404 };
                server.get(format!("/v1/packages/npm/{name}{rest}")).bearer(&bound).expect(wanted).await;
                cells += 1;
            }
        }
        let body = json!({"description": "mine"});
        server.patch("/v1/packages/npm/bound-tool", body).bearer(&bound).expect(200).await;
        assert_eq!(server.npm_publish(&bound, "open-tool", "1.1.0").await.status, 403);
        assert_eq!(server.npm_publish(&bound, "new-tool", "1.1.0").await.status, 403);
        server.npm_published(&bound, "bound-tool", "1.0.0").await;
        println!("access matrix: {cells} cells for R7");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn r8_a_trusted_publisher_publishes_its_package_and_nothing_else() {
    app::each(async |server| {
        let ada = stage(server).await;
        let page = server.get("/v1/packages/npm/shut-tool").bearer(&ada.token).expect(200).await.body;
        let minted = Token::mint();
        let row = TokenRow {
            id: TokenId::new(),
            kind: TokenKind::OidcDerived,
            name: "oidc".into(),
            last_four: minted.last_four,
            scopes: [Scope::PackagesPublish].into_iter().collect(),
            user_id: Some(ada.id),
            org_id: None,
            role: None,
            repository_id: None,
            package_id: Some(serde_json::from_value::<PackageId>(page["id"].clone()).unwrap()),
            expires_at: None,
            last_used_at: None,
            used_up_at: None,
            revoked_at: None,
            created_at: Timestamp::now(),
        };
        let mut tx = server.db().begin().await.unwrap();
        tx.insert_token(&row, minted.hash.as_bytes()).await.unwrap();
        tx.commit().await.unwrap();
        let token = minted.token.expose();
        server.npm_published(token, "shut-tool", "1.1.0").await;
        assert_eq!(server.npm_read(Some(token), "shut-tool").await, 200);
        assert_eq!(server.npm_publish(token, "open-tool", "1.1.0").await.status, 403);
        assert_eq!(server.npm_publish(token, "new-tool", "1.1.0").await.status, 403);
        let mut cells = 4;
        for name in ["open-tool", "shut-tool", "absent-tool"] {
            for (_, _, method, path, body) in writes(name) {
                request(server, method, &path, &body).bearer(token).problem(403, "credential_not_accepted").await;
                cells += 1;
            }
            for rest in READS {
                let call = server.get(format!("/v1/packages/npm/{name}{rest}")).bearer(token);
                call.problem(403, "credential_not_accepted").await;
                cells += 1;
            }
        }
        println!("access matrix: {cells} cells for R8");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn r11_a_broken_credential_is_refused_everywhere() {
    app::each(async |server| {
        let ada = stage(server).await;
        let dead = server.api_token(&ada, &["packages:write"]).await;
        server.delete("/v1/tokens/current").bearer(&dead).expect(200).await;
        let mut cells = 0;
        for token in ["pub_nonsense", "x.y.z", dead.as_str()] {
            for name in ["open-tool", "shut-tool", "absent-tool"] {
                for (_, _, method, path, body) in writes(name) {
                    request(server, method, &path, &body).bearer(token).expect(401).await;
                    cells += 1;
                }
                for rest in READS {
                    server.get(format!("/v1/packages/npm/{name}{rest}")).bearer(token).expect(401).await;
                    cells += 1;
                }
            }
            server.get("/v1/search").bearer(token).expect(401).await;
            server.get("/v1/repositories").bearer(token).expect(401).await;
            cells += 2;
        }
        println!("access matrix: {cells} cells for R11");
    })
    .await;
}

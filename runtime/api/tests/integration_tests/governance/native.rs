//! What governance means to a native client.

use publaryn_auth::Token;
use publaryn_core::{OrgId, OrgRole, Scope, Timestamp, TokenId, TokenKind};
use publaryn_metadata::tokens::TokenRow;
use serde_json::{Value, json};

use crate::app::{self, Server, column};

/// An organization's own token.
async fn robot(server: &Server, org: &Value, role: OrgRole, scopes: &[Scope]) -> String {
    let minted = Token::mint();
    let row = TokenRow {
        id: TokenId::new(),
        kind: TokenKind::OrgAutomation,
        name: "robot".into(),
        last_four: minted.last_four,
        scopes: scopes.iter().copied().collect(),
        user_id: None,
        org_id: Some(serde_json::from_value::<OrgId>(org["id"].clone()).unwrap()),
        role: Some(role),
        repository_id: None,
        package_id: None,
        expires_at: None,
        last_used_at: None,
        used_up_at: None,
        revoked_at: None,
        created_at: Timestamp::now(),
    };
    let mut tx = server.db().begin().await.unwrap();
    tx.insert_token(&row, minted.hash.as_bytes()).await.unwrap();
    tx.commit().await.unwrap();
    minted.token.expose().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_publish_lands_where_the_claim_says() {
    app::each(async |server| {
        let (ada, bob, eve) = (server.person("ada").await, server.person("bob").await, server.person("eve").await);
        let acme = server.org(&ada, "acme").await;
        let claim = json!({"ecosystem": "npm", "namespace": "@acme", "owner_org_id": acme["id"]});
        server.post("/v1/namespaces", claim).bearer(&ada.token).expect(201).await;
        // No repository takes it yet.
        assert_eq!(server.npm_publish(&ada.token, "@acme/tool", "1.0.0").await.status, 403);
        server.repository(&ada, &acme, "acme-stage", "staging", "private").await;
        assert_eq!(server.npm_publish(&ada.token, "@acme/tool", "1.0.0").await.status, 403);
        server.repository(&ada, &acme, "acme-main", "public", "internal_org").await;
        server.npm_published(&ada.token, "@acme/tool", "1.0.0").await;
        let main = server.get("/v1/repositories/acme-main").bearer(&ada.token).expect(200).await.body;
        assert_eq!(main["package_count"], 1);
        // It is as visible as its repository, and belongs to the organization.
        assert_eq!(server.npm_read(Some(&eve.token), "@acme/tool").await, 404);
        server.join(&ada, "acme", &bob, "publisher").await;
        assert_eq!(server.npm_read(Some(&bob.token), "@acme/tool").await, 200);
        // Publishers publish versions; maintainers add packages; strangers do neither.
        server.npm_published(&bob.token, "@acme/tool", "1.0.1").await;
        assert_eq!(server.npm_publish(&bob.token, "@acme/other", "1.0.0").await.status, 403);
        server.join(&ada, "acme", &bob, "maintainer").await;
        server.npm_published(&bob.token, "@acme/other", "1.0.0").await;
        let refused = server.npm_publish(&eve.token, "@acme/third", "1.0.0").await;
        assert_eq!(refused.status, 403, "{}", refused.text);
        assert!(refused.text.contains("claimed"), "{}", refused.text);
        // Leaving ends it at once.
        server.delete("/v1/orgs/acme/members/bob").bearer(&bob.token).expect(200).await;
        assert_eq!(server.npm_publish(&bob.token, "@acme/tool", "1.0.2").await.status, 404);
        assert_eq!(server.npm_read(Some(&bob.token), "@acme/tool").await, 404);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_organizations_rules_hold_for_native_clients() {
    app::each(async |server| {
        let (ada, bob, vic) = (server.person("ada").await, server.person("bob").await, server.person("vic").await);
        let acme = server.org(&ada, "acme").await;
        server.give_mfa(&ada).await;
        server.join(&ada, "acme", &bob, "publisher").await;
        server.join(&ada, "acme", &vic, "viewer").await;
        server.repository(&ada, &acme, "vault", "private", "private").await;
        let claim = json!({"ecosystem": "npm", "namespace": "@acme", "owner_org_id": acme["id"]});
        server.post("/v1/namespaces", claim).bearer(&ada.token).expect(201).await;
        server.npm_published(&ada.token, "@acme/tool", "1.0.0").await;
        let token = server.api_token(&bob, &["packages:publish"]).await;
        server.npm_published(&token, "@acme/tool", "1.0.1").await;
        assert_eq!(server.npm_read(Some(&vic.token), "@acme/tool").await, 200);

        let rules = json!({"mfa_required": true, "restrict_private_reads": true});
        server.patch("/v1/orgs/acme", rules).bearer(&ada.token).expect(200).await;
        let refused = server.npm_publish(&token, "@acme/tool", "1.0.2").await;
        assert_eq!(refused.status, 403, "{}", refused.text);
        assert!(refused.text.contains("second factor"), "{}", refused.text);
        assert_eq!(server.npm_read(Some(&token), "@acme/tool").await, 200);
        assert_eq!(server.npm_read(Some(&vic.token), "@acme/tool").await, 404);
        server.give_mfa(&bob).await;
        server.npm_published(&token, "@acme/tool", "1.0.2").await;
        // Bob's own packages never were the organization's business.
        server.npm_published(&vic.token, "vics-own-thing", "1.0.0").await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_organizations_token_acts_with_its_role() {
    app::each(async |server| {
        let ada = server.person("ada").await;
        let acme = server.org(&ada, "acme").await;
        server.repository(&ada, &acme, "first", "private", "private").await;
        server.repository(&ada, &acme, "second", "private", "private").await;
        let default = json!({"default_repository_slug": "second"});
        server.patch("/v1/orgs/acme", default).bearer(&ada.token).expect(200).await;
        let maintainer = robot(server, &acme, OrgRole::Maintainer, &[Scope::PackagesPublish, Scope::OrgsRead]).await;
        server.npm_published(&maintainer, "robots-tool", "1.0.0").await;
        let second = server.get("/v1/repositories/second").bearer(&maintainer).expect(200).await.body;
        assert_eq!((&second["package_count"], &second["can_manage"]), (&json!(1), &json!(false)));
        let viewer = robot(server, &acme, OrgRole::Viewer, &[Scope::PackagesPublish]).await;
        assert_eq!(server.npm_publish(&viewer, "robots-tool", "1.0.1").await.status, 403);
        assert_eq!(server.npm_read(Some(&viewer), "robots-tool").await, 200);
        server.patch("/v1/orgs/acme", json!({"restrict_private_reads": true})).bearer(&ada.token).expect(200).await;
        assert_eq!(server.npm_read(Some(&viewer), "robots-tool").await, 404);
        // It is no member: directories follow its role, governing does not.
        server.get("/v1/orgs/acme/members").bearer(&maintainer).expect(200).await;
        server.get("/v1/orgs/acme/teams").bearer(&viewer).problem(403, "insufficient_scope").await;
        server.get("/v1/users/me/organizations").bearer(&maintainer).problem(404, "not_found").await;
        server
            .post("/v1/orgs", json!({"name": "x", "slug": "x"}))
            .bearer(&maintainer)
            .problem(403, "insufficient_scope")
            .await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn names_that_look_like_others_are_refused() {
    app::each(async |server| {
        let (ada, eve) = (server.person("ada").await, server.person("eve").await);
        server.npm_published(&ada.token, "requests", "1.0.0").await;
        for name in ["reqeusts", "request5", "requets", "requestss", "re.quests"] {
            let refused = server.npm_publish(&eve.token, name, "1.0.0").await;
            assert!(matches!(refused.status, 403 | 422), "{name}: {} {}", refused.status, refused.text);
        }
        // Not close enough, in a scope of its own, or of the same owner.
        server.npm_published(&eve.token, "requester", "1.0.0").await;
        server.npm_published(&eve.token, "@eve/requets", "1.0.0").await;
        server.npm_published(&ada.token, "requestx", "1.0.0").await;
        // What is not open is compared with nobody.
        server.patch("/v1/repositories/eve", json!({"visibility": "private"})).bearer(&eve.token).expect(200).await;
        server.npm_published(&eve.token, "requestz", "1.0.0").await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn similar_names_are_let_in_and_told_of() {
    app::each(async |server| {
        let (ada, eve) = (server.person("ada").await, server.person("eve").await);
        server.npm_published(&ada.token, "fast-json-reader", "1.0.0").await;
        server.npm_published(&ada.token, "fast-json-leadery", "1.0.0").await;
        let found = async |name: &str| {
            let path = format!("/v1/packages/npm/{name}/security-findings");
            let findings = server.get(path).expect(200).await.body["findings"].clone();
            let similar = |finding: &&serde_json::Value| finding["rule_id"] == "similar_name";
            findings.as_array().unwrap().iter().filter(similar).cloned().collect::<Vec<_>>()
        };
        // Owners may name their own packages as they like.
        assert!(found("fast-json-leadery").await.is_empty());
        // 2 of 16 letters differ, which is not refused.
        server.npm_published(&eve.token, "fast-jsn-readers", "1.0.0").await;
        let told = found("fast-jsn-readers").await;
        assert_eq!(told.len(), 1, "{told:?}");
        assert_eq!((&told[0]["kind"], &told[0]["severity"]), (&json!("policy_violation"), &json!("low")));
        assert!(told[0]["title"].as_str().unwrap().contains("`fast-json-reader`"), "{told:?}");
        // Only the first release is told of; it does not keep the package from going live.
        server.npm_published(&eve.token, "fast-jsn-readers", "1.0.1").await;
        assert_eq!(found("fast-jsn-readers").await.len(), 1);
        // 3 of 16 do, which is too much.
        server.npm_published(&eve.token, "fast-jsn-reads", "1.0.0").await;
        assert!(found("fast-jsn-reads").await.is_empty());
        // Nobody is told of what not everybody may find.
        server
            .patch("/v1/packages/npm/fast-json-reader", json!({"visibility": "unlisted"}))
            .bearer(&ada.token)
            .expect(200)
            .await;
        let bob = server.person("bob").await;
        server.npm_published(&bob.token, "fast-jsom-readr", "1.0.0").await;
        assert!(found("fast-jsom-readr").await.is_empty());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn operators_loosen_or_tighten_names() {
    app::each_with(&[("policy.name_similarity", "warn")], async |server| {
        let (ada, eve) = (server.person("ada").await, server.person("eve").await);
        server.npm_published(&ada.token, "requests", "1.0.0").await;
        server.npm_published(&eve.token, "reqeusts", "1.0.0").await;
        let found = async || server.db().count_rows("findings WHERE rule_id = 'similar_name'").await.unwrap();
        assert_eq!(found().await, 1);
        // A package that the management API made is told of with its first release, too, and only with that.
        let body = json!({"ecosystem": "npm", "name": "requestz", "repository_slug": "eve"});
        server.post("/v1/packages", body).bearer(&eve.token).expect(201).await;
        for version in ["1.0.0", "1.0.1"] {
            let body = json!({"version": version});
            server.post("/v1/packages/npm/requestz/releases", body).bearer(&eve.token).expect(201).await;
        }
        assert_eq!(found().await, 2);
    })
    .await;
    app::each_with(&[("policy.name_similarity", "off")], async |server| {
        let (ada, eve) = (server.person("ada").await, server.person("eve").await);
        server.npm_published(&ada.token, "requests", "1.0.0").await;
        server.npm_published(&eve.token, "reqeusts", "1.0.0").await;
        assert_eq!(server.db().count_rows("findings WHERE rule_id = 'similar_name'").await.unwrap(), 0);
    })
    .await;
    app::each_with(&[("policy.name_similarity", "off"), ("namespaces.require_claim", "npm")], async |server| {
        let ada = server.person("ada").await;
        assert_eq!(server.npm_publish(&ada.token, "@ada/tool", "1.0.0").await.status, 403);
        let claim = json!({"ecosystem": "npm", "namespace": "@ada"});
        server.post("/v1/namespaces", claim).bearer(&ada.token).expect(201).await;
        server.npm_published(&ada.token, "@ada/tool", "1.0.0").await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn native_lists_show_what_organizations_entitle_to_and_nothing_unlisted() {
    app::each(async |server| {
        let (ada, vic, gil, eve) = (
            server.person("ada").await,
            server.person("vic").await,
            server.person("gil").await,
            server.person("eve").await,
        );
        let acme = server.org(&ada, "acme").await;
        server.join(&ada, "acme", &vic, "viewer").await;
        server.join(&ada, "acme", &gil, "viewer").await;
        server.repository(&ada, &acme, "open", "public", "public").await;
        server.repository(&ada, &acme, "vault", "private", "private").await;
        server.repository(&ada, &acme, "aside", "public", "unlisted").await;
        for (name, repository) in [("open-tool", "open"), ("secret-tool", "vault"), ("aside-tool", "aside")] {
            let body = json!({"ecosystem": "npm", "name": name, "repository_slug": repository});
            server.post("/v1/packages", body).bearer(&ada.token).expect(201).await;
            server.npm_published(&ada.token, name, "1.0.0").await;
        }
        // A list says nothing but names, so these may pass as projects.
        server.db().execute_raw("UPDATE packages SET ecosystem = 'pypi'").await.unwrap();
        let all = robot(server, &acme, OrgRole::Viewer, &[Scope::PackagesRead]).await;
        let blind = robot(server, &acme, OrgRole::Viewer, &[Scope::OrgsRead]).await;
        let list = async |token: &str| {
            let call = server.get("/pypi/simple/").header("accept", "application/vnd.pypi.simple.v1+json");
            let call = if token.is_empty() { call } else { call.bearer(token) };
            column(&call.expect(200).await.body["projects"], "name")
        };
        for token in ["", &eve.token, &blind] {
            assert_eq!(list(token).await, ["open-tool"]);
        }
        for token in [&ada.token, &vic.token, &all] {
            assert_eq!(list(token).await, ["open-tool", "secret-tool"]);
        }
        let rule = json!({"restrict_private_reads": true});
        server.patch("/v1/orgs/acme", rule).bearer(&ada.token).expect(200).await;
        server.team(&ada, "acme", "readers", &[&gil]).await;
        let read = json!({"permissions": ["read_private"]});
        let grant = "/v1/orgs/acme/teams/readers/repository-access/vault";
        server.put(grant, read).bearer(&ada.token).expect(200).await;
        for token in [&vic.token, &all] {
            assert_eq!(list(token).await, ["open-tool"]);
        }
        assert_eq!(list(&gil.token).await, ["open-tool", "secret-tool"]);
    })
    .await;
}

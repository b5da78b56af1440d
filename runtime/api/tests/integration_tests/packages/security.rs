use publaryn_core::{
    ReleaseId, Timestamp,
    finding::{Category, Finding, FindingKind, Severity},
};
use serde_json::{Value, json};

use crate::app::{self, Server, column, text};

const PATH: &str = "/v1/packages/npm/risky-tool";

/// A finding on a release, as a scanner would leave it.
async fn find(server: &Server, release: &Value) {
    let finding = Finding {
        rule_id: "TEST-1".into(),
        kind: FindingKind::Vulnerability,
        category: Category::Vulnerability,
        severity: Severity::High,
        title: "bad".into(),
        description: None,
        location: String::new(),
    };
    let id: ReleaseId = serde_json::from_value(release["id"].clone()).unwrap();
    let mut tx = server.db().begin().await.unwrap();
    tx.upsert_finding(id, None, &finding, Timestamp::now()).await.unwrap();
    tx.commit().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn findings_are_triaged_by_those_who_may() {
    app::each(async |server| {
        let (ada, cyd, vic, eve) = (
            server.person("ada").await,
            server.person("cyd").await,
            server.person("vic").await,
            server.person("eve").await,
        );
        let acme = server.org(&ada, "acme").await;
        server.join(&ada, "acme", &cyd, "security_manager").await;
        server.join(&ada, "acme", &vic, "viewer").await;
        server.repository(&ada, &acme, "main", "public", "public").await;
        let body = json!({"ecosystem": "npm", "name": "risky-tool", "repository_slug": "main"});
        server.post("/v1/packages", body).bearer(&ada.token).expect(201).await;
        server.npm_published(&ada.token, "risky-tool", "1.0.0").await;
        let live = server.get(format!("{PATH}/releases/1.0.0")).expect(200).await.body;
        find(server, &live).await;
        let draft = server
            .post(format!("{PATH}/releases"), json!({"version": "2.0.0"}))
            .bearer(&ada.token)
            .expect(201)
            .await
            .body;
        find(server, &draft).await;

        let list = |query: &str| server.get(format!("{PATH}/security-findings{query}"));
        let open = list("").expect(200).await.body;
        assert_eq!(column(&open["findings"], "release_version"), ["1.0.0"]);
        assert_eq!(open["findings"][0]["category"], "vulnerability");
        assert_eq!(list("").bearer(&vic.token).expect(200).await.body["total"], 1);
        let all = list("").bearer(&cyd.token).expect(200).await.body;
        assert_eq!(all["total"], 2);
        assert_eq!(list("?severity=low").expect(200).await.body["total"], 0);
        assert_eq!(list("?release=1.0.0").expect(200).await.body["total"], 1);
        assert_eq!(list("?release=2.0.0").expect(200).await.body["total"], 0);

        let path = format!("{PATH}/security-findings/{}", text(&open["findings"][0]["id"]));
        let resolve = |yes: bool| server.patch(&path, json!({"is_resolved": yes, "note": "looked at it"}));
        resolve(true).bearer(&vic.token).problem(403, "insufficient_permission").await;
        resolve(true).bearer(&eve.token).problem(403, "insufficient_permission").await;
        let row = resolve(true).bearer(&cyd.token).expect(200).await.body;
        assert_eq!((&row["is_resolved"], &row["resolved_by_username"]), (&json!(true), &json!("cyd")));
        resolve(true).bearer(&cyd.token).expect(200).await;
        assert_eq!(server.audited("security_finding_resolve").await, 1);
        assert_eq!(list("").expect(200).await.body["total"], 0);
        assert_eq!(list("?include_resolved=true").expect(200).await.body["total"], 1);
        resolve(false).bearer(&cyd.token).expect(200).await;
        server
            .patch(format!("{PATH}/security-findings/{}", text(&acme["id"])), json!({"is_resolved": true}))
            .bearer(&cyd.token)
            .problem(404, "not_found")
            .await;
        server.patch(&path, json!({})).bearer(&cyd.token).problem(422, "validation_failed").await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quarantined_package_is_gone_for_native_clients() {
    app::each(async |server| {
        let (ada, eve, root) = (server.person("ada").await, server.person("eve").await, server.admin("root1").await);
        server.npm_published(&ada.token, "risky-tool", "1.0.0").await;
        let put = || server.put(format!("{PATH}/quarantine"), json!({"reason": "smells"}));
        let lift = || server.delete(format!("{PATH}/quarantine"));
        put().bearer(&eve.token).problem(403, "insufficient_permission").await;
        lift().bearer(&ada.token).problem(404, "not_found").await;
        let stale = put().header("if-match", "\"another-state\"");
        stale.bearer(&ada.token).problem(412, "precondition_failed").await;
        let held = put().bearer(&ada.token).expect(200).await.body;
        assert_eq!((&held["is_quarantined"], &held["effective_visibility"]), (&json!(true), &json!("quarantined")));
        assert_eq!(server.npm_read(Some(&ada.token), "risky-tool").await, 404);
        server.get(PATH).problem(404, "not_found").await;
        server.get(PATH).bearer(&ada.token).expect(200).await;
        let draft = server.post(format!("{PATH}/releases"), json!({"version": "2.0.0"})).bearer(&ada.token);
        draft.problem(409, "state_conflict").await;
        server
            .put(format!("{PATH}/tags/beta"), json!({"version": "1.0.0"}))
            .bearer(&ada.token)
            .problem(409, "state_conflict")
            .await;
        let file = format!("{PATH}/releases/1.0.0/artifacts/risky-tool-1.0.0.tgz");
        server.get(&file).bearer(&ada.token).expect(200).await;
        server.get(&file).bearer(&eve.token).problem(404, "not_found").await;
        lift().bearer(&ada.token).expect(200).await;
        assert_eq!(server.npm_read(None, "risky-tool").await, 200);
        // What a platform administrator did, its owner does not undo, nor by doing it again.
        put().bearer(&root.token).expect(200).await;
        put().bearer(&ada.token).expect(200).await;
        lift().bearer(&ada.token).problem(403, "platform_admin_required").await;
        lift().bearer(&root.token).expect(200).await;
        assert_eq!((server.audited("package_quarantine").await, server.audited("package_unquarantine").await), (3, 2));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn trusted_publishers_come_and_go() {
    app::each(async |server| {
        let (ada, eve) = (server.person("ada").await, server.person("eve").await);
        server.npm_published(&ada.token, "risky-tool", "1.0.0").await;
        let add = |issuer: &str, environment: Option<&str>| {
            let body = json!({"issuer": issuer, "subject": "repo:acme/x", "environment": environment});
            server.post(format!("{PATH}/trusted-publishers"), body)
        };
        let github = "https://token.actions.githubusercontent.com";
        let made = add(github, None).bearer(&ada.token).expect(201).await.body;
        assert_eq!((&made["issuer"], &made["environment"]), (&json!(github), &Value::Null));
        add(github, None).bearer(&ada.token).problem(409, "already_exists").await;
        add(github, Some("prod")).bearer(&ada.token).expect(201).await;
        add("https://evil.test", None).bearer(&ada.token).problem(422, "issuer_not_allowed").await;
        add(github, Some("x")).bearer(&eve.token).problem(403, "insufficient_permission").await;
        let list = server.get(format!("{PATH}/trusted-publishers")).expect(200).await.body;
        assert_eq!((&list["total"], &list["per_page"]), (&json!(2), &json!(100)));
        let path = format!("{PATH}/trusted-publishers/{}", text(&made["id"]));
        server.delete(&path).bearer(&eve.token).problem(403, "insufficient_permission").await;
        server.delete(&path).bearer(&ada.token).expect(200).await;
        server.delete(&path).bearer(&ada.token).problem(404, "not_found").await;
    })
    .await;
}

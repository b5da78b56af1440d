//! From what blocks a release to its going live: findings, where it stands, and who may say what.

use serde_json::{Value, json};

use crate::{
    app::{self, Server, column, text},
    npm::blocked,
};

const PATH: &str = "/v1/packages/npm/risky-tool";

async fn pipeline(server: &Server, token: &str) -> Value {
    server.get(format!("{PATH}/releases/1.1.0/pipeline")).bearer(token).expect(200).await.body
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_blocked_is_published_after_triage_with_the_tags_its_upload_asked_for() {
    app::each(async |server| {
        let ada = server.person("ada").await;
        server.npm_published(&ada.token, "risky-tool", "1.0.0").await;
        let refused = server.npm_put(&ada.token, "risky-tool", blocked("risky-tool", "1.1.0", "beta")).await;
        assert_eq!(refused.status, 403, "{}", refused.text);
        let line = pipeline(server, &ada.token).await;
        assert_eq!(line["next_action"], "resolve_findings");
        let blocking = line["blocked_by"].as_array().unwrap().clone();
        assert!(!blocking.is_empty(), "{line}");
        assert_eq!(server.audited("security_finding_create").await, 1);
        for (at, id) in blocking.iter().enumerate() {
            let path = format!("{PATH}/security-findings/{}", text(id));
            server.patch(&path, json!({"is_resolved": true})).bearer(&ada.token).expect(200).await;
            let left = blocking.len() - at - 1;
            assert_eq!(pipeline(server, &ada.token).await["blocked_by"].as_array().unwrap().len(), left);
        }
        let release = format!("{PATH}/releases/1.1.0");
        let seen = server.get(&release).bearer(&ada.token).expect(200).await.body;
        assert_eq!((&seen["scan"]["blocked"], &seen["scan"]["blocking_finding_ids"]), (&json!(false), &json!([])));
        assert_eq!(pipeline(server, &ada.token).await["next_action"], "publish");
        let done = server.post(format!("{release}/publish?wait=20"), json!({})).bearer(&ada.token).expect(200).await;
        assert_eq!(done.body["status"], "published", "{}", done.text);
        let tags = server.get(format!("{PATH}/tags")).expect(200).await.body;
        assert_eq!(tags["tags"]["beta"]["version"], "1.1.0");
        assert_eq!(tags["tags"]["latest"]["version"], "1.0.0", "what was asked for was another tag");
        assert_eq!((&tags["total"], &tags["per_page"]), (&json!(2), &json!(100)));
        let first = server.get(format!("{PATH}/tags?per_page=1")).expect(200).await.body;
        assert_eq!((&first["has_next"], first["tags"].as_object().unwrap().len()), (&json!(true), 1));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_note_stays_until_another_is_given() {
    app::each(async |server| {
        let (ada, cyd) = (server.person("ada").await, server.person("cyd").await);
        let acme = server.org(&ada, "acme").await;
        server.join(&ada, "acme", &cyd, "security_manager").await;
        server.repository(&ada, &acme, "main", "public", "public").await;
        let body = json!({"ecosystem": "npm", "name": "risky-tool", "repository_slug": "main"});
        server.post("/v1/packages", body).bearer(&ada.token).expect(201).await;
        server.npm_put(&ada.token, "risky-tool", blocked("risky-tool", "1.1.0", "latest")).await;
        let list = server.get(format!("{PATH}/security-findings")).bearer(&cyd.token).expect(200).await.body;
        let path = format!("{PATH}/security-findings/{}", column(&list["findings"], "id")[0]);
        let patch = |body: Value, token: &str| server.patch(&path, body).bearer(token).expect(200);

        let body = json!({"is_resolved": true, "note": "a false alarm"});
        let made = patch(body, &cyd.token).await.body;
        let repeated = patch(json!({"is_resolved": true}), &ada.token).await.body;
        assert_eq!(repeated, made, "saying what is so changes nothing");
        assert_eq!(server.audited("security_finding_resolve").await, 1);
        let noted = patch(json!({"is_resolved": true, "note": "seen twice"}), &ada.token).await.body;
        assert_eq!((&noted["note"], &noted["resolved_by_username"]), (&json!("seen twice"), &json!("cyd")));
        let opened = patch(json!({"is_resolved": false, "note": null}), &cyd.token).await.body;
        assert_eq!((&opened["note"], &opened["resolved_at"]), (&Value::Null, &Value::Null));

        // An organization's own automation may judge as well; nobody did it in person.
        let body = json!({
            "name": "robot", "kind": "org_automation", "org_slug": "acme", "role": "security_manager",
            "scopes": ["security:write"],
        });
        let robot = server.post("/v1/tokens", body).bearer(&ada.token).expect(201).await.body;
        let judged = patch(json!({"is_resolved": true}), &text(&robot["token"])).await.body;
        assert_eq!((&judged["is_resolved"], &judged["resolved_by"]), (&json!(true), &Value::Null));
    })
    .await;
}

use serde_json::{Value, json};

use crate::app::{self, column, members, text};

#[tokio::test(flavor = "multi_thread")]
async fn people_are_invited_and_answer() {
    app::each(async |server| {
        let (ada, bob, cyd, eve) = (
            server.person("ada").await,
            server.person("bob").await,
            server.person("cyd").await,
            server.person("eve").await,
        );
        server.org(&ada, "acme").await;
        server.join(&ada, "acme", &cyd, "maintainer").await;
        let invite = |body: Value| server.post("/v1/orgs/acme/invitations", body);
        let sent = invite(json!({"username_or_email": "Bob@example.com", "role": "publisher"}));
        let sent = sent.bearer(&ada.token).expect(201).await.body;
        let expected = [
            "accepted_at",
            "created_at",
            "declined_at",
            "expires_at",
            "id",
            "invited_by",
            "invited_user",
            "org_slug",
            "revoked_at",
            "role",
            "status",
        ];
        assert_eq!(members(&sent), expected);
        assert_eq!((&sent["status"], &sent["role"]), (&json!("pending"), &json!("publisher")));
        assert_eq!(sent["invited_user"]["email"], "bob@example.com");
        invite(json!({"username_or_email": "bob"})).bearer(&ada.token).problem(409, "invitation_exists").await;
        invite(json!({"username_or_email": "cyd"})).bearer(&ada.token).problem(409, "already_member").await;
        invite(json!({"username_or_email": "nobody"})).bearer(&ada.token).problem(404, "not_found").await;
        let bad = json!({"username_or_email": "eve", "role": "owner", "expires_in_days": 31});
        let bad = invite(bad).bearer(&ada.token).problem(422, "validation_failed").await;
        assert_eq!(bad["errors"].as_array().unwrap().len(), 2);
        invite(json!({"username_or_email": "eve"})).bearer(&cyd.token).problem(403, "insufficient_permission").await;
        server.get("/v1/orgs/acme/invitations").bearer(&cyd.token).problem(403, "insufficient_permission").await;

        let own = server.get("/v1/org-invitations").bearer(&bob.token).expect(200).await.body;
        let mine = &own["invitations"][0];
        assert_eq!(
            members(mine),
            ["actionable", "created_at", "expires_at", "id", "invited_by", "org", "role", "status"]
        );
        assert_eq!((&mine["org"]["slug"], &mine["actionable"]), (&json!("acme"), &json!(true)));
        let answer =
            |id: &Value, what: &str| server.post(format!("/v1/org-invitations/{}/{what}", text(id)), json!({}));
        answer(&sent["id"], "accept").bearer(&eve.token).problem(404, "not_found").await;
        answer(&sent["id"], "accept").problem(401, "unauthenticated").await;
        server
            .post("/v1/org-invitations/x/accept", json!({}))
            .bearer(&eve.token)
            .problem(400, "malformed_request")
            .await;
        let accepted = answer(&sent["id"], "accept").bearer(&bob.token).expect(200).await.body;
        assert_eq!((&accepted["role"], &accepted["org"]["slug"]), (&json!("publisher"), &json!("acme")));
        let again = answer(&sent["id"], "decline").bearer(&bob.token).problem(409, "invitation_not_actionable").await;
        assert_eq!(again["state"], "accepted");

        // Declined, revoked, expired; then invited anew.
        let again = || invite(json!({"username_or_email": "eve", "expires_in_days": 1})).bearer(&ada.token);
        let first = again().expect(201).await.body;
        assert_eq!(first["invited_user"]["email"], Value::Null);
        answer(&first["id"], "decline").bearer(&eve.token).expect(200).await;
        let second = again().expect(201).await.body;
        let revoke = |id: &Value| server.delete(format!("/v1/orgs/acme/invitations/{}", text(id))).bearer(&ada.token);
        assert_eq!(revoke(&second["id"]).expect(200).await.body["status"], "revoked");
        revoke(&second["id"]).problem(404, "not_found").await;
        let third = again().expect(201).await.body;
        server.db().execute_raw("UPDATE invitations SET expires_at = 1 WHERE status = 'pending'").await.unwrap();
        let late = answer(&third["id"], "accept").bearer(&eve.token).problem(409, "invitation_not_actionable").await;
        assert_eq!(late["state"], "expired");
        again().expect(201).await;
        let list =
            server.get("/v1/orgs/acme/invitations?include_inactive=true").bearer(&ada.token).expect(200).await.body;
        let mut states = column(&list["invitations"], "status");
        states.sort();
        assert_eq!(states, ["accepted", "declined", "expired", "pending", "revoked"]);
        let open = server.get("/v1/orgs/acme/invitations").bearer(&ada.token).expect(200).await.body;
        assert_eq!(open["total"], 1);
        assert_eq!(
            (
                server.audited("org_invitation_create").await,
                server.audited("org_invitation_accept").await,
                server.audited("org_invitation_decline").await,
                server.audited("org_invitation_revoke").await,
            ),
            (5, 1, 1, 1)
        );
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn answering_and_revoking_at_once_ends_one_way() {
    app::each(async |server| {
        let ada = server.person("ada").await;
        server.org(&ada, "acme").await;
        for n in 0..8 {
            let bob = server.person(&format!("bob{n}")).await;
            let invite = json!({"username_or_email": bob.name});
            let sent = server.post("/v1/orgs/acme/invitations", invite).bearer(&ada.token).expect(201).await.body;
            let id = text(&sent["id"]);
            let (accepted, revoked, added) = tokio::join!(
                server.post(format!("/v1/org-invitations/{id}/accept"), json!({})).bearer(&bob.token).send(),
                server.delete(format!("/v1/orgs/acme/invitations/{id}")).bearer(&ada.token).send(),
                server
                    .post("/v1/orgs/acme/members", json!({"username": bob.name, "role": "viewer"}))
                    .bearer(&ada.token)
                    .send(),
            );
            assert!(matches!(accepted.status, 200 | 409), "{accepted:?}");
            assert!(matches!(revoked.status, 200 | 404), "{revoked:?}");
            assert!(matches!(added.status, 200 | 201), "{added:?}");
            assert!(accepted.status != 200 || revoked.status != 200, "both cannot have happened");
        }
    })
    .await;
}

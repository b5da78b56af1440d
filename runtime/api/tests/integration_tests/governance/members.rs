use serde_json::{Value, json};

use crate::app::{self, column};

#[tokio::test(flavor = "multi_thread")]
async fn members_are_added_changed_and_removed() {
    app::each(async |server| {
        let (ada, bob, cyd, eve) = (
            server.person("ada").await,
            server.person("bob").await,
            server.person("cyd").await,
            server.person("eve").await,
        );
        server.org(&ada, "acme").await;
        let add =
            |name: &str, role: &str| server.post("/v1/orgs/acme/members", json!({"username": name, "role": role}));
        let added = add("BOB", "admin").bearer(&ada.token).expect(201).await.body;
        assert_eq!(
            (&added["username"], &added["role"], &added["mfa_enabled"]),
            (&json!("bob"), &json!("admin"), &json!(false))
        );
        add("cyd", "viewer").bearer(&bob.token).expect(201).await;
        add("cyd", "viewer").bearer(&bob.token).expect(200).await;
        add("cyd", "security-manager").bearer(&bob.token).expect(200).await;
        assert_eq!((server.audited("org_member_add").await, server.audited("org_role_change").await), (2, 1));
        add("nobody", "viewer").bearer(&ada.token).problem(404, "not_found").await;
        add("eve", "owner").bearer(&ada.token).problem(422, "validation_failed").await;
        add("eve", "king").bearer(&ada.token).problem(422, "validation_failed").await;
        add("ada", "viewer").bearer(&bob.token).problem(403, "owner_protected").await;
        add("eve", "viewer").bearer(&cyd.token).problem(403, "insufficient_permission").await;
        add("eve", "viewer").bearer(&eve.token).problem(403, "insufficient_permission").await;
        add("eve", "viewer").problem(401, "unauthenticated").await;

        let change =
            |name: &str, role: &str| server.patch(format!("/v1/orgs/acme/members/{name}"), json!({"role": role}));
        change("cyd", "auditor").bearer(&bob.token).expect(200).await;
        change("eve", "auditor").bearer(&bob.token).problem(404, "not_found").await;
        change("ada", "auditor").bearer(&bob.token).problem(403, "owner_protected").await;

        let list = |query: &str| server.get(format!("/v1/orgs/acme/members{query}"));
        let all = list("").bearer(&cyd.token).expect(200).await.body;
        assert_eq!(column(&all["members"], "username"), ["ada", "bob", "cyd"]);
        assert_eq!((&all["per_page"], &all["total"]), (&json!(100), &json!(3)));
        assert!(all["members"].as_array().unwrap().iter().all(|member| member["mfa_enabled"].is_null()));
        let audit = list("?role=auditor").bearer(&ada.token).expect(200).await.body;
        assert_eq!(column(&audit["members"], "username"), ["cyd"]);
        list("").bearer(&eve.token).problem(403, "insufficient_permission").await;
        list("").problem(401, "unauthenticated").await;
        let found = server.get("/v1/orgs/acme/members/search?query=B").bearer(&cyd.token).expect(200).await.body;
        assert_eq!(column(&found["members"], "username"), ["bob"]);
        let none = server.get("/v1/orgs/acme/members/search?query=%25").bearer(&cyd.token).expect(200).await.body;
        assert_eq!(none["members"], json!([]));
        let blank = server.get("/v1/orgs/acme/members/search?query=").bearer(&cyd.token).expect(200).await.body;
        assert_eq!(blank["members"], json!([]));

        let private: Value = json!({"member_directory_is_private": true});
        server.patch("/v1/orgs/acme", private).bearer(&ada.token).expect(200).await;
        list("").bearer(&cyd.token).problem(403, "insufficient_permission").await;
        list("").bearer(&bob.token).expect(200).await;

        let remove = |name: &str| server.delete(format!("/v1/orgs/acme/members/{name}"));
        remove("ada").bearer(&ada.token).problem(403, "owner_protected").await;
        remove("ada").bearer(&bob.token).problem(403, "owner_protected").await;
        remove("bob").bearer(&cyd.token).problem(403, "insufficient_permission").await;
        remove("eve").bearer(&eve.token).problem(404, "not_found").await;
        remove("eve").bearer(&ada.token).problem(404, "not_found").await;
        remove("cyd").bearer(&cyd.token).expect(200).await;
        remove("bob").bearer(&ada.token).expect(200).await;
        remove("bob").bearer(&ada.token).problem(404, "not_found").await;
        add("cyd", "viewer").bearer(&bob.token).problem(403, "insufficient_permission").await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn names_are_found_whatever_their_case_and_letters() {
    app::each(async |server| {
        let (ada, bob) = (server.person("ada").await, server.person("bob").await);
        server.org(&ada, "acme").await;
        server.join(&ada, "acme", &bob, "viewer").await;
        let name = |name: &str| server.patch("/v1/users/me", json!({"display_name": name})).bearer(&bob.token);
        let search = async |query: &str| {
            let path = format!("/v1/orgs/acme/members/search?query={query}");
            column(&server.get(path).bearer(&ada.token).expect(200).await.body["members"], "username")
        };
        name("Émile ÅNGSTRÖM [x]*").expect(200).await;
        // émile, ÉMILE, ångström, `[X]`, `]*`
        for query in ["%C3%A9mile", "%C3%89MILE", "%C3%A5ngstr%C3%B6m", "%5BX%5D", "%5D*", "BO"] {
            assert_eq!(search(query).await, ["bob"], "{query}");
        }
        for query in ["emile", "%5Bxy%5D", "%C3%A9*m", "%3F", "%5E"] {
            assert!(search(query).await.is_empty(), "{query}");
        }
    })
    .await;
}

use serde_json::{Value, json};

use crate::app::{self, column, members};

const SUMMARY: [&str; 17] = [
    "can_transfer",
    "created_at",
    "description",
    "download_count",
    "ecosystem",
    "effective_visibility",
    "id",
    "is_archived",
    "is_deprecated",
    "latest_version",
    "name",
    "normalized_name",
    "owner_org_slug",
    "owner_username",
    "repository_slug",
    "updated_at",
    "visibility",
];

#[tokio::test(flavor = "multi_thread")]
async fn a_package_is_created_shown_and_changed() {
    app::each(async |server| {
        let (ada, bob, eve) = (server.person("ada").await, server.person("bob").await, server.person("eve").await);
        let acme = server.org(&ada, "acme").await;
        server.join(&ada, "acme", &bob, "maintainer").await;
        server.repository(&ada, &acme, "main", "public", "public").await;
        server.repository(&ada, &acme, "vault", "private", "private").await;
        let create = |body: Value| server.post("/v1/packages", body);
        let body = json!({
            "ecosystem": "npm", "name": "acme-widget", "repository_slug": "main", "description": "Widgets",
            "keywords": ["a", "b"], "readme": "# Hi\n",
        });
        let made = create(body.clone()).bearer(&bob.token).expect(201).await.body;
        assert!(SUMMARY.iter().all(|member| made.get(member).is_some()), "{made}");
        assert_eq!(
            made["ecosystem_metadata"],
            json!({"kind": "npm", "details": {"scope": null, "unscoped_name": "acme-widget"}})
        );
        assert_eq!((&made["owner_org_slug"], &made["visibility"]), (&json!("acme"), &json!("public")));
        assert_eq!((&made["can_manage_metadata"], &made["can_transfer"]), (&json!(true), &json!(false)));
        create(body.clone()).bearer(&bob.token).problem(409, "already_exists").await;
        create(body.clone()).bearer(&eve.token).problem(403, "insufficient_permission").await;
        create(body).problem(401, "unauthenticated").await;
        let at =
            |name: &str, repository: &str| json!({"ecosystem": "npm", "name": name, "repository_slug": repository});
        create(at("x", "none")).bearer(&ada.token).problem(404, "not_found").await;
        create(at("x", "vault")).bearer(&eve.token).problem(404, "not_found").await;
        create(at("Bad Name", "main")).bearer(&ada.token).problem(422, "invalid_name").await;
        create(at("security", "main")).bearer(&ada.token).problem(422, "reserved_name").await;
        let mut wide = at("wide-one", "vault");
        wide["visibility"] = json!("public");
        assert_eq!(create(wide).bearer(&ada.token).problem(422, "visibility_too_broad").await["limit"], "private");
        server.npm_published(&eve.token, "eves-gadget", "1.0.0").await;
        let similar = create(at("eves-gadgets", "main")).bearer(&ada.token).problem(422, "name_too_similar").await;
        assert_eq!(similar["similar_to"], "eves-gadget");

        let path = "/v1/packages/npm/acme-widget";
        let seen = server.get(path).expect(200).await;
        assert!(seen.headers.contains_key("etag"));
        assert_eq!((&seen.body["readme"], &seen.body["team_access"]), (&json!("# Hi\n"), &json!([])));
        server.get("/v1/packages/npm/absent").problem(404, "not_found").await;
        server.get("/v1/packages/odd/absent").problem(404, "not_found").await;
        let patch = |body: Value| server.patch(path, body);
        let changed = patch(json!({"description": null, "license": "MIT"})).bearer(&bob.token).expect(200).await.body;
        assert_eq!((&changed["description"], &changed["license"]), (&Value::Null, &json!("MIT")));
        assert!(changed["message"].is_string());
        patch(json!({"visibility": "private"})).bearer(&bob.token).problem(403, "insufficient_permission").await;
        patch(json!({"description": "x"})).bearer(&eve.token).problem(403, "insufficient_permission").await;
        let hidden = patch(json!({"visibility": "private"})).bearer(&ada.token).expect(200).await.body;
        assert_eq!(hidden["effective_visibility"], "private");
        for method in ["GET", "PATCH", "DELETE"] {
            let call = server.call(method, path).bearer(&eve.token);
            let call = if method == "PATCH" { call.json(json!({})) } else { call };
            call.problem(404, "not_found").await;
        }
        patch(json!({"is_archived": true, "visibility": "public"})).bearer(&ada.token).expect(200).await;
        let release = server.post(format!("{path}/releases"), json!({"version": "1.0.0"})).bearer(&ada.token);
        release.problem(409, "package_archived").await;
        assert_eq!(server.npm_publish(&ada.token, "acme-widget", "1.0.0").await.status, 409);
        patch(json!({"is_archived": false})).bearer(&ada.token).expect(200).await;
        assert_eq!((server.audited("package_create").await, server.audited("package_visibility_change").await), (2, 2));

        server.delete(format!("{path}?mode=odd")).bearer(&ada.token).problem(422, "validation_failed").await;
        server.delete(format!("{path}?mode=delete")).bearer(&bob.token).problem(403, "insufficient_permission").await;
        server.delete(format!("{path}?mode=delete")).bearer(&ada.token).expect(200).await;
        server.get(path).bearer(&ada.token).problem(404, "not_found").await;
        let gadget = "/v1/packages/npm/eves-gadget";
        server.delete(format!("{gadget}?mode=delete")).bearer(&eve.token).problem(409, "package_has_releases").await;
        server.delete(gadget).bearer(&eve.token).expect(200).await;
        assert_eq!(server.get(gadget).expect(200).await.body["is_archived"], true);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_tell_each_caller_what_they_may_know() {
    app::each(async |server| {
        let (ada, vic, eve) = (server.person("ada").await, server.person("vic").await, server.person("eve").await);
        let acme = server.org(&ada, "acme").await;
        server.join(&ada, "acme", &vic, "viewer").await;
        server.repository(&ada, &acme, "main", "public", "public").await;
        for (name, visibility) in [
            ("pkg-open", "public"),
            ("pkg-unlisted", "unlisted"),
            ("pkg-inner", "internal_org"),
            ("pkg-secret", "private"),
        ] {
            let body = json!({"ecosystem": "npm", "name": name, "repository_slug": "main", "visibility": visibility});
            server.post("/v1/packages", body).bearer(&ada.token).expect(201).await;
        }
        let names = async |path: &str, person| {
            let mut names = column(&server.get(path).maybe(person).expect(200).await.body["packages"], "name");
            names.sort();
            names
        };
        let all = ["pkg-inner", "pkg-open", "pkg-secret", "pkg-unlisted"];
        for path in ["/v1/orgs/acme/packages", "/v1/repositories/main/packages"] {
            assert_eq!(names(path, None).await, ["pkg-open"], "{path}");
            assert_eq!(names(path, Some(&eve)).await, ["pkg-open"], "{path}");
            assert_eq!(names(path, Some(&vic)).await, all, "{path}");
        }
        server.patch("/v1/orgs/acme", json!({"restrict_private_reads": true})).bearer(&ada.token).expect(200).await;
        assert_eq!(names("/v1/orgs/acme/packages", Some(&vic)).await, ["pkg-inner", "pkg-open", "pkg-unlisted"]);
        let reader = server.api_token(&ada, &["tokens:read"]).await;
        let seen = server.get("/v1/orgs/acme/packages").bearer(&reader).expect(200).await.body;
        assert_eq!(seen["total"], 1);
        let page = server.get("/v1/orgs/acme/packages?per_page=3&page=2").bearer(&ada.token).expect(200).await.body;
        assert_eq!((&page["total"], page["packages"].as_array().unwrap().len()), (&json!(4), 1));
        assert_eq!(members(&page["packages"][0]), super::package::SUMMARY);
        server.npm_published(&eve.token, "eves-own-thing", "1.0.0").await;
        assert_eq!(names("/v1/users/eve/packages", None).await, ["eves-own-thing"]);
        assert_eq!(names("/v1/users/eve/packages?ecosystem=cargo", None).await, Vec::<String>::new());
        server.get("/v1/users/nobody/packages").problem(404, "not_found").await;
        server.get("/v1/repositories/none/packages").problem(404, "not_found").await;
    })
    .await;
}

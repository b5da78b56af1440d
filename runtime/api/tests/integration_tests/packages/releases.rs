use serde_json::{Value, json};

use crate::app::{self, column, text};

const PATH: &str = "/v1/packages/npm/ripe-tool";

#[tokio::test(flavor = "multi_thread")]
async fn live_releases_are_yanked_deprecated_and_deleted() {
    app::each(async |server| {
        let (ada, eve) = (server.person("ada").await, server.person("eve").await);
        for version in ["1.0.0", "1.2.0", "1.1.0"] {
            server.npm_published(&ada.token, "ripe-tool", version).await;
        }
        let put = |what: &str, body: Value| server.put(format!("{PATH}/releases/1.1.0/{what}"), body);
        let yanked = put("yank", json!({"reason": "broken"})).bearer(&ada.token).expect(200).await.body;
        assert_eq!((&yanked["status"], &yanked["yank_reason"]), (&json!("yanked"), &json!("broken")));
        put("yank", json!({})).bearer(&ada.token).expect(200).await;
        put("yank", json!({})).bearer(&eve.token).problem(403, "insufficient_permission").await;
        let publisher = server.api_token(&ada, &["packages:publish"]).await;
        put("yank", json!({})).bearer(&publisher).problem(403, "insufficient_scope").await;
        let stale = || put("unyank", json!({})).header("if-match", "\"another-state\"");
        stale().bearer(&ada.token).problem(412, "precondition_failed").await;
        let both = put("deprecate", json!({"message": "use 1.2"})).bearer(&ada.token).expect(200).await.body;
        assert_eq!((&both["status"], &both["is_deprecated"]), (&json!("yanked"), &json!(true)));
        let back = put("unyank", json!({})).bearer(&ada.token).expect(200).await.body;
        assert_eq!(
            (&back["status"], &back["release"]["deprecation_message"]),
            (&json!("deprecated"), &json!("use 1.2"))
        );
        put("unyank", json!({})).bearer(&ada.token).problem(409, "state_conflict").await;
        put("undeprecate", json!({})).bearer(&ada.token).expect(200).await;
        put("undeprecate", json!({})).bearer(&ada.token).problem(409, "state_conflict").await;
        assert_eq!((server.audited("release_yank").await, server.audited("release_deprecate").await), (1, 1));

        let versions = async |query: &str| {
            column(&server.get(format!("{PATH}/releases{query}")).expect(200).await.body["releases"], "version")
        };
        assert_eq!(versions("").await, ["1.1.0", "1.2.0", "1.0.0"]);
        assert_eq!(versions("?sort=Version").await, ["1.2.0", "1.1.0", "1.0.0"]);
        server.get(format!("{PATH}/releases?sort=odd")).problem(422, "validation_failed").await;
        assert_eq!(versions("?status=yanked").await, Vec::<String>::new());
        server.get(format!("{PATH}/releases?status=odd")).problem(422, "validation_failed").await;

        // What a release says in npm's terms, and how it came to be, for those who look after it.
        let shown = server.get(format!("{PATH}/releases/1.0.0")).bearer(&ada.token).expect(200).await.body;
        let details = &shown["ecosystem_metadata"]["details"];
        assert!(details["manifest"]["dist"]["integrity"].as_str().unwrap().starts_with("sha512-"), "{shown}");
        assert!(shown["scan"]["started_at"].is_string() && shown["scan"]["finished_at"].is_string(), "{shown}");

        // Deleting is final.
        let release = format!("{PATH}/releases/1.1.0");
        server.delete(&release).bearer(&eve.token).problem(403, "insufficient_permission").await;
        server.delete(&release).bearer(&publisher).problem(403, "insufficient_scope").await;
        server.delete(&release).bearer(&ada.token).expect(200).await;
        server.get(&release).bearer(&ada.token).problem(404, "not_found").await;
        assert_eq!(versions("?include_deleted=true").await, ["1.2.0", "1.0.0"]);
        let with =
            server.get(format!("{PATH}/releases?include_deleted=true")).bearer(&ada.token).expect(200).await.body;
        assert_eq!(with["total"], 3);
        let again = server.post(format!("{PATH}/releases"), json!({"version": "1.1.0"})).bearer(&ada.token);
        again.problem(409, "version_reserved").await;
        server.db().execute_raw("UPDATE releases SET published_at = 1 WHERE version = '1.0.0'").await.unwrap();
        let old = format!("{PATH}/releases/1.0.0");
        server.delete(&old).bearer(&ada.token).problem(409, "delete_window_closed").await;
        let root = server.admin("root1").await;
        server.delete(&old).bearer(&root.token).expect(200).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn release_repositories_keep_what_was_published() {
    app::each(async |server| {
        let ada = server.person("ada").await;
        let body = json!({"name": "r", "slug": "rel", "kind": "release"});
        server.post("/v1/repositories", body).bearer(&ada.token).expect(201).await;
        server.npm_published(&ada.token, "ripe-tool", "1.0.0").await;
        server.delete(format!("{PATH}/releases/1.0.0")).bearer(&ada.token).problem(409, "delete_window_closed").await;
        // Nor does a native client delete it, its whole package neither.
        let seen = server.npm_whole("ripe-tool", &ada.token).await;
        let mut less = seen.clone();
        less["versions"] = json!({});
        let path = format!("/npm/ripe-tool/-rev/{}", text(&seen["_rev"]));
        let told = server.call("PUT", &path).bearer(&ada.token).json(less).send().await;
        assert!(told.status >= 400 && told.text.contains("kind `release`"), "{}: {}", told.status, told.text);
        let told = server.call("DELETE", &path).bearer(&ada.token).send().await;
        assert!(told.status >= 400 && told.text.contains("kind `release`"), "{}: {}", told.status, told.text);
        assert_eq!(server.npm_read(Some(&ada.token), "ripe-tool").await, 200);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn platform_administrators_take_releases_away_and_leave_packages_alone() {
    app::each(async |server| {
        let (ada, root) = (server.person("ada").await, server.admin("root1").await);
        server.npm_published(&ada.token, "ripe-tool", "1.0.0").await;
        let seen = server.npm_whole("ripe-tool", &ada.token).await;
        let path = format!("/npm/ripe-tool/-rev/{}", text(&seen["_rev"]));
        let told = server.call("DELETE", &path).bearer(&root.token).send().await;
        assert_eq!(told.status, 403, "{}", told.text);
        // A credential without `admin:write` is nobody's in particular, whoever made it.
        let own = server.api_token(&root, &["packages:write", "packages:read", "packages:publish"]).await;
        server.npm_published(&own, "own-tool", "1.0.0").await;
        server.db().execute_raw("UPDATE releases SET published_at = 1").await.unwrap();
        let seen = server.npm_whole("own-tool", &own).await;
        let path = format!("/npm/own-tool/-rev/{}", text(&seen["_rev"]));
        let told = server.call("DELETE", &path).bearer(&own).send().await;
        assert!(told.status >= 400 && told.text.contains("hours ago"), "{}: {}", told.status, told.text);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tags_point_at_live_releases() {
    app::each(async |server| {
        let (ada, eve) = (server.person("ada").await, server.person("eve").await);
        server.npm_published(&ada.token, "ripe-tool", "1.0.0").await;
        server.npm_published(&ada.token, "ripe-tool", "2.0.0").await;
        server.post(format!("{PATH}/releases"), json!({"version": "3.0.0"})).bearer(&ada.token).expect(201).await;
        let put = |tag: &str, version: &str| server.put(format!("{PATH}/tags/{tag}"), json!({"version": version}));
        put("stable", "1.0.0").bearer(&ada.token).expect(200).await;
        put("stable", "2.0.0").bearer(&ada.token).expect(200).await;
        put("stable", "9.0.0").bearer(&ada.token).problem(404, "not_found").await;
        put("stable", "3.0.0").bearer(&ada.token).problem(409, "release_not_published").await;
        put("1.x", "1.0.0").bearer(&ada.token).problem(422, "validation_failed").await;
        put("a%20b", "1.0.0").bearer(&ada.token).problem(422, "validation_failed").await;
        put("mine", "1.0.0").bearer(&eve.token).problem(403, "insufficient_permission").await;
        let tags = server.get(format!("{PATH}/tags")).expect(200).await.body;
        assert_eq!(tags["tags"]["stable"]["version"], "2.0.0");
        let remove = |tag: &str| server.delete(format!("{PATH}/tags/{tag}")).bearer(&ada.token);
        remove("latest").problem(409, "tag_protected").await;
        remove("stable").expect(200).await;
        remove("stable").problem(404, "not_found").await;
        assert_eq!((server.audited("tag_update").await, server.audited("tag_delete").await), (2, 1));
    })
    .await;
}

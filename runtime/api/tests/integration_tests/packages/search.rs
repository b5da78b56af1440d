use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::app::{self, Person, Server, column};

/// Searches until the index has caught up, for at most five seconds (control-plane.md §9).
async fn found(server: &Server, query: &str, person: Option<&Person>, wanted: &[&str]) {
    let since = Instant::now();
    loop {
        let body = server.get(format!("/v1/search{query}")).maybe(person).expect(200).await.body;
        let mut names = column(&body["packages"], "name");
        names.sort();
        if names == wanted {
            assert_eq!(body["total"], wanted.len(), "{query}");
            return;
        }
        assert!(since.elapsed() < Duration::from_secs(5), "{query}: {names:?}, wanted {wanted:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn search_finds_what_the_caller_may_discover_now() {
    app::each(async |server| {
        let (ada, vic, eve) = (server.person("ada").await, server.person("vic").await, server.person("eve").await);
        let acme = server.org(&ada, "acme").await;
        server.join(&ada, "acme", &vic, "viewer").await;
        server.repository(&ada, &acme, "main", "public", "public").await;
        server.repository(&ada, &acme, "stage", "staging", "private").await;
        for (name, repository, visibility) in [
            ("flux-open", "main", "public"),
            ("flux-unlisted", "main", "unlisted"),
            ("flux-secret", "main", "private"),
            ("flux-staged", "stage", "private"),
        ] {
            let body =
                json!({"ecosystem": "npm", "name": name, "repository_slug": repository, "visibility": visibility});
            server.post("/v1/packages", body).bearer(&ada.token).expect(201).await;
            server.npm_published(&ada.token, name, "1.0.0").await;
        }
        found(server, "?q=flux", None, &["flux-open"]).await;
        found(server, "?q=flux", Some(&eve), &["flux-open"]).await;
        found(server, "?q=flux", Some(&vic), &["flux-open", "flux-secret"]).await;
        found(server, "?q=flux&org=acme&repository=main", Some(&vic), &["flux-open", "flux-secret"]).await;
        found(server, "?q=flux&owner=ada", Some(&vic), &[]).await;
        found(server, "?q=flux&org=nobody", Some(&vic), &[]).await;
        found(server, "?q=flux&ecosystem=cargo", None, &[]).await;
        server.get("/v1/search?org=Not%20a%20slug").problem(422, "validation_failed").await;
        server.get("/v1/search?sort=odd").problem(422, "validation_failed").await;
        server.get(format!("/v1/search?q={}", "x".repeat(257))).problem(422, "validation_failed").await;
        let hit = server.get("/v1/search?q=flux").expect(200).await.body["packages"][0].clone();
        assert_eq!((&hit["latest_version"], &hit["owner_name"]), (&json!("1.0.0"), &json!("acme")));
        assert_eq!(hit["discovery"]["latest_release_status"], "published");
        assert_eq!(hit["discovery"]["worst_unresolved_security_severity"], Value::Null);

        // A page that rights empty is not the last one.
        found(server, "?q=flux&sort=name", Some(&vic), &["flux-open", "flux-secret"]).await;
        let hide = "UPDATE packages SET visibility = 'quarantined' WHERE name = 'flux-open'";
        server.db().execute_raw(hide).await.unwrap();
        let page = async |n: u8| {
            let path = format!("/v1/search?q=flux&sort=name&per_page=1&page={n}");
            server.get(path).bearer(&vic.token).expect(200).await.body
        };
        let (first, second) = (page(1).await, page(2).await);
        assert_eq!((&first["packages"], &first["has_next"]), (&json!([]), &json!(true)), "{first}");
        assert_eq!(
            (column(&second["packages"], "name"), &second["has_next"]),
            (vec!["flux-secret".into()], &json!(false))
        );
        let show = "UPDATE packages SET visibility = 'public' WHERE name = 'flux-open'";
        server.db().execute_raw(show).await.unwrap();

        // Rights count at once, whatever the index believes.
        let hide = json!({"visibility": "private"});
        server.patch("/v1/packages/npm/flux-open", hide).bearer(&ada.token).expect(200).await;
        let now = server.get("/v1/search?q=flux").expect(200).await.body;
        assert_eq!((&now["packages"], &now["total"]), (&json!([]), &json!(0)));
        server.patch("/v1/orgs/acme", json!({"restrict_private_reads": true})).bearer(&ada.token).expect(200).await;
        let now = server.get("/v1/search?q=flux").bearer(&vic.token).expect(200).await.body;
        assert_eq!(now["packages"], json!([]));
        server.team(&ada, "acme", "core", &[&vic]).await;
        let grant = "/v1/orgs/acme/teams/core/package-access/npm/flux-secret";
        server.put(grant, json!({"permissions": ["read_private"]})).bearer(&ada.token).expect(200).await;
        found(server, "?q=flux", Some(&vic), &["flux-secret"]).await;
        server.delete("/v1/orgs/acme/members/vic").bearer(&ada.token).expect(200).await;
        found(server, "?q=flux", Some(&vic), &[]).await;
    })
    .await;
}

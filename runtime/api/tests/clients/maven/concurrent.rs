//! Deploys that run into each other.

use std::sync::Arc;

use super::{Desk, Wire, jar, pom};
use crate::{Server, on_backends};

on_backends!(deploys_of_two_versions_at_once_lose_neither, async |server: Server| {
    let ada = server.new_user("ada").await;
    let server = Arc::new(server);
    for round in 0..20 {
        let deploys = ["1", "2"].map(|major| {
            let (server, token) = (server.clone(), ada.token.clone());
            tokio::spawn(async move {
                let version = format!("{major}.{round}");
                Wire::new(&server, &token).deploy(["com.acme", "widget", &version], &version).await.expect(201);
            })
        });
        for deploy in deploys {
            deploy.await.expect("a deploy");
        }
    }
    let metadata = Wire::anonymous(&server).get("com/acme/widget/maven-metadata.xml").await.expect(200).text();
    assert_eq!(metadata.matches("<version>").count(), 40, "{metadata}");
    assert!(metadata.contains("<release>2.19</release>"), "{metadata}");
});

on_backends!(two_mvns_at_once_lose_neither, async |server: Server| {
    let ada = server.new_user("ada").await;
    let (one, two) = (Desk::with_token(&server, "one", &ada.token), Desk::with_token(&server, "two", &ada.token));
    for round in 0..3 {
        let (older, newer) = (format!("1.{round}"), format!("2.{round}"));
        let (jar_one, jar_two) = (jar(&older), jar(&newer));
        let (first, second) = tokio::join!(
            one.deploy_file(["com.acme", "widget", &older], &jar_one, "pub"),
            two.deploy_file(["com.acme", "widget", &newer], &jar_two, "pub"),
        );
        first.succeeds();
        second.succeeds();
    }
    let metadata = Wire::anonymous(&server).get("com/acme/widget/maven-metadata.xml").await.expect(200).text();
    assert_eq!(metadata.matches("<version>").count(), 6, "{metadata}");
    assert!(metadata.contains("<release>2.2</release>"), "{metadata}");
});

on_backends!(files_of_one_first_deploy_may_come_all_at_once, async |server: Server| {
    let ada = server.new_user("ada").await;
    let server = Arc::new(server);
    let mut files = vec![(".pom".to_owned(), pom("com.acme", "many", "1.0", "").into_bytes())];
    files.extend((0..12).map(|n| (format!("-part{n}.jar"), jar(&format!("{n}")))));
    let uploads = files.iter().map(|(ending, bytes)| {
        let (server, token, bytes) = (server.clone(), ada.token.clone(), bytes.clone());
        let path = format!("com/acme/many/1.0/many-1.0{ending}");
        tokio::spawn(async move { Wire::new(&server, &token).put(&path, bytes).await.expect(201) })
    });
    for upload in uploads.collect::<Vec<_>>() {
        upload.await.expect("an upload");
    }
    let wire = Wire::anonymous(&server);
    for (ending, bytes) in &files {
        let path = format!("com/acme/many/1.0/many-1.0{ending}");
        assert_eq!(wire.get(&path).await.expect(200).body, *bytes, "{path}");
    }
    let (status, text) = server.get("/v1/packages/maven/com.acme:many/releases", None).await;
    assert_eq!((status, text.matches("\"version\":\"1.0\"").count()), (200, 1), "{text}");
});

on_backends!(of_two_contents_for_one_name_one_stays, async |server: Server| {
    let ada = server.new_user("ada").await;
    let server = Arc::new(server);
    let path = "com/acme/race/1.0/race-1.0.jar";
    let uploads = ["a", "b"].map(|content| {
        let (server, token) = (server.clone(), ada.token.clone());
        tokio::spawn(async move { Wire::new(&server, &token).put(path, jar(content)).await.status })
    });
    let mut statuses = Vec::new();
    for upload in uploads {
        statuses.push(upload.await.expect("an upload"));
    }
    statuses.sort_unstable();
    assert_eq!(statuses, [201, 409]);
    let kept = Wire::anonymous(&server).get(path).await.expect(200).body;
    assert!(kept == jar("a") || kept == jar("b"));
});

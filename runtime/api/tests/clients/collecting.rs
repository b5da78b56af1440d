//! `publaryn gc` without any grace, in a loop beside a server that takes publishes: what was answered stays.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
};

use serde_json::Value;

use crate::{
    Server,
    npm_upload::{document, tarball},
    on_backends,
};

/// What was answered with success and not unpublished: the tarball by name and version.
type Answered = BTreeMap<(String, String), Vec<u8>>;

const ROUNDS: usize = 12;
/// Clients that send the very same version at once: one of them gets it.
const RIVALS: usize = 3;

on_backends!(a_collector_without_grace_takes_nothing_that_was_answered, async |server: Server| {
    let server = Arc::new(server);
    let user = server.new_user("ada").await;
    let is_over = Arc::new(AtomicBool::new(false));
    let collecting = tokio::spawn({
        let (server, is_over) = (server.clone(), is_over.clone());
        async move {
            let (mut runs, mut deleted) = (0, 0);
            while !is_over.load(SeqCst) {
                let report = server.run(&["gc", "--grace", "0s", "--json"]).await;
                deleted += report["deleted_objects"].as_u64().unwrap();
                runs += 1;
            }
            (runs, deleted)
        }
    });
    let answered: Arc<Mutex<Answered>> = Arc::default();
    let mut publishing = Vec::new();
    for publisher in 0..4 {
        let (server, answered, token) = (server.clone(), answered.clone(), user.token.clone());
        publishing.push(tokio::spawn(async move {
            for round in 0..ROUNDS {
                let (name, version) = (format!("kept-{publisher}"), format!("1.{round}.0"));
                let bytes = tarball(&name, &version, &[round as u8; 5000]);
                let rivals = (0..RIVALS).map(|_| {
                    let url = format!("{}/npm/{name}", server.base_url());
                    let request = server.http.put(url).bearer_auth(&token).json(&document(&name, &version, &bytes));
                    async move { request.send().await.expect("the server answers").status().as_u16() }
                });
                let statuses = futures::future::join_all(rivals).await;
                // 503: collected under its publisher's hands, nothing stored. 403, 409: a rival was faster.
                assert!(statuses.iter().all(|status| matches!(status, 201 | 403 | 409 | 503)), "{statuses:?}");
                assert!(statuses.iter().filter(|status| **status == 201).count() <= 1, "{statuses:?}");
                if !statuses.contains(&201) {
                    continue;
                }
                let path = format!("/npm/{name}/-/{name}-{version}.tgz");
                if round % 3 == 2 {
                    let unpublished = unpublish(&server, &token, &name, &version).await;
                    assert!(unpublished, "{name}@{version}");
                } else {
                    assert_eq!(server.get(&path, None).await.0, 200, "{path} was answered a moment ago");
                    answered.lock().unwrap().insert((name, version), bytes);
                }
            }
        }));
    }
    for publisher in publishing {
        publisher.await.unwrap();
    }
    is_over.store(true, SeqCst);
    let (runs, deleted) = collecting.await.unwrap();
    let answered = answered.lock().unwrap().clone();
    assert!(runs > 2 && deleted > 0 && answered.len() > 8, "{runs} runs, {deleted} deleted, {} kept", answered.len());
    for ((name, version), bytes) in &answered {
        let url = format!("{}/npm/{name}/-/{name}-{version}.tgz", server.base_url());
        let response = server.http.get(url).send().await.unwrap();
        assert_eq!(response.status().as_u16(), 200, "{name}@{version}");
        assert_eq!(response.bytes().await.unwrap(), bytes[..], "{name}@{version}");
    }
    // The loop's last run may have begun before the last unpublish.
    server.run(&["gc", "--grace", "0s", "--json"]).await;
    let doctor = server.run(&["doctor", "--json"]).await;
    let blobs = doctor["checks"].as_array().unwrap().iter().find(|check| check["name"] == "blobs").unwrap();
    assert!(blobs["text"].as_str().unwrap().starts_with(&format!("{} blobs", answered.len())), "{blobs}");
});

/// As `npm unpublish name@version`: the document without it, then its tarball.
async fn unpublish(server: &Server, token: &str, name: &str, version: &str) -> bool {
    let (status, body) = server.get(&format!("/npm/{name}?write=true"), Some(token)).await;
    assert_eq!(status, 200, "{body}");
    let mut packument: Value = serde_json::from_str(&body).unwrap();
    let revision = packument["_rev"].as_str().unwrap().to_owned();
    packument["versions"].as_object_mut().unwrap().remove(version);
    let url = format!("{}/npm/{name}/-rev/{revision}", server.base_url());
    server.http.put(url).bearer_auth(token).json(&packument).send().await.unwrap().status().is_success()
}

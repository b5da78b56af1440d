//! `kill -9` at any moment of many publishes: what was answered is there, what was not is wholly
//! there or wholly absent, and no listing names bytes that cannot be fetched.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
    time::Duration,
};

use serde_json::Value;

use crate::{
    Server,
    npm_upload::{document, tarball},
    on_backends,
};

/// Moments of the kill, in milliseconds after the first upload: a sweep over every step of a publish.
const MOMENTS: [u64; 10] = [2, 5, 9, 14, 20, 30, 45, 70, 110, 200];
const PUBLISHERS: usize = 12;
/// Jobs of a killed server resume within 5 s of its next start (J5); a debug build gets more.
const RESUMED_WITHIN: Duration = Duration::from_secs(60);

on_backends!(a_killed_server_keeps_what_it_answered, async |mut server: Server| {
    let user = server.new_user("ada").await;
    let answered: Arc<Mutex<BTreeSet<(String, String)>>> = Arc::default();
    let mut tried = BTreeSet::new();
    // A busy machine answers nothing that early: later moments follow until something was answered.
    let later = (1..8).map(|n| MOMENTS[MOMENTS.len() - 1] << n);
    for (round, moment) in MOMENTS.into_iter().chain(later).enumerate() {
        if round >= MOMENTS.len() && !answered.lock().unwrap().is_empty() {
            break;
        }
        let mut uploads = Vec::new();
        for publisher in 0..PUBLISHERS {
            let (name, version) = (format!("crash-{}", publisher % 5), format!("{round}.{publisher}.0"));
            tried.insert((name.clone(), version.clone()));
            let bytes = tarball(&name, &version, &[publisher as u8; 20_000]);
            let request = server
                .http
                .put(format!("{}/npm/{name}", server.base_url()))
                .bearer_auth(&user.token)
                .json(&document(&name, &version, &bytes));
            let answered = answered.clone();
            uploads.push(tokio::spawn(async move {
                if let Ok(response) = request.send().await
                    && response.status().as_u16() == 201
                {
                    answered.lock().unwrap().insert((name, version));
                }
            }));
        }
        tokio::time::sleep(Duration::from_millis(moment)).await;
        server.kill().await;
        for upload in uploads {
            upload.await.unwrap();
        }
        server.restart().await;
    }
    let answered = answered.lock().unwrap().clone();
    assert!(!answered.is_empty(), "no publish was answered; the sweep is too fast to mean anything");
    let listed = settled(&server, &tried).await;
    for release in &answered {
        assert!(listed.contains(release), "{release:?} was answered and is gone");
    }
    for (name, version) in &listed {
        let (status, _) = server.get(&format!("/npm/{name}/-/{name}-{version}.tgz"), None).await;
        assert_eq!(status, 200, "{name}@{version} is listed and cannot be fetched");
    }
    // What was never listed left nothing behind: its number is free, or it is still on its way.
    for (name, version) in tried.difference(&listed) {
        let bytes = tarball(name, version, b"again");
        let response = server
            .http
            .put(format!("{}/npm/{name}", server.base_url()))
            .bearer_auth(&user.token)
            .json(&document(name, version, &bytes))
            .send()
            .await
            .unwrap();
        assert_eq!(response.status().as_u16(), 201, "{name}@{version} was half stored");
    }
});

/// The live releases once nothing changes any more.
async fn settled(server: &Server, tried: &BTreeSet<(String, String)>) -> BTreeSet<(String, String)> {
    let names: BTreeSet<&String> = tried.iter().map(|(name, _)| name).collect();
    let deadline = tokio::time::Instant::now() + RESUMED_WITHIN;
    let mut last = BTreeSet::new();
    let mut quiet = 0;
    while quiet < 10 && tokio::time::Instant::now() < deadline {
        let mut now = BTreeSet::new();
        for name in &names {
            let (status, body) = server.get(&format!("/npm/{name}"), None).await;
            if status == 200 {
                let packument: Value = serde_json::from_str(&body).unwrap();
                let versions = packument["versions"].as_object().unwrap();
                now.extend(versions.keys().map(|version| ((*name).clone(), version.clone())));
            }
        }
        quiet = if now == last { quiet + 1 } else { 0 };
        last = now;
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    last
}

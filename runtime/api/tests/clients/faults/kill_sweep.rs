//! `kill -9` at arbitrary moments while many publishes run at once: what the named places of
//! `crash_points` cannot show, because there only one publish is under way (shared commits, queues
//! behind one package, several scans).

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
    time::Duration,
};

use super::{Client, Upload, state::settled};
use crate::{Server, on_backends};

/// Moments of the kill, in milliseconds after the first upload.
const MOMENTS: [u64; 4] = [15, 60, 150, 350];
const PUBLISHERS: usize = 16;
const PACKAGES: usize = 5;
const RESUMED_WITHIN: Duration = Duration::from_secs(60);

on_backends!(a_killed_server_keeps_what_it_answered, async |mut server: Server| {
    let user = server.new_user("ada").await;
    let answered: Arc<Mutex<BTreeSet<String>>> = Arc::default();
    let mut tried: BTreeMap<String, (Client, Upload)> = BTreeMap::new();
    // A busy machine answers nothing that early: later moments follow until something was answered.
    let later = (1..6).map(|n| MOMENTS[MOMENTS.len() - 1] << n);
    for (round, moment) in MOMENTS.into_iter().chain(later).enumerate() {
        if round >= MOMENTS.len() && !answered.lock().unwrap().is_empty() {
            break;
        }
        let mut uploads = Vec::new();
        for publisher in 0..PUBLISHERS {
            let client = Client::ALL[publisher % 2];
            let name = format!("crash-{}", publisher / 2 % PACKAGES);
            let upload = client.upload(&name, &format!("{round}.{publisher}.0"), 20_000, publisher as u64);
            let id = format!("{} {name} {}", client.as_str(), upload.version);
            tried.insert(id.clone(), (client, upload.clone()));
            let (server, token, answered) = (&server, &user.token, answered.clone());
            uploads.push(async move {
                if let Ok(answer) = client.try_publish(server, token, &upload).await
                    && answer.is_ok()
                {
                    answered.lock().unwrap().insert(id);
                }
            });
        }
        let pid = rustix::process::Pid::from_raw(server.pid() as i32).expect("a process id");
        let kill = async {
            tokio::time::sleep(Duration::from_millis(moment)).await;
            rustix::process::kill_process(pid, rustix::process::Signal::KILL).expect("the server runs");
        };
        tokio::join!(futures::future::join_all(uploads), kill);
        server.restart().await;
        // A job that takes its server down three times counts as poisonous (J6); these are innocent.
        settled(&server, RESUMED_WITHIN).await;
    }
    let answered = answered.lock().unwrap().clone();
    assert!(!answered.is_empty(), "no publish was answered; the sweep is too fast to mean anything");
    let mut listed = BTreeMap::new();
    for client in Client::ALL {
        for package in 0..PACKAGES {
            let name = format!("crash-{package}");
            for (version, digest) in client.check_listed(&server, &name).await {
                listed.insert(format!("{} {name} {version}", client.as_str()), digest);
            }
        }
    }
    for release in &answered {
        assert!(listed.contains_key(release), "{release} was answered and is gone");
    }
    for (id, (client, upload)) in &tried {
        if let Some(digest) = listed.get(id) {
            assert_eq!(*digest, client.digest(&upload.bytes), "{id} is not what was uploaded");
            continue;
        }
        // What is not there left nothing behind: its number is free.
        let again = client.upload(&upload.name, &upload.version, 100, 99);
        let answer = client.publish(&server, &user.token, &again).await;
        assert!(answer.is_ok(), "{id} was half stored: {answer:?}");
    }
});

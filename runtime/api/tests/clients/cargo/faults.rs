//! Storage that goes away: an answer that makes cargo try again, never a short index file.

use std::{
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use super::{Machine, fetch, upload::Upload, versions};
use crate::{Backend, Server, on_backends};

/// How long cargo may take to come back after the store is there again.
const NOTICED_WITHIN: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread")]
async fn cargo_waits_for_a_lost_blob_store() {
    let mut server = Server::start(Backend::Embedded).await;
    let user = server.new_user("ada").await;
    let machine = Machine::new(&server, "m").logged_in(&user.token);
    machine.publish("pub", "steady", "1.0.0", "").await.succeeds();
    machine.publish("pub", "steady", "1.1.0", "").await.succeeds();
    // Bytes just read or written are also in memory.
    server.restart().await;
    let (blobs, away) = (server.data_dir().join("blobs"), server.data_dir().join("blobs-away"));
    std::fs::rename(&blobs, &away).unwrap();

    let path = "/cargo/api/v1/crates/steady/1.1.0/download";
    let refused = server.http.get(format!("{}{path}", server.base_url())).send().await.unwrap();
    assert_eq!(refused.status().as_u16(), 503);
    assert!(refused.headers().contains_key("retry-after"));
    let (status, index) = fetch(&server, "/cargo/index/st/ea/steady", None).await;
    assert_eq!((status, index.lines().count()), (200, 2));

    let dir = machine.program("user", "[dependencies]\nsteady = { version = \"1\", registry = \"pub\" }\n");
    machine.empty_cache();
    let seen = server.log().matches(path).count();
    let fetching = machine.cargo(&dir, "fetch");
    let recovery = async {
        let deadline = tokio::time::Instant::now() + NOTICED_WITHIN;
        while server.log().matches(path).count() == seen {
            assert!(tokio::time::Instant::now() < deadline, "cargo never asked");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let _ = std::fs::remove_dir_all(&blobs);
        std::fs::rename(&away, &blobs).unwrap();
    };
    let (said, ()) = tokio::join!(fetching, recovery);
    said.succeeds();
}

on_backends!(an_index_file_is_whole_at_every_moment, async |server: Server| {
    let user = server.new_user("ada").await;
    let machine = Machine::new(&server, "m").logged_in(&user.token);
    let path = "/cargo/index/mo/vi/moving";
    // The second one is never yanked, so there is always one to choose.
    for version in ["1.0.0", "1.1.0"] {
        assert_eq!(Upload::new("moving", version).send(&server, &user.token).await.0, 200);
    }
    let live = Mutex::new(vec!["1.0.0".to_owned(), "1.1.0".to_owned()]);
    let is_over = AtomicBool::new(false);
    let publishing = async {
        for n in 2..=12 {
            let version = format!("1.{n}.0");
            let (status, body) = Upload::new("moving", &version).send(&server, &user.token).await;
            assert_eq!(status, 200, "{body}");
            live.lock().unwrap().push(version);
        }
        is_over.store(true, Ordering::SeqCst);
    };
    let yanking = async {
        for round in 0.. {
            if is_over.load(Ordering::SeqCst) {
                break;
            }
            let url = format!("{}/cargo/api/v1/crates/moving/1.0.0", server.base_url());
            let request = match round % 2 {
                0 => server.http.delete(format!("{url}/yank")),
                _ => server.http.put(format!("{url}/unyank")),
            };
            let answer = request.header("authorization", &user.token).send().await.unwrap();
            assert_eq!(answer.status().as_u16(), 200);
        }
    };
    let reading = async || {
        while !is_over.load(Ordering::SeqCst) {
            let known = live.lock().unwrap().clone();
            let seen = versions(&server, path, None).await;
            assert!(known.iter().all(|version| seen.contains(version)), "{known:?} were answered, {seen:?} are listed");
        }
    };
    let resolving = async {
        let dir = machine.program("user", "[dependencies]\nmoving = { version = \"1\", registry = \"pub\" }\n");
        while !is_over.load(Ordering::SeqCst) {
            // A yank in the middle of it changes what it finds, never whether it finds something.
            machine.cargo(&dir, "update").await.succeeds();
        }
        machine.cargo(&dir, "update").await.succeeds();
        machine.cargo(&dir, "fetch --locked").await.succeeds();
    };
    tokio::join!(publishing, yanking, reading(), reading(), resolving);
    assert_eq!(versions(&server, path, None).await.len(), 13);
});

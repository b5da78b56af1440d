//! Storage that goes away: an answer that makes cargo try again, never a short index file.

use std::time::Duration;

use super::{Machine, fetch};
use crate::{Backend, Server};

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

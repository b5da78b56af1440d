//! Uploads that break off: by the client, by the server, on another replica.

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::{Wire, noise, sha256};
use crate::{Backend, Server, User, faults::state::eventually, on_backends};

/// Begins a request whose body is announced longer than what is sent.
async fn begin_request(server: &Server, user: &User, path: &str, announced: usize, sent: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(server.host()).await.expect("the server listens");
    let auth = STANDARD.encode(format!("{}:{}", user.name, user.token));
    let head = format!(
        "PATCH {path} HTTP/1.1\r\nhost: {}\r\nauthorization: Basic {auth}\r\ncontent-length: {announced}\r\n\r\n",
        server.host()
    );
    stream.write_all(head.as_bytes()).await.expect("the server reads");
    stream.write_all(sent).await.expect("the server reads");
    stream
}

/// Bytes that a session has.
async fn stands_at(wire: &Wire, path: &str) -> usize {
    let status = wire.get(path).await.is(204);
    let range = status.header("range").strip_prefix("0-").expect("from the start").to_owned();
    match range.parse::<usize>().expect("a number") {
        0 => 0,
        last => last + 1,
    }
}

const WHOLE: usize = 60 << 20;
/// More than what a checkpoint waits for.
const CUT: usize = 20 << 20;
const SOON: Duration = Duration::from_secs(30);

on_backends!(a_broken_upload_goes_on_where_it_stopped, async |mut server: Server| {
    let user = server.new_user("ada").await;
    let wire = Wire::of(&server, &user);
    let bytes = noise(WHOLE, 20);
    let path = wire.begin("acme/app").await;

    // The client goes away in the middle: what came is kept, to the byte.
    let stream = begin_request(&server, &user, &path, WHOLE, &bytes[..CUT]).await;
    drop(stream);
    eventually("the first part is kept", SOON, async || stands_at(&wire, &path).await == CUT).await;
    // While one writes nobody else may: two bodies never mix.
    let other = wire.begin("acme/app").await;
    let busy = loop {
        let busy = begin_request(&server, &user, &other, 100, b"").await;
        tokio::time::sleep(Duration::from_millis(200)).await;
        // A probe that was faster ends the other request instead.
        if wire.patch(&other, &[], "x").await.status == 416 {
            break busy;
        }
    };
    wire.delete(&other).await.refuses(416, "BLOB_UPLOAD_INVALID");
    drop(busy);
    eventually("it is gone", SOON, async || wire.patch(&other, &[], "x").await.status == 202).await;

    // The server goes away in the middle of the next part.
    let from = stands_at(&wire, &path).await;
    let mut stream = begin_request(&server, &user, &path, WHOLE - from, &bytes[from..from + CUT]).await;
    eventually("some of it is durable", SOON, async || stands_at(&wire, &path).await > from).await;
    server.kill().await;
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest).await;
    server.restart().await;
    let wire = Wire::of(&server, &user);
    let kept = stands_at(&wire, &path).await;
    assert!(kept > from && kept <= from + CUT, "{from} {kept}");
    // The claim of the dead process runs out; then the rest is taken.
    let wrong = [("content-range", "0-0")];
    assert_eq!(wire.patch(&path, &wrong, "x").await.status, 416);
    let next = format!("{kept}-{kept}");
    eventually("the dead writer's claim has ended", SOON, async || {
        let answer = wire.patch(&path, &[("content-range", &next)], bytes[kept..=kept].to_vec()).await;
        assert!(matches!(answer.status, 202 | 416), "{answer:?}");
        answer.status == 202
    })
    .await;
    let rest = format!("{}-{}", kept + 1, WHOLE - 1);
    wire.patch(&path, &[("content-range", &rest)], bytes[kept + 1..].to_vec()).await.is(202);
    let digest = sha256(&bytes);
    wire.put(&format!("{path}?digest={digest}"), &[], "").await.is(201);
    assert!(wire.get(&format!("/v2/acme/app/blobs/{digest}")).await.is(200).body == bytes, "what was sent is read");
});

on_backends!(an_end_that_was_lost_in_a_crash_may_be_asked_for_again, async |mut server: Server| {
    server.restart_with(&[("debug.fault_injection", "true")]).await;
    let user = server.new_user("ada").await;
    let bytes = noise(300_000, 22);
    let digest = sha256(&bytes);
    let path = Wire::of(&server, &user).begin("acme/app").await;
    // The bytes have their final place, and no row knows.
    server.restart_with(&[("debug.crash_at", "upload_promoted")]).await;
    let wire = Wire::of(&server, &user);
    wire.patch(&path, &[], bytes.clone()).await.is(202);
    let end = format!("{path}?digest={digest}");
    assert!(wire.request(reqwest::Method::PUT, &end).send().await.is_err(), "the server ends in the middle");
    server.ended(SOON).await;
    server.restart_with(&[("debug.crash_at", "")]).await;
    let wire = Wire::of(&server, &user);
    eventually("the dead writer's claim has ended", SOON, async || {
        let answer = wire.put(&end, &[], "").await;
        assert!(matches!(answer.status, 201 | 416), "{answer:?}");
        answer.status == 201
    })
    .await;
    assert!(wire.get(&format!("/v2/acme/app/blobs/{digest}")).await.is(200).body == bytes);
});

/// Chunks of one upload go to two replicas in turn.
#[tokio::test(flavor = "multi_thread")]
async fn any_replica_takes_the_next_chunk() {
    let Some(backend) = Backend::external().await else {
        eprintln!("no external services in this run (make test starts them)");
        return;
    };
    crate::bounded(async {
        let one = Server::start(backend.clone()).await;
        let two = one.replica(backend).await;
        let user = one.new_user("ada").await;
        let wires = [Wire::of(&one, &user), Wire::of(&two, &user)];
        let bytes = noise(13_000_001, 21);
        let path = wires[0].begin("acme/app").await;
        for (n, piece) in bytes.chunks(1_500_000).enumerate() {
            wires[n % 2].patch(&path, &[], piece.to_vec()).await.is(202);
        }
        let digest = sha256(&bytes);
        wires[1].put(&format!("{path}?digest={digest}"), &[], "").await.is(201);
        for wire in &wires {
            assert!(wire.get(&format!("/v2/acme/app/blobs/{digest}")).await.is(200).body == bytes);
        }
    })
    .await;
}

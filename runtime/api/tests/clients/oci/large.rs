//! A large layer: memory stays flat. What a layer of 5 GiB takes is measured by `make bench-images`.

use bytes::Bytes;
use futures::StreamExt;
use sha2::{Digest as _, Sha256};

use super::{Wire, noise, sha256};
use crate::{Server, on_backends};

const MIB: usize = 1 << 20;
/// Several times what the server may grow by, and little enough for disks that other tests use meanwhile.
const LARGE_MIB: usize = 320;
/// What "Done means" allows the server to grow by.
const MAY_GROW_KIB: u64 = 64 << 10;

/// A line of `/proc/PID/status`, in KiB.
fn kib(pid: u32, line: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("the server runs");
    let line = status.lines().find(|text| text.starts_with(line)).expect("a line of that name");
    line.split_whitespace().nth(1).and_then(|number| number.parse().ok()).expect("a number")
}

/// The pieces of a layer, never all in memory at once; each differs.
fn piece(n: usize, block: &Bytes) -> Bytes {
    let mut piece = block.to_vec();
    piece[..8].copy_from_slice(&(n as u64).to_le_bytes());
    piece.into()
}

on_backends!(a_large_layer_goes_through_without_being_held, async |server: Server| {
    let user = server.new_user("ada").await;
    let wire = Wire::of(&server, &user);
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let block = Bytes::from(noise(MIB, 60));
    // Something small first, so that what every server needs once is there.
    wire.image("acme/small", "1", &[&noise(100_000, 61)]).await;
    let mut hash = Sha256::new();
    (0..LARGE_MIB).for_each(|n| hash.update(piece(n, &block)));
    let digest = format!("sha256:{}", hex::encode(hash.finalize()));

    std::fs::write(format!("/proc/{}/clear_refs", server.pid()), "5").expect("the server is ours");
    let before = kib(server.pid(), "VmRSS:");
    let path = wire.begin("acme/large").await;
    let pieces = block.clone();
    let body = futures::stream::iter(0..LARGE_MIB).map(move |n| Ok::<_, std::io::Error>(piece(n, &pieces)));
    let url = format!("{}{path}?digest={digest}", server.base_url());
    let put = http.put(url).basic_auth(&user.name, Some(&user.token)).body(reqwest::Body::wrap_stream(body));
    assert_eq!(put.send().await.unwrap().status().as_u16(), 201);
    let head = wire.head(&format!("/v2/acme/large/blobs/{digest}")).await.is(200);
    assert_eq!(head.header("content-length"), (LARGE_MIB * MIB).to_string());

    // Read back, broken off in the middle and gone on with.
    let read = async |range: String| {
        let url = format!("{}/v2/acme/large/blobs/{digest}", server.base_url());
        let get = http.get(url).basic_auth(&user.name, Some(&user.token)).header("range", range);
        get.send().await.unwrap().bytes_stream()
    };
    let (mut hash, mut got) = (Sha256::new(), 0);
    let mut first = read("bytes=0-".to_owned()).await;
    while got < LARGE_MIB * MIB / 3 {
        let chunk = first.next().await.unwrap().unwrap();
        got += chunk.len();
        hash.update(chunk);
    }
    drop(first);
    let mut rest = read(format!("bytes={got}-")).await;
    while let Some(chunk) = rest.next().await {
        hash.update(chunk.unwrap());
    }
    assert_eq!(format!("sha256:{}", hex::encode(hash.finalize())), digest);
    let grown = kib(server.pid(), "VmHWM:").saturating_sub(before);
    assert!(grown < MAY_GROW_KIB, "the server grew by {grown} KiB");
});

on_backends!(one_layer_pushed_five_times_at_once_is_kept_once, async |server: Server| {
    let user = server.new_user("ada").await;
    let wire = Wire::of(&server, &user);
    let bytes = Bytes::from(noise(24 * MIB, 62));
    let digest = sha256(&bytes);
    let pushes = (0..5).map(|n| {
        let (wire, bytes, digest) = (wire.clone(), bytes.clone(), digest.clone());
        async move {
            let path = wire.begin(&format!("acme/p{n}")).await;
            wire.put(&format!("{path}?digest={digest}"), &[], bytes).await.is(201);
            wire.image(&format!("acme/p{n}"), "1", &[]).await;
        }
    });
    futures::future::join_all(pushes).await;
    for n in 0..5 {
        assert!(wire.get(&format!("/v2/acme/p{n}/blobs/{digest}")).await.is(200).body == bytes);
    }
    let db = server.database().await;
    // The layer, one config and one manifest, whatever the number of repositories.
    assert_eq!(db.count_rows("blobs").await.unwrap(), 3);
    server.run(&["gc", "--grace", "0s", "--json"]).await;
    let doctor = server.run(&["doctor", "--json"]).await;
    let check = doctor["checks"].as_array().unwrap().iter().find(|check| check["name"] == "blobs").unwrap();
    assert!(check["text"].as_str().unwrap().starts_with("3 blobs"), "{check}");
});

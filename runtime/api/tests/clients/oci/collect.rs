//! The collector beside pushes, mounts and deletes: what was answered stays, what nobody needs goes.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::Duration,
};

use super::{Wire, layer, noise, sha256, wire};
use crate::{Backend, Server, on_backends};

const HOUR_MICROS: i64 = 3_600_000_000;

/// Makes every link and blob look untouched for an hour: nobody waits for that in a test.
pub(super) async fn grow_old(server: &Server) {
    let db = server.database().await;
    for (table, column) in [("oci_blobs", "touched_at"), ("blobs", "created_at")] {
        db.execute_raw(&format!("UPDATE {table} SET {column} = {column} - {HOUR_MICROS}")).await.unwrap();
    }
    db.close().await;
}

/// Blobs that the store has, as `doctor` counts them.
pub(super) async fn blobs(server: &Server) -> usize {
    let doctor = server.run(&["doctor", "--json"]).await;
    let check = doctor["checks"].as_array().unwrap().iter().find(|check| check["name"] == "blobs").unwrap().clone();
    let text = check["text"].as_str().unwrap().to_owned();
    text.split(' ').next().and_then(|count| count.parse().ok()).unwrap_or_else(|| panic!("{text}"))
}

on_backends!(deleted_images_go_and_shared_layers_stay, async |server: Server| {
    let user = server.new_user("ada").await;
    let ada = Wire::of(&server, &user);
    let (shared, own) = (layer(&[("base", &noise(9000, 50))]), layer(&[("own", &noise(9000, 51))]));
    let gone = ada.image("acme/gone", "1", &[&shared, &own]).await;
    ada.image("acme/kept", "1", &[&shared]).await;
    ada.blob("acme/gone", &noise(100, 52)).await;
    let open = ada.begin("acme/gone").await;
    ada.patch(&open, &[], noise(500, 53)).await.is(202);
    // Two manifests, two configs, two layers, one blob that nothing needs yet.
    assert_eq!(blobs(&server).await, 7);
    server.run(&["gc", "--grace", "0s", "--json"]).await;
    assert_eq!(blobs(&server).await, 7, "everything was touched a moment ago");
    ada.delete(&format!("/v2/acme/gone/manifests/{gone}")).await.is(202);
    server.run(&["gc", "--grace", "0s", "--json"]).await;
    let early = blobs(&server).await;
    assert!((6..=7).contains(&early), "layers stay for ten minutes, whatever grace: {early}");

    grow_old(&server).await;
    server.run(&["gc", "--grace", "0s", "--json"]).await;
    assert_eq!(blobs(&server).await, 3, "what acme/kept needs");
    ada.get("/v2/acme/kept/manifests/1").await.is(200);
    assert!(ada.get(&format!("/v2/acme/kept/blobs/{}", sha256(&shared))).await.is(200).body == shared);
    for bytes in [&shared, &own] {
        ada.head(&format!("/v2/acme/gone/blobs/{}", sha256(bytes))).await.is(404);
        ada.post(&format!("/v2/acme/gone/blobs/uploads/?from=acme/gone&mount={}", sha256(bytes))).await;
    }
    // A session is not a blob: it has a day.
    ada.patch(&open, &[], noise(500, 54)).await.is(202);
    // What went may come again.
    assert_eq!(ada.image("acme/gone", "1", &[&shared, &own]).await, gone);
    assert!(ada.get(&format!("/v2/acme/gone/blobs/{}", sha256(&own))).await.is(200).body == own);
});

on_backends!(a_publishers_look_keeps_a_blob, async |server: Server| {
    let user = server.new_user("ada").await;
    let ada = Wire::of(&server, &user);
    ada.image("acme/app", "1", &[b"first"]).await;
    let digest = ada.blob("acme/app", b"waiting").await;
    grow_old(&server).await;
    // The client hears that it is here, and will not send it again.
    ada.head(&format!("/v2/acme/app/blobs/{digest}")).await.is(200);
    server.run(&["gc", "--grace", "0s", "--json"]).await;
    ada.image("acme/app", "2", &[b"waiting"]).await;
    grow_old(&server).await;
    server.run(&["gc", "--grace", "0s", "--json"]).await;
    assert_eq!(ada.get(&format!("/v2/acme/app/blobs/{digest}")).await.is(200).body, b"waiting");
});

/// How much a soak pushes.
#[derive(Clone, Copy)]
struct Load {
    rounds: u64,
    pushers: u64,
    /// Of each pusher in each round.
    images: u64,
}

const SHORT: Load = Load { rounds: 5, pushers: 6, images: 3 };
/// As "Done means" asks for: 8 × 1000.
const LONG: Load = Load { rounds: 25, pushers: 8, images: 40 };

/// Pushers of images that share layers, deletes, a collector without grace in a loop, some of whose runs are
/// killed. Before each round everything is old: only what this round's pushes were told is here is theirs.
async fn soak(servers: &[Arc<Server>], load: Load) {
    let user = servers[0].new_user("ada").await;
    let mut kept = Vec::new();
    for round in 0..load.rounds {
        grow_old(&servers[0]).await;
        let is_over = Arc::new(AtomicBool::new(false));
        let collecting = tokio::spawn({
            let (server, is_over) = (servers[0].clone(), is_over.clone());
            async move {
                let mut runs = 0;
                while !is_over.load(SeqCst) {
                    let killed_after = Duration::from_millis(30 + 35 * ((runs + 7 * round) % 50));
                    server.run_briefly(&["gc", "--grace", "0s", "--json"], killed_after).await;
                    server.run(&["gc", "--grace", "0s", "--json"]).await;
                    runs += 1;
                }
            }
        });
        let pushing: Vec<_> = (0..load.pushers)
            .map(|pusher| {
                let server = servers[pusher as usize % servers.len()].clone();
                tokio::spawn(push_images(Wire::of(&server, &user), round, pusher, load.images))
            })
            .collect();
        for pusher in pushing {
            kept.extend(pusher.await.unwrap());
        }
        is_over.store(true, SeqCst);
        collecting.await.unwrap();
    }
    grow_old(&servers[0]).await;
    servers[0].run(&["gc", "--grace", "0s", "--json"]).await;
    let wire = Wire::of(&servers[servers.len() - 1], &user);
    for (name, tag, digest) in kept {
        let manifest = wire.get(&format!("/v2/{name}/manifests/{tag}")).await.is(200);
        assert_eq!(manifest.header("docker-content-digest"), digest, "{name}:{tag}");
        let manifest = manifest.json();
        for part in manifest["layers"].as_array().unwrap().iter().chain([&manifest["config"]]) {
            let blob = part["digest"].as_str().unwrap();
            let bytes = wire.get(&format!("/v2/{name}/blobs/{blob}")).await.is(200).body;
            assert_eq!(sha256(&bytes), blob, "{name}:{tag}");
        }
    }
}

/// Pushes and deletes of one pusher in one round; what stays: name, tag, digest.
async fn push_images(ada: Wire, round: u64, pusher: u64, images: u64) -> Vec<(String, String, String)> {
    let name = format!("acme/p{}", pusher / 2);
    let mut kept = Vec::new();
    for n in 0..images {
        // Layers come back again and again, in other images and other repositories.
        let shared = [noise(3000, (n + round) % 5), noise(3000, 10 + (n + pusher) % 3)];
        let own = noise(500, 1_000_000 + round * 10_000 + pusher * 100 + n);
        let tag = format!("{round}-{pusher}-{n}");
        let digest = push(&ada, &name, &tag, &[&shared[0], &shared[1], &own]).await;
        if n % 3 == 1 {
            ada.delete(&format!("/v2/{name}/manifests/{digest}")).await.is(202);
        } else {
            kept.push((name.clone(), tag, digest));
        }
    }
    kept
}

/// As clients do: a layer that is there already is not sent again.
async fn push(ada: &Wire, name: &str, tag: &str, layers: &[&[u8]]) -> String {
    for bytes in layers {
        let digest = sha256(bytes);
        if ada.head(&format!("/v2/{name}/blobs/{digest}")).await.status == 200 {
            continue;
        }
        let mount = ada.post(&format!("/v2/{name}/blobs/uploads/?mount={digest}")).await;
        if mount.status == 201 {
            continue;
        }
        let path = mount.is(202).header("location").to_owned();
        ada.put(&format!("{path}?digest={digest}"), &[], bytes.to_vec()).await.is(201);
    }
    let config = format!("{{\"of\":\"{name}:{tag}\"}}");
    let config_digest = ada.blob(name, config.as_bytes()).await;
    let layers: Vec<_> = layers
        .iter()
        .map(|bytes| serde_json::json!({ "mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": sha256(bytes), "size": bytes.len() }))
        .collect();
    let manifest = serde_json::json!({
        "schemaVersion": 2, "mediaType": wire::IMAGE, "layers": layers,
        "config": { "mediaType": "application/vnd.oci.image.config.v1+json", "digest": config_digest, "size": config.len() },
    });
    // Never refused for a layer that was there a moment ago.
    ada.manifest(name, tag, &manifest).await.is(201).header("docker-content-digest").to_owned()
}

on_backends!(a_collector_without_grace_takes_nothing_that_a_push_relies_on, async |server: Server| {
    soak(&[Arc::new(server)], SHORT).await;
});

#[tokio::test(flavor = "multi_thread")]
async fn two_replicas_and_a_collector_agree() {
    let Some(backend) = Backend::external().await else {
        eprintln!("no external services in this run (make test starts them)");
        return;
    };
    crate::bounded(async {
        let one = Server::start(backend.clone()).await;
        let two = one.replica(backend).await;
        soak(&[Arc::new(one), Arc::new(two)], SHORT).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "8000 images: most of an hour"]
async fn eight_pushers_and_a_thousand_images_each() {
    let backend = Backend::external().await.expect("external services (benches/services/with-services.sh)");
    let one = Server::start(backend.clone()).await;
    let two = one.replica(backend).await;
    soak(&[Arc::new(one), Arc::new(two)], LONG).await;
}

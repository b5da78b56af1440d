//! Manifests that are not live: blocked for what is in them, or waiting for their scans.

use std::time::Duration;

use super::{Desk, Wire, eicar, layer, noise, sha256, wire};
use crate::{Server, faults::state::eventually, on_backends};

const JUDGED_WITHIN: Duration = Duration::from_secs(60);

on_backends!(a_blocked_image_is_nowhere_and_does_not_block_its_fix, async |server: Server| {
    let user = server.new_user("ada").await;
    let (ada, desk) = (Wire::of(&server, &user), Desk::of(&server, &user));
    let good = ada.image("acme/app", "1", &[&layer(&[("a", b"good")])]).await;
    let bad_layer = layer(&[("a", b"good"), ("usr/evil", &eicar())]);
    let bad = ada.prepare("acme/app", &[&bad_layer]).await;
    let bad_digest = wire::digest_of(&bad);
    for _ in 0..2 {
        let refused = ada.manifest("acme/app", "1", &bad).await.refuses(403, "DENIED");
        let message = refused.json()["errors"][0]["message"].as_str().unwrap().to_owned();
        assert!(message.contains("EICAR"), "{message}");
    }
    for reference in [&bad_digest] {
        ada.get(&format!("/v2/acme/app/manifests/{reference}")).await.refuses(404, "MANIFEST_UNKNOWN");
        ada.head(&format!("/v2/acme/app/manifests/{reference}")).await.is(404);
    }
    // Its layer is its publishers' to see, and nobody's to take.
    let blob = format!("/v2/acme/app/blobs/{}", sha256(&bad_layer));
    ada.head(&blob).await.is(200);
    ada.get(&blob).await.is(404);
    Wire::anonymous(&server).get(&blob).await.is(401);
    assert_eq!(ada.get("/v2/acme/app/manifests/1").await.is(200).header("docker-content-digest"), good);
    // An index of it is blocked as well, whatever else is in it.
    let good_manifest = ada.get(&format!("/v2/acme/app/manifests/{good}")).await.json();
    let refused = ada.manifest("acme/app", "multi", &wire::index(&[&good_manifest, &bad])).await;
    refused.refuses(403, "DENIED");
    ada.get("/v2/acme/app/manifests/multi").await.refuses(404, "MANIFEST_UNKNOWN");
    // The same content elsewhere meets the same verdict.
    let again = ada.prepare("acme/other", &[&bad_layer]).await;
    ada.manifest("acme/other", "1", &again).await.refuses(403, "DENIED");
    assert_eq!(ada.get("/v2/acme/other/tags/list").await.is(200).json()["tags"], serde_json::json!([]));
    assert_eq!(ada.get("/v2/_catalog").await.json()["repositories"], serde_json::json!(["acme/app"]));
    // A fixed image takes the tag.
    desk.file("fixed.tar", &layer(&[("a", b"fixed")]));
    desk.crane("append -f fixed.tar -t HOST/acme/app:1").await.succeeds();
    desk.crane("append -f fixed.tar -t HOST/acme/other:1").await.succeeds();
    assert_ne!(ada.get("/v2/acme/app/manifests/1").await.is(200).header("docker-content-digest"), good);
});

on_backends!(a_held_image_becomes_pullable_when_it_is_judged, async |mut server: Server| {
    server.restart_with(&[("publish.wait_seconds", "1")]).await;
    let user = server.new_user("ada").await;
    let (ada, desk) = (Wire::of(&server, &user), Desk::of(&server, &user));
    ada.image("acme/app", "1", &[b"before"]).await;
    let scanners = server.pause_scanners();
    let first = ada.prepare("acme/app", &[&noise(9000, 40)]).await;
    let second = ada.prepare("acme/app", &[&noise(9000, 41)]).await;
    for (tag, manifest) in [("1", &first), ("new", &first), ("1", &second)] {
        let held = ada.manifest("acme/app", tag, manifest).await.is(201);
        assert!(held.header("warning").contains("held for scanning"), "{held:?}");
    }
    let index = wire::index(&[&first, &second]);
    assert!(ada.manifest("acme/app", "multi", &index).await.is(201).header("warning").contains("held"));
    // Until then nobody sees them, and the tag leads where it did.
    for reference in ["new", "multi", &wire::digest_of(&first), &wire::digest_of(&index)] {
        ada.get(&format!("/v2/acme/app/manifests/{reference}")).await.refuses(404, "MANIFEST_UNKNOWN");
    }
    assert_eq!(ada.get("/v2/acme/app/tags/list").await.json()["tags"], serde_json::json!(["1"]));
    ada.image("acme/app", "1", &[b"before"]).await;
    ada.manifest("acme/app", "1", &second).await.is(201);
    drop(scanners);
    eventually("the index is live", JUDGED_WITHIN, async || {
        ada.get("/v2/acme/app/manifests/multi").await.status == 200
    })
    .await;
    // The request that came last has the tag, whichever scan ended last.
    let tagged = async |tag: &str| {
        ada.get(&format!("/v2/acme/app/manifests/{tag}")).await.is(200).header("docker-content-digest").to_owned()
    };
    assert_eq!(tagged("1").await, wire::digest_of(&second));
    assert_eq!(tagged("new").await, wire::digest_of(&first));
    desk.skopeo("copy --all --src-tls-verify=false docker://HOST/acme/app:multi dir:multi").await.succeeds();
});

/// As many as "Done means" asks for.
const ROUNDS: u64 = 200;

on_backends!(what_was_pushed_can_be_pulled_at_once, async |server: Server| {
    let user = server.new_user("ada").await;
    let (ada, nobody) = (Wire::of(&server, &user), Wire::anonymous(&server));
    let pushing = (0..4).map(|pusher| {
        let (ada, nobody) = (ada.clone(), nobody.clone());
        async move {
            for round in 0..ROUNDS / 4 {
                let name = format!("acme/p{pusher}");
                let digest = ada.image(&name, "latest", &[&noise(2000, 1000 * pusher + round)]).await;
                let pulled = nobody.get(&format!("/v2/{name}/manifests/latest")).await.is(200);
                assert_eq!(pulled.header("docker-content-digest"), digest, "{name} {round}");
                let config = pulled.json()["config"]["digest"].as_str().unwrap().to_owned();
                nobody.get(&format!("/v2/{name}/blobs/{config}")).await.is(200);
            }
        }
    });
    futures::future::join_all(pushing).await;
    // One digest pushed many times at once, under many tags: one release.
    let manifest = ada.prepare("acme/same", &[b"same"]).await;
    let pushes = (0..12).map(|n| {
        let (ada, manifest) = (ada.clone(), manifest.clone());
        async move { ada.manifest("acme/same", &format!("t{}", n % 6), &manifest).await.is(201) }
    });
    futures::future::join_all(pushes).await;
    assert_eq!(ada.get("/v2/acme/same/tags/list").await.json()["tags"].as_array().unwrap().len(), 6);
    // The request that came last has the tag.
    let mut last = String::new();
    for n in 0..6 {
        last = ada.image("acme/same", "t0", &[format!("content {n}").as_bytes()]).await;
    }
    assert_eq!(ada.get("/v2/acme/same/manifests/t0").await.is(200).header("docker-content-digest"), last);
});

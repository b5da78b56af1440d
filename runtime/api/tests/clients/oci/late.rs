//! Content that is not there when its manifest goes live: it is judged before anybody gets it.

use std::time::Duration;

use serde_json::json;

use super::{Wire, eicar, layer, sha256, wire};
use crate::{Server, faults::state::eventually, on_backends};

const SCANNED_WITHIN: Duration = Duration::from_secs(60);

/// A layer that a registry need not have.
fn foreign(bytes: &[u8]) -> serde_json::Value {
    json!({
        "mediaType": "application/vnd.oci.image.layer.nondistributable.v1.tar",
        "digest": sha256(bytes), "size": bytes.len(),
    })
}

on_backends!(content_that_comes_after_its_manifest_is_judged_before_it_is_served, async |server: Server| {
    let user = server.new_user("ada").await;
    let (ada, nobody) = (Wire::of(&server, &user), Wire::anonymous(&server));
    let (good, bad) = (layer(&[("late", b"good")]), layer(&[("usr/evil", &eicar())]));
    let blob = |name: &str, bytes: &[u8]| format!("/v2/{name}/blobs/{}", sha256(bytes));
    let names = ["acme/sent", "acme/mounted", "acme/sparse"];
    for name in names {
        let mut manifest = ada.prepare(name, &[b"own"]).await;
        if name == "acme/sparse" {
            ada.manifest(name, "first", &manifest).await.is(201);
            let path = format!("/v1/packages/oci/{}", name.replace('/', "%2F"));
            let body = json!({ "allow_missing_references": true }).to_string();
            let json_body = [("content-type", "application/json")];
            Wire::with_bearer(&server, &user.token).patch(&path, &json_body, body).await.is(200);
        }
        for bytes in [&good, &bad] {
            let mut late = foreign(bytes);
            if name == "acme/sparse" {
                late["mediaType"] = json!("application/vnd.oci.image.layer.v1.tar");
            }
            manifest["layers"].as_array_mut().unwrap().push(late);
        }
        let pushed = ada.manifest(name, "1", &manifest).await.is(201);
        assert_eq!(pushed.try_header("warning").filter(|text| text.contains("held")), None, "{name}");
    }
    for bytes in [&bad, &good] {
        for name in ["acme/sent", "acme/sparse"] {
            ada.blob(name, bytes).await;
        }
        let mount = format!("/v2/acme/mounted/blobs/uploads/?mount={}&from=acme/sent", sha256(bytes));
        ada.post(&mount).await.is(201);
    }
    // The scan of the good one ends some time; that of the bad one began before.
    for name in names {
        eventually("a good layer is served", SCANNED_WITHIN, async || {
            nobody.get(&blob(name, &bad)).await.is(401);
            nobody.get(&blob(name, &good)).await.status == 200
        })
        .await;
    }
    ada.blob("acme/judged", &bad).await;
    let judged = ada.prepare("acme/judged", &[&bad]).await;
    ada.manifest("acme/judged", "1", &judged).await.refuses(403, "DENIED");
    for name in names {
        nobody.get(&blob(name, &bad)).await.is(401);
        nobody.head(&blob(name, &bad)).await.is(401);
        ada.get(&blob(name, &bad)).await.refuses(404, "BLOB_UNKNOWN");
        // Its publisher may learn that it is here.
        ada.head(&blob(name, &bad)).await.is(200);
    }
    // Nor does another repository get it from there as something that readers see.
    let stranger = server.new_user("eve").await;
    let eve = Wire::of(&server, &stranger);
    for from in ["&from=acme/sent", ""] {
        eve.post(&format!("/v2/eve/app/blobs/uploads/?mount={}{from}", sha256(&bad))).await.is(202);
    }
});

on_backends!(a_damaged_blob_is_mended_by_pushing_it_again, async |server: Server| {
    let user = server.new_user("ada").await;
    let (ada, nobody) = (Wire::of(&server, &user), Wire::anonymous(&server));
    let bytes = layer(&[("a", b"to be lost")]);
    let image = ada.image("acme/app", "1", &[&bytes]).await;
    let path = format!("/v2/acme/app/blobs/{}", sha256(&bytes));
    nobody.get(&path).await.is(200);
    // As the verifier would say of them; where that is easy, they are gone indeed.
    let db = server.database().await;
    for digest in [sha256(&bytes), image.clone()] {
        let hex = digest.strip_prefix("sha256:").unwrap();
        db.execute_raw(&format!("UPDATE blobs SET state = 'missing', state_at = 1 WHERE digest LIKE '%{hex}'"))
            .await
            .unwrap();
        if server.is_embedded() {
            let shard = server.data_dir().join("blobs/sha256").join(&hex[..2]);
            for file in std::fs::read_dir(shard).unwrap().map(Result::unwrap) {
                if file.file_name().to_string_lossy().starts_with(&hex[2..]) {
                    std::fs::remove_file(file.path()).unwrap();
                }
            }
        }
    }
    ada.head(&path).await.is(404);
    for name in ["acme/app", "acme/other"] {
        ada.post(&format!("/v2/{name}/blobs/uploads/?mount={}&from=acme/app", sha256(&bytes))).await.is(202);
    }
    // Whoever relies on it is told; whoever sends it, and its manifest, makes both whole.
    let mut other = ada.prepare("acme/app", &[b"else"]).await;
    let whole = other.clone();
    other["layers"] = json!([{
        "mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": sha256(&bytes), "size": bytes.len(),
    }]);
    ada.manifest("acme/app", "2", &other).await.refuses(400, "MANIFEST_BLOB_UNKNOWN");
    ada.manifest("acme/app", "2", &whole).await.is(201);
    assert_eq!(ada.image("acme/app", "1", &[&bytes]).await, image);
    ada.head(&path).await.is(200);
    for wire in [&ada, &nobody] {
        assert!(wire.get(&path).await.is(200).body == bytes);
        assert_eq!(sha256(&wire.get("/v2/acme/app/manifests/1").await.is(200).body), image);
    }
});

on_backends!(a_scan_that_could_not_be_made_is_made_by_pushing_again, async |server: Server| {
    let user = server.new_user("ada").await;
    let ada = Wire::of(&server, &user);
    let bytes = layer(&[("a", b"unlucky")]);
    let manifest = ada.prepare("acme/app", &[&bytes]).await;
    ada.manifest("acme/app", "1", &manifest).await.is(201);
    // What a long outage of the scanners leaves behind.
    let db = server.database().await;
    for sql in [
        "DELETE FROM content_scans",
        "UPDATE artifacts SET scanned_with = NULL",
        "UPDATE releases SET status = 'quarantine', scans_done = 0",
        "UPDATE jobs SET state = 'dead' WHERE kind = 'scan_artifact'",
    ] {
        db.execute_raw(sql).await.unwrap();
    }
    let again = ada.manifest("acme/app", "1", &manifest).await.is(201);
    assert_eq!(again.try_header("warning"), None, "scanned and live");
    ada.get("/v2/acme/app/manifests/1").await.is(200);
});

on_backends!(a_blocked_index_needs_its_manifests_to_be_judged_again, async |server: Server| {
    let user = server.new_user("ada").await;
    let ada = Wire::of(&server, &user);
    let good = ada.prepare("acme/app", &[b"good"]).await;
    ada.manifest("acme/app", "good", &good).await.is(201);
    let bad = ada.prepare("acme/app", &[&layer(&[("usr/evil", &eicar())])]).await;
    ada.manifest("acme/app", "bad", &bad).await.refuses(403, "DENIED");
    let index = wire::index(&[&good, &bad]);
    ada.manifest("acme/app", "multi", &index).await.refuses(403, "DENIED");
    ada.delete(&format!("/v2/acme/app/manifests/{}", wire::digest_of(&bad))).await.is(202);
    // It is not blocked any more, but half of it is not here.
    let refused = ada.manifest("acme/app", "multi", &index).await.refuses(400, "MANIFEST_BLOB_UNKNOWN");
    assert_eq!(refused.json()["errors"][0]["detail"]["digest"], wire::digest_of(&bad));
    ada.get("/v2/acme/app/manifests/multi").await.refuses(404, "MANIFEST_UNKNOWN");
});

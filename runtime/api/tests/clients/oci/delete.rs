//! Deletes: tags, manifests, blobs, and what has to stay.

use super::{Wire, layer, noise, sha256, wire};
use crate::{Server, on_backends};

on_backends!(deletes_take_what_nothing_needs, async |server: Server| {
    let (user, stranger) = (server.new_user("ada").await, server.new_user("eve").await);
    let (ada, eve) = (Wire::of(&server, &user), Wire::of(&server, &stranger));
    let content = layer(&[("a", b"content")]);
    let manifest = |reference: &str| format!("/v2/acme/app/manifests/{reference}");
    let digest = ada.image("acme/app", "1", &[&content]).await;
    ada.image("acme/app", "2", &[&content]).await;

    ada.delete(&manifest("1")).await.is(202);
    ada.get(&manifest("1")).await.refuses(404, "MANIFEST_UNKNOWN");
    ada.get(&manifest(&digest)).await.is(200);
    ada.delete(&manifest("1")).await.refuses(404, "MANIFEST_UNKNOWN");
    ada.delete(&manifest(".bad")).await.refuses(404, "MANIFEST_UNKNOWN");
    ada.delete(&manifest(&sha256(b"no"))).await.refuses(404, "MANIFEST_UNKNOWN");
    ada.delete("/v2/acme/none/manifests/1").await.is(404);

    let blob = format!("/v2/acme/app/blobs/{}", sha256(&content));
    ada.delete(&blob).await.refuses(405, "UNSUPPORTED");
    eve.delete(&manifest("2")).await.refuses(403, "DENIED");
    eve.delete(&blob).await.refuses(403, "DENIED");
    Wire::anonymous(&server).delete(&blob).await.refuses(401, "UNAUTHORIZED");
    // A child of a live index stays as long as that.
    let child: serde_json::Value = ada.get(&manifest(&digest)).await.json();
    let index = wire::index(&[&child]);
    ada.manifest("acme/app", "multi", &index).await.is(201);
    let refused = ada.delete(&manifest(&digest)).await.refuses(405, "UNSUPPORTED");
    let message = refused.json()["errors"][0]["message"].as_str().unwrap().to_owned();
    assert!(message.contains(&wire::digest_of(&index)), "{message}");
    ada.delete(&manifest(&wire::digest_of(&index))).await.is(202);
    ada.get(&manifest("multi")).await.refuses(404, "MANIFEST_UNKNOWN");
    let gone = ada.delete(&manifest(&digest)).await.is(202);
    assert_eq!(gone.header("docker-content-digest"), digest);
    for reference in ["2", digest.as_str()] {
        ada.get(&manifest(reference)).await.refuses(404, "MANIFEST_UNKNOWN");
        ada.head(&manifest(reference)).await.is(404);
    }
    assert_eq!(ada.get("/v2/acme/app/tags/list").await.is(200).json()["tags"], serde_json::json!([]));
    ada.delete(&blob).await.is(202);
    ada.head(&blob).await.is(404);
    ada.delete(&blob).await.refuses(404, "BLOB_UNKNOWN");
    // A manifest of it needs it sent again; then all is as before.
    ada.manifest("acme/app", "1", &child).await.refuses(400, "MANIFEST_BLOB_UNKNOWN");
    assert_eq!(ada.image("acme/app", "1", &[&content]).await, digest);
    assert!(ada.get(&blob).await.is(200).body == content);
    // Uploads may be taken back before there is a package.
    let early = format!("/v2/acme/early/blobs/{}", ada.blob("acme/early", b"early").await);
    eve.delete(&early).await.refuses(404, "BLOB_UNKNOWN");
    ada.delete(&early).await.is(202);
    ada.head(&early).await.is(404);
    assert!(!server.log().contains("\"status\":5"), "nothing failed inside");
});

on_backends!(a_release_repository_keeps_what_it_has, async |mut server: Server| {
    let user = server.new_user("ada").await;
    let ada = Wire::of(&server, &user);
    let digest = ada.image("acme/app", "1", &[b"one"]).await;
    let signature = format!("{}.sig", digest.replace(':', "-"));
    ada.image("acme/app", &signature, &[b"first signature"]).await;
    server.database().await.execute_raw("UPDATE repositories SET kind = 'release'").await.unwrap();

    let other = ada.prepare("acme/app", &[b"two"]).await;
    let refused = ada.manifest("acme/app", "1", &other).await.refuses(403, "DENIED");
    assert_eq!(refused.json()["errors"][0]["message"], "tag 1 is immutable");
    ada.image("acme/app", "1", &[b"one"]).await;
    ada.manifest("acme/app", "2", &other).await.is(201);
    // Signers rewrite their tag for every further signature.
    ada.image("acme/app", &signature, &[b"first signature", b"second signature"]).await;
    for reference in ["1", digest.as_str()] {
        ada.delete(&format!("/v2/acme/app/manifests/{reference}")).await.refuses(405, "UNSUPPORTED");
    }
    assert_eq!(ada.get("/v2/acme/app/manifests/1").await.is(200).header("docker-content-digest"), digest);
    // A tag that is promised to an image in scanning is taken as well.
    server.restart_with(&[("publish.wait_seconds", "1")]).await;
    let ada = Wire::of(&server, &user);
    let _paused = server.pause_scanners();
    let [first, second] =
        [ada.prepare("acme/app", &[&noise(9000, 61)]).await, ada.prepare("acme/app", &[&noise(9000, 62)]).await];
    ada.manifest("acme/app", "3", &first).await.is(201);
    let refused = ada.manifest("acme/app", "3", &second).await.refuses(403, "DENIED");
    assert_eq!(refused.json()["errors"][0]["message"], "tag 3 is immutable");
    ada.manifest("acme/app", "3", &first).await.is(201);
});

//! Images as the management API changes them: by the same rules as their own clients.

use reqwest::Method;
use serde_json::{Value, json};

use super::{
    Answer, Wire,
    collect::{blobs, grow_old},
    layer, noise, wire,
};
use crate::{Server, User, on_backends};

/// The management API below `acme/app`, for its owner.
struct Control(Wire);

impl Control {
    fn of(server: &Server, user: &User) -> Self {
        Self(Wire::with_bearer(server, &user.token))
    }

    async fn send(&self, method: Method, rest: &str, body: Value) -> Answer {
        let path = format!("/v1/packages/oci/acme%2Fapp/{rest}");
        self.0.send(method, &path, &[("content-type", "application/json")], body.to_string()).await
    }

    async fn refused(&self, method: Method, rest: &str, body: Value, status: u16, code: &str) {
        assert_eq!(self.send(method, rest, body).await.is(status).json()["code"], code, "{rest}");
    }

    async fn point(&self, tag: &str, digest: &str) -> Answer {
        self.send(Method::PUT, &format!("tags/{tag}"), json!({ "version": digest })).await
    }
}

on_backends!(deleted_releases_let_go_of_their_layers, async |server: Server| {
    let user = server.new_user("ada").await;
    let (ada, control) = (Wire::of(&server, &user), Control::of(&server, &user));
    let child = ada.prepare("acme/app", &[&layer(&[("own", &noise(9000, 60))])]).await;
    ada.manifest("acme/app", "1", &child).await.is(201);
    let index = wire::index(&[&child]);
    ada.manifest("acme/app", "multi", &index).await.is(201);
    // Two manifests, a config, a layer.
    assert_eq!(blobs(&server).await, 4);
    let release = |manifest: &Value| format!("releases/{}", wire::digest_of(manifest));
    control.refused(Method::DELETE, &release(&child), Value::Null, 409, "state_conflict").await;
    ada.get("/v2/acme/app/manifests/multi").await.is(200);
    for gone in [&index, &child] {
        control.send(Method::DELETE, &release(gone), Value::Null).await.is(200);
        ada.get(&format!("/v2/acme/app/manifests/{}", wire::digest_of(gone))).await.refuses(404, "MANIFEST_UNKNOWN");
    }
    grow_old(&server).await;
    // Files of deleted releases stay for as long as the grace says; layers are let go of at once.
    server.run(&["gc", "--grace", "0s", "--json"]).await;
    assert_eq!(blobs(&server).await, 0);
    // As when it was deleted by its own client, it may come again.
    ada.image("acme/app", "1", &[&layer(&[("own", &noise(9000, 60))])]).await;
});

on_backends!(tags_of_a_release_repository_are_written_once_here_too, async |server: Server| {
    let user = server.new_user("ada").await;
    let (ada, control) = (Wire::of(&server, &user), Control::of(&server, &user));
    let one = ada.image("acme/app", "1", &[b"one"]).await;
    let two = ada.image("acme/app", "2", &[b"two"]).await;
    let signature = format!("{}.sig", one.replace(':', "-"));
    ada.image("acme/app", &signature, &[b"signature"]).await;
    server.database().await.execute_raw("UPDATE repositories SET kind = 'release'").await.unwrap();

    let moved = json!({ "version": two });
    control.refused(Method::PUT, "tags/1", moved, 409, "tag_protected").await;
    control.refused(Method::DELETE, "tags/1", Value::Null, 409, "tag_protected").await;
    assert_eq!(ada.get("/v2/acme/app/manifests/1").await.is(200).header("docker-content-digest"), one);
    // What it says already, a new one, and what signers rewrite.
    for (tag, digest) in [("1", &one), ("new", &two), (signature.as_str(), &two)] {
        control.point(tag, digest).await.is(200);
        assert_eq!(ada.get(&format!("/v2/acme/app/manifests/{tag}")).await.header("docker-content-digest"), digest);
    }
    control.send(Method::DELETE, &format!("tags/{signature}"), Value::Null).await.is(200);
});

on_backends!(a_yanked_image_gets_its_tags_back, async |server: Server| {
    let user = server.new_user("ada").await;
    let (ada, control) = (Wire::of(&server, &user), Control::of(&server, &user));
    let digest = ada.image("acme/app", "1", &[b"one"]).await;
    let tags = async || ada.get("/v2/acme/app/tags/list").await.is(200).json()["tags"].clone();
    control.send(Method::PUT, &format!("releases/{digest}/yank"), json!({ "reason": "broken" })).await.is(200);
    ada.get("/v2/acme/app/manifests/1").await.refuses(404, "MANIFEST_UNKNOWN");
    assert!(ada.get(&format!("/v2/acme/app/manifests/{digest}")).await.is(200).header("warning").contains("broken"));
    assert_eq!(tags().await, json!([]));
    control.send(Method::PUT, &format!("releases/{digest}/unyank"), json!({})).await.is(200);
    assert_eq!(ada.get("/v2/acme/app/manifests/1").await.is(200).header("docker-content-digest"), digest);
    assert_eq!(tags().await, json!(["1"]));
    // A tag that led to a yanked image is as free as any.
    control.send(Method::PUT, &format!("releases/{digest}/yank"), json!({})).await.is(200);
    let other = ada.image("acme/app", "1", &[b"other"]).await;
    control.send(Method::PUT, &format!("releases/{digest}/unyank"), json!({})).await.is(200);
    assert_eq!(ada.get("/v2/acme/app/manifests/1").await.is(200).header("docker-content-digest"), other);
});

on_backends!(images_are_no_drafts, async |server: Server| {
    let user = server.new_user("ada").await;
    let (ada, control) = (Wire::of(&server, &user), Control::of(&server, &user));
    ada.image("acme/app", "1", &[b"one"]).await;
    let manifest = ada.prepare("acme/app", &[b"two"]).await;
    let draft = json!({ "version": wire::digest_of(&manifest) });
    control.refused(Method::POST, "releases", draft, 422, "validation_failed").await;
    // Nothing is in the way of the push.
    ada.manifest("acme/app", "2", &manifest).await.is(201);
    ada.get("/v2/acme/app/manifests/2").await.is(200);
});

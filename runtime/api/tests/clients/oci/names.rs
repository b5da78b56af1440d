//! Names and addresses: both mounts, segments that look like routes, what is no name.

use super::{Desk, Wire, layer, sha256, wire};
use crate::{Server, on_backends};

on_backends!(every_route_works_for_every_name, async |server: Server| {
    let user = server.new_user("ada").await;
    let (wire, desk) = (Wire::of(&server, &user), Desk::of(&server, &user));
    let content = layer(&[("a", b"a")]);
    for name in
        ["acme/tags", "acme/blobs/uploads", "acme/manifests/x", "acme/tags/list", "acme/referrers/y", "a1/b/c/d/e/f"]
    {
        let digest = wire.image(name, "1", &[&content]).await;
        let got = wire.get(&format!("/v2/{name}/manifests/1")).await.is(200);
        assert_eq!(got.header("docker-content-digest"), digest, "{name}");
        wire.get(&format!("/v2/{name}/manifests/{}", digest.replace(':', "%3A"))).await.is(200);
        assert_eq!(wire.get(&format!("/v2/{name}/tags/list")).await.is(200).json()["name"], name);
        wire.get(&format!("/v2/{name}/referrers/{digest}")).await.is(200);
        wire.head(&format!("/v2/{name}/blobs/{}", sha256(&content))).await.is(200);
        let path = wire.begin(name).await;
        wire.patch(&path, &[], "x").await.is(202);
        wire.delete(&path).await.is(204);
        desk.crane(&format!("pull --format oci HOST/{name}:1 {}", name.replace('/', "-"))).await.succeeds();
        wire.delete(&format!("/v2/{name}/manifests/1")).await.is(202);
        wire.get(&format!("/v2/{name}/manifests/1")).await.refuses(404, "MANIFEST_UNKNOWN");
    }
    for name in ["acme//x", "Acme/x", "acme/-x", "acme/x_", "acme/x..y"] {
        let answer = wire.post(&format!("/v2/{name}/blobs/uploads/")).await;
        assert!(matches!(answer.status, 400 | 404), "{name}: {answer:?}");
    }
    let hint = wire.post("/v2/oci/acme/app/blobs/uploads/").await.refuses(400, "NAME_INVALID");
    assert!(hint.json()["errors"][0]["message"].as_str().unwrap().contains("acme/app"));
    wire.post(&format!("/v2/acme/{}/blobs/uploads/", "x".repeat(200))).await.refuses(400, "NAME_INVALID");
    // Reserved for the service.
    let reserved = wire.post("/v2/admin/blobs/uploads/").await;
    assert!(matches!(reserved.status, 400 | 403), "{reserved:?}");
    for path in ["/v2/acme/app", "/v2/acme%2Fapp/tags/list", "/v2/acme/app/tags/list/"] {
        wire.get(path).await.refuses(404, "NAME_UNKNOWN");
    }
    let wrong = wire.send(reqwest::Method::PATCH, "/v2/acme/tags/tags/list", &[], "").await.refuses(405, "UNSUPPORTED");
    assert_eq!(wrong.header("allow"), "GET");
});

on_backends!(both_mounts_are_one_registry, async |server: Server| {
    let user = server.new_user("ada").await;
    let wire = Wire::of(&server, &user);
    for mount in ["/v2", "/oci/v2"] {
        for path in [mount.to_owned(), format!("{mount}/")] {
            assert_eq!(wire.get(&path).await.is(200).header("docker-distribution-api-version"), "registry/2.0");
            let asked = Wire::anonymous(&server).get(&path).await.refuses(401, "UNAUTHORIZED");
            let realm = format!("Bearer realm=\"{}{mount}/token\",service=\"publaryn\"", server.base_url());
            assert_eq!(asked.header("www-authenticate"), realm);
        }
        let started = wire.post(&format!("{mount}/acme/x/blobs/uploads/")).await.is(202);
        let path = started.header("location").to_owned();
        assert!(path.starts_with(&format!("{mount}/acme/x/blobs/uploads/")), "{path}");
        let digest = sha256(mount.as_bytes());
        let done = wire.put(&format!("{path}?digest={digest}"), &[], mount).await.is(201);
        assert_eq!(done.header("location"), format!("{mount}/acme/x/blobs/{digest}"));
    }
    let manifest = wire.prepare("acme/x", &[b"/v2", b"/oci/v2"]).await;
    let kind = [("content-type", wire::IMAGE)];
    wire.put("/oci/v2/acme/x/manifests/1", &kind, manifest.to_string()).await.is(201);
    assert_eq!(wire.get("/v2/acme/x/manifests/1").await.is(200).body, manifest.to_string().as_bytes());
    Desk::of(&server, &user).crane("pull --format oci HOST/acme/x:1 pulled").await.succeeds();
    // Under another name of this machine the token is to be had there.
    let port = server.host().rsplit(':').next().unwrap();
    let asked = server.http.get(format!("http://localhost:{port}/v2/")).send().await.unwrap();
    let challenge = asked.headers()["www-authenticate"].to_str().unwrap().to_owned();
    assert!(challenge.contains(&format!("realm=\"http://localhost:{port}/v2/token\"")), "{challenge}");
});

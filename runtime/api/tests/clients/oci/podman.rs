//! skopeo, buildah and podman: everything built on containers/image.

use super::{Desk, Wire, layer, noise, wire};
use crate::{Server, on_backends};

on_backends!(skopeo_copies_inspects_and_deletes, async |server: Server| {
    let user = server.new_user("ada").await;
    let wire = Wire::of(&server, &user);
    let desk = Desk::new(&server, "skopeo");
    let login = format!("login --tls-verify=false -u {} -p {} HOST", user.name, user.token);
    desk.run("skopeo", &login, "").await.succeeds().says("Login Succeeded");
    let wrong = format!("login --tls-verify=false -u {} -p wrong HOST", user.name);
    Desk::new(&server, "wrong").run("skopeo", &wrong, "").await.fails_with("invalid username/password");

    // An index of two platforms with a nested one.
    let small = wire.prepare("acme/app", &[&layer(&[("a", b"small")])]).await;
    let large = wire.prepare("acme/app", &[&layer(&[("b", &noise(1_000_000, 3))]), &layer(&[("a", b"small")])]).await;
    for manifest in [&small, &large] {
        wire.manifest("acme/app", &wire::digest_of(manifest), manifest).await.is(201);
    }
    let index = wire::index(&[&small, &large]);
    wire.manifest("acme/app", "1.0", &index).await.is(201);

    let copy = "copy --all --preserve-digests --src-tls-verify=false --dest-tls-verify=false docker://HOST/acme/app:1.0 docker://HOST/acme/mirror:1.0";
    desk.skopeo(copy).await.succeeds();
    let raw = desk.skopeo("inspect --raw --tls-verify=false docker://HOST/acme/mirror:1.0").await.succeeds();
    assert_eq!(raw.out, index.to_string(), "byte for byte");
    desk.skopeo("list-tags --tls-verify=false docker://HOST/acme/mirror").await.succeeds().says("\"1.0\"");
    desk.skopeo("copy --all --preserve-digests --src-tls-verify=false docker://HOST/acme/mirror:1.0 dir:down")
        .await
        .succeeds();
    let digest = wire::sha256(&layer(&[("b", &noise(1_000_000, 3))]));
    assert_eq!(desk.read(&format!("down/{}", &digest[7..])), layer(&[("b", &noise(1_000_000, 3))]));
    // Back again, with other compression.
    desk.skopeo("copy --all --dest-tls-verify=false dir:down docker://HOST/acme/again:1.0").await.succeeds();
    desk.skopeo("copy --dest-tls-verify=false --dest-compress-format zstd --dest-compress --format oci dir:down docker://HOST/acme/zstd:1.0")
        .await
        .succeeds();
    desk.skopeo("copy --src-tls-verify=false docker://HOST/acme/zstd:1.0 dir:zstd").await.succeeds();

    desk.skopeo("delete --tls-verify=false docker://HOST/acme/mirror:1.0").await.succeeds();
    desk.skopeo("inspect --tls-verify=false docker://HOST/acme/mirror:1.0").await.fails_with("manifest unknown");
    wire.get("/v2/acme/mirror/manifests/1.0").await.refuses(404, "MANIFEST_UNKNOWN");
    // What was deleted may come again.
    desk.skopeo(copy).await.succeeds();
    desk.skopeo("copy --all --preserve-digests --src-tls-verify=false docker://HOST/acme/mirror:1.0 dir:again")
        .await
        .succeeds();
});

const CONTAINERFILE: &str =
    "FROM scratch\nCOPY data /data\nLABEL org.opencontainers.image.source=https://example.test\nCMD [\"/data\"]\n";

on_backends!(buildah_and_podman_build_push_and_pull, async |server: Server| {
    let user = server.new_user("ada").await;
    let desk = Desk::new(&server, "podman");
    let login = format!("login --tls-verify=false -u {} --password-stdin HOST", user.name);
    desk.container_tool("podman", &login, &user.token).await.succeeds().says("Login Succeeded");
    desk.file("data", &noise(500_000, 4));
    desk.file("Containerfile", CONTAINERFILE.as_bytes());
    desk.container_tool("buildah", "bud --isolation chroot -t built:1 -f Containerfile .", "").await.succeeds();
    desk.container_tool("buildah", "push --tls-verify=false built:1 docker://HOST/acme/team/built:1", "")
        .await
        .succeeds();
    desk.container_tool(
        "buildah",
        "push --tls-verify=false --format docker built:1 docker://HOST/acme/team/built:2",
        "",
    )
    .await
    .succeeds();
    desk.container_tool("buildah", "rmi -a -f", "").await.succeeds();

    desk.container_tool("podman", "pull --tls-verify=false HOST/acme/team/built:1", "").await.succeeds();
    let inspected = desk.container_tool("podman", "image inspect HOST/acme/team/built:1", "").await.succeeds();
    inspected.says("https://example.test");
    desk.container_tool("podman", "push --tls-verify=false HOST/acme/team/built:1 HOST/acme/other:1", "")
        .await
        .succeeds();
    let found = desk.container_tool("podman", "search --tls-verify=false HOST/acme", "").await.succeeds();
    found.says("acme/team/built").says("acme/other");
    let tags = desk.container_tool("podman", "search --tls-verify=false --list-tags HOST/acme/team/built", "").await;
    tags.succeeds().says("built");
    // A manifest list made here.
    desk.container_tool("podman", "manifest create many", "").await.succeeds();
    desk.container_tool("podman", "manifest add --tls-verify=false many docker://HOST/acme/team/built:1", "")
        .await
        .succeeds();
    desk.container_tool("podman", "manifest push --all --tls-verify=false many docker://HOST/acme/many:1", "")
        .await
        .succeeds();
    desk.skopeo("inspect --raw --tls-verify=false docker://HOST/acme/many:1").await.succeeds().says("manifests");
    desk.container_tool("podman", "logout HOST", "").await.succeeds();
    desk.container_tool("podman", "push --tls-verify=false HOST/acme/team/built:1 HOST/acme/other:2", "")
        .await
        .fails_with("unauthorized");
    // Open images need no login.
    desk.container_tool("podman", "rmi -a -f", "").await.succeeds();
    desk.container_tool("podman", "pull --tls-verify=false HOST/acme/other:1", "").await.succeeds();
});

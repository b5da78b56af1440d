//! crane, oras, helm and cosign.

use serde_json::Value;

use super::{Desk, Wire, layer, noise};
use crate::{Server, on_backends};

on_backends!(crane_pushes_copies_lists_and_deletes, async |server: Server| {
    let user = server.new_user("ada").await;
    let desk = Desk::new(&server, "crane");
    let login = format!("auth login HOST -u {} -p {}", user.name, user.token);
    desk.crane(&login).await.succeeds();
    desk.file("one.tar", &layer(&[("a.txt", b"one"), ("noise", &noise(300_000, 1))]));
    desk.file("two.tar", &layer(&[("b.txt", b"two")]));

    desk.crane("append -f one.tar -t HOST/acme/app:amd64").await.succeeds();
    desk.crane("append -f two.tar -t HOST/acme/app:arm64").await.succeeds();
    let digest = desk.crane("digest HOST/acme/app:amd64").await.succeeds().out.trim().to_owned();
    desk.crane(&format!("manifest HOST/acme/app@{digest}")).await.succeeds().says("layers");
    // Of several platforms, through an index.
    desk.crane("mutate --set-platform linux/amd64 -t HOST/acme/app:amd64 HOST/acme/app:amd64").await.succeeds();
    desk.crane("mutate --set-platform linux/arm64 -t HOST/acme/app:arm64 HOST/acme/app:arm64").await.succeeds();
    desk.crane("index append -m HOST/acme/app:amd64 -m HOST/acme/app:arm64 -t HOST/acme/app:1.0").await.succeeds();
    desk.crane("validate --remote HOST/acme/app:1.0").await.succeeds().says("PASS");
    // To another repository: layers are mounted, not sent again.
    desk.crane("copy HOST/acme/app:1.0 HOST/acme/copy:1.0").await.succeeds().says("mounted blob");
    desk.crane("validate --remote HOST/acme/copy:1.0").await.succeeds().says("PASS");
    desk.crane("tag HOST/acme/copy:1.0 latest").await.succeeds();
    assert_eq!(desk.crane("ls HOST/acme/copy").await.succeeds().out, "1.0\nlatest\n");
    assert_eq!(desk.crane("ls HOST/acme/app").await.succeeds().out, "1.0\namd64\narm64\n");
    assert_eq!(desk.crane("catalog HOST").await.succeeds().out, "acme/app\nacme/copy\n");
    desk.crane("pull --platform linux/arm64 HOST/acme/copy:latest out.tar").await.succeeds();
    desk.crane("export --platform linux/arm64 HOST/acme/copy:latest files.tar").await.succeeds();
    assert!(desk.read("files.tar").windows(3).any(|part| part == b"two"));

    // A manifest of a live index stays; the index itself goes, with all its tags.
    let child = desk.crane("digest HOST/acme/app:arm64").await.succeeds().out.trim().to_owned();
    desk.crane(&format!("delete HOST/acme/app@{child}")).await.fails_with("part of the index");
    let index = desk.crane("digest HOST/acme/copy:1.0").await.succeeds().out.trim().to_owned();
    desk.crane(&format!("delete HOST/acme/copy@{index}")).await.succeeds();
    assert_eq!(desk.crane("ls HOST/acme/copy").await.succeeds().out, "");
    desk.crane("copy HOST/acme/app:1.0 HOST/acme/copy:1.0").await.succeeds();
    desk.crane("validate --remote HOST/acme/copy:1.0").await.succeeds().says("PASS");
});

on_backends!(oras_pushes_attaches_and_discovers, async |server: Server| {
    let user = server.new_user("ada").await;
    let desk = Desk::new(&server, "oras");
    let login = format!("login HOST --plain-http -u {} -p {}", user.name, user.token);
    desk.oras(&login).await.succeeds().says("Login Succeeded");
    desk.file("data.bin", &noise(2_000_000, 2));
    desk.file("sbom.json", br#"{"sbom":true}"#);
    desk.file("empty", b"");

    let push = "push --plain-http HOST/acme/data:1,latest data.bin:application/x-noise empty:text/plain \
                --artifact-type application/x-test";
    desk.oras(push).await.succeeds();
    desk.oras("attach --plain-http --artifact-type example/sbom HOST/acme/data:1 sbom.json").await.succeeds();
    desk.oras("attach --plain-http --artifact-type example/sig HOST/acme/data:1 empty:text/plain").await.succeeds();
    let discovered = desk.oras("discover --plain-http --format json HOST/acme/data:latest").await.succeeds();
    let discovered: Value = serde_json::from_str(&discovered.out).unwrap();
    let mut types: Vec<&str> =
        discovered["referrers"].as_array().unwrap().iter().map(|r| r["artifactType"].as_str().unwrap()).collect();
    types.sort_unstable();
    assert_eq!(types, ["example/sbom", "example/sig"]);
    let only = "discover --plain-http --format json --artifact-type example/sig HOST/acme/data:1";
    let only: Value = serde_json::from_str(&desk.oras(only).await.succeeds().out).unwrap();
    assert_eq!(only["referrers"].as_array().unwrap().len(), 1);
    assert_eq!(desk.oras("repo tags --plain-http HOST/acme/data").await.succeeds().out, "1\nlatest\n");
    assert!(desk.oras("repo ls --plain-http HOST").await.succeeds().out.contains("acme/data"));
    desk.oras("pull --plain-http HOST/acme/data:latest -o pulled").await.succeeds();
    assert_eq!(desk.read("pulled/data.bin"), noise(2_000_000, 2));
    assert_eq!(desk.read("pulled/empty"), b"");
    // With everything that refers to it.
    desk.oras("copy -r --from-plain-http --to-plain-http HOST/acme/data:1 HOST/acme/data2:1").await.succeeds();
    let copied = desk.oras("discover --plain-http HOST/acme/data2:1").await.succeeds();
    copied.says("example/sbom").says("example/sig");
    desk.oras("manifest delete --plain-http -f HOST/acme/data2:1").await.succeeds();
    desk.oras("pull --plain-http HOST/acme/data2:1 -o gone").await.fails_with("not found");
    // The tag schema of old registries was never needed.
    let tags = Wire::of(&server, &user).get("/v2/acme/data/tags/list").await.is(200).json();
    assert_eq!(tags["tags"], serde_json::json!(["1", "latest"]));
});

on_backends!(helm_pushes_and_pulls_charts, async |server: Server| {
    let user = server.new_user("ada").await;
    let desk = Desk::new(&server, "helm");
    let login = format!("registry login HOST --plain-http -u {} -p {}", user.name, user.token);
    desk.helm(&login).await.succeeds().says("Login Succeeded");
    desk.helm("create chart").await.succeeds();
    desk.helm("package chart --version 1.0.0+1").await.succeeds();
    desk.helm("package chart --version 1.1.0").await.succeeds();
    // A name that does not exist yet, with a fresh login.
    desk.helm("push chart-1.0.0+1.tgz oci://HOST/acme/charts --plain-http").await.succeeds().says("Pushed");
    desk.helm("push chart-1.1.0.tgz oci://HOST/acme/charts --plain-http").await.succeeds().says("Digest: sha256:");
    let shown = desk.helm("show chart oci://HOST/acme/charts/chart --version 1.0.0+1 --plain-http").await.succeeds();
    shown.says("version: 1.0.0+1");
    // The newest, found by listing tags.
    desk.file("pulled/.keep", b"");
    desk.helm("pull oci://HOST/acme/charts/chart --plain-http -d pulled").await.succeeds();
    assert_eq!(desk.read("pulled/chart-1.1.0.tgz"), desk.read("chart-1.1.0.tgz"));
    let tags = Wire::of(&server, &user).get("/v2/acme/charts/chart/tags/list").await.is(200).json();
    assert_eq!(tags["tags"], serde_json::json!(["1.0.0_1", "1.1.0"]));
    desk.helm("registry logout HOST").await.succeeds();
    desk.helm("push chart-1.1.0.tgz oci://HOST/acme/charts --plain-http").await.fails_with("401");
});

on_backends!(cosign_signs_verifies_and_shows, async |server: Server| {
    let user = server.new_user("ada").await;
    let desk = Desk::of(&server, &user);
    desk.cosign("generate-key-pair").await.succeeds();
    // Nothing is told to a public log, and plain addresses are fine.
    let plain = "--allow-http-registry --allow-insecure-registry";
    let sign = format!("sign --yes --key cosign.key --tlog-upload=false {plain}");
    let verify = format!("verify --key cosign.pub --insecure-ignore-tlog=true {plain}");
    desk.file("one.tar", &layer(&[("a.txt", b"one")]));
    desk.file("two.tar", &layer(&[("a.txt", b"two")]));
    let push = async |file: &str, name: &str| {
        desk.crane(&format!("append -f {file}.tar -t HOST/{name}")).await.succeeds();
        desk.crane(&format!("digest HOST/{name}")).await.succeeds().out.trim().to_owned()
    };
    let walk = async |digest: &str| {
        desk.cosign(&format!("{verify} HOST/acme/app@{digest}")).await.fails_with("no signatures found");
        desk.cosign(&format!("{sign} HOST/acme/app@{digest}")).await.succeeds();
        desk.cosign(&format!("{verify} HOST/acme/app@{digest}")).await.succeeds().says(digest);
        // A second signature, by what else it says: the tag that holds them is written again.
        desk.cosign(&format!("{sign} -a build=2 HOST/acme/app@{digest}")).await.succeeds();
        let both = desk.cosign(&format!("{verify} HOST/acme/app@{digest}")).await.succeeds();
        assert_eq!(both.out.matches("docker-manifest-digest").count(), 2, "{}", both.out);
        desk.cosign(&format!("{verify} -a build=2 HOST/acme/app@{digest}")).await.succeeds();
        desk.cosign(&format!("tree {plain} HOST/acme/app@{digest}"))
            .await
            .succeeds()
            .says("Signatures for an image tag");
    };
    walk(&push("one", "acme/app:1").await).await;
    // Where tags do not move, those of signatures do.
    server.database().await.execute_raw("UPDATE repositories SET kind = 'release'").await.unwrap();
    walk(&push("two", "acme/app:2").await).await;
    desk.crane("append -f one.tar -t HOST/acme/app:2").await.fails_with("immutable");
    // Of another key.
    let other = Desk::new(&server, "other");
    other.cosign("generate-key-pair").await.succeeds();
    other.log_in(&user.name, &user.token);
    other.cosign(&format!("{verify} HOST/acme/app:2")).await.fails_with("no matching signatures");
});

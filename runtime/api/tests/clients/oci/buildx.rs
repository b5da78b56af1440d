//! docker's buildx with a BuildKit of its own: images of several platforms, with what BuildKit attests of them.

use tokio::process::Command;

use super::{Answer, Desk, Wire, daemon::Daemon, desk::tools, eicar};
use crate::{Server, on_backends, process::Said};

struct BuildKit(Daemon);

impl BuildKit {
    async fn start(desk: &Desk) -> Self {
        let config = format!("[registry.\"{}\"]\n  http = true\n", desk.host());
        let command = |place: &std::path::Path| {
            let at = |name: &str| place.join(name);
            std::fs::write(at("config.toml"), config).expect("the scratch directory is writable");
            let mut command = Command::new(tools().join("buildkitd"));
            command
                .arg("--config")
                .arg(at("config.toml"))
                .arg("--root")
                .arg(at("root"))
                .arg("--addr")
                .arg(format!("unix://{}", at("sock").display()))
                // What needs nothing of the kernel; nothing is run here.
                .args(["--oci-worker-snapshotter", "native", "--containerd-worker=false"]);
            command
        };
        let this = Self(Daemon::start("running server on", command).await);
        let address = this.0.path("sock");
        this.buildx(desk, &format!("create --name kit --driver remote unix://{}", address.display())).await.succeeds();
        this
    }

    async fn buildx(&self, desk: &Desk, line: &str) -> Said {
        desk.run(tools().join("buildx"), line, "").await
    }

    async fn build(&self, desk: &Desk, more: &str) -> Said {
        self.buildx(desk, &format!("build --builder kit --progress plain {more}")).await
    }
}

on_backends!(buildx_pushes_images_of_several_platforms, async |server: Server| {
    let user = server.new_user("ada").await;
    let desk = Desk::of(&server, &user);
    let kit = BuildKit::start(&desk).await;
    desk.file("image/Dockerfile", b"FROM scratch\nARG TARGETARCH\nCOPY content /content-of-${TARGETARCH}\n");
    desk.file("image/content", b"one");
    let several = "--platform linux/amd64,linux/arm64 --push image";
    kit.build(&desk, &format!("-t HOST/acme/app:1 {several}")).await.succeeds();
    let wire = Wire::of(&server, &user);
    let index = |answer: Answer| answer.json()["manifests"].as_array().expect("an index").clone();
    let manifests = index(wire.get("/v2/acme/app/manifests/1").await.is(200));
    let platform = |at: usize| manifests[at]["platform"]["architecture"].as_str().unwrap_or_default();
    // Each platform, and what is attested of each.
    assert_eq!((0..4).map(platform).collect::<Vec<_>>(), ["amd64", "arm64", "unknown", "unknown"], "{manifests:?}");
    let shown = kit.buildx(&desk, "imagetools inspect HOST/acme/app:1").await.succeeds();
    shown.says("linux/arm64").says("attestation-manifest");
    desk.crane("export --platform linux/arm64 HOST/acme/app:1 files.tar").await.succeeds();
    assert!(desk.read("files.tar").windows(16).any(|part| part == b"content-of-arm64"));
    // Under another tag, by its parts alone.
    kit.buildx(&desk, "imagetools create -t HOST/acme/app:same HOST/acme/app:1").await.succeeds();
    assert_eq!(index(wire.get("/v2/acme/app/manifests/same").await.is(200)), manifests);

    // What is blocked moves no tag, and what mends it goes to the same one.
    desk.file("image/content", &eicar());
    kit.build(&desk, &format!("-t HOST/acme/app:1 {several}")).await.fails_with("EICAR");
    assert_eq!(index(wire.get("/v2/acme/app/manifests/1").await.is(200)), manifests);
    desk.file("image/content", b"two");
    kit.build(&desk, &format!("-t HOST/acme/app:1 {several}")).await.succeeds();
    assert_ne!(index(wire.get("/v2/acme/app/manifests/1").await.is(200)), manifests);
    // Layers that are there already are built upon, not sent.
    desk.file("next/Dockerfile", format!("FROM {}/acme/app:1\nCOPY more /more\n", desk.host()).as_bytes());
    desk.file("next/more", b"more");
    kit.build(&desk, "-t HOST/acme/next:1 --platform linux/amd64 --provenance=false --push next").await.succeeds();
    assert_eq!(wire.get("/v2/acme/next/manifests/1").await.is(200).json()["layers"].as_array().map(Vec::len), Some(2));
    let stranger = Desk::new(&server, "eve");
    let eve = server.new_user("eve").await;
    stranger.log_in(&eve.name, &eve.token);
    let theirs = BuildKit::start(&stranger).await;
    stranger.file("image/Dockerfile", b"FROM scratch\nCOPY Dockerfile /\n");
    theirs.build(&stranger, "-t HOST/acme/app:1 --push image").await.fails_with("denied");
});

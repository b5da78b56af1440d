//! docker with Debian's daemon, and containerd's own client beside it.

use std::path::Path;

use super::{Answer, Desk, Wire, daemon::Daemon, eicar, layer, noise, sha256};
use crate::{Server, on_backends, process::Said};

/// A docker daemon of a test's own.
struct Docker(Daemon);

impl Docker {
    async fn start() -> Self {
        let command = |place: &Path| {
            let path = |name: &str| place.join(name);
            let mut command = tokio::process::Command::new("dockerd");
            command
                .arg("--data-root")
                .arg(path("data"))
                .arg("--exec-root")
                .arg(path("exec"))
                .arg("-p")
                .arg(path("pid"))
                .arg("-H")
                .arg(socket(&path("sock")))
                // What needs nothing of the kernel; nothing is run here.
                .args(["--storage-driver", "vfs", "--bridge", "none", "--iptables=false", "--ip6tables=false"])
                .args(["--ip-forward=false", "--ip-masq=false"]);
            command
        };
        Self(Daemon::start("API listen on", command).await)
    }

    async fn docker(&self, desk: &Desk, line: &str, input: &str) -> Said {
        let config = desk.auth_file();
        let config = config.parent().expect("a file in a folder");
        desk.run("docker", &format!("-H {} --config {} {line}", socket(&self.0.path("sock")), config.display()), input)
            .await
    }

    /// containerd's client, on the daemon's own containerd.
    async fn ctr(&self, desk: &Desk, line: &str) -> Said {
        let socket = self.0.path("exec/containerd/containerd.sock");
        desk.run("ctr", &format!("-a {} -n test {line}", socket.display()), "").await
    }
}

fn socket(path: &Path) -> String {
    format!("unix://{}", path.display())
}

on_backends!(docker_logs_in_pushes_pulls_and_mounts, async |mut server: Server| {
    let (user, stranger) = (server.new_user("ada").await, server.new_user("eve").await);
    let daemon = Docker::start().await;
    let desk = Desk::new(&server, "docker");
    let docker = async |line: &str| daemon.docker(&desk, line, "").await;

    let login = |name: &str| format!("login -u {name} --password-stdin HOST");
    daemon.docker(&desk, &login("ada"), "wrong").await.fails_with("unauthorized: ");
    daemon.docker(&desk, &login("ada"), &user.password).await.succeeds().says("Login Succeeded");
    daemon.docker(&desk, &login("ada"), &user.token).await.succeeds().says("Login Succeeded");

    for round in 0..8 {
        let name = format!("HOST/acme/team/app:{round}");
        desk.file("layer.tar", &layer(&[("data", &noise(200_000, 100 + round)), ("readme", b"same")]));
        docker(&format!("import layer.tar {name}")).await.succeeds();
        docker(&format!("push {name}")).await.succeeds().says("digest: sha256:");
        docker(&format!("rmi {name}")).await.succeeds();
        docker(&format!("pull {name}")).await.succeeds().says("Downloaded newer image");
    }
    docker("tag HOST/acme/team/app:7 HOST/acme/second:1").await.succeeds();
    docker("push HOST/acme/second:1").await.succeeds().says("Mounted from acme/team/app");
    docker("push HOST/acme/second:1").await.succeeds().says("Layer already exists");
    desk.file("Dockerfile", b"FROM scratch\nCOPY layer.tar /\nLABEL a=b\n");
    docker("build -t HOST/acme/built:1 .").await.succeeds();
    docker("push HOST/acme/built:1").await.succeeds();

    // From a repository that the pusher may not read the layer is sent, not mounted; nothing fails.
    server.restart_with(&[("packages.personal_repository_visibility", "private")]).await;
    let hers = layer(&[("only", b"hers")]);
    Wire::of(&server, &stranger).image("eve/hidden", "1", &[&hers]).await;
    let mount = format!("/v2/acme/third/blobs/uploads/?from=eve/hidden&mount={}", sha256(&hers));
    Wire::of(&server, &user).post(&mount).await.is(202);

    // What those are told who may not see it, and of what is missing.
    docker("pull HOST/eve/hidden:1").await.fails_with("not found");
    docker("logout HOST").await.succeeds();
    docker("rmi -f HOST/acme/team/app:7").await.succeeds();
    docker("pull HOST/acme/team/app:7").await.succeeds();
    let hidden = docker("pull HOST/eve/hidden:1").await.fails_with("pull access denied");
    let hidden = hidden.says("repository does not exist or may require 'docker login'");
    let missing = docker("pull HOST/eve/missng:1").await.fails_with("pull access denied");
    assert_eq!(hidden.err.replace("hidden", "missng"), missing.err);
    docker("push HOST/acme/second:1").await.fails_with("unauthorized");
    // A stranger who is logged in.
    daemon.docker(&desk, &login("eve"), &stranger.token).await.succeeds();
    docker("push HOST/acme/second:1").await.fails_with("denied");
    assert!(!server.log().contains("\"status\":5"), "nothing failed inside");
});

on_backends!(docker_shows_what_was_found_and_what_may_not_change, async |server: Server| {
    let user = server.new_user("ada").await;
    let daemon = Docker::start().await;
    let desk = Desk::of(&server, &user);
    let docker = async |line: &str| daemon.docker(&desk, line, "").await;
    desk.file("good.tar", &layer(&[("a", b"good")]));
    desk.file("fixed.tar", &layer(&[("a", b"fixed")]));
    desk.file("bad.tar", &layer(&[("a", b"good"), ("evil", &eicar())]));

    docker("import good.tar HOST/acme/app:1").await.succeeds();
    docker("push HOST/acme/app:1").await.succeeds();
    docker("import bad.tar HOST/acme/app:1").await.succeeds();
    docker("push HOST/acme/app:1").await.fails_with("denied: ").says("EICAR");
    let wire = Wire::of(&server, &user);
    let image = |answer: Answer| answer.json()["layers"][0]["digest"].as_str().unwrap().to_owned();
    let before = image(wire.get("/v2/acme/app/manifests/1").await.is(200));
    // A fixed image goes to the same tag.
    docker("import fixed.tar HOST/acme/app:1").await.succeeds();
    docker("push HOST/acme/app:1").await.succeeds();
    assert_ne!(image(wire.get("/v2/acme/app/manifests/1").await.is(200)), before);
    desk.crane("append -f fixed.tar -t HOST/acme/app:1").await.succeeds();

    let db = server.database().await;
    db.execute_raw("UPDATE repositories SET kind = 'release'").await.unwrap();
    docker("import good.tar HOST/acme/app:1").await.succeeds();
    docker("push HOST/acme/app:1").await.fails_with("denied: tag 1 is immutable");
    docker("import good.tar HOST/acme/app:2").await.succeeds();
    docker("push HOST/acme/app:2").await.succeeds();
    docker("push HOST/acme/app:2").await.succeeds();
});

on_backends!(containerd_pushes_and_pulls, async |server: Server| {
    let user = server.new_user("ada").await;
    let daemon = Docker::start().await;
    let desk = Desk::of(&server, &user);
    let wire = Wire::of(&server, &user);
    wire.image("acme/app", "1", &[&layer(&[("a", &noise(400_000, 9))]), &layer(&[("b", b"b")])]).await;
    let login = format!("--plain-http --user ada:{}", user.token);
    let fetch = format!("content fetch {login} HOST/acme/app:1");
    daemon.ctr(&desk, &fetch).await.succeeds();
    let push = format!("images push {login} HOST/acme/pushed:1 HOST/acme/app:1");
    daemon.ctr(&desk, &push).await.succeeds();
    let bytes = wire.get("/v2/acme/pushed/manifests/1").await.is(200).body;
    assert_eq!(bytes, wire.get("/v2/acme/app/manifests/1").await.is(200).body);
    // The path that only containerd can be told.
    let alias = format!("http://{}/oci/v2", desk.host());
    let config = format!("server = \"{alias}\"\n[host.\"{alias}\"]\noverride_path = true\n");
    desk.file("hosts/_default/hosts.toml", config.as_bytes());
    let fetch = format!("content fetch --hosts-dir hosts --user ada:{} HOST/acme/pushed:1", user.token);
    daemon.ctr(&desk, &fetch).await.succeeds();
    assert!(server.log().contains("/oci/v2/acme/pushed/manifests/1"), "it went through the alias");
    let wrong = "images push --plain-http --user ada:wrong HOST/acme/wrong:1 HOST/acme/app:1";
    daemon.ctr(&desk, wrong).await.fails_with("401");
});

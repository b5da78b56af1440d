//! A machine with OCI clients on it.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    sync::OnceLock,
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::json;
use tokio::process::Command;

use crate::{
    Server, User,
    process::{self, Said},
};

/// No client needs longer, even on a busy machine.
const LONGEST: Duration = Duration::from_secs(180);

/// Where the Go clients are installed; installs all clients if need be.
pub fn tools() -> &'static Path {
    static TOOLS: OnceLock<PathBuf> = OnceLock::new();
    TOOLS.get_or_init(|| {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../benches/services/oci-clients.sh");
        let out =
            std::process::Command::new(script).stderr(Stdio::inherit()).output().expect("the install script runs");
        assert!(out.status.success(), "the OCI clients cannot be installed");
        PathBuf::from(String::from_utf8(out.stdout).expect("a path").trim())
    })
}

/// A person's machine: a home with logins, a folder to work in, storage for images.
pub struct Desk {
    home: PathBuf,
    host: String,
}

impl Desk {
    pub fn new(server: &Server, name: &str) -> Self {
        let home = server.scratch(&format!("oci-{name}"));
        for folder in ["work", "tmp", ".docker"] {
            std::fs::create_dir_all(home.join(folder)).expect("the scratch directory is writable");
        }
        Self { home, host: server.host().to_owned() }
    }

    /// A machine on which somebody is logged in already.
    pub fn of(server: &Server, user: &User) -> Self {
        let desk = Self::new(server, &user.name);
        desk.log_in(&user.name, &user.token);
        desk
    }

    /// Keeps a login as every client's `login` does.
    pub fn log_in(&self, name: &str, secret: &str) {
        let auth = STANDARD.encode(format!("{name}:{secret}"));
        let config = json!({ "auths": { &self.host: { "auth": auth } } });
        std::fs::write(self.auth_file(), config.to_string()).expect("the scratch directory is writable");
    }

    pub fn auth_file(&self) -> PathBuf {
        self.home.join(".docker/config.json")
    }
    /// `127.0.0.1:PORT`
    pub fn host(&self) -> &str {
        &self.host
    }
    pub fn work(&self) -> PathBuf {
        self.home.join("work")
    }

    /// Writes a file into the folder that clients run in; its path.
    pub fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.work().join(name);
        std::fs::create_dir_all(path.parent().expect("below the work folder")).expect("writable");
        std::fs::write(&path, bytes).expect("the scratch directory is writable");
        path
    }
    pub fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.work().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", &self.home)
            .env("TMPDIR", self.home.join("tmp"))
            .env("DOCKER_CONFIG", self.home.join(".docker"))
            .env("REGISTRY_AUTH_FILE", self.auth_file())
            .env("HELM_REGISTRY_CONFIG", self.auth_file())
            .env("XDG_RUNTIME_DIR", self.home.join("run"))
            .env("LANG", "C.UTF-8")
            .current_dir(self.work())
            .kill_on_drop(true);
        command
    }

    /// Runs a command line, cut at spaces; `HOST` stands for the server.
    pub async fn run(&self, program: impl AsRef<std::ffi::OsStr>, line: &str, input: &str) -> Said {
        let mut command = self.command(program);
        command.args(line.split_whitespace().map(|word| word.replace("HOST", &self.host)));
        let shown = format!("{:?}", command.as_std());
        process::run(command, &shown, input, LONGEST).await.said(&shown)
    }

    pub async fn crane(&self, line: &str) -> Said {
        self.run(tools().join("crane"), line, "").await
    }
    pub async fn oras(&self, line: &str) -> Said {
        self.run(tools().join("oras"), line, "").await
    }
    pub async fn helm(&self, line: &str) -> Said {
        self.run(tools().join("helm"), line, "").await
    }
    /// Keys have no password here, and the trust root that it looks for elsewhere is not asked for.
    pub async fn cosign(&self, line: &str) -> Said {
        let mut command = self.command(tools().join("cosign"));
        command
            .env("COSIGN_PASSWORD", "")
            .env("HTTPS_PROXY", "http://127.0.0.1:9")
            .args(line.split_whitespace().map(|word| word.replace("HOST", &self.host)));
        process::run(command, &format!("cosign {line}"), "", LONGEST).await.said(&format!("cosign {line}"))
    }
    pub async fn skopeo(&self, line: &str) -> Said {
        let _ = tools();
        self.run("skopeo", &format!("--insecure-policy --tmpdir {} {line}", self.home.join("tmp").display()), "").await
    }
    /// podman or buildah with storage of its own, in the form that needs nothing of the kernel.
    pub async fn container_tool(&self, program: &str, line: &str, input: &str) -> Said {
        let _ = tools();
        let store = self.home.join("containers");
        let options = format!(
            "--root {} --runroot {} --storage-driver vfs",
            store.join("root").display(),
            store.join("run").display()
        );
        let more = if program == "podman" { " --cgroup-manager cgroupfs --events-backend none" } else { "" };
        self.run(program, &format!("{options}{more} {line}"), input).await
    }
}

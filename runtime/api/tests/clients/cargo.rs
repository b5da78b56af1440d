//! cargo itself against the server: both entry points, publishing, building, owners, search.
//!
//! Every test has a `CARGO_HOME` of its own in which `pub` is the anonymous entry point and `corp` the
//! authenticated one. The public registry is replaced by the server under test, so nothing leaves the
//! machine.

mod access;
mod consume;
mod faults;
mod held;
mod owners;
mod publish;
mod raw;
mod search;
pub mod upload;

use std::{
    fmt::Write as _,
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::process::Command;

pub use crate::process::Said;
use crate::{Server, process};

/// A developer's machine: a `CARGO_HOME` and a place for projects.
pub struct Machine {
    home: PathBuf,
    work: PathBuf,
}

/// No run of cargo needs longer, even on a busy machine.
const LONGEST: Duration = Duration::from_secs(180);

impl Machine {
    pub fn new(server: &Server, name: &str) -> Self {
        let root = server.scratch(name);
        let machine = Self { home: root.join("home"), work: root.join("work") };
        std::fs::create_dir_all(&machine.home).unwrap();
        std::fs::create_dir_all(&machine.work).unwrap();
        let base = server.base_url();
        let config = format!(
            "[registries.pub]\nindex = \"sparse+{base}/cargo/index/\"\n\
             [registries.corp]\nindex = \"sparse+{base}/cargo/index/auth/\"\ncredential-provider = [\"cargo:token\"]\n\
             [source.crates-io]\nreplace-with = \"mirror\"\n[source.mirror]\nregistry = \"sparse+{base}/cargo/index/\"\n\
             [net]\nretry = 5\n[profile.dev]\ndebug = false\nincremental = false\n"
        );
        std::fs::write(machine.home.join("config.toml"), config).unwrap();
        machine
    }

    /// Keeps a token for a registry, as `cargo login` does.
    pub fn login(&self, registry: &str, token: &str) {
        let path = self.home.join("credentials.toml");
        let mut text = std::fs::read_to_string(&path).unwrap_or_default();
        let section = format!("[registries.{registry}]\n");
        if let Some(at) = text.find(&section) {
            let end = text[at + section.len()..].find('[').map_or(text.len(), |end| at + section.len() + end);
            text.replace_range(at..end, "");
        }
        writeln!(text, "{section}token = \"{token}\"").unwrap();
        std::fs::write(path, text).unwrap();
    }

    pub fn logged_in(self, token: &str) -> Self {
        self.login("pub", token);
        self.login("corp", token);
        self
    }

    /// Lets cargo give its token to the plain entry point when that asks for one.
    pub fn provide_token_to_pub(&self) {
        let path = self.home.join("config.toml");
        let config = std::fs::read_to_string(&path).unwrap();
        let plain = "/cargo/index/\"\n[registries.corp]";
        assert!(config.contains(plain), "{config}");
        let provided = "/cargo/index/\"\ncredential-provider = [\"cargo:token\"]\n[registries.corp]";
        std::fs::write(path, config.replacen(plain, provided, 1)).unwrap();
    }

    /// Forgets how to give a token to a registry that asks for one.
    pub fn drop_credential_provider(&self) {
        let path = self.home.join("config.toml");
        let config = std::fs::read_to_string(&path).unwrap();
        let kept = config.lines().filter(|line| !line.starts_with("credential-provider"));
        std::fs::write(path, kept.collect::<Vec<_>>().join("\n")).unwrap();
    }

    /// A directory for a project.
    pub fn dir(&self, name: &str) -> PathBuf {
        let dir = self.work.join(name);
        std::fs::create_dir_all(&dir).unwrap();
        dir
    }

    /// Drops every downloaded index file and archive.
    pub fn empty_cache(&self) {
        // Absent before the first use.
        let _ = std::fs::remove_dir_all(self.home.join("registry"));
    }

    pub fn command(&self, program: &str, dir: &Path) -> Command {
        let cargo = std::env::var_os("CARGO").map(PathBuf::from);
        let mut path = std::env::var_os("PATH").unwrap_or_default();
        if let Some(bin) = cargo.as_deref().and_then(Path::parent) {
            let rest = std::env::split_paths(&path).collect::<Vec<_>>();
            path = std::env::join_paths([bin.to_path_buf()].into_iter().chain(rest)).unwrap();
        }
        let mut command = Command::new(program);
        command.env_clear().env("PATH", path).env("CARGO_HOME", &self.home).env("HOME", &self.home).env("TERM", "dumb");
        for kept in ["RUSTUP_HOME", "RUSTUP_TOOLCHAIN"] {
            if let Some(value) = std::env::var_os(kept) {
                command.env(kept, value);
            }
        }
        command.current_dir(dir).kill_on_drop(true);
        command
    }

    /// Runs cargo in a project.
    pub async fn cargo(&self, dir: &Path, line: &str) -> Said {
        self.run(self.command("cargo", dir), line.split_whitespace(), "").await
    }

    pub async fn run<'a>(&self, mut command: Command, args: impl Iterator<Item = &'a str>, input: &str) -> Said {
        command.args(args);
        let shown = format!("{:?}", command.as_std());
        process::run(command, &shown, input, LONGEST).await.said(&shown)
    }

    /// A command of cargo's that polls the index for at most `seconds` after a publish instead of its minute
    /// (an option that only nightly has, so the compiler is told to let it pass).
    pub async fn publish_patiently_for(&self, seconds: u32, dir: &Path, registry: &str) -> Said {
        let mut command = self.command("cargo", dir);
        command.env("RUSTC_BOOTSTRAP", "1").env("CARGO_PUBLISH_TIMEOUT", seconds.to_string());
        let args = ["-Zpublish-timeout", "publish", "--no-verify", "--registry", registry];
        self.run(command, args.into_iter(), "").await
    }

    /// Writes a library project; `tail` follows the `[package]` section of its manifest.
    pub fn library(&self, name: &str, version: &str, tail: &str) -> PathBuf {
        self.project(name, version, tail, "lib.rs", "pub fn answer() -> u32 { 42 }\n")
    }

    /// Writes a program that uses nothing of its dependencies.
    pub fn program(&self, name: &str, tail: &str) -> PathBuf {
        self.project(name, "0.1.0", tail, "main.rs", "fn main() {}\n")
    }

    pub fn project(&self, name: &str, version: &str, tail: &str, file: &str, source: &str) -> PathBuf {
        let dir = self.dir(&format!("{name}-{version}"));
        let manifest = format!(
            "[package]\nname = \"{name}\"\nversion = \"{version}\"\nedition = \"2021\"\ndescription = \"a test\"\nlicense = \"MIT\"\n{tail}"
        );
        std::fs::write(dir.join("Cargo.toml"), manifest).unwrap();
        std::fs::create_dir_all(dir.join("src")).unwrap();
        std::fs::write(dir.join("src").join(file), source).unwrap();
        dir
    }

    /// Writes a workspace of libraries in version 1.0.0; each tail follows the `[package]` section.
    pub fn workspace(&self, name: &str, members: &[(&str, &str)]) -> PathBuf {
        let dir = self.dir(name);
        let names: Vec<_> = members.iter().map(|(member, _)| format!("\"{member}\"")).collect();
        let root = format!("[workspace]\nmembers = [{}]\nresolver = \"2\"\n", names.join(", "));
        std::fs::write(dir.join("Cargo.toml"), root).unwrap();
        for (member, tail) in members {
            let source = dir.join(member).join("src");
            std::fs::create_dir_all(&source).unwrap();
            std::fs::write(source.join("lib.rs"), "").unwrap();
            let manifest = format!("{}{tail}", upload::manifest(member, "1.0.0"));
            std::fs::write(dir.join(member).join("Cargo.toml"), manifest).unwrap();
        }
        dir
    }

    /// Publishes a library without building it first.
    pub async fn publish(&self, registry: &str, name: &str, version: &str, tail: &str) -> Said {
        let dir = self.library(name, version, tail);
        self.cargo(&dir, &format!("publish --no-verify --registry {registry}")).await
    }
}

/// `Authorization` as cargo sends it: the bare token.
pub async fn fetch(server: &Server, path: &str, token: Option<&str>) -> (u16, String) {
    let mut request = server.http.get(format!("{}{path}", server.base_url()));
    if let Some(token) = token {
        request = request.header("authorization", token);
    }
    let response = request.send().await.expect("the server answers");
    (response.status().as_u16(), response.text().await.expect("a body"))
}

/// The versions that the index file of a crate lists.
pub async fn versions(server: &Server, path: &str, token: Option<&str>) -> Vec<String> {
    let (status, text) = fetch(server, path, token).await;
    assert!(matches!(status, 200 | 404), "{path}: {status} {text}");
    let lines = text.lines().filter(|_| status == 200);
    lines
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["vers"].as_str().unwrap().to_owned())
        .collect()
}

//! A machine with npm clients on it.

use std::{
    fmt,
    path::{Path, PathBuf},
    process::Stdio,
    sync::OnceLock,
    time::Duration,
};

use serde_json::{Value, json};
use tokio::{io::AsyncWriteExt, process::Command};

use crate::Server;

/// The clients under test.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Client {
    Npm10,
    Npm11,
    Pnpm10,
    Pnpm12,
    Yarn,
    Berry,
    Bun,
}

impl Client {
    pub const ALL: [Self; 7] =
        [Self::Npm10, Self::Npm11, Self::Pnpm10, Self::Pnpm12, Self::Yarn, Self::Berry, Self::Bun];

    /// Folder and, for clients that are one script, the script.
    fn place(self) -> (&'static str, &'static str) {
        match self {
            Self::Npm10 => ("npm10", "npm/bin/npm-cli.js"),
            Self::Npm11 => ("npm11", "npm/bin/npm-cli.js"),
            Self::Pnpm10 => ("pnpm10", ".bin/pnpm"),
            Self::Pnpm12 => ("pnpm12", ".bin/pnpm"),
            Self::Yarn => ("yarn1", "yarn/bin/yarn.js"),
            Self::Berry => ("berry", "@yarnpkg/cli-dist/bin/yarn.js"),
            Self::Bun => ("bun", ".bin/bun"),
        }
    }

    pub fn name(self) -> &'static str {
        self.place().0
    }
}

/// Where the clients are installed; installs them if need be.
fn clients() -> &'static Path {
    static CLIENTS: OnceLock<PathBuf> = OnceLock::new();
    CLIENTS.get_or_init(|| {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../benches/services/npm-clients.sh");
        let out =
            std::process::Command::new(script).stderr(Stdio::inherit()).output().expect("the install script runs");
        assert!(out.status.success(), "the npm clients cannot be installed");
        PathBuf::from(String::from_utf8(out.stdout).expect("a path").trim())
    })
}

/// No client needs longer, even on a busy machine.
const LONGEST: Duration = Duration::from_secs(180);

/// A person's machine; see the module.
pub struct Desk {
    home: PathBuf,
    registry: String,
    host: String,
    env: Vec<(String, String)>,
}

/// How a command ended.
pub struct Ran {
    pub code: Option<i32>,
    /// Standard output and standard error.
    pub text: String,
    pub stdout: String,
    command: String,
}

impl fmt::Debug for Ran {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` ended with {:?}:\n{}", self.command, self.code, self.text)
    }
}

impl Ran {
    #[track_caller]
    pub fn ok(self) -> Self {
        assert_eq!(self.code, Some(0), "{self:?}");
        self
    }
    #[track_caller]
    pub fn fails(self) -> Self {
        assert_ne!(self.code, Some(0), "{self:?}");
        self
    }
    #[track_caller]
    pub fn says(self, wanted: &str) -> Self {
        assert!(self.text.to_lowercase().contains(&wanted.to_lowercase()), "no `{wanted}` in {self:?}");
        self
    }
    #[track_caller]
    pub fn never_says(self, unwanted: &str) -> Self {
        assert!(!self.text.to_lowercase().contains(&unwanted.to_lowercase()), "`{unwanted}` in {self:?}");
        self
    }
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|e| panic!("no JSON ({e}) in {self:?}"))
    }
}

impl Desk {
    /// A machine that talks to `server`, with a token or without.
    pub fn new(server: &Server, name: &str, token: Option<&str>) -> Self {
        let home = server.scratch(&format!("desk-{name}"));
        let desk = Self {
            home,
            registry: format!("{}/npm/", server.base_url()),
            host: server.host().to_owned(),
            env: Vec::new(),
        };
        desk.configure(token, None);
        desk
    }

    pub fn home(&self) -> &Path {
        &self.home
    }
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// Adds an environment variable for all later commands.
    pub fn with_env(mut self, key: &str, value: &str) -> Self {
        self.env.push((key.to_owned(), value.to_owned()));
        self
    }

    /// Writes the configuration files of all clients anew. With `scope`, the server serves that scope only.
    pub fn configure(&self, token: Option<&str>, scope: Option<&str>) {
        let registry = &self.registry;
        let mut npmrc = match scope {
            Some(scope) => format!("{scope}:registry={registry}\nregistry=http://127.0.0.1:1/\n"),
            None => format!("registry={registry}\n"),
        };
        if let Some(token) = token {
            npmrc.push_str(&format!("//{}/npm/:_authToken={token}\n", self.host));
        }
        std::fs::write(self.home.join(".npmrc"), npmrc).expect("the scratch directory is writable");
        let token_line = token.map(|t| format!("    npmAuthToken: {t}\n")).unwrap_or_default();
        let yarnrc = format!(
            "npmRegistryServer: {registry}\nunsafeHttpWhitelist:\n  - 127.0.0.1\nenableTelemetry: false\n\
             enableGlobalCache: false\nenableMirror: false\nnpmMinimalAgeGate: 0\nenableImmutableInstalls: false\n\
             npmRegistries:\n  {}:\n    npmAlwaysAuth: false\n{token_line}",
            registry.trim_start_matches("http:").trim_end_matches('/'),
        );
        std::fs::write(self.home.join(".yarnrc.yml"), yarnrc).expect("the scratch directory is writable");
    }

    /// A new project folder with this `package.json`.
    pub fn project(&self, name: &str, package_json: &Value) -> PathBuf {
        let dir = self.home.join("work").join(name);
        std::fs::create_dir_all(&dir).expect("the scratch directory is writable");
        std::fs::write(dir.join("package.json"), format!("{package_json:#}\n"))
            .expect("the scratch directory is writable");
        dir
    }

    /// A package ready to publish, with a file and a readme.
    pub fn package(&self, package_json: &Value) -> PathBuf {
        let name = package_json["name"].as_str().expect("a name");
        let version = package_json["version"].as_str().expect("a version");
        let folder = format!("{}-{version}", name.replace(['@', '/'], "_"));
        let dir = self.project(&folder, package_json);
        std::fs::write(dir.join("index.js"), format!("module.exports = '{name}@{version}';\n")).expect("writable");
        std::fs::write(dir.join("README.md"), format!("# {name}\n")).expect("writable");
        dir
    }

    /// Publishes `name@version` with npm and expects success.
    pub async fn publish(&self, name: &str, version: &str) {
        self.publish_json(&json!({ "name": name, "version": version })).await;
    }

    pub async fn publish_json(&self, package_json: &Value) {
        let dir = self.package(package_json);
        self.run(Client::Npm10, &dir, &["publish"]).await.ok();
    }

    /// An ordinary project that depends on these packages.
    pub fn consumer(&self, name: &str, dependencies: &Value) -> PathBuf {
        self.project(name, &json!({ "name": name, "version": "1.0.0", "private": true, "dependencies": dependencies }))
    }

    fn command(&self, client: Client, dir: &Path, args: &[&str]) -> Command {
        let (folder, file) = client.place();
        let file = clients().join(folder).join("node_modules").join(file);
        let mut command = if file.extension().is_some_and(|e| e == "js") {
            let mut node = Command::new("node");
            node.arg(file);
            node
        } else {
            Command::new(file)
        };
        command.args(args);
        self.dress(&mut command, dir);
        command
    }

    fn dress(&self, command: &mut Command, dir: &Path) {
        command.current_dir(dir).env_clear();
        for (key, value) in [
            ("npm_config_update_notifier", "false"),
            ("npm_config_fund", "false"),
            ("npm_config_audit", "false"),
            ("npm_config_loglevel", "notice"),
            ("npm_config_minimum_release_age", "0"),
            ("PNPM_CONFIG_MINIMUM_RELEASE_AGE", "0"),
            ("npm_config_manage_package_manager_versions", "false"),
            ("PNPM_CONFIG_PM_ON_FAIL", "ignore"),
            ("YARN_NPM_MINIMAL_AGE_GATE", "0"),
            ("YARN_ENABLE_TELEMETRY", "0"),
            ("YARN_RC_FILENAME", ".yarnrc.yml"),
            ("NO_UPDATE_NOTIFIER", "1"),
            ("DO_NOT_TRACK", "1"),
            ("NO_COLOR", "1"),
            ("LANG", "C.UTF-8"),
            ("TERM", "dumb"),
        ] {
            command.env(key, value);
        }
        command
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", &self.home)
            .env("USERPROFILE", &self.home)
            .env("TMPDIR", self.tmp())
            .env("XDG_CACHE_HOME", self.home.join(".cache"))
            .env("XDG_CONFIG_HOME", self.home.join(".config"))
            .env("XDG_DATA_HOME", self.home.join(".local/share"))
            .env("XDG_STATE_HOME", self.home.join(".local/state"))
            .envs(self.env.iter().map(|(k, v)| (k, v)))
            .kill_on_drop(true);
    }

    fn tmp(&self) -> PathBuf {
        let tmp = self.home.join("tmp");
        std::fs::create_dir_all(&tmp).expect("the scratch directory is writable");
        tmp
    }

    /// Runs a client in a folder.
    pub async fn run(&self, client: Client, dir: &Path, args: &[&str]) -> Ran {
        let shown = format!("{} {}", client.name(), args.join(" "));
        let mut command = self.command(client, dir, args);
        command.stdin(Stdio::null());
        finish(command, shown, None).await
    }

    /// Runs npm at a terminal and types these lines.
    pub async fn type_into(&self, client: Client, dir: &Path, args: &[&str], lines: &[&str]) -> Ran {
        let (folder, file) = client.place();
        let file = clients().join(folder).join("node_modules").join(file);
        let line = format!("node {} {}", file.display(), args.join(" "));
        let mut command = Command::new("python3");
        command.args(["-c", TERMINAL, &line]).args(lines);
        self.dress(&mut command, dir);
        command.stdin(Stdio::piped());
        finish(command, format!("{} {}", client.name(), args.join(" ")), Some(String::new())).await
    }

    /// Runs `node -p` in a folder: what a program there sees.
    pub async fn node(&self, dir: &Path, expression: &str) -> Ran {
        let mut command = Command::new("node");
        command.args(["-p", expression]);
        self.dress(&mut command, dir);
        command.stdin(Stdio::null());
        finish(command, format!("node -p {expression}"), None).await
    }
}

/// Answers each prompt of a program on a pseudo-terminal with the next line: a line is sent once the program
/// has asked, that is, printed a colon and fallen silent.
const TERMINAL: &str = r#"
import os, pty, select, sys, time
command, answers = sys.argv[1], sys.argv[2:]
pid, fd = pty.fork()
if pid == 0:
    os.execvp("sh", ["sh", "-c", "exec " + command])
seen, answered = b"", 0
while True:
    ready, _, _ = select.select([fd], [], [], 0.3)
    if ready:
        try:
            data = os.read(fd, 65536)
        except OSError:
            break
        if not data:
            break
        sys.stdout.buffer.write(data)
        seen += data
    elif answers and seen[answered:].rstrip().endswith(b":"):
        answered = len(seen)
        os.write(fd, answers.pop(0).encode() + b"\n")
sys.stdout.buffer.flush()
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"#;

async fn finish(mut command: Command, shown: String, input: Option<String>) -> Ran {
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap_or_else(|error| panic!("`{shown}` cannot be started: {error}"));
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(input.unwrap_or_default().as_bytes()).await.expect("the client reads its input");
    }
    let out = tokio::time::timeout(LONGEST, child.wait_with_output())
        .await
        .unwrap_or_else(|_| panic!("`{shown}` did not end within {LONGEST:?}"))
        .expect("a child that was started can be waited for");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (stdout, stderr) = (text(&out.stdout), text(&out.stderr));
    Ran { code: out.status.code(), text: format!("{stdout}\n{stderr}"), stdout, command: shown }
}

//! A machine with npm clients on it.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    sync::OnceLock,
};

use serde_json::{Value, json};
use tokio::process::Command;

use super::{proxy::Proxy, run::Running};
use crate::{
    Server,
    process::{self, Ran},
};

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

/// A person's machine; see the module.
pub struct Desk {
    home: PathBuf,
    /// Ends in a slash.
    registry: String,
    authority: Option<PathBuf>,
    env: Vec<(String, String)>,
}

impl Desk {
    /// A machine that talks to `server`, with a token or without.
    pub fn new(server: &Server, name: &str, token: Option<&str>) -> Self {
        let desk = Self::at(server, name, &format!("{}/npm/", server.base_url()));
        desk.configure(token, None);
        desk
    }

    /// A machine that talks to `server` through a proxy, which it trusts.
    pub fn behind(server: &Server, name: &str, proxy: &Proxy, token: Option<&str>) -> Self {
        let mut desk = Self::at(server, name, &format!("{}://{}/npm/", proxy.scheme(), proxy.host()));
        desk.authority = proxy.authority().map(Path::to_owned);
        desk.configure(token, None);
        desk
    }

    fn at(server: &Server, name: &str, registry: &str) -> Self {
        let home = server.scratch(&format!("desk-{name}"));
        Self { home, registry: registry.to_owned(), authority: None, env: Vec::new() }
    }

    pub fn home(&self) -> &Path {
        &self.home
    }

    /// Adds an environment variable for all later commands.
    pub fn with_env(mut self, key: &str, value: &str) -> Self {
        self.env.push((key.to_owned(), value.to_owned()));
        self
    }

    /// Writes the configuration files of all clients anew. With `scope`, the server serves that scope only.
    pub fn configure(&self, token: Option<&str>, scope: Option<&str>) {
        let registry = &self.registry;
        let address = registry.split_once(':').map_or("", |(_, address)| address);
        let mut npmrc = match scope {
            Some(scope) => format!("{scope}:registry={registry}\nregistry=http://127.0.0.1:1/\n"),
            None => format!("registry={registry}\n"),
        };
        let mut yarnrc = format!(
            "npmRegistryServer: {registry}\nunsafeHttpWhitelist:\n  - 127.0.0.1\n  - localhost\n\
             enableTelemetry: false\nenableGlobalCache: false\nenableMirror: false\nnpmMinimalAgeGate: 0\n\
             enableImmutableInstalls: false\nhttpRetry: 0\n",
        );
        if let Some(authority) = &self.authority {
            npmrc.push_str(&format!("cafile={}\n", authority.display()));
            yarnrc.push_str(&format!("httpsCaFilePath: {}\n", authority.display()));
        }
        yarnrc.push_str(&format!("npmRegistries:\n  {}:\n    npmAlwaysAuth: false\n", address.trim_end_matches('/')));
        if let Some(token) = token {
            npmrc.push_str(&format!("{address}:_authToken={token}\n"));
            yarnrc.push_str(&format!("    npmAuthToken: {token}\n"));
        }
        std::fs::write(self.home.join(".npmrc"), npmrc).expect("the scratch directory is writable");
        std::fs::write(self.home.join(".yarnrc.yml"), yarnrc).expect("the scratch directory is writable");
    }

    /// The secret that a client has stored in its configuration.
    pub fn stored_token(&self) -> String {
        let places = [".npmrc", ".config/pnpm/auth.ini", ".yarnrc.yml"];
        let texts = places.iter().filter_map(|place| std::fs::read_to_string(self.home.join(place)).ok());
        let token = texts.flat_map(|text| secrets(&text)).next();
        token.expect("some client has logged in")
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
        if client == Client::Pnpm10 {
            command.env("npm_config_minimum_release_age", "0");
            command.env("npm_config_manage_package_manager_versions", "false");
        }
        command
    }

    fn dress(&self, command: &mut Command, dir: &Path) {
        command.current_dir(dir).env_clear();
        for (key, value) in [
            ("npm_config_update_notifier", "false"),
            ("npm_config_fund", "false"),
            ("npm_config_audit", "false"),
            ("npm_config_loglevel", "notice"),
            // A failed request shall show, not be tried again after a pause.
            ("npm_config_fetch_retries", "0"),
            ("PNPM_CONFIG_FETCH_RETRIES", "0"),
            ("PNPM_CONFIG_MINIMUM_RELEASE_AGE", "0"),
            ("PNPM_CONFIG_PM_ON_FAIL", "ignore"),
            ("PNPM_CONFIG_BLOCK_EXOTIC_SUBDEPS", "false"),
            ("YARN_NPM_MINIMAL_AGE_GATE", "0"),
            // For root, yarn classic keeps everything in /usr/local/share unless it thinks root is fake.
            ("FAKEROOTKEY", "1"),
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

    /// Runs a client in a folder, to its end.
    pub async fn run(&self, client: Client, dir: &Path, args: &[&str]) -> Ran {
        self.start(client, dir, args).ended().await
    }

    /// Starts a client in a folder.
    pub fn start(&self, client: Client, dir: &Path, args: &[&str]) -> Running {
        Running::start(self.command(client, dir, args), format!("{} {}", client.name(), args.join(" ")))
    }

    /// Runs a client at a terminal, where each prompt is answered as soon as it shows: `("Username:", "ada")`.
    pub async fn type_into(&self, client: Client, dir: &Path, args: &[&str], answers: &[(&str, &str)]) -> Ran {
        let mut command = process::at_terminal(&self.command(client, dir, args), answers);
        self.dress(&mut command, dir);
        Running::start(command, format!("{} {}", client.name(), args.join(" "))).ended().await
    }

    /// Runs `node -p` in a folder: what a program there sees.
    pub async fn node(&self, dir: &Path, expression: &str) -> Ran {
        let mut command = Command::new("node");
        command.args(["-p", expression]);
        self.dress(&mut command, dir);
        Running::start(command, format!("node -p {expression}")).ended().await
    }
}

/// The API tokens in a text.
pub fn secrets(text: &str) -> Vec<String> {
    let tails = text.split("pub_").skip(1);
    let tails = tails.map(|tail| tail.chars().take_while(char::is_ascii_alphanumeric).collect::<String>());
    tails.filter(|tail| tail.len() >= 40).map(|tail| format!("pub_{tail}")).collect()
}

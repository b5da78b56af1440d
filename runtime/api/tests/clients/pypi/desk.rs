//! A machine with Python clients on it.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    sync::OnceLock,
    time::Duration,
};

use tokio::process::Command;

use super::Dist;
use crate::{
    Server,
    process::{self, Ran},
};

/// The clients under test: an environment and a program in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Client {
    Pip23,
    Pip26,
    Uv,
    Twine,
    Poetry,
    Flit,
    Hatch,
    Pdm,
}

impl Client {
    pub const PIPS: [Self; 2] = [Self::Pip23, Self::Pip26];

    fn place(self) -> (&'static str, &'static str) {
        match self {
            Self::Pip23 => ("pip23", "pip"),
            Self::Pip26 => ("pip26", "pip"),
            Self::Uv => ("uv", "uv"),
            Self::Twine => ("twine", "twine"),
            Self::Poetry => ("poetry", "poetry"),
            Self::Flit => ("flit", "flit"),
            Self::Hatch => ("hatch", "hatch"),
            Self::Pdm => ("pdm", "pdm"),
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
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../benches/services/pypi-clients.sh");
        let out =
            std::process::Command::new(script).stderr(Stdio::inherit()).output().expect("the install script runs");
        assert!(out.status.success(), "the Python clients cannot be installed");
        PathBuf::from(String::from_utf8(out.stdout).expect("a path").trim())
    })
}

/// No client needs longer, even on a busy machine.
const LONGEST: Duration = Duration::from_secs(240);

/// A person's machine; see the module.
pub struct Desk {
    home: PathBuf,
    host: String,
    env: Vec<(String, String)>,
}

impl Desk {
    pub fn new(server: &Server, name: &str) -> Self {
        let home = server.scratch(&format!("desk-{name}"));
        Self { home, host: server.host().to_owned(), env: Vec::new() }
    }

    pub fn home(&self) -> &Path {
        &self.home
    }

    /// Adds an environment variable for all later commands.
    pub fn with_env(mut self, key: &str, value: &str) -> Self {
        self.env.push((key.to_owned(), value.to_owned()));
        self
    }

    pub fn index(&self) -> String {
        format!("http://{}/pypi/simple/", self.host)
    }
    /// The index address with credentials in it.
    pub fn index_as(&self, token: &str) -> String {
        format!("http://__token__:{token}@{}/pypi/simple/", self.host)
    }
    pub fn legacy(&self) -> String {
        format!("http://{}/pypi/legacy/", self.host)
    }

    /// A folder for a test's own files.
    pub fn folder(&self, name: &str) -> PathBuf {
        let dir = self.home.join("work").join(name);
        std::fs::create_dir_all(&dir).expect("the scratch directory is writable");
        dir
    }

    pub fn write(&self, dir: &Path, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = dir.join(name);
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).expect("the scratch directory is writable");
        }
        std::fs::write(&path, content).expect("the scratch directory is writable");
        path
    }

    /// A folder with the wheel and the sdist of a distribution, as build tools leave them.
    pub fn dist(&self, dist: &Dist) -> PathBuf {
        let dir = self.folder(&format!("{}-{}", dist.name, dist.version));
        self.write(&dir, &format!("dist/{}", dist.wheel_name()), dist.wheel());
        self.write(&dir, &format!("dist/{}", dist.sdist_name()), dist.sdist());
        dir
    }

    /// An empty virtual environment.
    pub async fn venv(&self, name: &str) -> Venv {
        let dir = self.home.join("venvs").join(name);
        let _ = std::fs::remove_dir_all(&dir);
        let python = clients().join("pip26/bin/python");
        let mut command = Command::new(python);
        command.args(["-m", "venv", "--without-pip"]).arg(&dir);
        self.dress(&mut command, &self.home);
        finish(command, format!("python -m venv {name}")).await.ok();
        Venv { dir }
    }

    fn dress(&self, command: &mut Command, dir: &Path) {
        let tmp = self.home.join("tmp");
        std::fs::create_dir_all(&tmp).expect("the scratch directory is writable");
        command.current_dir(dir).env_clear();
        for (key, value) in [
            ("PIP_DISABLE_PIP_VERSION_CHECK", "1"),
            ("PIP_NO_INPUT", "1"),
            ("PIP_NO_CACHE_DIR", "1"),
            ("UV_PYTHON_DOWNLOADS", "never"),
            ("UV_NO_PROGRESS", "1"),
            ("POETRY_NO_INTERACTION", "1"),
            ("POETRY_VIRTUALENVS_CREATE", "true"),
            ("POETRY_VIRTUALENVS_IN_PROJECT", "true"),
            ("POETRY_KEYRING_ENABLED", "false"),
            ("PYTHON_KEYRING_BACKEND", "keyring.backends.null.Keyring"),
            ("PDM_CHECK_UPDATE", "0"),
            ("PDM_NON_INTERACTIVE", "1"),
            ("HATCH_VERBOSE", "0"),
            ("NO_PROXY", "*"),
            ("NO_COLOR", "1"),
            ("COLUMNS", "1000"),
            ("LANG", "C.UTF-8"),
            ("TERM", "dumb"),
        ] {
            command.env(key, value);
        }
        command
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .env("HOME", &self.home)
            .env("TMPDIR", &tmp)
            .env("UV_CACHE_DIR", self.home.join(".cache/uv"))
            .env("UV_PYTHON", clients().join("pip26/bin/python"))
            .env("XDG_CACHE_HOME", self.home.join(".cache"))
            .env("XDG_CONFIG_HOME", self.home.join(".config"))
            .env("XDG_DATA_HOME", self.home.join(".local/share"))
            .env("XDG_STATE_HOME", self.home.join(".local/state"))
            .envs(self.env.iter().map(|(k, v)| (k, v)));
    }

    /// Runs a client in a folder.
    pub async fn run(&self, client: Client, dir: &Path, args: &[&str]) -> Ran {
        let (folder, program) = client.place();
        let mut command = Command::new(clients().join(folder).join("bin").join(program));
        command.args(args);
        self.dress(&mut command, dir);
        finish(command, format!("{} {}", client.name(), args.join(" "))).await
    }

    /// Installs into an environment with pip or uv.
    pub async fn install(&self, client: Client, venv: &Venv, index: &str, args: &[&str]) -> Ran {
        let python = venv.python().display().to_string();
        let mut all = match client {
            Client::Uv => vec!["pip", "install", "--python", &python, "--index-url", index],
            _ => vec!["--python", &python, "install", "--index-url", index],
        };
        all.extend(args);
        self.run(client, &self.home, &all).await
    }

    /// What Python in an environment makes of an expression.
    pub async fn python(&self, venv: &Venv, expression: &str) -> Ran {
        let mut command = Command::new(venv.python());
        command.args(["-c", &format!("print({expression})")]);
        self.dress(&mut command, &self.home);
        finish(command, format!("python -c {expression}")).await
    }

    /// The version of a package in an environment.
    pub async fn version(&self, venv: &Venv, name: &str) -> String {
        let expression = format!("__import__('importlib.metadata').metadata.version({name:?})");
        self.python(venv, &expression).await.ok().stdout.trim().to_owned()
    }
}

/// A virtual environment without pip.
pub struct Venv {
    dir: PathBuf,
}

impl Venv {
    pub fn python(&self) -> PathBuf {
        self.dir.join("bin/python")
    }
}

async fn finish(command: Command, shown: String) -> Ran {
    process::run(command, &shown, "", LONGEST).await.ran(shown)
}

//! A machine with Composer on it.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    sync::OnceLock,
    time::Duration,
};

use serde_json::{Value, json};
use tokio::process::Command;

use crate::{
    Server,
    process::{self, Ran},
};

/// Where Composer is; installs it if need be.
fn program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../benches/services/composer-clients.sh");
        let out =
            std::process::Command::new(script).stderr(Stdio::inherit()).output().expect("the install script runs");
        assert!(out.status.success(), "Composer cannot be installed");
        PathBuf::from(String::from_utf8(out.stdout).expect("a path").trim())
    })
}

/// No command needs longer, even on a busy machine.
const LONGEST: Duration = Duration::from_secs(120);

/// A person's machine; see the module.
pub struct Desk {
    home: PathBuf,
    host: String,
    env: Vec<(String, String)>,
}

impl Desk {
    pub fn new(server: &Server, name: &str) -> Self {
        let home = server.scratch(&format!("composer-{name}"));
        Self { home, host: server.host().to_owned(), env: Vec::new() }
    }

    /// Adds an environment variable for all later commands.
    pub fn with_env(mut self, key: &str, value: &str) -> Self {
        self.env.push((key.to_owned(), value.to_owned()));
        self
    }

    /// A project that uses the server's repository and no other.
    pub fn project(&self, name: &str, require: &Value) -> PathBuf {
        let dir = self.home.join("work").join(name);
        std::fs::create_dir_all(&dir).expect("the scratch directory is writable");
        let url = format!("http://{}/composer", self.host);
        let composer = json!({
            "name": "corp/app",
            "description": "a project",
            "license": "proprietary",
            "repositories": [{ "type": "composer", "url": url }, { "packagist.org": false }],
            "config": { "secure-http": false },
            "require": require,
        });
        std::fs::write(dir.join("composer.json"), composer.to_string()).expect("the scratch directory is writable");
        dir
    }

    /// Runs Composer in a folder.
    pub async fn run(&self, dir: &Path, args: &[&str]) -> Ran {
        let mut command = Command::new(program());
        command.args(args).args(["--no-interaction", "--no-ansi"]);
        self.finish(command, dir, format!("composer {}", args.join(" "))).await
    }

    /// What PHP prints in a folder.
    pub async fn php(&self, dir: &Path, code: &str) -> Ran {
        let mut command = Command::new("php");
        command.args(["-r", code]);
        self.finish(command, dir, format!("php -r {code}")).await
    }

    /// curl in a folder, with the status line in its output.
    pub async fn curl(&self, dir: &Path, args: &[&str]) -> Ran {
        let mut command = Command::new("curl");
        command.args(["-sS", "-i"]).args(args);
        self.finish(command, dir, format!("curl {}", args.join(" "))).await
    }

    async fn finish(&self, mut command: Command, dir: &Path, shown: String) -> Ran {
        command.current_dir(dir).env_clear();
        command
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .env("HOME", &self.home)
            .env("COMPOSER_HOME", self.home.join("composer"))
            .env("COMPOSER_CACHE_DIR", self.home.join("cache"))
            .env("COMPOSER_ALLOW_SUPERUSER", "1")
            .env("COMPOSER_DISABLE_XDEBUG_WARN", "1")
            .env("COLUMNS", "1000")
            .env("NO_PROXY", "*")
            .env("LANG", "C.UTF-8")
            .env("TERM", "dumb")
            .envs(self.env.iter().map(|(key, value)| (key, value)));
        process::run(command, &shown, "", LONGEST).await.ran(shown)
    }
}

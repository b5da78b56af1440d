//! Publaryn's release build, with the settings it has out of the box.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::process::Command;

use super::{NpmRegistry, START_WITHIN, Services};
use crate::{
    Error,
    process::{self, Process},
};

/// What the server stands on.
#[derive(Debug, Clone)]
pub(crate) enum Backend {
    Embedded,
    External(Services),
}

impl Backend {
    /// The name in reports.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Embedded => "embedded",
            Self::External(_) => "PostgreSQL, Redis, S3",
        }
    }
}

/// A running server.
pub(crate) struct Publaryn {
    process: Process,
    program: PathBuf,
    dir: PathBuf,
    settings: Vec<(&'static str, String)>,
    pub base: String,
    /// From the start of the process to the first 200 of `/health`.
    pub started_within: Duration,
}

impl Publaryn {
    /// Starts a server whose data lies in `dir/data`; an embedded one finds again what was there.
    pub(crate) async fn start(program: &Path, backend: &Backend, dir: &Path) -> Result<Self, Error> {
        std::fs::create_dir_all(dir)?;
        let mut settings = vec![
            // Limits would be what is measured; and packages that anyone may read are the task.
            ("rate_limit.enabled", "false".to_owned()),
            ("packages.personal_repository_visibility", "public".to_owned()),
        ];
        if let Backend::External(services) = backend {
            settings.extend(services.settings().await?);
        }
        let port = process::free_port()?;
        let base = format!("http://127.0.0.1:{port}");
        let mut command = prepared(program, dir, &settings);
        command.args(["serve", "--listen", &format!("127.0.0.1:{port}")]);
        let mut process = Process::start(command, dir.join("log"))?;
        let started_within = process.wait_for(&format!("{base}/health"), START_WITHIN).await?;
        Ok(Self { process, program: program.to_owned(), dir: dir.to_owned(), settings, base, started_within })
    }

    /// Makes an account and a token for it.
    pub(crate) async fn publisher(&self) -> Result<NpmRegistry, Error> {
        let password = self.dir.join("password");
        std::fs::write(&password, "correct horse battery staple")?;
        let mut create = self.command();
        create.args(["admin", "create-user", "--username", "bench", "--email", "bench@example.test"]);
        process::output(create.arg("--password-file").arg(&password)).await?;
        let mut issue = self.command();
        issue.args(["admin", "create-token", "--username", "bench", "--name", "bench", "--scopes", "packages:write"]);
        let token = process::output(&mut issue).await?.trim().to_owned();
        Ok(NpmRegistry { base: format!("{}/npm", self.base), token: Some(token) })
    }

    pub(crate) fn pid(&self) -> Result<u32, Error> {
        self.process.pid()
    }

    pub(crate) async fn stop(self) -> Result<(), Error> {
        self.process.stop().await
    }

    fn command(&self) -> Command {
        prepared(&self.program, &self.dir, &self.settings)
    }
}

fn prepared(program: &Path, dir: &Path, settings: &[(&str, String)]) -> Command {
    let mut command = Command::new(program);
    command.arg("--data-dir").arg(dir.join("data"));
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
    for (key, value) in settings {
        command.env(format!("PUBLARYN__{}", key.replace('.', "__").to_uppercase()), value);
    }
    command
}

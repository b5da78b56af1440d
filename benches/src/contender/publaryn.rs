//! Publaryn's release build, with the settings it has out of the box.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::process::Command;

use super::{Login, Registry, START_WITHIN, Services, folder};
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

/// Where the metadata lie.
#[derive(Debug, Clone)]
pub(crate) enum Database {
    Sqlite(PathBuf),
    Postgres(String),
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
        folder(dir)?;
        let mut settings = vec![
            // Limits would be what is measured; and packages that anyone may read are the task.
            ("rate_limit.enabled", "false".to_owned()),
            ("packages.personal_repository_visibility", "public".to_owned()),
        ];
        if let Backend::External(services) = backend {
            settings.extend(services.settings().await?);
        }
        Self::start_with(program, dir, settings).await
    }

    async fn start_with(program: &Path, dir: &Path, settings: Vec<(&'static str, String)>) -> Result<Self, Error> {
        let port = process::free_port()?;
        let base = format!("http://127.0.0.1:{port}");
        let mut command = prepared(program, dir, &settings);
        command.args(["serve", "--listen", &format!("127.0.0.1:{port}")]);
        let mut process = Process::start(command, dir.join("log"))?;
        let started_within = process.wait_for(&format!("{base}/health"), START_WITHIN).await?;
        Ok(Self { process, program: program.to_owned(), dir: dir.to_owned(), settings, base, started_within })
    }

    /// Stops it, does something to its database, and starts it again.
    pub(crate) async fn while_stopped(
        self,
        work: impl AsyncFnOnce(Database) -> Result<(), Error>,
    ) -> Result<Self, Error> {
        let Self { process, program, dir, settings, .. } = self;
        process.stop().await?;
        let url = settings.iter().find(|(key, _)| *key == "database.url");
        work(match url {
            Some((_, url)) => Database::Postgres(url.clone()),
            None => Database::Sqlite(dir.join("data/publaryn.db")),
        })
        .await?;
        Self::start_with(&program, &dir, settings).await
    }

    /// Makes an account and a token for it.
    pub(crate) async fn account(&self) -> Result<Account, Error> {
        self.new_account(&[], "packages:write").await
    }

    /// Makes an account that may do everything.
    pub(crate) async fn administrator(&self) -> Result<Account, Error> {
        self.new_account(&["--admin"], "packages:write,orgs:read,orgs:join,tokens:read,audit:read,admin:write").await
    }

    async fn new_account(&self, how: &[&str], scopes: &str) -> Result<Account, Error> {
        let password = self.dir.join("password");
        std::fs::write(&password, "correct horse battery staple")?;
        let mut create = self.command();
        create.args(["admin", "create-user", "--username", "bench", "--email", "bench@example.test"]).args(how);
        process::output(create.arg("--password-file").arg(&password)).await?;
        let mut issue = self.command();
        issue.args(["admin", "create-token", "--username", "bench", "--name", "bench", "--scopes", scopes]);
        let token = process::output(&mut issue).await?.trim().to_owned();
        Ok(Account { base: self.base.clone(), token })
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

/// Somebody who may publish; each ecosystem's client logs in in its own way.
#[derive(Debug, Clone)]
pub(crate) struct Account {
    /// The server's address.
    base: String,
    token: String,
}

impl Account {
    pub(crate) fn npm(&self) -> Registry {
        self.at("/npm", self.bearer())
    }
    pub(crate) fn cargo(&self) -> Registry {
        self.at("/cargo", Login::Bare(self.token.clone()))
    }
    pub(crate) fn rubygems(&self) -> Registry {
        self.at("/rubygems", Login::Bare(self.token.clone()))
    }
    pub(crate) fn pypi(&self) -> Registry {
        self.at("/pypi", Login::Basic("__token__", self.token.clone()))
    }
    pub(crate) fn composer(&self) -> Registry {
        self.at("/composer", Login::Basic("bench", self.token.clone()))
    }
    pub(crate) fn nuget(&self) -> Registry {
        self.at("/nuget", Login::Basic("bench", self.token.clone()))
    }
    pub(crate) fn maven(&self) -> Registry {
        self.at("/maven", Login::Basic("bench", self.token.clone()))
    }
    pub(crate) fn oci(&self) -> Registry {
        self.at("", Login::Basic("bench", self.token.clone()))
    }
    /// The login of the management API, whichever address it has.
    pub(crate) fn bearer(&self) -> Login {
        Login::Bearer(self.token.clone())
    }

    fn at(&self, path: &str, login: Login) -> Registry {
        Registry { base: format!("{}{path}", self.base), login }
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

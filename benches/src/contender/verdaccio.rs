//! verdaccio, the npm registry people run today, with fresh storage and nothing it could skip left on.

use std::path::Path;

use tokio::process::Command;

use super::{Registry, START_WITHIN, folder};
use crate::{
    Error,
    process::{Process, free_port},
};

/// A running verdaccio.
pub(crate) struct Verdaccio {
    process: Process,
    pub npm: Registry,
}

/// Everyone may do everything, so that it spends nothing on passwords; no uplinks, no audit, no web page.
const CONFIG: &str = "
storage: ./storage
auth:
  htpasswd:
    file: ./htpasswd
    max_users: -1
uplinks: {}
packages:
  '**':
    access: $all
    publish: $all
    unpublish: $all
middlewares: {}
web:
  enable: false
log: { type: stdout, format: pretty, level: error }
max_body_size: 512mb
";

impl Verdaccio {
    pub(crate) async fn start(tools: &Path, dir: &Path) -> Result<Self, Error> {
        let config = folder(dir)?.join("config.yaml");
        std::fs::write(&config, CONFIG)?;
        let port = free_port()?;
        let mut command = Command::new("node");
        command
            .arg(tools.join("verdaccio/node_modules/verdaccio/bin/verdaccio"))
            .arg("--config")
            .arg(&config)
            .arg("--listen")
            .arg(format!("127.0.0.1:{port}"));
        command.env("NODE_ENV", "production");
        let mut process = Process::start(command, dir.join("log"))?;
        let base = format!("http://127.0.0.1:{port}");
        process.wait_for(&format!("{base}/-/ping"), START_WITHIN).await?;
        Ok(Self { process, npm: Registry::open_to_all(base) })
    }

    pub(crate) async fn stop(self) -> Result<(), Error> {
        self.process.stop().await
    }
}

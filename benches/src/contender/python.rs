//! pypiserver and devpi, the Python registries people host themselves.

use std::path::Path;

use reqwest::Method;
use serde_json::json;
use tokio::process::Command;

use super::{Login, Registry, START_WITHIN, folder};
use crate::{
    Error, http,
    process::{self, Process, free_port},
    publisher::accepted,
};

/// A running pypiserver, which serves what lies in a folder.
pub(crate) struct PyPiServer {
    process: Process,
    pub base: String,
}

impl PyPiServer {
    /// `tools` has its program; `files` are the distributions it has.
    pub(crate) async fn start(tools: &Path, dir: &Path, files: &[(String, Vec<u8>)]) -> Result<Self, Error> {
        let packages = dir.join("packages");
        folder(&packages)?;
        for (name, bytes) in files {
            std::fs::write(packages.join(name), bytes)?;
        }
        let port = free_port()?;
        let mut command = Command::new(tools.join("python/bin/pypi-server"));
        command.args(["run", "--interface", "127.0.0.1", "--port", &port.to_string(), "--disable-fallback"]);
        // As its documentation advises for more than a toy: listings are kept, not made per request; of the servers
        // that are installed it takes waitress by itself.
        command.args(["--backend", "cached-dir"]).arg(&packages);
        let mut process = Process::start(command, dir.join("log"))?;
        let base = format!("http://127.0.0.1:{port}");
        process.wait_for(&format!("{base}/health"), START_WITHIN).await?;
        Ok(Self { process, base })
    }

    pub(crate) async fn stop(self) -> Result<(), Error> {
        self.process.stop().await
    }
}

/// A running devpi-server with one index, `bench/dev`.
pub(crate) struct Devpi {
    process: Process,
    /// The index.
    pub index: Registry,
}

impl Devpi {
    pub(crate) async fn start(tools: &Path, dir: &Path) -> Result<Self, Error> {
        let (data, port) = (folder(dir)?.join("data"), free_port()?);
        let bin = tools.join("python/bin");
        let mut init = Command::new(bin.join("devpi-init"));
        process::output(init.arg("--serverdir").arg(&data).arg("--no-root-pypi")).await?;
        let mut command = Command::new(bin.join("devpi-server"));
        command.arg("--serverdir").arg(&data).args(["--host", "127.0.0.1", "--port", &port.to_string()]);
        let mut process = Process::start(command, dir.join("log"))?;
        let base = format!("http://127.0.0.1:{port}");
        process.wait_for(&format!("{base}/+status"), START_WITHIN).await?;
        let (client, password) = (http::client()?, "correct horse");
        let root = Registry { base, login: Login::Basic("bench", password.to_owned()) };
        let put =
            |path, body| root.request(&client, Method::PUT, path).header("accept", "application/json").json(&body);
        // The account first, by nobody: there is no such login yet.
        let create = client.put(format!("{}/bench", root.base)).header("accept", "application/json");
        accepted(create.json(&json!({ "password": password }))).await?;
        accepted(put("/bench/dev", json!({ "bases": [], "volatile": false }))).await?;
        let index = Registry { base: format!("{}/bench/dev", root.base), login: root.login.clone() };
        Ok(Self { process, index })
    }

    pub(crate) async fn stop(self) -> Result<(), Error> {
        self.process.stop().await
    }
}

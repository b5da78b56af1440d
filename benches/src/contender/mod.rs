//! The servers that are measured, each on its own port and its own data.

mod distribution;
mod nginx;
mod publaryn;
mod python;
mod services;
mod verdaccio;

pub(crate) use distribution::Distribution;
pub(crate) use nginx::Nginx;
pub(crate) use publaryn::{Account, Backend, Database, Publaryn};
pub(crate) use python::{Devpi, PyPiServer};
pub(crate) use services::Services;
pub(crate) use verdaccio::Verdaccio;

use std::{path::Path, time::Duration};

use crate::Error;

/// A server that takes longer to answer at all does not work.
pub(crate) const START_WITHIN: Duration = Duration::from_secs(60);

/// A registry, as a publishing client knows it.
#[derive(Debug, Clone)]
pub(crate) struct Registry {
    /// Without trailing slash.
    pub base: String,
    pub login: Login,
}

/// How a client says who it is.
#[derive(Debug, Clone)]
pub(crate) enum Login {
    Nobody,
    Bearer(String),
    /// The header is the token, as Cargo sends it.
    Bare(String),
    Basic(&'static str, String),
}

impl Registry {
    pub(crate) fn open_to_all(base: String) -> Self {
        Self { base, login: Login::Nobody }
    }

    /// A request to `path` below its address, with the login.
    pub(crate) fn request(
        &self,
        client: &reqwest::Client,
        method: reqwest::Method,
        path: &str,
    ) -> reqwest::RequestBuilder {
        let request = client.request(method, format!("{}{path}", self.base));
        match &self.login {
            Login::Nobody => request,
            Login::Bearer(token) => request.bearer_auth(token),
            Login::Bare(token) => request.header(reqwest::header::AUTHORIZATION, token),
            Login::Basic(user, password) => request.basic_auth(user, Some(password)),
        }
    }
}

/// A folder below the scratch directory, made anew.
fn folder(dir: &Path) -> Result<&Path, Error> {
    std::fs::create_dir_all(dir)?;
    Ok(dir)
}

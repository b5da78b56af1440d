//! Defaults that follow from other settings or from the machine.
//!
//! Each gives the text an operator could have written, or `None` when what it follows from is
//! faulty; that fault is reported where it belongs.

use std::{net::SocketAddr, path::PathBuf};

use crate::{BaseUrl, DatabaseUrl, HttpUrl, loader::Loader, value::Setting};

pub(crate) fn base_url(loader: &Loader) -> Option<String> {
    loader.peek("server.listen").map(base_url_of)
}

/// The address to reach `listen` from this machine.
pub(crate) fn base_url_of(listen: SocketAddr) -> String {
    if listen.ip().is_unspecified() {
        format!("http://localhost:{}", listen.port())
    } else {
        format!("http://{listen}")
    }
}

pub(crate) fn database_url(loader: &Loader) -> Option<String> {
    let data_dir: PathBuf = loader.peek("data_dir")?;
    Some(DatabaseUrl::Sqlite(data_dir.join("publaryn.db")).expose())
}

pub(crate) fn blob_directory(loader: &Loader) -> Option<String> {
    let data_dir: PathBuf = loader.peek("data_dir")?;
    data_dir.join("blobs").show()
}

pub(crate) fn path_style(loader: &Loader) -> Option<String> {
    let endpoint: Option<HttpUrl> = loader.peek("storage.s3.endpoint")?;
    Some(endpoint.is_some().to_string())
}

pub(crate) fn search_backend(loader: &Loader) -> Option<String> {
    let url: Option<HttpUrl> = loader.peek("search.url")?;
    Some(if url.is_some() { "meilisearch" } else { "embedded" }.to_owned())
}

pub(crate) fn issuer(loader: &Loader) -> Option<String> {
    loader.peek::<BaseUrl>("server.base_url").map(|url| url.to_string())
}

pub(crate) fn audience(loader: &Loader) -> Option<String> {
    loader.peek::<BaseUrl>("server.base_url").map(|url| url.authority().to_owned())
}

pub(crate) fn job_concurrency(loader: &Loader) -> Option<String> {
    Some(loader.machine().cpus.max(4).to_string())
}

pub(crate) fn poll_interval(loader: &Loader) -> Option<String> {
    let database: DatabaseUrl = loader.peek("database.url")?;
    Some(if database.is_sqlite() { "200" } else { "1000" }.to_owned())
}

pub(crate) fn log_format(loader: &Loader) -> Option<String> {
    Some(if loader.machine().stderr_is_terminal { "pretty" } else { "json" }.to_owned())
}

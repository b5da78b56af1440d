//! `GET /cargo/api/v1/crates/{crate}/{version}/download`: the archive as it was uploaded.

use axum::response::Response;
use http::Method;
use publaryn_protocol::respond_artifact;

use crate::call::{Answer, Call, VersionPath};

/// The file name an archive is stored under; `name` in its published spelling.
pub(crate) fn archive_filename(name: &str, version: &str) -> String {
    format!("{name}-{version}.crate")
}

pub(crate) async fn download(method: Method, path: VersionPath, call: Call) -> Response {
    call.answer(archive(&call, &method, &path).await)
}

async fn archive(call: &Call, method: &Method, path: &VersionPath) -> Answer {
    call.require_login_where_closed()?;
    let view = call.package(&path.name).await?;
    let artifact = call.registry.artifact(&view, &archive_filename(view.name(), &path.version)).await?;
    Ok(respond_artifact(&call.registry, artifact, method, &call.headers).await?)
}

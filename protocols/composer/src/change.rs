//! Changes to what is published: yanking, abandoning; and what clients report of installs.

use axum::{body::Body, response::IntoResponse};
use http::StatusCode;
use publaryn_core::{Ecosystem, Operation, RegistryError};
use publaryn_protocol::{byte_stream, read_body};
use serde_json::{Value, json};

use crate::{
    call::{Answer, Call, json as json_answer, ok},
    error::ComposerError,
    name,
    release::abandoned_message,
    upload::drain,
    version::Normalized,
};

/// Largest body of these routes, in bytes, and what is listened to of a report of installs.
const MAX_BODY_BYTES: u64 = 1 << 20;
const MAX_REPORT_BYTES: u64 = 8 << 20;

/// `DELETE /packages/{v}/{p}/versions/{version}` and its `POST`.
pub(crate) async fn set_yanked(call: &Call, package: &str, version: &str, yanked: bool) -> Answer {
    call.require_scope(Operation::ManageReleases)?;
    let canonical = name::canonical(package).ok_or(RegistryError::NotFound)?;
    let version = Normalized::parse(version).map_err(|_| RegistryError::VersionNotFound(version.to_owned()))?;
    call.registry.set_yanked(&call.who, Ecosystem::Composer, &canonical, &version.unique, yanked, None).await?;
    if yanked {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    ok(&json!({ "status": "success" }))
}

/// `PUT /packages/{v}/{p}/abandoned`: all versions, also those to come, so that every client hears of it.
pub(crate) async fn abandon(call: &Call, package: &str, body: Body) -> Answer {
    call.require_scope(Operation::ManageReleases)?;
    let body = read_body(body, MAX_BODY_BYTES).await?;
    let wanted: Value = match body.is_empty() {
        true => Value::Null,
        false => serde_json::from_slice(&body).map_err(|_| ComposerError::bad_request("the body must be JSON"))?,
    };
    let replacement = match wanted.get("replacement") {
        None | Some(Value::Null) => None,
        Some(Value::String(name)) if name::is_name(name) => Some(name.as_str()),
        Some(_) => return Err(ComposerError::bad_request("`replacement` must be the name of a package, or null")),
    };
    deprecate(call, package, Some(&abandoned_message(replacement))).await
}

/// `DELETE /packages/{v}/{p}/abandoned`
pub(crate) async fn take_up(call: &Call, package: &str) -> Answer {
    call.require_scope(Operation::ManageReleases)?;
    deprecate(call, package, None).await
}

async fn deprecate(call: &Call, package: &str, message: Option<&str>) -> Answer {
    let view = call.package(package).await?;
    call.registry.deprecate_package(&call.who, Ecosystem::Composer, view.name(), message).await?;
    ok(&json!({ "status": "success" }))
}

/// `POST /downloads`: what a client has installed, from here or from its cache. Nothing is counted by it, because
/// everybody can send anything; downloads are counted where their bytes are sent. Whatever it is, it fails nobody's
/// install.
pub(crate) async fn installed(body: Body) -> Answer {
    drain(byte_stream(body), MAX_REPORT_BYTES).await;
    Ok(json_answer(StatusCode::CREATED, &json!({ "status": "success" })))
}

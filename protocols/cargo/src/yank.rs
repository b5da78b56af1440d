//! `DELETE …/{version}/yank` and `PUT …/{version}/unyank`. Idempotent; a held version takes the mark
//! along and is exposed with it.

use axum::response::Response;
use publaryn_core::{Ecosystem, Operation, RegistryError, Version};
use serde_json::json;

use crate::{
    call::{Answer, Call, VersionPath, json},
    error::about,
};

pub(crate) async fn yank(path: VersionPath, call: Call) -> Response {
    call.answer(set_yanked(&call, &path, true).await)
}

pub(crate) async fn unyank(path: VersionPath, call: Call) -> Response {
    call.answer(set_yanked(&call, &path, false).await)
}

async fn set_yanked(call: &Call, path: &VersionPath, yanked: bool) -> Answer {
    call.require_scope(Operation::ManageReleases)?;
    let view = call.package(&path.name).await?;
    let refused = |error| about(error, view.name());
    let unknown = || refused(RegistryError::VersionNotFound(path.version.clone()));
    let version = Version::semver(&path.version).ok_or_else(unknown)?;
    // Build metadata is no part of a version's identity, but naming another one is a mistake.
    let document = call.registry.document(&view).await?;
    let namesake = document.releases.iter().find(|r| r.row.version_key == version.unique_key());
    if namesake.is_some_and(|release| release.row.version != path.version) {
        return Err(unknown());
    }
    let key = version.unique_key();
    let name = crate::name::collision_key(view.name());
    let done = call.registry.set_yanked(&call.who, Ecosystem::Cargo, &name, key, yanked, None).await;
    done.map_err(|error| match error {
        RegistryError::VersionNotFound(_) => unknown(),
        other => refused(other),
    })?;
    Ok(json(&json!({ "ok": true })))
}

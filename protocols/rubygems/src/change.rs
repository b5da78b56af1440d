//! Yanking, and bringing back. A yanked gem leaves every index; its file stays under its address (ADR 0038).

use axum::{body::Body, response::Response};
use http::StatusCode;
use publaryn_core::{Ecosystem, Operation, RegistryError, access::Denial};

use crate::{
    call::{Answer, Call, text},
    error::GemError,
    name,
    version::{self, RUBY},
};

/// `DELETE /api/v1/gems/yank` and `PUT /api/v1/gems/unyank`.
pub(crate) async fn set_yanked(call: &Call, body: Body, yanked: bool) -> Answer {
    call.require_scope(Operation::ManageReleases)?;
    let form = call.form(body).await?;
    let (gem, number) = (form.need("gem_name")?, form.need("version")?);
    let platform = form.get("platform").unwrap_or(RUBY);
    let view = call.gem(gem).await?;
    // Before any look at its releases: staged ones are not for everybody to know of.
    call.registry.may(&call.who, Operation::ManageReleases, &view).await.map_err(refusal)?;
    let missing = || GemError::from(RegistryError::VersionNotFound(number.chars().take(100).collect()));
    let version = version::version_of(number, platform).ok_or_else(missing)?;
    // Equal numbers are no other names for a release.
    let taken = call.registry.taken_version(&view, &version).await?;
    if taken.as_deref() != Some(version.as_str()) {
        return Err(missing());
    }
    let document = call.registry.document(&view).await?;
    let known = document.releases.iter().find(|release| release.row.version == version.as_str());
    if known.is_some_and(|release| release.row.is_yanked == yanked) {
        let text = format!("The version {number} has already been {}.", if yanked { "deleted" } else { "restored" });
        return Err(GemError::refused(StatusCode::UNPROCESSABLE_ENTITY, text));
    }
    let (key, canonical) = (version.unique_key(), name::canonical(gem));
    let done = call.registry.set_yanked(&call.who, Ecosystem::Rubygems, &canonical, key, yanked, None).await;
    done.map_err(|error| match error {
        RegistryError::VersionNotFound(_) => missing(),
        other => refusal(other),
    })?;
    Ok(said(yanked, gem, version.as_str()))
}

fn refusal(error: RegistryError) -> GemError {
    match error {
        RegistryError::Denied(Denial::InsufficientPermission(_)) => {
            GemError::refused(StatusCode::FORBIDDEN, "You do not have permission to delete this gem.")
        }
        other => other.into(),
    }
}

fn said(yanked: bool, gem: &str, version: &str) -> Response {
    let what = if yanked { "deleted" } else { "restored" };
    text(format!("Successfully {what} gem: {gem} ({version})\n"))
}

//! `/v1/packages/*`: packages, releases, artifacts, tags, findings, trusted publishers
//! (control-plane.md §8).

mod analysis;
mod artifacts;
mod findings;
pub mod objects;
mod package;
mod publishers;
mod releases;
mod tags;

use publaryn_core::{Ecosystem, PackageName, RegistryError, Version};

use super::{ApiState, input::path_ecosystem, problem::Problem, route::Routes};

pub use package::{of_org, of_repository, of_user};

pub fn routes() -> Routes {
    package::routes()
        .with(releases::routes())
        .with(artifacts::routes())
        .with(tags::routes())
        .with(findings::routes())
        .with(publishers::routes())
        .with(publishers::pending_routes())
}

/// The package a path names. What is no name names nothing: 404.
fn package_in(state: &ApiState, ecosystem: &str, name: &str) -> Result<(Ecosystem, PackageName), Problem> {
    let ecosystem = path_ecosystem(ecosystem)?;
    let name = (state.parse_name)(ecosystem, name).map_err(|_| Problem::not_found())?;
    Ok((ecosystem, name))
}

/// A version as its ecosystem reads it.
fn parse_version(state: &ApiState, ecosystem: Ecosystem, text: &str) -> Result<Version, RegistryError> {
    match state.adapters.iter().find(|adapter| adapter.ecosystem() == ecosystem) {
        Some(adapter) => adapter.parse_version(text),
        None => Err(RegistryError::Unsupported(format!("the ecosystem {ecosystem}"))),
    }
}

/// The key of the version a path names; what is no version is not there.
fn version_in(state: &ApiState, ecosystem: Ecosystem, text: &str) -> Result<String, Problem> {
    let version = parse_version(state, ecosystem, text).map_err(|_| Problem::not_found())?;
    Ok(version.unique_key().to_owned())
}

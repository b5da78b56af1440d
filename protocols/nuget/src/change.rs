//! Unlisting and relisting. What is unlisted leaves search and the lists of versions people choose from; projects that
//! name the version still restore it.

use axum::response::{IntoResponse, Response};
use http::StatusCode;
use publaryn_core::{Ecosystem, Operation, RegistryError, access::Denial};

use crate::{
    call::{Answer, Call},
    error::{NugetError, about},
    name, version,
};

pub(crate) async fn set_listed(call: &Call, id: &str, raw_version: &str, is_listed: bool) -> Answer {
    call.require_scope(Operation::ManageReleases)?;
    let shown = |text: &str| text.chars().take(100).collect::<String>();
    let refused = |error: RegistryError| match error {
        RegistryError::NotFound | RegistryError::VersionNotFound(_) => {
            let error = RegistryError::VersionNotFound(raw_version.to_owned());
            about(error, &shown(id), &shown(raw_version))
        }
        RegistryError::Denied(Denial::InsufficientPermission(_)) => {
            NugetError::from(error).saying(format!("You may not change {}", shown(id)))
        }
        other => other.into(),
    };
    let Some(version) = version::parse_version(raw_version).filter(|_| name::is_id(id)) else {
        return Err(refused(RegistryError::NotFound));
    };
    let (id, key) = (name::canonical(id), version.unique_key());
    let done = call.registry.set_yanked(&call.who, Ecosystem::Nuget, &id, key, !is_listed, None).await;
    done.map_err(refused)?;
    Ok(if is_listed { ok() } else { StatusCode::NO_CONTENT.into_response() })
}

fn ok() -> Response {
    StatusCode::OK.into_response()
}

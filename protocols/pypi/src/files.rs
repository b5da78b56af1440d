//! `GET /pypi/files/{artifact-id}/{filename}[.metadata]`: distribution files and what wheels say of themselves.

use publaryn_core::{ArtifactId, CompanionRole, Ecosystem, RegistryError};
use publaryn_protocol::respond_artifact;
use publaryn_registry::ServableArtifact;

use crate::{
    call::{Answer, Call},
    error::PypiError,
};

pub(crate) async fn file(call: &Call, id: &str, filename: &str) -> Answer {
    let artifact = find(call, id, filename).await?;
    Ok(respond_artifact(&call.registry, artifact, &call.method, &call.headers).await?)
}

pub(crate) async fn metadata(call: &Call, id: &str, filename: &str) -> Answer {
    let artifact = find(call, id, filename).await?;
    let metadata = call.registry.companion(&artifact, CompanionRole::Manifest).await;
    let metadata = match metadata {
        Err(RegistryError::NotFound) => return Err(call.miss().await),
        other => other?,
    };
    Ok(respond_artifact(&call.registry, metadata, &call.method, &call.headers).await?)
}

/// The file of that id, if that is its name and the caller may read it.
async fn find(call: &Call, id: &str, filename: &str) -> Result<ServableArtifact, PypiError> {
    call.require_reader()?;
    let Ok(id) = id.parse::<ArtifactId>() else { return Err(call.miss().await) };
    match call.registry.artifact_by_id(&call.who, Ecosystem::Pypi, id).await {
        Ok(artifact) if artifact.filename() == filename => Ok(artifact),
        Ok(_) | Err(RegistryError::NotFound) => Err(call.miss().await),
        Err(other) => Err(other.into()),
    }
}

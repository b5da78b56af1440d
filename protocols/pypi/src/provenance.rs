//! `GET /pypi/integrity/{project}/{version}/{filename}/provenance`: what is vouched for about a file (PEP 740).

use axum::response::IntoResponse;
use http::{HeaderValue, header};
use publaryn_core::{CompanionRole, Ecosystem, RegistryError};
use serde_json::{Value, json};

use crate::{
    call::{Answer, Call},
    form::MAX_ATTESTATIONS_BYTES,
    simple::{distributions, file_document},
    version::parse_version,
};

const CONTENT_TYPE: &str = "application/vnd.pypi.integrity.v1+json";

pub(crate) async fn provenance(call: &Call, name: &str, version: &str, filename: &str) -> Answer {
    call.require_reader()?;
    let view = call.project(name).await?;
    let Some(version) = parse_version(version) else { return Err(call.miss().await) };
    let document = call.registry.document(&view).await?;
    let release = document.releases.iter().find(|release| release.row.version_key == version.unique_key());
    let file = release.and_then(|release| distributions(release).find(|file| file.filename == filename));
    let Some(file) = file else { return Err(call.miss().await) };
    // Only what was checked when it came in is shown.
    let Some(publisher) = file_document(file).map_err(RegistryError::internal)?.attested_by else {
        return Err(call.miss().await);
    };
    let artifact = call.registry.artifact_by_id(&call.who, Ecosystem::Pypi, file.id).await?;
    let stored = call.registry.companion(&artifact, CompanionRole::Attestations).await?;
    let bytes = call.registry.open(&stored, None).await?.into_bytes(MAX_ATTESTATIONS_BYTES as u64).await;
    let bytes = bytes.map_err(|error| RegistryError::unavailable("the attestation", error))?;
    let attestations: Value = serde_json::from_slice(&bytes).map_err(RegistryError::internal)?;
    let body = json!({
        "version": 1,
        "attestation_bundles": [{ "publisher": publisher, "attestations": attestations }],
    });
    let mut response = body.to_string().into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(CONTENT_TYPE));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, max-age=0, must-revalidate"));
    headers.insert(header::VARY, HeaderValue::from_static("Accept, Authorization, Accept-Encoding"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    Ok(response)
}

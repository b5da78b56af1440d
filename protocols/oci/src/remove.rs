//! Deletes (oci.md §8).

use http::StatusCode;
use publaryn_core::{ContentDigest, DigestProblem, PackageName, RegistryError};
use publaryn_registry::oci::{OciRepository, Standing};

use crate::{
    call::{Answer, CONTENT_DIGEST, Call, empty},
    error::OciError,
    name::{Reference, ReferenceFault},
};

pub(crate) async fn manifest(call: &Call, raw_name: &str, reference: &str) -> Answer {
    let name = call.deletable(raw_name)?;
    visible(call, &name).await?;
    let missing = OciError::manifest_unknown;
    match Reference::parse(reference) {
        Ok(Reference::Tag(tag)) => {
            call.registry.oci_delete_tag(call.who(), &name, &tag).await.map_err(|e| or_missing(e, missing))?;
            Ok(empty(StatusCode::ACCEPTED, &[]))
        }
        Ok(Reference::Digest(digest)) => {
            call.registry.oci_delete_manifest(call.who(), &name, digest).await.map_err(|e| or_missing(e, missing))?;
            Ok(empty(StatusCode::ACCEPTED, &[(CONTENT_DIGEST, &digest.to_string())]))
        }
        Err(ReferenceFault::Digest(DigestProblem::Malformed)) => Err(OciError::digest(DigestProblem::Malformed)),
        Err(_) => Err(missing()),
    }
}

pub(crate) async fn blob(call: &Call, raw_name: &str, digest: &str) -> Answer {
    let name = call.deletable(raw_name)?;
    let repository = visible(call, &name).await?;
    let digest: ContentDigest = match digest.parse() {
        Ok(digest) => digest,
        Err(DigestProblem::Unsupported) => return Err(OciError::blob_unknown()),
        Err(problem) => return Err(OciError::digest(problem)),
    };
    let outcome = call.registry.oci_delete_blob(call.who(), &repository, digest).await;
    outcome.map_err(|error| or_missing(error, OciError::blob_unknown))?;
    Ok(empty(StatusCode::ACCEPTED, &[]))
}

/// What is hidden from the caller is no more there for deleting than for reading.
async fn visible(call: &Call, name: &PackageName) -> Result<OciRepository, OciError> {
    let repository = call.repository(name).await?;
    match repository.reads() {
        Standing::Refused(_) if *repository.writes() != Standing::Allowed => Err(OciError::name_unknown()),
        _ => Ok(repository),
    }
}

fn or_missing(error: RegistryError, missing: fn() -> OciError) -> OciError {
    match error {
        RegistryError::NotFound => missing(),
        other => other.into(),
    }
}

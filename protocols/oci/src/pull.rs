//! `GET`/`HEAD` of manifests: what was pushed, byte for byte, whatever the client says it accepts.

use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use http::{HeaderValue, StatusCode, header};
use publaryn_core::DigestProblem;

use crate::{
    blob::names_digest,
    call::{Answer, CONTENT_DIGEST, Call, insert, warning},
    error::OciError,
    name::{Reference, ReferenceFault},
};

pub(crate) async fn manifest(call: &Call, name: &str, reference: &str) -> Answer {
    let repository = call.readable(name).await?;
    let (found, is_fixed) = match Reference::parse(reference) {
        Ok(Reference::Tag(tag)) => (call.registry.oci_manifest_tagged(&repository, &tag).await?, false),
        Ok(Reference::Digest(digest)) => (call.registry.oci_manifest(&repository, digest).await?, true),
        Err(ReferenceFault::Digest(DigestProblem::Malformed)) => {
            return Err(OciError::digest(DigestProblem::Malformed));
        }
        Err(_) => (None, false),
    };
    let manifest = found.ok_or_else(OciError::manifest_unknown)?;
    let mut response: Response =
        if call.header(header::IF_NONE_MATCH).is_some_and(|list| names_digest(list, manifest.digest())) {
            StatusCode::NOT_MODIFIED.into_response()
        } else if call.is_head {
            StatusCode::OK.into_response()
        } else {
            Body::from(call.registry.oci_manifest_bytes(&repository, &manifest).await?).into_response()
        };
    if response.status() == StatusCode::OK {
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(manifest.size_bytes()));
        insert(headers, &[(header::CONTENT_TYPE, manifest.media_type())]);
    }
    let is_shared = manifest.is_open() && !call.headers.contains_key(header::AUTHORIZATION);
    let caching = match (is_shared, is_fixed) {
        (true, true) => "public, max-age=300, must-revalidate",
        (true, false) => "public, max-age=0, must-revalidate",
        (false, _) => "private, max-age=0, must-revalidate",
    };
    let etag = format!("\"{}\"", manifest.digest());
    let headers = response.headers_mut();
    insert(headers, &[(CONTENT_DIGEST, manifest.digest()), (header::ETAG, &etag), (header::CACHE_CONTROL, caching)]);
    headers.insert(header::VARY, HeaderValue::from_static("Authorization"));
    if let Some(text) = manifest.warning() {
        insert(headers, &[(header::WARNING, &warning(text))]);
    }
    Ok(response)
}

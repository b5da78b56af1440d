//! Reads: files, their checksums, metadata.

use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, StatusCode, header};
use publaryn_core::{Ecosystem, RegistryError, Timestamp};
use publaryn_protocol::{is_unchanged, respond_artifact};
use publaryn_registry::{PackageView, ServableArtifact};
use smol_str::{SmolStr, format_smolstr};

use crate::{
    call::{Answer, Call},
    checksum::Algorithm,
    error::MavenError,
    metadata::{self, version_key},
    path::{GavFile, MetadataPath},
};

/// Newer clients take these instead of asking for checksum files.
const CHECKSUMS: [(HeaderName, Algorithm); 4] = [
    (HeaderName::from_static("x-checksum-md5"), Algorithm::Md5),
    (HeaderName::from_static("x-checksum-sha1"), Algorithm::Sha1),
    (HeaderName::from_static("x-checksum-sha256"), Algorithm::Sha256),
    (HeaderName::from_static("x-checksum-sha512"), Algorithm::Sha512),
];

/// What a person sees who opens the address.
pub(crate) fn root() -> Response {
    let mut response = "Maven repository of Publaryn. See docs/adapters/maven.md for settings.xml.\n".into_response();
    insert(&mut response, header::CONTENT_TYPE, "text/plain; charset=utf-8");
    response
}

pub(crate) async fn file(call: &Call, file: &GavFile) -> Answer {
    let (view, artifact) = find(call, file).await?;
    let digests = CHECKSUMS.map(|(name, algorithm)| (name, digest_of(&artifact, algorithm)));
    let mut response = respond_artifact(&call.registry, artifact, &call.method, &call.headers).await?;
    if response.status() != StatusCode::FOUND {
        for (name, digest) in digests {
            insert(&mut response, name, digest.as_deref().unwrap_or_default());
        }
        // Not for good: a version that is blocked later must go.
        caching(call, &mut response, &view, "max-age=300, must-revalidate");
    }
    Ok(response)
}

pub(crate) async fn checksum(call: &Call, file: &GavFile, algorithm: Algorithm) -> Answer {
    let (view, artifact) = find(call, file).await?;
    if call.method == Method::HEAD && is_yet_to_come(call, &view, file, algorithm).await? {
        return Err(MavenError::not_found());
    }
    let Some(digest) = digest_of(&artifact, algorithm) else { return Err(call.miss().await) };
    let mut response = text(call, digest, Some(artifact.uploaded_at()));
    caching(call, &mut response, &view, "max-age=300, must-revalidate");
    Ok(response)
}

/// Ivy and sbt look before they upload, and upload nothing over what is there. To them a checksum of a version that
/// they are uploading is not there before they have sent it; they may look without saying who they are.
async fn is_yet_to_come(
    call: &Call,
    view: &PackageView,
    file: &GavFile,
    algorithm: Algorithm,
) -> Result<bool, MavenError> {
    if !call.registry.is_open(view, &version_key(&file.version)).await? {
        return Ok(false);
    }
    let name = file.coordinates.package_name();
    if !call.who.is_anonymous() && call.registry.may_publish(&call.who, Ecosystem::Maven, &name).await.is_err() {
        return Ok(false);
    }
    Ok(!call.registry.is_checksum_noted(&call.who, &file.path(), algorithm.name()).await?)
}

async fn find(call: &Call, file: &GavFile) -> Result<(PackageView, ServableArtifact), MavenError> {
    let view = call.found(call.package(&file.coordinates).await).await?;
    let found = call.registry.artifact_of(&view, &version_key(&file.version), file.name.as_str()).await;
    let artifact = call.found(found).await?;
    Ok((view, artifact))
}

fn digest_of(artifact: &ServableArtifact, algorithm: Algorithm) -> Option<String> {
    match algorithm {
        Algorithm::Md5 => artifact.md5().map(str::to_owned),
        Algorithm::Sha1 => artifact.sha1().map(str::to_owned),
        Algorithm::Sha256 => Some(artifact.sha256().hex().to_string()),
        Algorithm::Sha512 => artifact.sha512().map(str::to_owned),
    }
}

/// The metadata of a directory, or a checksum of exactly those bytes.
pub(crate) async fn metadata(call: &Call, at: &MetadataPath, sidecar: Option<Algorithm>) -> Answer {
    let mut view = None;
    let mut rendered = None;
    if let Some(coordinates) = at.artifact() {
        match call.package(&coordinates).await {
            Ok(found) => {
                let made = call
                    .registry
                    .rendered(&found, "maven-metadata", "", metadata::CONTENT_TYPE, metadata::render)
                    .await;
                match made {
                    Ok(made) => rendered = Some(made),
                    Err(RegistryError::NotFound) => {}
                    Err(other) => return Err(other.into()),
                }
                view = Some(found);
            }
            Err(RegistryError::NotFound | RegistryError::BadCredential(_)) => {}
            Err(other) => return Err(other.into()),
        }
    }
    let plugins = match at.group() {
        Some(group) => call.registry.plugins(&call.who, Ecosystem::Maven, &group).await?,
        None => Vec::new(),
    };
    let (body, etag) = match rendered {
        Some(made) if plugins.is_empty() => (made.body.clone(), made.etag.clone()),
        made => match metadata::with_plugins(made.as_ref().map(|made| &*made.body), &plugins) {
            Some(body) => with_etag(body.into()),
            None => return Err(call.miss().await),
        },
    };
    // Plugins have no date of their own.
    let changed = view.as_ref().filter(|_| plugins.is_empty()).map(PackageView::updated_at);
    let mut response = match sidecar {
        Some(algorithm) => text(call, algorithm.of(&body), changed),
        None => conditional(call, body, &etag, metadata::CONTENT_TYPE, changed),
    };
    let is_shared = view.as_ref().is_none_or(PackageView::is_open) && call.who.is_anonymous();
    insert(&mut response, header::CACHE_CONTROL, if is_shared { "no-cache" } else { "private, no-cache" });
    insert(&mut response, header::VARY, "Authorization");
    Ok(response)
}

/// A checksum: bare, so that every client reads it.
fn text(call: &Call, digest: String, changed: Option<Timestamp>) -> Response {
    let (body, etag) = with_etag(digest.into());
    conditional(call, body, &etag, "text/plain", changed)
}

fn with_etag(body: Bytes) -> (Bytes, SmolStr) {
    let etag = format_smolstr!("\"{}\"", Algorithm::Sha256.of(&body));
    (body, etag)
}

/// A short body with its validators. Never compressed: checksums are about the bytes that arrive.
fn conditional(
    call: &Call,
    body: Bytes,
    etag: &str,
    content_type: &'static str,
    changed: Option<Timestamp>,
) -> Response {
    let is_fresh = match changed {
        Some(changed) => is_unchanged(&call.headers, etag, changed),
        None => call.headers.contains_key(header::IF_NONE_MATCH) && is_unchanged(&call.headers, etag, Timestamp::now()),
    };
    let mut response = if is_fresh {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        let length = body.len();
        let mut response = Body::from(body).into_response();
        response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(length));
        insert(&mut response, header::CONTENT_TYPE, content_type);
        response
    };
    insert(&mut response, header::ETAG, etag);
    if let Some(changed) = changed {
        insert(&mut response, header::LAST_MODIFIED, &changed.to_http_date());
    }
    insert(&mut response, header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    response
}

fn caching(call: &Call, response: &mut Response, view: &PackageView, rule: &str) {
    let is_shared = view.is_open() && !call.headers.contains_key(header::AUTHORIZATION);
    let audience = if is_shared { "public" } else { "private" };
    insert(response, header::CACHE_CONTROL, &format!("{audience}, {rule}"));
    insert(response, header::VARY, "Authorization");
}

/// Empty values are left out.
fn insert(response: &mut Response, name: HeaderName, text: &str) {
    if let Some(value) = HeaderValue::from_str(text).ok().filter(|value| !value.is_empty()) {
        response.headers_mut().insert(name, value);
    }
}

/// No address takes other methods; that there is no WebDAV keeps clients from trying it.
pub(crate) fn wrong_method() -> Response {
    let error = MavenError::refused(StatusCode::METHOD_NOT_ALLOWED, "method not allowed here");
    let mut response = error.into_response();
    insert(&mut response, header::ALLOW, "GET, HEAD, PUT");
    response
}

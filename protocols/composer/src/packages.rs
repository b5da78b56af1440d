//! What clients resolve from and download: `p2` documents and zips.

use std::sync::Arc;

use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use publaryn_core::{ArtifactId, ArtifactKind, Ecosystem, RegistryError};
use publaryn_protocol::{respond_artifact, respond_rendered};
use publaryn_registry::{ArtifactRow, PackageDocument, PackageView, Rendered, ServableArtifact};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::{
    advisories,
    call::{Answer, Call},
    minify::minify,
    release::{dist_filename, entry},
    version::Normalized,
};

/// From this size on a document is minified (composer.md §3).
const MINIFIED_FROM_BYTES: usize = 100 << 10;

/// `GET /p2/{v}/{p}.json`
pub(crate) async fn tagged(call: &Call, package: &str) -> Answer {
    let view = call.package(package).await?;
    let page = page(call, &view).await?;
    Ok(page.respond(call, &view))
}

/// `GET /p2/{v}/{p}~dev.json`: no branches are hosted. Only said of packages that have versions, because an empty
/// list keeps clients from looking for the package elsewhere.
pub(crate) async fn branches(call: &Call, package: &str) -> Answer {
    let view = call.package(package).await?;
    // The advisories of a package stand in both documents.
    let page = page(call, &view).await?;
    let empty = json!({ "packages": { view.name(): [] }, "security-advisories": page.advisories });
    let rendered =
        Rendered::new("application/json", empty.to_string().into_bytes(), view.revision(), view.updated_at());
    Ok(Page { rendered: Arc::new(rendered), advisories: page.advisories }.respond(call, &view))
}

/// A document with the advisories it was rendered with.
struct Page {
    rendered: Arc<Rendered>,
    advisories: Vec<Value>,
}

/// The document of the tagged versions.
async fn page(call: &Call, view: &PackageView) -> Result<Page, RegistryError> {
    let base = call.base();
    let found = advisories::of(call, &[view.name()]).await?;
    let advisories = found.into_iter().next().map(|(_, list)| list).unwrap_or_default();
    // Findings come and go without a new revision, so they are part of what the document is kept under.
    let kept_under = if advisories.is_empty() {
        base.clone()
    } else {
        format!("{base}#{}", hex::encode(&Sha256::digest(Value::from(advisories.clone()).to_string())[..16]))
    };
    let shown = advisories.clone();
    let render = move |document: &PackageDocument| render(document, &base, &shown);
    let rendered = call.registry.rendered(view, "composer-p2", &kept_under, "application/json", render).await?;
    Ok(Page { rendered, advisories })
}

/// `None` when no version is to be shown.
fn render(document: &PackageDocument, base: &str, advisories: &[Value]) -> Option<Vec<u8>> {
    let name = &document.package.name;
    let mut releases: Vec<_> = document.releases.iter().filter(|release| !release.row.is_yanked).collect();
    releases.sort_by(|a, b| b.row.sort_key.cmp(&a.row.sort_key));
    let entries: Vec<Map<String, Value>> =
        releases.into_iter().filter_map(|release| entry(name, release, base)).collect();
    if entries.is_empty() {
        return None;
    }
    let whole = |entries: Value| json!({ "packages": { name: entries }, "security-advisories": advisories });
    let plain = whole(entries.iter().cloned().map(Value::Object).collect()).to_string();
    if plain.len() <= MINIFIED_FROM_BYTES {
        return Some(plain.into_bytes());
    }
    let mut minified = whole(minify(entries).into());
    minified["minified"] = "composer/2.0".into();
    Some(minified.to_string().into_bytes())
}

impl Page {
    /// The document, or 304. Clients revalidate by `Last-Modified` alone, which tells the changes of a package but not
    /// of its findings; a document with advisories therefore has none and is always sent.
    fn respond(&self, call: &Call, view: &PackageView) -> Response {
        let mut response = respond_rendered(&self.rendered, &call.headers, view.is_open());
        if !self.advisories.is_empty() {
            response.headers_mut().remove(header::LAST_MODIFIED);
        } else if is_unmodified(&call.headers, &self.rendered.last_modified) {
            not_modified(&mut response);
        }
        response
    }
}

/// Whether the client holds the state of that `Last-Modified`. It echoes what it was sent, so equal is equal.
pub(crate) fn is_unmodified(request: &HeaderMap, last_modified: &str) -> bool {
    request.get(header::IF_MODIFIED_SINCE).is_some_and(|value| value.as_bytes() == last_modified.as_bytes())
}

pub(crate) fn not_modified(response: &mut Response) {
    *response.status_mut() = StatusCode::NOT_MODIFIED;
    *response.body_mut() = Body::empty();
    for name in [header::CONTENT_TYPE, header::CONTENT_ENCODING, header::CONTENT_LENGTH] {
        response.headers_mut().remove(name);
    }
}

/// `GET /dist/{v}/{p}/{version}/{reference}.zip`; yanked versions stay, for lock files.
pub(crate) async fn dist(call: &Call, package: &str, version: &str, reference: &str) -> Answer {
    let view = call.package(package).await?;
    let Ok(version) = Normalized::parse(version) else { return Err(RegistryError::NotFound.into()) };
    let filename = dist_filename(view.name(), &version.unique, reference);
    let artifact = match call.registry.artifact(&view, &filename).await {
        Err(RegistryError::NotFound) => drafted(call, &view, &version, reference).await?,
        other => other?,
    };
    send(call, artifact).await
}

/// Zips that came in through the management API are called as their publisher liked.
async fn drafted(
    call: &Call,
    view: &PackageView,
    version: &Normalized,
    reference: &str,
) -> Result<ServableArtifact, RegistryError> {
    let document = call.registry.document(view).await?;
    let release = document.releases.iter().find(|release| release.row.version == version.display);
    let zip = release.and_then(|release| release.artifacts.iter().find(|file| is_zip(file, reference)));
    let id = zip.ok_or(RegistryError::NotFound)?.id;
    call.registry.artifact_by_id(&call.who, Ecosystem::Composer, id).await
}

fn is_zip(file: &ArtifactRow, reference: &str) -> bool {
    file.kind == ArtifactKind::ComposerZip && file.sha1.as_deref() == Some(reference)
}

/// `GET /files/{id}/{file}`
pub(crate) async fn file(call: &Call, id: &str) -> Answer {
    let id: ArtifactId = id.parse().map_err(|_| RegistryError::NotFound)?;
    let artifact = call.registry.artifact_by_id(&call.who, Ecosystem::Composer, id).await?;
    send(call, artifact).await
}

async fn send(call: &Call, artifact: ServableArtifact) -> Answer {
    let is_shared = artifact.is_open() && !call.headers.contains_key(header::AUTHORIZATION);
    let mut response = respond_artifact(&call.registry, artifact, &call.method, &call.headers).await?.into_response();
    if response.status() != StatusCode::FOUND {
        // The bytes never change, but a blocked version must go from caches soon.
        let caching = if is_shared { "public, max-age=300" } else { "private, no-cache" };
        response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static(caching));
        response.headers_mut().insert(header::VARY, HeaderValue::from_static("Authorization"));
    }
    Ok(response)
}

//! What clients resolve from and download: `p2` documents and zips.

use axum::{body::Body, response::Response};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use publaryn_core::{ArtifactId, ArtifactKind, Ecosystem, RegistryError};
use publaryn_protocol::{respond_recallable, respond_rendered};
use publaryn_registry::{ArtifactRow, PackageDocument, PackageView, ServableArtifact};
use serde_json::{Map, Value, json};

use crate::{
    advisories,
    call::{Answer, Call, MOUNT},
    minify::minify,
    release::{dist_filename, entry},
    version::Normalized,
};

/// From this size on a document is minified (composer.md §3).
const MINIFIED_FROM_BYTES: usize = 100 << 10;

/// `GET /p2/{v}/{p}.json`
pub(crate) async fn tagged(call: &Call, package: &str) -> Answer {
    document(call, package, "composer-p2", tagged_versions).await
}

/// `GET /p2/{v}/{p}~dev.json`: no branches are hosted. Only said of packages that have versions, because an empty
/// list keeps clients from looking for the package elsewhere.
pub(crate) async fn branches(call: &Call, package: &str) -> Answer {
    document(call, package, "composer-dev", |document, portal| {
        tagged_versions(document, portal)?;
        let empty = json!({
            "packages": { document.package.name.as_str(): [] },
            "security-advisories": advisories::of_package(document, portal),
        });
        Some(empty.to_string().into_bytes())
    })
    .await
}

/// A document of a package, or 304.
async fn document(
    call: &Call,
    package: &str,
    flavour: &'static str,
    render: impl FnOnce(&PackageDocument, &str) -> Option<Vec<u8>> + Send + 'static,
) -> Answer {
    let view = call.package(package).await?;
    let portal = call.portal();
    let kept_under = portal.clone();
    let render = move |document: &PackageDocument| render(document, portal.as_str());
    let rendered = call.registry.rendered(&view, flavour, kept_under.as_str(), "application/json", render).await;
    let rendered = call.found(rendered).await?;
    let is_shared = view.is_open() && call.who.is_anonymous();
    let mut response = respond_rendered(&rendered, &call.headers, is_shared);
    if !is_shared {
        response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
    }
    if is_unmodified(&call.headers, &rendered.last_modified) {
        not_modified(&mut response);
    }
    Ok(response)
}

/// `None` when no version is to be shown.
fn tagged_versions(document: &PackageDocument, portal: &str) -> Option<Vec<u8>> {
    let base = format!("{portal}{MOUNT}");
    let name = &document.package.name;
    let mut releases: Vec<_> = document.releases.iter().filter(|release| !release.row.is_yanked).collect();
    releases.sort_by(|a, b| b.row.sort_key.cmp(&a.row.sort_key));
    let entries: Vec<Map<String, Value>> =
        releases.into_iter().filter_map(|release| entry(&document.package, release, &base)).collect();
    if entries.is_empty() {
        return None;
    }
    let advisories = advisories::of_package(document, portal);
    let whole = |entries: Value| json!({ "packages": { name: entries }, "security-advisories": advisories });
    let plain = whole(entries.iter().cloned().map(Value::Object).collect()).to_string();
    if plain.len() <= MINIFIED_FROM_BYTES {
        return Some(plain.into_bytes());
    }
    let mut minified = whole(minify(entries).into());
    minified["minified"] = "composer/2.0".into();
    Some(minified.to_string().into_bytes())
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
    let version = call.found(Normalized::parse(version).map_err(|_| RegistryError::NotFound)).await?;
    let filename = dist_filename(view.name(), &version.unique, reference);
    let artifact = match call.registry.artifact(&view, &filename).await {
        Err(RegistryError::NotFound) => drafted(call, &view, &version, reference).await,
        other => other,
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
    let artifact = match id.parse::<ArtifactId>() {
        Ok(id) => call.registry.artifact_by_id(&call.who, Ecosystem::Composer, id).await,
        Err(_) => Err(RegistryError::NotFound),
    };
    send(call, artifact).await
}

async fn send(call: &Call, artifact: Result<ServableArtifact, RegistryError>) -> Answer {
    let artifact = call.found(artifact).await?;
    Ok(respond_recallable(&call.registry, artifact, &call.method, &call.headers).await?)
}

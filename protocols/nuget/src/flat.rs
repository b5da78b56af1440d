//! The flat container: versions, packages, manifests, and files inside packages.

use futures::TryStreamExt;
use http::{HeaderValue, StatusCode, header};
use publaryn_core::RegistryError;
use publaryn_protocol::{respond_artifact, respond_rendered};
use publaryn_registry::{PackageView, ServableArtifact};
use serde_json::json;
use tokio_util::io::{StreamReader, SyncIoBridge};

use crate::{
    archive::{MAX_ICON_BYTES, MAX_NUSPEC_BYTES, Place, image_type, read_entry},
    call::{Answer, Call, JSON, VARY},
    error::NugetError,
    name,
    registration::unreadable,
    release::{Stored, releases},
    route::Inner,
    version,
};

/// Largest readme or licence that is served, in bytes.
const MAX_TEXT_BYTES: u64 = 1 << 20;

/// `{id}/index.json`: every version, unlisted ones included.
pub(crate) async fn versions(call: &Call, id: &str) -> Answer {
    call.require_reader()?;
    let view = call.package(id).await?;
    let rendered = call
        .registry
        .try_rendered(&view, "nuget-versions", "", JSON, |document| {
            let releases = releases(document, true)?;
            let versions: Vec<&str> = releases.iter().map(|release| release.key()).collect();
            Ok((!versions.is_empty()).then(|| json!({ "versions": versions }).to_string().into_bytes()))
        })
        .await;
    let rendered = call.or_miss(rendered).await?;
    Ok(respond_rendered(&rendered, call.headers(), view.is_open()))
}

/// The package itself; unlisted ones, too.
pub(crate) async fn nupkg(call: &Call, id: &str, raw_version: &str) -> Answer {
    call.require_reader()?;
    let (view, artifact) = package_file(call, id, raw_version).await?;
    let mut response = respond_artifact(&call.registry, artifact, call.method(), call.headers()).await?;
    if response.status() != StatusCode::FOUND {
        let audience = if view.is_open() && !call.is_credentialed() { "public" } else { "private" };
        // Not for good: a version that is blocked later must go.
        let caching = format!("{audience}, max-age=300, must-revalidate");
        if let Ok(value) = HeaderValue::from_str(&caching) {
            response.headers_mut().insert(header::CACHE_CONTROL, value);
        }
        response.headers_mut().insert(header::VARY, HeaderValue::from_static(VARY));
    }
    Ok(response)
}

async fn package_file(call: &Call, id: &str, raw_version: &str) -> Result<(PackageView, ServableArtifact), NugetError> {
    let view = call.package(id).await?;
    let Some(version) = version::parse_version(raw_version) else { return Err(call.miss().await) };
    let filename = format!("{}.{}.nupkg", name::canonical(id), version.unique_key());
    let artifact = call.registry.artifact(&view, &filename).await;
    Ok((view, call.or_miss(artifact).await?))
}

/// The document of a release.
async fn stored(call: &Call, view: &PackageView, raw_version: &str) -> Result<Stored, NugetError> {
    let Some(version) = version::parse_version(raw_version) else { return Err(call.miss().await) };
    let release = call.or_miss(call.registry.live_release(view, version.unique_key()).await).await?;
    Ok(Stored::read(&release.row.metadata).map_err(unreadable)?)
}

/// The manifest as packed.
pub(crate) async fn nuspec(call: &Call, id: &str, raw_version: &str) -> Answer {
    call.require_reader()?;
    let (view, artifact) = package_file(call, id, raw_version).await?;
    let stored = stored(call, &view, raw_version).await?;
    match entry(call, &artifact, stored.manifest, MAX_NUSPEC_BYTES).await? {
        Some(manifest) => Ok(call.document("application/xml", manifest)),
        None => Err(call.miss().await),
    }
}

/// The readme, icon or licence inside the package.
pub(crate) async fn inner(call: &Call, id: &str, raw_version: &str, inner: Inner) -> Answer {
    call.require_reader()?;
    let (view, artifact) = package_file(call, id, raw_version).await?;
    let stored = stored(call, &view, raw_version).await?;
    let (place, max_bytes) = match inner {
        Inner::Readme => (stored.embedded.readme, MAX_TEXT_BYTES),
        Inner::Icon => (stored.embedded.icon, MAX_ICON_BYTES),
        Inner::License => (stored.embedded.license, MAX_TEXT_BYTES),
    };
    let bytes = match place {
        Some(place) => entry(call, &artifact, place, max_bytes).await?,
        None => None,
    };
    let content_type = match (inner, &bytes) {
        (Inner::Readme, _) => Some("text/markdown; charset=utf-8"),
        (Inner::License, _) => Some("text/plain; charset=utf-8"),
        (Inner::Icon, Some(bytes)) => image_type(bytes),
        (Inner::Icon, None) => None,
    };
    let (Some(bytes), Some(content_type)) = (bytes, content_type) else { return Err(call.miss().await) };
    let mut response = call.document(content_type, bytes);
    // Written by strangers and opened in browsers.
    let policy = HeaderValue::from_static("default-src 'none'; sandbox");
    response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy);
    Ok(response)
}

/// One file of a package, read from where it lies in the stored zip; `None` when it is too large to be served.
pub(crate) async fn entry(
    call: &Call,
    artifact: &ServableArtifact,
    place: Place,
    max_bytes: u64,
) -> Result<Option<Vec<u8>>, RegistryError> {
    if place.offset >= artifact.size_bytes() {
        return Ok(None);
    }
    let body = call.registry.open(artifact, Some(place.offset..artifact.size_bytes())).await?;
    let reader = StreamReader::new(body.into_stream().map_err(std::io::Error::other));
    let mut reader = SyncIoBridge::new(reader);
    let read = tokio::task::spawn_blocking(move || read_entry(&mut reader, &place, max_bytes)).await;
    match read.map_err(RegistryError::internal)? {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind == publaryn_scan::ErrorKind::Io => {
            Err(RegistryError::unavailable("the blob store", error))
        }
        Err(_) => Ok(None),
    }
}

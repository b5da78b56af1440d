//! Reads: the compact index, the legacy index, gems.

use std::io::Write;

use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use flate2::{Compression, write::ZlibEncoder};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use publaryn_core::{ArtifactKind, Ecosystem, RegistryError, Timestamp, Version};
use publaryn_protocol::respond_recallable;
use publaryn_registry::{ArtifactRow, PackageView, ServableArtifact};

use crate::{
    call::{Answer, Call, text},
    compact::Text,
    error::GemError,
    gemspec::Gemspec,
    name,
    route::List,
    version,
};

const REPR_DIGEST: HeaderName = HeaderName::from_static("repr-digest");
const DIGEST: HeaderName = HeaderName::from_static("digest");

/// `HEAD /` is how older clients find out that there is an API at all.
pub(crate) fn root(call: &Call) -> Answer {
    call.require_reader()?;
    Ok(text("RubyGems repository of Publaryn\n"))
}

pub(crate) async fn versions(call: &Call) -> Answer {
    call.require_reader()?;
    let catalog = call.catalogs.catalog(&call.registry, &call.who).await?;
    Ok(compact(call, &catalog.versions, true))
}

pub(crate) async fn names(call: &Call) -> Answer {
    call.require_reader()?;
    let catalog = call.catalogs.catalog(&call.registry, &call.who).await?;
    Ok(compact(call, &catalog.names, true))
}

pub(crate) async fn info(call: &Call, name: &str) -> Answer {
    call.require_reader()?;
    let view = call.gem(name).await?;
    let gem = call.catalogs.gem(&call.registry, &view).await?;
    // A gem of which nothing was exposed yet does not exist for anybody.
    if gem.events.is_empty() {
        return Err(call.miss().await);
    }
    Ok(compact(call, &gem.info, view.is_open()))
}

/// A text of the compact index, or its end. Never compressed: Bundler checks digests of what it receives.
fn compact(call: &Call, wanted: &Text, is_open: bool) -> Response {
    let etag = format!("\"{}\"", wanted.md5);
    let size = wanted.body.len();
    let mut response = if is_fresh(call.headers(), &etag) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        match open_range(call.headers()) {
            Some(from) if from >= size as u64 => {
                let mut response = StatusCode::RANGE_NOT_SATISFIABLE.into_response();
                insert(&mut response, header::CONTENT_RANGE, &format!("bytes */{size}"));
                response
            }
            Some(from) => {
                let mut response = Body::from(wanted.body.slice(from as usize..)).into_response();
                *response.status_mut() = StatusCode::PARTIAL_CONTENT;
                insert(&mut response, header::CONTENT_RANGE, &format!("bytes {from}-{}/{size}", size - 1));
                response
            }
            None => Body::from(wanted.body.clone()).into_response(),
        }
    };
    insert(&mut response, header::ETAG, &etag);
    insert(&mut response, REPR_DIGEST, &format!("sha-256=:{}:", wanted.sha256));
    insert(&mut response, DIGEST, &format!("sha-256={}", wanted.sha256));
    insert(&mut response, header::ACCEPT_RANGES, "bytes");
    insert(&mut response, header::CONTENT_TYPE, "text/plain; charset=utf-8");
    caching(call, &mut response, is_open);
    response
}

/// Weak tags count: proxies that compress weaken them.
fn is_fresh(headers: &HeaderMap, etag: &str) -> bool {
    headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok()).any(|list| {
        list.split(',').map(str::trim).any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == etag)
    })
}

/// `bytes=N-`, the only form Bundler sends; anything else means the whole.
fn open_range(headers: &HeaderMap) -> Option<u64> {
    let range = headers.get(header::RANGE)?.to_str().ok()?;
    range.trim().strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok()
}

fn insert(response: &mut Response, name: HeaderName, text: &str) {
    if let Ok(value) = HeaderValue::from_str(text) {
        response.headers_mut().insert(name, value);
    }
}

fn caching(call: &Call, response: &mut Response, is_open: bool) {
    let is_shared = is_open && !call.is_credentialed();
    let caching = if is_shared { "public, max-age=0, must-revalidate" } else { "private, no-cache" };
    insert(response, header::CACHE_CONTROL, caching);
    insert(response, header::VARY, "Authorization");
    insert(response, header::X_CONTENT_TYPE_OPTIONS, "nosniff");
}

/// A list of the legacy index. Never 304: `gem` asks by the time of its own file, which says nothing about gems
/// that were hidden since.
pub(crate) async fn specs(call: &Call, list: List, is_gzip: bool) -> Answer {
    call.require_reader()?;
    let catalog = call.catalogs.catalog(&call.registry, &call.who).await?;
    let specs = match list {
        List::All => &catalog.specs,
        List::Latest => &catalog.latest_specs,
        List::Prerelease => &catalog.prerelease_specs,
    };
    let body = if is_gzip { specs.gzip.clone() } else { specs.plain.clone() };
    let content_type = if is_gzip { "application/x-gzip" } else { "application/octet-stream" };
    Ok(legacy(call, body, content_type, catalog.changed_at, true))
}

fn legacy(call: &Call, body: Bytes, content_type: &str, changed: Option<Timestamp>, is_open: bool) -> Response {
    let mut response = Body::from(body).into_response();
    insert(&mut response, header::CONTENT_TYPE, content_type);
    if let Some(changed) = changed {
        insert(&mut response, header::LAST_MODIFIED, &changed.to_http_date());
    }
    caching(call, &mut response, is_open);
    response
}

/// `quick/Marshal.4.8/{full}.gemspec.rz`.
pub(crate) async fn quick(call: &Call, full: &str) -> Answer {
    call.require_reader()?;
    let (view, artifact) = find(call, full).await?;
    let wanted = artifact.filename().to_owned();
    let render = move |document: &publaryn_registry::PackageDocument| {
        let is_wanted = |file: &ArtifactRow| file.kind == ArtifactKind::Gem && file.filename == wanted;
        let release = document.releases.iter().find(|release| release.artifacts.iter().any(is_wanted));
        let Some(release) = release.filter(|release| !release.row.is_yanked) else { return Ok(None) };
        let spec: Gemspec = serde_json::from_str(&release.row.metadata)?;
        let mut packed = ZlibEncoder::new(Vec::new(), Compression::default());
        packed.write_all(&spec.to_marshal())?;
        Ok(Some(packed.finish()?))
    };
    let type_ = "application/octet-stream";
    let rendered = call.registry.try_rendered(&view, "gemspec.rz", full, type_, render).await;
    let rendered = match rendered {
        Err(RegistryError::NotFound) => return Err(call.miss().await),
        other => other?,
    };
    Ok(legacy(call, rendered.body.clone(), type_, Some(view.updated_at()), view.is_open()))
}

/// The gem itself; of a yanked release, too, for who has its name from elsewhere.
pub(crate) async fn gem(call: &Call, full: &str) -> Answer {
    call.require_reader()?;
    let (_, artifact) = find(call, full).await?;
    Ok(respond_recallable(&call.registry, artifact, call.method(), call.headers()).await?)
}

/// The gem whose file is called `{full}.gem`, if the caller may read it.
async fn find(call: &Call, full: &str) -> Result<(PackageView, ServableArtifact), GemError> {
    let filename = format!("{full}.gem");
    for (name, _) in candidates(full) {
        match call.registry.package(&call.who, Ecosystem::Rubygems, &name::canonical(name)).await {
            Ok(view) => match call.registry.artifact(&view, &filename).await {
                Ok(artifact) => return Ok((view, artifact)),
                Err(RegistryError::NotFound) => {}
                Err(other) => return Err(other.into()),
            },
            Err(RegistryError::NotFound) => {}
            Err(other) => return Err(other.into()),
        }
    }
    Err(call.miss().await)
}

/// Longest full name worth looking at: name, version and platform at their longest.
const MAX_FULL_NAME: usize = name::MAX_NAME_CHARS + 160;

/// Every way to read `name-version[-platform]`; nearly always there is one.
pub(crate) fn candidates(full: &str) -> impl Iterator<Item = (&str, &str)> {
    let full = if full.len() <= MAX_FULL_NAME { full } else { "" };
    full.match_indices('-').map(move |(at, _)| (&full[..at], &full[at + 1..])).filter(|(name, rest)| {
        rest.starts_with(|c: char| c.is_ascii_digit())
            && name::fault(name).is_none()
            && version::parse_version(rest).is_some()
    })
}

/// Other gems whose file would have the very same name: `a-1-x` in version 2 is called as `a` in version 1 for `x-2`.
pub(crate) fn namesakes(gem: &str, version: &str) -> Vec<(String, Version)> {
    let full = format!("{gem}-{version}");
    let others = candidates(&full).filter(|(other, _)| *other != gem);
    others.filter_map(|(other, rest)| Some((name::canonical(other), version::parse_version(rest)?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn full_names_are_taken_apart() {
        let of = |full: &str| candidates(full).map(|(a, b)| (a.to_owned(), b.to_owned())).collect::<Vec<_>>();
        let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        assert_eq!(of("acme-1.0"), [pair("acme", "1.0")]);
        assert_eq!(of("net-http-1.0-x86_64-linux"), [pair("net-http", "1.0-x86_64-linux")]);
        // No platform begins with a digit.
        assert_eq!(of("a-1-2.0"), [pair("a-1", "2.0")]);
        assert_eq!(of("a-1-x-2"), [pair("a", "1-x-2"), pair("a-1-x", "2")]);
        assert_eq!(of("acme"), []);
    }

    #[test]
    fn ranges_are_open_or_none() {
        let of = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::RANGE, HeaderValue::from_str(text).unwrap());
            open_range(&headers)
        };
        assert_eq!((of("bytes=7-"), of("bytes=0-"), of("bytes=1-2"), of("bytes=-3")), (Some(7), Some(0), None, None));
    }
}

//! Read-only views of a crate that cargo itself never asks for: release tools and dashboards do.
//!
//! The shapes are those of the public registry's web API, as far as this registry knows the facts.

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, header};
use publaryn_core::RegistryError;
use publaryn_registry::{LiveRelease, PackageDocument, PackageView};
use serde_json::{Value, json};

use crate::{
    call::{Answer, Call, CratePath, VersionPath, json},
    error::{self, CargoError},
    release::CrateRelease,
    search::max_version,
};

pub(crate) async fn krate(path: CratePath, call: Call) -> Response {
    let answer = async {
        let (view, document) = load(&call, &path.0).await?;
        let versions = version_entries(&call, &view, document.releases.iter().rev()).await?;
        let latest = document.releases.last().map(stored).transpose()?.map(|release| release.description);
        let package = &document.package;
        Ok(json(&json!({
            "crate": {
                "id": view.name(),
                "name": view.name(),
                "description": package.description,
                "homepage": package.homepage,
                "repository": package.repository_url,
                "documentation": latest.as_ref().and_then(|about| about.documentation.clone()),
                "keywords": package.keyword_list(),
                "categories": latest.map(|about| about.categories).unwrap_or_default(),
                "downloads": package.download_count,
                "max_version": max_version(&document),
                "newest_version": document.releases.last().map(|r| r.row.version.as_str()),
                "created_at": package.created_at,
                "updated_at": package.updated_at,
            },
            "versions": versions,
        })))
    };
    call.answer(answer.await)
}

pub(crate) async fn versions(path: CratePath, call: Call) -> Response {
    let answer = async {
        let (view, document) = load(&call, &path.0).await?;
        let versions = version_entries(&call, &view, document.releases.iter().rev()).await?;
        Ok(json(&json!({ "meta": { "total": versions.len() }, "versions": versions })))
    };
    call.answer(answer.await)
}

pub(crate) async fn version(path: VersionPath, call: Call) -> Response {
    let answer = async {
        let (view, document) = load(&call, &path.name).await?;
        let release = find(&view, &document, &path.version)?;
        let mut versions = version_entries(&call, &view, [release]).await?;
        Ok(json(&json!({ "version": versions.pop() })))
    };
    call.answer(answer.await)
}

pub(crate) async fn dependencies(path: VersionPath, call: Call) -> Response {
    let answer = async {
        let (view, document) = load(&call, &path.name).await?;
        let release = stored(find(&view, &document, &path.version)?)?;
        let entries: Vec<Value> = release
            .deps
            .iter()
            .map(|dep| {
                json!({
                    "crate_id": dep.crate_name(),
                    "req": dep.req,
                    "kind": dep.kind,
                    "optional": dep.optional,
                    "default_features": dep.default_features,
                    "features": dep.features,
                    "target": dep.target,
                    "registry": dep.registry,
                })
            })
            .collect();
        Ok(json(&json!({ "dependencies": entries })))
    };
    call.answer(answer.await)
}

/// The readme as it was uploaded, never as HTML. Only that of the newest release is kept.
pub(crate) async fn readme(path: VersionPath, call: Call) -> Response {
    call.answer(readme_text(&call, &path).await)
}

async fn readme_text(call: &Call, path: &VersionPath) -> Answer {
    let (view, document) = load(call, &path.name).await?;
    let release = find(&view, &document, &path.version)?;
    let is_newest = document.releases.last().is_some_and(|newest| newest.row.id == release.row.id);
    let text = document.package.readme.clone().filter(|_| is_newest).ok_or_else(CargoError::not_found)?;
    let mut response = text.into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    Ok(response)
}

async fn load(call: &Call, name: &str) -> Result<(PackageView, PackageDocument), CargoError> {
    call.require_login_where_closed()?;
    let view = call.package(name).await?;
    let document = call.registry.document(&view).await?;
    // A crate of which nothing is live yet does not exist here.
    if document.releases.is_empty() { Err(CargoError::not_found()) } else { Ok((view, document)) }
}

fn find<'a>(view: &PackageView, document: &'a PackageDocument, version: &str) -> Result<&'a LiveRelease, CargoError> {
    let found = document.releases.iter().find(|release| release.row.version == version);
    found.ok_or_else(|| error::about(RegistryError::VersionNotFound(version.chars().take(200).collect()), view.name()))
}

fn stored(release: &LiveRelease) -> Result<CrateRelease, CargoError> {
    serde_json::from_str(&release.row.metadata)
        .map_err(|error| RegistryError::unavailable("the document", error).into())
}

async fn version_entries<'r>(
    call: &Call,
    view: &PackageView,
    releases: impl IntoIterator<Item = &'r LiveRelease>,
) -> Result<Vec<Value>, CargoError> {
    let downloads = call.registry.release_downloads([view]).await?;
    let entry = |release: &LiveRelease| {
        version_entry(call, view, release, downloads.get(&release.row.id).copied().unwrap_or(0))
    };
    releases.into_iter().map(entry).collect()
}

fn version_entry(call: &Call, view: &PackageView, release: &LiveRelease, downloads: i64) -> Result<Value, CargoError> {
    let facts = stored(release)?;
    let row = &release.row;
    let archive = release.artifacts.first();
    let place = format!("/cargo/api/v1/crates/{}/{}", view.name(), row.version);
    Ok(json!({
        "id": row.id.to_string(),
        "crate": view.name(),
        "num": row.version,
        "downloads": downloads,
        "yanked": row.is_yanked,
        "checksum": archive.map(|a| a.sha256.hex()),
        "crate_size": archive.map(|a| a.size_bytes),
        "license": facts.description.license,
        "rust_version": facts.rust_version,
        "edition": facts.description.edition,
        "features": facts.features,
        "links": facts.links,
        "has_lib": facts.description.has_lib,
        "bin_names": facts.description.bin_names,
        "created_at": row.published_at,
        "published_by": row.publisher.as_ref().map(|login| json!({ "login": login })),
        "dl_path": format!("{}{place}/download", call.base().as_str()),
        "readme_path": format!("{}{place}/readme", call.base().as_str()),
    }))
}

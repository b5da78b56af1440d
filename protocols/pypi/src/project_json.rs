//! `GET /pypi/{project}[/{version}]/json`: what update checkers and scanners ask for, as far as it is known.
//!
//! Source: <https://docs.pypi.org/api/json/>

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use publaryn_core::{BoxError, RegistryError};
use publaryn_registry::{ArtifactRow, LiveRelease, PackageDocument};
use serde_json::{Value, json};

use crate::{
    call::{Answer, Call},
    simple::{FileEntry, ProjectPage, Yank, file_document, instant},
    version::parse_version,
};

pub(crate) async fn project(call: &Call, name: &str, version: Option<&str>) -> Answer {
    call.require_reader()?;
    let view = call.project(name).await?;
    let document = call.registry.document(&view).await?;
    let base = call.base();
    let page = ProjectPage::of(&document, base.as_str()).map_err(unreadable)?;
    let Some(page) = page else { return Err(call.miss().await) };
    let wanted = match version {
        None => newest(&document),
        Some(text) => parse_version(text)
            .and_then(|wanted| exposed(&document).find(|release| release.row.version_key == wanted.unique_key())),
    };
    let Some(release) = wanted else { return Err(call.miss().await) };
    let mut body = json!({
        "info": info(&document, release, base.as_str()).map_err(unreadable)?,
        "last_serial": view.revision(),
        "urls": files(release, &page).map_err(unreadable)?,
        "vulnerabilities": [],
    });
    if version.is_none() {
        let mut releases = serde_json::Map::new();
        for release in exposed(&document) {
            releases.insert(release.row.version.clone(), files(release, &page).map_err(unreadable)?);
        }
        body["releases"] = releases.into();
    }
    Ok(respond(&body))
}

fn unreadable(error: BoxError) -> RegistryError {
    RegistryError::unavailable("the document", error)
}

fn exposed(document: &PackageDocument) -> impl Iterator<Item = &LiveRelease> {
    document.releases.iter().filter(|release| !release.artifacts.is_empty())
}

/// The version pip would take: stable before pre-release, not yanked before yanked, then the highest.
fn newest(document: &PackageDocument) -> Option<&LiveRelease> {
    exposed(document).max_by_key(|r| (!r.row.is_yanked, !r.row.is_prerelease, r.row.sort_key.clone()))
}

fn info(document: &PackageDocument, release: &LiveRelease, base: &str) -> Result<Value, BoxError> {
    let facts: Value = serde_json::from_str(&release.row.metadata)?;
    let package = &document.package;
    let text = |key: &str| facts[key].as_str().unwrap_or_default().to_owned();
    let address = format!("{base}/packages/pypi/{}", package.normalized_name);
    let urls: serde_json::Map<String, Value> = facts["project_urls"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|pair| Some((pair[0].as_str()?.to_owned(), pair[1].clone())))
        .collect();
    Ok(json!({
        "name": facts["project_name"].as_str().unwrap_or(&package.name),
        "version": release.row.version,
        "summary": package.description.clone().unwrap_or_default(),
        "description": package.readme.clone().unwrap_or_default(),
        "description_content_type": text("description_content_type"),
        "keywords": package.keyword_list().join(","),
        "home_page": package.homepage.clone().unwrap_or_default(),
        "author": text("author"),
        "author_email": text("author_email"),
        "maintainer": text("maintainer"),
        "maintainer_email": text("maintainer_email"),
        "license": text("license"),
        "license_expression": facts["license_expression"],
        "classifiers": facts["classifiers"],
        "requires_python": facts["requires_python"],
        "requires_dist": facts["requires_dist"],
        "provides_extra": facts["provides_extra"],
        "project_urls": urls,
        "project_url": address,
        "package_url": address,
        "release_url": format!("{address}/-/v/{}", release.row.version),
        "yanked": release.row.is_yanked,
        "yanked_reason": release.row.yank_reason,
    }))
}

fn files(release: &LiveRelease, page: &ProjectPage) -> Result<Value, BoxError> {
    let of = |artifact: &ArtifactRow| page.files.iter().find(|file| file.filename == artifact.filename);
    let files: Result<Vec<Value>, BoxError> = release
        .artifacts
        .iter()
        .filter_map(|artifact| of(artifact).map(|entry| (artifact, entry)))
        .map(|(artifact, entry)| file(artifact, entry))
        .collect();
    Ok(Value::from(files?))
}

fn file(artifact: &ArtifactRow, entry: &FileEntry) -> Result<Value, BoxError> {
    let document = file_document(artifact)?;
    let reason = entry.yanked.as_ref().and_then(|Yank(reason)| reason.clone());
    Ok(json!({
        "filename": entry.filename,
        "url": entry.url,
        "digests": { "sha256": entry.sha256, "blake2b_256": document.blake2b_256, "md5": artifact.md5 },
        "size": entry.size_bytes,
        "packagetype": if document.python_tag == "source" { "sdist" } else { "bdist_wheel" },
        "python_version": document.python_tag,
        "requires_python": entry.requires_python,
        "upload_time": artifact.uploaded_at.to_seconds_string().trim_end_matches('Z'),
        "upload_time_iso_8601": instant(artifact.uploaded_at),
        "yanked": entry.yanked.is_some(),
        "yanked_reason": reason,
    }))
}

fn respond(body: &Value) -> Response {
    let mut response = (StatusCode::OK, body.to_string()).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, max-age=0, must-revalidate"));
    headers.insert(header::VARY, HeaderValue::from_static("Accept, Authorization, Accept-Encoding"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

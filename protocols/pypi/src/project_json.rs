//! `GET /pypi/{project}[/{version}]/json`: what update checkers and scanners ask for, as far as it is known.
//!
//! Source: <https://docs.pypi.org/api/json/>

use std::sync::Arc;

use publaryn_core::{BoxError, RegistryError, publish::PackageFacts};
use publaryn_protocol::respond_rendered;
use publaryn_registry::{ArtifactRow, LiveRelease, PackageDocument, PackageView, Rendered};
use serde_json::{Value, json};

use crate::{
    advisories,
    call::{Answer, Call},
    simple::{FileEntry, Yank, distributions, exposed, file_document, instant},
    version::parse_version,
};

const CONTENT_TYPE: &str = "application/json";

pub(crate) async fn project(call: &Call, name: &str, version: Option<&str>) -> Answer {
    call.require_reader()?;
    let view = call.project(name).await?;
    let rendered = match version {
        None => newest_release(call, &view).await,
        Some(version) => one_release(call, &view, version).await.map(Into::into),
    };
    match rendered {
        Ok(rendered) => Ok(respond_rendered(&rendered, &call.headers, view.is_open())),
        Err(RegistryError::NotFound) => Err(call.miss().await),
        Err(other) => Err(other.into()),
    }
}

async fn newest_release(call: &Call, view: &PackageView) -> Result<Arc<Rendered>, RegistryError> {
    let (registry, base) = (&call.registry, call.base());
    let facts = |document: &PackageDocument| {
        let facts = newest(document).map(|release| registry.release_facts(release));
        async move {
            match facts {
                Some(facts) => facts.await,
                None => Ok(PackageFacts::default()),
            }
        }
    };
    let render_base = base.clone();
    let render = move |document: &PackageDocument, facts: PackageFacts| {
        let Some(release) = newest(document) else { return Ok(None) };
        let mut body = release_body(document, release, &facts, render_base.as_str())?;
        let mut releases = serde_json::Map::new();
        for release in exposed(document) {
            releases.insert(release.row.version.clone(), files(document, release, render_base.as_str())?);
        }
        body["releases"] = releases.into();
        Ok(Some(body.to_string().into_bytes()))
    };
    registry.rendered_from(view, "pypi-project", base.as_str(), CONTENT_TYPE, facts, render).await
}

/// Made anew each time: nobody asks for the same old version again and again.
async fn one_release(call: &Call, view: &PackageView, version: &str) -> Result<Rendered, RegistryError> {
    let wanted = parse_version(version).ok_or(RegistryError::NotFound)?;
    let document = call.registry.document(view).await?;
    let release = exposed(&document).find(|release| release.row.version_key == wanted.unique_key());
    let release = release.ok_or(RegistryError::NotFound)?;
    let facts = call.registry.release_facts(release).await?;
    let body = release_body(&document, release, &facts, call.base().as_str());
    let body = body.map_err(|error| RegistryError::unavailable("the document", error))?;
    let (revision, changed) = (document.package.revision, document.package.updated_at);
    let render = move || Rendered::new(CONTENT_TYPE, body.to_string().into_bytes(), revision, changed);
    tokio::task::spawn_blocking(render).await.map_err(RegistryError::internal)
}

/// The version pip would take: stable before pre-release, not yanked before yanked, then the highest.
fn newest(document: &PackageDocument) -> Option<&LiveRelease> {
    exposed(document).max_by_key(|r| (!r.row.is_yanked, !r.row.is_prerelease, &r.row.sort_key))
}

fn release_body(
    document: &PackageDocument,
    release: &LiveRelease,
    facts: &PackageFacts,
    base: &str,
) -> Result<Value, BoxError> {
    let address = format!("{base}/packages/pypi/{}", document.package.normalized_name);
    Ok(json!({
        "info": info(document, release, facts, &address)?,
        "last_serial": document.package.revision,
        "urls": files(document, release, base)?,
        "vulnerabilities": advisories::of_version(&document.advisories, &release.row.version, &address),
    }))
}

fn info(
    document: &PackageDocument,
    release: &LiveRelease,
    facts: &PackageFacts,
    address: &str,
) -> Result<Value, BoxError> {
    let stored: Value = serde_json::from_str(&release.row.metadata)?;
    let text = |key: &str| stored[key].as_str().unwrap_or_default();
    let urls: serde_json::Map<String, Value> = stored["project_urls"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|pair| Some((pair[0].as_str()?.to_owned(), pair[1].clone())))
        .collect();
    Ok(json!({
        "name": stored["project_name"].as_str().unwrap_or(&document.package.name),
        "version": release.row.version,
        "summary": facts.description.as_deref().unwrap_or_default(),
        "description": facts.readme.as_deref().unwrap_or_default(),
        "description_content_type": text("description_content_type"),
        "keywords": facts.keywords.join(","),
        "home_page": facts.homepage.as_deref().unwrap_or_default(),
        "author": text("author"),
        "author_email": text("author_email"),
        "maintainer": text("maintainer"),
        "maintainer_email": text("maintainer_email"),
        "license": text("license"),
        "license_expression": stored["license_expression"],
        "classifiers": stored["classifiers"],
        "requires_python": stored["requires_python"],
        "requires_dist": stored["requires_dist"],
        "provides_extra": stored["provides_extra"],
        "project_urls": urls,
        "project_url": address,
        "package_url": address,
        "release_url": format!("{address}/-/v/{}", release.row.version),
        "yanked": release.row.is_yanked,
        "yanked_reason": release.row.yank_reason,
    }))
}

fn files(document: &PackageDocument, release: &LiveRelease, base: &str) -> Result<Value, BoxError> {
    let project = &document.package.normalized_name;
    let files: Result<Vec<Value>, BoxError> = distributions(release)
        .map(|artifact| file(artifact, &FileEntry::of(project, release, artifact, base)?))
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

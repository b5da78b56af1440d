//! The JSON API that tools beside `gem` and Bundler read (rubygems.md §2).

use std::collections::HashMap;

use publaryn_core::{ArtifactKind, Ecosystem, RegistryError, ReleaseId};
use publaryn_registry::{LiveRelease, PackageDocument, PackageView, Releases};
use publaryn_search::{SearchQuery, SearchText};
use serde_json::{Value, json};

use crate::{
    call::{Answer, Call, json, yaml},
    error::GemError,
    gemspec::Gemspec,
    route::Format,
    version,
};

const SEARCH_PAGE: usize = 30;

/// A release that is not yanked, with its specification.
struct Listed<'a> {
    release: &'a LiveRelease,
    spec: Gemspec,
}

/// Highest first; of one number, the gem for any Ruby first.
fn listed(document: &PackageDocument) -> Result<Vec<Listed<'_>>, RegistryError> {
    let mut all = Vec::new();
    for release in document.releases.iter().filter(|release| !release.row.is_yanked) {
        let spec = serde_json::from_str(&release.row.metadata).map_err(RegistryError::internal)?;
        all.push(Listed { release, spec });
    }
    let key = |listed: &Listed<'_>| {
        let number = version::version_of(&listed.spec.version, version::RUBY).map(|v| v.sort_key().to_vec());
        (number, listed.spec.platform == version::RUBY)
    };
    all.sort_by_cached_key(|listed| std::cmp::Reverse(key(listed)));
    Ok(all)
}

/// The one to recommend.
fn newest<'a>(all: &'a [Listed<'a>]) -> Option<&'a Listed<'a>> {
    all.iter().find(|listed| !listed.release.row.is_prerelease).or(all.first())
}

/// Downloads of one release.
fn downloads_of(counts: &HashMap<ReleaseId, i64>, listed: &Listed<'_>) -> i64 {
    counts.get(&listed.release.row.id).copied().unwrap_or(0)
}

async fn document(call: &Call, gem: &str) -> Result<(PackageView, PackageDocument), GemError> {
    call.require_reader()?;
    let view = call.gem(gem).await?;
    let document = call.registry.document(&view).await?;
    Ok((view, document))
}

pub(crate) async fn about(call: &Call, gem: &str, format: Format) -> Answer {
    let (view, document) = document(call, gem).await?;
    let downloads = call.registry.release_downloads([&view]).await?;
    let Some(body) = gem_object(call, &document, &downloads)? else { return Err(call.miss().await) };
    // JSON is YAML.
    Ok(if format == Format::Yaml { yaml(format!("--- {body}\n")) } else { json(&body) })
}

pub(crate) async fn versions(call: &Call, gem: &str) -> Answer {
    let (view, document) = document(call, gem).await?;
    let all = listed(&document)?;
    if all.is_empty() {
        return Err(call.miss().await);
    }
    let downloads = call.registry.release_downloads([&view]).await?;
    let objects = all.iter().map(|listed| version_object(listed, downloads_of(&downloads, listed)));
    Ok(json(&Value::Array(objects.collect())))
}

pub(crate) async fn latest(call: &Call, gem: &str) -> Answer {
    let (_, document) = document(call, gem).await?;
    let all = listed(&document)?;
    let Some(newest) = newest(&all) else { return Err(call.miss().await) };
    Ok(json(&json!({ "version": newest.spec.version })))
}

pub(crate) async fn version(call: &Call, gem: &str, number: &str) -> Answer {
    let (view, document) = document(call, gem).await?;
    let all = listed(&document)?;
    let platform = call.query("platform");
    let wanted = all.iter().find(|listed| {
        listed.spec.version == number && platform.as_ref().is_none_or(|platform| *platform == listed.spec.platform)
    });
    let Some(wanted) = wanted else { return Err(call.miss().await) };
    let downloads = downloads_of(&call.registry.release_downloads([&view]).await?, wanted);
    let (Value::Object(mut body), Value::Object(about)) =
        (about_object(call, &document, wanted, downloads), version_object(wanted, downloads))
    else {
        return Err(call.miss().await);
    };
    body.extend(about);
    Ok(json(&Value::Object(body)))
}

pub(crate) async fn search(call: &Call) -> Answer {
    call.require_reader()?;
    let wanted = call.query("query").unwrap_or_default();
    let text = SearchText::parse(&wanted).map_err(|error| RegistryError::malformed(error.to_string()))?;
    if text.is_blank() {
        return Ok(json(&json!([])));
    }
    let page = call.query("page").and_then(|page| page.parse::<usize>().ok()).unwrap_or(1).max(1);
    let query = SearchQuery {
        ecosystem: Some(Ecosystem::Rubygems),
        live_only: true,
        offset: (page - 1).saturating_mul(SEARCH_PAGE),
        limit: SEARCH_PAGE,
        ..SearchQuery::of(text)
    };
    let found = call.registry.search(&call.who, &query, Releases::All).await?;
    let downloads = call.registry.release_downloads(found.hits.iter().map(|hit| &hit.view)).await?;
    let mut gems = Vec::with_capacity(found.hits.len());
    for hit in &found.hits {
        gems.extend(gem_object(call, &hit.document, &downloads)?);
    }
    Ok(json(&Value::Array(gems)))
}

/// The gems of the caller, or those of somebody else that the caller may see.
pub(crate) async fn gems_of(call: &Call, handle: Option<&str>) -> Answer {
    call.require_reader()?;
    let handle = match handle {
        Some(handle) => handle.to_owned(),
        None => {
            call.require_login()?;
            call.who.user().map(|user| user.username.to_string()).ok_or_else(GemError::not_found)?
        }
    };
    let views = call.registry.packages_of_user(&call.who, Ecosystem::Rubygems, &handle).await?;
    let downloads = call.registry.release_downloads(&views).await?;
    let mut gems = Vec::with_capacity(views.len());
    for view in &views {
        gems.extend(gem_object(call, &call.registry.document(view).await?, &downloads)?);
    }
    Ok(json(&Value::Array(gems)))
}

fn gem_object(
    call: &Call,
    document: &PackageDocument,
    downloads: &HashMap<ReleaseId, i64>,
) -> Result<Option<Value>, RegistryError> {
    let all = listed(document)?;
    Ok(newest(&all).map(|newest| about_object(call, document, newest, downloads_of(downloads, newest))))
}

fn about_object(call: &Call, document: &PackageDocument, wanted: &Listed<'_>, downloads: i64) -> Value {
    let (spec, base) = (&wanted.spec, call.base());
    let link = |key: &str| spec.metadata.get(key).filter(|text| !text.is_empty());
    let needs = |is_development: bool| -> Vec<Value> {
        let chosen = spec.dependencies.iter().filter(|dependency| dependency.is_development == is_development);
        chosen.map(|d| json!({ "name": d.name, "requirements": d.requirement.joined(", ") })).collect()
    };
    json!({
        "name": document.package.name,
        "downloads": document.package.download_count,
        "version": spec.version,
        "version_created_at": created_at(wanted),
        "version_downloads": downloads,
        "platform": spec.platform,
        "authors": spec.authors.join(", "),
        "info": spec.description.as_ref().filter(|text| !text.is_empty()).unwrap_or(&spec.summary),
        "licenses": spec.licenses,
        "metadata": spec.metadata,
        "yanked": false,
        "sha": sha(wanted),
        "spec_sha": spec.spec_sha256,
        "project_uri": format!("{}/packages/rubygems/{}", base.as_str(), document.package.name),
        "gem_uri": format!("{}/rubygems/gems/{}.gem", base.as_str(), spec.full_name()),
        "homepage_uri": link("homepage_uri").or(spec.homepage.as_ref()),
        "wiki_uri": link("wiki_uri"),
        "documentation_uri": link("documentation_uri"),
        "mailing_list_uri": link("mailing_list_uri"),
        "source_code_uri": link("source_code_uri"),
        "bug_tracker_uri": link("bug_tracker_uri"),
        "changelog_uri": link("changelog_uri"),
        "funding_uri": link("funding_uri"),
        "dependencies": { "development": needs(true), "runtime": needs(false) },
    })
}

fn version_object(listed: &Listed<'_>, downloads: i64) -> Value {
    let spec = &listed.spec;
    json!({
        "authors": spec.authors.join(", "),
        "built_at": spec.date.as_ref().map(|day| format!("{day}T00:00:00.000Z")),
        "created_at": created_at(listed),
        "description": spec.description,
        "downloads_count": downloads,
        "metadata": spec.metadata,
        "number": spec.version,
        "summary": spec.summary,
        "platform": spec.platform,
        "rubygems_version": spec.required_rubygems_version.joined(", "),
        "ruby_version": spec.required_ruby_version.joined(", "),
        "prerelease": listed.release.row.is_prerelease,
        "licenses": spec.licenses,
        "requirements": spec.requirements,
        "sha": sha(listed),
        "spec_sha": spec.spec_sha256,
    })
}

fn created_at(listed: &Listed<'_>) -> String {
    let row = &listed.release.row;
    row.published_at.unwrap_or(row.created_at).to_millis_string()
}

fn sha(listed: &Listed<'_>) -> Option<String> {
    listed.release.file_of(ArtifactKind::Gem).map(|file| file.sha256.hex())
}

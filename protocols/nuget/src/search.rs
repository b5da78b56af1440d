//! Search, and completion of what people type.

use std::collections::{HashMap, HashSet};

use publaryn_core::{Ecosystem, PackageId, RegistryError, ReleaseId, RepositoryKind, Visibility, access::Owner};
use publaryn_registry::{PackageDocument, PackageView, Releases, SearchQuery, SearchText};
use publaryn_search::Sort;
use serde_json::{Value, json};

use crate::{
    advisories::Advisories,
    call::{Answer, Call},
    error::NugetError,
    links::Links,
    name,
    registration::{deprecation, icon_url, license_url, unreadable},
    release::{Release, releases},
    route::Hive,
};

/// What clients get unless they ask, at most, and how far they may skip (nuget.md §3).
const DEFAULT_TAKE: usize = 20;
const MAX_TAKE: usize = 1_000;
const MAX_SKIP: usize = 3_000;
/// Packages asked of the index at once.
const STEP: usize = 100;

/// Which versions count.
#[derive(Debug, Clone, Default)]
pub(crate) struct Filter {
    pub prerelease: bool,
    pub semver2: bool,
    /// In lower case.
    pub package_type: Option<String>,
}

impl Filter {
    fn of(call: &Call) -> Self {
        let kind = ["packageType", "packageTypeFilter", "packageTypes"].iter().find_map(|key| call.query(key));
        Self {
            prerelease: call.flag("prerelease"),
            semver2: call.speaks_semver2(),
            package_type: kind.map(|kind| kind.trim().to_ascii_lowercase()).filter(|kind| !kind.is_empty()),
        }
    }

    /// The versions of a package that count, ascending; of a package whose newest is of another type, none.
    pub fn apply<'d>(&self, document: &'d PackageDocument) -> Result<Vec<Release<'d>>, RegistryError> {
        let mut found = releases(document, self.semver2).map_err(unreadable)?;
        found.retain(|release| release.is_listed() && (self.prerelease || !release.is_prerelease()));
        let has_type = |release: &Release<'_>| match &self.package_type {
            None => true,
            Some(wanted) => release.stored.nuspec.types().iter().any(|kind| kind.eq_ignore_ascii_case(wanted)),
        };
        if found.last().is_some_and(|newest| !has_type(newest)) {
            found.clear();
        }
        Ok(found)
    }
}

/// A package that was found.
pub(crate) struct Found {
    pub view: PackageView,
    pub document: PackageDocument,
}

/// One page of what was found, and how much there is in all.
pub(crate) struct Page {
    pub total: u64,
    pub found: Vec<Found>,
}

/// A search text with its qualifiers taken out.
#[derive(Debug, Default, PartialEq)]
struct Asked {
    words: String,
    id: Option<String>,
    tag: Option<String>,
    owner: Option<String>,
}

impl Asked {
    fn parse(text: &str) -> Self {
        let mut asked = Self::default();
        let mut words = Vec::new();
        for word in text.split_whitespace() {
            let value = |value: &str| value.trim_matches('"').to_owned();
            match word.split_once(':').map(|(key, rest)| (key.to_ascii_lowercase(), rest)) {
                Some((key, rest)) if key == "packageid" => asked.id = Some(value(rest)),
                Some((key, rest)) if key == "owner" || key == "owners" => asked.owner = Some(value(rest)),
                Some((key, rest)) if key == "tag" || key == "tags" => match asked.tag {
                    None => asked.tag = Some(value(rest)),
                    // One can be filtered by; further ones narrow as words.
                    Some(_) => words.push(value(rest)),
                },
                Some((key, rest)) if matches!(key.as_str(), "id" | "title" | "description" | "summary" | "author") => {
                    words.push(value(rest));
                }
                _ => words.push(word.to_owned()),
            }
        }
        asked.words = words.join(" ");
        asked
    }
}

/// `GET /v3/search`
pub(crate) async fn search(call: &Call) -> Answer {
    call.require_reader()?;
    let (skip, take) = window(call)?;
    let filter = Filter::of(call);
    let text = call.query("q").unwrap_or_default();
    let page = find(call, &text, &filter, Sort::Relevance, (skip, take)).await?;
    let views: Vec<&PackageView> = page.found.iter().map(|found| &found.view).collect();
    let beside = Beside {
        downloads: call.registry.release_downloads(views.iter().copied()).await?,
        verified: call.registry.verified(&views).await?,
    };
    let mut data = Vec::with_capacity(page.found.len());
    for found in &page.found {
        data.push(hit(call, found, &filter, &beside).await?);
    }
    Ok(call.json(&json!({ "totalHits": page.total, "data": data })))
}

/// How many to skip, and how many to take.
pub(crate) fn window(call: &Call) -> Result<(usize, usize), NugetError> {
    Ok((call.number("skip", 0)?.min(MAX_SKIP), call.number("take", DEFAULT_TAKE)?.min(MAX_TAKE)))
}

/// Packages that match, of which at least one version counts. The index knows nothing of prereleases and types, so
/// what it proposes is looked through from its beginning: a page is never shorter than it could be.
pub(crate) async fn find(
    call: &Call,
    text: &str,
    filter: &Filter,
    sort: Sort,
    (skip, take): (usize, usize),
) -> Result<Page, NugetError> {
    let asked = Asked::parse(text);
    if let Some(id) = &asked.id {
        return exactly(call, id, filter, skip, take).await;
    }
    let words = SearchText::parse(&asked.words).map_err(|error| NugetError::bad_request(error.to_string()))?;
    let mut query = SearchQuery::of(words);
    query.ecosystem = Some(Ecosystem::Nuget);
    query.live_only = true;
    query.keyword = asked.tag;
    if let Some(owner) = asked.owner {
        query.owner = match call.registry.identity().user_by_name(&owner.to_lowercase()).await {
            Ok(user) => Some(Owner::User(user.id)),
            Err(RegistryError::NotFound) => return Ok(Page { total: 0, found: Vec::new() }),
            Err(error) => return Err(error.into()),
        };
    }
    query.limit = STEP;
    query.sort = sort;
    // By relevance, the package of exactly that id comes first.
    let words = if sort == Sort::Relevance { asked.words.as_str() } else { "" };
    let first = exactly(call, words, filter, 0, 1).await?.found;
    let first_id = first.first().map(|found| found.view.id());
    let mut matching = first.len();
    let mut found: Vec<Found> = if skip == 0 { first.into_iter().take(take).collect() } else { Vec::new() };
    loop {
        let results = call.registry.search(&call.who, &query, Releases::All).await?;
        let proposed = query.offset + STEP;
        for hit in results.hits {
            if Some(hit.view.id()) == first_id || filter.apply(&hit.document)?.is_empty() {
                continue;
            }
            matching += 1;
            if matching > skip && found.len() < take {
                found.push(Found { view: hit.view, document: hit.document });
            }
        }
        if proposed as u64 >= results.total || proposed >= MAX_SKIP + MAX_TAKE {
            return Ok(Page { total: matching as u64, found });
        }
        if found.len() == take {
            // What was not looked at may not count; the total is an upper bound then.
            return Ok(Page { total: results.total.max(matching as u64), found });
        }
        query.offset = proposed;
    }
}

/// The package of that id, if one of its versions counts.
pub(crate) async fn exactly(
    call: &Call,
    id: &str,
    filter: &Filter,
    skip: usize,
    take: usize,
) -> Result<Page, NugetError> {
    let none = Page { total: 0, found: Vec::new() };
    let id = id.trim();
    if !name::is_id(id) {
        return Ok(none);
    }
    let view = match call.registry.package(&call.who, Ecosystem::Nuget, &name::canonical(id)).await {
        Ok(view) if view.visibility() != Visibility::Unlisted => view,
        Ok(_) | Err(RegistryError::NotFound | RegistryError::BadCredential(_)) => return Ok(none),
        Err(error) => return Err(error.into()),
    };
    let document = match call.registry.document(&view).await {
        Ok(document) => document,
        Err(RegistryError::NotFound) => return Ok(none),
        Err(error) => return Err(error.into()),
    };
    if document.package.repository_kind == RepositoryKind::Staging || filter.apply(&document)?.is_empty() {
        return Ok(none);
    }
    let found = if skip == 0 && take > 0 { vec![Found { view, document }] } else { Vec::new() };
    Ok(Page { total: 1, found })
}

/// What no document says of the packages of a page.
struct Beside {
    downloads: HashMap<ReleaseId, i64>,
    verified: HashSet<PackageId>,
}

async fn hit(call: &Call, found: &Found, filter: &Filter, beside: &Beside) -> Result<Value, NugetError> {
    let hive = if filter.semver2 { Hive::SemVer2 } else { Hive::Plain };
    let document = &found.document;
    let portal = call.portal();
    let links = Links::new(&call.base(), portal.as_str(), &document.package.name);
    let versions = filter.apply(document)?;
    let Some(newest) = versions.last() else { return Err(call.miss().await) };
    let nuspec = &newest.stored.nuspec;
    let listed: Vec<Value> = versions
        .iter()
        .map(|release| {
            let downloads = beside.downloads.get(&release.live.row.id).copied().unwrap_or(0);
            json!({ "@id": links.leaf(hive, release.key()), "version": release.version(), "downloads": downloads })
        })
        .collect();
    let owners: Vec<&str> = document.owners.iter().map(|owner| owner.username.as_str()).collect();
    let types: Vec<Value> = nuspec.types().into_iter().map(|kind| json!({ "name": kind })).collect();
    let advisories = Advisories::collect(&document.advisories);
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let mut hit = json!({
        "@id": links.registration(hive),
        "@type": "Package",
        "registration": links.registration(hive),
        "id": document.package.name,
        "version": newest.version(),
        "description": nuspec.description,
        "summary": text(&nuspec.about.summary),
        "title": nuspec.about.title.as_deref().unwrap_or(&document.package.name),
        "iconUrl": icon_url(newest, &links),
        "licenseUrl": license_url(newest, &links),
        "projectUrl": text(&nuspec.about.project_url),
        "tags": nuspec.tags(),
        "authors": nuspec.authors(),
        "owners": owners,
        "totalDownloads": document.package.download_count,
        "verified": beside.verified.contains(&found.view.id()),
        "packageTypes": types,
        "versions": listed,
        "vulnerabilities": advisories.shown(newest.version(), &links.findings()).unwrap_or_else(|| json!([])),
    });
    if let Some(deprecation) = deprecation(newest) {
        hit["deprecation"] = deprecation;
    }
    Ok(hit)
}

/// `GET /v3/autocomplete`: ids that begin with, or hold, a text; or with `id`, the versions of a package.
pub(crate) async fn autocomplete(call: &Call) -> Answer {
    call.require_reader()?;
    let filter = Filter::of(call);
    if let Some(id) = call.query("id").filter(|id| !id.trim().is_empty()) {
        let page = exactly(call, &id, &filter, 0, 1).await?;
        let mut versions = Vec::new();
        for found in &page.found {
            versions.extend(filter.apply(&found.document)?.iter().map(|release| release.normalized().to_owned()));
        }
        return Ok(call.json(&json!({ "totalHits": versions.len(), "data": versions })));
    }
    let (skip, take) = window(call)?;
    let wanted = call.query("q").unwrap_or_default().trim().to_lowercase();
    let mut names = call.registry.listed_names(&call.who, Ecosystem::Nuget).await?;
    names.retain(|name| name.normalized_name.contains(&wanted));
    names.sort_by_key(|name| !name.normalized_name.starts_with(&wanted));
    let total = names.len();
    let mut ids = Vec::new();
    let mut counted = 0;
    for name in names.into_iter().take(MAX_SKIP + MAX_TAKE) {
        if ids.len() == take {
            break;
        }
        if exactly(call, &name.normalized_name, &filter, 0, 1).await?.found.is_empty() {
            continue;
        }
        counted += 1;
        if counted > skip {
            ids.push(name.name);
        }
    }
    Ok(call.json(&json!({ "totalHits": total.max(ids.len()), "data": ids })))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn qualifiers_are_taken_out_of_the_text() {
        let asked = Asked::parse("json PackageId:Acme.Lib tag:fast owner:\"alice\" tags:small id:parse odd:one");
        let wanted = Asked {
            words: "json small parse odd:one".into(),
            id: Some("Acme.Lib".into()),
            tag: Some("fast".into()),
            owner: Some("alice".into()),
        };
        assert_eq!(asked, wanted);
        assert_eq!(Asked::parse(""), Asked::default());
    }
}

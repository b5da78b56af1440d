//! Search, and completion of what people type.

use std::collections::{HashMap, HashSet};

use publaryn_core::{Ecosystem, PackageId, RegistryError, ReleaseId, RepositoryKind, Visibility};
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
/// Packages asked of the index, and read with all their versions, at once.
const STEP: usize = 50;

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
    let mut finder = Finder::new(call, &text, &filter, Sort::Relevance).await?;
    let (mut data, mut seen) = (Vec::new(), 0);
    while let Some(mut batch) = finder.next().await? {
        let skipped = skip.saturating_sub(seen).min(batch.len());
        seen += batch.len();
        batch.drain(..skipped);
        batch.truncate(take - data.len());
        let beside = Beside::of(call, &batch).await?;
        for found in &batch {
            data.push(hit(call, found, &filter, &beside).await?);
        }
        if data.len() == take {
            break;
        }
    }
    Ok(call.json(&json!({ "totalHits": finder.total(), "data": data })))
}

/// How many to skip, and how many to take.
pub(crate) fn window(call: &Call) -> Result<(usize, usize), NugetError> {
    Ok((call.number("skip", 0)?.min(MAX_SKIP), call.number("take", DEFAULT_TAKE)?.min(MAX_TAKE)))
}

/// Packages that match, of which at least one version counts, a few at a time: each comes with all its versions. The
/// index knows nothing of prereleases and types, so what it proposes is looked through from its beginning, and a page
/// is never shorter than it could be.
pub(crate) struct Finder<'c> {
    call: &'c Call,
    filter: &'c Filter,
    /// What the index is asked next; `None` once it has proposed everything, or is not asked at all.
    query: Option<SearchQuery>,
    /// The one id that may be found.
    only: Option<String>,
    /// The package whose id the text is: by relevance it comes first, whether or not the index knows it yet.
    first: Option<Found>,
    first_id: Option<PackageId>,
    matched: usize,
    /// What the index knows of, where not all of it was looked at.
    proposed: usize,
}

impl<'c> Finder<'c> {
    pub async fn new(call: &'c Call, text: &str, filter: &'c Filter, sort: Sort) -> Result<Self, NugetError> {
        let asked = Asked::parse(text);
        let mut finder =
            Self { call, filter, query: None, only: None, first: None, first_id: None, matched: 0, proposed: 0 };
        let words = asked.id.as_deref().unwrap_or(&asked.words);
        // Who owns a package and which tags it has, only the index says.
        let is_narrowed = asked.tag.is_some() || asked.owner.is_some();
        if !is_narrowed && (asked.id.is_some() || sort == Sort::Relevance) {
            finder.first = exactly(call, words, filter).await?;
            finder.first_id = finder.first.as_ref().map(|found| found.view.id());
        }
        if asked.id.is_some() && !is_narrowed {
            return Ok(finder);
        }
        let text = SearchText::parse(words).map_err(|error| NugetError::bad_request(error.to_string()))?;
        let mut query = SearchQuery::of(text);
        query.ecosystem = Some(Ecosystem::Nuget);
        query.live_only = true;
        query.keyword = asked.tag;
        query.limit = STEP;
        query.sort = sort;
        if let Some(name) = &asked.owner {
            query.owner = call.registry.owner_named(name).await?;
            if query.owner.is_none() {
                return Ok(finder);
            }
        }
        finder.only = asked.id.as_deref().map(name::canonical);
        finder.query = Some(query);
        Ok(finder)
    }

    /// The next ones; none may be left of those that were looked at.
    pub async fn next(&mut self) -> Result<Option<Vec<Found>>, NugetError> {
        let mut batch: Vec<Found> = self.first.take().into_iter().collect();
        let Some(query) = &mut self.query else {
            self.matched += batch.len();
            return Ok((!batch.is_empty()).then_some(batch));
        };
        let results = self.call.registry.search(&self.call.who, query, Releases::All).await?;
        query.offset += STEP;
        let is_over = query.offset as u64 >= results.total;
        self.proposed = if is_over { 0 } else { usize::try_from(results.total).unwrap_or(usize::MAX) };
        if is_over || query.offset >= MAX_SKIP + MAX_TAKE {
            self.query = None;
        }
        for hit in results.hits {
            let is_wanted = self.only.as_ref().is_none_or(|only| *only == name::canonical(hit.view.name()));
            if is_wanted && Some(hit.view.id()) != self.first_id && !self.filter.apply(&hit.document)?.is_empty() {
                batch.push(Found { view: hit.view, document: hit.document });
            }
        }
        self.matched += batch.len();
        Ok(Some(batch))
    }

    /// Whether everything that matches was looked at.
    pub fn is_over(&self) -> bool {
        self.query.is_none() && self.proposed == 0
    }

    /// How many packages match; an upper bound while not all were looked at.
    pub fn total(&self) -> usize {
        self.matched.max(self.proposed)
    }
}

/// The package of that id, if one of its versions counts.
async fn exactly(call: &Call, id: &str, filter: &Filter) -> Result<Option<Found>, NugetError> {
    let id = id.trim();
    if !name::is_id(id) {
        return Ok(None);
    }
    let view = match call.registry.package(&call.who, Ecosystem::Nuget, &name::canonical(id)).await {
        Ok(view) if view.visibility() != Visibility::Unlisted => view,
        Ok(_) | Err(RegistryError::NotFound | RegistryError::BadCredential(_)) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let document = match call.registry.document(&view).await {
        Ok(document) => document,
        Err(RegistryError::NotFound) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let is_found = document.package.repository_kind != RepositoryKind::Staging && !filter.apply(&document)?.is_empty();
    Ok(is_found.then_some(Found { view, document }))
}

/// What no document says of the packages of a page.
struct Beside {
    downloads: HashMap<ReleaseId, i64>,
    verified: HashSet<PackageId>,
    organizations: HashMap<PackageId, String>,
}

impl Beside {
    async fn of(call: &Call, page: &[Found]) -> Result<Self, RegistryError> {
        let views: Vec<&PackageView> = page.iter().map(|found| &found.view).collect();
        Ok(Self {
            downloads: call.registry.release_downloads(views.iter().copied()).await?,
            verified: call.registry.verified(&views).await?,
            organizations: call.registry.owning_organizations(&views).await?,
        })
    }
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
    let organization = beside.organizations.get(&found.view.id()).map(String::as_str);
    let people = document.owners.iter().map(|owner| owner.username.as_str());
    let owners: Vec<&str> = organization.into_iter().chain(people).collect();
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

/// `GET /v3/autocomplete`: ids that begin with a text, or of which a part does; or with `id`, the versions of a package.
pub(crate) async fn autocomplete(call: &Call) -> Answer {
    call.require_reader()?;
    let filter = Filter::of(call);
    if let Some(id) = call.query("id").filter(|id| !id.trim().is_empty()) {
        let found = exactly(call, &id, &filter).await?;
        let versions = match &found {
            Some(found) => filter.apply(&found.document)?,
            None => Vec::new(),
        };
        let versions: Vec<&str> = versions.iter().map(Release::normalized).collect();
        return Ok(call.json(&json!({ "totalHits": versions.len(), "data": versions })));
    }
    let (skip, take) = window(call)?;
    let wanted = call.query("q").unwrap_or_default().trim().to_lowercase();
    // Not a search text: no word of it is a qualifier.
    let text = wanted.replace(':', " ");
    let sort = if wanted.is_empty() { Sort::Name } else { Sort::Relevance };
    let mut finder = Finder::new(call, &text, &filter, sort).await?;
    let (mut ids, mut seen, mut unlike) = (Vec::new(), 0, 0);
    while let Some(batch) = finder.next().await? {
        let mut names: Vec<String> = batch.iter().map(|found| found.view.name().to_owned()).collect();
        names.retain(|name| name::canonical(name).contains(&wanted));
        unlike += batch.len() - names.len();
        // By relevance what has the text in its id comes first: behind a batch without, there is none.
        let is_over = !batch.is_empty() && names.is_empty();
        names.sort_by_cached_key(|name| {
            let key = name::canonical(name);
            (!key.starts_with(&wanted), key)
        });
        let skipped = skip.saturating_sub(seen).min(names.len());
        seen += names.len();
        ids.extend(names.drain(skipped..));
        if is_over || ids.len() >= take {
            break;
        }
    }
    ids.truncate(take);
    Ok(call.json(&json!({ "totalHits": finder.total() - unlike, "data": ids })))
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

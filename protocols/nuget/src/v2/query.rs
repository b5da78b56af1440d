//! Which releases a request of the older protocol is answered with.

use std::collections::HashMap;

use publaryn_core::{ArtifactKind, RegistryError, ReleaseId};
use publaryn_registry::{ArtifactRow, LiveRelease, PackageDocument, PackageView};
use publaryn_search::Sort;

use super::{
    Feed,
    filter::{Field, Filter, Row},
    parameter,
};
use crate::{
    call::Call,
    error::NugetError,
    name,
    range::Range,
    registration::unreadable,
    release::{Release, Stored, releases},
    search::{self, Finder},
    version::{Parts, without_metadata},
};

/// Entries of a page unless asked, and at most (nuget.md §5).
const MAX_TOP: usize = 100;
/// Packages that a question is answered from when it is not for the newest release of each.
const MAX_PACKAGES: usize = 1_000;
/// Packages that updates are asked for at once.
const MAX_UPDATES: usize = 100;

/// A release as the feed shows it.
#[derive(Debug, Clone)]
pub struct Entry {
    /// As first published.
    pub id: String,
    pub normalized: String,
    pub version: String,
    pub key: String,
    pub is_latest: bool,
    pub is_absolute_latest: bool,
    pub is_prerelease: bool,
    pub published: String,
    pub created: String,
    pub updated: String,
    pub downloads: i64,
    /// Of this release alone.
    pub version_downloads: i64,
    pub size_bytes: i64,
    /// Lower-case hex.
    pub sha512: String,
    pub stored: Stored,
}

/// What orders a release among others, and finds it again: questions may match thousands, and only those of one page
/// are read whole.
#[derive(Debug, Clone)]
struct Ranked {
    view: PackageView,
    release: ReleaseId,
    version: String,
    sort_key: Vec<u8>,
    is_listed: bool,
    is_latest: bool,
    is_absolute_latest: bool,
    is_prerelease: bool,
    published: String,
    updated: String,
    downloads: i64,
    version_downloads: i64,
}

/// A release with its document, while it is held against a filter.
struct Candidate {
    ranked: Ranked,
    stored: Stored,
}

impl Row for Candidate {
    fn text(&self, field: Field) -> String {
        let nuspec = &self.stored.nuspec;
        match field {
            Field::Id => self.ranked.view.name().to_owned(),
            Field::Version => without_metadata(&self.ranked.version).to_owned(),
            Field::Title => nuspec.about.title.clone().unwrap_or_default(),
            Field::Tags => nuspec.tags().join(" "),
            Field::Description => nuspec.description.clone(),
            Field::Authors => nuspec.authors.clone(),
            Field::IsLatest | Field::IsAbsoluteLatest | Field::IsPrerelease => String::new(),
        }
    }
    fn flag(&self, field: Field) -> bool {
        match field {
            Field::IsLatest => self.ranked.is_latest,
            Field::IsAbsoluteLatest => self.ranked.is_absolute_latest,
            Field::IsPrerelease => self.ranked.is_prerelease,
            _ => false,
        }
    }
}

/// Where the next page begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Next {
    pub skip: usize,
    /// What is left of the entries that were asked for.
    pub top: Option<usize>,
}

/// Entries, and how many there are in all.
#[derive(Debug, Default)]
pub struct Page {
    pub entries: Vec<Entry>,
    pub total: usize,
    pub next: Option<Next>,
}

/// The releases of a package, ascending; unlisted ones included.
fn candidates(
    view: &PackageView,
    document: &PackageDocument,
    downloads: &HashMap<ReleaseId, i64>,
    semver2: bool,
) -> Result<Vec<Candidate>, RegistryError> {
    let all = releases(document, semver2).map_err(unreadable)?;
    let newest = |counts: fn(&Release<'_>) -> bool| {
        all.iter().rev().find(|release| release.is_listed() && counts(release)).map(|release| release.live.row.id)
    };
    let (latest, absolute) = (newest(|release| !release.is_prerelease()), newest(|_| true));
    let candidate = |release: Release<'_>| {
        let row = &release.live.row;
        let ranked = Ranked {
            view: view.clone(),
            release: row.id,
            version: release.version().to_owned(),
            sort_key: row.sort_key.clone(),
            is_listed: release.is_listed(),
            is_latest: latest == Some(row.id),
            is_absolute_latest: absolute == Some(row.id),
            is_prerelease: release.is_prerelease(),
            published: release.published(),
            updated: row.updated_at.to_millis_string(),
            downloads: document.package.download_count,
            version_downloads: downloads.get(&row.id).copied().unwrap_or(0),
        };
        Candidate { ranked, stored: release.stored }
    };
    Ok(all.into_iter().map(candidate).collect())
}

fn entry(ranked: Ranked, live: &LiveRelease) -> Result<Entry, RegistryError> {
    let package: Option<&ArtifactRow> = live.artifacts.iter().find(|file| file.kind == ArtifactKind::Nupkg);
    Ok(Entry {
        id: ranked.view.name().to_owned(),
        normalized: without_metadata(&ranked.version).to_owned(),
        version: ranked.version,
        key: live.row.version_key.clone(),
        is_latest: ranked.is_latest,
        is_absolute_latest: ranked.is_absolute_latest,
        is_prerelease: ranked.is_prerelease,
        published: ranked.published,
        created: live.row.created_at.to_millis_string(),
        updated: ranked.updated,
        downloads: ranked.downloads,
        version_downloads: ranked.version_downloads,
        size_bytes: package.map_or(0, |file| file.size_bytes),
        sha512: package.map(|file| file.sha512.clone()).unwrap_or_default(),
        stored: Stored::read(&live.row.metadata).map_err(unreadable)?,
    })
}

/// `Packages(Id='X',Version='1.0')`
pub async fn one(call: &Call, id: &str, version: &str) -> Result<Entry, NugetError> {
    let Some(wanted) = Parts::parse(version) else { return Err(call.miss().await) };
    let view = call.package(id).await?;
    let key = wanted.normalized().to_ascii_lowercase();
    let live = call.or_miss(call.registry.live_release(&view, &key).await).await?;
    // Who names it knows it, so that it needs SemVer 2 hides nothing; which are the latest, the newest say.
    let document = call.or_miss(call.registry.notable_document(&view).await).await?;
    let downloads = call.registry.release_downloads([&view]).await?;
    let newest = candidates(&view, &document, &downloads, true)?;
    let newest = newest.into_iter().find(|candidate| candidate.ranked.release == live.row.id);
    let (is_latest, is_absolute_latest) =
        newest.map_or((false, false), |newest| (newest.ranked.is_latest, newest.ranked.is_absolute_latest));
    let document = PackageDocument { releases: vec![live], ..document };
    let alone = candidates(&view, &document, &downloads, true)?.pop();
    match (alone, document.releases.first()) {
        (Some(Candidate { ranked, .. }), Some(live)) => {
            Ok(entry(Ranked { is_latest, is_absolute_latest, ..ranked }, live)?)
        }
        _ => Err(call.miss().await),
    }
}

/// The releases of the package of that id; 404 (or the challenge) when there is none.
async fn of_package(call: &Call, id: &str) -> Result<Vec<Candidate>, NugetError> {
    let view = call.package(id).await?;
    let document = call.or_miss(call.registry.document(&view).await).await?;
    let downloads = call.registry.release_downloads([&view]).await?;
    Ok(candidates(&view, &document, &downloads, call.speaks_semver2())?)
}

fn admitted(candidates: Vec<Candidate>, filter: Option<&Filter>) -> Vec<Ranked> {
    let is_admitted = |candidate: &Candidate| filter.is_none_or(|filter| filter.admits(candidate));
    candidates.into_iter().filter(is_admitted).map(|candidate| candidate.ranked).collect()
}

/// Releases in no order yet, and how many there are in all where not all were looked at.
#[derive(Default)]
struct Rows {
    ranked: Vec<Ranked>,
    total: usize,
}

impl From<Vec<Ranked>> for Rows {
    fn from(ranked: Vec<Ranked>) -> Self {
        Self { total: ranked.len(), ranked }
    }
}

pub async fn page(call: &Call, feed: Feed) -> Result<Page, NugetError> {
    let filter = call.query("$filter").filter(|text| !text.trim().is_empty());
    let filter = filter.map(|text| Filter::parse(&text)).transpose().map_err(NugetError::bad_request)?;
    let filter = filter.as_ref();
    let order = Order::parse(&call.query("$orderby").unwrap_or_default()).map_err(NugetError::bad_request)?;
    let skip = call.number("$skip", 0)?;
    let asked = call.query("$top").filter(|text| !text.trim().is_empty());
    let asked = if asked.is_some() { Some(call.number("$top", MAX_TOP)?) } else { None };
    let top = asked.unwrap_or(MAX_TOP).min(MAX_TOP);
    // One more than is shown tells whether there is a next page.
    let enough = skip.saturating_add(top).saturating_add(1);
    let mut rows: Rows = match feed {
        Feed::FindPackagesById => {
            let id = parameter(call, "id")?.ok_or_else(|| NugetError::bad_request("id is missing"))?;
            admitted(known(call, &id).await?, filter).into()
        }
        Feed::Packages => match filter.and_then(Filter::id) {
            Some(id) => admitted(known(call, id).await?, filter).into(),
            None => found(call, "", true, filter, &order, enough).await?,
        },
        Feed::Search => {
            let text = parameter(call, "searchTerm")?.unwrap_or_default();
            found(call, &text, call.flag("includePrerelease"), filter, &order, enough).await?
        }
        Feed::GetUpdates => updates(call, filter).await?.into(),
    };
    order.sort(&mut rows.ranked);
    let is_more = rows.ranked.len() >= enough;
    let shown: Vec<Ranked> = rows.ranked.into_iter().skip(skip).take(top).collect();
    let wanted: Vec<(&PackageView, ReleaseId)> = shown.iter().map(|ranked| (&ranked.view, ranked.release)).collect();
    let mut live = call.registry.live_releases(&wanted).await?;
    let count = shown.len();
    let mut entries = Vec::with_capacity(count);
    for ranked in shown {
        // One that is gone since is left out.
        if let Some(live) = live.remove(&ranked.release) {
            entries.push(entry(ranked, &live)?);
        }
    }
    let left = asked.map(|asked| asked - count.min(asked));
    let next = (is_more && count > 0 && left != Some(0)).then(|| Next { skip: skip + count, top: left });
    Ok(Page { entries, total: rows.total, next })
}

/// A package that is missing has no releases here: the older clients know no 404 for a list. Whoever must be asked
/// who they are still is.
async fn known(call: &Call, id: &str) -> Result<Vec<Candidate>, NugetError> {
    match of_package(call, id).await {
        Err(error) if error.status() == http::StatusCode::NOT_FOUND => Ok(Vec::new()),
        other => other,
    }
}

/// Listed releases of the packages that match.
async fn found(
    call: &Call,
    text: &str,
    prerelease: bool,
    filter: Option<&Filter>,
    order: &Order,
    enough: usize,
) -> Result<Rows, NugetError> {
    let counts = search::Filter { prerelease, semver2: call.speaks_semver2(), package_type: None };
    // One entry per package, in the order of the index: no more packages need to be looked at than are shown.
    let is_paged = filter.is_some_and(Filter::is_latest_only) && order.is_of_index();
    let mut finder = Finder::new(call, text, &counts, order.of_index()).await?;
    let (mut ranked, mut looked_at) = (Vec::new(), 0);
    while let Some(batch) = finder.next().await? {
        let downloads = call.registry.release_downloads(batch.iter().map(|found| &found.view)).await?;
        looked_at += batch.len();
        for found in &batch {
            let mut listed = candidates(&found.view, &found.document, &downloads, counts.semver2)?;
            listed.retain(|candidate| candidate.ranked.is_listed && (prerelease || !candidate.ranked.is_prerelease));
            ranked.extend(admitted(listed, filter));
        }
        let is_enough = if is_paged { ranked.len() >= enough } else { looked_at >= MAX_PACKAGES };
        if is_enough {
            break;
        }
    }
    let total = if finder.is_over() { ranked.len() } else { ranked.len().max(finder.total()) };
    Ok(Rows { ranked, total })
}

/// `GetUpdates()?packageIds='A|B'&versions='1|2'`: what is newer than what somebody has.
async fn updates(call: &Call, filter: Option<&Filter>) -> Result<Vec<Ranked>, NugetError> {
    let list = |text: Option<String>| -> Vec<String> {
        text.unwrap_or_default().split('|').map(|part| part.trim().to_owned()).collect()
    };
    let ids = list(parameter(call, "packageIds")?);
    let versions = list(parameter(call, "versions")?);
    let ranges = list(parameter(call, "versionConstraints")?);
    if ids.len() != versions.len() || ids.len() > MAX_UPDATES {
        let text = format!("packageIds and versions must be as many as each other, and at most {MAX_UPDATES}");
        return Err(NugetError::bad_request(text));
    }
    let (prerelease, all) = (call.flag("includePrerelease"), call.flag("includeAllVersions"));
    let mut rows = Vec::new();
    for (at, (id, version)) in ids.iter().zip(&versions).enumerate() {
        if id.is_empty() {
            continue;
        }
        let current = Parts::parse(version).ok_or_else(|| NugetError::bad_request("a version of versions is none"))?;
        let range = Range::parse(ranges.get(at).map(String::as_str).unwrap_or_default())
            .ok_or_else(|| NugetError::bad_request("a range of versionConstraints is none"))?;
        let mut newer = known(call, id).await?;
        newer.retain(|Candidate { ranked: found, .. }| {
            found.sort_key > current.sort_key()
                && found.is_listed
                && (prerelease || !found.is_prerelease)
                && Parts::parse(&found.version).is_some_and(|parts| range.contains(&parts))
        });
        if !all {
            newer.drain(..newer.len().saturating_sub(1));
        }
        rows.extend(admitted(newer, filter));
    }
    Ok(rows)
}

/// Keys to sort by, the first counts most; `true` is descending.
#[derive(Debug, Default, PartialEq)]
struct Order(Vec<(Key, bool)>);

#[derive(Debug, Clone, Copy, PartialEq)]
enum Key {
    Id,
    Version,
    Downloads,
    VersionDownloads,
    Updated,
    Published,
}

impl Order {
    fn parse(text: &str) -> Result<Self, String> {
        let mut keys = Vec::new();
        for item in text.split(',').map(str::trim).filter(|item| !item.is_empty()) {
            let (word, direction) = item.split_once(char::is_whitespace).unwrap_or((item, "asc"));
            let key = match word {
                "Id" | "Title" => Key::Id,
                "Version" | "NormalizedVersion" => Key::Version,
                "DownloadCount" => Key::Downloads,
                "VersionDownloadCount" => Key::VersionDownloads,
                "LastUpdated" | "Created" => Key::Updated,
                "Published" => Key::Published,
                other => {
                    return Err(format!(
                        "the order is not understood at {}",
                        other.chars().take(40).collect::<String>()
                    ));
                }
            };
            match direction.trim() {
                "asc" => keys.push((key, false)),
                "desc" => keys.push((key, true)),
                _ => return Err("an order is neither asc nor desc".into()),
            }
        }
        Ok(Self(keys))
    }

    /// The order of the index that comes nearest.
    fn of_index(&self) -> Sort {
        match self.0.first() {
            Some((Key::Id, false)) => Sort::Name,
            Some((Key::Downloads | Key::VersionDownloads, true)) => Sort::Downloads,
            Some((Key::Updated | Key::Published, true)) => Sort::Updated,
            _ => Sort::Relevance,
        }
    }

    /// Whether the index has exactly this order of packages.
    fn is_of_index(&self) -> bool {
        matches!(self.0.as_slice(), [] | [(Key::Id, false), ..])
    }

    fn sort(&self, rows: &mut [Ranked]) {
        rows.sort_by(|a, b| {
            let mut keys = self.0.iter().map(|(key, is_descending)| {
                let order = match key {
                    Key::Id => name::canonical(a.view.name()).cmp(&name::canonical(b.view.name())),
                    Key::Version => a.sort_key.cmp(&b.sort_key),
                    Key::Downloads => a.downloads.cmp(&b.downloads),
                    Key::VersionDownloads => a.version_downloads.cmp(&b.version_downloads),
                    Key::Updated => a.updated.cmp(&b.updated),
                    Key::Published => a.published.cmp(&b.published),
                };
                if *is_descending { order.reverse() } else { order }
            });
            keys.find(|order| order.is_ne()).unwrap_or(std::cmp::Ordering::Equal)
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_are_read_or_refused() {
        assert_eq!(Order::parse("").unwrap(), Order::default());
        assert_eq!(
            Order::parse("DownloadCount desc,Id").unwrap(),
            Order(vec![(Key::Downloads, true), (Key::Id, false)])
        );
        assert!(Order::parse("Size").is_err() && Order::parse("Id up").is_err());
    }
}

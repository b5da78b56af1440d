//! Which releases a request of the older protocol is answered with.

use std::collections::HashMap;

use publaryn_core::{ArtifactKind, RegistryError, ReleaseId};
use publaryn_registry::{ArtifactRow, PackageDocument};
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
    search::{self, find},
    version::Parts,
};

/// Entries of a page unless asked, and at most (nuget.md §5).
const MAX_TOP: usize = 100;
/// Packages that a question is answered from when it is not for the newest release of each.
const MAX_PACKAGES: usize = 1_000;
/// Packages that updates are asked for at once.
const MAX_UPDATES: usize = 100;

/// A release, apart from the document it was read from.
#[derive(Debug, Clone)]
pub struct Entry {
    /// As first published.
    pub id: String,
    pub normalized: String,
    pub version: String,
    pub key: String,
    pub sort_key: Vec<u8>,
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

impl Row for Entry {
    fn text(&self, field: Field) -> String {
        let nuspec = &self.stored.nuspec;
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        match field {
            Field::Id => self.id.clone(),
            Field::Version => self.normalized.clone(),
            Field::Title => text(&nuspec.about.title),
            Field::Tags => nuspec.tags().join(" "),
            Field::Description => nuspec.description.clone(),
            Field::Authors => nuspec.authors.clone(),
            Field::IsLatest | Field::IsAbsoluteLatest | Field::IsPrerelease => String::new(),
        }
    }
    fn flag(&self, field: Field) -> bool {
        match field {
            Field::IsLatest => self.is_latest,
            Field::IsAbsoluteLatest => self.is_absolute_latest,
            Field::IsPrerelease => self.is_prerelease,
            _ => false,
        }
    }
}

/// Entries, and how many there are in all.
#[derive(Debug, Default)]
pub struct Page {
    pub entries: Vec<Entry>,
    pub total: usize,
    /// Of the first entry of the next page.
    pub next: Option<usize>,
}

/// The releases of a package, ascending; unlisted ones included.
fn entries(
    document: &PackageDocument,
    downloads: &HashMap<ReleaseId, i64>,
    semver2: bool,
) -> Result<Vec<Entry>, RegistryError> {
    let all = releases(document, semver2).map_err(unreadable)?;
    let newest = |counts: fn(&Release<'_>) -> bool| {
        all.iter().rev().find(|release| release.is_listed() && counts(release)).map(|release| release.key())
    };
    let (latest, absolute) = (newest(|release| !release.is_prerelease()), newest(|_| true));
    let entry = |release: &Release<'_>| {
        let row = &release.live.row;
        let package: Option<&ArtifactRow> = release.live.artifacts.iter().find(|file| file.kind == ArtifactKind::Nupkg);
        Entry {
            id: document.package.name.clone(),
            normalized: release.normalized().to_owned(),
            version: release.version().to_owned(),
            key: release.key().to_owned(),
            sort_key: row.sort_key.clone(),
            is_latest: latest == Some(release.key()),
            is_absolute_latest: absolute == Some(release.key()),
            is_prerelease: release.is_prerelease(),
            published: release.published(),
            created: row.created_at.to_millis_string(),
            updated: row.updated_at.to_millis_string(),
            downloads: document.package.download_count,
            version_downloads: downloads.get(&row.id).copied().unwrap_or(0),
            size_bytes: package.map_or(0, |file| file.size_bytes),
            sha512: package.map(|file| file.sha512.clone()).unwrap_or_default(),
            stored: release.stored.clone(),
        }
    };
    Ok(all.iter().map(entry).collect())
}

/// `Packages(Id='X',Version='1.0')`
pub async fn one(call: &Call, id: &str, version: &str) -> Result<Entry, NugetError> {
    let Some(wanted) = Parts::parse(version) else { return Err(call.miss().await) };
    let key = wanted.normalized().to_ascii_lowercase();
    // Who names it knows it.
    match of_package(call, id, true).await?.into_iter().find(|entry| entry.key == key) {
        Some(entry) => Ok(entry),
        None => Err(call.miss().await),
    }
}

/// The releases of the package of that id; 404 (or the challenge) when there is none.
async fn of_package(call: &Call, id: &str, semver2: bool) -> Result<Vec<Entry>, NugetError> {
    let view = call.package(id).await?;
    let document = call.or_miss(call.registry.document(&view).await).await?;
    let downloads = call.registry.release_downloads([&view]).await?;
    Ok(entries(&document, &downloads, semver2)?)
}

pub async fn page(call: &Call, feed: Feed) -> Result<Page, NugetError> {
    let filter = call.query("$filter").filter(|text| !text.trim().is_empty());
    let filter = filter.map(|text| Filter::parse(&text)).transpose().map_err(NugetError::bad_request)?;
    let order = Order::parse(&call.query("$orderby").unwrap_or_default()).map_err(NugetError::bad_request)?;
    let skip = call.number("$skip", 0)?;
    let top = call.number("$top", MAX_TOP)?.min(MAX_TOP);
    let mut rows = match feed {
        Feed::FindPackagesById => {
            let id = parameter(call, "id")?.ok_or_else(|| NugetError::bad_request("id is missing"))?;
            known(call, &id, call.speaks_semver2()).await?
        }
        Feed::Packages => match filter.as_ref().and_then(Filter::id) {
            Some(id) => known(call, id, call.speaks_semver2()).await?,
            None => found(call, "", true, filter.as_ref(), &order, skip + top).await?,
        },
        Feed::Search => {
            let text = parameter(call, "searchTerm")?.unwrap_or_default();
            let prerelease = call.flag("includePrerelease");
            found(call, &text, prerelease, filter.as_ref(), &order, skip + top).await?
        }
        Feed::GetUpdates => updates(call).await?,
    };
    if let Some(filter) = &filter {
        rows.retain(|row| filter.admits(row));
    }
    order.sort(&mut rows);
    let total = rows.len();
    let entries: Vec<Entry> = rows.into_iter().skip(skip).take(top).collect();
    let next = (skip + entries.len() < total && !entries.is_empty() && call.query("$top").is_none())
        .then_some(skip + entries.len());
    Ok(Page { entries, total, next })
}

/// A package that is missing has no releases here: the older clients know no 404 for a list. Whoever must be asked
/// who they are still is.
async fn known(call: &Call, id: &str, semver2: bool) -> Result<Vec<Entry>, NugetError> {
    match of_package(call, id, semver2).await {
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
) -> Result<Vec<Entry>, NugetError> {
    let counts = search::Filter { prerelease, semver2: call.speaks_semver2(), package_type: None };
    // One entry per package, in the order of the index: no more packages need to be looked at than are shown.
    let is_paged = filter.is_some_and(Filter::is_latest_only) && order.is_of_index();
    let take = if is_paged { (enough + 1).min(MAX_PACKAGES) } else { MAX_PACKAGES };
    let page = find(call, text, &counts, order.of_index(), (0, take)).await?;
    let downloads = call.registry.release_downloads(page.found.iter().map(|found| &found.view)).await?;
    let mut rows = Vec::new();
    for found in &page.found {
        let listed = entries(&found.document, &downloads, counts.semver2)?
            .into_iter()
            .filter(|entry| !entry.published.starts_with("1900-") && (prerelease || !entry.is_prerelease));
        rows.extend(listed);
    }
    Ok(rows)
}

/// `GetUpdates()?packageIds='A|B'&versions='1|2'`: what is newer than what somebody has.
async fn updates(call: &Call) -> Result<Vec<Entry>, NugetError> {
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
        let mut newer = known(call, id, call.speaks_semver2()).await?;
        newer.retain(|entry| {
            entry.sort_key > current.sort_key()
                && !entry.published.starts_with("1900-")
                && (prerelease || !entry.is_prerelease)
                && Parts::parse(&entry.version).is_some_and(|parts| range.contains(&parts))
        });
        match all {
            true => rows.extend(newer),
            false => rows.extend(newer.pop()),
        }
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

    fn sort(&self, rows: &mut [Entry]) {
        rows.sort_by(|a, b| {
            let mut keys = self.0.iter().map(|(key, is_descending)| {
                let order = match key {
                    Key::Id => name::canonical(&a.id).cmp(&name::canonical(&b.id)),
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

//! What is here: `search.json`, `list.json`, `providers` and `metadata/changes.json`.

use std::time::Duration;

use http::StatusCode;
use publaryn_core::{
    Ecosystem, Timestamp,
    publish::{PROVIDES, named_in},
};
use publaryn_registry::{LiveRelease, PackageDocument, PackageRow, Releases, SearchHit, SearchQuery, SearchText};
use serde_json::{Map, Value, json};

use crate::{
    call::{Answer, Call, form_list, json as answer, ok},
    error::ComposerError,
    name::{self, vendor},
    release::abandonment,
};

/// Results per page: what a client gets unless it asks, and at most.
const DEFAULT_PAGE: usize = 15;
const MAX_PAGE: usize = 100;
/// Packages that are told to stand in for a name.
const MAX_PROVIDERS: i64 = 20;
/// How far back changes are told, and how many at once; beyond that a mirror reads everything again.
const TOLD_FOR: Duration = Duration::from_secs(24 * 60 * 60);
const MAX_CHANGES: i64 = 10_000;
/// Longer than a transaction takes.
const COMMITS_WITHIN: Duration = Duration::from_secs(60);

/// `GET /search.json?q=&type=&tags[]=&page=&per_page=`
pub(crate) async fn search(call: &Call) -> Answer {
    let number = |key: &str, default: usize| {
        call.query(key).and_then(|text| text.trim().parse::<usize>().ok()).filter(|n| *n > 0).unwrap_or(default)
    };
    let words = call.query("q").unwrap_or_default();
    let text = SearchText::parse(&words)
        .map_err(|error| ComposerError::refused(StatusCode::BAD_REQUEST, error.to_string()))?;
    let (page, per_page) = (number("page", 1), number("per_page", DEFAULT_PAGE).min(MAX_PAGE));
    let mut query = SearchQuery::of(text);
    query.ecosystem = Some(Ecosystem::Composer);
    query.live_only = true;
    let tags: Vec<String> = form_list(call.uri.query().unwrap_or_default(), "tags").filter(|t| !t.is_empty()).collect();
    query.keyword = tags.first().cloned();
    query.offset = (page - 1).saturating_mul(per_page);
    query.limit = per_page;
    let wanted_type = call.query("type").filter(|kind| !kind.is_empty());
    let found = call.registry.search(&call.who, &query, Releases::Notable).await?;
    let portal = call.portal();
    let wanted = Wanted { kind: wanted_type.as_deref(), tags: &tags };
    let results: Vec<Value> = found.hits.iter().filter_map(|hit| result(hit, &wanted, portal.as_str())).collect();
    let mut answer = json!({ "results": results, "total": found.total.max(results.len() as u64) });
    if found.total > query.offset.saturating_add(per_page) as u64 {
        let (page, per_page) = ((page + 1).to_string(), per_page.to_string());
        let mut pairs = vec![("q", words.as_str()), ("page", page.as_str()), ("per_page", per_page.as_str())];
        pairs.extend(wanted.kind.map(|kind| ("type", kind)));
        pairs.extend(tags.iter().map(|tag| ("tags%5B%5D", tag.as_str())));
        answer["next"] = url(call, "search.json", &pairs).into();
    }
    ok(&answer)
}

/// What a search asks for that the index does not weigh, or not all of it.
struct Wanted<'a> {
    kind: Option<&'a str>,
    /// All of them.
    tags: &'a [String],
}

impl Wanted<'_> {
    fn fits(&self, package: &PackageRow, stored: &Value) -> bool {
        let keywords = package.keyword_list();
        self.kind.is_none_or(|wanted| kind(stored) == wanted)
            && self.tags.iter().all(|tag| keywords.iter().any(|keyword| keyword.eq_ignore_ascii_case(tag)))
    }
}

/// `None` for packages without a version to install, and for others than those wanted.
fn result(hit: &SearchHit, wanted: &Wanted<'_>, portal: &str) -> Option<Value> {
    let document = &hit.document;
    let newest = newest(document)?;
    if !wanted.fits(&document.package, &stored(newest)) {
        return None;
    }
    let name = &document.package.name;
    let mut result = Map::new();
    result.insert("name".into(), name.as_str().into());
    result.insert("description".into(), document.package.description.as_deref().unwrap_or_default().into());
    result.insert("url".into(), format!("{portal}/packages/composer/{name}").into());
    result.insert("repository".into(), document.package.repository_url.as_deref().unwrap_or_default().into());
    result.insert("downloads".into(), document.package.download_count.into());
    result.insert("favers".into(), document.stargazers.len().into());
    result.extend(abandonment(&document.package, newest).map(|said| ("abandoned".to_owned(), said)));
    Some(Value::Object(result))
}

fn newest(document: &PackageDocument) -> Option<&LiveRelease> {
    let offered = document.releases.iter().filter(|release| !release.row.is_yanked);
    offered.max_by(|a, b| a.row.sort_key.cmp(&b.row.sort_key))
}

fn stored(release: &LiveRelease) -> Value {
    serde_json::from_str(&release.row.metadata).unwrap_or_default()
}

/// The `type` of a package.
fn kind(stored: &Value) -> &str {
    stored["manifest"]["type"].as_str().unwrap_or("library")
}

fn url(call: &Call, path: &str, pairs: &[(&str, &str)]) -> String {
    let query: Vec<String> = pairs.iter().map(|(key, value)| format!("{key}={}", encoded(value))).collect();
    format!("{}/{path}?{}", call.base(), query.join("&"))
}

fn encoded(text: &str) -> String {
    percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
}

/// `GET /list.json?filter=vendor/*&vendor=`
pub(crate) async fn names(call: &Call) -> Answer {
    let filter = call.query("filter").filter(|filter| !filter.is_empty()).map(|f| f.to_ascii_lowercase());
    let wanted_vendor = call.query("vendor").filter(|vendor| !vendor.is_empty());
    let listed = call.listed.names(call).await?;
    let names: Vec<&str> = listed
        .packages
        .iter()
        .map(String::as_str)
        .filter(|name| filter.as_deref().is_none_or(|filter| matches(filter, name)))
        .filter(|name| wanted_vendor.as_deref().is_none_or(|wanted| vendor(name) == wanted))
        .collect();
    ok(&json!({ "packageNames": names }))
}

/// `GET /providers/{v}/{p}.json`: packages whose newest version says that it provides a name. Clients show them to
/// whoever asked for a name that no package has.
pub(crate) async fn providers(call: &Call, package: &str) -> Answer {
    let mut providers = Vec::new();
    let Some(package) = name::canonical(package) else { return ok(&json!({ "providers": providers })) };
    for view in call.registry.providers(&call.who, Ecosystem::Composer, &package, MAX_PROVIDERS).await? {
        let document = call.registry.document(&view).await?;
        let Some(stored) = newest(&document).map(stored) else { continue };
        if named_in(&stored, PROVIDES).any(|name| name == package) {
            providers.push(json!({
                "name": view.name(),
                "description": document.package.description.as_deref().unwrap_or_default(),
                "type": kind(&stored),
            }));
        }
    }
    ok(&json!({ "providers": providers }))
}

/// `GET /metadata/changes.json?since=`: which packages a mirror has to read again. What stopped being public is not
/// told, since whoever asks may not know of it; that is why changes are told of a day only.
pub(crate) async fn changes(call: &Call) -> Answer {
    let now = Timestamp::now();
    // What is being committed now has its time from before.
    let next = ticks(now - COMMITS_WITHIN);
    let Some(since) = call.query("since").and_then(|since| since.parse::<i64>().ok()).filter(|since| *since > 0) else {
        let error = "`since` must be the `timestamp` of an earlier answer";
        return Ok(answer(StatusCode::BAD_REQUEST, &json!({ "error": error, "timestamp": next })));
    };
    let since = Timestamp::from_micros(since.saturating_mul(MICROS_PER_TICK));
    let changes = if since < now - TOLD_FOR {
        None
    } else {
        let found = call.registry.public_changes(Ecosystem::Composer, since, MAX_CHANGES + 1).await?;
        Some(found).filter(|found| found.len() as i64 <= MAX_CHANGES)
    };
    let actions: Vec<Value> = match changes {
        None => vec![json!({ "type": "resync", "time": now.as_micros() / 1_000_000, "package": "*" })],
        Some(changes) => changes
            .into_iter()
            .map(|change| {
                json!({
                    "type": if change.is_gone { "delete" } else { "update" },
                    "package": change.normalized_name,
                    "time": change.updated_at.as_micros() / 1_000_000,
                })
            })
            .collect(),
    };
    ok(&json!({ "actions": actions, "timestamp": next }))
}

/// The unit of `timestamp` and `since`: a tenth of a millisecond.
const MICROS_PER_TICK: i64 = 100;

const fn ticks(at: Timestamp) -> i64 {
    at.as_micros() / MICROS_PER_TICK
}

/// `*` stands for any text. Linear in practice: each piece is looked for once.
fn matches(pattern: &str, text: &str) -> bool {
    let mut pieces = pattern.split('*');
    let first = pieces.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else { return false };
    let mut pieces: Vec<&str> = pieces.collect();
    let Some(last) = pieces.pop() else { return rest.is_empty() };
    for piece in pieces {
        match rest.find(piece) {
            Some(at) => rest = &rest[at + piece.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_text() {
        for (pattern, wanted) in [
            ("acme/*", true),
            ("acme/lib", true),
            ("acme/li", false),
            ("*", true),
            ("*/lib", true),
            ("a*/l*b", true),
            ("a*b*b", false),
            ("other/*", false),
            ("", false),
        ] {
            assert_eq!(matches(pattern, "acme/lib"), wanted, "{pattern}");
        }
    }
}

//! `search.json` and `list.json`.

use http::StatusCode;
use publaryn_core::Ecosystem;
use publaryn_registry::{SearchHit, SearchQuery, SearchText};
use serde_json::{Map, Value, json};

use crate::{
    call::{Answer, Call, ok},
    error::ComposerError,
    name::vendor,
    release::abandoned,
};

/// Results per page: what a client gets unless it asks, and at most.
const DEFAULT_PAGE: usize = 15;
const MAX_PAGE: usize = 100;

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
    query.keyword = call.query("tags[]").or_else(|| call.query("tags")).filter(|tag| !tag.is_empty());
    query.offset = (page - 1).saturating_mul(per_page);
    query.limit = per_page;
    let wanted_type = call.query("type").filter(|kind| !kind.is_empty());
    let found = call.registry.search(&call.who, &query).await?;
    let portal = call.portal();
    let results: Vec<Value> =
        found.hits.iter().filter_map(|hit| result(hit, wanted_type.as_deref(), portal.as_str())).collect();
    let mut answer = json!({ "results": results, "total": found.total.max(results.len() as u64) });
    if found.total > (query.offset + per_page) as u64 {
        let mut next = url(call, "search.json", &[("q", &words), ("page", &(page + 1).to_string())]);
        for (key, value) in [("per_page", Some(per_page.to_string())), ("type", wanted_type)] {
            if let Some(value) = value {
                next.push_str(&format!("&{key}={}", encoded(&value)));
            }
        }
        answer["next"] = next.into();
    }
    ok(&answer)
}

/// `None` for packages without a version to install, and of another type.
fn result(hit: &SearchHit, wanted_type: Option<&str>, portal: &str) -> Option<Value> {
    let document = &hit.document;
    let newest = document
        .releases
        .iter()
        .filter(|release| !release.row.is_yanked)
        .max_by(|a, b| a.row.sort_key.cmp(&b.row.sort_key))?;
    if let Some(wanted) = wanted_type {
        let stored: Value = serde_json::from_str(&newest.row.metadata).unwrap_or_default();
        if stored["manifest"]["type"].as_str().unwrap_or("library") != wanted {
            return None;
        }
    }
    let name = &document.package.name;
    let mut result = Map::new();
    result.insert("name".into(), name.as_str().into());
    result.insert("description".into(), document.package.description.as_deref().unwrap_or_default().into());
    result.insert("url".into(), format!("{portal}/packages/composer/{name}").into());
    result.insert("repository".into(), document.package.repository_url.as_deref().unwrap_or_default().into());
    result.insert("downloads".into(), document.package.download_count.into());
    result.insert("favers".into(), document.stargazers.len().into());
    if let Some(message) = &newest.row.deprecation_message {
        result.insert("abandoned".into(), abandoned(message));
    }
    Some(Value::Object(result))
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
    let listed = call.registry.listed_names(&call.who, Ecosystem::Composer).await?;
    let names: Vec<&str> = listed
        .iter()
        .map(|name| name.normalized_name.as_str())
        .filter(|name| filter.as_deref().is_none_or(|filter| matches(filter, name)))
        .filter(|name| wanted_vendor.as_deref().is_none_or(|wanted| vendor(name) == wanted))
        .collect();
    ok(&json!({ "packageNames": names }))
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

//! `GET /cargo/api/v1/crates?q=&per_page=&page=`: what `cargo search` shows.

use axum::{extract::RawQuery, response::Response};
use publaryn_core::{Ecosystem, RegistryError};
use publaryn_registry::{PackageDocument, Releases, SearchHit};
use publaryn_search::{SearchQuery, SearchText};
use serde_json::{Value, json};

use crate::{
    call::{Answer, Call, json},
    name::collision_key,
};

/// Page size by default and at most.
/// Source: <https://doc.rust-lang.org/cargo/reference/registry-web-api.html#search>
const PAGE: usize = 10;
const MAX_PAGE: usize = 100;

pub(crate) async fn search(RawQuery(query): RawQuery, call: Call) -> Response {
    call.answer(hits(&call, &query.unwrap_or_default()).await)
}

async fn hits(call: &Call, query: &str) -> Answer {
    call.require_login_where_closed()?;
    let value = |key: &str| {
        let mut pairs = url::form_urlencoded::parse(query.as_bytes());
        pairs.find(|(name, _)| name == key).map(|(_, value)| value.into_owned())
    };
    let number = |key: &str, default: usize| value(key).and_then(|v| v.parse::<usize>().ok()).unwrap_or(default);
    let wanted = value("q").unwrap_or_default();
    let text = SearchText::parse(&wanted).map_err(|error| RegistryError::malformed(error.to_string()))?;
    if text.is_blank() && !wanted.trim().is_empty() {
        // Nothing but punctuation: no crate is called that.
        return Ok(json(&json!({ "crates": [], "meta": { "total": 0 } })));
    }
    let limit = number("per_page", PAGE).clamp(1, MAX_PAGE);
    let page = number("page", 1).max(1);
    let query = SearchQuery {
        ecosystem: Some(Ecosystem::Cargo),
        live_only: true,
        offset: (page - 1).saturating_mul(limit),
        limit,
        ..SearchQuery::of(text)
    };
    let mut found = call.registry.search(&call.who, &query, Releases::Notable).await?;
    found.hits.retain(|hit| max_version(&hit.document).is_some());
    // The index ranks by relevance; a name that is, or begins with, what was typed comes before that.
    let key = collision_key(wanted.trim());
    found.hits.sort_by_key(|hit| name_rank(&collision_key(hit.view.name()), &key));
    let crates: Vec<Value> = found.hits.iter().map(entry).collect();
    let total = found.total.max(crates.len() as u64).min(u64::from(u32::MAX));
    Ok(json(&json!({ "crates": crates, "meta": { "total": total } })))
}

fn name_rank(name: &str, wanted: &str) -> u8 {
    match () {
        () if name == wanted => 0,
        () if !wanted.is_empty() && name.starts_with(wanted) => 1,
        () => 2,
    }
}

fn entry(hit: &SearchHit) -> Value {
    json!({
        "name": hit.view.name(),
        "max_version": max_version(&hit.document),
        "description": hit.document.package.description,
    })
}

/// The version to recommend: the highest stable one, else the highest pre-release, else the highest
/// yanked one.
pub(crate) fn max_version(document: &PackageDocument) -> Option<&str> {
    let best = document.releases.iter().max_by_key(|release| {
        let row = &release.row;
        (!row.is_yanked, !row.is_prerelease, &row.sort_key)
    })?;
    Some(&best.row.version)
}

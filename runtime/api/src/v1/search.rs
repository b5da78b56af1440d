//! `/v1/search` (control-plane.md §9).

use axum::{extract::State, response::Response};
use publaryn_registry::{SearchQuery, SearchText, control::SearchRequest};
use publaryn_search::Sort;
use serde_json::json;

use super::{
    ApiState,
    extract::Caller,
    input::{self, is_slug, unprocessable_parameter},
    packages::objects,
    page::Query,
    problem::Problem,
    route::{Routes, public},
};

/// Longest query, in characters.
const MAX_CHARS: usize = 256;

/// `podman search` and `docker search` ask `/v1/search?q=…&n=…` first, which was the registry protocol before OCI.
/// Whoever answers is believed; a 404 sends them to the catalog.
const REGISTRY_V1: &str = "n";

pub fn routes() -> Routes {
    Routes::new("search").get(
        "/search",
        search,
        public("Packages that the caller may discover now")
            .query(
                "q s?, ecosystem Ecosystem?, org s?, owner s?, repository s?, license s?, keyword s?, deprecated b?, \
                 sort relevance|updated|downloads|name?=relevance",
            )
            .listed(20, "total i, total_relation eq|gte, page i, per_page i, has_next b, packages [Hit]")
            .problem(404, "route_not_found")
            .problem(503, "unavailable"),
    )
}

async fn search(State(state): State<ApiState>, caller: Caller, query: Query) -> Result<Response, Problem> {
    if query.text(REGISTRY_V1).is_some() {
        return Err(Problem::route_not_found());
    }
    let page = query.page(20)?;
    let deprecated = query.optional_flag("deprecated")?;
    let text = query.text("q").unwrap_or_default();
    if text.chars().count() > MAX_CHARS {
        return Err(unprocessable_parameter("q", "must not be longer than 256 characters"));
    }
    let text = SearchText::parse(text).map_err(|_| unprocessable_parameter("q", "is too long"))?;
    let slug = |name: &'static str| match query.text(name) {
        Some(slug) if !is_slug(slug) => Err(unprocessable_parameter(name, "is not a slug")),
        found => Ok(found.map(str::to_owned)),
    };
    let request = SearchRequest {
        query: SearchQuery {
            ecosystem: input::query_ecosystem(&query)?,
            license: query.text("license").map(str::to_owned),
            keyword: query.text("keyword").map(str::to_owned),
            deprecated,
            sort: query.word::<Sort>("sort")?.unwrap_or_default(),
            offset: usize::try_from(page.offset()).unwrap_or(usize::MAX),
            limit: page.per_page as usize,
            ..SearchQuery::of(text)
        },
        org: slug("org")?,
        owner: query.text("owner").map(str::to_owned),
        repository: slug("repository")?,
    };
    let found = state.registry.search_packages(&caller.0, request).await?;
    let body = json!({
        "total": found.total,
        "total_relation": if found.is_exact { "eq" } else { "gte" },
        "page": page.page,
        "per_page": page.per_page,
        "has_next": found.has_more,
        "packages": found.hits.iter().map(objects::hit).collect::<Vec<_>>(),
    });
    Ok(page.linked(&query, body, found.has_more, None))
}

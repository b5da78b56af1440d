//! What goes over the wire to Meilisearch: documents, settings, filters.

use meilisearch_sdk::settings::{MinWordSizeForTypos, PaginationSetting, Settings, TypoToleranceSettings};
use publaryn_core::{Ecosystem, PackageId, Timestamp, access::Owner};
use serde::{Deserialize, Serialize};

use crate::{
    RebuildState,
    audience::Audience,
    document::PackageDocument,
    query::{MAX_WINDOW, SearchQuery, Sort},
    text::{MIN_TYPO_CHARS, NameForms, facet_value, license_values},
};

/// Part of the index name: raised whenever documents change shape, so that replicas of two
/// versions never share an index.
pub(super) const SCHEMA_VERSION: u32 = 1;

/// A package as Meilisearch keeps it.
#[derive(Debug, Serialize)]
pub(super) struct StoredPackage<'a> {
    id: PackageId,
    revision: i64,
    read_at: i64,
    full_name: String,
    base_name: String,
    name_words: Vec<String>,
    keywords: &'a [String],
    description: Option<&'a str>,
    ecosystem: Ecosystem,
    owner: String,
    repository: String,
    scope: Option<String>,
    license_values: Vec<String>,
    keyword_values: Vec<String>,
    audience: Vec<String>,
    is_deprecated: bool,
    has_live_release: bool,
    /// 1 for archived and deprecated packages: ranked last among equals.
    is_dated: u8,
    downloads: u64,
    updated_at: i64,
    name: &'a str,
}

impl<'a> StoredPackage<'a> {
    pub fn of(package: &'a PackageDocument) -> Self {
        let names = NameForms::of(&package.name);
        Self {
            id: package.id,
            revision: package.revision,
            read_at: package.read_at.as_micros(),
            full_name: names.full,
            base_name: names.base,
            name_words: names.words.into_iter().collect(),
            keywords: &package.keywords,
            description: package.description.as_deref(),
            ecosystem: package.ecosystem,
            owner: owner(package.owner),
            repository: package.repository.to_string(),
            scope: package.scope.as_deref().map(facet_value),
            license_values: package.license.as_deref().map(license_values).unwrap_or_default().into_iter().collect(),
            keyword_values: package.keywords.iter().map(|k| facet_value(k)).collect(),
            audience: package.audience.iter().map(ToString::to_string).collect(),
            is_deprecated: package.is_deprecated,
            has_live_release: package.has_live_release,
            is_dated: u8::from(package.is_deprecated || package.is_archived),
            downloads: package.downloads,
            updated_at: package.updated_at.as_micros(),
            name: &package.normalized_name,
        }
    }
}

/// The part of a stored package that is read back.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) struct Held {
    pub id: PackageId,
    pub revision: i64,
}

/// Says how complete the index named `id` is.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Marker {
    pub id: String,
    pub rebuild: RebuildState,
}

/// Searchable fields best first, and ranking rules in the order of control-plane.md §9.
///
/// `attribute` tells name, keyword and description hits apart, `exactness` an exact name from a
/// prefix; `sort` comes first because it only counts when a query asks for an order.
pub(super) fn settings() -> Settings {
    Settings::new()
        .with_searchable_attributes(["full_name", "base_name", "name_words", "keywords", "description"])
        .with_filterable_attributes([
            "id",
            "read_at",
            "ecosystem",
            "owner",
            "repository",
            "scope",
            "license_values",
            "keyword_values",
            "audience",
            "is_deprecated",
            "has_live_release",
        ])
        .with_sortable_attributes(["updated_at", "downloads", "name"])
        .with_ranking_rules([
            "sort",
            "words",
            "typo",
            "attribute",
            "exactness",
            "proximity",
            "is_dated:asc",
            "downloads:desc",
            "updated_at:desc",
        ])
        .with_typo_tolerance(TypoToleranceSettings {
            enabled: Some(true),
            disable_on_attributes: Some(Vec::new()),
            disable_on_words: Some(Vec::new()),
            min_word_size_for_typos: Some(MinWordSizeForTypos {
                one_typo: Some(MIN_TYPO_CHARS as u8),
                two_typos: Some(u8::MAX),
            }),
            disable_on_numbers: None,
        })
        .with_pagination(PaginationSetting { max_total_hits: MAX_WINDOW })
}

/// Every condition of `query`, and that the caller may find it.
///
/// Values are quoted; [`facet_value`] has removed what could end a quotation.
pub(super) fn filter(query: &SearchQuery, audience: &Audience) -> String {
    let tags: Vec<String> = audience.tags().map(|tag| quoted(&tag.to_string())).collect();
    let mut clauses = vec![format!("audience IN [{}]", tags.join(", "))];
    let mut equals = |field: &str, value: String| clauses.push(format!("{field} = {}", quoted(&value)));
    if let Some(ecosystem) = query.ecosystem {
        equals("ecosystem", ecosystem.to_string());
    }
    if let Some(whose) = query.owner {
        equals("owner", owner(whose));
    }
    if let Some(repository) = query.repository {
        equals("repository", repository.to_string());
    }
    if let Some(scope) = &query.scope {
        equals("scope", facet_value(scope));
    }
    if let Some(license) = &query.license {
        equals("license_values", facet_value(license));
    }
    if let Some(keyword) = &query.keyword {
        equals("keyword_values", facet_value(keyword));
    }
    clauses.extend(query.deprecated.map(|d| format!("is_deprecated = {d}")));
    if query.live_only {
        clauses.push("has_live_release = true".to_owned());
    }
    clauses.join(" AND ")
}

pub(super) fn any_of(ids: &[PackageId]) -> String {
    let ids: Vec<String> = ids.iter().map(|id| quoted(&id.to_string())).collect();
    format!("id IN [{}]", ids.join(", "))
}

pub(super) fn read_before(instant: Timestamp) -> String {
    format!("read_at < {}", instant.as_micros())
}

/// Empty for relevance.
pub(super) const fn sort(sort: Sort) -> &'static [&'static str] {
    match sort {
        Sort::Relevance => &[],
        Sort::Updated => &["updated_at:desc"],
        Sort::Downloads => &["downloads:desc"],
        Sort::Name => &["name:asc"],
    }
}

fn owner(owner: Owner) -> String {
    match owner {
        Owner::User(id) => format!("user:{id}"),
        Owner::Org(id) => format!("org:{id}"),
    }
}

fn quoted(value: &str) -> String {
    format!("\"{value}\"")
}

#[cfg(test)]
mod tests {
    use publaryn_core::OrgId;

    use super::*;
    use crate::{AudienceTag, SearchText};

    #[test]
    fn a_filter_value_cannot_leave_its_quotes() {
        let query = SearchQuery {
            keyword: Some("x\" OR audience = \"org:1".into()),
            license: Some("\\".into()),
            ..SearchQuery::of(SearchText::default())
        };
        assert_eq!(
            filter(&query, &Audience::public()),
            r#"audience IN ["public"] AND license_values = "" AND keyword_values = "x or audience = org:1""#
        );
    }

    #[test]
    fn the_audience_is_part_of_every_question() {
        let org = OrgId::new();
        let audience = Audience::of([AudienceTag::Org(org)]);
        assert_eq!(
            filter(&SearchQuery::of(SearchText::default()), &audience),
            format!(r#"audience IN ["public", "org:{org}"]"#)
        );
    }
}

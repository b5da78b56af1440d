//! `GET /-/v1/search`: what `npm search` and `pnpm search` print.

use http::StatusCode;
use publaryn_core::{Ecosystem, RegistryError, access::Owner};
use publaryn_registry::{Releases, SearchHit, SearchQuery, SearchText};
use serde_json::{Map, Value, json};

use crate::{
    call::{Answer, Call, ok},
    error::NpmError,
    packument,
    release::Stored,
};

/// Largest page a client may ask for, and the default one (npm.md §6).
const MAX_SIZE: usize = 250;
const DEFAULT_SIZE: usize = 20;

pub(crate) async fn search(call: &Call) -> Answer {
    let number = |key: &str| call.query(key).and_then(|text| text.trim().parse::<usize>().ok());
    let asked = Asked::parse(&call.query("text").unwrap_or_default());
    let text = SearchText::parse(&asked.words)
        .map_err(|error| NpmError::refused(StatusCode::BAD_REQUEST, error.to_string()))?;
    let mut query = SearchQuery::of(text);
    query.ecosystem = Some(Ecosystem::Npm);
    query.live_only = true;
    query.scope = asked.scope;
    query.keyword = asked.keyword;
    query.deprecated = asked.deprecated;
    query.offset = number("from").unwrap_or(0);
    query.limit = number("size").unwrap_or(DEFAULT_SIZE).min(MAX_SIZE);
    if let Some(name) = asked.maintainer {
        query.owner = match call.registry.identity().user_by_name(&name).await {
            Ok(user) => Some(Owner::User(user.id)),
            Err(RegistryError::NotFound) => return found(&[], 0, call),
            Err(error) => return Err(error.into()),
        };
    }
    let results = call.registry.search(&call.who, &query, Releases::Notable).await?;
    found(&results.hits, results.total, call)
}

/// A search text with its qualifiers taken out; unknown ones stay words.
#[derive(Debug, Default, PartialEq)]
struct Asked {
    words: String,
    scope: Option<String>,
    keyword: Option<String>,
    maintainer: Option<String>,
    deprecated: Option<bool>,
}

impl Asked {
    fn parse(text: &str) -> Self {
        let mut asked = Self::default();
        let mut words = Vec::new();
        for word in text.split_whitespace() {
            match word.split_once(':') {
                Some(("scope", scope)) => asked.scope = Some(scope.trim_start_matches('@').to_owned()),
                Some(("author" | "maintainer", name)) => asked.maintainer = Some(name.to_owned()),
                Some(("keywords", list)) => {
                    // One can be filtered by; further ones narrow as words.
                    let mut keywords = list.split([',', '+']).filter(|k| !k.is_empty());
                    asked.keyword = keywords.next().map(str::to_owned);
                    words.extend(keywords);
                }
                Some(("is", "deprecated")) => asked.deprecated = Some(true),
                Some(("not", "deprecated")) => asked.deprecated = Some(false),
                Some(("is" | "not" | "boost-exact", _)) => {}
                _ => words.push(word),
            }
        }
        asked.words = words.join(" ");
        asked
    }
}

fn found(hits: &[SearchHit], total: u64, call: &Call) -> Answer {
    let portal = call.portal();
    let objects: Vec<Value> = hits.iter().filter_map(|hit| object(hit, portal.as_str())).collect();
    ok(json!({
        "objects": objects,
        "total": total.max(objects.len() as u64),
        "time": publaryn_core::Timestamp::now().to_http_date(),
    }))
}

/// One hit. `maintainers` and a valid `date` must be there: without them the client crashes.
fn object(hit: &SearchHit, portal: &str) -> Option<Value> {
    let doc = &hit.document;
    let latest = packument::latest(doc)?;
    let stored = Stored::read(&latest.row.metadata);
    let manifest: Map<String, Value> =
        stored.manifest.and_then(|raw| serde_json::from_str(raw.get()).ok()).unwrap_or_default();
    let name = &doc.package.name;
    let owners: Vec<Value> = doc.owners.iter().map(|o| json!({ "username": o.username, "email": o.email })).collect();
    let publisher = match &latest.row.publisher {
        Some(publisher) => json!({ "username": publisher, "email": latest.row.publisher_email }),
        None => owners.first().cloned().unwrap_or_else(|| json!({ "username": "", "email": "" })),
    };
    let mut links = Map::new();
    links.insert("npm".into(), format!("{portal}/packages/npm/{name}").into());
    for (key, value) in [("homepage", &doc.package.homepage), ("repository", &doc.package.repository_url)] {
        if let Some(value) = value {
            links.insert(key.into(), value.as_str().into());
        }
    }
    if let Some(bugs) = manifest.get("bugs").and_then(|b| b.get("url")).and_then(Value::as_str) {
        links.insert("bugs".into(), bugs.into());
    }
    let at = latest.row.published_at.unwrap_or(latest.row.created_at);
    let score = f64::from(hit.score);
    Some(json!({
        "package": {
            "name": name,
            "scope": name.strip_prefix('@').and_then(|n| n.split_once('/')).map_or("unscoped", |(scope, _)| scope),
            "version": latest.row.version,
            "description": doc.package.description.as_deref().unwrap_or_default(),
            "keywords": doc.package.keyword_list(),
            "license": doc.package.license,
            "date": at.to_millis_string(),
            "links": links,
            "publisher": publisher,
            "maintainers": owners,
        },
        "score": { "final": score, "detail": { "quality": score, "popularity": score, "maintenance": score } },
        "searchScore": score,
        "flags": {},
    }))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_text_is_a_search(
            text in prop_oneof!["\\PC{0,60}", "((scope|author|keywords|is|not|boost-exact|odd):?[@a-z,+:-]{0,6} ?){0,6}"],
        ) {
            let asked = Asked::parse(&text);
            prop_assert!(asked.words.len() <= text.len());
            // A refusal is an answer, too; a panic is none.
            let _ = SearchText::parse(&asked.words);
        }
    }

    #[test]
    fn qualifiers_are_taken_out_of_the_text() {
        let asked = Asked::parse(
            "left scope:@acme keywords:pad,string maintainer:alice not:deprecated is:unstable pad odd:one",
        );
        assert_eq!(
            asked,
            Asked {
                words: "left string pad odd:one".into(),
                scope: Some("acme".into()),
                keyword: Some("pad".into()),
                maintainer: Some("alice".into()),
                deprecated: Some(false),
            }
        );
        assert_eq!(Asked::parse("").words, "");
    }
}

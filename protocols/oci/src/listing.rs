//! Listings: tags, repositories, referrers (oci.md §7).

use axum::response::{IntoResponse, Response};
use http::{HeaderName, HeaderValue, StatusCode, header};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use publaryn_core::{ContentDigest, DigestProblem};
use publaryn_registry::oci::Standing;
use serde_json::json;

use crate::{
    call::{Answer, Call, insert},
    error::OciError,
};

/// Tags per page, at most and by default: clients that do not page see all of most repositories.
const MAX_TAGS: u32 = 10_000;
const CATALOG_PAGE: u32 = 100;
const MAX_CATALOG: u32 = 1_000;
/// Bytes of descriptors in a page of referrers: what clients read of a manifest.
const REFERRERS_BYTES: usize = 4 << 20;
const MAX_REFERRERS: u32 = 10_000;

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const FILTERS_APPLIED: HeaderName = HeaderName::from_static("oci-filters-applied");

/// Everything but what may stand for itself in a query (RFC 3986 §2.3).
const QUERY: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

pub(crate) async fn tags(call: &Call, name: &str) -> Answer {
    let repository = call.readable(name).await?;
    if *repository.reads() == Standing::Missing {
        return Err(OciError::name_unknown());
    }
    let (limit, last) = page(call, MAX_TAGS, MAX_TAGS)?;
    let page = match limit {
        0 => Vec::new(),
        _ => {
            let page = call.registry.oci_tags(&repository, last.as_deref(), limit).await?;
            if page.has_more
                && let Some(last) = page.tags.last()
            {
                let link = next(call, &format!("{name}/tags/list"), limit, last, None);
                return Ok(listed(&json!({ "name": name, "tags": page.tags }).to_string(), Some(link)));
            }
            page.tags
        }
    };
    Ok(listed(&json!({ "name": name, "tags": page }).to_string(), None))
}

pub(crate) async fn catalog(call: &Call) -> Answer {
    call.require_known("registry:catalog:*")?;
    let (limit, last) = page(call, CATALOG_PAGE, MAX_CATALOG)?;
    if limit == 0 {
        return Ok(listed(&json!({ "repositories": [] }).to_string(), None));
    }
    let page = call.registry.oci_catalog(call.who(), last.as_deref(), limit).await?;
    let link = page.names.last().filter(|_| page.has_more).map(|last| next(call, "_catalog", limit, last, None));
    Ok(listed(&json!({ "repositories": page.names }).to_string(), link))
}

pub(crate) async fn referrers(call: &Call, name: &str, digest: &str) -> Answer {
    let repository = call.readable(name).await?;
    let subject = match digest.parse::<ContentDigest>() {
        Ok(subject) => subject.to_string(),
        // Well formed: a subject of an algorithm that we do not store may still be somebody's.
        Err(DigestProblem::Unsupported) => digest.to_owned(),
        Err(problem) => return Err(OciError::digest(problem)),
    };
    let (limit, last) = page(call, MAX_REFERRERS, MAX_REFERRERS)?;
    let kind = call.query("artifactType").next().filter(|kind| !kind.is_empty());
    let registry = &call.registry;
    let page = match limit {
        0 => None,
        _ => {
            let kind = kind.as_deref();
            let listing = registry.oci_referrers(&repository, &subject, kind, last.as_deref(), limit, REFERRERS_BYTES);
            Some(listing.await?)
        }
    };
    let descriptors = page.as_ref().map(|page| page.descriptors.join(",")).unwrap_or_default();
    // Annotations go out as they came in, so the descriptors are joined as text.
    let body = format!("{{\"schemaVersion\":2,\"mediaType\":\"{INDEX}\",\"manifests\":[{descriptors}]}}");
    let link = page
        .and_then(|page| page.last)
        .map(|last| next(call, &format!("{name}/referrers/{digest}"), limit, &last, kind.as_deref()));
    let mut response = listed(&body, link);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(INDEX));
    if kind.is_some() {
        response.headers_mut().insert(FILTERS_APPLIED, HeaderValue::from_static("artifactType"));
    }
    Ok(response)
}

/// The size of the page and what it comes after.
fn page(call: &Call, default: u32, max: u32) -> Result<(u32, Option<String>), OciError> {
    let last = call.query("last").next().filter(|last| !last.is_empty());
    let Some(n) = call.query("n").next() else { return Ok((default, last)) };
    if n.is_empty() || !n.bytes().all(|b| b.is_ascii_digit()) {
        return Err(OciError::new(StatusCode::BAD_REQUEST, "UNSUPPORTED", "`n` is not a number"));
    }
    Ok((n.parse().unwrap_or(u32::MAX).min(max), last))
}

/// The `Link` to the next page (RFC 8288); relative, because clients refuse to follow one to another host.
fn next(call: &Call, path: &str, n: u32, last: &str, artifact_type: Option<&str>) -> String {
    let last = utf8_percent_encode(last, QUERY);
    let filter = artifact_type.map(|kind| format!("&artifactType={}", utf8_percent_encode(kind, QUERY)));
    format!("<{}?n={n}&last={last}{}>; rel=\"next\"", call.place(path), filter.unwrap_or_default())
}

fn listed(body: &str, link: Option<String>) -> Response {
    let mut response = body.to_owned().into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
    headers.insert(header::VARY, HeaderValue::from_static("Authorization"));
    if let Some(link) = link {
        insert(headers, &[(header::LINK, &link)]);
    }
    response
}

//! Serving rendered metadata: validators, conditional requests, compression.

use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use publaryn_registry::Rendered;

/// Answers with a rendered document, its gzip form, or 304.
///
/// `is_open`: anyone may see it, so shared caches may keep it; they still revalidate each time
/// (RFC 9111 §5.2.2), because a positive age would hide a version published a second ago.
pub fn respond_rendered(document: &Rendered, request: &HeaderMap, is_open: bool) -> Response {
    let gzip = document.gzip.as_ref().filter(|_| accepts_gzip(request));
    let etag = if gzip.is_some() { &document.etag_gzip } else { &document.etag };
    let fresh = matches_etag(request, &[&document.etag, &document.etag_gzip]);
    let body = match (fresh, gzip) {
        (true, _) => Body::empty(),
        (false, Some(gzip)) => Body::from(gzip.clone()),
        (false, None) => Body::from(document.body.clone()),
    };
    let mut response = body.into_response();
    if fresh {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
    }
    let headers = response.headers_mut();
    headers.reserve(12);
    if !fresh {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(document.content_type));
        if gzip.is_some() {
            headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
    }
    insert_text(headers, header::ETAG, etag);
    insert_text(headers, header::LAST_MODIFIED, &document.last_modified);
    headers.insert(header::CACHE_CONTROL, revalidate(is_open && !request.contains_key(header::AUTHORIZATION)));
    headers.insert(header::VARY, HeaderValue::from_static("Accept, Authorization, Accept-Encoding"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

fn revalidate(is_shared: bool) -> HeaderValue {
    HeaderValue::from_static(if is_shared {
        "public, max-age=0, must-revalidate"
    } else {
        "private, max-age=0, must-revalidate"
    })
}

pub(crate) fn insert_text(headers: &mut HeaderMap, name: HeaderName, text: &str) {
    if let Ok(value) = HeaderValue::from_str(text) {
        headers.insert(name, value);
    }
}

/// Whether `If-None-Match` names one of the validators (RFC 9110 §13.1.2, weak comparison).
pub fn matches_etag(request: &HeaderMap, etags: &[&str]) -> bool {
    request.get_all(header::IF_NONE_MATCH).iter().filter_map(|v| v.to_str().ok()).any(|list| {
        list.split(',').map(|tag| tag.trim()).any(|tag| {
            let tag = tag.strip_prefix("W/").unwrap_or(tag);
            tag == "*" || etags.contains(&tag)
        })
    })
}

/// Whether the client takes gzip (RFC 9110 §12.5.3): named, or `*`, with a weight above zero.
fn accepts_gzip(request: &HeaderMap) -> bool {
    let mut wildcard = false;
    for value in request.get_all(header::ACCEPT_ENCODING).iter().filter_map(|v| v.to_str().ok()) {
        for item in value.split(',') {
            let mut parts = item.split(';').map(str::trim);
            let coding = parts.next().unwrap_or_default();
            let refused = parts
                .filter_map(|parameter| parameter.strip_prefix("q="))
                .any(|weight| weight.trim().parse::<f32>().is_ok_and(|weight| weight <= 0.0));
            if coding.eq_ignore_ascii_case("gzip") || coding.eq_ignore_ascii_case("x-gzip") {
                return !refused;
            }
            wildcard |= coding == "*" && !refused;
        }
    }
    wildcard
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(name: HeaderName, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(name, HeaderValue::from_str(value).unwrap())])
    }

    #[test]
    fn gzip_is_sent_only_to_who_takes_it() {
        for (value, wanted) in [
            ("gzip", true),
            ("deflate, gzip", true),
            ("gzip;q=0", false),
            ("gzip;q=0.0", false),
            ("gzip;q=0.5", true),
            ("*", true),
            ("*;q=0", false),
            ("br", false),
            ("identity", false),
        ] {
            assert_eq!(accepts_gzip(&with(header::ACCEPT_ENCODING, value)), wanted, "{value}");
        }
        assert!(!accepts_gzip(&HeaderMap::new()));
    }

    #[test]
    fn validators_match_in_lists_weakly_and_by_star() {
        for (value, wanted) in
            [("\"a\"", true), ("W/\"a\"", true), ("\"x\", \"a\"", true), ("*", true), ("\"x\"", false)]
        {
            assert_eq!(matches_etag(&with(header::IF_NONE_MATCH, value), &["\"a\""]), wanted, "{value}");
        }
    }
}

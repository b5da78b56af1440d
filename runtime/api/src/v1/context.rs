//! What is known of a request from outside, and what every answer carries.

use std::net::IpAddr;

use axum::{extract::Request, middleware::Next, response::Response};
use http::{HeaderMap, HeaderName, HeaderValue, header};
use smol_str::{SmolStr, format_smolstr};

use super::problem;

/// The identifier of a request: `x-request-id` where it is well formed, else our own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestId(pub SmolStr);

/// The client's address after trusted proxies were taken out; put into the extensions by the edge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientIp {
    pub address: IpAddr,
    /// No header says that somebody passed the request on.
    pub is_direct: bool,
}

pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

impl RequestId {
    /// Keeps a client's identifier that matches `^[A-Za-z0-9._-]{1,128}$`, else draws one.
    pub fn of(headers: &HeaderMap) -> Self {
        let given = headers.get(REQUEST_ID).and_then(|value| value.to_str().ok()).filter(|id| {
            (1..=128).contains(&id.len())
                && id.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
        });
        Self(given.map_or_else(|| format_smolstr!("{}", uuid::Uuid::now_v7().simple()), SmolStr::new))
    }
}

/// Gives every request an identifier and every answer the headers of control-plane.md §1.1.
pub async fn around(mut request: Request, next: Next) -> Response {
    let known = request.extensions().get::<RequestId>().cloned();
    let id = known.unwrap_or_else(|| RequestId::of(request.headers()));
    request.extensions_mut().insert(id.clone());
    let mut response = problem::stamp(next.run(request).await, &id);
    let headers = response.headers_mut();
    if let Ok(value) = HeaderValue::from_str(&id.0) {
        headers.insert(REQUEST_ID, value);
    }
    // Whatever does not say that it is public is somebody's own.
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("private, no-store"));
    headers.insert(header::VARY, HeaderValue::from_static("Authorization, Accept, Origin"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_request_ids_are_kept() {
        let of =
            |text: &str| RequestId::of(&HeaderMap::from_iter([(REQUEST_ID, HeaderValue::from_str(text).unwrap())]));
        assert_eq!(of("abc-1.2_3").0, "abc-1.2_3");
        for bad in ["", "a b", "a/b", "ä", "<x>", &"x".repeat(129)] {
            assert_ne!(of(bad).0, bad);
        }
    }
}

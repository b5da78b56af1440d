//! Which pages of other origins may call the API from a browser (`server.cors_allowed_origins`).
//!
//! Never with credentials: such a page sends a token of its own in `Authorization`, and cookies stay out of it.

use std::sync::Arc;

use axum::{
    extract::{Request, State},
    middleware::Next,
    response::{IntoResponse, Response},
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};

/// Exact origins, as browsers spell them.
#[derive(Clone)]
pub(crate) struct AllowedOrigins(Arc<[HeaderValue]>);

const EXPOSED: HeaderValue =
    HeaderValue::from_static("x-request-id, x-ratelimit-limit, x-ratelimit-remaining, x-ratelimit-reset, link, etag");

/// The answer to a preflight, beside the origin. Browsers ask again after ten minutes, so a change of the settings
/// does not have to wait for them.
const PREFLIGHT: [(HeaderName, HeaderValue); 4] = [
    (header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE")),
    (
        header::ACCESS_CONTROL_ALLOW_HEADERS,
        HeaderValue::from_static(
            "authorization, accept, content-type, idempotency-key, if-match, if-none-match, last-event-id, range, \
             x-request-id",
        ),
    ),
    (header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600")),
    (header::VARY, HeaderValue::from_static("Origin, Access-Control-Request-Method, Access-Control-Request-Headers")),
];

impl AllowedOrigins {
    /// `None` where no other origin is allowed: then no answer says anything of origins.
    pub fn new<'a>(origins: impl Iterator<Item = &'a str>) -> Option<Self> {
        let values: Arc<[HeaderValue]> = origins.filter_map(|origin| origin.parse().ok()).collect();
        (!values.is_empty()).then_some(Self(values))
    }

    fn allowed(&self, headers: &HeaderMap) -> Option<HeaderValue> {
        let origin = headers.get(header::ORIGIN)?;
        self.0.iter().find(|known| *known == origin).cloned()
    }
}

/// Tells a browser that the page may read the answer; answers preflights itself.
///
/// Whoever it is around says `Vary: Origin` on every answer.
pub(crate) async fn around(State(origins): State<AllowedOrigins>, request: Request, next: Next) -> Response {
    let Some(origin) = origins.allowed(request.headers()) else { return next.run(request).await };
    let is_preflight =
        request.method() == Method::OPTIONS && request.headers().contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
    let mut response = if is_preflight {
        (StatusCode::NO_CONTENT, PREFLIGHT).into_response()
    } else {
        let mut response = next.run(request).await;
        response.headers_mut().insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
        response
    };
    response.headers_mut().insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    response
}

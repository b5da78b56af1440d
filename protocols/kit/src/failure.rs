//! From errors to status codes, and what every answer to a failed request has.

use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::{HeaderValue, StatusCode, header};
use publaryn_core::{RegistryError, StatusClass};
use serde_json::Value;

/// The usual status of an error on native surfaces; adapters deviate where their protocol does.
pub fn error_status(error: &RegistryError) -> StatusCode {
    match error.class() {
        StatusClass::Unauthenticated => StatusCode::UNAUTHORIZED,
        StatusClass::Forbidden => StatusCode::FORBIDDEN,
        StatusClass::NotFound => StatusCode::NOT_FOUND,
        StatusClass::Conflict => StatusCode::CONFLICT,
        StatusClass::Malformed => StatusCode::BAD_REQUEST,
        StatusClass::Invalid => StatusCode::UNPROCESSABLE_ENTITY,
        StatusClass::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        StatusClass::PreconditionFailed => StatusCode::PRECONDITION_FAILED,
        StatusClass::RateLimited => StatusCode::TOO_MANY_REQUESTS,
        StatusClass::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        StatusClass::Internal => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// A JSON error answer; see [`error_response`].
pub fn json_error(status: StatusCode, body: &Value, error: &RegistryError) -> Response {
    error_response(status, "application/json", body.to_string(), error)
}

/// An error answer with `Retry-After` where waiting helps. Failures are logged here, once.
pub fn error_response(status: StatusCode, content_type: &'static str, body: String, error: &RegistryError) -> Response {
    if status.is_server_error() {
        tracing::error!(error = error.cause_chain(), "request failed");
    }
    let mut response = (status, Bytes::from(body)).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Some(seconds) = error.retry_after_seconds() {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    response.extensions_mut().insert(Reason::of(error));
    response
}

/// The short text that goes on the HTTP/1.1 status line: several clients print nothing else.
#[derive(Debug, Clone)]
pub struct Reason(pub String);

impl Reason {
    /// Longest text put on the status line, in bytes, where a protocol has no other limit.
    pub const MAX: usize = 200;

    /// What one line of ASCII can carry of a text.
    pub fn line(text: &str, max_bytes: usize) -> Self {
        Self(text.chars().filter(|c| (' '..='~').contains(c)).take(max_bytes).collect())
    }

    /// The text of an error; secrets never get here.
    pub fn of(error: &RegistryError) -> Self {
        Self::line(&error.to_string(), Self::MAX)
    }
}

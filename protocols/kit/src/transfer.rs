//! Serving artifact bytes: HEAD, ranges, conditional requests, immutable caching.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use futures::Stream;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use publaryn_core::{BoxError, RegistryError, Timestamp};
use publaryn_registry::{ByteStream, Registry, ServableArtifact};

use crate::{
    metadata::{insert_text, matches_etag},
    range::{RangeOutcome, parse_range},
};

/// Sends an artifact as uploaded. A download is counted when all bytes of a plain 200 were handed over.
///
/// Preconditions are weighed in the order of RFC 9110 §13.2.2.
pub async fn respond_artifact(
    registry: &Registry,
    artifact: ServableArtifact,
    method: &Method,
    request: &HeaderMap,
) -> Result<Response, RegistryError> {
    let etag = format!("\"{}\"", artifact.sha256().hex());
    let size = artifact.size_bytes();
    let text = |name| request.get(name).and_then(|v: &HeaderValue| v.to_str().ok());
    let changed = artifact.uploaded_at();
    let mut response = if text(header::IF_UNMODIFIED_SINCE).is_some_and(|date| is_later(changed, date)) {
        StatusCode::PRECONDITION_FAILED.into_response()
    } else if is_unchanged(request, &etag, changed) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        // A range is only honoured for the representation the client thinks it has (RFC 9110 §13.1.5).
        let wanted = text(header::RANGE)
            .filter(|_| text(header::IF_RANGE).is_none_or(|said| said == etag || said == changed.to_http_date()));
        match parse_range(wanted, size) {
            RangeOutcome::Unsatisfiable => {
                let mut response = StatusCode::RANGE_NOT_SATISFIABLE.into_response();
                insert_text(response.headers_mut(), header::CONTENT_RANGE, &format!("bytes */{size}"));
                response
            }
            RangeOutcome::Part(part) => {
                let range = format!("bytes {}-{}/{size}", part.start, part.end - 1);
                let length = part.end - part.start;
                let mut response = body(registry, &artifact, Some(part), method).await?;
                *response.status_mut() = StatusCode::PARTIAL_CONTENT;
                insert_text(response.headers_mut(), header::CONTENT_RANGE, &range);
                response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(length));
                response
            }
            RangeOutcome::Whole => {
                // A signed address is good for GET only, and for as long as its signature.
                if method != Method::HEAD
                    && let Some(address) = registry.redirect(&artifact).await?
                {
                    registry.count_download(&artifact);
                    let mut response = StatusCode::FOUND.into_response();
                    insert_text(response.headers_mut(), header::LOCATION, &address);
                    let caching = HeaderValue::from_static("private, no-store");
                    response.headers_mut().insert(header::CACHE_CONTROL, caching);
                    return Ok(response);
                }
                let mut response = body(registry, &artifact, None, method).await?;
                response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(size));
                response
            }
        }
    };
    let headers = response.headers_mut();
    if response_has_content(headers) {
        insert_text(headers, header::CONTENT_TYPE, artifact.content_type());
    }
    insert_text(headers, header::ETAG, &etag);
    insert_text(headers, header::LAST_MODIFIED, &changed.to_http_date());
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    let shared = artifact.is_open() && !request.contains_key(header::AUTHORIZATION);
    let caching = if shared { "public, max-age=31536000, immutable" } else { "private, max-age=31536000, immutable" };
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(caching));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("sandbox"));
    Ok(response)
}

/// [`respond_artifact`] for addresses that name a version: the bytes never change, but a version that is blocked must
/// be gone from caches soon.
pub async fn respond_recallable(
    registry: &Registry,
    artifact: ServableArtifact,
    method: &Method,
    request: &HeaderMap,
) -> Result<Response, RegistryError> {
    let is_shared = artifact.is_open() && !request.contains_key(header::AUTHORIZATION);
    let mut response = respond_artifact(registry, artifact, method, request).await?;
    if response.status() != StatusCode::FOUND {
        let caching = if is_shared { "public, max-age=300, must-revalidate" } else { "private, no-cache" };
        response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static(caching));
        response.headers_mut().insert(header::VARY, HeaderValue::from_static("Authorization"));
    }
    Ok(response)
}

/// Whether the client has what it asks for already. A date counts only where no tag was sent.
pub fn is_unchanged(request: &HeaderMap, etag: &str, changed: Timestamp) -> bool {
    if request.contains_key(header::IF_NONE_MATCH) {
        return matches_etag(request, &[etag]);
    }
    let since = request.get(header::IF_MODIFIED_SINCE).and_then(|value| value.to_str().ok());
    since.is_some_and(|date| httpdate::parse_http_date(date).is_ok() && !is_later(changed, date))
}

/// Whether something changed after a date that a client sent, in whole seconds. What is no date counts for nothing.
fn is_later(changed: Timestamp, date: &str) -> bool {
    let Ok(date) = httpdate::parse_http_date(date) else { return false };
    let seconds = date.duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.as_secs());
    u64::try_from(changed.as_micros() / 1_000_000).unwrap_or(0) > seconds
}

fn response_has_content(headers: &HeaderMap) -> bool {
    headers.contains_key(header::CONTENT_LENGTH)
}

async fn body(
    registry: &Registry,
    artifact: &ServableArtifact,
    part: Option<std::ops::Range<u64>>,
    method: &Method,
) -> Result<Response, RegistryError> {
    if method == Method::HEAD {
        return Ok(Body::empty().into_response());
    }
    let is_whole = part.is_none();
    let blob = registry.open(artifact, part).await?;
    if let Some(bytes) = blob.as_bytes() {
        if is_whole {
            registry.count_download(artifact);
        }
        return Ok(Body::from(bytes.clone()).into_response());
    }
    let stream = blob.into_stream();
    if !is_whole {
        return Ok(Body::from_stream(stream).into_response());
    }
    let counted = Counted { stream, when_done: Some((registry.clone(), artifact.clone())) };
    Ok(Body::from_stream(counted).into_response())
}

/// Counts the download when the stream ends well.
struct Counted {
    stream: ByteStream,
    when_done: Option<(Registry, ServableArtifact)>,
}

impl Stream for Counted {
    type Item = Result<Bytes, BoxError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let next = self.stream.as_mut().poll_next(cx);
        match &next {
            Poll::Ready(None) => {
                if let Some((registry, artifact)) = self.when_done.take() {
                    registry.count_download(&artifact);
                }
            }
            Poll::Ready(Some(Err(error))) => {
                // The status line is gone; the broken length tells the client.
                tracing::warn!(%error, "a download broke off");
                self.when_done = None;
            }
            _ => {}
        }
        next
    }
}

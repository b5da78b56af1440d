//! `ETag`, `If-None-Match` and `If-Match` (control-plane.md §1.1, §1.5).
//!
//! A tag reads `"<state>.<content>"`: the content part is a digest of the document as this caller sees it
//! and decides whether it is unchanged; the state part names the resource's own state, is the same for
//! every caller, and is what `If-Match` compares.

use std::fmt::Display;

use axum::{
    body::Body,
    extract::FromRequestParts,
    response::{IntoResponse, Response},
};
use http::{HeaderMap, HeaderValue, StatusCode, header, request::Parts};
use http_body::Body as _;
use http_body_util::BodyExt;
use publaryn_core::{RegistryError, Timestamp};
use sha2::{Digest, Sha256};

use super::{ApiState, problem::Problem};

/// Documents beyond this get no tag: they would have to be kept whole to be hashed.
const MAX_HASHED_BYTES: u64 = 8 << 20;
/// Bytes of the digest that a tag carries.
const TAG_BYTES: usize = 16;

/// The state of a resource that clients may make a change conditional on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revision(String);

impl Revision {
    /// The state of a row that notes when it was changed last.
    pub fn of(id: impl Display, updated_at: Timestamp) -> Self {
        Self::named(format_args!("{id}-{}", updated_at.as_micros()))
    }
    /// A state with a name of its own. Dots and quotes are left out: they delimit.
    pub fn named(state: impl Display) -> Self {
        Self(state.to_string().chars().filter(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_')).collect())
    }

    /// The answer that shows this state, so that its `ETag` can be sent back in `If-Match`.
    pub fn on(self, answer: impl IntoResponse) -> Response {
        let mut response = answer.into_response();
        response.extensions_mut().insert(self);
        response
    }
}

/// The bytes of somebody's file: never compressed, never hashed here.
#[derive(Debug, Clone, Copy)]
pub struct Verbatim;

/// `If-Match` of a change; without it every state is fine.
#[derive(Debug, Clone, Default)]
pub struct IfMatch(Option<String>);

impl FromRequestParts<ApiState> for IfMatch {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &ApiState) -> Result<Self, Self::Rejection> {
        Ok(Self::of(&parts.headers))
    }
}

impl IfMatch {
    pub fn of(headers: &HeaderMap) -> Self {
        if !headers.contains_key(header::IF_MATCH) {
            return Self(None);
        }
        let lists = headers.get_all(header::IF_MATCH).iter().filter_map(|value| value.to_str().ok());
        Self(Some(lists.collect::<Vec<_>>().join(",")))
    }

    /// # Errors
    /// `PreconditionFailed` when the resource is in none of the states that were named. Ask within the
    /// transaction of the change, after permission was given.
    pub fn check(&self, now: &Revision) -> Result<(), RegistryError> {
        let Some(wanted) = &self.0 else { return Ok(()) };
        let is_met = tags(wanted).any(|tag| match tag.strip_prefix('"').and_then(|tag| tag.strip_suffix('"')) {
            Some(tag) => tag.split('.').next() == Some(now.0.as_str()),
            // Weak tags never match here (RFC 9110 §13.1.1).
            None => tag == "*",
        });
        if is_met { Ok(()) } else { Err(RegistryError::PreconditionFailed) }
    }
}

/// Gives a JSON document its tag, and an unchanged one no body: for anonymous callers always, for others
/// where a [`Revision`] says what `If-Match` would compare.
pub(super) async fn finish(mut response: Response, is_anonymous: bool, known: Vec<HeaderValue>) -> Response {
    let revision = response.extensions_mut().remove::<Revision>();
    let is_taggable = response.extensions().get::<Verbatim>().is_none()
        && is_json(response.headers())
        && !response.headers().contains_key(header::ETAG)
        && response.body().size_hint().exact().is_some_and(|size| size <= MAX_HASHED_BYTES);
    if !is_taggable || !(is_anonymous || revision.is_some()) {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    let Ok(body) = body.collect().await else {
        return Problem::from(RegistryError::internal("an answer could not be read")).into_response();
    };
    let bytes = body.to_bytes();
    let etag = etag(revision.as_ref(), &bytes);
    if is_anonymous {
        let value = HeaderValue::from_static("public, max-age=0, must-revalidate");
        parts.headers.insert(header::CACHE_CONTROL, value);
    }
    let is_known = known.iter().filter_map(|list| list.to_str().ok()).flat_map(tags).any(|tag| is_same(tag, &etag));
    if let Ok(value) = HeaderValue::from_str(&etag) {
        parts.headers.insert(header::ETAG, value);
    }
    if is_known {
        parts.status = StatusCode::NOT_MODIFIED;
        parts.headers.remove(header::CONTENT_LENGTH);
        parts.headers.remove(header::CONTENT_TYPE);
        return Response::from_parts(parts, Body::empty());
    }
    Response::from_parts(parts, Body::from(bytes))
}

fn etag(revision: Option<&Revision>, bytes: &[u8]) -> String {
    let digest = hex::encode(&Sha256::digest(bytes)[..TAG_BYTES]);
    match revision {
        Some(Revision(state)) => format!("\"{state}.{digest}\""),
        None => format!("\"{digest}\""),
    }
}

/// The members of a list of tags. No tag of ours holds a comma, so others may break.
fn tags(list: &str) -> impl Iterator<Item = &str> {
    list.split(',').map(str::trim).filter(|tag| !tag.is_empty())
}

/// Weak comparison (RFC 9110 §13.1.2).
fn is_same(tag: &str, etag: &str) -> bool {
    tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == etag
}

fn is_json(headers: &HeaderMap) -> bool {
    headers.get(header::CONTENT_TYPE).is_some_and(|value| value.as_bytes().starts_with(b"application/json"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(value: Option<&str>) -> IfMatch {
        IfMatch::of(&value.map(|text| (header::IF_MATCH, text.parse().unwrap())).into_iter().collect())
    }

    #[test]
    fn a_change_can_be_conditional_on_the_state_alone() {
        let now = Revision::named("abc-5");
        let tag = etag(Some(&now), b"{}");
        for met in [None, Some("*"), Some(tag.as_str()), Some("\"abc-5\""), Some("\"x.1\", \"abc-5.ffff\"")] {
            assert!(asked(met).check(&now).is_ok(), "{met:?}");
        }
        let weak = format!("W/{tag}");
        for unmet in ["", "\"abc-4.1\"", weak.as_str(), "abc-5", "\"other\""] {
            assert!(matches!(asked(Some(unmet)).check(&now), Err(RegistryError::PreconditionFailed)), "{unmet}");
        }
    }

    #[test]
    fn states_hold_no_delimiters() {
        assert_eq!(Revision::named("a.b\"c,d-e"), Revision::named("abcd-e"));
    }
}

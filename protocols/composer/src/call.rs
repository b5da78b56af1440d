//! One request on its way through this adapter: who asks, for what, and how the answer is sent.

use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header, request::Parts};
use publaryn_core::{
    Decision, Ecosystem, Operation, Principal, RegistryError,
    access::{Denial, refuse_before_lookup},
    principal::Who,
};
use publaryn_protocol::BaseUrl;
use publaryn_registry::{PackageView, Registry};
use serde_json::Value;

use crate::{error::ComposerError, listed::Listed, name};

/// Where this protocol answers.
pub(crate) const MOUNT: &str = "/composer";

pub(crate) type Answer = Result<Response, ComposerError>;

/// A request whose caller is known.
pub(crate) struct Call {
    pub registry: Registry,
    pub listed: Listed,
    pub who: Principal,
    pub method: Method,
    /// Below the mount.
    pub uri: Uri,
    pub headers: HeaderMap,
}

impl Call {
    pub async fn new(registry: Registry, listed: Listed, parts: Parts) -> Result<Self, ComposerError> {
        let who = registry.caller(parts.headers.get(header::AUTHORIZATION).map(|value| value.as_bytes())).await?;
        let Parts { method, uri, headers, .. } = parts;
        Ok(Self { registry, listed, who, method, uri, headers })
    }

    /// The address of this repository without trailing slash.
    pub fn base(&self) -> String {
        format!("{}{MOUNT}", self.portal().as_str())
    }

    /// The address of the portal.
    pub fn portal(&self) -> BaseUrl {
        BaseUrl::of(&self.registry, &self.headers)
    }

    /// # Errors
    /// 401 for a credential that does not hold, and on an instance that serves nobody without one; 403 for
    /// credentials that may only publish.
    pub fn require_reader(&self) -> Result<(), ComposerError> {
        // A wrong token would otherwise only show as packages that are not found (composer.md §0).
        if self.who.is_invalid() || (self.registry.settings().require_login && self.who.is_anonymous()) {
            return Err(self.registry.broken_credential(&self.who).into());
        }
        if matches!(self.who.who, Who::TrustedPublisher { .. }) {
            return Err(RegistryError::Denied(Denial::CredentialNotAccepted).into());
        }
        Ok(())
    }

    /// # Errors
    /// 401 without a credential that holds, 403 when it lacks the scope; nothing is looked up.
    pub fn require_scope(&self, operation: Operation) -> Result<(), ComposerError> {
        match refuse_before_lookup(&self.who, operation, false) {
            Some(Decision::Denied(denial)) => Err(RegistryError::Denied(denial).into()),
            Some(_) => Err(self.registry.broken_credential(&self.who).into()),
            None if self.who.is_anonymous() => Err(self.registry.broken_credential(&self.who).into()),
            None => Ok(()),
        }
    }

    /// The package of that name in any case, if the caller may read it. Clients send credentials unasked, so nobody
    /// is challenged for a miss.
    pub async fn package(&self, raw: &str) -> Result<PackageView, ComposerError> {
        let found = match name::canonical(raw) {
            Some(canonical) => self.registry.package(&self.who, Ecosystem::Composer, &canonical).await,
            None => Err(RegistryError::NotFound),
        };
        self.found(found).await
    }

    /// What was found. Where nothing was, the one answer to reads of what is missing, and of what is hidden.
    pub async fn found<T>(&self, found: Result<T, RegistryError>) -> Result<T, ComposerError> {
        match found {
            Err(RegistryError::NotFound) => Err(self.registry.miss(&self.who, Ecosystem::Composer, false).await.into()),
            other => Ok(other?),
        }
    }

    /// The value of a query parameter, decoded.
    pub fn query(&self, key: &str) -> Option<String> {
        form_pairs(self.uri.query().unwrap_or_default()).find(|(name, _)| name == key).map(|(_, value)| value)
    }
}

/// The values of a list as PHP writes it: `key[]=a&key[0]=b`, also `key=c`.
pub(crate) fn form_list(form: &str, key: &str) -> impl Iterator<Item = String> {
    let is_named = move |name: &str| {
        name.strip_prefix(key).is_some_and(|rest| rest.is_empty() || (rest.starts_with('[') && rest.ends_with(']')))
    };
    form_pairs(form).filter(move |(name, _)| is_named(name)).map(|(_, value)| value)
}

/// The pairs of `a=1&b=2`, decoded.
pub(crate) fn form_pairs(form: &str) -> impl Iterator<Item = (String, String)> {
    form.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decode(name), decode(value))
    })
}

fn decode(text: &str) -> String {
    percent_encoding::percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned()
}

/// A JSON answer that nobody keeps.
pub(crate) fn json(status: StatusCode, body: &Value) -> Response {
    let mut response = (status, body.to_string()).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::VARY, HeaderValue::from_static("Authorization"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

pub(crate) fn ok(body: &Value) -> Answer {
    Ok(json(StatusCode::OK, body))
}

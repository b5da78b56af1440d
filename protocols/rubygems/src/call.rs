//! One request on its way through this adapter: who asks, and what they may be told.

use std::collections::HashMap;

use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header, request::Parts};
use publaryn_core::{
    Ecosystem, Operation, Principal, RegistryError, access::refuse_before_lookup, audit::ClientOrigin,
};
use publaryn_protocol::{BaseUrl, read_body};
use publaryn_registry::{PackageView, Registry};
use serde_json::Value;

use crate::{catalog::Catalogs, error::GemError, name};

pub(crate) type Answer = Result<Response, GemError>;

/// Largest form, in bytes.
const MAX_FORM_BYTES: u64 = 64 << 10;
/// Scripts send the key here; `gem` uses `Authorization`.
const API_KEY: HeaderName = HeaderName::from_static("x-gem-api-key");

/// A request whose caller is known.
pub(crate) struct Call {
    pub registry: Registry,
    pub catalogs: Catalogs,
    pub who: Principal,
    pub parts: Parts,
}

impl Call {
    pub async fn new(registry: Registry, catalogs: Catalogs, parts: Parts) -> Result<Self, GemError> {
        let presented = parts.headers.get(header::AUTHORIZATION).or_else(|| parts.headers.get(API_KEY));
        let who = registry.caller(presented.map(HeaderValue::as_bytes)).await?;
        Ok(Self { registry, catalogs, who, parts })
    }

    pub fn headers(&self) -> &HeaderMap {
        &self.parts.headers
    }
    pub fn method(&self) -> &Method {
        &self.parts.method
    }
    pub fn uri(&self) -> &Uri {
        &self.parts.uri
    }
    /// The external URL without trailing slash.
    pub fn base(&self) -> BaseUrl {
        BaseUrl::of(&self.registry, self.headers())
    }
    pub fn origin(&self) -> ClientOrigin {
        match self.parts.extensions.get::<ClientOrigin>() {
            Some(origin) => origin.clone(),
            None => ClientOrigin::new(None, self.headers().get(header::USER_AGENT).and_then(|v| v.to_str().ok())),
        }
    }
    /// The one-time password of a second factor; `gem` sends it when it was asked for one.
    pub fn one_time_password(&self) -> Option<&str> {
        self.headers().get("otp")?.to_str().ok().map(str::trim).filter(|code| !code.is_empty())
    }
    /// Whether shared caches may keep the answer.
    pub fn is_credentialed(&self) -> bool {
        self.headers().contains_key(header::AUTHORIZATION) || self.headers().contains_key(API_KEY)
    }

    /// # Errors
    /// 401 for a credential that does not hold, whatever is asked for: served as an anonymous caller, its holder
    /// would read that a gem does not exist. 401 without one where nobody reads anonymously.
    pub fn require_reader(&self) -> Result<(), GemError> {
        let is_closed = self.registry.settings().require_login && self.who.is_anonymous();
        if self.who.is_invalid() || is_closed {
            return Err(self.registry.broken_credential(&self.who).into());
        }
        Ok(())
    }

    /// # Errors
    /// 401 for callers without a credential that holds.
    pub fn require_login(&self) -> Result<(), GemError> {
        if self.who.is_anonymous() { Err(self.registry.broken_credential(&self.who).into()) } else { Ok(()) }
    }

    /// # Errors
    /// 401 without a credential, 403 when it lacks the scope; nothing is looked up.
    pub fn require_scope(&self, operation: Operation) -> Result<(), GemError> {
        self.require_login()?;
        match refuse_before_lookup(&self.who, operation, false) {
            Some(publaryn_core::Decision::Denied(denial)) => Err(RegistryError::Denied(denial).into()),
            Some(_) => Err(self.registry.broken_credential(&self.who).into()),
            None => Ok(()),
        }
    }

    /// The gem of exactly that name, if the caller may read it.
    pub async fn gem(&self, name: &str) -> Result<PackageView, GemError> {
        if name::fault(name).is_some() {
            return Err(self.miss().await);
        }
        match self.registry.package(&self.who, Ecosystem::Rubygems, &name::canonical(name)).await {
            Ok(view) if view.name() == name => Ok(view),
            Ok(_) | Err(RegistryError::NotFound) => Err(self.miss().await),
            Err(other) => Err(other.into()),
        }
    }

    /// The one answer to reads of what is missing and of what is hidden. Clients send what credentials they have
    /// at once, so nobody is asked for them.
    pub async fn miss(&self) -> GemError {
        self.registry.miss(&self.who, Ecosystem::Rubygems, false).await.into()
    }

    /// A parameter of the query.
    pub fn query(&self, key: &str) -> Option<String> {
        let mut pairs = url::form_urlencoded::parse(self.uri().query().unwrap_or_default().as_bytes());
        pairs.find(|(name, _)| name == key).map(|(_, value)| value.into_owned())
    }

    /// The fields of a form; the query counts as one, too, because `DELETE` may come without a body.
    pub async fn form(&self, body: Body) -> Result<Fields, GemError> {
        let body = read_body(body, MAX_FORM_BYTES).await?;
        let mut fields: HashMap<String, String> =
            url::form_urlencoded::parse(self.uri().query().unwrap_or_default().as_bytes()).into_owned().collect();
        fields.extend(url::form_urlencoded::parse(&body).into_owned());
        Ok(Fields(fields))
    }
}

/// Fields of a form.
pub(crate) struct Fields(HashMap<String, String>);

impl Fields {
    /// The value, unless it is blank.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(|text| text.trim()).filter(|text| !text.is_empty())
    }
    pub fn need(&self, key: &str) -> Result<&str, GemError> {
        self.get(key).ok_or_else(|| GemError::refused(StatusCode::BAD_REQUEST, format!("The field {key} is missing.")))
    }
    /// `true`, `1`, `on`.
    pub fn is_on(&self, key: &str) -> bool {
        matches!(self.get(key), Some("true" | "1" | "on"))
    }
}

/// A plain text, as `gem` prints it.
pub(crate) fn text(body: impl Into<String>) -> Response {
    kept_by_nobody("text/plain; charset=utf-8", body.into().into())
}

pub(crate) fn json(body: &Value) -> Response {
    kept_by_nobody("application/json; charset=utf-8", body.to_string().into())
}

pub(crate) fn yaml(body: String) -> Response {
    kept_by_nobody("text/yaml; charset=utf-8", body.into())
}

fn kept_by_nobody(content_type: &'static str, body: Bytes) -> Response {
    let mut response = body.into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::VARY, HeaderValue::from_static("Authorization"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

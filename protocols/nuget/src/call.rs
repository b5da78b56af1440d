//! One request on its way through this adapter: who asks, through which view, and what they may be told.

use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header, request::Parts};
use publaryn_core::{Decision, Ecosystem, Operation, Principal, RegistryError, access::refuse_before_lookup};
use publaryn_protocol::{BaseUrl, matches_etag};
use publaryn_registry::{PackageView, Registry};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::{error::NugetError, name, route::View};

/// Where this protocol answers.
pub(crate) const MOUNT: &str = "/nuget";

pub(crate) type Answer = Result<Response, NugetError>;

const API_KEY: HeaderName = HeaderName::from_static("x-nuget-apikey");

/// What clients send when they were asked for a password and have none: `Basic` of `:`.
const NO_CREDENTIALS: [&[u8]; 2] = [b"Basic Og==", b"Basic Og"];

/// What an answer hangs on beside its address.
pub(crate) const VARY: &str = "Authorization, X-NuGet-ApiKey";

/// What `push` and `delete` send.
pub(crate) fn api_key(headers: &HeaderMap) -> Option<&HeaderValue> {
    headers.get(API_KEY).filter(|key| !key.is_empty())
}

/// A request whose caller is known.
pub(crate) struct Call {
    pub registry: Registry,
    pub view: View,
    pub who: Principal,
    pub parts: Parts,
}

impl Call {
    /// Key and password may both be there; one that holds is enough (nuget.md §1).
    pub async fn new(registry: Registry, view: View, parts: Parts) -> Result<Self, NugetError> {
        let key = api_key(&parts.headers).map(HeaderValue::as_bytes);
        let login = parts.headers.get(header::AUTHORIZATION).map(HeaderValue::as_bytes);
        let login = login.filter(|login| !NO_CREDENTIALS.contains(login));
        let mut who = registry.caller(key.or(login)).await?;
        if who.is_invalid() && key.is_some() && login.is_some() {
            who = registry.caller(login).await?;
        }
        Ok(Self { registry, view, who, parts })
    }

    pub fn headers(&self) -> &HeaderMap {
        &self.parts.headers
    }
    pub fn method(&self) -> &Method {
        &self.parts.method
    }
    /// The address of the server, where the portal is.
    pub fn portal(&self) -> BaseUrl {
        BaseUrl::of(&self.registry, self.headers())
    }
    /// The address of the view the client uses, without trailing slash. Documents lead nowhere else: clients send
    /// credentials only where they were asked for them.
    pub fn base(&self) -> String {
        format!("{}{MOUNT}{}", self.portal().as_str(), self.view.prefix())
    }
    /// Whether the answer may be meant for this caller alone.
    pub fn is_credentialed(&self) -> bool {
        self.headers().contains_key(header::AUTHORIZATION) || self.headers().contains_key(API_KEY)
    }

    /// # Errors
    /// 401 for callers who must say who they are: everybody on the challenging view, and on an instance that nobody
    /// reads anonymously.
    pub fn require_reader(&self) -> Result<(), NugetError> {
        let is_closed = self.view == View::Challenge || self.registry.settings().require_login;
        if is_closed && self.who.is_anonymous() {
            return Err(self.registry.broken_credential(&self.who).into());
        }
        Ok(())
    }

    /// # Errors
    /// 401 without a credential, 403 when it lacks the scope; nothing is looked up.
    pub fn require_scope(&self, operation: Operation) -> Result<(), NugetError> {
        if self.who.is_anonymous() {
            return Err(self.registry.broken_credential(&self.who).into());
        }
        match refuse_before_lookup(&self.who, operation, false) {
            Some(Decision::Denied(denial)) => Err(RegistryError::Denied(denial).into()),
            Some(_) => Err(self.registry.broken_credential(&self.who).into()),
            None => Ok(()),
        }
    }

    /// The package of that id in any case, if the caller may read it.
    pub async fn package(&self, id: &str) -> Result<PackageView, NugetError> {
        if !name::is_id(id) {
            return Err(self.miss().await);
        }
        match self.registry.package(&self.who, Ecosystem::Nuget, &name::canonical(id)).await {
            Err(RegistryError::NotFound) => Err(self.miss().await),
            other => Ok(other?),
        }
    }

    /// The one answer to reads of what is missing and of what is hidden. Clients send what credentials they have
    /// only when asked (access.md §11).
    pub async fn miss(&self) -> NugetError {
        self.registry.miss(&self.who, Ecosystem::Nuget, true).await.into()
    }

    /// A missing part of a package that is there.
    pub async fn or_miss<T>(&self, found: Result<T, RegistryError>) -> Result<T, NugetError> {
        match found {
            Err(RegistryError::NotFound) => Err(self.miss().await),
            other => Ok(other?),
        }
    }

    /// A parameter of the query; names of parameters know no case.
    pub fn query(&self, key: &str) -> Option<String> {
        let mut pairs = url::form_urlencoded::parse(self.parts.uri.query().unwrap_or_default().as_bytes());
        pairs.find(|(name, _)| name.eq_ignore_ascii_case(key)).map(|(_, value)| value.into_owned())
    }

    /// A number of the query.
    ///
    /// # Errors
    /// 400 when it is none.
    pub fn number(&self, key: &str, default: usize) -> Result<usize, NugetError> {
        match self.query(key).as_deref().map(str::trim) {
            None | Some("") => Ok(default),
            Some(text) => text.parse().map_err(|_| NugetError::bad_request(format!("{key} is no number"))),
        }
    }

    /// A truth of the query; anything but `true` is none.
    pub fn flag(&self, key: &str) -> bool {
        self.query(key).is_some_and(|text| text.trim().eq_ignore_ascii_case("true"))
    }

    /// Whether the client reads SemVer 2.
    pub fn speaks_semver2(&self) -> bool {
        self.query("semVerLevel").is_some_and(|level| level.trim().starts_with('2'))
    }

    /// A document made for this request, with a validator.
    pub fn document(&self, content_type: &'static str, body: impl Into<Bytes>) -> Response {
        let body = body.into();
        let etag = format!("\"{}\"", hex::encode(&Sha256::digest(&body)[..12]));
        let is_fresh = matches_etag(self.headers(), &[&etag]);
        let mut response =
            if is_fresh { StatusCode::NOT_MODIFIED.into_response() } else { Body::from(body).into_response() };
        let is_shared = !self.is_credentialed() && self.view == View::Public;
        let caching = if is_shared { "public, no-cache" } else { "private, no-cache" };
        let headers = response.headers_mut();
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(caching));
        headers.insert(header::VARY, HeaderValue::from_static(VARY));
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        if let Ok(value) = HeaderValue::from_str(&etag) {
            headers.insert(header::ETAG, value);
        }
        if !is_fresh {
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
        }
        response
    }

    pub fn json(&self, body: &Value) -> Response {
        self.document(JSON, body.to_string())
    }
}

pub(crate) const JSON: &str = "application/json";

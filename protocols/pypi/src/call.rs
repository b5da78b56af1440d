//! One request on its way through this adapter: who asks, and what they may be told.

use axum::response::Response;
use http::{HeaderMap, Method, StatusCode, Uri, header, request::Parts};
use publaryn_auth::{Offered, Presented};
use publaryn_core::{
    Ecosystem, Principal, RegistryError,
    access::{Denial, Operation, refuse_before_lookup},
    principal::Who,
};
use publaryn_protocol::BaseUrl;
use publaryn_registry::{PackageView, Registry};

use crate::{error::PypiError, name::normalize};

pub(crate) type Answer = Result<Response, PypiError>;

/// A request whose caller is known.
pub(crate) struct Call {
    pub registry: Registry,
    pub who: Principal,
    pub method: Method,
    /// Below the mount.
    pub uri: Uri,
    pub headers: HeaderMap,
    /// An account's password was sent where a token belongs.
    is_password: bool,
}

impl Call {
    pub async fn new(registry: Registry, parts: Parts) -> Result<Self, PypiError> {
        let presented = parts.headers.get(header::AUTHORIZATION).map(|value| value.as_bytes());
        let is_password = matches!(
            Presented::from_header(presented),
            Presented::Basic { secret: Offered::Other(ref secret), .. } if !secret.expose().is_empty()
        );
        let who = registry.caller(presented).await?;
        let Parts { method, uri, headers, .. } = parts;
        Ok(Self { registry, who, method, uri, headers, is_password })
    }

    /// The external URL without trailing slash.
    pub fn base(&self) -> BaseUrl {
        BaseUrl::of(&self.registry, &self.headers)
    }

    /// # Errors
    /// 401 on an instance that serves nobody without a credential; 403 for tokens that may only upload.
    pub fn require_reader(&self) -> Result<(), PypiError> {
        if self.registry.settings().require_login && self.who.is_anonymous() {
            return Err(self.registry.broken_credential(&self.who).into());
        }
        if matches!(self.who.who, Who::TrustedPublisher { .. }) {
            return Err(RegistryError::Denied(Denial::CredentialNotAccepted).into());
        }
        Ok(())
    }

    /// # Errors
    /// 401 without a credential that holds, 403 when it lacks the scope; nothing is looked up.
    pub fn require_publisher(&self) -> Result<(), PypiError> {
        if self.is_password {
            let text = "Passwords are not accepted here; use an API token, with __token__ as the user name.";
            return Err(PypiError::refused(StatusCode::FORBIDDEN, text));
        }
        if self.who.is_anonymous() {
            return Err(self.registry.broken_credential(&self.who).into());
        }
        match refuse_before_lookup(&self.who, Operation::Publish, false) {
            Some(publaryn_core::Decision::Denied(denial)) => Err(RegistryError::Denied(denial).into()),
            Some(_) => Err(self.registry.broken_credential(&self.who).into()),
            None => Ok(()),
        }
    }

    /// The project of that name in any spelling, if the caller may read it.
    pub async fn project(&self, name: &str) -> Result<PackageView, PypiError> {
        let Some(canonical) = normalize(name) else { return Err(self.miss().await) };
        match self.registry.package(&self.who, Ecosystem::Pypi, &canonical).await {
            Err(RegistryError::NotFound) => Err(self.miss().await),
            other => Ok(other?),
        }
    }

    /// The one answer to reads of what is missing and of what is hidden.
    ///
    /// pip and uv send the credentials of a keyring or netrc only when asked, so they are asked where that can
    /// help (access.md §11).
    pub async fn miss(&self) -> PypiError {
        self.registry.miss(&self.who, Ecosystem::Pypi, true).await.into()
    }

    /// What the caller is called in refusals.
    pub fn user(&self) -> &str {
        self.who.user().map_or("this token", |user| user.username.as_str())
    }
}

//! One request on its way through this adapter: who asks, and what they may be told.

use axum::response::Response;
use http::{HeaderMap, Method, header, request::Parts};
use publaryn_core::{Decision, Ecosystem, Operation, Principal, RegistryError, access::refuse_before_lookup};
use publaryn_registry::{PackageView, Registry};

use crate::{error::MavenError, name::Coordinates};

pub(crate) type Answer = Result<Response, MavenError>;

/// A request whose caller is known.
pub(crate) struct Call {
    pub registry: Registry,
    pub who: Principal,
    pub method: Method,
    pub headers: HeaderMap,
}

impl Call {
    pub async fn new(registry: Registry, parts: Parts) -> Result<Self, MavenError> {
        let presented = parts.headers.get(header::AUTHORIZATION).map(|value| value.as_bytes());
        let who = registry.caller(presented).await?;
        let Parts { method, headers, .. } = parts;
        Ok(Self { registry, who, method, headers })
    }

    /// `is_challenging`: the view on which nobody reads without saying who they are. Clients send what credentials
    /// they have only when asked, and on the other view that would fail the builds of everybody else.
    ///
    /// # Errors
    /// 401.
    pub fn require_reader(&self, is_challenging: bool) -> Result<(), MavenError> {
        let is_closed = is_challenging || self.registry.settings().require_login;
        if is_closed && self.who.is_anonymous() {
            return Err(self.registry.broken_credential(&self.who).into());
        }
        Ok(())
    }

    /// # Errors
    /// 401 without a credential that holds, 403 when it lacks the scope; nothing is looked up.
    pub fn require_publisher(&self) -> Result<(), MavenError> {
        if self.who.is_anonymous() {
            return Err(self.registry.broken_credential(&self.who).into());
        }
        match refuse_before_lookup(&self.who, Operation::Publish, false) {
            Some(Decision::Denied(denial)) => Err(RegistryError::Denied(denial).into()),
            Some(_) => Err(self.registry.broken_credential(&self.who).into()),
            None => Ok(()),
        }
    }

    /// The package of exactly those coordinates, if the caller may read it.
    ///
    /// # Errors
    /// `NotFound` whether it is missing or hidden; `BadCredential` for those who showed a broken one.
    pub async fn package(&self, coordinates: &Coordinates) -> Result<PackageView, RegistryError> {
        let view = self.registry.package(&self.who, Ecosystem::Maven, &coordinates.canonical()).await?;
        if view.name() == coordinates.to_string() { Ok(view) } else { Err(RegistryError::NotFound) }
    }

    /// The one answer to reads of what is missing and of what is hidden: clients send what credentials they have only
    /// when asked (access.md §11, ADR 0039).
    pub async fn miss(&self) -> MavenError {
        self.registry.miss(&self.who, Ecosystem::Maven, true).await.into()
    }

    /// [`Self::miss`] for what the registry did not find.
    pub async fn found<T>(&self, result: Result<T, RegistryError>) -> Result<T, MavenError> {
        match result {
            Err(RegistryError::NotFound) => Err(self.miss().await),
            other => Ok(other?),
        }
    }
}

//! One request on its way through this adapter: who asks, what the path names, how it is answered.

use axum::{
    extract::{FromRequestParts, Path},
    response::{IntoResponse, Response},
};
use http::{HeaderMap, HeaderValue, StatusCode, header, request::Parts};
use publaryn_core::{Ecosystem, Operation, Principal, RegistryError, access::refuse_before_lookup};
use publaryn_protocol::BaseUrl;
use publaryn_registry::{PackageView, Registry};
use serde_json::Value;

use crate::{
    error::{CargoError, Index},
    name::{addresses, collision_key, syntax_fault},
};

pub(crate) type Answer = Result<Response, CargoError>;

/// A request whose caller is known. Takes the headers out of the request.
pub(crate) struct Call {
    pub registry: Registry,
    pub who: Principal,
    pub headers: HeaderMap,
    /// The caller signed instead of sending a token (cargo's unstable asymmetric tokens).
    is_asymmetric: bool,
}

impl FromRequestParts<Registry> for Call {
    type Rejection = CargoError;

    async fn from_request_parts(parts: &mut Parts, registry: &Registry) -> Result<Self, CargoError> {
        let headers = std::mem::take(&mut parts.headers);
        let presented = headers.get(header::AUTHORIZATION).map(HeaderValue::as_bytes);
        let is_asymmetric = presented.is_some_and(|value| value.starts_with(b"v3.public."));
        let who = registry.caller(presented).await?;
        Ok(Self { registry: registry.clone(), who, headers, is_asymmetric })
    }
}

impl Call {
    /// The external URL without trailing slash.
    pub fn base(&self) -> BaseUrl {
        BaseUrl::of(&self.registry, &self.headers)
    }

    /// Whether anonymous callers are turned away everywhere (`cargo.auth_required`, `access.require_login`).
    pub fn is_closed(&self) -> bool {
        let settings = self.registry.settings();
        settings.cargo_auth_required || settings.require_login
    }

    /// # Errors
    /// 401 for callers without a credential that holds.
    pub fn require_login(&self) -> Result<(), CargoError> {
        match () {
            () if self.is_asymmetric => {
                let detail = "asymmetric tokens are not supported by this registry";
                Err(CargoError::refused(StatusCode::UNAUTHORIZED, detail))
            }
            () if self.who.is_anonymous() => Err(self.registry.broken_credential(&self.who).into()),
            () => Ok(()),
        }
    }

    /// # Errors
    /// 401 on an instance that serves nobody without a token.
    pub fn require_login_where_closed(&self) -> Result<(), CargoError> {
        if self.is_closed() { self.require_login() } else { Ok(()) }
    }

    /// # Errors
    /// 401 without a credential, 403 when it lacks the scope; nothing is looked up.
    pub fn require_scope(&self, operation: Operation) -> Result<(), CargoError> {
        self.require_login()?;
        match refuse_before_lookup(&self.who, operation, false) {
            Some(publaryn_core::Decision::Denied(denial)) => Err(RegistryError::Denied(denial).into()),
            Some(_) => Err(self.registry.broken_credential(&self.who).into()),
            None => Ok(()),
        }
    }

    /// The crate of exactly that name (any case), if the caller may read it.
    pub async fn package(&self, name: &str) -> Result<PackageView, RegistryError> {
        self.package_for(&self.who, name).await
    }

    /// The same, seen with somebody else's eyes.
    pub async fn package_for(&self, who: &Principal, name: &str) -> Result<PackageView, RegistryError> {
        let found = match syntax_fault(name, false) {
            None => self.registry.package(who, Ecosystem::Cargo, &collision_key(name)).await,
            Some(_) => Err(RegistryError::NotFound),
        };
        match found {
            Ok(view) if addresses(name, view.name()) => Ok(view),
            Ok(_) | Err(RegistryError::NotFound) => Err(self.registry.miss(who, Ecosystem::Cargo, false).await),
            Err(other) => Err(other),
        }
    }

    /// The answer to send; every 401 carries the challenge that `cargo login` shows to people.
    pub fn answer(&self, answer: Answer) -> Response {
        self.challenged(answer.unwrap_or_else(CargoError::into_response))
    }

    /// The same for the index, whose errors are plain text.
    pub fn answer_text(&self, answer: Answer) -> Response {
        self.challenged(answer.unwrap_or_else(|error| error.spoken::<Index>().into_response()))
    }

    fn challenged(&self, mut response: Response) -> Response {
        if response.status() == StatusCode::UNAUTHORIZED {
            let challenge = format!("Cargo login_url=\"{}/cargo/me\"", self.base().as_str());
            // A base URL is plain ASCII, so this always holds; without it the answer is still right.
            if let Ok(value) = HeaderValue::from_str(&challenge) {
                response.headers_mut().insert(header::WWW_AUTHENTICATE, value);
            }
        }
        response
    }
}

/// A JSON answer that depends on the caller and is not kept.
pub(crate) fn json(body: &Value) -> Response {
    let mut response = body.to_string().into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::VARY, HeaderValue::from_static("Authorization"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// `{crate}` of a path.
pub(crate) struct CratePath(pub String);

/// `{crate}/{version}` of a path. A `+` in the version stands for itself.
pub(crate) struct VersionPath {
    pub name: String,
    pub version: String,
}

impl<S: Send + Sync> FromRequestParts<S> for CratePath {
    type Rejection = CargoError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, CargoError> {
        let Path(name) = Path::<String>::from_request_parts(parts, state).await.map_err(|_| CargoError::not_found())?;
        Ok(Self(name))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for VersionPath {
    type Rejection = CargoError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, CargoError> {
        let path = Path::<(String, String)>::from_request_parts(parts, state).await;
        let Path((name, version)) = path.map_err(|_| CargoError::not_found())?;
        Ok(Self { name, version })
    }
}

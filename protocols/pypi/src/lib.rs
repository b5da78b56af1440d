//! The Python package index: what pip, uv, poetry, pdm, hatch, flit and twine speak (docs/adapters/pypi.md).
//!
//! Files arrive one by one and each has its own quarantine, so a release is the sum of its cleared files. What
//! clients resolve from is read from the archives, never from the upload form.

pub mod accept;
mod advisories;
pub mod archive;
pub mod attestation;
mod call;
pub mod claims;
pub mod core_metadata;
pub mod document;
mod draft;
mod error;
pub mod filename;
mod files;
mod form;
mod inspect;
mod makeup;
pub mod name;
mod project_json;
mod provenance;
pub mod record;
pub mod requirement;
pub mod route;
mod scanner;
mod simple;
mod upload;
pub mod version;

use axum::{
    Router,
    body::Body,
    extract::State,
    response::{IntoResponse, Response},
};
use http::{HeaderValue, Method, Request, StatusCode, header};
use publaryn_core::{Ecosystem, PackageName, RegistryError, Version};
use publaryn_protocol::{Adapter, DraftFile, KeptRelease, Makeup, Mount, RequestFacts, render};
use publaryn_registry::{Inspector, Registry, control::Described};
use publaryn_scan::Scanner;

use crate::{
    call::{Answer, Call},
    error::PypiError,
    route::Route,
};

/// Where this protocol answers.
const MOUNT: &str = "/pypi";

/// The adapter.
#[derive(Debug, Clone, Copy, Default)]
pub struct Pypi;

impl Adapter for Pypi {
    fn ecosystem(&self) -> Ecosystem {
        Ecosystem::Pypi
    }

    fn mounts(&self) -> Vec<Mount> {
        // One door: whether a path ends in a slash matters here, and 405s have a meaning to clients.
        vec![Mount { path: MOUNT, router: Router::new().fallback(door) }]
    }

    fn parse_name(&self, raw: &str) -> Result<PackageName, RegistryError> {
        name::parse_name(raw)
    }

    fn parse_version(&self, raw: &str) -> Result<Version, RegistryError> {
        version::parse_version(raw)
            .ok_or_else(|| RegistryError::invalid("invalid_version", "the version is not one of PEP 440"))
    }

    fn render_error(&self, error: &RegistryError, _: &RequestFacts) -> Response {
        render::<Self>(error)
    }

    fn scanners(&self) -> Vec<Box<dyn Scanner>> {
        vec![Box::new(scanner::DistributionMetadata)]
    }

    fn describe(&self, file: &DraftFile<'_>) -> Option<Inspector<Described>> {
        draft::describe(file)
    }

    fn makeup(&self, release: &KeptRelease<'_>) -> Makeup {
        makeup::makeup(release)
    }
}

async fn door(State(registry): State<Registry>, request: Request<Body>) -> Response {
    let (parts, body) = request.into_parts();
    let wants_json = accept::prefers_json_errors(&parts.headers);
    match Call::new(registry, parts).await {
        Ok(call) => answer(&call, body).await.unwrap_or_else(|error| error::answer(error, wants_json)),
        Err(error) => error::answer(error, wants_json),
    }
}

async fn answer(call: &Call, body: Body) -> Answer {
    let route = Route::of(call.uri.path());
    let is_read = matches!(call.method, Method::GET | Method::HEAD);
    match (&route, is_read) {
        (Route::Upload { repository }, false) if call.method == Method::POST => {
            upload::upload(call, repository.as_deref(), body).await
        }
        (Route::Upload { .. }, _) => Ok(wrong_method("POST")),
        (Route::Advisories, false) if call.method == Method::POST => advisories::query(call, body).await,
        (Route::Advisories, _) => Ok(wrong_method("POST")),
        // `pip search` asks here, among others.
        (Route::Unknown, _) => Err(PypiError::not_found()),
        // uv takes this answer as the hint that somebody uploads to the simple index.
        (_, false) => Ok(wrong_method("GET, HEAD")),
        (Route::List { has_slash }, true) => simple::list(call, *has_slash).await,
        (Route::Project { name, has_slash }, true) => simple::project(call, name, *has_slash).await,
        (Route::File { id, filename }, true) => files::file(call, id, filename).await,
        (Route::Metadata { id, filename }, true) => files::metadata(call, id, filename).await,
        (Route::Json { name, version }, true) => project_json::project(call, name, version.as_deref()).await,
        (Route::Provenance { name, version, filename }, true) => {
            provenance::provenance(call, name, version, filename).await
        }
    }
}

fn wrong_method(allowed: &'static str) -> Response {
    let error = PypiError::refused(StatusCode::METHOD_NOT_ALLOWED, "Method not allowed here.");
    let mut response = error.into_response();
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(allowed));
    response
}

/// A document that must be looked up anew each time.
fn json_answer(body: &serde_json::Value) -> Response {
    let mut response = body.to_string().into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// A redirect to an address below this mount.
fn redirect(call: &Call, to: &str) -> Response {
    let address = format!("{}{MOUNT}{to}", call.base().as_str());
    match HeaderValue::from_str(&address) {
        Ok(location) => (StatusCode::MOVED_PERMANENTLY, [(header::LOCATION, location)]).into_response(),
        Err(_) => PypiError::not_found().into_response(),
    }
}

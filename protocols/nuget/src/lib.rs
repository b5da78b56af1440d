//! The NuGet registry: what dotnet, nuget.exe and their relatives speak (docs/adapters/nuget.md).
//!
//! Two views of the same packages (nuget.md §0): the plain one, and one below `~auth` that asks everybody who they
//! are, because clients send passwords only when asked. [`route`] says what a request asks for.

mod advisories;
pub mod archive;
mod call;
mod change;
mod draft;
mod error;
mod flat;
pub mod form;
mod index;
mod links;
mod makeup;
pub mod name;
pub mod nuspec;
pub mod portable_pdb;
mod push;
pub mod range;
mod registration;
mod release;
pub mod route;
mod scanner;
mod search;
mod symbols;
pub mod v2;
pub mod version;

use axum::{
    Router,
    body::Body,
    extract::State,
    response::{IntoResponse, Response},
};
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, header};
use publaryn_core::{ArtifactKind, Ecosystem, PackageName, RegistryError, Version};
use publaryn_protocol::{Adapter, DraftFile, KeptRelease, Makeup, Mount, RequestFacts, RouteTemplate, render};
use publaryn_registry::{Inspector, Registry, control::Described};
use publaryn_scan::Scanner;
use serde_json::Value;

use crate::{
    call::{Answer, Call, MOUNT},
    error::NugetError,
    route::Route,
};

/// The adapter.
#[derive(Debug, Clone, Copy, Default)]
pub struct Nuget;

impl Adapter for Nuget {
    fn ecosystem(&self) -> Ecosystem {
        Ecosystem::Nuget
    }

    fn mounts(&self) -> Vec<Mount> {
        // One door: clients add slashes and encode parentheses as they like.
        let door = |State(registry): State<Registry>, request: Request<Body>| door(registry, request);
        vec![Mount { path: MOUNT, router: Router::new().fallback(door) }]
    }

    fn parse_name(&self, raw: &str) -> Result<PackageName, RegistryError> {
        name::parse_name(raw)
    }

    fn parse_version(&self, raw: &str) -> Result<Version, RegistryError> {
        version::parse_version(raw)
            .ok_or_else(|| RegistryError::invalid("invalid_version", "the version is not one of NuGet"))
    }

    fn render_error(&self, error: &RegistryError, _: &RequestFacts) -> Response {
        render::<Self>(error)
    }

    fn credential<'h>(&self, headers: &'h HeaderMap) -> Option<&'h HeaderValue> {
        call::api_key(headers).or_else(|| headers.get(header::AUTHORIZATION))
    }

    fn scanners(&self) -> Vec<Box<dyn Scanner>> {
        vec![Box::new(scanner::NugetMetadata)]
    }

    fn describe(&self, file: &DraftFile<'_>) -> Option<Inspector<Described>> {
        (file.kind == ArtifactKind::Nupkg).then(|| draft::describe(file))
    }

    fn makeup(&self, release: &KeptRelease<'_>) -> Makeup {
        makeup::makeup(release)
    }

    fn details(&self, release: &KeptRelease<'_>) -> Value {
        release::details(release)
    }
}

async fn door(registry: Registry, request: Request<Body>) -> Response {
    let (parts, body) = request.into_parts();
    let (view, route) = Route::of(parts.uri.path());
    let template = route.template();
    let mut response = match Call::new(registry, view, parts).await {
        Ok(call) => answer(&call, &route, body).await.unwrap_or_else(NugetError::into_response),
        Err(error) => error.into_response(),
    };
    response.extensions_mut().insert(RouteTemplate::Own(template));
    response
}

async fn answer(call: &Call, route: &Route, body: Body) -> Answer {
    match (call.method(), route) {
        (&Method::GET | &Method::HEAD, route) => read(call, route).await,
        // Old clients push to the address of the source itself.
        (&Method::PUT, Route::Push | Route::V2(v2::Resource::Service)) => {
            push::push(call, body, ArtifactKind::Nupkg).await
        }
        (&Method::PUT, Route::PushSymbols) => push::push(call, body, ArtifactKind::Snupkg).await,
        (&Method::DELETE, Route::Release { id, version }) => change::set_listed(call, id, version, false).await,
        (&Method::POST, Route::Release { id, version }) => change::set_listed(call, id, version, true).await,
        (method, route) => {
            call.require_reader()?;
            match route {
                Route::Unknown if call.who.is_anonymous() => Err(call.registry.broken_credential(&call.who).into()),
                Route::Unknown => Err(NugetError::not_found()),
                route => Ok(wrong_method(route, method)),
            }
        }
    }
}

async fn read(call: &Call, route: &Route) -> Answer {
    match route {
        Route::ServiceIndex => index::service_index(call).await,
        Route::Versions(id) => flat::versions(call, id).await,
        Route::Nupkg { id, version } | Route::Release { id, version } => flat::nupkg(call, id, version).await,
        Route::Nuspec { id, version } => flat::nuspec(call, id, version).await,
        Route::Inner { id, version, inner } => flat::inner(call, id, version, *inner).await,
        Route::Registration { hive, id } => registration::index(call, *hive, id).await,
        Route::Page { hive, id, lower, upper } => registration::page(call, *hive, id, lower, upper).await,
        Route::Leaf { hive, id, version } => registration::leaf(call, *hive, id, version).await,
        Route::Search => search::search(call).await,
        Route::Autocomplete => search::autocomplete(call).await,
        Route::VulnerabilityIndex => advisories::index(call).await,
        Route::Vulnerabilities(name) => advisories::named_page(call, name).await,
        Route::Symbols(key) => symbols::lookup(call, key).await,
        Route::V2(resource) => v2::read(call, resource).await,
        Route::Push | Route::PushSymbols => {
            call.require_reader()?;
            Ok(wrong_method(route, call.method()))
        }
        Route::Unknown => {
            call.require_reader()?;
            Err(call.miss().await)
        }
    }
}

fn wrong_method(route: &Route, method: &Method) -> Response {
    let allowed = match route {
        Route::Push | Route::PushSymbols => "PUT",
        Route::V2(v2::Resource::Service) => "GET, HEAD, PUT",
        Route::Release { .. } => "GET, HEAD, POST, DELETE",
        _ => "GET, HEAD",
    };
    let error = NugetError::refused(StatusCode::METHOD_NOT_ALLOWED, format!("{method} is not allowed here"));
    let mut response = error.into_response();
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(allowed));
    response
}

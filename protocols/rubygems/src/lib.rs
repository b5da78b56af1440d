//! The RubyGems registry: what `gem` and Bundler speak (docs/adapters/rubygems.md).
//!
//! A release is one gem file: a version number for one platform (ADR 0023). Everything the indexes say of it comes
//! from the specification inside the gem, and the indexes are made from the live releases whenever one changes.

mod account;
pub mod archive;
mod call;
mod catalog;
mod change;
pub mod compact;
mod draft;
mod error;
pub mod gemspec;
mod json_api;
mod makeup;
pub mod marshal;
pub mod name;
mod owners;
pub mod platform;
mod push;
pub mod route;
mod scanner;
mod serve;
pub mod version;
pub mod yaml;

use axum::{
    Router,
    body::Body,
    extract::State,
    response::{IntoResponse, Response},
};
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, header};
use publaryn_core::{ArtifactKind, Ecosystem, PackageName, RegistryError, Version};
use publaryn_protocol::{Adapter, DraftFile, KeptRelease, Login, Makeup, Mount, RequestFacts, RouteTemplate, render};
use publaryn_registry::{Inspector, Registry, control::Described};
use publaryn_scan::Scanner;
use serde_json::Value;

use crate::{
    call::{Answer, Call},
    catalog::Catalogs,
    error::GemError,
    route::{Format, Route},
};

/// Where this protocol answers.
const MOUNT: &str = "/rubygems";

/// The adapter.
#[derive(Clone, Default)]
pub struct Rubygems {
    catalogs: Catalogs,
}

impl Adapter for Rubygems {
    fn ecosystem(&self) -> Ecosystem {
        Ecosystem::Rubygems
    }

    fn mounts(&self) -> Vec<Mount> {
        // One door: names hold dots, and what a path means is told by its ending.
        let catalogs = self.catalogs.clone();
        let door = move |State(registry): State<Registry>, request: Request<Body>| {
            let catalogs = catalogs.clone();
            async move { door(registry, catalogs, request).await }
        };
        vec![Mount { path: MOUNT, router: Router::new().fallback(door) }]
    }

    fn parse_name(&self, raw: &str) -> Result<PackageName, RegistryError> {
        name::parse_name(raw)
    }

    fn parse_version(&self, raw: &str) -> Result<Version, RegistryError> {
        version::parse_version(raw)
            .ok_or_else(|| RegistryError::invalid("invalid_version", "the version is not one of RubyGems"))
    }

    fn render_error(&self, error: &RegistryError, _: &RequestFacts) -> Response {
        render::<Self>(error)
    }

    fn login(&self, request: &RequestFacts, headers: &HeaderMap) -> Login {
        let below = request.path.strip_prefix(MOUNT).unwrap_or_default();
        let is_about_keys = matches!(Route::of(below), Route::ApiKey { .. });
        let is_sign_in = is_about_keys && (request.is_write() || account::has_password(headers));
        if is_sign_in { Login::Counts } else { Login::No }
    }

    fn scanners(&self) -> Vec<Box<dyn Scanner>> {
        vec![Box::new(scanner::GemMetadata)]
    }

    fn describe(&self, file: &DraftFile<'_>) -> Option<Inspector<Described>> {
        (file.kind == ArtifactKind::Gem).then(|| draft::describe(file))
    }

    fn makeup(&self, release: &KeptRelease<'_>) -> Makeup {
        makeup::makeup(release)
    }

    fn namesakes(&self, name: &PackageName, version: &Version) -> Vec<(String, Version)> {
        serve::namesakes(name.display(), version.as_str())
    }

    fn details(&self, release: &KeptRelease<'_>) -> Value {
        gemspec::details(release.document)
    }
}

async fn door(registry: Registry, catalogs: Catalogs, request: Request<Body>) -> Response {
    let (parts, body) = request.into_parts();
    let route = Route::of(parts.uri.path());
    let mut response = match Call::new(registry, catalogs, parts).await {
        Ok(call) => answer(&call, &route, body).await.unwrap_or_else(GemError::into_response),
        Err(error) => error.into_response(),
    };
    response.extensions_mut().insert(RouteTemplate::Own(route.template()));
    response
}

async fn answer(call: &Call, route: &Route, body: Body) -> Answer {
    let method = call.method();
    if matches!(*method, Method::GET | Method::HEAD) {
        return read(call, route).await;
    }
    match (route, method) {
        (Route::Push, &Method::POST) => push::push(call, body).await,
        (Route::Yank, &Method::DELETE) => change::set_yanked(call, body, true).await,
        (Route::Unyank, &Method::PUT) => change::set_yanked(call, body, false).await,
        (Route::Owners { name, format: None }, &Method::POST | &Method::DELETE) => {
            owners::change(call, name, body).await
        }
        (Route::ApiKey { format: None }, &Method::POST) => account::sign_in(call, body).await,
        (Route::Unknown, _) => Err(GemError::not_found()),
        _ => Ok(wrong_method(route)),
    }
}

async fn read(call: &Call, route: &Route) -> Answer {
    match route {
        Route::Root => serve::root(call),
        Route::Versions => serve::versions(call).await,
        Route::Names => serve::names(call).await,
        Route::Info(name) => serve::info(call, name).await,
        Route::Gem(full) => serve::gem(call, full).await,
        Route::Specs { list, is_gzip } => serve::specs(call, *list, *is_gzip).await,
        Route::Quick(full) => serve::quick(call, full).await,
        Route::ApiKey { format } => account::key(call, *format).await,
        Route::Profile(format) => account::profile(call, *format),
        Route::OwnGems => json_api::gems_of(call, None).await,
        Route::GemsOf(handle) => json_api::gems_of(call, Some(handle)).await,
        Route::About(name, format) => json_api::about(call, name, *format).await,
        Route::ListOf(name) => json_api::versions(call, name).await,
        Route::LatestOf(name) => json_api::latest(call, name).await,
        Route::Version { name, number } => json_api::version(call, name, number).await,
        Route::Search => json_api::search(call).await,
        Route::Owners { name, format } => owners::list(call, name, format.unwrap_or(Format::Json)).await,
        Route::Push | Route::Yank | Route::Unyank => Ok(wrong_method(route)),
        Route::Unknown => {
            call.require_reader()?;
            Err(call.miss().await)
        }
    }
}

fn wrong_method(route: &Route) -> Response {
    let allowed = match route {
        Route::Push => "POST",
        Route::Yank => "DELETE",
        Route::Unyank => "PUT",
        Route::Owners { .. } => "GET, HEAD, POST, DELETE",
        Route::ApiKey { .. } => "GET, HEAD, POST",
        _ => "GET, HEAD",
    };
    let error = GemError::refused(StatusCode::METHOD_NOT_ALLOWED, "Method not allowed here.");
    let mut response = error.into_response();
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(allowed));
    response
}

//! The Composer repository protocol, version 2: what Composer 2.2 and later speak (docs/adapters/composer.md).
//!
//! A release is one zip. Everything that clients resolve from is read from the `composer.json` inside it; there is no
//! upload protocol among the clients, so `upload` takes the forms in use.

mod advisories;
pub mod archive;
mod call;
mod change;
pub mod constraint;
mod draft;
mod error;
mod list;
mod listed;
mod makeup;
pub mod manifest;
mod minify;
pub mod name;
mod packages;
mod release;
mod root;
pub mod route;
mod scanner;
mod upload;
pub mod version;

use axum::{
    Router,
    body::Body,
    extract::State,
    response::{IntoResponse, Response},
};
use http::{HeaderValue, Method, Request, StatusCode, header};
use publaryn_core::{ArtifactKind, Ecosystem, PackageName, RegistryError, Version};
use publaryn_protocol::{Adapter, DraftFile, KeptRelease, Makeup, Mount, RequestFacts, RouteTemplate, render};
use publaryn_registry::{Inspector, Registry, control::Described};
use publaryn_scan::Scanner;
use serde_json::Value;

use crate::{
    call::{Answer, Call, MOUNT},
    error::ComposerError,
    route::Route,
};

/// The adapter.
#[derive(Clone, Default)]
pub struct Composer {
    listed: listed::Listed,
}

impl Adapter for Composer {
    fn ecosystem(&self) -> Ecosystem {
        Ecosystem::Composer
    }

    fn mounts(&self) -> Vec<Mount> {
        // One door: `~dev.json` and `.json` are parts of one segment, which a table of routes cannot tell apart.
        let listed = self.listed.clone();
        let door = move |State(registry): State<Registry>, request: Request<Body>| {
            let listed = listed.clone();
            async move { door(registry, listed, request).await }
        };
        vec![Mount { path: MOUNT, router: Router::new().fallback(door) }]
    }

    fn parse_name(&self, raw: &str) -> Result<PackageName, RegistryError> {
        name::parse_name(raw)
    }

    fn parse_version(&self, raw: &str) -> Result<Version, RegistryError> {
        version::parse_version(raw).map_err(|fault| RegistryError::invalid("invalid_version", fault.of(raw)))
    }

    fn render_error(&self, error: &RegistryError, _: &RequestFacts) -> Response {
        render::<Self>(error)
    }

    fn scanners(&self) -> Vec<Box<dyn Scanner>> {
        vec![Box::new(scanner::ComposerMetadata)]
    }

    fn describe(&self, file: &DraftFile<'_>) -> Option<Inspector<Described>> {
        (file.kind == ArtifactKind::ComposerZip).then(|| draft::describe(file))
    }

    fn makeup(&self, release: &KeptRelease<'_>) -> Makeup {
        makeup::makeup(release)
    }

    fn details(&self, release: &KeptRelease<'_>) -> Value {
        release::details(release, &format!("{}{MOUNT}", release.base_url))
    }
}

async fn door(registry: Registry, listed: listed::Listed, request: Request<Body>) -> Response {
    let (parts, body) = request.into_parts();
    let route = Route::of(parts.uri.path());
    let template = RouteTemplate::Own(route.template());
    let answered = match Call::new(registry, listed, parts).await {
        Ok(call) => answer(&call, route, body).await,
        Err(error) => Err(error),
    };
    let mut response = answered.unwrap_or_else(ComposerError::into_response);
    response.extensions_mut().insert(template);
    response
}

async fn answer(call: &Call, route: Route, body: Body) -> Answer {
    let method = match &call.method {
        &Method::HEAD => &Method::GET,
        other => other,
    };
    match (method.as_str(), route) {
        ("PUT", Route::Publish { package, version }) => upload::upload(call, &package, version, body).await,
        ("DELETE", Route::Version { package, version }) => change::set_yanked(call, &package, &version, true).await,
        ("POST", Route::Version { package, version }) => change::set_yanked(call, &package, &version, false).await,
        ("PUT", Route::Abandoned { package }) => change::abandon(call, &package, body).await,
        ("DELETE", Route::Abandoned { package }) => change::take_up(call, &package).await,
        ("GET", route) => {
            call.require_reader()?;
            read(call, route).await
        }
        ("POST", Route::Downloads) => {
            call.require_reader()?;
            change::installed(body).await
        }
        ("POST", Route::Advisories) => {
            call.require_reader()?;
            advisories::asked_by_form(call, body).await
        }
        (_, Route::Unknown) => Err(RegistryError::NotFound.into()),
        (_, route) => Ok(wrong_method(&route)),
    }
}

async fn read(call: &Call, route: Route) -> Answer {
    match route {
        Route::Root => root::packages_json(call).await,
        Route::Tagged { package } => packages::tagged(call, &package).await,
        Route::Branches { package } => packages::branches(call, &package).await,
        Route::Dist { package, version, reference } => packages::dist(call, &package, &version, &reference).await,
        Route::File { id } => packages::file(call, &id).await,
        Route::Search => list::search(call).await,
        Route::List => list::names(call).await,
        Route::Providers { package } => list::providers(call, &package).await,
        Route::Changes => list::changes(call).await,
        Route::Advisories => advisories::asked_by_query(call).await,
        Route::Unknown => call.found(Err(RegistryError::NotFound)).await,
        other => Ok(wrong_method(&other)),
    }
}

fn wrong_method(route: &Route) -> Response {
    let allowed = match route {
        Route::Publish { .. } => "PUT",
        Route::Version { .. } => "DELETE, POST",
        Route::Abandoned { .. } => "PUT, DELETE",
        Route::Downloads => "POST",
        Route::Advisories => "GET, HEAD, POST",
        _ => "GET, HEAD",
    };
    let mut response =
        ComposerError::refused(StatusCode::METHOD_NOT_ALLOWED, "method not allowed here").into_response();
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(allowed));
    response
}

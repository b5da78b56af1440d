//! The OCI distribution protocol: what docker, podman, skopeo, crane, oras, helm and containerd speak
//! (docs/adapters/oci.md).
//!
//! [`route`] says what a request asks for, [`call`] who asks and how far they may; then the file named
//! after what the client does answers: `pull`, `push`, `upload`, `blob`, `listing`, `remove`, `token`.

mod blob;
mod call;
pub mod error;
mod listing;
mod makeup;
pub mod manifest;
pub mod name;
mod pull;
mod push;
pub mod range;
mod remove;
pub mod route;
pub mod scanner;
mod token;
mod upload;

use axum::{Extension, Router, body::Body, extract::State, response::Response};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, header};
use publaryn_core::{ContentDigest, Ecosystem, PackageName, RegistryError, Version};
use publaryn_protocol::{Adapter, KeptRelease, Login, Makeup, Mount, RequestFacts, RouteTemplate};
use publaryn_registry::Registry;
use publaryn_scan::Scanner;

use crate::{
    call::{Answer, Call},
    error::OciError,
    route::Route,
};

/// Where clients look: a fixed path at the root of the host.
const ROOT_MOUNT: &str = "/v2";
/// The same for clients that can be told a path.
const ALIAS_MOUNT: &str = "/oci/v2";

/// The adapter.
#[derive(Debug, Clone, Copy, Default)]
pub struct Oci;

impl Adapter for Oci {
    fn ecosystem(&self) -> Ecosystem {
        Ecosystem::Oci
    }

    fn mounts(&self) -> Vec<Mount> {
        [ROOT_MOUNT, ALIAS_MOUNT].into_iter().map(|path| Mount { path, router: router(path) }).collect()
    }

    fn parse_name(&self, raw: &str) -> Result<PackageName, RegistryError> {
        name::parse_name(raw)
    }

    fn parse_version(&self, raw: &str) -> Result<Version, RegistryError> {
        let digest: ContentDigest =
            raw.parse().map_err(|problem| RegistryError::invalid("invalid_version", format!("{problem}")))?;
        Ok(manifest::version(digest))
    }

    fn render_error(&self, error: &RegistryError, _: &RequestFacts) -> Response {
        decorate(OciError::from(error).into_response())
    }

    /// Clients fetch a token for every image, some for every request, so right ones cost nothing (oci.md §9). A
    /// password may come with any request.
    fn login(&self, request: &RequestFacts, headers: &HeaderMap) -> Login {
        let below = [ALIAS_MOUNT, ROOT_MOUNT].iter().find_map(|mount| request.path.strip_prefix(mount));
        let scheme = headers.get(header::AUTHORIZATION).and_then(|value| value.as_bytes().get(..6));
        let has_password = scheme.is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"basic "));
        if has_password || below == Some("/token") { Login::CountsIfRefused } else { Login::No }
    }

    fn scanners(&self) -> Vec<Box<dyn Scanner>> {
        vec![Box::new(scanner::ManifestScanner), Box::new(scanner::LayerScanner)]
    }

    fn makeup(&self, release: &KeptRelease<'_>) -> Makeup {
        makeup::makeup(release)
    }
}

/// Where the request came in.
#[derive(Debug, Clone, Copy)]
struct MountPath(&'static str);

fn router(mount: &'static str) -> Router<Registry> {
    // One door: names have any number of segments, which no path pattern can tell from what follows.
    Router::new().fallback(answer).layer(Extension(MountPath(mount)))
}

async fn answer(
    State(registry): State<Registry>,
    Extension(MountPath(mount)): Extension<MountPath>,
    request: Request<Body>,
) -> Response {
    let (parts, body) = request.into_parts();
    let route = Route::parse(parts.uri.path());
    let name = route.as_ref().ok().and_then(Route::name).map(str::to_owned);
    let template = route.as_ref().ok().map(|route| RouteTemplate::Own(route.template()));
    let answer = dispatch(registry, mount, route, parts, body).await;
    let mut response = answer.unwrap_or_else(|error| error.about(name.as_deref()).into_response());
    if let Some(template) = template {
        response.extensions_mut().insert(template);
    }
    decorate(response)
}

async fn dispatch(
    registry: Registry,
    mount: &'static str,
    route: Result<Route, OciError>,
    parts: http::request::Parts,
    body: Body,
) -> Answer {
    let method = parts.method.clone();
    if let Ok(Route::Token) = route {
        return match method {
            Method::GET => token::get(registry, parts).await,
            Method::POST => token::post(registry, parts, body).await,
            _ => Err(OciError::wrong_method("GET, POST")),
        };
    }
    if parts.uri.query().is_some_and(|query| query.contains("%00")) {
        // No text that is stored here has one, and PostgreSQL takes none.
        return Err(OciError::new(StatusCode::BAD_REQUEST, "UNSUPPORTED", "a NUL character in the query"));
    }
    let call = Call::authenticate(registry, mount, parts).await?;
    let route = route?;
    call.refuse_expired(&route).await?;
    let is_read = matches!(method, Method::GET | Method::HEAD);
    match (route, method) {
        (Route::Base, Method::GET | Method::HEAD) => call.ping(),
        (Route::Base, _) => Err(OciError::wrong_method("GET, HEAD")),
        (Route::Catalog, Method::GET) => listing::catalog(&call).await,
        (Route::Catalog, _) => Err(OciError::wrong_method("GET")),
        (Route::Tags { name }, Method::GET) => listing::tags(&call, &name).await,
        (Route::Tags { .. }, _) => Err(OciError::wrong_method("GET")),
        (Route::Referrers { name, digest }, Method::GET) => listing::referrers(&call, &name, &digest).await,
        (Route::Referrers { .. }, _) => Err(OciError::wrong_method("GET")),
        (Route::Manifest { name, reference }, _) if is_read => pull::manifest(&call, &name, &reference).await,
        (Route::Manifest { name, reference }, Method::PUT) => push::manifest(&call, &name, &reference, body).await,
        (Route::Manifest { name, reference }, Method::DELETE) => remove::manifest(&call, &name, &reference).await,
        (Route::Manifest { .. }, _) => Err(OciError::wrong_method("GET, HEAD, PUT, DELETE")),
        (Route::Blob { name, digest }, _) if is_read => blob::get(&call, &name, &digest).await,
        (Route::Blob { name, digest }, Method::DELETE) => remove::blob(&call, &name, &digest).await,
        (Route::Blob { .. }, _) => Err(OciError::wrong_method("GET, HEAD, DELETE")),
        (Route::StartUpload { name }, Method::POST) => upload::start(&call, &name, body).await,
        (Route::StartUpload { .. }, _) => Err(OciError::wrong_method("POST")),
        (Route::Upload { name, id }, _) if is_read => upload::status(&call, &name, &id).await,
        (Route::Upload { name, id }, Method::PATCH) => upload::append(&call, &name, &id, body).await,
        (Route::Upload { name, id }, Method::PUT) => upload::finish(&call, &name, &id, body).await,
        (Route::Upload { name, id }, Method::DELETE) => upload::cancel(&call, &name, &id).await,
        (Route::Upload { .. }, _) => Err(OciError::wrong_method("GET, HEAD, PATCH, PUT, DELETE")),
        (Route::Token, _) => Err(OciError::wrong_method("GET, POST")),
    }
}

const API_VERSION: HeaderName = HeaderName::from_static("docker-distribution-api-version");

/// What every answer of this protocol carries.
fn decorate(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(API_VERSION, HeaderValue::from_static("registry/2.0"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

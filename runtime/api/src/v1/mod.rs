//! `/v1`, the management API (control-plane.md).
//!
//! Routes are declared with what goes in and out ([`route`]); the checks before the body are made for them
//! ([`guard`]). Handlers go on in the order of §1.2: the body ([`extract::Body`]), and only then the
//! resource. Errors are [`problem::Problem`]s.

pub mod admin;
pub mod audit;
pub mod auth;
pub mod context;
mod cookie;
pub mod csv;
mod documents;
pub mod exchange;
pub mod extract;
mod guard;
pub mod idempotency;
pub mod input;
pub mod jobs;
pub mod mfa;
pub mod namespaces;
pub mod objects;
pub mod openapi;
pub mod orgs;
pub mod packages;
pub mod page;
pub mod problem;
pub mod queues;
pub mod repositories;
pub mod route;
pub mod search;
pub mod stats;
mod stream;
pub mod stream_log;
pub mod tokens;
pub mod users;
pub mod validators;

use std::sync::{Arc, OnceLock};

use axum::{Extension, Router};
use http::{Extensions, HeaderMap, HeaderValue, StatusCode, Version, header};
use publaryn_actors::Tree;
use publaryn_core::{ArtifactKind, Ecosystem, PackageName, RegistryError};
use publaryn_protocol::Adapter;
use publaryn_registry::{Identity, Registry};
use tokio::sync::Semaphore;
use tower_http::{
    CompressionLevel,
    compression::{
        CompressionLayer,
        predicate::{Predicate, SizeAbove},
    },
};

use problem::Problem;
use route::{Described, Routes};
use stream_log::EventLog;

use crate::http::RateLimits;

/// What the routes work on; cheap to clone.
#[derive(Clone)]
pub struct ApiState {
    pub identity: Identity,
    pub registry: Registry,
    pub parse_name: NameParser,
    /// What each ecosystem knows of versions and files.
    pub adapters: Arc<[Arc<dyn Adapter>]>,
    pub settings: Arc<ApiSettings>,
    /// `None` where nothing is limited.
    pub limits: Option<RateLimits>,
    /// The supervision tree, once it stands.
    pub tree: Arc<OnceLock<Tree>>,
    /// How many event streams may still be opened (`limits.sse_streams`).
    pub streams: Arc<Semaphore>,
    /// What they tell.
    pub events: EventLog,
}

/// Turns a name from a request into one of its ecosystem; the adapters know how.
pub type NameParser = Arc<dyn Fn(Ecosystem, &str) -> Result<PackageName, RegistryError> + Send + Sync>;

/// What the operator configured, as far as these routes care.
#[derive(Debug, Clone)]
pub struct ApiSettings {
    /// `server.base_url`; its scheme and path decide how the portal's cookie is limited.
    pub base_url: String,
    /// `limits.json_body_bytes`.
    pub json_body_bytes: usize,
    /// `access.require_login`: anonymous reads are refused.
    pub require_login: bool,
    /// `limits.artifact_bytes.<kind>`, by kind.
    pub artifact_bytes: Vec<(ArtifactKind, u64)>,
}

/// The limit of kinds that no setting names.
const ARTIFACT_BYTES: u64 = 256 << 20;

impl ApiSettings {
    /// The largest file of a kind, in bytes.
    pub fn artifact_limit(&self, kind: ArtifactKind) -> u64 {
        self.artifact_bytes.iter().find(|(known, _)| *known == kind).map_or(ARTIFACT_BYTES, |(_, bytes)| *bytes)
    }
}

impl Default for ApiSettings {
    fn default() -> Self {
        Self {
            base_url: "http://127.0.0.1:3000".into(),
            json_body_bytes: 1 << 20,
            require_login: false,
            artifact_bytes: Vec::new(),
        }
    }
}

/// Everything that is declared below `/v1`, in the order of the document.
pub fn routes() -> Routes {
    auth::routes()
        .with(mfa::routes())
        .with(users::routes())
        .with(orgs::routes())
        .with(namespaces::routes())
        .with(repositories::routes())
        .with(packages::routes())
        .with(search::routes())
        .with(tokens::routes())
        .with(audit::routes())
        .with(admin::routes())
        .with(jobs::routes())
        .with(stream::routes())
        .with(queues::routes())
        .with(stats::routes())
}

/// Every route that the OpenAPI document describes.
pub fn described() -> Vec<Described> {
    let mut all = routes().into_described();
    all.extend(exchange::routes().into_described());
    all.extend(crate::http::probe_routes().into_described());
    all.extend(documents::routes().into_described());
    all
}

/// The router of `/v1`, of the token exchange and of the documents.
pub fn router(state: ApiState) -> Router {
    assemble(routes(), state.clone()).merge(assemble(exchange::routes(), state.clone())).merge(documents::router(state))
}

/// Declared routes as a service, with everything that holds for all of them.
pub fn assemble(routes: Routes, state: ApiState) -> Router {
    let base = routes.base();
    let router = routes
        .into_router()
        .fallback(async || Problem::route_not_found())
        .method_not_allowed_fallback(async || Problem::method_not_allowed())
        .layer(Extension(state.clone()))
        .layer(axum::middleware::from_fn(context::around))
        .layer(compression())
        .with_state(state);
    Router::new().nest(base, router)
}

/// JSON and CSV beyond a KiB; bytes of artifacts are sent as they are stored.
fn compression() -> CompressionLayer<impl Predicate> {
    let is_text = |_: StatusCode, _: Version, headers: &HeaderMap, extensions: &Extensions| {
        let media = headers.get(header::CONTENT_TYPE).map_or(&b""[..], HeaderValue::as_bytes);
        let is_ours = [&b"application/json"[..], b"application/problem+json", b"text/csv"];
        extensions.get::<validators::Verbatim>().is_none() && is_ours.iter().any(|ours| media.starts_with(ours))
    };
    CompressionLayer::new().quality(CompressionLevel::Fastest).compress_when(SizeAbove::new(1024).and(is_text))
}

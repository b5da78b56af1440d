//! `/v1`, the management API (control-plane.md).
//!
//! Handlers follow the order of checks of §1.2: the route, the credential ([`extract::Caller`]),
//! its scope, the body ([`extract::Body`]), and only then the resource. Errors are
//! [`problem::Problem`]s.

pub mod auth;
pub mod context;
mod cookie;
pub mod extract;
pub mod input;
pub mod namespaces;
pub mod objects;
pub mod orgs;
pub mod page;
pub mod problem;
pub mod repositories;
pub mod tokens;
pub mod users;

use std::sync::Arc;

use axum::Router;
use publaryn_core::{Ecosystem, PackageName, RegistryError};
use publaryn_registry::{Identity, Registry};

use problem::Problem;

/// What the routes work on; cheap to clone.
#[derive(Clone)]
pub struct ApiState {
    pub identity: Identity,
    pub registry: Registry,
    pub parse_name: NameParser,
    pub settings: Arc<ApiSettings>,
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
}

impl Default for ApiSettings {
    fn default() -> Self {
        Self { base_url: "http://127.0.0.1:3000".into(), json_body_bytes: 1 << 20 }
    }
}

/// The routes, to be nested at `/v1`.
pub fn router() -> Router<ApiState> {
    Router::new()
        .nest("/auth", auth::router())
        .nest("/namespaces", namespaces::router())
        .nest("/org-invitations", orgs::own_invitations())
        .nest("/orgs", orgs::router())
        .nest("/repositories", repositories::router())
        .nest("/tokens", tokens::router())
        .nest("/users", users::router())
        .fallback(async || Problem::route_not_found())
        .method_not_allowed_fallback(async || Problem::method_not_allowed())
        .layer(axum::middleware::from_fn(context::around))
}

//! Which adapter, or the control plane, a path belongs to.

use std::sync::Arc;

use axum::response::{IntoResponse, Response};
use http::Request;
use publaryn_core::RegistryError;
use publaryn_protocol::{Adapter, RequestFacts};

use crate::v1::problem::Problem;

/// The adapters by mount path, for shared layers that must answer in an ecosystem's own words.
#[derive(Clone)]
pub struct Surfaces(Arc<Vec<Surface>>);

struct Surface {
    mount: &'static str,
    label: &'static str,
    adapter: Arc<dyn Adapter>,
}

impl Surfaces {
    pub fn new(adapters: impl IntoIterator<Item = Arc<dyn Adapter>>) -> Self {
        let mut all = Vec::new();
        for adapter in adapters {
            let label = adapter.ecosystem().as_str();
            all.extend(adapter.mounts().iter().map(|m| Surface { mount: m.path, label, adapter: adapter.clone() }));
        }
        Self(Arc::new(all))
    }

    fn find(&self, path: &str) -> Option<&Surface> {
        self.0.iter().find(|s| path.strip_prefix(s.mount).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')))
    }

    /// The metric label of a path: an ecosystem, `control` or `portal`.
    pub fn label(&self, path: &str) -> &'static str {
        match self.find(path) {
            Some(surface) => surface.label,
            None if ["/v1", "/health", "/readiness", "/metrics", "/api-docs", "/_/"]
                .iter()
                .any(|p| path.starts_with(p)) =>
            {
                "control"
            }
            None => "portal",
        }
    }

    /// An error in the words of whoever answers that path.
    pub fn error<B>(&self, error: &RegistryError, request: &Request<B>) -> Response {
        match self.find(request.uri().path()) {
            Some(surface) => surface.adapter.render_error(error, &RequestFacts::of(request.method(), request.uri())),
            None => Problem::from(error).into_response(),
        }
    }

    /// The same, from parts kept before the request was given away.
    pub fn error_for(&self, error: &RegistryError, facts: &RequestFacts) -> Response {
        match self.find(&facts.path) {
            Some(surface) => surface.adapter.render_error(error, facts),
            None => Problem::from(error).into_response(),
        }
    }
}

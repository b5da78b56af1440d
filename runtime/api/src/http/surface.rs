//! Which adapter, or the control plane, a path belongs to.

use std::sync::Arc;

use axum::{
    Router,
    response::{IntoResponse, Response},
};
use http::{Uri, uri::PathAndQuery};
use publaryn_core::RegistryError;
use publaryn_protocol::{Adapter, RequestFacts, note_route};
use publaryn_registry::Registry;

use crate::v1::problem::Problem;

/// The adapters by mount path: the one table that requests, metrics and errors of shared layers go by.
#[derive(Clone)]
pub struct Surfaces(Arc<[Surface]>);

pub(super) struct Surface {
    mount: &'static str,
    pub(super) label: &'static str,
    pub(super) router: Router,
    pub(super) adapter: Arc<dyn Adapter>,
}

impl Surfaces {
    pub fn new(adapters: impl IntoIterator<Item = Arc<dyn Adapter>>, registry: &Registry) -> Self {
        let mut all = Vec::new();
        for adapter in adapters {
            let label = adapter.ecosystem().as_str();
            all.extend(adapter.mounts().into_iter().map(|mount| Surface {
                mount: mount.path,
                label,
                router: with_templates(mount.router).with_state(registry.clone()),
                adapter: adapter.clone(),
            }));
        }
        // A mount below another one wins.
        all.sort_by_key(|surface| std::cmp::Reverse(surface.mount.len()));
        Self(all.into())
    }

    /// The adapter that has everything at and below some mount, unknown routes included.
    pub(super) fn find(&self, path: &str) -> Option<&Surface> {
        self.0.iter().find(|s| path.strip_prefix(s.mount).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')))
    }

    /// The metric label of a path that no adapter has.
    pub(super) fn own_label(path: &str) -> &'static str {
        let is_control = ["/v1", "/health", "/readiness", "/metrics", "/api-docs", "/_/"];
        if is_control.iter().any(|prefix| path.starts_with(prefix)) { "control" } else { "portal" }
    }

    /// An error in the words of whoever answers that path.
    pub fn error_for(&self, error: &RegistryError, facts: &RequestFacts) -> Response {
        match self.find(&facts.path) {
            Some(surface) => surface.adapter.render_error(error, facts),
            None => Problem::from(error).into_response(),
        }
    }
}

/// An adapter without routes of its own reads paths itself, and says what they were.
pub(crate) fn with_templates<S: Clone + Send + Sync + 'static>(router: Router<S>) -> Router<S> {
    if router.has_routes() { router.layer(axum::middleware::from_fn(note_route)) } else { router }
}

impl Surface {
    /// The address as the adapter knows it: without the mount.
    pub(super) fn below_mount(&self, uri: &Uri) -> Uri {
        let full = uri.path_and_query().map_or("/", PathAndQuery::as_str);
        let rest = full.get(self.mount.len()..).unwrap_or_default();
        let rest = if rest.starts_with('/') { rest.parse() } else { format!("/{rest}").parse() };
        let mut parts = uri.clone().into_parts();
        // What is left of a valid address after some of its path is one, too.
        parts.path_and_query = rest.ok();
        Uri::from_parts(parts).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adapters_see_addresses_below_their_mount() {
        let surface =
            Surface { mount: "/npm", label: "npm", router: Router::new(), adapter: Arc::new(publaryn_npm::Npm) };
        for (whole, below) in [
            ("/npm", "/"),
            ("/npm/", "/"),
            ("/npm?write=true", "/?write=true"),
            ("/npm/@a%2fb?write=true", "/@a%2fb?write=true"),
            ("http://h:1/npm//x/../y", "http://h:1//x/../y"),
        ] {
            assert_eq!(surface.below_mount(&whole.parse().unwrap()), below.parse::<Uri>().unwrap(), "{whole}");
        }
    }
}

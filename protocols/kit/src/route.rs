//! Which route answered, as its template: what metrics and logs may say of a path.

use std::hash::{Hash, Hasher};

use axum::{
    extract::{MatchedPath, Request},
    middleware::Next,
    response::Response,
};

/// The template of a route (`/{package}/{version}`), never a raw path; travels in the response's extensions.
#[derive(Debug, Clone)]
pub enum RouteTemplate {
    /// Of an adapter that reads paths itself.
    Own(&'static str),
    Matched(MatchedPath),
    /// No route has that path.
    None,
}

impl RouteTemplate {
    pub fn as_str(&self) -> &str {
        match self {
            Self::Own(template) => template,
            Self::Matched(path) => path.as_str(),
            Self::None => "unmatched",
        }
    }
}

impl PartialEq for RouteTemplate {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for RouteTemplate {}

impl Hash for RouteTemplate {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_str().hash(state);
    }
}

/// Middleware that names the matched route in the response.
pub async fn note_route(request: Request, next: Next) -> Response {
    let matched = request.extensions().get::<MatchedPath>().cloned();
    let mut response = next.run(request).await;
    if let Some(path) = matched {
        response.extensions_mut().insert(RouteTemplate::Matched(path));
    }
    response
}

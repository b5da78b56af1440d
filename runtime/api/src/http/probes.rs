//! `/health`, `/readiness` and `/metrics` (control-plane.md §12, configuration.md §8–§9).

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use axum::{
    Json, Router,
    extract::{Request, State},
    response::{IntoResponse, Response},
    routing::get,
};
use http::{HeaderValue, Method, StatusCode, header};
use publaryn_actors::{ChildSpec, Tree};
use publaryn_auth::Presented;
use publaryn_core::{Decision, Operation, access::Resource, decide};
use publaryn_registry::{Registry, identity::Surface};
use serde_json::{Value, json};
use tokio::sync::Mutex;

use super::MetricsPage;
use crate::v1::{
    context::{self, ClientIp},
    problem::Problem,
    route::{Routes, public},
};

/// Answers of dependencies older than this are asked for anew.
const FRESH: Duration = Duration::from_secs(1);
/// A dependency that takes longer counts as down.
const PATIENCE: Duration = Duration::from_secs(1);

/// The routes of this module, for the document.
pub fn probe_routes() -> Routes {
    let readiness = "status ready|not_ready|draining, database ok|error, redis ok|error|not_configured, \
         checks {migrations s, storage s, search s, workers s}, mode embedded|external";
    Routes::below("", "operation")
        .described(
            Method::GET,
            "/health",
            public("Whether the process lives").answer(200, "status ok|error, service s, version s"),
        )
        .described(
            Method::GET,
            "/readiness",
            public("Whether it can serve, and what it depends on").answer(200, readiness).answer(503, readiness),
        )
        .described(
            Method::GET,
            "/metrics",
            public("What it measures, for Prometheus")
                .notes("Open to the machine itself, to `metrics.token` and to platform administrators.")
                .media(200, "text/plain")
                .problem(401, "unauthenticated")
                .problem(404, "not_found"),
        )
}

/// What the probes look at.
#[derive(Clone)]
pub struct Probes(Arc<Inner>);

struct Inner {
    registry: Registry,
    tree: std::sync::OnceLock<Tree>,
    draining: AtomicBool,
    has_redis: bool,
    mode: &'static str,
    metrics: Option<MetricsPage>,
    metrics_token: Option<String>,
    last: Mutex<Option<(Instant, ReadinessState)>>,
}

/// One look at the dependencies.
#[derive(Debug, Clone)]
pub struct ReadinessState {
    pub is_ready: bool,
    pub body: Value,
}

impl Probes {
    pub fn new(
        registry: Registry,
        has_redis: bool,
        mode: &'static str,
        metrics: Option<MetricsPage>,
        metrics_token: Option<String>,
    ) -> Self {
        Self(Arc::new(Inner {
            registry,
            tree: std::sync::OnceLock::new(),
            draining: AtomicBool::new(false),
            has_redis,
            mode,
            metrics,
            metrics_token,
            last: Mutex::default(),
        }))
    }

    /// The actor tree reports once it stands.
    pub fn watch(&self, tree: Tree) {
        // Set once, at start.
        let _ = self.0.tree.set(tree);
    }

    /// From now on `/readiness` answers `draining`.
    pub fn drain(&self) {
        self.0.draining.store(true, Ordering::Release);
    }

    /// The probes, with `/metrics` unless it has an address of its own.
    pub fn router(&self, has_metrics: bool) -> Router {
        let router = Router::new().route("/health", get(health)).route("/readiness", get(readiness));
        let router = if has_metrics { router.route("/metrics", get(metrics_page)) } else { router };
        finished(router).with_state(self.clone())
    }

    /// Serves `/metrics`, and nothing else, on the address of `metrics.listen`: whoever reaches it may read it.
    pub fn metrics_listener(&self, listener: tokio::net::TcpListener) -> ChildSpec {
        let (probes, listener) = (self.clone(), Arc::new(listener.into_std()));
        ChildSpec::service("metrics_listener", move |context| {
            let (probes, listener) = (probes.clone(), listener.clone());
            async move {
                let listener = listener.as_ref().as_ref().map_err(|error| error.to_string())?.try_clone()?;
                let listener = tokio::net::TcpListener::from_std(listener)?;
                let router = finished(Router::new().route("/metrics", get(open_page))).with_state(probes);
                let stopping = async move { context.stopping().await };
                Ok(axum::serve(listener, router).with_graceful_shutdown(stopping).await?)
            }
        })
    }

    async fn look(&self) -> ReadinessState {
        let mut last = self.0.last.lock().await;
        if let Some((at, state)) = &*last
            && at.elapsed() < FRESH
        {
            return state.clone();
        }
        let state = self.ask().await;
        *last = Some((Instant::now(), state.clone()));
        state
    }

    async fn ask(&self) -> ReadinessState {
        let registry = &self.0.registry;
        let within = |ok: Result<bool, tokio::time::error::Elapsed>| ok.unwrap_or(false);
        let (database, redis, storage, search) = tokio::join!(
            async { within(tokio::time::timeout(PATIENCE, async { registry.db().probe().await.is_ok() }).await) },
            async { within(tokio::time::timeout(PATIENCE, async { registry.cluster().probe().await.is_ok() }).await) },
            async { within(tokio::time::timeout(PATIENCE, async { registry.blobs().probe().await.is_ok() }).await) },
            async {
                within(tokio::time::timeout(PATIENCE, async { registry.search_index().probe().await.is_ok() }).await)
            },
        );
        let word = |ok: bool| if ok { "ok" } else { "error" };
        let tree = self.0.tree.get();
        let workers = match tree {
            Some(tree) if tree.degraded().is_empty() => "ok",
            Some(_) => "degraded",
            None => "error",
        };
        let is_ready = database && (redis || !self.0.has_redis) && tree.is_some_and(Tree::is_up);
        let body = json!({
            "status": if is_ready { "ready" } else { "not_ready" },
            "database": word(database),
            "redis": if self.0.has_redis { word(redis) } else { "not_configured" },
            "checks": {
                "migrations": "ok",
                "storage": word(storage),
                "search": word(search),
                "workers": workers,
            },
            "mode": self.0.mode,
        });
        ReadinessState { is_ready, body }
    }
}

/// The probes answer in the form of control-plane.md §1.1, too.
fn finished(router: Router<Probes>) -> Router<Probes> {
    router
        .method_not_allowed_fallback(async || Problem::method_not_allowed())
        .layer(axum::middleware::from_fn(context::around))
}

async fn health() -> Response {
    Json(json!({ "status": "ok", "service": "publaryn", "version": env!("CARGO_PKG_VERSION") })).into_response()
}

async fn readiness(State(probes): State<Probes>) -> Response {
    let mut state = probes.look().await;
    if probes.0.draining.load(Ordering::Acquire) {
        state.is_ready = false;
        state.body["status"] = "draining".into();
    }
    let status = if state.is_ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, [(header::CACHE_CONTROL, "no-store")], Json(state.body)).into_response()
}

/// Open to the machine itself, to the configured token, and to platform administrators.
async fn metrics_page(State(probes): State<Probes>, request: Request) -> Response {
    let Some(page) = &probes.0.metrics else { return Problem::not_found().into_response() };
    let headers = request.headers();
    let presented = Presented::from_header(headers.get(header::AUTHORIZATION).map(HeaderValue::as_bytes));
    let token =
        headers.get(header::AUTHORIZATION).and_then(|v| v.to_str().ok()).and_then(|v| v.strip_prefix("Bearer "));
    let by_token = match (&probes.0.metrics_token, token) {
        (Some(wanted), Some(given)) => publaryn_auth::Secret::new(wanted.as_str()).matches(given),
        _ => false,
    };
    let client = request.extensions().get::<ClientIp>();
    let local = client.is_some_and(|client| client.is_direct && client.address.is_loopback());
    let allowed = by_token || (probes.0.metrics_token.is_none() && local) || {
        match probes.0.registry.identity().authenticate(&presented, Surface::Control).await {
            Ok(who) => decide(&who, Operation::PlatformRead, Resource::Platform) == Decision::Allow,
            Err(_) => false,
        }
    };
    if !allowed {
        return Problem::from(publaryn_core::RegistryError::Unauthenticated).into_response();
    }
    page_of(&probes, page)
}

async fn open_page(State(probes): State<Probes>) -> Response {
    match &probes.0.metrics {
        Some(page) => page_of(&probes, page),
        None => Problem::not_found().into_response(),
    }
}

fn page_of(probes: &Probes, page: &MetricsPage) -> Response {
    if let Some(tree) = probes.0.tree.get() {
        tree.export_metrics();
    }
    let (used, idle) = probes.0.registry.db().pool_usage();
    metrics::gauge!("publaryn_db_pool_connections", "state" => "used").set(f64::from(used));
    metrics::gauge!("publaryn_db_pool_connections", "state" => "idle").set(f64::from(idle));
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], page.render()).into_response()
}

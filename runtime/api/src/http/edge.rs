//! What happens around every request: identity of the request, panics, reason phrase, metrics, access log.

use std::{
    convert::Infallible,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    panic::AssertUnwindSafe,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use axum::{Router, body::Body, response::Response};
use dashmap::DashMap;
use futures::FutureExt;
use http::{HeaderValue, Method, Request, StatusCode, Version, header};
use hyper::body::Incoming;
use metrics::{Counter, Gauge, Histogram};
use publaryn_core::{RegistryError, audit::ClientOrigin};
use publaryn_protocol::{PROXY_HEADERS, Reason, RequestFacts, RouteTemplate};
use tower::Service;
use tower_http::timeout::TimeoutBody;

use super::{
    RateLimits, Surfaces, TrustedProxies,
    client_address::is_forwarded,
    leftover::Lent,
    limits::{self, NativeRequest},
};
use crate::v1::{
    context::{ClientIp, REQUEST_ID, RequestId},
    problem,
};

/// The outermost service: one per connection, cheap to clone.
#[derive(Clone)]
pub struct Edge {
    shared: Arc<Shared>,
    router: Router,
    peer: IpAddr,
}

struct Shared {
    surfaces: Surfaces,
    counters: Counters,
    limits: Option<RateLimits>,
    log_access: bool,
    /// Without byte progress for this long an upload is given up.
    idle: Duration,
    trusted_proxies: TrustedProxies,
}

impl Edge {
    pub fn new(
        router: Router,
        surfaces: Surfaces,
        limits: Option<RateLimits>,
        log_access: bool,
        idle: Duration,
        trusted_proxies: TrustedProxies,
    ) -> Self {
        let counters = Counters::default();
        let shared = Shared { surfaces, counters, limits, log_access, idle, trusted_proxies };
        Self { shared: Arc::new(shared), router, peer: IpAddr::V4(Ipv4Addr::UNSPECIFIED) }
    }

    pub(crate) fn for_peer(mut self, peer: SocketAddr) -> Self {
        // A dual-stack socket shows IPv4 peers as `::ffff:…`.
        self.peer = peer.ip().to_canonical();
        self
    }
}

impl Service<Request<Incoming>> for Edge {
    type Response = Response;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Incoming>) -> Self::Future {
        let started = Instant::now();
        let id = RequestId::of(request.headers()).0;
        let client = self.shared.trusted_proxies.client(self.peer, request.headers());
        let is_direct = !is_forwarded(request.headers());
        let facts = RequestFacts::of(request.method(), request.uri());
        let version = request.version();
        let idle = self.shared.idle;
        let has_body = request.headers().contains_key(header::CONTENT_LENGTH)
            || request.headers().contains_key(header::TRANSFER_ENCODING)
            || version == Version::HTTP_2;
        let asks_first = request.headers().contains_key(header::EXPECT);
        let mut leftover = None;
        let mut request = request.map(|body| {
            if !has_body {
                return Body::empty();
            }
            // HTTP/2 ends a stream without its connection.
            if version == Version::HTTP_2 {
                return Body::new(TimeoutBody::new(idle, body));
            }
            let (lent, left) = Lent::new(body, asks_first);
            leftover = Some(left);
            Body::new(TimeoutBody::new(idle, lent))
        });
        request.extensions_mut().insert(RequestId(id.clone()));
        request.extensions_mut().insert(ClientIp { address: client, is_direct });
        let user_agent = request.headers().get(header::USER_AGENT).and_then(|value| value.to_str().ok());
        let origin = ClientOrigin::new(Some(client), user_agent);
        request.extensions_mut().insert(origin);
        if !self.shared.trusted_proxies.contain(self.peer) {
            // Links in documents follow these; only our own proxies may say where clients find us.
            PROXY_HEADERS.iter().for_each(|name| drop(request.headers_mut().remove(*name)));
        }
        let shared = self.shared.clone();
        let mut native = None;
        let (label, answer) = match shared.surfaces.find(&facts.path) {
            Some(surface) => {
                native = shared.limits.is_some().then(|| NativeRequest {
                    is_write: facts.is_write(),
                    login: surface.adapter.login(&facts, request.headers()),
                    credential: surface.adapter.credential(request.headers()).cloned(),
                    client,
                });
                *request.uri_mut() = surface.below_mount(request.uri());
                (surface.label, surface.router.clone().call(request))
            }
            None => (Surfaces::own_label(&facts.path), self.router.call(request)),
        };
        Box::pin(async move {
            let in_flight = shared.counters.in_flight(label);
            in_flight.increment(1.0);
            let limited = shared.limits.as_ref().zip(native);
            let verdict = match &limited {
                Some((limits, native)) => Some(limits.admit(native, started).await),
                None => None,
            };
            let answered = match verdict.as_ref().and_then(limits::refusal) {
                // The request and its body go unread.
                Some(error) => {
                    drop(answer);
                    Ok(Ok(shared.surfaces.error_for(&error, &facts)))
                }
                None => AssertUnwindSafe(answer).catch_unwind().await,
            };
            in_flight.decrement(1.0);
            let goes_on = match leftover {
                Some(leftover) => leftover.drain().await,
                None => true,
            };
            let mut response = match answered {
                Ok(Ok(response)) => response,
                // The panic itself was logged by the panic hook.
                Err(_) => shared.surfaces.error_for(&RegistryError::internal("a handler panicked"), &facts),
            };
            if let (Some((limits, native)), Some(verdict)) = (&limited, &verdict) {
                limits.answered(native, response.status()).await;
                limits::tell(verdict, response.headers_mut());
            }
            // Problems from outside the `/v1` routes do not name their request yet.
            response = problem::stamp(response, &RequestId(id.clone()));
            if let Ok(value) = HeaderValue::from_str(&id) {
                response.headers_mut().insert(REQUEST_ID, value);
            }
            // Adapters and routes say so themselves where they say more.
            response.headers_mut().entry(header::X_CONTENT_TYPE_OPTIONS).or_insert(HeaderValue::from_static("nosniff"));
            if !goes_on {
                response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            if version <= Version::HTTP_11
                && let Some(Reason(text)) = response.extensions_mut().remove::<Reason>()
                && let Ok(phrase) = hyper::ext::ReasonPhrase::try_from(text)
            {
                response.extensions_mut().insert(phrase);
            }
            let elapsed = started.elapsed();
            let route = response.extensions_mut().remove::<RouteTemplate>().unwrap_or(RouteTemplate::None);
            if shared.log_access {
                log_access(&id, &facts, &route, response.status(), elapsed, client);
            }
            shared.counters.count(label, &facts.method, route, response.status(), elapsed);
            Ok(response)
        })
    }
}

fn log_access(
    id: &str,
    facts: &RequestFacts,
    route: &RouteTemplate,
    status: StatusCode,
    elapsed: Duration,
    client: IpAddr,
) {
    tracing::info!(
        target: "publaryn::access",
        request_id = id,
        method = facts.method.as_str(),
        route = route.as_str(),
        path = redact(&facts.path),
        status = status.as_u16(),
        duration_ms = elapsed.as_secs_f64() * 1000.0,
        client_ip = %client,
        "request"
    );
}

/// npm's logout and token revocation carry the secret in the path.
fn redact(path: &str) -> &str {
    for secret in ["/-/user/token/", "/-/npm/v1/tokens/token/"] {
        if let Some(at) = path.find(secret) {
            return &path[..at + secret.len()];
        }
    }
    path
}

/// Metric handles by their few labels, so that counting a request costs one lookup.
#[derive(Default)]
struct Counters {
    requests: DashMap<(&'static str, Method, RouteTemplate, u16), (Counter, Histogram)>,
    in_flight: DashMap<&'static str, Gauge>,
}

impl Counters {
    fn in_flight(&self, surface: &'static str) -> Gauge {
        if let Some(gauge) = self.in_flight.get(surface) {
            return gauge.clone();
        }
        self.in_flight
            .entry(surface)
            .or_insert_with(|| metrics::gauge!("publaryn_http_in_flight", "surface" => surface))
            .clone()
    }

    fn count(
        &self,
        surface: &'static str,
        method: &Method,
        route: RouteTemplate,
        status: StatusCode,
        elapsed: Duration,
    ) {
        let key = (surface, method.clone(), route, status.as_u16());
        if let Some(handles) = self.requests.get(&key) {
            handles.0.increment(1);
            handles.1.record(elapsed);
            return;
        }
        // Unknown methods fold into one label value: whatever a client invents must not grow the metrics.
        let method = if KNOWN_METHODS.contains(method) { method.as_str().to_owned() } else { "OTHER".to_owned() };
        let counter = metrics::counter!("publaryn_http_requests_total",
            "surface" => surface, "method" => method.clone(), "route" => key.2.as_str().to_owned(),
            "status" => status.as_str().to_owned());
        let histogram = metrics::histogram!("publaryn_http_request_duration_seconds",
            "surface" => surface, "method" => method.clone(), "route" => key.2.as_str().to_owned());
        counter.increment(1);
        histogram.record(elapsed);
        if method != "OTHER" {
            self.requests.insert(key, (counter, histogram));
        }
    }
}

const KNOWN_METHODS: [Method; 7] =
    [Method::GET, Method::HEAD, Method::PUT, Method::POST, Method::DELETE, Method::PATCH, Method::OPTIONS];

#[cfg(test)]
mod tests {
    use super::redact;

    #[test]
    fn secrets_in_paths_do_not_reach_the_log() {
        assert_eq!(redact("/npm/-/user/token/pub_secret"), "/npm/-/user/token/");
        assert_eq!(redact("/npm/left-pad"), "/npm/left-pad");
    }
}

//! The routes over a scratch database, called in process.

use std::{net::IpAddr, sync::Arc};

use axum::{Router, body::Body};
use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode, header};
use http_body_util::BodyExt;
use publaryn_api::v1::{self, ApiSettings, ApiState, context::ClientIp, route::Routes};
use publaryn_auth::{HashCost, SigningSecret};
use publaryn_core::{PackageName, RegistryError, SystemClock};
use publaryn_metadata::testing::{self, TestDb};
use publaryn_registry::identity::{Identity, IdentityKeys, IdentitySettings};
use serde_json::{Value, json};
use tower::ServiceExt;

use crate::{conformance, registry};

pub const PASSWORD: &str = "correct horse battery";

pub struct App {
    router: Router,
    pub identity: Identity,
    pub state: ApiState,
    _scratch: TestDb,
    _ground: registry::Ground,
}

/// One answer, body decoded.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    /// Null where it is not JSON or packed.
    pub body: Value,
    pub bytes: Bytes,
}

pub async fn each() -> Vec<App> {
    each_with(settings()).await
}

/// The same with `access.require_login`.
pub async fn each_closed() -> Vec<App> {
    each_of(settings(), ApiSettings { require_login: true, ..api_settings() }).await
}

pub async fn each_with(identity_settings: IdentitySettings) -> Vec<App> {
    each_of(identity_settings, api_settings()).await
}

fn api_settings() -> ApiSettings {
    ApiSettings { json_body_bytes: 4096, ..ApiSettings::default() }
}

async fn each_of(identity_settings: IdentitySettings, api_settings: ApiSettings) -> Vec<App> {
    let mut all = Vec::new();
    for scratch in testing::each().await {
        let keys =
            IdentityKeys { issuer: "http://127.0.0.1:3000".into(), current: SigningSecret::generate(), previous: None };
        let identity =
            Identity::new(scratch.db.clone(), Arc::new(SystemClock), identity_settings.clone(), &keys).unwrap();
        let (registry, ground) = registry::over(&scratch.db, identity.clone()).await;
        let state = ApiState {
            identity: identity.clone(),
            registry,
            adapters: Arc::new([]),
            parse_name: Arc::new(|_, raw| {
                if raw.is_empty() || raw.contains(' ') {
                    return Err(RegistryError::invalid("invalid_name", "is not a name"));
                }
                Ok(PackageName::accepted(raw, raw, raw))
            }),
            settings: Arc::new(api_settings.clone()),
            limits: None,
            tree: Arc::default(),
            streams: Arc::new(tokio::sync::Semaphore::new(2)),
            events: Default::default(),
        };
        all.push(App { router: v1::router(state.clone()), identity, state, _scratch: scratch, _ground: ground });
    }
    all
}

pub fn settings() -> IdentitySettings {
    let hash_cost = HashCost { memory_kib: 64, iterations: 1, parallelism: 1 };
    IdentitySettings { hash_cost, ..IdentitySettings::default() }
}

/// A request being put together.
pub struct Call<'a> {
    app: &'a App,
    method: &'static str,
    path: String,
    headers: Vec<(&'static str, String)>,
    body: Option<String>,
}

impl App {
    /// The same server with a few routes more.
    pub fn serving(self, more: Routes) -> Self {
        Self { router: v1::assemble(v1::routes().with(more), self.state.clone()), ..self }
    }

    pub fn call(&self, method: &'static str, path: impl Into<String>) -> Call<'_> {
        Call { app: self, method, path: path.into(), headers: Vec::new(), body: None }
    }
    pub fn get(&self, path: impl Into<String>) -> Call<'_> {
        self.call("GET", path)
    }
    pub fn post(&self, path: impl Into<String>, body: Value) -> Call<'_> {
        self.call("POST", path).json(body)
    }

    pub async fn register(&self, name: &str) {
        let body = json!({"username": name, "email": format!("{name}@example.com"), "password": PASSWORD});
        self.post("/v1/auth/register", body).expect(201).await;
    }

    /// Logs in and gives the whole answer.
    pub async fn login(&self, name: &str) -> Value {
        self.post("/v1/auth/login", json!({"username_or_email": name, "password": PASSWORD})).expect(200).await.body
    }

    /// A registered person's access token.
    pub async fn someone(&self, name: &str) -> String {
        self.register(name).await;
        text(&self.login(name).await["token"])
    }

    /// An API token with these scopes.
    pub async fn token(&self, session: &str, scopes: &[&str]) -> String {
        let body = json!({"name": "test", "scopes": scopes});
        text(&self.post("/v1/tokens", body).bearer(session).expect(201).await.body["token"])
    }
}

impl Call<'_> {
    pub fn json(mut self, body: Value) -> Self {
        self.body = Some(body.to_string());
        self.header("content-type", "application/json")
    }
    pub fn raw(mut self, content_type: &str, body: &str) -> Self {
        self.body = Some(body.to_owned());
        self.header("content-type", content_type)
    }
    pub fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
    pub fn bearer(self, token: &str) -> Self {
        self.header("authorization", format!("Bearer {token}"))
    }

    /// Sends it and holds the answer against the document.
    pub async fn send(self) -> Answer {
        let (method, path) = (self.method, self.path.clone());
        let answer = self.dispatch().await;
        conformance::check(method, &path, answer.status, &answer.headers, &answer.body);
        answer
    }

    /// For addresses that the document does not describe.
    pub async fn send_unchecked(self, status: u16) -> Answer {
        let name = format!("{} {}", self.method, self.path);
        let answer = self.dispatch().await;
        assert_eq!(answer.status.as_u16(), status, "{name}");
        answer
    }

    /// Sends it without a look at the document.
    pub async fn dispatch(self) -> Answer {
        let mut request = Request::builder().method(self.method).uri(&self.path);
        for (name, value) in &self.headers {
            request = request.header(*name, value);
        }
        let mut request = request.body(self.body.map_or_else(Body::empty, Body::from)).unwrap();
        request.extensions_mut().insert(ClientIp { address: IpAddr::from([192, 0, 2, 1]), is_direct: true });
        let response = self.app.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        let is_json = parts.headers.get(header::CONTENT_TYPE).is_some_and(|v| v.as_bytes().ends_with(b"json"));
        let is_plain = parts.headers.get(header::CONTENT_ENCODING).is_none();
        let body = if is_json && is_plain && !bytes.is_empty() {
            serde_json::from_slice(&bytes).unwrap()
        } else {
            Value::Null
        };
        Answer { status: parts.status, headers: parts.headers, body, bytes }
    }

    pub async fn expect(self, status: u16) -> Answer {
        let name = format!("{} {}", self.method, self.path);
        let answer = self.send().await;
        assert_eq!(answer.status.as_u16(), status, "{name}: {}", answer.body);
        answer
    }

    /// Expects a problem document, checks its form, and gives it.
    pub async fn problem(self, status: u16, code: &str) -> Value {
        let answer = self.expect(status).await;
        let body = &answer.body;
        assert_eq!(answer.headers[header::CONTENT_TYPE], "application/problem+json");
        assert_eq!(body["code"], code, "{body}");
        assert_eq!(body["type"], format!("urn:publaryn:problem:{code}"));
        assert_eq!(body["status"], status);
        assert_eq!(body["error"], body["detail"]);
        assert!(!text(&body["detail"]).is_empty() && !text(&body["title"]).is_empty());
        assert_eq!(body["request_id"], answer.headers["x-request-id"].to_str().unwrap());
        if status == 401 {
            let challenge = answer.headers[header::WWW_AUTHENTICATE].to_str().unwrap();
            assert!(challenge.starts_with("Bearer realm=\"publaryn\", error=\""), "{challenge}");
        }
        answer.body
    }
}

pub fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("expected text, got {value}")).to_owned()
}

/// The pointers of a 422, in order.
pub fn pointers(problem: &Value) -> Vec<String> {
    problem["errors"].as_array().expect("errors").iter().map(|error| text(&error["pointer"])).collect()
}

/// The names of an object's members, sorted.
pub fn members(object: &Value) -> Vec<&str> {
    let mut names: Vec<&str> = object.as_object().expect("an object").keys().map(String::as_str).collect();
    names.sort_unstable();
    names
}

//! One request on its way through this adapter: who asks, for what, and how the answer is sent.

use std::sync::{Arc, Mutex, PoisonError};

use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use http::{HeaderMap, HeaderValue, StatusCode, header, request::Parts};
use publaryn_core::{
    Ecosystem, Principal, RegistryError, Timestamp, TokenKind, audit::ClientOrigin, principal::Credential,
};
use publaryn_protocol::BaseUrl;
use publaryn_registry::{PackageView, Registry, identity::CurrentCredential};
use serde_json::{Map, Value};
use tokio::sync::OnceCell;

use crate::{
    body,
    error::{NPM_NOTICE, NpmError},
    name,
    signature::RegistryKey,
};

/// Where this protocol answers.
pub(crate) const MOUNT: &str = "/npm";

/// Largest JSON body of account and settings routes, in bytes.
const SMALL_BODY_BYTES: usize = 64 << 10;

/// From when on people are told that their token ends.
const EXPIRES_SOON_DAYS: u64 = 3;

pub(crate) type Answer = Result<Response, NpmError>;

/// What all requests share.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    key: OnceCell<Arc<RegistryKey>>,
}

impl Shared {
    /// The key releases are signed with; made once per instance, kept by the registry.
    pub async fn key(&self, registry: &Registry) -> Result<Arc<RegistryKey>, RegistryError> {
        let load = async {
            let pem = registry.instance_secret("npm_signing_key", RegistryKey::generate_pem).await?;
            RegistryKey::from_pem(&pem).map(Arc::new).map_err(RegistryError::internal)
        };
        self.key.get_or_try_init(|| load).await.cloned()
    }
}

/// A request whose caller is known.
pub(crate) struct Call {
    pub registry: Registry,
    pub shared: Arc<Shared>,
    pub who: Principal,
    pub parts: Parts,
    body: Mutex<Body>,
}

impl Call {
    pub fn new(registry: Registry, shared: Arc<Shared>, who: Principal, parts: Parts, body: Body) -> Self {
        Self { registry, shared, who, parts, body: Mutex::new(body) }
    }

    /// The body; empty when it was taken before.
    pub fn take_body(&self) -> Body {
        std::mem::replace(&mut *self.body.lock().unwrap_or_else(PoisonError::into_inner), Body::empty())
    }

    pub fn headers(&self) -> &HeaderMap {
        &self.parts.headers
    }

    /// The address of this registry as the client wrote it, without trailing slash.
    pub fn base(&self) -> String {
        format!("{}{MOUNT}", BaseUrl::of(&self.registry, self.headers()).as_str())
    }

    /// The address of the portal.
    pub fn portal(&self) -> BaseUrl {
        BaseUrl::of(&self.registry, self.headers())
    }

    pub fn origin(&self) -> ClientOrigin {
        match self.parts.extensions.get::<ClientOrigin>() {
            Some(origin) => origin.clone(),
            None => ClientOrigin::new(None, self.headers().get(header::USER_AGENT).and_then(|v| v.to_str().ok())),
        }
    }

    /// The package of that name, if the caller may read it.
    pub async fn package(&self, name: &str) -> Result<PackageView, RegistryError> {
        let found = match name::is_possible(name) {
            true => self.registry.package(&self.who, Ecosystem::Npm, name).await,
            false => Err(RegistryError::NotFound),
        };
        match found {
            Err(RegistryError::NotFound) => Err(self.registry.miss(&self.who, Ecosystem::Npm, false).await),
            other => other,
        }
    }

    /// The one-time password of a second factor; npm sends it when it was asked for one.
    pub fn one_time_password(&self) -> Option<&str> {
        self.headers().get("npm-otp")?.to_str().ok().map(str::trim).filter(|code| !code.is_empty())
    }

    /// What the holder of a lasting token should hear on the commands they run by hand: that it ends within days.
    pub async fn expiry_notice(&self) -> Option<String> {
        let Credential::Token(_, TokenKind::Personal | TokenKind::Package | TokenKind::Repository) =
            self.who.credential
        else {
            return None;
        };
        // A courtesy: not knowing is no reason to fail what was done.
        let Ok(CurrentCredential::Token(listed)) = self.registry.identity().current_credential(&self.who).await else {
            return None;
        };
        let left = listed.token.expires_at?.since(Timestamp::now());
        let days = left.as_secs() / 86_400;
        match days {
            0 => Some("your token expires within a day; log in again to get a new one".to_owned()),
            1..=EXPIRES_SOON_DAYS => Some(format!("your token expires in {days} days; log in again to get a new one")),
            _ => None,
        }
    }

    /// # Errors
    /// 401 for callers without a credential that holds.
    pub fn require_login(&self) -> Result<(), RegistryError> {
        if self.who.is_anonymous() { Err(self.registry.broken_credential(&self.who)) } else { Ok(()) }
    }

    /// The small JSON object in the body.
    pub async fn object(&self) -> Result<Map<String, Value>, NpmError> {
        body::read_object(&self.parts.headers, self.take_body(), SMALL_BODY_BYTES).await
    }

    /// The value of a query parameter, decoded.
    pub fn query(&self, key: &str) -> Option<String> {
        form_value(self.parts.uri.query().unwrap_or_default(), key)
    }
}

/// The first value of that name in `a=1&b=2`, decoded.
pub(crate) fn form_value(form: &str, key: &str) -> Option<String> {
    form.split('&').find_map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decode_query(name) == key).then(|| decode_query(value))
    })
}

fn decode_query(text: &str) -> String {
    percent_encoding::percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned()
}

/// A JSON answer that nobody keeps.
pub(crate) fn json(status: StatusCode, body: &Value) -> Response {
    let mut response = (status, body.to_string()).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// The same answer with a text that npm prints.
pub(crate) fn noticed(mut response: Response, notice: Option<String>) -> Response {
    if let Some(value) = notice.and_then(|text| HeaderValue::from_str(&text).ok()) {
        response.headers_mut().insert(NPM_NOTICE, value);
    }
    response
}

pub(crate) fn ok(body: Value) -> Answer {
    Ok(json(StatusCode::OK, &body))
}

pub(crate) fn created(body: Value) -> Answer {
    Ok(json(StatusCode::CREATED, &body))
}

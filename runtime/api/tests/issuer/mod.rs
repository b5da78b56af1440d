//! An issuer of identity tokens on loopback: what GitHub Actions or GitLab are to a registry.

use std::{
    process::Command,
    sync::{Arc, Mutex},
};

use axum::{
    Json, Router,
    extract::{Query, State},
    http::{HeaderMap, StatusCode},
    routing::get,
};
use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine as _};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use p256::{
    SecretKey,
    elliptic_curve::sec1::ToEncodedPoint,
    pkcs8::{EncodePrivateKey, LineEnding},
};
use publaryn_core::Timestamp;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

/// What a job shows to get an identity token, as in `ACTIONS_ID_TOKEN_REQUEST_TOKEN`.
pub const REQUEST_TOKEN: &str = "let-me-in";

/// A running issuer; ends when dropped.
pub struct Issuer {
    url: String,
    state: Arc<Mutex<Inner>>,
    serving: JoinHandle<()>,
}

struct Inner {
    url: String,
    key: Key,
    /// Served besides the current one.
    published: Vec<Value>,
    /// Answers with a failure while set.
    is_away: bool,
    key_requests: usize,
    /// What jobs get besides the audience they ask for.
    job: Value,
}

struct Key {
    id: String,
    algorithm: Algorithm,
    signing: EncodingKey,
    jwk: Value,
}

impl Key {
    /// ES256.
    fn draw() -> Self {
        let seed: Vec<u8> = [uuid::Uuid::new_v4(), uuid::Uuid::new_v4()].iter().flat_map(|id| *id.as_bytes()).collect();
        let secret = SecretKey::from_slice(&seed).expect("nearly every number is a key");
        let id = uuid::Uuid::new_v4().simple().to_string();
        let point = secret.public_key().to_encoded_point(false);
        let [x, y] = [point.x(), point.y()].map(|part| BASE64_URL_SAFE_NO_PAD.encode(part.expect("uncompressed")));
        let pem = secret.to_pkcs8_pem(LineEnding::LF).expect("a key has a text form");
        Self {
            jwk: json!({ "kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": id, "x": x, "y": y }),
            signing: EncodingKey::from_ec_pem(pem.as_bytes()).expect("a key just made"),
            algorithm: Algorithm::ES256,
            id,
        }
    }

    fn draw_rsa() -> Self {
        let openssl = |args: &[&str], input: &str| {
            use std::io::Write;
            let mut child = Command::new("openssl")
                .args(args)
                .stdin(std::process::Stdio::piped())
                .stdout(std::process::Stdio::piped())
                .stderr(std::process::Stdio::null())
                .spawn()
                .expect("openssl is installed");
            child.stdin.take().expect("piped").write_all(input.as_bytes()).expect("it reads");
            let out = child.wait_with_output().expect("it ends");
            assert!(out.status.success(), "openssl {args:?}");
            String::from_utf8(out.stdout).expect("text")
        };
        let pem = openssl(&["genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"], "");
        let modulus = openssl(&["rsa", "-noout", "-modulus"], &pem);
        let modulus = modulus.trim().strip_prefix("Modulus=").expect("the modulus");
        let modulus = BASE64_URL_SAFE_NO_PAD.encode(hex::decode(modulus.to_lowercase()).expect("hex"));
        let id = uuid::Uuid::new_v4().simple().to_string();
        Self {
            jwk: json!({ "kty": "RSA", "use": "sig", "alg": "RS256", "kid": id, "n": modulus, "e": "AQAB" }),
            signing: EncodingKey::from_rsa_pem(pem.as_bytes()).expect("a key just made"),
            algorithm: Algorithm::RS256,
            id,
        }
    }
}

impl Issuer {
    pub async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let url = format!("http://{}", listener.local_addr().expect("bound"));
        let inner = Inner {
            url: url.clone(),
            key: Key::draw(),
            published: vec![json!({ "kty": "OKP", "kid": "of another kind", "crv": "Ed25519", "x": "AA" })],
            is_away: false,
            key_requests: 0,
            job: json!({}),
        };
        let state = Arc::new(Mutex::new(inner));
        let app = Router::new()
            .route("/.well-known/openid-configuration", get(discovery))
            .route("/keys", get(keys))
            .route("/job-token", get(job_token))
            .with_state(state.clone());
        let serving = tokio::spawn(async move { axum::serve(listener, app).await.expect("it serves") });
        Self { url, state, serving }
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    fn with<T>(&self, change: impl FnOnce(&mut Inner) -> T) -> T {
        change(&mut self.state.lock().expect("nobody panics with it"))
    }

    /// A new key; the old one is published no more.
    pub fn rotate(&self) {
        self.with(|inner| inner.key = Key::draw());
    }
    /// Signs with RS256 from now on.
    pub fn rotate_to_rsa(&self) {
        let key = Key::draw_rsa();
        self.with(|inner| inner.key = key);
    }
    pub fn set_away(&self, is_away: bool) {
        self.with(|inner| inner.is_away = is_away);
    }
    /// How often somebody asked for the keys.
    pub fn key_requests(&self) -> usize {
        self.with(|inner| inner.key_requests)
    }
    /// What the token of a job says that asks for one.
    pub fn set_job(&self, claims: Value) {
        self.with(|inner| inner.job = claims);
    }
    /// Where a job asks, as in `ACTIONS_ID_TOKEN_REQUEST_URL`.
    pub fn job_url(&self) -> String {
        format!("{}/job-token?version=1", self.url)
    }

    /// A token with these claims besides the usual ones; `null` takes one away.
    pub fn sign(&self, claims: &Value) -> String {
        self.with(|inner| inner.sign(claims))
    }

    /// The same, with another header and key: what a forger would send.
    pub fn forge(&self, algorithm: Algorithm, secret: &[u8], claims: &Value) -> String {
        self.with(|inner| {
            let mut header = Header::new(algorithm);
            header.kid = Some(inner.key.id.clone());
            jsonwebtoken::encode(&header, &inner.claims(claims), &EncodingKey::from_secret(secret)).expect("signed")
        })
    }
}

impl Drop for Issuer {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Inner {
    fn claims(&self, more: &Value) -> Value {
        let now = Timestamp::now().as_micros() / 1_000_000;
        let mut claims = json!({
            "iss": self.url, "sub": "job", "jti": uuid::Uuid::new_v4().to_string(),
            "iat": now, "nbf": now, "exp": now + 300,
        });
        for (name, value) in more.as_object().expect("an object") {
            claims[name] = value.clone();
        }
        let Value::Object(claims) = claims else { unreachable!("made as one") };
        claims.into_iter().filter(|(_, value)| !value.is_null()).collect()
    }

    fn sign(&self, claims: &Value) -> String {
        let mut header = Header::new(self.key.algorithm);
        header.kid = Some(self.key.id.clone());
        jsonwebtoken::encode(&header, &self.claims(claims), &self.key.signing).expect("signed")
    }
}

type Shared = State<Arc<Mutex<Inner>>>;

async fn discovery(State(state): Shared) -> Result<Json<Value>, StatusCode> {
    let inner = state.lock().expect("nobody panics with it");
    if inner.is_away {
        return Err(StatusCode::BAD_GATEWAY);
    }
    Ok(Json(json!({ "issuer": inner.url, "jwks_uri": format!("{}/keys", inner.url) })))
}

async fn keys(State(state): Shared) -> Result<Json<Value>, StatusCode> {
    let mut inner = state.lock().expect("nobody panics with it");
    inner.key_requests += 1;
    if inner.is_away {
        return Err(StatusCode::BAD_GATEWAY);
    }
    let all: Vec<&Value> = inner.published.iter().chain([&inner.key.jwk]).collect();
    Ok(Json(json!({ "keys": all })))
}

/// As GitHub's runners have it.
async fn job_token(
    State(state): Shared,
    Query(asked): Query<Vec<(String, String)>>,
    headers: HeaderMap,
) -> Result<Json<Value>, StatusCode> {
    let inner = state.lock().expect("nobody panics with it");
    let shown = headers.get("authorization").and_then(|value| value.to_str().ok());
    if shown != Some(&format!("Bearer {REQUEST_TOKEN}")) {
        return Err(StatusCode::UNAUTHORIZED);
    }
    let audience = asked.iter().find(|(name, _)| name == "audience").map(|(_, value)| value.as_str());
    let mut claims = inner.job.clone();
    claims["aud"] = json!(audience.ok_or(StatusCode::BAD_REQUEST)?);
    Ok(Json(json!({ "value": inner.sign(&claims) })))
}

/// Claims of a job on GitHub.
pub fn github(repository: &str, file: &str, at: &str) -> Value {
    let owner = repository.split_once('/').expect("owner/name").0;
    json!({
        "sub": format!("repo:{repository}:ref:{at}"),
        "repository": repository, "repository_owner": owner, "repository_owner_id": "4711",
        "job_workflow_ref": format!("{repository}/.github/workflows/{file}@{at}"),
        "ref": at, "sha": "0123456789abcdef", "event_name": "push", "run_id": "42",
    })
}

/// Claims of a job on GitLab; `host` is the issuer without its scheme.
pub fn gitlab(host: &str, project: &str, file: &str, at: &str) -> Value {
    json!({
        "sub": format!("project_path:{project}:ref_type:branch:ref:main"),
        "project_path": project, "namespace_id": "7",
        "ci_config_ref_uri": format!("{host}/{project}//{file}@{at}"),
        "ref_path": at, "sha": "0123456789abcdef", "job_id": "42",
    })
}

//! `/_/oidc/*`: CI jobs exchange an identity token for one that publishes (pypi.md §6).
//!
//! Not below `/v1`: the clients build these addresses themselves, from the host alone. Their errors have a form
//! of their own, which pip's and uv's publishers read member by member.

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use http::{HeaderValue, StatusCode, header};
use publaryn_auth::Token;
use publaryn_core::{Ecosystem, RegistryError, audit::AuditAction};
use publaryn_registry::trusted_publishing::{Audience, Exchange, ExchangeError};
use serde::Deserialize;
use serde_json::json;

use super::{
    ApiState,
    extract::{Body, Origin},
    problem::Problem,
    route::{Routes, public},
};

/// Where it answers.
pub const BASE: &str = "/_/oidc";

const FAILURE: &str = "message s, errors [{code s, description s}]";

pub fn routes() -> Routes {
    Routes::below(BASE, "trusted publishing")
        .get(
            "/audience",
            audience,
            public("Whom identity tokens must be made for")
                .always_open()
                .answer(200, "audience s")
                .answer(403, "message s")
                .problem(429, "rate_limited"),
        )
        .post(
            "/mint-token",
            mint,
            public("Exchanges the identity token of a CI job for one that publishes a package")
                .always_open()
                .holds_secrets()
                .notes("`package` is needed only where several packages of the ecosystem trust the same workload.")
                .body("token s, ecosystem Ecosystem?=pypi, package s?")
                .answer(200, "success b, token s, expires i")
                .answer(422, FAILURE)
                .answer(429, FAILURE)
                .answer(500, FAILURE)
                .answer(503, FAILURE)
                .when_limited(limited)
                .audit(AuditAction::TokenCreate),
        )
        .post(
            "/burn-token",
            burn,
            public("Ends a token that came from an exchange; unknown ones are no error")
                .always_open()
                .holds_secrets()
                .body("token s")
                .answer(200, "success b")
                .answer(422, FAILURE)
                .answer(429, FAILURE)
                .answer(500, FAILURE)
                .answer(503, FAILURE)
                .when_limited(limited)
                .audit(AuditAction::TokenRevoke),
        )
}

fn limited(error: RegistryError) -> Response {
    Failure(error.into()).into_response()
}

async fn audience(State(state): State<ApiState>) -> Response {
    match state.registry.oidc_audience(Audience::Registry) {
        Some(audience) => Json(json!({ "audience": audience })).into_response(),
        None => {
            (StatusCode::FORBIDDEN, Json(json!({ "message": ExchangeError::NotEnabled.to_string() }))).into_response()
        }
    }
}

#[derive(Deserialize)]
struct MintRequest {
    token: String,
    ecosystem: Option<String>,
    package: Option<String>,
}

async fn mint(State(state): State<ApiState>, Origin(origin): Origin, body: Body) -> Result<Response, Failure> {
    let asked: MintRequest = read(body).await?;
    let bad = |text: &str| Failure(ExchangeError::Payload(text.into()));
    let ecosystem = match asked.ecosystem.as_deref() {
        None => Ecosystem::Pypi,
        Some(word) => word.parse().map_err(|_| bad("`ecosystem` is not one of this registry"))?,
    };
    let package = match asked.package.as_deref() {
        None => None,
        Some(name) => Some((state.parse_name)(ecosystem, name).map_err(|_| bad("`package` is not a name"))?),
    };
    let exchange = Exchange { token: &asked.token, audience: Audience::Registry, ecosystem, package };
    let minted = state.registry.exchange(exchange, &origin).await.map_err(Failure)?;
    let expires = minted.expires_at.as_micros().div_euclid(1_000_000);
    Ok(Json(json!({ "success": true, "token": minted.token.expose(), "expires": expires })).into_response())
}

#[derive(Deserialize)]
struct BurnRequest {
    token: String,
}

async fn burn(State(state): State<ApiState>, Origin(origin): Origin, body: Body) -> Result<Response, Failure> {
    let asked: BurnRequest = read(body).await?;
    // What is no token of ours is as good as burnt.
    if let Ok(token) = Token::parse(&asked.token) {
        state.registry.burn(&token, &origin).await.map_err(|error| Failure(error.into()))?;
    }
    Ok(Json(json!({ "success": true })).into_response())
}

/// The body, whatever type it says it is of: the publishers of several ecosystems send it.
async fn read<T: serde::de::DeserializeOwned>(body: Body) -> Result<T, Failure> {
    let bad = |text: &str| Failure(ExchangeError::Payload(text.into()));
    let bytes = body.bytes().await.map_err(|_| bad("the body cannot be read or is too large"))?;
    serde_json::from_slice(&bytes).map_err(|_| bad("the body must be a JSON object with the text `token`"))
}

/// A refusal in the form of this exchange.
struct Failure(ExchangeError);

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let Self(error) = self;
        let status = match &error {
            ExchangeError::IssuerAway => StatusCode::SERVICE_UNAVAILABLE,
            // Logs what it was, and knows a failure of ours from a service that is away.
            ExchangeError::Registry(cause) => Problem::from(cause).status(),
            _ => StatusCode::UNPROCESSABLE_ENTITY,
        };
        let description = match &error {
            ExchangeError::Registry(RegistryError::Internal(_)) => "internal error".to_owned(),
            other => other.to_string(),
        };
        let body = json!({
            "message": "Token request failed",
            "errors": [{ "code": error.code(), "description": description }],
        });
        let mut response = (status, Json(body)).into_response();
        let retry_after = match &error {
            ExchangeError::IssuerAway => Some(5),
            ExchangeError::Registry(cause) => cause.retry_after_seconds(),
            _ => None,
        };
        if let Some(seconds) = retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

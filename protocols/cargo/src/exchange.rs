//! Trusted publishing: the login action of the public registry, pointed here, exchanges a CI job's identity token
//! for one that publishes one crate.

use axum::{
    body::Body,
    extract::State,
    response::{IntoResponse, Response},
};
use http::{Request, StatusCode, header};
use publaryn_auth::{Offered, Presented};
use publaryn_core::{Ecosystem, RegistryError, audit::ClientOrigin};
use publaryn_protocol::read_body;
use publaryn_registry::{
    Registry,
    trusted_publishing::{Audience, Exchange, ExchangeError},
};
use serde::Deserialize;
use serde_json::json;

use crate::{
    call::{Answer, json as answer_json},
    error::CargoError,
    name::parse_name,
};

/// An identity token with a little around it.
const MAX_BODY_BYTES: u64 = 32 << 10;

#[derive(Deserialize)]
struct Asked {
    jwt: String,
    /// Ours: which of several crates that trust the workload.
    #[serde(rename = "crate")]
    krate: Option<String>,
}

/// The route, below the mount.
pub(crate) const TOKENS: &str = "/api/v1/trusted_publishing/tokens";

/// `POST /api/v1/trusted_publishing/tokens`. A credential is neither needed nor looked at.
pub(crate) async fn exchange(State(registry): State<Registry>, request: Request<Body>) -> Response {
    grant(&registry, request).await.unwrap_or_else(CargoError::into_response)
}

async fn grant(registry: &Registry, request: Request<Body>) -> Answer {
    let (parts, body) = request.into_parts();
    let origin = parts.extensions.get::<ClientOrigin>().cloned().unwrap_or_default();
    let bytes = read_body(body, MAX_BODY_BYTES).await?;
    let asked: Asked = serde_json::from_slice(&bytes)
        .map_err(|_| RegistryError::malformed("the body must be a JSON object with the text `jwt`"))?;
    let package = asked.krate.as_deref().map(parse_name).transpose()?;
    let exchange = Exchange { token: &asked.jwt, audience: Audience::Registry, ecosystem: Ecosystem::Cargo, package };
    let minted = registry.exchange(exchange, &origin).await.map_err(refusal)?;
    Ok(answer_json(&json!({ "token": minted.token.expose() })))
}

fn refusal(error: ExchangeError) -> CargoError {
    let status = match error {
        ExchangeError::Registry(error) => return error.into(),
        ExchangeError::IssuerAway => StatusCode::SERVICE_UNAVAILABLE,
        ExchangeError::NotEnabled => StatusCode::NOT_FOUND,
        ExchangeError::Publisher(_) | ExchangeError::Pending(_) => StatusCode::FORBIDDEN,
        ExchangeError::Payload(_) | ExchangeError::Token(_) | ExchangeError::Reused => StatusCode::BAD_REQUEST,
    };
    CargoError::refused(status, error.to_string())
}

/// `DELETE /api/v1/trusted_publishing/tokens` with the token to end.
pub(crate) async fn burn(State(registry): State<Registry>, request: Request<Body>) -> Response {
    let presented = request.headers().get(header::AUTHORIZATION).map(|value| value.as_bytes());
    let (Presented::Bearer(Offered::ApiToken(token)) | Presented::Raw(Offered::ApiToken(token))) =
        Presented::from_header(presented)
    else {
        return CargoError::from(RegistryError::Unauthenticated).into_response();
    };
    let origin = request.extensions().get::<ClientOrigin>().cloned().unwrap_or_default();
    match registry.burn(&token, &origin).await {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err(error) => CargoError::from(error).into_response(),
    }
}

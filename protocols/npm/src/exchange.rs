//! Trusted publishing: npm and pnpm exchange a CI job's identity token for one that publishes one package.

use axum::body::Body;
use http::{Request, StatusCode, Uri, header};
use publaryn_auth::{Offered, Presented};
use publaryn_core::Ecosystem;
use publaryn_registry::trusted_publishing::{Audience, Exchange, ExchangeError};
use serde_json::json;

use crate::{
    call::{Answer, Call, created},
    error::NpmError,
    name,
};

/// Where npm asks, whatever path its registry has.
pub(crate) const ROOT_MOUNT: &str = "/-/npm/v1/oidc";

/// The request with its address as it is below the main mount.
pub(crate) fn below(prefix: &str, mut request: Request<Body>) -> Request<Body> {
    if !prefix.is_empty()
        && let Some(rest) = request.uri().path_and_query()
        && let Ok(uri) = format!("{prefix}{rest}").parse::<Uri>()
    {
        *request.uri_mut() = uri;
    }
    request
}

/// `POST /-/npm/v1/oidc/token/exchange/package/{package}` with the identity token as bearer.
pub(crate) async fn exchange(call: &Call, package: &str) -> Answer {
    let presented = call.headers().get(header::AUTHORIZATION).map(|value| value.as_bytes());
    let Presented::Bearer(Offered::Jwt(token)) = Presented::from_header(presented) else {
        return Err(refused(StatusCode::UNAUTHORIZED, "send the identity token as bearer"));
    };
    let package = name::parse_name(package).map_err(|error| NpmError::bad_request(error.to_string()))?;
    let asked =
        Exchange { token: token.expose(), audience: Audience::Npm, ecosystem: Ecosystem::Npm, package: Some(package) };
    let minted = call.registry.exchange(asked, &call.origin()).await.map_err(refusal)?;
    created(json!({
        "token": minted.token.expose(),
        "token_type": "oidc",
        "created": minted.created_at,
        "expires": minted.expires_at,
    }))
}

fn refusal(error: ExchangeError) -> NpmError {
    match error {
        ExchangeError::Registry(error) => error.into(),
        ExchangeError::IssuerAway => refused(StatusCode::SERVICE_UNAVAILABLE, &error.to_string()),
        ExchangeError::Publisher(_) | ExchangeError::Pending(_) | ExchangeError::NotEnabled => {
            refused(StatusCode::NOT_FOUND, &error.to_string())
        }
        ExchangeError::Payload(_) | ExchangeError::Token(_) | ExchangeError::Reused => {
            refused(StatusCode::UNAUTHORIZED, &error.to_string())
        }
    }
}

fn refused(status: StatusCode, message: &str) -> NpmError {
    NpmError::refused(status, message)
}

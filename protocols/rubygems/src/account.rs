//! `/api/v1/api_key`: what `gem signin` calls, with a user name and a password in Basic authentication.

use axum::body::Body;
use base64::{Engine, prelude::BASE64_STANDARD};
use http::{HeaderMap, HeaderValue, Method, header};
use publaryn_auth::{Offered, Presented};
use publaryn_core::{RegistryError, Scope, ScopeSet, TokenKind, error::CredentialProblem};
use publaryn_registry::identity::{IdentityError, Lifetime, PasswordProof, RequestedBinding, TokenRequest};
use serde_json::json;

use crate::{
    call::{Answer, Call, Fields, json, text, yaml},
    error::GemError,
    route::Format,
};

const MAX_NAME_CHARS: usize = 60;
/// Of keys whose clients name none.
const DEFAULT_NAME: &str = "gem signin";

/// `POST`: a token for the scopes asked for.
pub(crate) async fn sign_in(call: &Call, body: Body) -> Answer {
    let form = call.form(body).await?;
    let name: String = form.get("name").unwrap_or(DEFAULT_NAME).chars().take(MAX_NAME_CHARS).collect();
    match exchange(call, &name, scopes(&form)).await? {
        Some(key) => Ok(text(key)),
        None if matches!(presented(call.headers()), Presented::Basic { secret: Offered::ApiToken(_), .. }) => {
            shown(&sent_key(call)?, None)
        }
        None => Err(denied()),
    }
}

/// `GET`: the key that was sent. Clients of long ago sign in by it, too, with a password, for a key that may do
/// everything.
pub(crate) async fn key(call: &Call, format: Option<Format>) -> Answer {
    if *call.method() == Method::GET {
        let all = [Scope::PackagesPublish, Scope::PackagesWrite, Scope::PackagesRead].into_iter().collect();
        if let Some(key) = exchange(call, DEFAULT_NAME, all).await? {
            return shown(&key, format);
        }
    }
    shown(&sent_key(call)?, format)
}

/// Whether a request offers a password.
pub(crate) fn has_password(headers: &HeaderMap) -> bool {
    matches!(presented(headers), Presented::Basic { secret: Offered::Other(_), .. })
}

fn presented(headers: &HeaderMap) -> Presented {
    Presented::from_header(headers.get(header::AUTHORIZATION).map(HeaderValue::as_bytes))
}

/// A new token for whoever offers a password or a session, which ends too soon to be kept. `None` where neither is
/// offered.
async fn exchange(call: &Call, name: &str, scopes: ScopeSet) -> Result<Option<String>, GemError> {
    let identity = call.registry.identity();
    let issued = match presented(call.headers()) {
        Presented::Basic { secret: Offered::Other(password), username } if !password.expose().is_empty() => {
            let proof = PasswordProof { password: &password, code: call.one_time_password() };
            identity
                .login_for_token(&username, proof, name, scopes, Lifetime::Default, &call.origin())
                .await
                .map_err(|error| refusal(error, proof.code.is_some()))?
        }
        Presented::Basic { secret: Offered::Jwt(_), .. } => {
            call.require_login()?;
            let request = TokenRequest {
                name: name.to_owned(),
                kind: TokenKind::Personal,
                scopes,
                lifetime: Lifetime::Default,
                binding: RequestedBinding::None,
                organization: None,
            };
            let issued = identity.create_token(&call.who, request, &call.origin()).await;
            issued.map_err(|error| refusal(error, false))?
        }
        _ => return Ok(None),
    };
    Ok(Some(issued.secret.expose().to_owned()))
}

fn denied() -> GemError {
    GemError::from(RegistryError::Unauthenticated).saying("HTTP Basic: Access denied.")
}

/// A code that was sent and refused must not look like one that is still asked for.
fn refusal(error: IdentityError, had_code: bool) -> GemError {
    match error {
        IdentityError::Registry(cause @ RegistryError::BadCredential(CredentialProblem::OtpRequired)) => {
            let refusal = GemError::from(cause);
            if had_code { refusal.saying("Your OTP code is incorrect.") } else { refusal }
        }
        IdentityError::Registry(RegistryError::BadCredential(_) | RegistryError::Unauthenticated) => denied(),
        other => GemError::from(RegistryError::from(other)),
    }
}

/// The scopes of RubyGems in ours. Asking for nothing is asking to read.
fn scopes(form: &Fields) -> ScopeSet {
    let asked = [
        (&["push_rubygem"][..], Scope::PackagesPublish),
        (&["yank_rubygem", "add_owner", "remove_owner", "update_owner"], Scope::PackagesWrite),
    ];
    let wanted = asked.iter().filter(|(words, _)| words.iter().any(|word| form.is_on(word))).map(|(_, scope)| *scope);
    wanted.chain([Scope::PackagesRead]).collect()
}

fn sent_key(call: &Call) -> Result<String, GemError> {
    call.require_login()?;
    let header = call.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
    Ok(match header.split_once(' ') {
        Some((scheme, encoded)) if scheme.eq_ignore_ascii_case("basic") => {
            let decoded = BASE64_STANDARD.decode(encoded.trim()).ok().and_then(|bytes| String::from_utf8(bytes).ok());
            let pair = decoded.as_deref().and_then(|text| text.split_once(':')).ok_or_else(denied)?;
            if pair.1.starts_with("pub_") || pair.1.starts_with("ey") { pair.1 } else { pair.0 }.to_owned()
        }
        Some((_, key)) => key.trim().to_owned(),
        None => header.to_owned(),
    })
}

fn shown(key: &str, format: Option<Format>) -> Answer {
    Ok(match format {
        None => text(key),
        Some(Format::Json) => json(&json!({ "rubygems_api_key": key })),
        Some(Format::Yaml) => yaml(format!("---\n:rubygems_api_key: \"{key}\"\n")),
    })
}

/// `GET /api/v1/profile/me`.
pub(crate) fn profile(call: &Call, format: Format) -> Answer {
    call.require_login()?;
    let handle = call.who.user().map_or("token", |user| user.username.as_str());
    Ok(match format {
        Format::Json => json(&json!({ "handle": handle, "mfa": "disabled" })),
        Format::Yaml => yaml(format!("---\nhandle: \"{handle}\"\nmfa: disabled\n")),
    })
}

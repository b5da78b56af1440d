//! `/api/v1/api_key`: what `gem signin` calls, with a user name and a password in Basic authentication.

use axum::body::Body;
use base64::{Engine, prelude::BASE64_STANDARD};
use http::header;
use publaryn_auth::{Offered, Presented, Secret};
use publaryn_core::RegistryError;
use publaryn_core::{Scope, ScopeSet, error::CredentialProblem};
use publaryn_registry::identity::{IdentityError, Lifetime, PasswordProof};
use serde_json::json;

use crate::{
    call::{Answer, Call, Fields, json, text, yaml},
    error::GemError,
    route::Format,
};

const MAX_NAME_CHARS: usize = 60;

/// `POST`: a token for the scopes asked for. One that was offered as the password is simply handed back.
pub(crate) async fn sign_in(call: &Call, body: Body) -> Answer {
    let form = call.form(body).await?;
    let header = call.headers().get(header::AUTHORIZATION).map(|value| value.as_bytes());
    match Presented::from_header(header) {
        Presented::Basic { secret: Offered::Other(password), username } if !password.expose().is_empty() => {
            let proof = PasswordProof { password: &password, code: call.one_time_password() };
            let name: String = form.get("name").unwrap_or("gem signin").chars().take(MAX_NAME_CHARS).collect();
            let issued = call
                .registry
                .identity()
                .login_for_token(&username, proof, &name, scopes(&form), Lifetime::Default, &call.origin())
                .await
                .map_err(|error| refusal(error, proof.code.is_some()))?;
            Ok(text(issued.secret.expose()))
        }
        Presented::Basic { secret: Offered::ApiToken(_) | Offered::Jwt(_), .. } => echo(call, None),
        _ => Err(denied()),
    }
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

/// `GET`: the key that was sent, for clients of long ago.
pub(crate) fn echo(call: &Call, format: Option<Format>) -> Answer {
    call.require_login()?;
    let header = call.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let key = match header.split_once(' ') {
        Some((scheme, encoded)) if scheme.eq_ignore_ascii_case("basic") => {
            let decoded = BASE64_STANDARD.decode(encoded.trim()).ok().and_then(|bytes| String::from_utf8(bytes).ok());
            let pair = decoded.as_deref().and_then(|text| text.split_once(':')).ok_or_else(denied)?;
            Secret::new(if pair.1.starts_with("pub_") || pair.1.starts_with("ey") { pair.1 } else { pair.0 })
        }
        Some((_, key)) => Secret::new(key.trim()),
        None => Secret::new(header),
    };
    Ok(match format {
        None => text(key.expose()),
        Some(Format::Json) => json(&json!({ "rubygems_api_key": key.expose() })),
        Some(Format::Yaml) => yaml(format!("---\n:rubygems_api_key: \"{}\"\n", key.expose())),
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

//! The token endpoint (oci.md §9): credentials in, a short-lived token for what was asked and may be had.

use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use http::{HeaderValue, header, request::Parts};
use publaryn_auth::{Offered, Presented, ResourceAccess, Secret};
use publaryn_core::{RegistryError, Scope, error::CredentialProblem};
use publaryn_protocol::read_body;
use publaryn_registry::{
    Registry,
    identity::{Lifetime, OciCaller},
    oci::Standing,
};
use serde_json::{Map, Value, json};

use crate::{
    call::{Answer, origin},
    error::OciError,
    name,
};

/// Largest form, in bytes: a token or password, and scopes.
const MAX_FORM_BYTES: u64 = 64 << 10;
/// Scopes looked at in one request; clients send one to three.
const MAX_SCOPES: usize = 50;

/// What is asked for.
#[derive(Debug, Default)]
struct Request {
    scopes: Vec<ResourceAccess>,
    wants_refresh_token: bool,
}

impl Request {
    fn read(pairs: impl Iterator<Item = (String, String)>) -> Self {
        let mut request = Self::default();
        for (key, value) in pairs {
            match key.as_str() {
                // Repeated, separated by spaces, or both.
                "scope" => request.scopes.extend(value.split(' ').filter_map(ResourceAccess::parse)),
                "offline_token" => request.wants_refresh_token |= value == "true",
                "access_type" => request.wants_refresh_token |= value == "offline",
                _ => {}
            }
        }
        request.scopes.truncate(MAX_SCOPES);
        request
    }
}

/// `GET token`: credentials by `Basic`, or none.
pub(crate) async fn get(registry: Registry, parts: Parts) -> Answer {
    let presented = Presented::from_header(parts.headers.get(header::AUTHORIZATION).map(HeaderValue::as_bytes));
    let origin = origin(&parts);
    let caller = registry.identity().oci_caller(&presented, &origin).await.map_err(refused)?;
    let query = parts.uri.query().unwrap_or_default();
    let request = Request::read(url::form_urlencoded::parse(query.as_bytes()).into_owned());
    let refresh = match (&presented, request.wants_refresh_token && registry.oci_settings().identity_tokens) {
        (Presented::Basic { username, secret }, true) => {
            Some(identity_token(&registry, username, secret, &parts).await?)
        }
        _ => None,
    };
    answer(&registry, &caller, request.scopes, refresh, false).await
}

/// `POST token`: credentials in a form (OAuth 2), as containerd sends them.
pub(crate) async fn post(registry: Registry, parts: Parts, body: Body) -> Answer {
    let form = read_body(body, MAX_FORM_BYTES).await?;
    let pairs: Vec<(String, String)> = url::form_urlencoded::parse(&form).into_owned().collect();
    let field =
        |name: &str| pairs.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone()).unwrap_or_default();
    let (identity, origin) = (registry.identity(), origin(&parts));
    let (caller, refresh) = match field("grant_type").as_str() {
        "password" => {
            let (username, password) = (field("username"), Secret::new(field("password")));
            let caller = identity.oci_login(&username, &password, &origin).await.map_err(refused)?;
            (caller, Some((username, Offered::read(password.expose()))))
        }
        "refresh_token" => {
            // The refresh token is an API token: nothing else may live that long.
            let presented = Presented::Bearer(Offered::read(&field("refresh_token")));
            let Presented::Bearer(Offered::ApiToken(_)) = presented else {
                return Err(refused(RegistryError::BadCredential(CredentialProblem::RefreshInvalid)));
            };
            (identity.oci_caller(&presented, &origin).await.map_err(refused)?, None)
        }
        _ => {
            return Err(OciError::new(http::StatusCode::BAD_REQUEST, "UNSUPPORTED", "unknown `grant_type`"));
        }
    };
    let request = Request::read(pairs.into_iter());
    let refresh = match refresh {
        Some((username, secret)) if request.wants_refresh_token && registry.oci_settings().identity_tokens => {
            Some(identity_token(&registry, &username, &secret, &parts).await?)
        }
        _ => None,
    };
    answer(&registry, &caller, request.scopes, refresh, true).await
}

/// Wrong credentials; docker prints the message.
fn refused(error: RegistryError) -> OciError {
    match error {
        RegistryError::BadCredential(_) => {
            OciError::from(error).with(header::WWW_AUTHENTICATE, "Basic realm=\"Publaryn\"")
        }
        other => other.into(),
    }
}

/// What a client keeps instead of the password: an API token, a new one for who came with a password.
async fn identity_token(
    registry: &Registry,
    username: &str,
    secret: &Offered,
    parts: &Parts,
) -> Result<String, OciError> {
    match secret {
        Offered::ApiToken(token) => Ok(token.expose().to_owned()),
        Offered::Other(password) => {
            let scopes = [Scope::PackagesWrite].into_iter().collect();
            let issued = registry
                .identity()
                .login_for_token(username, password, "docker login", scopes, Lifetime::Default, &origin(parts))
                .await
                .map_err(|error| refused(error.into()))?;
            Ok(issued.secret.expose().to_owned())
        }
        Offered::Jwt(_) | Offered::BadToken => Err(refused(RegistryError::BadCredential(CredentialProblem::Invalid))),
    }
}

async fn answer(
    registry: &Registry,
    caller: &OciCaller,
    asked: Vec<ResourceAccess>,
    refresh_token: Option<String>,
    names_scope: bool,
) -> Answer {
    let mut granted: Vec<ResourceAccess> = Vec::new();
    for scope in asked {
        // One that names nothing we know, or nothing the caller has, is no error.
        let Some(grant) = grant(registry, caller, scope).await? else { continue };
        match granted.iter_mut().find(|known| known.kind == grant.kind && known.name == grant.name) {
            Some(known) => {
                let new: Vec<String> = grant.actions.into_iter().filter(|action| !known.has(action)).collect();
                known.actions.extend(new);
            }
            None => granted.push(grant),
        }
    }
    let issued = registry.identity().oci_token(caller, &granted, registry.oci_settings().token_ttl);
    let mut body = Map::new();
    body.insert("token".into(), json!(issued.token.expose()));
    body.insert("access_token".into(), json!(issued.token.expose()));
    body.insert("expires_in".into(), json!(issued.expires_in.as_secs()));
    body.insert("issued_at".into(), json!(issued.issued_at.to_seconds_string()));
    if names_scope {
        let words: Vec<String> = granted.iter().map(ToString::to_string).collect();
        body.insert("scope".into(), json!(words.join(" ")));
    }
    if let Some(refresh_token) = refresh_token {
        body.insert("refresh_token".into(), json!(refresh_token));
    }
    Ok(respond(Value::Object(body)))
}

fn respond(body: Value) -> Response {
    let mut response = body.to_string().into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// What of a requested access the caller may have now. Rights are asked again at each use.
async fn grant(
    registry: &Registry,
    caller: &OciCaller,
    asked: ResourceAccess,
) -> Result<Option<ResourceAccess>, OciError> {
    if asked.kind == "registry" && asked.name == "catalog" {
        return Ok(Some(asked));
    }
    let Ok(name) = name::parse_name(&asked.name) else { return Ok(None) };
    if asked.kind != "repository" {
        return Ok(None);
    }
    let repository = registry.oci_repository(&caller.who, &name).await?;
    let reads = repository.may_ask_to_read();
    let writes = matches!(repository.writes(), Standing::Allowed | Standing::Missing);
    let actions: Vec<String> = asked
        .actions
        .into_iter()
        .filter(|action| match action.as_str() {
            "pull" => reads,
            "push" | "delete" | "*" => writes,
            _ => false,
        })
        .collect();
    Ok((!actions.is_empty()).then_some(ResourceAccess { kind: asked.kind, name: asked.name, actions }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_come_repeated_and_in_one_value() {
        let pairs = [
            ("service", "publaryn"),
            ("scope", "repository:a/b:pull,push repository:c:pull"),
            ("scope", "repository:host:5000/d:push,pull"),
            ("scope", "nonsense"),
            ("scope", ""),
            ("offline_token", "true"),
        ];
        let request = Request::read(pairs.into_iter().map(|(k, v)| (k.to_owned(), v.to_owned())));
        let shown: Vec<String> = request.scopes.iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["repository:a/b:pull,push", "repository:c:pull", "repository:host:5000/d:push,pull"]);
        assert!(request.wants_refresh_token);
    }
}

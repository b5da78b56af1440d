//! Accounts as npm sees them: login, who am I, tokens, the profile.

use std::time::Duration;

use http::StatusCode;
use publaryn_auth::{EmailAddress, Secret};
use publaryn_core::{
    Ecosystem, PackageName, RegistryError, Scope, ScopeSet, TokenId, TokenKind,
    principal::{Credential, Who},
};
use publaryn_registry::identity::{
    IdentityError, IssuedToken, Lifetime, NewAccount, PasswordProof, ProfilePatch, RequestedBinding, TokenRequest,
};
use serde_json::{Map, Value, json};

use crate::{
    call::{Answer, Call, created, json, noticed, ok},
    error::{NpmError, identity_error},
    name,
};

/// What the npm client does with the token of a login: publish, manage packages, tokens and the profile.
pub(crate) fn login_scopes() -> ScopeSet {
    [Scope::PackagesWrite, Scope::TokensWrite, Scope::ProfileWrite].into_iter().collect()
}

/// `GET /-/whoami`.
pub(crate) async fn whoami(call: &Call) -> Answer {
    match &call.who.who {
        Who::User(user) => {
            Ok(noticed(json(StatusCode::OK, &json!({ "username": user.username })), call.expiry_notice().await))
        }
        Who::Anonymous => Err(call.registry.broken_credential(&call.who).into()),
        Who::Automation { .. } => ok(json!({ "username": "organization-token" })),
        Who::TrustedPublisher { .. } => ok(json!({ "username": "trusted-publisher" })),
    }
}

/// `GET /-/user/org.couchdb.user:U`: that a user exists, for signed-in callers; never password data.
pub(crate) async fn user(call: &Call, username: &str) -> Answer {
    call.require_login()?;
    let user = call.registry.identity().user_by_name(username).await?;
    let id = format!("org.couchdb.user:{}", user.username);
    ok(json!({ "_id": id, "name": user.username, "email": user.email, "type": "user", "roles": [] }))
}

/// `PUT /-/user/org.couchdb.user:U`: login, and registration when an address comes along. The request's own
/// credential is ignored: npm sends the old, dead token while logging in.
pub(crate) async fn login(call: &Call, username: &str) -> Answer {
    let body = call.object().await?;
    let text = |key: &str| body.get(key).and_then(Value::as_str).unwrap_or_default();
    if text("name") != username || username.is_empty() {
        return Err(NpmError::bad_request("the name in the body is not the one in the address"));
    }
    let (email, password) = (text("email").trim(), Secret::new(text("password")));
    let (identity, origin) = (call.registry.identity(), call.origin());
    if !email.is_empty() && matches!(identity.user_by_name(username).await, Err(RegistryError::NotFound)) {
        identity.require_open_registration()?;
        let rules = identity.rules();
        let rule = |error: publaryn_auth::RuleBreak| NpmError::bad_request(format!("{}: {error}", error.field));
        let new = NewAccount {
            username: rules.username(username).map_err(rule)?,
            email: EmailAddress::parse(email).map_err(rule)?,
            password: rules.password(Secret::new(password.expose())).map_err(rule)?,
        };
        match identity.register(new, &origin).await {
            Ok(_) => {}
            Err(error @ IdentityError::AlreadyExists { .. }) => {
                // 409 would start the client's revision dance.
                return Err(NpmError::refused(StatusCode::FORBIDDEN, error.to_string()));
            }
            Err(error) => return Err(identity_error(error)),
        }
    }
    let proof = PasswordProof { password: &password, code: call.one_time_password() };
    let issued = identity
        .login_for_token(username, proof, "npm login", login_scopes(), Lifetime::Default, &origin)
        .await
        .map_err(identity_error)?;
    created(json!({
        "ok": true,
        "id": format!("org.couchdb.user:{username}"),
        "token": issued.secret.expose(),
    }))
}

/// `DELETE /-/user/token/TOKEN`: ends the credential in the path, if it is the caller's. Unknown ones are
/// gone already.
pub(crate) async fn logout(call: &Call, token: &str) -> Answer {
    call.require_login()?;
    revoke_secret(call, token).await?;
    ok(json!({ "ok": true }))
}

async fn revoke_secret(call: &Call, token: &str) -> Result<(), NpmError> {
    let named = call.registry.caller(Some(format!("Bearer {token}").as_bytes())).await?;
    if named.is_anonymous() || named.acting_user() != call.who.acting_user() {
        return Ok(());
    }
    let (identity, origin) = (call.registry.identity(), call.origin());
    match named.credential {
        Credential::Session(_) => identity.logout(&named, false, &origin).await.map_err(identity_error),
        _ => match identity.revoke_current_token(&named, &origin).await {
            Ok(()) | Err(IdentityError::Registry(RegistryError::NotFound)) => Ok(()),
            Err(error) => Err(identity_error(error)),
        },
    }
}

/// Tokens listed at once; nobody has more in use.
const MAX_LISTED: u32 = 1000;

/// `GET /-/npm/v1/tokens`.
pub(crate) async fn tokens(call: &Call) -> Answer {
    call.require_login()?;
    let (tokens, total) = call.registry.identity().tokens(&call.who, false, MAX_LISTED, 0).await?;
    let objects: Vec<Value> = tokens
        .iter()
        .map(|listed| {
            let token = &listed.token;
            json!({
                "key": key_of(token.id),
                "id": key_of(token.id),
                "name": token.name,
                "token": TOKEN_PREFIX,
                "last_four": token.last_four,
                "created": token.created_at.to_millis_string(),
                "updated": token.last_used_at.unwrap_or(token.created_at).to_millis_string(),
                "expires": token.expires_at.map(|at| at.to_millis_string()),
                "readonly": !token.scopes.allows(Scope::PackagesPublish),
                "automation": token.kind == TokenKind::OrgAutomation,
                "cidr_whitelist": null,
            })
        })
        .collect();
    ok(json!({ "objects": objects, "total": total, "urls": {} }))
}

/// What may be shown of a secret: the part that all have in common.
const TOKEN_PREFIX: &str = "pub_";

/// The stable, non-secret name of a token.
fn key_of(id: TokenId) -> String {
    id.0.simple().to_string()
}

/// `POST /-/npm/v1/tokens`: the person proves the password again; a restriction that cannot be honoured is
/// refused, never dropped.
pub(crate) async fn create_token(call: &Call) -> Answer {
    call.require_login()?;
    let body = call.object().await?;
    let Some(username) = call.who.user().map(|user| user.username.clone()) else {
        return Err(NpmError::refused(StatusCode::FORBIDDEN, "only a person can create tokens"));
    };
    let wish = TokenWish::parse(&body)?;
    let password = Secret::new(body.get("password").and_then(Value::as_str).unwrap_or_default());
    let proof = PasswordProof { password: &password, code: call.one_time_password() };
    let (identity, origin) = (call.registry.identity(), call.origin());
    let issued = match wish.package {
        None => {
            let login = identity.login_for_token(&username, proof, &wish.name, wish.scopes, wish.lifetime, &origin);
            login.await.map_err(identity_error)?
        }
        Some(package) => {
            identity.prove_password(&username, proof, &origin).await.map_err(identity_error)?;
            let request = TokenRequest {
                name: wish.name,
                kind: TokenKind::Package,
                scopes: wish.scopes,
                lifetime: wish.lifetime,
                binding: RequestedBinding::Package(Ecosystem::Npm, package),
                organization: None,
            };
            identity.create_token(&call.who, request, &origin).await.map_err(identity_error)?
        }
    };
    ok(token_created(&issued))
}

fn token_created(issued: &IssuedToken) -> Value {
    let token = &issued.listed.token;
    json!({
        "key": key_of(token.id),
        "id": key_of(token.id),
        "name": token.name,
        "token": issued.secret.expose(),
        "created": token.created_at.to_millis_string(),
        "updated": token.created_at.to_millis_string(),
        "expires": token.expires_at.map(|at| at.to_millis_string()),
        "readonly": !token.scopes.allows(Scope::PackagesPublish),
        "cidr_whitelist": [],
    })
}

/// A request for a token, in the form of npm 10 (`readonly`) or npm 11 (granular).
#[derive(Debug, PartialEq)]
struct TokenWish {
    name: String,
    scopes: ScopeSet,
    lifetime: Lifetime,
    package: Option<PackageName>,
}

impl TokenWish {
    fn parse(body: &Map<String, Value>) -> Result<Self, NpmError> {
        let unsupported = |what: &str| {
            NpmError::bad_request(format!("a token restricted by {what} is not supported by this registry"))
        };
        let list = |key: &str| body.get(key).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let text = |key: &str| body.get(key).and_then(Value::as_str).map(str::trim).filter(|t| !t.is_empty());
        for (key, value) in body {
            let is_known = matches!(
                key.as_str(),
                "password"
                    | "readonly"
                    | "cidr_whitelist"
                    | "name"
                    | "description"
                    | "token_description"
                    | "expires"
                    | "packages"
                    | "packages_all"
                    | "scopes"
                    | "orgs"
                    | "packages_and_scopes_permission"
                    | "orgs_permission"
                    | "bypass_2fa"
                    | "otp"
            );
            let is_set = !matches!(value, Value::Null | Value::Bool(false));
            if !is_known && is_set {
                return Err(unsupported(&format!("`{key}`")));
            }
        }
        if !list("cidr_whitelist").is_empty() {
            return Err(unsupported("address"));
        }
        if !list("scopes").is_empty() {
            return Err(unsupported("scope"));
        }
        if !list("orgs").is_empty() || text("orgs_permission").is_some_and(|p| p != "no-access") {
            return Err(unsupported("organization"));
        }
        let is_legacy = body.contains_key("readonly");
        let may_write = match text("packages_and_scopes_permission") {
            None if is_legacy => body.get("readonly") != Some(&Value::Bool(true)),
            // A granular token has only what it was given.
            None | Some("read-only" | "no-access") => false,
            Some("read-write") => true,
            Some(other) => return Err(unsupported(&format!("permission `{other}`"))),
        };
        let package = match list("packages") {
            [] => None,
            [one] => {
                let one = one.as_str().unwrap_or_default();
                Some(name::parse_name(one).map_err(|error| NpmError::bad_request(format!("`{one}`: {error}")))?)
            }
            _ => return Err(unsupported("more than one package")),
        };
        let scopes: ScopeSet = match (may_write, is_legacy) {
            (true, true) => login_scopes(),
            (true, false) => [Scope::PackagesWrite].into_iter().collect(),
            (false, _) => [Scope::PackagesRead].into_iter().collect(),
        };
        let lifetime = match body.get("expires") {
            None | Some(Value::Null) => Lifetime::Default,
            Some(days) => match days.as_u64().filter(|days| (1..=3650).contains(days)) {
                Some(days) => Lifetime::For(Duration::from_secs(days * 86_400)),
                None => return Err(NpmError::bad_request("expires must be a number of days from 1 to 3650")),
            },
        };
        Ok(Self { name: text("name").unwrap_or("npm token create").to_owned(), scopes, lifetime, package })
    }
}

/// `DELETE /-/npm/v1/tokens/token/KEY`: by key, or by the secret itself.
pub(crate) async fn revoke_token(call: &Call, key: &str) -> Answer {
    call.require_login()?;
    if key.starts_with(TOKEN_PREFIX) {
        revoke_secret(call, key).await?;
    } else {
        let id: TokenId = key.parse().map_err(|_| RegistryError::NotFound)?;
        call.registry.identity().revoke_token(&call.who, id, &call.origin()).await.map_err(identity_error)?;
    }
    Ok(json(StatusCode::NO_CONTENT, &Value::Null).map(|_| axum::body::Body::empty()))
}

/// `GET /-/npm/v1/user`.
pub(crate) async fn profile(call: &Call) -> Answer {
    call.require_login()?;
    let user = call.registry.identity().own_account(&call.who).await?;
    let tfa = if user.has_mfa() { json!({ "mode": "auth-and-writes", "pending": false }) } else { Value::Null };
    ok(json!({
        "name": user.username,
        "email": user.email,
        "email_verified": user.email_verified,
        "tfa": tfa,
        "fullname": user.display_name.unwrap_or_default(),
        "homepage": user.website.unwrap_or_default(),
        "created": user.created_at.to_millis_string(),
        "updated": user.updated_at.to_millis_string(),
    }))
}

/// `POST /-/npm/v1/user`: full name, home page, password.
pub(crate) async fn set_profile(call: &Call) -> Answer {
    call.require_login()?;
    let body = call.object().await?;
    let mut patch = ProfilePatch::default();
    let mut password = None;
    for (key, value) in &body {
        let text = || value.as_str().map(|t| Some(t.to_owned()).filter(|t| !t.is_empty()));
        match key.as_str() {
            "fullname" => patch.display_name = text(),
            "homepage" => patch.website = text(),
            "password" => password = Some(value),
            // The client sends the whole profile back; what did not change is no wish.
            "name" | "email" | "email_verified" | "created" | "updated" | "cidr_whitelist" | "tfa" | "freenode"
            | "twitter" | "github" => {
                if !is_unchanged(call, key, value).await? {
                    return Err(NpmError::bad_request(format!("`{key}` cannot be changed here")));
                }
            }
            _ => return Err(NpmError::bad_request(format!("`{key}` is not supported by this registry"))),
        }
    }
    let (identity, origin) = (call.registry.identity(), call.origin());
    if let Some(change) = password {
        let part = |key: &str| Secret::new(change.get(key).and_then(Value::as_str).unwrap_or_default());
        let new =
            identity.rules().password(part("new")).map_err(|e| NpmError::bad_request(format!("password: {e}")))?;
        let old = part("old");
        let proof = PasswordProof { password: &old, code: call.one_time_password() };
        identity.change_password_by_login(&call.who, proof, &new, &origin).await.map_err(identity_error)?;
    }
    if patch != ProfilePatch::default() {
        let patch = patch.checked().map_err(|problems| identity_error(IdentityError::Invalid(problems)))?;
        identity.update_profile(&call.who, patch, &origin).await.map_err(identity_error)?;
    }
    profile(call).await
}

async fn is_unchanged(call: &Call, key: &str, value: &Value) -> Result<bool, NpmError> {
    if matches!(value, Value::Null) || value.as_str() == Some("") {
        return Ok(true);
    }
    let user = call.registry.identity().own_account(&call.who).await?;
    Ok(match key {
        "name" => *value == user.username,
        "email" => *value == user.email,
        "email_verified" => *value == user.email_verified,
        "created" => *value == user.created_at.to_millis_string(),
        "updated" => *value == user.updated_at.to_millis_string(),
        _ => false,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Whatever else a request says, a named package limits the token and a missing permission gives no right to write.
        #[test]
        fn no_request_yields_a_wider_token_than_it_names(
            key in "(name|expires|packages_all|cidr_whitelist|scopes|orgs|bypass_2fa|otp|[a-z_]{1,8})",
            value in prop_oneof![Just(Value::Null), Just(json!([])), Just(json!(true)), Just(json!(3)), "[a-z@/]{0,6}".prop_map(Value::from)],
            package in proptest::option::of("(@a/b|c)"),
        ) {
            let mut body = json!({ "password": "p" });
            body[key] = value;
            if let Some(package) = &package {
                body["packages"] = json!([package]);
            }
            let is_granular = body.get("readonly").is_none();
            if let Ok(wish) = wish(body) {
                prop_assert_eq!(wish.package.map(|p| p.canonical().to_owned()), package);
                prop_assert!(!is_granular || !wish.scopes.allows(Scope::PackagesPublish));
            }
        }
    }

    fn wish(body: Value) -> Result<TokenWish, NpmError> {
        TokenWish::parse(body.as_object().unwrap())
    }

    #[test]
    fn tokens_get_what_was_asked_for_and_nothing_more() {
        let scopes = |body| wish(body).unwrap().scopes;
        let read: ScopeSet = [Scope::PackagesRead].into_iter().collect();
        assert_eq!(scopes(json!({"password": "p", "readonly": true, "cidr_whitelist": []})), read);
        assert_eq!(scopes(json!({"password": "p", "readonly": false})), login_scopes());
        assert_eq!(scopes(json!({"name": "n", "password": "p"})), read);
        let granular = wish(json!({"name": "n", "password": "p", "packages": ["@a/b"], "expires": 7,
            "packages_and_scopes_permission": "read-write", "bypass_2fa": false}))
        .unwrap();
        assert_eq!(granular.scopes, [Scope::PackagesWrite].into_iter().collect());
        assert_eq!(granular.lifetime, Lifetime::For(Duration::from_secs(7 * 86_400)));
        assert_eq!(granular.package.unwrap().canonical(), "@a/b");
    }

    #[test]
    fn restrictions_that_cannot_be_honoured_are_refused() {
        for body in [
            json!({"readonly": false, "cidr_whitelist": ["10.0.0.0/8"]}),
            json!({"scopes": ["@a"]}),
            json!({"orgs": ["a"]}),
            json!({"orgs_permission": "read-write"}),
            json!({"packages": ["a", "b"]}),
            json!({"packages_and_scopes_permission": "read-write-stage-only"}),
            json!({"expires": 0}),
            json!({"expires": "soon"}),
            json!({"only_on_tuesdays": true}),
        ] {
            assert!(wish(body.clone()).is_err(), "{body}");
        }
    }
}

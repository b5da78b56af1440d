//! The object types of control-plane.md §2 that belong to people. Every documented member is always there.

use publaryn_core::{Principal, ScopeSet, SessionId};
use publaryn_metadata::{sessions::SessionRow, tokens::ListedToken, users::UserRow};
use publaryn_registry::identity::SessionGrant;
use serde_json::{Value, json};

/// **UserPublic**.
pub fn user_public(user: &UserRow) -> Value {
    json!({
        "id": user.id,
        "username": user.username,
        "display_name": user.display_name,
        "avatar_url": user.avatar_url,
        "bio": user.bio,
        "website": user.website,
        "created_at": user.created_at,
    })
}

/// **UserSelf**; `scopes` are those of the presented credential.
pub fn user_self(user: &UserRow, scopes: ScopeSet) -> Value {
    let mut object = user_public(user);
    object["email"] = json!(user.email);
    object["email_verified"] = json!(user.email_verified);
    object["mfa_enabled"] = json!(user.has_mfa());
    object["is_admin"] = json!(user.is_admin);
    object["scopes"] = json!(scopes);
    object
}

/// **LoginOk**; without the refresh token when it travels in the portal's cookie.
pub fn login_ok(grant: &SessionGrant, refresh_in_cookie: bool) -> Value {
    let mut object = json!({
        "token": grant.access_token.expose(),
        "token_type": "Bearer",
        "expires_in": grant.expires_in.as_secs(),
        "refresh_expires_in": grant.refresh_expires_in.as_secs(),
        "session_id": grant.session,
        "scopes": grant.scopes,
        "user": user_self(&grant.user, grant.scopes),
    });
    if !refresh_in_cookie {
        object["refresh_token"] = json!(grant.refresh_token.expose());
    }
    object
}

/// **Session**.
pub fn session(row: &SessionRow, current: Option<SessionId>) -> Value {
    json!({
        "id": row.id,
        "created_at": row.created_at,
        "last_seen_at": row.last_seen_at,
        "expires_at": row.expires_at,
        "ip_address": row.ip_address,
        "user_agent": row.user_agent,
        "mfa": row.has_mfa,
        "current": current == Some(row.id),
    })
}

/// **Token**.
pub fn token(listed: &ListedToken) -> Value {
    let row = &listed.token;
    json!({
        "id": row.id,
        "kind": row.kind,
        "name": row.name,
        "prefix": publaryn_auth::token::PREFIX,
        "last_four": row.last_four,
        "scopes": row.scopes,
        "org_slug": listed.org_slug,
        "repository_slug": listed.repository_slug,
        "package": listed.package.as_ref().map(|(ecosystem, name)| json!({"ecosystem": ecosystem, "name": name})),
        "expires_at": row.expires_at,
        "last_used_at": row.last_used_at,
        "created_at": row.created_at,
    })
}

/// The session of a caller, if it came with one.
pub fn session_of(who: &Principal) -> Option<SessionId> {
    match who.credential {
        publaryn_core::principal::Credential::Session(id) => Some(id),
        _ => None,
    }
}

//! `/v1/auth/*`: registration, login, sessions, password (control-plane.md §3).

use axum::{
    Json, Router,
    extract::{Path, State},
    response::{IntoResponse, Response},
    routing::{delete, get, post},
};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use publaryn_auth::{EmailAddress, Secret};
use publaryn_core::{RegistryError, Scope, SessionId, error::CredentialProblem};
use publaryn_registry::identity::{NewAccount, SessionGrant};
use serde_json::{Value, json};

use super::{
    ApiState, cookie,
    extract::{Body, Caller, Origin},
    objects,
    page::Query,
    problem::Problem,
    users::public,
};

pub fn router() -> Router<ApiState> {
    Router::new()
        .route("/register", post(register))
        .route("/login", post(login))
        .route("/refresh", post(refresh))
        .route("/logout", post(logout))
        .route("/password", post(change_password))
        .route("/sessions", get(sessions))
        .route("/sessions/{id}", delete(revoke_session))
        .route("/scopes", get(scopes))
}

async fn register(
    State(state): State<ApiState>,
    _: Caller,
    Origin(origin): Origin,
    body: Body,
) -> Result<Response, Problem> {
    let mut fields = body.fields().await?;
    state.identity.require_open_registration()?;
    let rules = state.identity.rules();
    let username = fields.text("username").and_then(|text| fields.rule(rules.username(&text)));
    let email = fields.text("email").and_then(|text| fields.rule(EmailAddress::parse(&text)));
    let password = fields.secret("password").and_then(|secret| fields.rule(rules.password(secret)));
    let (Some(username), Some(email), Some(password)) = (username, email, password) else {
        return Err(refused(fields.finish()));
    };
    let user = state.identity.register(NewAccount { username, email, password }, &origin).await?;
    let answer = json!({"id": user.id, "username": user.username, "email": user.email});
    Ok((StatusCode::CREATED, Json(answer)).into_response())
}

async fn login(
    State(state): State<ApiState>,
    _: Caller,
    Origin(origin): Origin,
    body: Body,
) -> Result<Response, Problem> {
    let mut fields = body.fields().await?;
    let login = fields.text("username_or_email");
    let password = fields.secret("password");
    let use_cookie = fields.flag("cookie").unwrap_or(false);
    let (Some(login), Some(password)) = (login, password) else { return Err(refused(fields.finish())) };
    fields.finish()?;
    let grant = state.identity.login(&login, &password, &origin).await?;
    Ok(grant_answer(&state, &grant, use_cookie))
}

async fn refresh(
    State(state): State<ApiState>,
    _: Caller,
    Origin(origin): Origin,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let mut fields = body.optional_fields().await?;
    let use_cookie = fields.flag("cookie").unwrap_or(false);
    let given = fields.optional_secret("refresh_token");
    let from_cookie = if use_cookie && given.is_none() { cookie::read(&headers) } else { None };
    if given.is_none() && from_cookie.is_none() && !use_cookie {
        fields.report("refresh_token", "is required");
    }
    fields.finish()?;
    let refused = |problem| Problem::from(RegistryError::BadCredential(problem));
    let token: Secret = given.or(from_cookie).ok_or_else(|| refused(CredentialProblem::RefreshInvalid))?;
    let grant = state.identity.refresh(&token, &origin).await?;
    Ok(grant_answer(&state, &grant, use_cookie))
}

async fn logout(
    State(state): State<ApiState>,
    caller: Caller,
    Origin(origin): Origin,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    if !caller.0.is_anonymous() {
        caller.require_session()?;
    }
    let mut fields = body.optional_fields().await?;
    let all = fields.flag("all").unwrap_or(false);
    fields.finish()?;
    state.identity.logout(&caller.0, all, &origin).await?;
    let mut response = message("signed out");
    if let Some(token) = cookie::read(&headers) {
        // The portal may come without its short-lived access token; its cookie names the session too.
        state.identity.logout_by_refresh(&token, &origin).await?;
        set_cookie(&mut response, cookie::clear(&state.settings));
    }
    Ok(response)
}

async fn change_password(
    State(state): State<ApiState>,
    caller: Caller,
    Origin(origin): Origin,
    body: Body,
) -> Result<Response, Problem> {
    let who = caller.require_session()?;
    let mut fields = body.fields().await?;
    let current = fields.secret("current_password");
    let new = fields.secret("new_password").and_then(|secret| {
        let checked = state.identity.rules().password(secret);
        fields.rule(checked.map_err(|broken| publaryn_auth::RuleBreak { field: "new_password", ..broken }))
    });
    let (Some(current), Some(new)) = (current, new) else { return Err(refused(fields.finish())) };
    state.identity.change_password(who, &current, &new, &origin).await?;
    Ok(message("password changed"))
}

async fn sessions(State(state): State<ApiState>, caller: Caller, query: Query) -> Result<Response, Problem> {
    let who = caller.require_session()?;
    let page = query.page(20)?;
    let (rows, total) = state.identity.sessions(who, page.per_page, page.offset()).await?;
    let current = objects::session_of(who);
    let list = rows.iter().map(|row| objects::session(row, current)).collect();
    Ok(page.answer(&query, "sessions", list, total))
}

async fn revoke_session(
    State(state): State<ApiState>,
    caller: Caller,
    Origin(origin): Origin,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let who = caller.require_session()?;
    let id: SessionId = id.parse().map_err(|_| Problem::bad_parameter("id", "must be a UUID"))?;
    state.identity.revoke_session(who, id, &origin).await?;
    Ok(message("session ended"))
}

async fn scopes(caller: Caller, headers: HeaderMap) -> Response {
    let list: Vec<Value> = Scope::ALL
        .iter()
        .map(|scope| {
            json!({
                "name": scope,
                "description": description(*scope),
                "admin_only": scope.is_admin_only(),
                "implies": scope.implies(),
            })
        })
        .collect();
    // The list changes with the program only.
    public(&caller, &headers, concat!("scopes-", env!("CARGO_PKG_VERSION")), &json!({ "scopes": list }))
}

/// One line for whoever picks scopes for a token (access.md §4).
const fn description(scope: Scope) -> &'static str {
    match scope {
        Scope::ProfileWrite => "change your own profile",
        Scope::TokensRead => "list your own tokens",
        Scope::TokensWrite => "create and revoke your own tokens",
        Scope::OrgsRead => "read directories, grants and, as your role permits, the audit log of your organizations",
        Scope::OrgsWrite => "create organizations and govern them",
        Scope::OrgsJoin => "answer your invitations and leave organizations",
        Scope::OrgsTransfer => "hand an organization over",
        Scope::NamespacesWrite => "create and delete namespace claims",
        Scope::NamespacesTransfer => "transfer namespace claims",
        Scope::RepositoriesWrite => "create, change and delete repositories",
        Scope::RepositoriesTransfer => "transfer repositories",
        Scope::PackagesRead => "read non-public packages, repositories and findings",
        Scope::PackagesPublish => "create packages and releases, upload, publish and set tags",
        Scope::PackagesWrite => "everything on packages but transferring them",
        Scope::PackagesTransfer => "transfer packages",
        Scope::SecurityWrite => "triage findings and quarantine packages",
        Scope::AuditRead => "read the platform's audit log and operator views",
        Scope::AdminWrite => "operate the platform",
    }
}

fn grant_answer(state: &ApiState, grant: &SessionGrant, use_cookie: bool) -> Response {
    let mut response = Json(objects::login_ok(grant, use_cookie)).into_response();
    if use_cookie {
        let value = cookie::set(&state.settings, &grant.refresh_token, grant.refresh_expires_in);
        set_cookie(&mut response, value);
    }
    response
}

fn set_cookie(response: &mut Response, value: Option<HeaderValue>) {
    if let Some(value) = value {
        response.headers_mut().append(header::SET_COOKIE, value);
    }
}

pub(super) fn message(text: &str) -> Response {
    Json(json!({ "message": text })).into_response()
}

/// The refusal of fields of which one was missing: `finish` cannot have been content then.
pub(super) fn refused(outcome: Result<(), Problem>) -> Problem {
    outcome.err().unwrap_or_else(|| Problem::malformed("a member is missing"))
}

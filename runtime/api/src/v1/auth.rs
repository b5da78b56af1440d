//! `/v1/auth/*`: registration, login, sessions, password (control-plane.md §3).

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use publaryn_auth::{EmailAddress, Secret};
use publaryn_core::{RegistryError, Scope, SessionId, audit::AuditAction, error::CredentialProblem};
use publaryn_registry::identity::{LoginOutcome, NewAccount, SessionGrant};
use serde_json::{Value, json};

use super::{
    ApiState, cookie,
    extract::{self, Body, Caller, Origin, Path},
    objects,
    page::Query,
    problem::Problem,
    route::{Routes, in_session, public},
};

pub fn routes() -> Routes {
    Routes::new("authentication")
        .post(
            "/auth/register",
            register,
            public("Creates an account")
                .always_open()
                .holds_secrets()
                .body("username s, email s, password s")
                .answer(201, "id u, username s, email s")
                .problem(403, "registration_closed")
                .problem(409, "already_exists")
                .problem(422, "reserved_name")
                .audit(AuditAction::UserRegister),
        )
        .post(
            "/auth/login",
            login,
            public("Exchanges a password for a session")
                .always_open()
                .holds_secrets()
                .notes("Accounts with a second factor get a token for `/v1/auth/mfa/challenge`.")
                .body("username_or_email s, password s, cookie b?")
                .answer(200, "LoginOk | MfaPending")
                .problem(401, "invalid_credentials")
                .problem(429, "login_throttled")
                .audit(AuditAction::UserLogin)
                .audit(AuditAction::UserLoginFailed),
        )
        .post(
            "/auth/mfa/challenge",
            challenge,
            public("Ends a login that waits for the second factor")
                .notes("`code` is one of the authenticator app or a recovery code. Five wrong codes void the login.")
                .always_open()
                .holds_secrets()
                .body("mfa_token s, code s, cookie b?")
                .answer(200, "LoginOk")
                .problem(401, "mfa_code_invalid")
                .problem(401, "mfa_challenge_expired")
                .problem(401, "mfa_challenge_exhausted")
                .audit(AuditAction::UserLogin)
                .audit(AuditAction::MfaRecoveryCodeUse),
        )
        .post(
            "/auth/refresh",
            refresh,
            public("Exchanges a refresh token for a new one and a fresh access token")
                .notes("A refresh token that was exchanged before ends the whole session.")
                .always_open()
                .holds_secrets()
                .optional_body("refresh_token s?, cookie b?")
                .answer(200, "LoginOk")
                .problem(401, "refresh_token_invalid")
                .problem(401, "refresh_token_reused")
                .audit(AuditAction::SessionRevoke),
        )
        .post(
            "/auth/logout",
            logout,
            public("Ends the presented session, or all of the account's")
                .notes("Without a credential nothing happens; API tokens are refused.")
                .always_open()
                .holds_secrets()
                .optional_body("all b?")
                .message()
                .problem(403, "session_required")
                .audit(AuditAction::UserLogout),
        )
        .post(
            "/auth/password",
            change_password,
            in_session("Changes the password and ends all other sessions")
                .holds_secrets()
                .body("current_password s, new_password s")
                .message()
                .problem(401, "invalid_credentials")
                .problem(429, "login_throttled")
                .audit(AuditAction::UserPasswordChange),
        )
        .get(
            "/auth/sessions",
            sessions,
            in_session("The caller's live sessions, newest first").list("sessions", "Session", 20),
        )
        .delete(
            "/auth/sessions/{id}",
            revoke_session,
            in_session("Ends one of the caller's sessions").message().audit(AuditAction::SessionRevoke),
        )
        .get(
            "/auth/scopes",
            scopes,
            public("What credentials can be limited to").always_open().answer(200, "scopes [ScopeInfo]"),
        )
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
    Ok(match state.identity.login(&login, &password, &origin).await? {
        LoginOutcome::Granted(grant) => grant_answer(&state, &grant, None, use_cookie),
        LoginOutcome::SecondFactor(pending) => Json(json!({
            "mfa_required": true,
            "mfa_token": pending.token.expose(),
            "expires_in": pending.expires_in.as_secs(),
        }))
        .into_response(),
    })
}

async fn challenge(
    State(state): State<ApiState>,
    _: Caller,
    Origin(origin): Origin,
    body: Body,
) -> Result<Response, Problem> {
    let mut fields = body.fields().await?;
    let token = fields.secret("mfa_token");
    let code = fields.text("code");
    let use_cookie = fields.flag("cookie").unwrap_or(false);
    let (Some(token), Some(code)) = (token, code) else { return Err(refused(fields.finish())) };
    fields.finish()?;
    let (grant, codes_left) = state.identity.answer_challenge(&token, &code, &origin).await?;
    Ok(grant_answer(&state, &grant, codes_left, use_cookie))
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
    Ok(grant_answer(&state, &grant, None, use_cookie))
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
        state.identity.logout_by_refresh(&token, all, &origin).await?;
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
    let id: SessionId = extract::id("id", &id)?;
    state.identity.revoke_session(who, id, &origin).await?;
    Ok(message("session ended"))
}

async fn scopes() -> Response {
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
    Json(json!({ "scopes": list })).into_response()
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

/// `codes_left`: how many recovery codes there still are, if one was used for this.
fn grant_answer(state: &ApiState, grant: &SessionGrant, codes_left: Option<i64>, use_cookie: bool) -> Response {
    let mut object = objects::login_ok(grant, use_cookie);
    if let Some(left) = codes_left {
        object["recovery_codes_remaining"] = json!(left);
    }
    let mut response = Json(object).into_response();
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

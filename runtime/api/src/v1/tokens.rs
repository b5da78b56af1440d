//! `/v1/tokens*`: API tokens (control-plane.md §10).

use std::time::Duration;

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use http::StatusCode;
use publaryn_core::{OrgRole, RegistryError, Scope, ScopeSet, TokenId, TokenKind, audit::AuditAction};
use publaryn_registry::identity::{
    CurrentCredential, Lifetime, RequestedBinding, RequestedOrganization, TokenRequest, parse_scopes, require_user,
};
use serde_json::{Value, json};

use super::{
    ApiState,
    auth::message,
    extract::{self, Body, Caller, Fields, Origin, Path, ecosystem},
    objects,
    page::Query,
    problem::{FieldProblem, Place, Problem},
    route::{Routes, scoped, signed_in},
};

const SECONDS_PER_DAY: u64 = 86_400;
/// Longest life that can be asked for, in days: 100 years.
const MAX_DAYS: u64 = 36_500;

pub fn routes() -> Routes {
    Routes::new("tokens")
        .post(
            "/tokens",
            create,
            scoped(Scope::TokensWrite, "Creates an API token; its secret is shown this once")
                .notes(
                    "A token never carries more than its creator: scopes, life and binding of a token made with a \
                     token are within those of that token.",
                )
                .holds_secrets()
                .body(
                    "name s, scopes [s], kind s?, expires_in_days i?, expires_in_seconds i?, org_slug s?, role s?, \
                     repository_slug s?, package {ecosystem s, name s}?",
                )
                .answer(201, "..Token, token s, warning s")
                .problem(403, "scope_not_grantable")
                .problem(403, "insufficient_permission")
                .problem(403, "mfa_required_by_organization")
                .problem(404, "not_found")
                .problem(422, "unknown_scope")
                .problem(422, "invalid_name")
                .audit(AuditAction::TokenCreate),
        )
        .get(
            "/tokens",
            list,
            scoped(Scope::TokensRead, "The caller's tokens that were not revoked, newest first")
                .notes("With `org`: the automation tokens of an organization, for its owners and admins.")
                .query("org s?, include_expired b?")
                .list("tokens", "Token", 100)
                .problem(403, "insufficient_permission")
                .problem(404, "not_found"),
        )
        .get(
            "/tokens/current",
            current,
            signed_in("The credential of this request").answer(
                200,
                "credential session|api_token, token Token?, session Session?, user UserPublic?, scopes [Scope], \
                 expires_at t?",
            ),
        )
        .delete(
            "/tokens/current",
            revoke_current,
            signed_in("Revokes the API token of this request").message().audit(AuditAction::TokenRevoke),
        )
        .delete(
            "/tokens/{id}",
            revoke,
            scoped(Scope::TokensWrite, "Revokes a token").message().audit(AuditAction::TokenRevoke),
        )
}

async fn create(
    State(state): State<ApiState>,
    caller: Caller,
    Origin(origin): Origin,
    body: Body,
) -> Result<Response, Problem> {
    let who = caller.require_scope(Scope::TokensWrite)?;
    let request = read_request(&state, body.fields().await?)?;
    let issued = state.identity.create_token(who, request, &origin).await?;
    let mut object = objects::token(&issued.listed);
    object["token"] = json!(issued.secret.expose());
    object["warning"] = json!("store this token now: it is not shown again");
    Ok((StatusCode::CREATED, Json(object)).into_response())
}

async fn list(State(state): State<ApiState>, caller: Caller, query: Query) -> Result<Response, Problem> {
    let who = caller.require_scope(Scope::TokensRead)?;
    let include_expired = query.flag("include_expired")?;
    let page = query.page(100)?;
    let (limit, offset) = (page.per_page, page.offset());
    let (rows, total) = match query.text("org") {
        Some(slug) => state.identity.tokens_of_org(who, slug, include_expired, limit, offset).await?,
        None => state.identity.tokens(who, include_expired, limit, offset).await?,
    };
    Ok(page.answer(&query, "tokens", rows.iter().map(objects::token).collect(), total))
}

async fn current(State(state): State<ApiState>, caller: Caller) -> Result<Response, Problem> {
    let who = caller.require_any()?;
    let user = if require_user(who).is_ok() { Some(state.identity.own_account(who).await?) } else { None };
    let (credential, token, session, expires_at) = match state.identity.current_credential(who).await? {
        CurrentCredential::Session(row) => {
            ("session", None, Some(objects::session(&row, Some(row.id))), Some(row.expires_at))
        }
        CurrentCredential::Token(listed) => ("api_token", Some(objects::token(&listed)), None, listed.token.expires_at),
    };
    let answer = json!({
        "credential": credential,
        "token": token,
        "session": session,
        "user": user.as_ref().map(objects::user_public),
        "scopes": who.scopes,
        "expires_at": expires_at,
    });
    Ok(Json(answer).into_response())
}

async fn revoke(
    State(state): State<ApiState>,
    caller: Caller,
    Origin(origin): Origin,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let who = caller.require_scope(Scope::TokensWrite)?;
    let id: TokenId = extract::id("id", &id)?;
    state.identity.revoke_token(who, id, &origin).await?;
    Ok(message("token revoked"))
}

async fn revoke_current(
    State(state): State<ApiState>,
    caller: Caller,
    Origin(origin): Origin,
) -> Result<Response, Problem> {
    state.identity.revoke_current_token(caller.require_any()?, &origin).await?;
    Ok(message("token revoked"))
}

fn read_request(state: &ApiState, mut fields: Fields) -> Result<TokenRequest, Problem> {
    let name = fields.text("name").unwrap_or_default();
    let kind = if fields.has("kind") { fields.word("kind") } else { Some(TokenKind::Personal) };
    let scopes = read_scopes(&mut fields);
    let lifetime = read_lifetime(&mut fields);
    let binding = read_binding(state, &mut fields);
    let organization = read_organization(&mut fields, kind);
    fields.finish()?;
    let kind = kind.unwrap_or(TokenKind::Personal);
    Ok(TokenRequest { name, kind, scopes, lifetime, binding, organization })
}

fn read_organization(fields: &mut Fields, kind: Option<TokenKind>) -> Option<RequestedOrganization> {
    if kind != Some(TokenKind::OrgAutomation) {
        for member in ["org_slug", "role"] {
            if kind.is_some() && fields.has(member) && !fields.is_null(member) {
                fields.report(member, "is only for tokens of kind org_automation");
            }
        }
        return None;
    }
    let role = if fields.has("role") { fields.word("role") } else { None };
    let slug = fields.text("org_slug")?;
    Some(RequestedOrganization { slug, role: role.unwrap_or(OrgRole::Publisher) })
}

fn read_scopes(fields: &mut Fields) -> ScopeSet {
    let Some(words) = fields.texts("scopes") else { return ScopeSet::EMPTY };
    if words.is_empty() {
        fields.report("scopes", "must name at least one scope");
    }
    parse_scopes(&words).unwrap_or_else(|unknown| {
        for (position, word) in unknown.words {
            fields.problem(FieldProblem {
                place: Place::Pointer(format!("/scopes/{position}")),
                code: "unknown_scope",
                message: format!("`{word}` is not a scope"),
            });
        }
        ScopeSet::EMPTY
    })
}

fn read_lifetime(fields: &mut Fields) -> Lifetime {
    let days = fields.number("expires_in_days");
    let seconds = fields.number("expires_in_seconds");
    let never = fields.is_null("expires_in_days");
    let mut life = |name: &'static str, value: i64, unit: u64| match u64::try_from(value) {
        Ok(count) if count > 0 && count <= MAX_DAYS * SECONDS_PER_DAY / unit => {
            Lifetime::For(Duration::from_secs(count * unit))
        }
        _ => {
            fields.report(name, format!("must be between 1 and {}", MAX_DAYS * SECONDS_PER_DAY / unit));
            Lifetime::Default
        }
    };
    match (days, seconds) {
        (Some(_), Some(_)) => {
            fields.report("expires_in_seconds", "must not be given together with expires_in_days");
            Lifetime::Default
        }
        (Some(days), None) => life("expires_in_days", days, SECONDS_PER_DAY),
        (None, Some(seconds)) => life("expires_in_seconds", seconds, 1),
        (None, None) if never => Lifetime::Never,
        (None, None) => Lifetime::Default,
    }
}

fn read_binding(state: &ApiState, fields: &mut Fields) -> RequestedBinding {
    let slug = fields.optional_text("repository_slug");
    let package = fields.object("package").and_then(|object| {
        let word = |name: &str| object.get(name).and_then(Value::as_str).map(str::trim);
        let ecosystem = word("ecosystem").and_then(ecosystem);
        let Some(ecosystem) = ecosystem else {
            fields.report("package/ecosystem", "must name an ecosystem");
            return None;
        };
        match word("name").map(|name| (state.parse_name)(ecosystem, name)) {
            Some(Ok(name)) => Some((ecosystem, name)),
            Some(Err(RegistryError::Invalid { message, .. })) => {
                fields.problem(FieldProblem::in_body("package/name", "invalid_name", message));
                None
            }
            _ => {
                fields.problem(FieldProblem::in_body("package/name", "invalid_name", "must be a package name"));
                None
            }
        }
    });
    match (package, slug) {
        (Some(_), Some(_)) => {
            fields.report("package", "must not be given together with repository_slug");
            RequestedBinding::None
        }
        (Some((ecosystem, name)), None) => RequestedBinding::Package(ecosystem, name),
        (None, Some(slug)) => RequestedBinding::Repository(slug),
        (None, None) => RequestedBinding::None,
    }
}

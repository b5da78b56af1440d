//! Members and their roles.

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use http::StatusCode;
use publaryn_core::{Operation, OrgRole, Scope, audit::AuditAction};
use publaryn_metadata::organizations::Slice;
use serde_json::json;

use super::{
    super::{
        ApiState,
        auth::message,
        extract::{Body, Caller, Fields, Origin, Path},
        page::Query,
        problem::Problem,
        route::{Routes, scoped},
    },
    objects,
};

pub fn routes() -> Routes {
    Routes::new("organizations")
        .get(
            "/orgs/{slug}/members",
            list,
            scoped(Scope::OrgsRead, "Members of an organization, owners first, then by user name")
                .notes("For members; for owners and admins where the directory is private.")
                .query("role OrgRole?")
                .list("members", "Member", 100)
                .problem(403, "insufficient_permission"),
        )
        .post(
            "/orgs/{slug}/members",
            add,
            scoped(Scope::OrgsWrite, "Adds a member, or changes the role of one")
                .body("username s, role OrgRole")
                .answer(201, "..Member, message s")
                .answer(200, "..Member, message s")
                .problem(403, "owner_protected")
                .problem(403, "insufficient_permission")
                .audit(AuditAction::OrgMemberAdd)
                .audit(AuditAction::OrgRoleChange),
        )
        .get(
            "/orgs/{slug}/members/search",
            search,
            scoped(Scope::OrgsRead, "Members whose user or display name contains a text")
                .query("query s?, limit i?=10")
                .answer(200, "members [Member]")
                .problem(403, "insufficient_permission"),
        )
        .patch(
            "/orgs/{slug}/members/{username}",
            change,
            scoped(Scope::OrgsWrite, "Changes the role of a member")
                .body("role OrgRole")
                .answer(200, "Member")
                .problem(403, "owner_protected")
                .problem(403, "insufficient_permission")
                .audit(AuditAction::OrgRoleChange),
        )
        .delete(
            "/orgs/{slug}/members/{username}",
            remove,
            scoped(Scope::OrgsWrite, "Removes a member, from every team too; members may remove themselves")
                .any_scope(&[Scope::OrgsWrite, Scope::OrgsJoin])
                .message()
                .problem(403, "owner_protected")
                .problem(403, "insufficient_permission")
                .audit(AuditAction::OrgMemberRemove),
        )
}

/// Most hits of a member search.
const MAX_HITS: i64 = 50;

pub async fn list(
    State(state): State<ApiState>,
    caller: Caller,
    Path(slug): Path<String>,
    query: Query,
) -> Result<Response, Problem> {
    let who = caller.require_scope(Scope::OrgsRead)?;
    let page = query.page(100)?;
    state.registry.organization_for(who, &slug, Operation::ReadDirectory).await?;
    let role: Option<OrgRole> = query.word("role")?;
    let slice = Slice::new(page.per_page, page.offset());
    let (rows, total, shows_mfa) = state.registry.members(who, &slug, role, None, slice).await?;
    Ok(page.answer(&query, "members", rows.iter().map(|row| objects::member(row, shows_mfa)).collect(), total))
}

pub async fn search(
    State(state): State<ApiState>,
    caller: Caller,
    Path(slug): Path<String>,
    query: Query,
) -> Result<Response, Problem> {
    let who = caller.require_scope(Scope::OrgsRead)?;
    let limit = query.number("limit")?.unwrap_or(10).clamp(1, MAX_HITS);
    state.registry.organization_for(who, &slug, Operation::ReadDirectory).await?;
    let Some(text) = query.text("query") else { return Ok(Json(json!({"members": []})).into_response()) };
    let slice = Slice { limit, offset: 0 };
    let (rows, _, shows_mfa) = state.registry.members(who, &slug, None, Some(text), slice).await?;
    let list: Vec<_> = rows.iter().map(|row| objects::member(row, shows_mfa)).collect();
    Ok(Json(json!({ "members": list })).into_response())
}

pub async fn add(
    State(state): State<ApiState>,
    caller: Caller,
    Origin(origin): Origin,
    Path(slug): Path<String>,
    body: Body,
) -> Result<Response, Problem> {
    let who = caller.require_scope(Scope::OrgsWrite)?;
    let mut fields = body.fields().await?;
    state.registry.organization_for(who, &slug, Operation::Govern).await?;
    let username = fields.text("username");
    let role = member_role(&mut fields, true);
    let (Some(username), Some(role)) = (username, role) else {
        return Err(super::super::auth::refused(fields.finish()));
    };
    fields.finish()?;
    let change = state.registry.set_member(who, &slug, &username, role, false, &origin).await?;
    let status = if change.is_new { StatusCode::CREATED } else { StatusCode::OK };
    let text = if change.is_new { "member added" } else { "role set" };
    Ok((status, Json(objects::with_message(objects::member(&change.member, true), text))).into_response())
}

pub async fn change(
    State(state): State<ApiState>,
    caller: Caller,
    Origin(origin): Origin,
    Path((slug, username)): Path<(String, String)>,
    body: Body,
) -> Result<Response, Problem> {
    let who = caller.require_scope(Scope::OrgsWrite)?;
    let mut fields = body.fields().await?;
    state.registry.organization_for(who, &slug, Operation::Govern).await?;
    let Some(role) = member_role(&mut fields, true) else { return Err(super::super::auth::refused(fields.finish())) };
    fields.finish()?;
    let change = state.registry.set_member(who, &slug, &username, role, true, &origin).await?;
    Ok(Json(objects::member(&change.member, true)).into_response())
}

pub async fn remove(
    State(state): State<ApiState>,
    caller: Caller,
    Origin(origin): Origin,
    Path((slug, username)): Path<(String, String)>,
) -> Result<Response, Problem> {
    let who = caller.require_any()?;
    let is_self = who.user().is_some_and(|user| user.username.eq_ignore_ascii_case(&username));
    if !(is_self && who.allows(Scope::OrgsJoin)) {
        caller.require_scope(Scope::OrgsWrite)?;
    }
    state.registry.remove_member(who, &slug, &username, &origin).await?;
    Ok(message("member removed"))
}

/// A role that may be given: nobody is made an owner but by transfer.
pub fn member_role(fields: &mut Fields, is_required: bool) -> Option<OrgRole> {
    if is_required && !fields.has("role") {
        fields.report("role", "is required");
        return None;
    }
    let role: Option<OrgRole> = fields.word("role");
    if role == Some(OrgRole::Owner) {
        fields.report("role", "must not be owner; transfer the ownership instead");
        return None;
    }
    if role.is_none() && is_required && (fields.is_null("role") || fields.is_blank("role")) {
        fields.report("role", "is required");
    }
    role
}

//! Invitations, from both sides.

use std::time::Duration;

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use http::StatusCode;
use publaryn_core::{InvitationId, Operation, OrgRole, Scope, Timestamp, audit::AuditAction};
use publaryn_metadata::organizations::Slice;
use publaryn_registry::governance::NewInvite;
use serde_json::json;

use super::{
    super::{
        ApiState,
        auth::refused,
        extract::{Body, Caller, Origin, Path},
        input::path_id,
        page::Query,
        problem::Problem,
        route::{Routes, scoped},
    },
    members::member_role,
    objects,
};

pub fn routes() -> Routes {
    Routes::new("organizations")
        .get(
            "/orgs/{slug}/invitations",
            list,
            scoped(Scope::OrgsRead, "Open invitations of an organization, newest first")
                .query("include_inactive b?=false")
                .list("invitations", "Invitation", 100)
                .problem(403, "insufficient_permission"),
        )
        .post(
            "/orgs/{slug}/invitations",
            create,
            scoped(Scope::OrgsWrite, "Invites somebody")
                .body("username_or_email s, role OrgRole?, expires_in_days i?=7")
                .answer(201, "Invitation")
                .problem(403, "insufficient_permission")
                .problem(409, "already_member")
                .problem(409, "invitation_exists")
                .audit(AuditAction::OrgInvitationCreate),
        )
        .delete(
            "/orgs/{slug}/invitations/{id}",
            revoke,
            scoped(Scope::OrgsWrite, "Takes an open invitation back")
                .answer(200, "..Invitation, message s")
                .problem(403, "insufficient_permission")
                .audit(AuditAction::OrgInvitationRevoke),
        )
        .get(
            "/org-invitations",
            own,
            scoped(Scope::OrgsJoin, "The caller's open invitations, newest first")
                .query("include_inactive b?=false")
                .list("invitations", "InvitationSelf", 100)
                .problem(404, "not_found"),
        )
        .post(
            "/org-invitations/{id}/accept",
            accept,
            scoped(Scope::OrgsJoin, "Accepts an invitation")
                .answer(200, "message s, org {id u, slug s, name s}, role OrgRole")
                .problem(409, "invitation_not_actionable")
                .problem(409, "already_member")
                .audit(AuditAction::OrgInvitationAccept),
        )
        .post(
            "/org-invitations/{id}/decline",
            decline,
            scoped(Scope::OrgsJoin, "Declines an invitation")
                .answer(200, "message s, id u, status InvitationStatus")
                .problem(409, "invitation_not_actionable")
                .audit(AuditAction::OrgInvitationDecline),
        )
}

const SECONDS_PER_DAY: u64 = 86_400;
/// How long an invitation holds, in days.
const DEFAULT_DAYS: i64 = 7;
const MAX_DAYS: i64 = 30;

pub async fn list(
    State(state): State<ApiState>,
    caller: Caller,
    Path(slug): Path<String>,
    query: Query,
) -> Result<Response, Problem> {
    let who = caller.require_scope(Scope::OrgsRead)?;
    let (page, inactive) = (query.page(100)?, query.flag("include_inactive")?);
    let slice = Slice::new(page.per_page, page.offset());
    let (rows, total) = state.registry.invitations(who, &slug, inactive, slice).await?;
    let now = Timestamp::now();
    Ok(page.answer(&query, "invitations", rows.iter().map(|row| objects::invitation(row, now)).collect(), total))
}

pub async fn create(
    State(state): State<ApiState>,
    caller: Caller,
    Origin(origin): Origin,
    Path(slug): Path<String>,
    body: Body,
) -> Result<Response, Problem> {
    let who = caller.require_scope(Scope::OrgsWrite)?;
    let mut fields = body.fields().await?;
    state.registry.organization_for(who, &slug, Operation::Govern).await?;
    let address = fields.text("username_or_email");
    let role = member_role(&mut fields, false).unwrap_or(OrgRole::Viewer);
    let days = fields.number("expires_in_days").unwrap_or(DEFAULT_DAYS);
    if !(1..=MAX_DAYS).contains(&days) {
        fields.report("expires_in_days", format!("must be between 1 and {MAX_DAYS}"));
    }
    let Some(username_or_email) = address else { return Err(refused(fields.finish())) };
    fields.finish()?;
    let valid_for = Duration::from_secs(days.unsigned_abs() * SECONDS_PER_DAY);
    let row = state.registry.invite(who, &slug, NewInvite { username_or_email, role, valid_for }, &origin).await?;
    Ok((StatusCode::CREATED, Json(objects::invitation(&row, Timestamp::now()))).into_response())
}

pub async fn revoke(
    State(state): State<ApiState>,
    caller: Caller,
    Origin(origin): Origin,
    Path((slug, id)): Path<(String, String)>,
) -> Result<Response, Problem> {
    let who = caller.require_scope(Scope::OrgsWrite)?;
    let id: InvitationId = path_id(&id)?;
    let row = state.registry.revoke_invitation(who, &slug, id, &origin).await?;
    Ok(Json(objects::with_message(objects::invitation(&row, Timestamp::now()), "invitation revoked")).into_response())
}

pub async fn own(State(state): State<ApiState>, caller: Caller, query: Query) -> Result<Response, Problem> {
    let who = caller.require_scope(Scope::OrgsJoin)?;
    let (page, inactive) = (query.page(100)?, query.flag("include_inactive")?);
    let slice = Slice::new(page.per_page, page.offset());
    let (rows, total) = state.registry.own_invitations(who, inactive, slice).await?;
    let now = Timestamp::now();
    Ok(page.answer(&query, "invitations", rows.iter().map(|row| objects::own_invitation(row, now)).collect(), total))
}

pub async fn accept(
    State(state): State<ApiState>,
    caller: Caller,
    Origin(origin): Origin,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let who = caller.require_scope(Scope::OrgsJoin)?;
    let row = state.registry.accept_invitation(who, path_id(&id)?, &origin).await?;
    let org = json!({"id": row.org_id, "slug": row.org_slug, "name": row.org_name});
    Ok(Json(json!({"message": "you are a member now", "org": org, "role": row.role})).into_response())
}

pub async fn decline(
    State(state): State<ApiState>,
    caller: Caller,
    Origin(origin): Origin,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let who = caller.require_scope(Scope::OrgsJoin)?;
    let row = state.registry.decline_invitation(who, path_id(&id)?, &origin).await?;
    Ok(Json(json!({"message": "invitation declined", "id": row.id, "status": row.status})).into_response())
}

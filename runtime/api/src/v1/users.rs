//! `/v1/users/*`: profiles (control-plane.md §4).

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use publaryn_core::{Scope, audit::AuditAction};
use publaryn_registry::identity::ProfilePatch;
use serde_json::json;

use super::{
    ApiState,
    extract::{Body, Caller, Fields, Origin, Path},
    objects,
    problem::{FieldProblem, Problem},
    route::{Routes, public, scoped, signed_in},
};

/// What an account's owner may change of it.
const PROFILE: &str = "display_name s?, bio s?, website s?, avatar_url s?";

pub fn routes() -> Routes {
    Routes::new("users")
        .get("/users/me", me, signed_in("The caller's own account").answer(200, "UserSelf").problem(404, "not_found"))
        .patch(
            "/users/me",
            update_me,
            scoped(Scope::ProfileWrite, "Changes the caller's own profile")
                .body(PROFILE)
                .answer(200, "UserSelf")
                .problem(404, "not_found")
                .audit(AuditAction::UserUpdate),
        )
        .get(
            "/users/me/organizations",
            super::orgs::own,
            signed_in("The caller's organizations, by name")
                .list("organizations", "OrgSummary", 20)
                .problem(404, "not_found"),
        )
        .get("/users/{username}", profile, public("A person's public profile").answer(200, "UserPublic"))
        .patch(
            "/users/{username}",
            update_named,
            scoped(Scope::ProfileWrite, "Changes the caller's own profile, by name")
                .body(PROFILE)
                .answer(200, "..UserPublic, message s")
                .problem(403, "insufficient_permission")
                .audit(AuditAction::UserUpdate),
        )
}

async fn me(State(state): State<ApiState>, caller: Caller) -> Result<Response, Problem> {
    let who = caller.require_user()?;
    let user = state.identity.own_account(who).await?;
    Ok(Json(objects::user_self(&user, who.scopes)).into_response())
}

async fn update_me(
    State(state): State<ApiState>,
    caller: Caller,
    Origin(origin): Origin,
    body: Body,
) -> Result<Response, Problem> {
    let who = caller.require_scope(Scope::ProfileWrite)?;
    let fields = body.fields().await?;
    let user = state.identity.update_profile(who, patch(fields)?, &origin).await?;
    Ok(Json(objects::user_self(&user, who.scopes)).into_response())
}

async fn profile(State(state): State<ApiState>, Path(username): Path<String>) -> Result<Response, Problem> {
    let user = state.identity.user_by_name(&username).await?;
    Ok(Json(objects::user_public(&user)).into_response())
}

async fn update_named(
    State(state): State<ApiState>,
    caller: Caller,
    Origin(origin): Origin,
    Path(username): Path<String>,
    body: Body,
) -> Result<Response, Problem> {
    let who = caller.require_scope(Scope::ProfileWrite)?;
    let fields = body.fields().await?;
    state.identity.require_own_profile(who, &username).await?;
    let user = state.identity.update_profile(who, patch(fields)?, &origin).await?;
    let mut object = objects::user_public(&user);
    object["message"] = json!("profile updated");
    Ok(Json(object).into_response())
}

/// Reads and checks a profile patch, so that faults of form and of content are listed together.
fn patch(mut fields: Fields) -> Result<ProfilePatch, Problem> {
    let patch = ProfilePatch {
        display_name: fields.patch_text("display_name"),
        bio: fields.patch_text("bio"),
        website: fields.patch_text("website"),
        avatar_url: fields.patch_text("avatar_url"),
    };
    let checked = patch.checked().unwrap_or_else(|problems| {
        problems.into_iter().map(FieldProblem::from).for_each(|problem| fields.problem(problem));
        ProfilePatch::default()
    });
    fields.finish()?;
    Ok(checked)
}

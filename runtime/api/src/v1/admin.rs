//! `/v1/admin/users*`, `/v1/admin/gc`, `/v1/admin/search/reindex`: what platform administrators do
//! (control-plane.md §11).

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use http::StatusCode;
use publaryn_core::{PackageId, Scope, audit::AuditAction};
use publaryn_metadata::users::{UserFilter, UserRow};
use publaryn_registry::identity::AccountChange;
use serde_json::{Value, json};

use super::{
    ApiState,
    extract::{Body, Caller, Origin, Path},
    objects,
    page::Query,
    problem::Problem,
    route::{Routes, platform},
};

pub fn routes() -> Routes {
    Routes::new("operation")
        .get(
            "/admin/users",
            users,
            platform(Scope::AuditRead, "Accounts by user name").query("q s?, is_admin b?, is_active b?").list(
                "users",
                "UserAdmin",
                50,
            ),
        )
        .patch(
            "/admin/users/{username}",
            update_user,
            platform(Scope::AdminWrite, "Changes somebody's account")
                .notes("Disabling ends its sessions and stops its tokens. The last active administrator is protected.")
                .body("is_active b?, is_admin b?, reset_mfa b?")
                .answer(200, "UserAdmin")
                .problem(409, "state_conflict")
                .audit(AuditAction::UserDisable)
                .audit(AuditAction::UserEnable)
                .audit(AuditAction::UserAdminGrant)
                .audit(AuditAction::UserAdminRevoke)
                .audit(AuditAction::MfaDisable),
        )
        .post(
            "/admin/search/reindex",
            reindex,
            platform(Scope::AdminWrite, "Has the search index written anew, for one package or for all")
                .optional_body("package_id u?")
                .answer(202, "job_id u")
                .problem(404, "not_found")
                .audit(AuditAction::AdminSearchReindex),
        )
        .post(
            "/admin/gc",
            gc,
            platform(Scope::AdminWrite, "Has blobs that nothing refers to collected")
                .notes("With `dry_run` nothing is deleted; the job's progress tells how many objects would be.")
                .optional_body("dry_run b?")
                .answer(202, "job_id u")
                .audit(AuditAction::AdminGc),
        )
}

async fn users(State(state): State<ApiState>, caller: Caller, query: Query) -> Result<Response, Problem> {
    let filter = UserFilter {
        text: query.text("q").map(str::to_owned),
        is_admin: query.optional_flag("is_admin")?,
        is_active: query.optional_flag("is_active")?,
    };
    let page = query.page(50)?;
    let (rows, total) = state.identity.accounts(&caller.0, &filter, page.per_page, page.offset()).await?;
    Ok(page.answer(&query, "users", rows.iter().map(user_admin).collect(), total))
}

async fn update_user(
    State(state): State<ApiState>,
    caller: Caller,
    Origin(origin): Origin,
    Path(username): Path<String>,
    body: Body,
) -> Result<Response, Problem> {
    let mut fields = body.fields().await?;
    let change = AccountChange {
        is_active: fields.flag("is_active"),
        is_admin: fields.flag("is_admin"),
        reset_mfa: fields.flag("reset_mfa").unwrap_or(false),
    };
    for name in ["is_active", "is_admin", "reset_mfa"] {
        if fields.is_null(name) {
            fields.report(name, "cannot be cleared");
        }
    }
    state.identity.any_account(&caller.0, &username).await?;
    fields.finish()?;
    let user = state.identity.administer(&caller.0, &username, change, &origin).await?;
    Ok(Json(user_admin(&user)).into_response())
}

async fn reindex(
    State(state): State<ApiState>,
    caller: Caller,
    Origin(origin): Origin,
    body: Body,
) -> Result<Response, Problem> {
    let mut fields = body.optional_fields().await?;
    let package: Option<PackageId> = fields.id("package_id");
    fields.finish()?;
    let job = state.registry.reindex_search(&caller.0, package, &origin).await?;
    Ok((StatusCode::ACCEPTED, Json(json!({ "job_id": job }))).into_response())
}

async fn gc(
    State(state): State<ApiState>,
    caller: Caller,
    Origin(origin): Origin,
    body: Body,
) -> Result<Response, Problem> {
    let mut fields = body.optional_fields().await?;
    let dry_run = fields.flag("dry_run").unwrap_or(false);
    fields.finish()?;
    let job = state.registry.collect_garbage(&caller.0, dry_run, &origin).await?;
    Ok((StatusCode::ACCEPTED, Json(json!({ "job_id": job }))).into_response())
}

fn user_admin(user: &UserRow) -> Value {
    let mut object = objects::user_public(user);
    object["email"] = json!(user.email);
    object["is_admin"] = json!(user.is_admin);
    object["is_active"] = json!(user.is_active);
    object["mfa_enabled"] = json!(user.has_mfa());
    object["last_login_at"] = json!(user.last_login_at);
    object
}

//! The organization itself.

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use http::StatusCode;
use publaryn_core::{Operation, Scope, audit::AuditAction};
use publaryn_metadata::{
    organizations::{OrgRow, Slice},
    repositories::RepositoryFilter,
};
use publaryn_registry::governance::{NewOrganization, OrgPatch};
use serde_json::json;

use super::{
    super::{
        ApiState,
        auth::message,
        extract::{Body, Caller, Fields, Origin, Path},
        input::{self, DESCRIPTION, LINE, WEB_ADDRESS},
        page::Query,
        problem::Problem,
        repositories,
        route::{Routes, public, scoped},
        validators::{IfMatch, Revision},
    },
    objects,
};

pub fn routes() -> Routes {
    Routes::new("organizations")
        .post(
            "/orgs",
            create,
            scoped(Scope::OrgsWrite, "Creates an organization; the caller becomes its owner")
                .body("name s, slug s, description s?, website s?, email s?")
                .answer(201, "Org")
                .problem(409, "already_exists")
                .problem(422, "reserved_name")
                .audit(AuditAction::OrgCreate),
        )
        .get("/orgs/{slug}", show, public("An organization's profile").answer(200, "Org"))
        .patch(
            "/orgs/{slug}",
            update,
            scoped(Scope::OrgsWrite, "Changes the profile and the rules of an organization")
                .notes("For its owners and admins.")
                .if_match()
                .body(
                    "name s?, description s?, website s?, email s?, avatar_url s?, mfa_required b?, \
                     member_directory_is_private b?, restrict_private_reads b?, default_repository_slug s?",
                )
                .answer(200, "..Org, message s")
                .problem(403, "insufficient_permission")
                .problem(403, "mfa_required_by_organization")
                .problem(409, "mfa_not_enabled")
                .audit(AuditAction::OrgUpdate),
        )
        .delete(
            "/orgs/{slug}",
            remove,
            scoped(Scope::OrgsWrite, "Deletes an organization that owns nothing any more")
                .notes("For its owners.")
                .in_session_only()
                .if_match()
                .message()
                .problem(403, "insufficient_permission")
                .problem(409, "organization_not_empty")
                .audit(AuditAction::OrgDelete),
        )
        .post(
            "/orgs/{slug}/ownership-transfer",
            transfer,
            scoped(Scope::OrgsTransfer, "Hands an organization to another member; the caller stays as admin")
                .body("username s")
                .answer(
                    200,
                    "message s, org {id u, slug s, name s}, previous_owner {id u, new_role s}, \
                     new_owner {id u, username s, role OrgRole}",
                )
                .problem(403, "insufficient_permission")
                .problem(409, "already_owner")
                .audit(AuditAction::OrgOwnershipTransfer),
        )
        .get(
            "/orgs/{slug}/repositories",
            repositories,
            public("Repositories of an organization that the caller may see, by slug").list(
                "repositories",
                "Repository",
                20,
            ),
        )
}

pub async fn create(
    State(state): State<ApiState>,
    caller: Caller,
    Origin(origin): Origin,
    body: Body,
) -> Result<Response, Problem> {
    let who = caller.require_scope(Scope::OrgsWrite)?;
    let mut fields = body.fields().await?;
    let new = NewOrganization {
        name: input::required_name(&mut fields),
        slug: input::organization_slug(&mut fields, state.identity.rules()),
        description: input::optional(&mut fields, "description", DESCRIPTION),
        website: input::optional(&mut fields, "website", WEB_ADDRESS),
        email: input::optional(&mut fields, "email", input::email),
    };
    fields.finish()?;
    let view = state.registry.create_organization(who, new, &origin).await?;
    Ok(revision(&view.org).on((StatusCode::CREATED, Json(objects::org(&view)))))
}

pub async fn show(
    State(state): State<ApiState>,
    caller: Caller,
    Path(slug): Path<String>,
) -> Result<Response, Problem> {
    let view = state.registry.organization_view(&caller.0, &slug).await?;
    Ok(revision(&view.org).on(Json(objects::org(&view))))
}

fn revision(org: &OrgRow) -> Revision {
    Revision::of(org.id, org.updated_at)
}

pub async fn update(
    State(state): State<ApiState>,
    caller: Caller,
    Origin(origin): Origin,
    Path(slug): Path<String>,
    if_match: IfMatch,
    body: Body,
) -> Result<Response, Problem> {
    let who = caller.require_scope(Scope::OrgsWrite)?;
    let fields = body.fields().await?;
    let org = state.registry.organization_for(who, &slug, Operation::Govern).await?;
    if_match.check(&revision(&org))?;
    let check = |org: &OrgRow| if_match.check(&revision(org));
    let view = state.registry.update_organization(who, &slug, patch(fields)?, check, &origin).await?;
    Ok(revision(&view.org).on(Json(objects::with_message(objects::org(&view), "organization updated"))))
}

fn patch(mut fields: Fields) -> Result<OrgPatch, Problem> {
    let patch = OrgPatch {
        name: input::patch_name(&mut fields),
        description: input::patch(&mut fields, "description", DESCRIPTION),
        website: input::patch(&mut fields, "website", WEB_ADDRESS),
        email: input::patch(&mut fields, "email", input::email),
        avatar_url: input::patch(&mut fields, "avatar_url", WEB_ADDRESS),
        mfa_required: flag(&mut fields, "mfa_required"),
        member_directory_is_private: flag(&mut fields, "member_directory_is_private"),
        restrict_private_reads: flag(&mut fields, "restrict_private_reads"),
        default_repository_slug: input::patch(&mut fields, "default_repository_slug", LINE),
    };
    fields.finish()?;
    Ok(patch)
}

/// A flag that cannot be cleared.
fn flag(fields: &mut Fields, name: &'static str) -> Option<bool> {
    if fields.is_null(name) {
        fields.report(name, "must be true or false");
    }
    fields.flag(name)
}

pub async fn remove(
    State(state): State<ApiState>,
    caller: Caller,
    Origin(origin): Origin,
    Path(slug): Path<String>,
    if_match: IfMatch,
) -> Result<Response, Problem> {
    let who = caller.require_session()?;
    let check = |org: &OrgRow| if_match.check(&revision(org));
    state.registry.delete_organization(who, &slug, check, &origin).await?;
    Ok(message("organization deleted"))
}

pub async fn transfer(
    State(state): State<ApiState>,
    caller: Caller,
    Origin(origin): Origin,
    Path(slug): Path<String>,
    body: Body,
) -> Result<Response, Problem> {
    let who = caller.require_scope(Scope::OrgsTransfer)?;
    let mut fields = body.fields().await?;
    state.registry.organization_for(who, &slug, Operation::TransferOrganization).await?;
    let username = fields.text("username").unwrap_or_default();
    fields.finish()?;
    let (org, owner) = state.registry.transfer_organization(who, &slug, &username, &origin).await?;
    let answer = json!({
        "message": format!("`{}` owns the organization now", owner.username),
        "org": objects::org_label(&org),
        "previous_owner": {"id": who.acting_user(), "new_role": "admin"},
        "new_owner": {"id": owner.user_id, "username": owner.username, "role": owner.role},
    });
    Ok(Json(answer).into_response())
}

/// `/v1/users/me/organizations`.
pub async fn own(State(state): State<ApiState>, caller: Caller, query: Query) -> Result<Response, Problem> {
    let who = caller.require_user()?;
    let page = query.page(20)?;
    let (rows, total) = state.registry.own_organizations(who, Slice::new(page.per_page, page.offset())).await?;
    let list = rows.iter().map(|(row, may)| objects::summary(row, may)).collect();
    Ok(page.answer(&query, "organizations", list, total))
}

pub async fn repositories(
    State(state): State<ApiState>,
    caller: Caller,
    Path(slug): Path<String>,
    query: Query,
) -> Result<Response, Problem> {
    let page = query.page(20)?;
    let org = state.registry.organization(&slug).await?;
    let filter = RepositoryFilter { owner_org: Some(org.id), ..RepositoryFilter::default() };
    let slice = Slice::new(page.per_page, page.offset());
    let (views, total) = state.registry.repositories(&caller.0, &filter, slice).await?;
    Ok(page.answer(&query, "repositories", views.iter().map(repositories::object).collect(), total))
}

//! `/v1/repositories*` (control-plane.md §7).

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use http::StatusCode;
use publaryn_core::{Operation, RegistryError, RepositoryKind, Scope, Visibility, audit::AuditAction};
use publaryn_metadata::{
    organizations::Slice,
    repositories::{RepositoryFilter, RepositoryRow},
};
use publaryn_registry::governance::{NewRepository, RepositoryPatch, RepositoryView};
use serde_json::{Value, json};

use super::{
    ApiState,
    auth::{message, refused},
    extract::{Body, Caller, Fields, Origin, Path},
    input::{self, DESCRIPTION},
    orgs::objects::{new_owner, with_message},
    page::Query,
    problem::Problem,
    route::{Routes, public, scoped},
    validators::{IfMatch, Revision},
};

pub fn routes() -> Routes {
    Routes::new("repositories")
        .get(
            "/repositories",
            list,
            public("Repositories that the caller may see, by slug")
                .query("owner s?, org s?, kind RepositoryKind?")
                .list("repositories", "Repository", 20),
        )
        .post(
            "/repositories",
            create,
            scoped(Scope::RepositoriesWrite, "Creates a repository for the caller or an organization they govern")
                .body(
                    "name s, slug s, description s?, kind RepositoryKind?, visibility Visibility?, owner_user_id u?, \
                     owner_org_id u?",
                )
                .answer(201, "Repository")
                .problem(403, "insufficient_permission")
                .problem(404, "not_found")
                .problem(409, "already_exists")
                .problem(409, "unsupported_repository_kind")
                .problem(422, "visibility_too_broad")
                .problem(422, "visibility_needs_organization")
                .audit(AuditAction::RepositoryCreate),
        )
        .get("/repositories/{slug}", show, public("A repository").answer(200, "Repository"))
        .patch(
            "/repositories/{slug}",
            update,
            scoped(Scope::RepositoriesWrite, "Changes a repository")
                .notes("More people seeing packages has to be confirmed.")
                .if_match()
                .body("name s?, description s?, visibility Visibility?, confirm_exposure b?")
                .answer(200, "..Repository, message s")
                .problem(403, "insufficient_permission")
                .problem(403, "mfa_required_by_organization")
                .problem(409, "confirmation_required")
                .problem(422, "visibility_too_broad")
                .problem(422, "visibility_needs_organization")
                .audit(AuditAction::RepositoryUpdate),
        )
        .delete(
            "/repositories/{slug}",
            remove,
            scoped(Scope::RepositoriesWrite, "Deletes an empty repository")
                .if_match()
                .message()
                .problem(403, "insufficient_permission")
                .problem(409, "repository_not_empty")
                .audit(AuditAction::RepositoryDelete),
        )
        .post(
            "/repositories/{slug}/ownership-transfer",
            transfer,
            scoped(Scope::RepositoriesTransfer, "Hands a repository to an organization the caller governs")
                .notes("Packages keep their owner; grants on the repository end and tokens bound to it stop working.")
                .body("target_org_slug s")
                .answer(
                    200,
                    "message s, repository {id u, name s, slug s, kind RepositoryKind, visibility Visibility}, \
                     owner {type s, id u, slug s, name s}",
                )
                .problem(403, "insufficient_permission")
                .problem(409, "already_owner")
                .audit(AuditAction::RepositoryTransfer),
        )
}

fn revision(row: &RepositoryRow) -> Revision {
    Revision::of(row.id, row.updated_at)
}

async fn list(State(state): State<ApiState>, caller: Caller, query: Query) -> Result<Response, Problem> {
    let page = query.page(20)?;
    let mut filter = RepositoryFilter { kind: query.word("kind")?, ..RepositoryFilter::default() };
    let mut nobody = false;
    match query.text("owner") {
        None => {}
        Some("me") => filter.owner_user = Some(own_id(&caller)?),
        Some(name) => match state.identity.user_by_name(name).await {
            Ok(user) => filter.owner_user = Some(user.id),
            Err(RegistryError::NotFound) => nobody = true,
            Err(other) => return Err(other.into()),
        },
    }
    if let Some(slug) = query.text("org") {
        match state.registry.organization(slug).await {
            Ok(org) => filter.owner_org = Some(org.id),
            Err(RegistryError::NotFound) => nobody = true,
            Err(other) => return Err(other.into()),
        }
    }
    if nobody {
        return Ok(page.answer(&query, "repositories", Vec::new(), 0));
    }
    let slice = Slice::new(page.per_page, page.offset());
    let (views, total) = state.registry.repositories(&caller.0, &filter, slice).await?;
    Ok(page.answer(&query, "repositories", views.iter().map(object).collect(), total))
}

fn own_id(caller: &Caller) -> Result<publaryn_core::UserId, Problem> {
    let who = caller.require_user()?;
    who.user().map(|user| user.id).ok_or_else(Problem::not_found)
}

async fn create(
    State(state): State<ApiState>,
    caller: Caller,
    Origin(origin): Origin,
    body: Body,
) -> Result<Response, Problem> {
    let who = caller.require_scope(Scope::RepositoriesWrite)?;
    let mut fields = body.fields().await?;
    let owner = input::owner(&mut fields);
    if !fields.has_problems() {
        state.registry.may_create_repository(who, owner).await?;
    }
    let is_foreign = is_foreign_kind(&fields);
    let kind = if is_foreign { None } else { fields.word("kind") };
    let new = NewRepository {
        name: input::required_name(&mut fields),
        slug: input::required_slug(&mut fields),
        description: input::optional(&mut fields, "description", DESCRIPTION),
        kind: kind.unwrap_or(RepositoryKind::Public),
        visibility: fields.word("visibility"),
        owner,
    };
    fields.finish()?;
    if is_foreign {
        let error =
            RegistryError::conflict("unsupported_repository_kind", "proxy and virtual repositories are not offered");
        return Err(error.into());
    }
    let view = state.registry.create_repository(who, new, &origin).await?;
    Ok(revision(&view.details.row).on((StatusCode::CREATED, Json(object(&view)))))
}

/// Kinds that other registries have.
fn is_foreign_kind(fields: &Fields) -> bool {
    fields
        .raw("kind")
        .and_then(Value::as_str)
        .is_some_and(|kind| ["proxy", "virtual"].iter().any(|foreign| kind.trim().eq_ignore_ascii_case(foreign)))
}

async fn show(State(state): State<ApiState>, caller: Caller, Path(slug): Path<String>) -> Result<Response, Problem> {
    let view = state.registry.repository(&caller.0, &slug).await?;
    Ok(revision(&view.details.row).on(Json(object(&view))))
}

async fn update(
    State(state): State<ApiState>,
    caller: Caller,
    Origin(origin): Origin,
    Path(slug): Path<String>,
    if_match: IfMatch,
    body: Body,
) -> Result<Response, Problem> {
    let who = caller.require_scope(Scope::RepositoriesWrite)?;
    let mut fields = body.fields().await?;
    let row = state.registry.may_change_repository(who, &slug, Operation::Administer).await?;
    if_match.check(&revision(&row))?;
    if fields.is_null("visibility") {
        fields.report("visibility", "cannot be cleared");
    }
    let patch = RepositoryPatch {
        name: input::patch_name(&mut fields),
        description: input::patch(&mut fields, "description", DESCRIPTION),
        visibility: fields.word::<Visibility>("visibility"),
        confirm_exposure: fields.flag("confirm_exposure").unwrap_or(false),
    };
    fields.finish()?;
    let check = |row: &RepositoryRow| if_match.check(&revision(row));
    let view = state.registry.update_repository(who, &slug, patch, check, &origin).await?;
    Ok(revision(&view.details.row).on(Json(with_message(object(&view), "repository updated"))))
}

async fn remove(
    State(state): State<ApiState>,
    caller: Caller,
    Origin(origin): Origin,
    Path(slug): Path<String>,
    if_match: IfMatch,
) -> Result<Response, Problem> {
    let who = caller.require_scope(Scope::RepositoriesWrite)?;
    let check = |row: &RepositoryRow| if_match.check(&revision(row));
    state.registry.delete_repository(who, &slug, check, &origin).await?;
    Ok(message("repository deleted"))
}

async fn transfer(
    State(state): State<ApiState>,
    caller: Caller,
    Origin(origin): Origin,
    Path(slug): Path<String>,
    body: Body,
) -> Result<Response, Problem> {
    let who = caller.require_scope(Scope::RepositoriesTransfer)?;
    let mut fields = body.fields().await?;
    state.registry.may_change_repository(who, &slug, Operation::Transfer).await?;
    let Some(target) = fields.text("target_org_slug") else { return Err(refused(fields.finish())) };
    fields.finish()?;
    let (row, org) = state.registry.transfer_repository(who, &slug, &target, &origin).await?;
    let answer = json!({
        "message": format!("the repository belongs to `{}` now", org.slug),
        "repository": {
            "id": row.id,
            "name": row.name,
            "slug": row.slug,
            "kind": row.kind,
            "visibility": row.visibility,
        },
        "owner": new_owner(&org),
    });
    Ok(Json(answer).into_response())
}

/// **Repository**.
pub fn object(view: &RepositoryView) -> Value {
    let (details, row) = (&view.details, &view.details.row);
    json!({
        "id": row.id,
        "name": row.name,
        "slug": row.slug,
        "description": row.description,
        "kind": row.kind,
        "visibility": row.visibility,
        "owner_user_id": row.owner_user_id,
        "owner_org_id": row.owner_org_id,
        "owner_username": details.owner_username,
        "owner_org_slug": details.owner_org_slug,
        "owner_org_name": details.owner_org_name,
        "upstream_url": null,
        "package_count": view.package_count,
        "can_manage": view.can_manage,
        "can_create_packages": view.can_create_packages,
        "can_transfer": view.can_transfer,
        "created_at": row.created_at,
        "updated_at": row.updated_at,
    })
}

//! `/v1/namespaces*`: namespace claims (control-plane.md §6).

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use http::StatusCode;
use publaryn_core::{ClaimId, Namespace, Operation, RegistryError, Scope, audit::AuditAction};
use publaryn_metadata::{claims::ClaimFilter, organizations::Slice};
use publaryn_registry::governance::{ClaimView, NewClaim};
use serde_json::{Value, json};

use super::{
    ApiState,
    auth::{message, refused},
    extract::{Body, Caller, Origin, Path},
    input::{self, path_id, unprocessable_parameter},
    orgs::objects::new_owner,
    page::Query,
    problem::Problem,
    route::{Routes, platform, public, scoped},
};

pub fn routes() -> Routes {
    Routes::new("namespaces")
        .get(
            "/namespaces",
            list,
            public("Namespace claims, newest first")
                .query("ecosystem Ecosystem?, owner_user_id u?, owner_org_id u?, verified b?")
                .list("namespaces", "NamespaceClaim", 20),
        )
        .post(
            "/namespaces",
            create,
            scoped(Scope::NamespacesWrite, "Claims a namespace for the caller or an organization they govern")
                .body("ecosystem Ecosystem, namespace s, owner_user_id u?, owner_org_id u?")
                .answer(201, "NamespaceClaim")
                .problem(403, "insufficient_permission")
                .problem(403, "platform_admin_required")
                .problem(404, "not_found")
                .problem(409, "already_exists")
                .problem(409, "namespace_in_use")
                .problem(422, "invalid_name")
                .problem(422, "reserved_name")
                .audit(AuditAction::NamespaceClaimCreate),
        )
        .get(
            "/namespaces/lookup",
            lookup,
            public("The claim that governs a namespace: the longest match")
                .query("ecosystem Ecosystem, namespace s")
                .answer(200, "NamespaceClaim")
                .problem(404, "not_found"),
        )
        .delete(
            "/namespaces/{claim_id}",
            remove,
            scoped(Scope::NamespacesWrite, "Deletes a claim with the grants on it; packages stay")
                .message()
                .problem(403, "insufficient_permission")
                .audit(AuditAction::NamespaceClaimDelete),
        )
        .post(
            "/namespaces/{claim_id}/ownership-transfer",
            transfer,
            scoped(Scope::NamespacesTransfer, "Hands a claim to an organization the caller governs")
                .body("target_org_slug s")
                .answer(
                    200,
                    "message s, namespace_claim {id u, ecosystem Ecosystem, namespace s, is_verified b}, \
                     owner {type s, id u, slug s, name s}",
                )
                .problem(403, "insufficient_permission")
                .problem(409, "already_owner")
                .audit(AuditAction::NamespaceClaimTransfer),
        )
        .post(
            "/namespaces/{claim_id}/verify",
            verify,
            platform(Scope::AdminWrite, "Notes whether a claim was checked")
                .body("is_verified b, note s?")
                .answer(200, "NamespaceClaim")
                .audit(AuditAction::NamespaceClaimVerify),
        )
}

async fn list(State(state): State<ApiState>, caller: Caller, query: Query) -> Result<Response, Problem> {
    let page = query.page(20)?;
    let filter = ClaimFilter {
        ecosystem: input::query_ecosystem(&query)?,
        owner_user: query.id("owner_user_id")?,
        owner_org: query.id("owner_org_id")?,
        verified: query.optional_flag("verified")?,
    };
    let slice = Slice::new(page.per_page, page.offset());
    let (views, total) = state.registry.claims(&caller.0, &filter, slice).await?;
    Ok(page.answer(&query, "namespaces", views.iter().map(object).collect(), total))
}

async fn lookup(State(state): State<ApiState>, caller: Caller, query: Query) -> Result<Response, Problem> {
    let ecosystem = input::query_ecosystem(&query)?;
    let ecosystem = ecosystem.ok_or_else(|| unprocessable_parameter("ecosystem", "is required"))?;
    let text = query.text("namespace").ok_or_else(|| unprocessable_parameter("namespace", "is required"))?;
    // What is no namespace nobody has claimed.
    let namespace = Namespace::parse(ecosystem, text).map_err(|_| Problem::not_found())?;
    let view = state.registry.governing_claim(&caller.0, &namespace).await?;
    Ok(Json(object(&view)).into_response())
}

async fn create(
    State(state): State<ApiState>,
    caller: Caller,
    Origin(origin): Origin,
    body: Body,
) -> Result<Response, Problem> {
    let who = caller.require_scope(Scope::NamespacesWrite)?;
    let mut fields = body.fields().await?;
    let owner = input::owner(&mut fields);
    if !fields.has_problems() {
        state.registry.may_claim(who, owner).await?;
    }
    let ecosystem = input::required_ecosystem(&mut fields);
    let namespace = fields.text("namespace").zip(ecosystem).and_then(|(text, ecosystem)| {
        match Namespace::parse(ecosystem, &text) {
            Ok(namespace) => Some(namespace),
            Err(RegistryError::Invalid { code, message }) => {
                fields.problem(super::problem::FieldProblem::in_body("namespace", code, message));
                None
            }
            Err(_) => None,
        }
    });
    let Some(namespace) = namespace else { return Err(refused(fields.finish())) };
    fields.finish()?;
    let view = state.registry.create_claim(who, NewClaim { namespace, owner }, &origin).await?;
    Ok((StatusCode::CREATED, Json(object(&view))).into_response())
}

async fn remove(
    State(state): State<ApiState>,
    caller: Caller,
    Origin(origin): Origin,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let who = caller.require_scope(Scope::NamespacesWrite)?;
    let id: ClaimId = path_id(&id)?;
    state.registry.delete_claim(who, id, &origin).await?;
    Ok(message("claim deleted"))
}

async fn transfer(
    State(state): State<ApiState>,
    caller: Caller,
    Origin(origin): Origin,
    Path(id): Path<String>,
    body: Body,
) -> Result<Response, Problem> {
    let who = caller.require_scope(Scope::NamespacesTransfer)?;
    let id: ClaimId = path_id(&id)?;
    let mut fields = body.fields().await?;
    state.registry.may_transfer_claim(who, id).await?;
    let Some(target) = fields.text("target_org_slug") else { return Err(refused(fields.finish())) };
    fields.finish()?;
    let (claim, org) = state.registry.transfer_claim(who, id, &target, &origin).await?;
    let answer = json!({
        "message": format!("the claim belongs to `{}` now", org.slug),
        "namespace_claim": {
            "id": claim.id,
            "ecosystem": claim.ecosystem,
            "namespace": claim.namespace,
            "is_verified": claim.is_verified,
        },
        "owner": new_owner(&org),
    });
    Ok(Json(answer).into_response())
}

async fn verify(
    State(state): State<ApiState>,
    caller: Caller,
    Origin(origin): Origin,
    Path(id): Path<String>,
    body: Body,
) -> Result<Response, Problem> {
    let who = caller.require_scope(Scope::AdminWrite)?;
    let id: ClaimId = path_id(&id)?;
    let mut fields = body.fields().await?;
    state.registry.decide_platform(who, Operation::PlatformWrite)?;
    let is_verified = fields.flag("is_verified");
    if is_verified.is_none() && !fields.has_problems() {
        fields.report("is_verified", "is required");
    }
    let note = input::optional(&mut fields, "note", input::DESCRIPTION);
    let Some(is_verified) = is_verified else { return Err(refused(fields.finish())) };
    fields.finish()?;
    let view = state.registry.verify_claim(who, id, is_verified, note.as_deref(), &origin).await?;
    Ok(Json(object(&view)).into_response())
}

/// **NamespaceClaim**.
pub fn object(view: &ClaimView) -> Value {
    let row = &view.row;
    json!({
        "id": row.id,
        "ecosystem": row.ecosystem,
        "namespace": row.namespace,
        "owner_user_id": row.owner_user_id,
        "owner_org_id": row.owner_org_id,
        "owner_username": row.owner_username,
        "owner_org_slug": row.owner_org_slug,
        "is_verified": row.is_verified,
        "created_at": row.created_at,
        "can_manage": view.can_manage,
        "can_transfer": view.can_transfer,
    })
}

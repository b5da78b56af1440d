//! Trusted publishers.

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use http::StatusCode;
use publaryn_core::{Operation, Scope, TrustedPublisherId, audit::AuditAction};
use publaryn_metadata::organizations::Slice;
use publaryn_registry::{control::NewTrustedPublisher, trusted_publishing::NewPendingPublisher};

use super::{
    super::{
        ApiState,
        auth::{message, refused},
        extract::{Body, Caller, Fields, Origin, Path},
        input::path_id,
        page::Query,
        problem::Problem,
        route::{Routes, public, scoped},
    },
    objects,
    package::{creating, new_name},
    package_in,
};

pub fn routes() -> Routes {
    Routes::new("trusted publishers")
        .get(
            "/packages/{ecosystem}/{name}/trusted-publishers",
            list,
            public("Workloads that may publish a package, oldest first").list(
                "trusted_publishers",
                "TrustedPublisher",
                100,
            ),
        )
        .post(
            "/packages/{ecosystem}/{name}/trusted-publishers",
            create,
            scoped(Scope::PackagesWrite, "Lets a workload publish a package")
                .body("issuer s, subject s, repository s?, workflow_ref s?, environment s?")
                .answer(201, "TrustedPublisher")
                .problem(403, "insufficient_permission")
                .problem(409, "already_exists")
                .problem(422, "issuer_not_allowed")
                .audit(AuditAction::TrustedPublisherCreate),
        )
        .delete(
            "/packages/{ecosystem}/{name}/trusted-publishers/{id}",
            remove,
            scoped(Scope::PackagesWrite, "Ends that trust, and every token minted through it")
                .message()
                .problem(403, "insufficient_permission")
                .audit(AuditAction::TrustedPublisherDelete),
        )
}

/// Publishers of packages that do not exist yet.
pub fn pending_routes() -> Routes {
    let at = "/trusted-publishers/pending";
    Routes::new("trusted publishers")
        .get(
            at,
            list_pending,
            scoped(Scope::PackagesWrite, "Workloads that may create a package of the caller's, oldest first").list(
                "pending_publishers",
                "PendingPublisher",
                100,
            ),
        )
        .post(
            at,
            create_pending,
            creating(Scope::PackagesWrite, "Lets a workload create a package with its first exchange")
                .notes("The name is not held: whoever has a package of it first has it.")
                .body(
                    "ecosystem Ecosystem, name s, repository_slug s, issuer s, subject s, repository s?, \
                     workflow_ref s?, environment s?",
                )
                .answer(201, "PendingPublisher")
                .problem(409, "too_many_pending_publishers")
                .problem(422, "issuer_not_allowed")
                .audit(AuditAction::TrustedPublisherCreate),
        )
        .delete(
            "/trusted-publishers/pending/{id}",
            remove_pending,
            scoped(Scope::PackagesWrite, "Takes that back").message().audit(AuditAction::TrustedPublisherDelete),
        )
}

async fn list_pending(State(state): State<ApiState>, caller: Caller, query: Query) -> Result<Response, Problem> {
    let who = caller.require_scope(Scope::PackagesWrite)?;
    let page = query.page(100)?;
    let slice = Slice::new(page.per_page, page.offset());
    let (rows, total) = state.registry.pending_publishers(who, slice).await?;
    Ok(page.answer(&query, "pending_publishers", rows.iter().map(objects::pending_publisher).collect(), total))
}

async fn create_pending(
    State(state): State<ApiState>,
    caller: Caller,
    Origin(origin): Origin,
    body: Body,
) -> Result<Response, Problem> {
    let who = caller.require_scope(Scope::PackagesWrite)?;
    let mut fields = body.fields().await?;
    let slug = fields.text("repository_slug");
    if let Some(slug) = &slug {
        state.registry.may_change_repository(who, slug, Operation::CreatePackage).await?;
    }
    let named = new_name(&state, &mut fields);
    let publisher = publisher(&mut fields);
    let (Some((ecosystem, name)), Some(repository_slug), Some(publisher)) = (named, slug, publisher) else {
        return Err(refused(fields.finish()));
    };
    fields.finish()?;
    let new = NewPendingPublisher { ecosystem, name, repository_slug, publisher };
    let row = state.registry.add_pending_publisher(who, new, &origin).await?;
    Ok((StatusCode::CREATED, Json(objects::pending_publisher(&row))).into_response())
}

async fn remove_pending(
    State(state): State<ApiState>,
    caller: Caller,
    Origin(origin): Origin,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let who = caller.require_scope(Scope::PackagesWrite)?;
    state.registry.remove_pending_publisher(who, path_id(&id)?, &origin).await?;
    Ok(message("the publisher is no longer pending"))
}

/// The workload that a body describes.
fn publisher(fields: &mut Fields) -> Option<NewTrustedPublisher> {
    let (issuer, subject) = (fields.text("issuer"), fields.text("subject"));
    let repository = fields.optional_text("repository");
    let workflow_ref = fields.optional_text("workflow_ref");
    let environment = fields.optional_text("environment");
    Some(NewTrustedPublisher { issuer: issuer?, subject: subject?, repository, workflow_ref, environment })
}

async fn list(
    State(state): State<ApiState>,
    caller: Caller,
    Path((ecosystem, name)): Path<(String, String)>,
    query: Query,
) -> Result<Response, Problem> {
    let page = query.page(100)?;
    let (ecosystem, name) = package_in(&state, &ecosystem, &name)?;
    let package = state.registry.package_for(&caller.0, ecosystem, name.canonical(), Operation::Read).await?;
    let slice = Slice::new(page.per_page, page.offset());
    let (rows, total) = state.registry.trusted_publishers(&package, slice).await?;
    Ok(page.answer(&query, "trusted_publishers", rows.iter().map(objects::trusted_publisher).collect(), total))
}

async fn create(
    State(state): State<ApiState>,
    caller: Caller,
    Origin(origin): Origin,
    Path((ecosystem, name)): Path<(String, String)>,
    body: Body,
) -> Result<Response, Problem> {
    let who = caller.require_scope(Scope::PackagesWrite)?;
    let mut fields = body.fields().await?;
    let (ecosystem, name) = package_in(&state, &ecosystem, &name)?;
    let name = name.canonical();
    state.registry.package_for(who, ecosystem, name, Operation::Administer).await?;
    let Some(new) = publisher(&mut fields) else { return Err(refused(fields.finish())) };
    fields.finish()?;
    let row = state.registry.add_trusted_publisher(who, ecosystem, name, new, &origin).await?;
    Ok((StatusCode::CREATED, Json(objects::trusted_publisher(&row))).into_response())
}

async fn remove(
    State(state): State<ApiState>,
    caller: Caller,
    Origin(origin): Origin,
    Path((ecosystem, name, id)): Path<(String, String, String)>,
) -> Result<Response, Problem> {
    let who = caller.require_scope(Scope::PackagesWrite)?;
    let id: TrustedPublisherId = path_id(&id)?;
    let (ecosystem, name) = package_in(&state, &ecosystem, &name)?;
    state.registry.remove_trusted_publisher(who, ecosystem, name.canonical(), id, &origin).await?;
    Ok(message("the publisher is no longer trusted"))
}

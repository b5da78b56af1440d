//! Trusted publishers.

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use http::StatusCode;
use publaryn_core::{Operation, Scope, TrustedPublisherId, audit::AuditAction};
use publaryn_metadata::organizations::Slice;
use publaryn_registry::control::NewTrustedPublisher;

use super::{
    super::{
        ApiState,
        auth::{message, refused},
        extract::{Body, Caller, Origin, Path},
        input::path_id,
        page::Query,
        problem::Problem,
        route::{Routes, public, scoped},
    },
    objects, package_in,
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
    let (issuer, subject) = (fields.text("issuer"), fields.text("subject"));
    let repository = fields.optional_text("repository");
    let workflow_ref = fields.optional_text("workflow_ref");
    let environment = fields.optional_text("environment");
    let (Some(issuer), Some(subject)) = (issuer, subject) else { return Err(refused(fields.finish())) };
    fields.finish()?;
    let new = NewTrustedPublisher { issuer, subject, repository, workflow_ref, environment };
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

//! Tags.

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use publaryn_core::{Ecosystem, Operation, Scope, audit::AuditAction};
use publaryn_metadata::organizations::Slice;
use serde_json::json;

use super::{
    super::{
        ApiState,
        auth::refused,
        extract::{Body, Caller, Origin, Path},
        input::wrong_parameter,
        page::Query,
        problem::Problem,
        route::{Routes, public, scoped},
    },
    objects, package_in, version_in,
};

/// Longest tag, in bytes.
const MAX_TAG_BYTES: usize = 128;

pub fn routes() -> Routes {
    let one = "/packages/{ecosystem}/{name}/tags/{tag}";
    Routes::new("tags")
        .get(
            "/packages/{ecosystem}/{name}/tags",
            list,
            public("Tags of a package, by name")
                .listed(100, "tags {* {version s, updated_at t}}, page i, per_page i, total i, has_next b"),
        )
        .put(
            one,
            set,
            scoped(Scope::PackagesPublish, "Points a tag at a live release")
                .body("version s")
                .answer(200, "message s, tag s, version s")
                .problem(403, "insufficient_permission")
                .problem(409, "release_not_published")
                .problem(409, "state_conflict")
                .audit(AuditAction::TagUpdate),
        )
        .delete(
            one,
            remove,
            scoped(Scope::PackagesPublish, "Deletes a tag")
                .answer(200, "message s, tag s")
                .problem(403, "insufficient_permission")
                .problem(409, "tag_protected")
                .problem(409, "state_conflict")
                .audit(AuditAction::TagDelete),
        )
}

/// What is wrong with a tag: `^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$`, for npm nothing that is a version range.
pub fn tag_problem(state: &ApiState, ecosystem: Ecosystem, tag: &str) -> Option<&'static str> {
    let is_legal = (1..=MAX_TAG_BYTES).contains(&tag.len())
        && tag.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
        && tag.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_');
    if !is_legal {
        return Some("must be 1 to 128 letters, digits, `.`, `_` or `-`, starting with a letter, digit or `_`");
    }
    state.adapters.iter().find(|adapter| adapter.ecosystem() == ecosystem)?.tag_problem(tag)
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
    let (rows, total) = state.registry.tags_of(&package, Slice::new(page.per_page, page.offset())).await?;
    Ok(page.answer_with(&query, "tags", objects::tags(&rows), total, []))
}

async fn set(
    State(state): State<ApiState>,
    caller: Caller,
    Origin(origin): Origin,
    Path((ecosystem, name, tag)): Path<(String, String, String)>,
    body: Body,
) -> Result<Response, Problem> {
    let who = caller.require_scope(Scope::PackagesPublish)?;
    let mut fields = body.fields().await?;
    let (ecosystem, name) = package_in(&state, &ecosystem, &name)?;
    let name = name.canonical();
    state.registry.package_for(who, ecosystem, name, Operation::ManageTags).await?;
    if let Some(problem) = tag_problem(&state, ecosystem, &tag) {
        fields.problem(wrong_parameter("tag", problem));
    }
    let Some(version) = fields.text("version") else { return Err(refused(fields.finish())) };
    fields.finish()?;
    let version = version_in(&state, ecosystem, &version)?;
    let version = state.registry.put_tag(who, ecosystem, name, &tag, &version, &origin).await?;
    Ok(Json(json!({"message": "tag set", "tag": tag, "version": version})).into_response())
}

async fn remove(
    State(state): State<ApiState>,
    caller: Caller,
    Origin(origin): Origin,
    Path((ecosystem, name, tag)): Path<(String, String, String)>,
) -> Result<Response, Problem> {
    let who = caller.require_scope(Scope::PackagesPublish)?;
    let (ecosystem, name) = package_in(&state, &ecosystem, &name)?;
    state.registry.remove_tag(who, ecosystem, name.canonical(), &tag, &origin).await?;
    Ok(Json(json!({"message": "tag deleted", "tag": tag})).into_response())
}

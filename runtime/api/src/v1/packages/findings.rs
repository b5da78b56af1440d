//! Security findings.

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use publaryn_core::{FindingId, Operation, Scope, audit::AuditAction};
use publaryn_metadata::{organizations::Slice, release_views::FindingFilter};

use super::{
    super::{
        ApiState,
        auth::refused,
        extract::{Body, Caller, Origin, Path},
        input::path_id,
        page::Query,
        problem::Problem,
        route::{Routes, public, scoped},
    },
    objects, package_in, version_in,
};

/// Longest note, in characters.
const MAX_NOTE_CHARS: usize = 2000;

pub fn routes() -> Routes {
    Routes::new("findings")
        .get(
            "/packages/{ecosystem}/{name}/security-findings",
            list,
            public("What scanners found, newest first")
                .notes("Findings of staged releases are for those who may see these.")
                .query("include_resolved b?=false, severity Severity?, release s?")
                .list("findings", "Finding", 20),
        )
        .patch(
            "/packages/{ecosystem}/{name}/security-findings/{finding_id}",
            triage,
            scoped(Scope::SecurityWrite, "Resolves or reopens a finding")
                .body("is_resolved b, note s?")
                .answer(200, "Finding")
                .problem(403, "insufficient_permission")
                .audit(AuditAction::SecurityFindingResolve)
                .audit(AuditAction::SecurityFindingReopen),
        )
}

async fn list(
    State(state): State<ApiState>,
    caller: Caller,
    Path((ecosystem, name)): Path<(String, String)>,
    query: Query,
) -> Result<Response, Problem> {
    let (page, resolved) = (query.page(20)?, query.flag("include_resolved")?);
    let (ecosystem, name) = package_in(&state, &ecosystem, &name)?;
    let package = state.registry.package_for(&caller.0, ecosystem, name.canonical(), Operation::Read).await?;
    let severity = query.word("severity")?;
    let release = match query.text("release").map(|text| version_in(&state, ecosystem, text)) {
        None => None,
        Some(Ok(key)) => Some(key),
        // Nothing was ever found in what is no version.
        Some(Err(_)) => return Ok(page.answer(&query, "findings", Vec::new(), 0)),
    };
    let filter = FindingFilter { resolved, severity, release, staged: false };
    let slice = Slice::new(page.per_page, page.offset());
    let (rows, total) = state.registry.findings(&caller.0, &package, filter, slice).await?;
    Ok(page.answer(&query, "findings", rows.iter().map(objects::finding).collect(), total))
}

async fn triage(
    State(state): State<ApiState>,
    caller: Caller,
    Origin(origin): Origin,
    Path((ecosystem, name, finding)): Path<(String, String, String)>,
    body: Body,
) -> Result<Response, Problem> {
    let who = caller.require_scope(Scope::SecurityWrite)?;
    let finding: FindingId = path_id(&finding)?;
    let mut fields = body.fields().await?;
    let (ecosystem, name) = package_in(&state, &ecosystem, &name)?;
    let name = name.canonical();
    state.registry.package_for(who, ecosystem, name, Operation::Triage).await?;
    let is_resolved = fields.flag("is_resolved");
    if is_resolved.is_none() && !fields.has_problems() {
        fields.report("is_resolved", "is required");
    }
    let is_note_given = fields.has("note");
    let note = fields.prose("note");
    if note.as_ref().is_some_and(|note| note.chars().count() > MAX_NOTE_CHARS) {
        fields.report("note", format!("must not be longer than {MAX_NOTE_CHARS} characters"));
    }
    let Some(is_resolved) = is_resolved else { return Err(refused(fields.finish())) };
    fields.finish()?;
    let note = is_note_given.then_some(note.as_deref());
    let row = state.registry.triage(who, ecosystem, name, finding, is_resolved, note, &origin).await?;
    Ok(Json(objects::finding(&row)).into_response())
}

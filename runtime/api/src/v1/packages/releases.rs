//! Releases.

use std::time::Duration;

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use http::StatusCode;
use publaryn_core::{Operation, RegistryError, ReleaseState, Scope, audit::AuditAction};
use publaryn_metadata::{
    organizations::Slice,
    release_views::{ReleaseSummaryRow, ReleaseTexts},
};
use publaryn_registry::control::{NewDraft, ReleaseChange, ReleaseView};
use serde_json::{Value, json};

use super::{
    super::{
        ApiState,
        auth::{message, refused},
        extract::{Body, Caller, Fields, Origin, Path},
        input::{self, DESCRIPTION, LINE, unprocessable_parameter},
        orgs::objects::with_message,
        page::Query,
        problem::{FieldProblem, Problem},
        route::{Routes, Spec, public, scoped, signed_in},
        validators::{IfMatch, Revision},
    },
    objects, package_in, parse_version,
    tags::tag_problem,
    version_in,
};

/// Longest changelog, in bytes.
const MAX_CHANGELOG_BYTES: usize = 512 << 10;
/// Longest wait for a verdict, in seconds.
const MAX_WAIT_SECONDS: i64 = 60;

const TEXTS: &str = "description s?, changelog s?, source_ref s?, provenance o?";

fn state_change(summary: &'static str, action: AuditAction) -> Spec {
    scoped(Scope::PackagesWrite, summary)
        .if_match()
        .problem(403, "insufficient_permission")
        .problem(409, "state_conflict")
        .audit(action)
}

pub fn routes() -> Routes {
    let all = "/packages/{ecosystem}/{name}/releases";
    let one = "/packages/{ecosystem}/{name}/releases/{version}";
    let at = |rest: &str| format!("{one}/{rest}");
    let taken_back = "message s, version s, status ReleaseStatus, release Release";
    Routes::new("releases")
        .get(
            all,
            list,
            public("Releases of a package, newest first")
                .query("status ReleaseStatus?, sort published|version?=published, include_deleted b?=false")
                .list("releases", "ReleaseSummary", 20),
        )
        .post(
            all,
            create,
            scoped(Scope::PackagesPublish, "Creates a release that waits for its files")
                .body("version s, description s?, changelog s?, source_ref s?, provenance o?, is_prerelease b?")
                .answer(201, "Release")
                .problem(403, "insufficient_permission")
                .problem(409, "already_exists")
                .problem(409, "version_reserved")
                .problem(409, "package_archived")
                .problem(409, "state_conflict")
                .problem(422, "invalid_version")
                .problem(422, "too_many_releases")
                .audit(AuditAction::ReleaseCreate),
        )
        .get(one, show, public("A release").answer(200, "Release"))
        .patch(
            one,
            update,
            scoped(Scope::PackagesPublish, "Changes what a staged release says about itself")
                .if_match()
                .body(TEXTS)
                .answer(200, "Release")
                .problem(403, "insufficient_permission")
                .problem(409, "state_conflict")
                .audit(AuditAction::ReleaseUpdate),
        )
        .delete(
            one,
            remove,
            scoped(Scope::PackagesPublish, "Deletes a release; the number of a live one is never free again")
                .any_scope(&[Scope::PackagesPublish, Scope::AdminWrite])
                .if_match()
                .message()
                .problem(403, "insufficient_permission")
                .problem(409, "delete_window_closed")
                .audit(AuditAction::ReleaseDelete),
        )
        .post(
            &at("publish"),
            publish,
            scoped(Scope::PackagesPublish, "Sends a staged release to its scans")
                .query("wait i?=0")
                .optional_body("tags [s]?")
                .answer(
                    202,
                    "message s, version s, status ReleaseStatus, artifact_count i, scan_jobs_enqueued i, release Release",
                )
                .answer(
                    200,
                    "message s, version s, status ReleaseStatus, artifact_count i, scan_jobs_enqueued i, release Release",
                )
                .problem(403, "insufficient_permission")
                .problem(409, "release_not_ready")
                .problem(409, "package_archived")
                .problem(409, "state_conflict")
                .audit(AuditAction::ReleasePublish),
        )
        .put(
            &at("yank"),
            yank,
            state_change("Yanks a release", AuditAction::ReleaseYank)
                .optional_body("reason s?")
                .answer(200, "..Release, message s"),
        )
        .put(
            &at("unyank"),
            unyank,
            state_change("Takes a yank back", AuditAction::ReleaseUnyank).answer(200, taken_back),
        )
        .put(
            &at("deprecate"),
            deprecate,
            state_change("Deprecates a release", AuditAction::ReleaseDeprecate)
                .optional_body("message s?")
                .answer(200, "..Release, message s"),
        )
        .put(
            &at("undeprecate"),
            undeprecate,
            state_change("Takes a deprecation back", AuditAction::ReleaseUndeprecate).answer(200, taken_back),
        )
        .get(
            &at("pipeline"),
            pipeline,
            signed_in("How far a release has come")
                .notes("For those who may see staged releases; 404 for everybody else.")
                .answer(
                    200,
                    "version s, status ReleaseStatus, stages [{stage s, state waiting|running|done|blocked|failed, \
                     started_at t?, finished_at t?, detail s?, job_ids [u]}], blocked_by [u], next_action s?",
                ),
        )
}

type OfPackage = (String, String);
type OfRelease = (String, String, String);

async fn list(
    State(state): State<ApiState>,
    caller: Caller,
    Path((ecosystem, name)): Path<OfPackage>,
    query: Query,
) -> Result<Response, Problem> {
    let page = query.page(20)?;
    let include_deleted = query.flag("include_deleted")?;
    let (ecosystem, name) = package_in(&state, &ecosystem, &name)?;
    let package = state.registry.package_for(&caller.0, ecosystem, name.canonical(), Operation::Read).await?;
    let status: Option<ReleaseState> = query.word("status")?;
    let by_version = query.one_of("sort", &["published", "version"])? == Some("version");
    let slice = Slice::new(page.per_page, page.offset());
    let (rows, total) =
        state.registry.releases(&caller.0, &package, status, by_version, include_deleted, slice).await?;
    Ok(page.answer(&query, "releases", rows.iter().map(objects::release_summary).collect(), total))
}

async fn create(
    State(state): State<ApiState>,
    caller: Caller,
    Origin(origin): Origin,
    Path((ecosystem, name)): Path<OfPackage>,
    body: Body,
) -> Result<Response, Problem> {
    let who = caller.require_scope(Scope::PackagesPublish)?;
    let mut fields = body.fields().await?;
    let (ecosystem, name) = package_in(&state, &ecosystem, &name)?;
    state.registry.package_for(who, ecosystem, name.canonical(), Operation::Publish).await?;
    let version = fields.text("version").and_then(|text| match parse_version(&state, ecosystem, &text) {
        Ok(version) => Some(version),
        Err(RegistryError::Invalid { code, message }) => {
            fields.problem(FieldProblem::in_body("version", code, message));
            None
        }
        Err(error) => {
            fields.problem(FieldProblem::in_body("version", "invalid_version", error.to_string()));
            None
        }
    });
    let is_prerelease = fields.flag("is_prerelease");
    let mut texts = ReleaseTexts::default();
    read_texts(&mut fields)(&mut texts);
    let Some(version) = version else { return Err(refused(fields.finish())) };
    fields.finish()?;
    let adapter = state.adapters.iter().find(|adapter| adapter.ecosystem() == ecosystem);
    let namesakes = adapter.map(|adapter| adapter.namesakes(&name, &version)).unwrap_or_default();
    if state.registry.is_any_taken(ecosystem, &namesakes).await? {
        let text = "another package has a file of the name that the file of this release would have";
        return Err(RegistryError::conflict("already_exists", text).into());
    }
    let new = NewDraft { version, is_prerelease, texts };
    let view = state.registry.create_draft(who, ecosystem, name.canonical(), new, &origin).await?;
    Ok(revision(&view.details.summary).on((StatusCode::CREATED, Json(objects::release(&state, &view)))))
}

/// The descriptive members of a release, to be written over what is there.
fn read_texts(fields: &mut Fields) -> impl FnOnce(&mut ReleaseTexts) + use<> {
    let description = input::patch(fields, "description", DESCRIPTION);
    let changelog = input::patch_long(fields, "changelog", MAX_CHANGELOG_BYTES);
    let source_ref = input::patch(fields, "source_ref", LINE);
    let provenance = if fields.is_null("provenance") {
        Some(None)
    } else {
        fields.object("provenance").map(|object| Some(Value::Object(object).to_string()))
    };
    move |texts: &mut ReleaseTexts| {
        let set = |field: &mut Option<String>, value: Option<Option<String>>| {
            if let Some(value) = value {
                *field = value;
            }
        };
        set(&mut texts.description, description);
        set(&mut texts.changelog, changelog);
        set(&mut texts.source_ref, source_ref);
        set(&mut texts.provenance, provenance);
    }
}

fn revision(release: &ReleaseSummaryRow) -> Revision {
    Revision::of(release.id, release.updated_at)
}

async fn show(
    State(state): State<ApiState>,
    caller: Caller,
    Path((ecosystem, name, version)): Path<OfRelease>,
) -> Result<Response, Problem> {
    let (ecosystem, name) = package_in(&state, &ecosystem, &name)?;
    let package = state.registry.package_for(&caller.0, ecosystem, name.canonical(), Operation::Read).await?;
    let version = version_in(&state, ecosystem, &version)?;
    let view = state.registry.release(&caller.0, &package, &version).await?;
    Ok(revision(&view.details.summary).on(Json(objects::release(&state, &view))))
}

async fn update(
    State(state): State<ApiState>,
    caller: Caller,
    Origin(origin): Origin,
    Path((ecosystem, name, version)): Path<OfRelease>,
    if_match: IfMatch,
    body: Body,
) -> Result<Response, Problem> {
    let who = caller.require_scope(Scope::PackagesPublish)?;
    let mut fields = body.fields().await?;
    let (ecosystem, name) = package_in(&state, &ecosystem, &name)?;
    let name = name.canonical();
    let package = state.registry.package_for(who, ecosystem, name, Operation::Publish).await?;
    let version = version_in(&state, ecosystem, &version)?;
    // Before what is wrong with the members (§1.2); the change asks again under its lock.
    if_match.check(&revision(&state.registry.release(who, &package, &version).await?.details.summary))?;
    let texts = read_texts(&mut fields);
    fields.finish()?;
    let check = |row: &ReleaseSummaryRow| if_match.check(&revision(row));
    let view = state.registry.update_draft(who, ecosystem, name, &version, texts, check, &origin).await?;
    Ok(revision(&view.details.summary).on(Json(objects::release(&state, &view))))
}

async fn remove(
    State(state): State<ApiState>,
    caller: Caller,
    Origin(origin): Origin,
    Path((ecosystem, name, version)): Path<OfRelease>,
    if_match: IfMatch,
) -> Result<Response, Problem> {
    let who = caller.require_any()?;
    let (ecosystem, name) = package_in(&state, &ecosystem, &name)?;
    let version = version_in(&state, ecosystem, &version)?;
    let check = |row: &ReleaseSummaryRow| if_match.check(&revision(row));
    state.registry.delete_release(who, ecosystem, name.canonical(), &version, check, &origin).await?;
    Ok(message("release deleted"))
}

async fn publish(
    State(state): State<ApiState>,
    caller: Caller,
    Origin(origin): Origin,
    Path((ecosystem, name, version)): Path<OfRelease>,
    query: Query,
    body: Body,
) -> Result<Response, Problem> {
    let who = caller.require_scope(Scope::PackagesPublish)?;
    let wait = query.number("wait")?.unwrap_or(0);
    let mut fields = body.optional_fields().await?;
    let (ecosystem, name) = package_in(&state, &ecosystem, &name)?;
    let name = name.canonical();
    state.registry.package_for(who, ecosystem, name, Operation::Publish).await?;
    let version = version_in(&state, ecosystem, &version)?;
    if !(0..=MAX_WAIT_SECONDS).contains(&wait) {
        return Err(unprocessable_parameter("wait", "must be between 0 and 60"));
    }
    let tags = if fields.has("tags") && !fields.is_null("tags") { fields.texts("tags") } else { None };
    for (position, tag) in tags.iter().flatten().enumerate() {
        if let Some(problem) = tag_problem(&state, ecosystem, tag) {
            fields.report(&format!("tags/{position}"), problem);
        }
    }
    fields.finish()?;
    let wait = Duration::from_secs(wait.unsigned_abs());
    let answer = state.registry.publish_draft(who, ecosystem, name, &version, tags.as_deref(), wait, &origin).await?;
    let summary = &answer.view.details.summary;
    let is_final = summary.status != ReleaseState::Scanning;
    let text = if is_final { "the release is decided" } else { "the release is being scanned" };
    let object = json!({
        "message": text,
        "version": summary.version,
        "status": summary.status,
        "artifact_count": summary.artifact_count,
        "scan_jobs_enqueued": answer.scans_started,
        "release": objects::release(&state, &answer.view),
    });
    Ok((if is_final { StatusCode::OK } else { StatusCode::ACCEPTED }, Json(object)).into_response())
}

/// Everything the four changes of a live release share.
async fn changed(
    state: &ApiState,
    caller: &Caller,
    (Origin(origin), if_match): (Origin, IfMatch),
    (ecosystem, name, version): OfRelease,
    what: ReleaseChange,
) -> Result<ReleaseView, Problem> {
    let (ecosystem, name) = package_in(state, &ecosystem, &name)?;
    let version = version_in(state, ecosystem, &version)?;
    let check = |row: &ReleaseSummaryRow| if_match.check(&revision(row));
    let name = name.canonical();
    Ok(state.registry.change_release(&caller.0, ecosystem, name, &version, what, check, &origin).await?)
}

/// The optional text of a change, read after permission was given.
async fn read_text(
    state: &ApiState,
    caller: &Caller,
    (_, if_match): &(Origin, IfMatch),
    (ecosystem, name, version): &OfRelease,
    body: Body,
    member: &'static str,
) -> Result<Option<String>, Problem> {
    caller.require_scope(Scope::PackagesWrite)?;
    let mut fields = body.optional_fields().await?;
    let (ecosystem, name) = package_in(state, ecosystem, name)?;
    let package = state.registry.package_for(&caller.0, ecosystem, name.canonical(), Operation::ManageReleases).await?;
    let version = version_in(state, ecosystem, version)?;
    if_match.check(&revision(&state.registry.release(&caller.0, &package, &version).await?.details.summary))?;
    let text = input::optional(&mut fields, member, DESCRIPTION);
    fields.finish()?;
    Ok(text)
}

fn taken_back(state: &ApiState, view: &ReleaseView, text: &str) -> Response {
    let summary = &view.details.summary;
    let object = json!({
        "message": text,
        "version": summary.version,
        "status": summary.status,
        "release": objects::release(state, view),
    });
    Json(object).into_response()
}

async fn yank(
    State(state): State<ApiState>,
    caller: Caller,
    how: (Origin, IfMatch),
    Path(path): Path<OfRelease>,
    body: Body,
) -> Result<Response, Problem> {
    let reason = read_text(&state, &caller, &how, &path, body, "reason").await?;
    let view = changed(&state, &caller, how, path, ReleaseChange::Yank { reason }).await?;
    Ok(Json(with_message(objects::release(&state, &view), "release yanked")).into_response())
}

async fn unyank(
    State(state): State<ApiState>,
    caller: Caller,
    how: (Origin, IfMatch),
    Path(path): Path<OfRelease>,
) -> Result<Response, Problem> {
    let view = changed(&state, &caller, how, path, ReleaseChange::Unyank).await?;
    Ok(taken_back(&state, &view, "the yank was taken back"))
}

async fn deprecate(
    State(state): State<ApiState>,
    caller: Caller,
    how: (Origin, IfMatch),
    Path(path): Path<OfRelease>,
    body: Body,
) -> Result<Response, Problem> {
    let text = read_text(&state, &caller, &how, &path, body, "message").await?;
    let view = changed(&state, &caller, how, path, ReleaseChange::Deprecate { message: text }).await?;
    Ok(Json(with_message(objects::release(&state, &view), "release deprecated")).into_response())
}

async fn undeprecate(
    State(state): State<ApiState>,
    caller: Caller,
    how: (Origin, IfMatch),
    Path(path): Path<OfRelease>,
) -> Result<Response, Problem> {
    let view = changed(&state, &caller, how, path, ReleaseChange::Undeprecate).await?;
    Ok(taken_back(&state, &view, "the deprecation was taken back"))
}

async fn pipeline(
    State(state): State<ApiState>,
    caller: Caller,
    Path((ecosystem, name, version)): Path<OfRelease>,
) -> Result<Response, Problem> {
    let (ecosystem, name) = package_in(&state, &ecosystem, &name)?;
    let package = state.registry.package_for(&caller.0, ecosystem, name.canonical(), Operation::Read).await?;
    let version = version_in(&state, ecosystem, &version)?;
    let pipeline = state.registry.pipeline(&caller.0, &package, &version).await?;
    Ok(Json(objects::pipeline(&pipeline)).into_response())
}

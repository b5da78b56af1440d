//! `/v1/admin/jobs*`: the queue as operators see it, and what they may do to jobs (jobs.md §5).

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use http::StatusCode;
use publaryn_core::{
    JobId, Scope,
    audit::AuditAction,
    job::{JobKind, JobState},
};
use publaryn_metadata::jobs::Page as JobsFrom;
use publaryn_registry::{Cancelled, JobQuestion, Retry};
use serde_json::json;
use uuid::Uuid;

use super::{
    ApiState,
    extract::{self, Body, Caller, Origin, Path},
    page::Query,
    problem::Problem,
    route::{Routes, platform},
};

/// Most jobs that one request runs again.
const MAX_RETRIED: i64 = 10_000;

pub fn routes() -> Routes {
    Routes::new("operation")
        .get(
            "/admin/jobs",
            list,
            platform(Scope::AuditRead, "Jobs, with the whole queue in numbers")
                .notes(
                    "Waiting and running jobs by schedule, finished ones latest first. `target` is a package, release \
                     or artifact. The summary describes the queue, not the filter. A job whose time is moved while \
                     somebody walks along `cursor` is listed where it stands then.",
                )
                .query("state JobState?, kind JobKind?, stale b?, target u?, cursor s?")
                .listed(50, "JobList"),
        )
        .post(
            "/admin/jobs/retry",
            retry_many,
            platform(Scope::AdminWrite, "Runs failed or dead jobs again now, longest waiting first")
                .body("state dead|failed, kind JobKind?, limit i?")
                .answer(200, "message s, retried_count i")
                .audit(AuditAction::AdminJobRetry),
        )
        .post(
            "/admin/jobs/recover-stale",
            recover_stale,
            platform(
                Scope::AdminWrite,
                "Gives running jobs whose lease expired or whose node is dead back to the queue",
            )
            .optional_body("")
            .answer(200, "message s, recovered_count i")
            .audit(AuditAction::AdminJobsRecoverStale),
        )
        .get(
            "/admin/jobs/{job_id}",
            show,
            platform(Scope::AuditRead, "One job with its attempts").answer(200, "JobDetails"),
        )
        .post(
            "/admin/jobs/{job_id}/retry",
            retry,
            platform(Scope::AdminWrite, "Runs a failed or dead job again now")
                .optional_body("")
                .answer(200, "message s, job Job")
                .problem(409, "job_not_retryable")
                .audit(AuditAction::AdminJobRetry),
        )
        .post(
            "/admin/jobs/{job_id}/cancel",
            cancel,
            platform(Scope::AdminWrite, "Cancels a job: a waiting one is dead at once, a running one is told to stop")
                .optional_body("")
                .answer(200, "message s, job Job")
                .answer(202, "message s, job Job")
                .problem(409, "state_conflict")
                .audit(AuditAction::AdminJobCancel),
        )
}

async fn list(State(state): State<ApiState>, caller: Caller, query: Query) -> Result<Response, Problem> {
    let question = JobQuestion {
        state: query.word::<JobState>("state")?,
        kind: query.word::<JobKind>("kind")?,
        is_stale: query.flag("stale")?,
        target: query.id::<Uuid>("target")?,
    };
    let page = query.page(50)?;
    if let Some([main, created, id]) = query.cursor::<3>()?
        && (main.parse::<i64>().is_err() || created.parse::<i64>().is_err() || id.parse::<Uuid>().is_err())
    {
        return Err(Problem::bad_parameter("cursor", "is not a cursor of this list"));
    }
    let from = JobsFrom {
        number: u32::try_from(page.page).unwrap_or(u32::MAX),
        per_page: page.per_page,
        cursor: query.text("cursor").map(str::to_owned),
    };
    let filters = json!({ "state": question.state, "kind": question.kind });
    let (jobs, summary) = state.registry.jobs(&caller.0, question, &from).await?;
    let body = json!({
        "page": page.page,
        "per_page": page.per_page,
        "total": jobs.total,
        "has_next": jobs.has_next,
        "next_cursor": jobs.next_cursor,
        "filters": filters,
        "summary": summary,
        "jobs": jobs.jobs,
    });
    Ok(page.linked(&query, body, jobs.has_next, jobs.next_cursor.as_deref()))
}

async fn show(State(state): State<ApiState>, caller: Caller, Path(job_id): Path<String>) -> Result<Response, Problem> {
    let id: JobId = extract::id("job_id", &job_id)?;
    Ok(Json(state.registry.job(&caller.0, id).await?).into_response())
}

async fn retry(
    State(state): State<ApiState>,
    caller: Caller,
    Origin(origin): Origin,
    Path(job_id): Path<String>,
    body: Body,
) -> Result<Response, Problem> {
    let id: JobId = extract::id("job_id", &job_id)?;
    body.optional_fields().await?.finish()?;
    match state.registry.retry_job(&caller.0, id, &origin).await? {
        Retry::Done(job) => Ok(Json(json!({ "message": "the job runs again", "job": job })).into_response()),
        Retry::Refused(state) => {
            let text = format!("a job that is {state} is not retried");
            Err(Problem::new(StatusCode::CONFLICT, "job_not_retryable", text).with("state", state.as_str()))
        }
    }
}

async fn cancel(
    State(state): State<ApiState>,
    caller: Caller,
    Origin(origin): Origin,
    Path(job_id): Path<String>,
    body: Body,
) -> Result<Response, Problem> {
    let id: JobId = extract::id("job_id", &job_id)?;
    body.optional_fields().await?.finish()?;
    let (status, text, job) = match state.registry.cancel_job(&caller.0, id, &origin).await? {
        Cancelled::Done(job) => (StatusCode::OK, "the job is cancelled", job),
        Cancelled::Stopping(job) => (StatusCode::ACCEPTED, "the job was told to stop", job),
        Cancelled::Refused(job) => {
            let text = format!("a job that is {} is not cancelled", job.status);
            let allowed = [JobState::Pending, JobState::Running, JobState::Failed];
            let problem = Problem::new(StatusCode::CONFLICT, "state_conflict", text);
            return Err(problem.with("state", job.status.as_str()).with("allowed", json!(allowed)));
        }
    };
    Ok((status, Json(json!({ "message": text, "job": job }))).into_response())
}

async fn retry_many(
    State(state): State<ApiState>,
    caller: Caller,
    Origin(origin): Origin,
    body: Body,
) -> Result<Response, Problem> {
    let mut fields = body.fields().await?;
    let wanted: Option<JobState> = fields.word("state");
    if !fields.has("state") || fields.is_null("state") {
        fields.report("state", "is required");
    }
    if wanted.is_some_and(|state| !state.can_retry()) {
        fields.report("state", "must be dead or failed");
    }
    let kind: Option<JobKind> = fields.word("kind");
    let limit = fields.number("limit").unwrap_or(MAX_RETRIED);
    if !(1..=MAX_RETRIED).contains(&limit) {
        fields.report("limit", format!("must be between 1 and {MAX_RETRIED}"));
    }
    fields.finish()?;
    let wanted = wanted.ok_or_else(|| Problem::malformed("a member is missing"))?;
    let retried = state.registry.retry_jobs(&caller.0, wanted, kind, limit, &origin).await?;
    let answer = json!({ "message": format!("{retried} jobs run again"), "retried_count": retried });
    Ok(Json(answer).into_response())
}

async fn recover_stale(
    State(state): State<ApiState>,
    caller: Caller,
    Origin(origin): Origin,
    body: Body,
) -> Result<Response, Problem> {
    body.optional_fields().await?.finish()?;
    let recovered = state.registry.recover_stale_jobs(&caller.0, &origin).await?;
    let answer = json!({ "message": format!("{recovered} jobs are pending again"), "recovered_count": recovered });
    Ok(Json(answer).into_response())
}

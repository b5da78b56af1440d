//! `/v1/stats`: the instance in numbers (control-plane.md §12).

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use serde_json::json;

use super::{
    ApiState,
    problem::Problem,
    route::{Routes, public},
};

pub fn routes() -> Routes {
    Routes::new("operation").get(
        "/stats",
        stats,
        public("The instance in numbers, up to five seconds old").answer(
            200,
            "packages i, releases i, organizations i, security_findings_total i, security_findings_unresolved i, \
             artifacts_stored i, job_queue_pending i",
        ),
    )
}

async fn stats(State(state): State<ApiState>) -> Result<Response, Problem> {
    let numbers = state.registry.statistics().await?;
    let answer = json!({
        "packages": numbers.packages,
        "releases": numbers.releases,
        "organizations": numbers.organizations,
        "security_findings_total": numbers.findings,
        "security_findings_unresolved": numbers.unresolved_findings,
        "artifacts_stored": numbers.artifacts,
        "job_queue_pending": numbers.pending_jobs,
    });
    Ok(Json(answer).into_response())
}

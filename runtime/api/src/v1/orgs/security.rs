//! `/v1/orgs/{slug}/security-findings*`: open findings of an organization's packages, as far as the caller may
//! see them (control-plane.md §5.3).

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use publaryn_core::finding::Severity;
use publaryn_metadata::overview::OpenFindingsFilter;
use publaryn_registry::governance::{PackageRisk, SeverityCounts};
use serde_json::{Map, Value, json};

use crate::v1::{
    ApiState, csv,
    extract::{Caller, Path},
    input,
    page::Query,
    problem::Problem,
    route::{Routes, public},
};

pub const FILTERS: &str = "severity [Severity]?, ecosystem Ecosystem?, package s?";

/// The columns behind the last are the severities, worst first.
const COLUMNS: [&str; 13] = [
    "package_id",
    "ecosystem",
    "name",
    "description",
    "visibility",
    "open_findings",
    "worst_severity",
    "latest_detected_at",
    "critical_count",
    "high_count",
    "medium_count",
    "low_count",
    "info_count",
];

pub fn routes() -> Routes {
    Routes::new("organizations")
        .get(
            "/orgs/{slug}/security-findings",
            show,
            public("Packages of an organization with open findings, worst first")
                .notes(
                    "Counts what the caller may see; findings of staged releases only for those who may see these. \
                     `severity` is repeated or a list with commas.",
                )
                .query(FILTERS)
                .answer(200, "SecurityOverview")
                .problem(422, "validation_failed"),
        )
        .get(
            "/orgs/{slug}/security-findings/export",
            export,
            public("The same as a CSV file").query(FILTERS).media(200, "text/csv").problem(422, "validation_failed"),
        )
}

async fn show(
    State(state): State<ApiState>,
    caller: Caller,
    Path(slug): Path<String>,
    query: Query,
) -> Result<Response, Problem> {
    let risks = state.registry.security_overview(&caller.0, &slug, &filter(&query)?).await?;
    Ok(Json(overview(&risks)).into_response())
}

async fn export(
    State(state): State<ApiState>,
    caller: Caller,
    Path(slug): Path<String>,
    query: Query,
) -> Result<Response, Problem> {
    let risks = state.registry.security_overview(&caller.0, &slug, &filter(&query)?).await?;
    let rows: Vec<csv::Row> = risks.iter().map(cells).collect();
    csv::answer(&format!("org-security-findings-{slug}.csv"), &COLUMNS, move |_: Option<()>| {
        std::future::ready(Ok((rows.clone(), None)))
    })
    .await
}

pub fn filter(query: &Query) -> Result<OpenFindingsFilter, Problem> {
    Ok(OpenFindingsFilter {
        severities: query.words("severity")?,
        ecosystem: input::query_ecosystem(query)?,
        package: query.text("package").map(str::to_owned),
    })
}

/// **SecurityOverview**.
pub fn overview(risks: &[PackageRisk]) -> Value {
    let mut all = SeverityCounts::new();
    for (severity, count) in risks.iter().flat_map(|risk| &risk.severities) {
        *all.entry(*severity).or_default() += count;
    }
    json!({
        "summary": {
            "open_findings": all.values().sum::<i64>(),
            "affected_packages": risks.len(),
            "severities": severities(&all),
        },
        "packages": risks.iter().map(package).collect::<Vec<_>>(),
    })
}

fn worst_first() -> impl Iterator<Item = Severity> {
    Severity::ALL.iter().rev().copied()
}

fn severities(counts: &SeverityCounts) -> Value {
    let members = worst_first()
        .map(|severity| (severity.as_str().to_owned(), json!(counts.get(&severity).copied().unwrap_or(0))));
    Value::Object(members.collect::<Map<_, _>>())
}

fn package(risk: &PackageRisk) -> Value {
    let reviewers = risk.reviewers.iter().map(|team| json!({"id": team.id, "slug": team.slug, "name": team.name}));
    json!({
        "package_id": risk.package_id,
        "ecosystem": risk.ecosystem,
        "name": risk.name,
        "description": risk.description,
        "visibility": risk.visibility,
        "open_findings": risk.open_findings(),
        "worst_severity": risk.worst(),
        "latest_detected_at": risk.latest_detected_at,
        "severities": severities(&risk.severities),
        "reviewer_teams": reviewers.collect::<Vec<_>>(),
        "can_manage_security": risk.can_manage_security,
    })
}

/// The cells under [`COLUMNS`].
fn cells(risk: &PackageRisk) -> csv::Row {
    let mut row = vec![
        risk.package_id.to_string(),
        risk.ecosystem.to_string(),
        risk.name.clone(),
        risk.description.clone().unwrap_or_default(),
        risk.visibility.to_string(),
        risk.open_findings().to_string(),
        risk.worst().map_or_else(String::new, |worst| worst.to_string()),
        risk.latest_detected_at.to_string(),
    ];
    row.extend(worst_first().map(|severity| risk.severities.get(&severity).copied().unwrap_or(0).to_string()));
    row
}

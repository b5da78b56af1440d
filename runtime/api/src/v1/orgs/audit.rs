//! `/v1/orgs/{slug}/audit*`: what happened in an organization (control-plane.md §5.3).

use axum::{extract::State, response::Response};
use http::Method;
use publaryn_core::{Scope, audit::AuditAction};

use crate::v1::{
    ApiState,
    audit::{COLUMNS, cells, common_filter, cursor, entry, sheet, slice},
    extract::{Caller, Origin, Path},
    page::Query,
    problem::Problem,
    route::{Routes, scoped},
};

const FILTERS: &str = "action s?, actor_user_id u?, occurred_from s?, occurred_until s?";

pub fn routes() -> Routes {
    Routes::new("organizations")
        .get(
            "/orgs/{slug}/audit",
            list,
            scoped(Scope::OrgsRead, "What happened in an organization and to its packages, newest first")
                .notes("For owners, admins and auditors.")
                .query(FILTERS)
                .walk("logs", "AuditEntry", 50)
                .problem(403, "insufficient_permission")
                .problem(403, "token_not_bound")
                .problem(422, "range_inverted"),
        )
        .get(
            "/orgs/{slug}/audit/export",
            export,
            scoped(Scope::OrgsRead, "The same as a CSV file, complete")
                .query(FILTERS)
                .media(200, "text/csv")
                .problem(403, "insufficient_permission")
                .problem(403, "token_not_bound")
                .problem(422, "validation_failed")
                .problem(422, "range_inverted")
                .audit(AuditAction::OrgAuditExport),
        )
}

async fn list(
    State(state): State<ApiState>,
    caller: Caller,
    Path(slug): Path<String>,
    query: Query,
) -> Result<Response, Problem> {
    let log = state.registry.audited_organization(&caller.0, &slug).await?;
    let filter = common_filter(&query)?;
    let page = query.page(50)?;
    let step = state.registry.audit_log(log, &filter, slice(&query, page)?).await?;
    Ok(page.walk_answer(&query, "logs", step.entries.iter().map(entry).collect(), step.total, step.next.map(cursor)))
}

async fn export(
    State(state): State<ApiState>,
    caller: Caller,
    Origin(origin): Origin,
    method: Method,
    Path(slug): Path<String>,
    query: Query,
) -> Result<Response, Problem> {
    let log = state.registry.audited_organization(&caller.0, &slug).await?;
    let filter = common_filter(&query)?;
    // A HEAD takes nothing away.
    if method == Method::GET {
        state.registry.note_audit_export(&caller.0, log, "audit", &origin).await?;
    }
    // A slug holds nothing that a header or a file name would mind.
    sheet(&state.registry, log, filter, &format!("org-audit-{slug}.csv"), &COLUMNS, cells).await
}

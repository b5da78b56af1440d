//! `/v1/audit*`: the platform's audit log (control-plane.md §11), and the forms it shares with the logs of
//! organizations.

use axum::{extract::State, response::Response};
use publaryn_core::{AuditId, Scope, Timestamp, audit::AuditAction};
use publaryn_metadata::audit_log::{AuditFilter, AuditPosition, AuditRow};
use publaryn_registry::{AuditSlice, AuditStart, AuditedLog, Registry};
use serde_json::{Value, json};

use super::{
    ApiState, csv,
    extract::Caller,
    page::{self, Page, Query},
    problem::Problem,
    route::{Routes, platform},
};

/// The columns of an organization's export; the platform's has two more.
pub const COLUMNS: [&str; 14] = [
    "id",
    "occurred_at",
    "action",
    "actor_user_id",
    "actor_username",
    "actor_display_name",
    "actor_token_id",
    "target_user_id",
    "target_username",
    "target_display_name",
    "target_org_id",
    "target_package_id",
    "target_release_id",
    "metadata_json",
];
const PLATFORM_COLUMNS: [&str; 2] = ["ip_address", "user_agent"];
/// Entries that an export reads at once.
const EXPORT_STEP: u32 = 1_000;

const FILTERS: &str = "action s?, actor_user_id u?, target_org_id u?, target_package_id u?, target_user_id u?, \
     occurred_from s?, occurred_until s?";

pub fn routes() -> Routes {
    Routes::new("operation")
        .get(
            "/audit",
            list,
            platform(Scope::AuditRead, "The audit log of the whole instance, newest first")
                .query(FILTERS)
                .walk("logs", "PlatformAuditEntry", 50)
                .problem(422, "range_inverted"),
        )
        .get(
            "/audit/export",
            export,
            platform(Scope::AuditRead, "The same as a CSV file, complete")
                .query(FILTERS)
                .media(200, "text/csv")
                .problem(422, "validation_failed")
                .problem(422, "range_inverted"),
        )
}

async fn list(State(state): State<ApiState>, caller: Caller, query: Query) -> Result<Response, Problem> {
    let log = state.registry.audited_platform(&caller.0)?;
    let filter = filter(&query)?;
    let page = query.page(50)?;
    let step = state.registry.audit_log(log, &filter, slice(&query, page)?).await?;
    let list = step.entries.iter().map(platform_entry).collect();
    Ok(page.walk_answer(&query, "logs", list, step.total, step.next.map(cursor)))
}

async fn export(State(state): State<ApiState>, caller: Caller, query: Query) -> Result<Response, Problem> {
    let log = state.registry.audited_platform(&caller.0)?;
    let columns: Vec<&str> = COLUMNS.into_iter().chain(PLATFORM_COLUMNS).collect();
    let cells = |row: &AuditRow| {
        let mut cells = cells(row);
        cells.extend([text(row.ip_address.as_ref()), text(row.user_agent.as_ref())]);
        cells
    };
    sheet(&state.registry, log, filter(&query)?, "audit.csv", &columns, cells).await
}

/// An audit log as a CSV file, step by step.
pub async fn sheet(
    registry: &Registry,
    log: AuditedLog,
    filter: AuditFilter,
    filename: &str,
    columns: &[&str],
    cells: fn(&AuditRow) -> csv::Row,
) -> Result<Response, Problem> {
    let registry = registry.clone();
    csv::answer(filename, columns, move |position| {
        let (registry, filter) = (registry.clone(), filter.clone());
        async move {
            let from = position.map_or(AuditStart::Newest, AuditStart::Behind);
            let step = registry.audit_log(log, &filter, AuditSlice { limit: EXPORT_STEP, from }).await?;
            Ok((step.entries.iter().map(cells).collect(), step.next))
        }
    })
    .await
}

/// The filters of a query; what only the platform's log is filtered by included.
fn filter(query: &Query) -> Result<AuditFilter, Problem> {
    Ok(AuditFilter {
        target_org: query.id("target_org_id")?,
        target_package: query.id("target_package_id")?,
        target_user: query.id("target_user_id")?,
        ..common_filter(query)?
    })
}

/// The filters that every audit log has.
pub fn common_filter(query: &Query) -> Result<AuditFilter, Problem> {
    let (from, until) = query.range("occurred_from", "occurred_until")?;
    let action: Option<AuditAction> = query.word("action")?;
    Ok(AuditFilter { action, actor_user: query.id("actor_user_id")?, from, until, ..AuditFilter::default() })
}

/// Where the list begins: behind the cursor, else at the page.
pub fn slice(query: &Query, page: Page) -> Result<AuditSlice, Problem> {
    let bad = || Problem::bad_parameter("cursor", "is not a cursor of this list");
    let from = match query.cursor::<2>()? {
        Some([at, id]) => AuditStart::Behind(AuditPosition {
            occurred_at: Timestamp::from_micros(at.parse().map_err(|_| bad())?),
            id: id.parse::<AuditId>().map_err(|_| bad())?,
        }),
        None => AuditStart::Offset(page.offset()),
    };
    Ok(AuditSlice { limit: page.per_page, from })
}

pub fn cursor(position: AuditPosition) -> String {
    page::cursor([&position.occurred_at.as_micros(), &position.id.0.simple()])
}

/// **AuditEntry**, without the client's address.
pub fn entry(row: &AuditRow) -> Value {
    json!({
        "id": row.id,
        "action": row.action,
        "actor_user_id": row.actor_user_id,
        "actor_username": row.actor_username,
        "actor_display_name": row.actor_display_name,
        "actor_token_id": row.actor_token_id,
        "target_user_id": row.target_user_id,
        "target_username": row.target_username,
        "target_display_name": row.target_display_name,
        "target_org_id": row.target_org_id,
        "target_package_id": row.target_package_id,
        "target_release_id": row.target_release_id,
        "metadata": serde_json::from_str::<Value>(&row.metadata).unwrap_or(Value::Null),
        "occurred_at": row.occurred_at,
    })
}

fn platform_entry(row: &AuditRow) -> Value {
    let mut object = entry(row);
    object["ip_address"] = json!(row.ip_address);
    object["user_agent"] = json!(row.user_agent);
    object
}

/// The cells under [`COLUMNS`].
pub fn cells(row: &AuditRow) -> csv::Row {
    vec![
        row.id.to_string(),
        row.occurred_at.to_string(),
        row.action.clone(),
        text(row.actor_user_id),
        text(row.actor_username.as_ref()),
        text(row.actor_display_name.as_ref()),
        text(row.actor_token_id),
        text(row.target_user_id),
        text(row.target_username.as_ref()),
        text(row.target_display_name.as_ref()),
        text(row.target_org_id),
        text(row.target_package_id),
        text(row.target_release_id),
        row.metadata.clone(),
    ]
}

pub fn text(value: Option<impl ToString>) -> String {
    value.map_or_else(String::new, |value| value.to_string())
}

//! `/v1/orgs/{slug}/access-history*`: what the teams of an organization were granted, and by whom
//! (control-plane.md §5.3). It is the organization's audit log, read as changes of grants.

use axum::{extract::State, response::Response};
use http::Method;
use publaryn_core::{Scope, audit::AuditAction};
use publaryn_metadata::audit_log::{AccessFilter, AccessScope, AuditFilter, AuditRow};
use serde_json::{Map, Value, json};

use crate::v1::{
    ApiState,
    audit::{cursor, sheet, slice, text},
    csv,
    extract::{Caller, Origin, Path},
    page::Query,
    problem::Problem,
    route::{Routes, scoped},
};

const FILTERS: &str =
    "scope package|repository|namespace|all?, team_slug s?, target s?, occurred_from s?, occurred_until s?";

const COLUMNS: [&str; 14] = [
    "id",
    "occurred_at",
    "scope",
    "event",
    "team_slug",
    "team_name",
    "target_label",
    "previous_permissions",
    "permissions",
    "actor_user_id",
    "actor_username",
    "actor_display_name",
    "actor_token_id",
    "summary",
];

pub fn routes() -> Routes {
    Routes::new("organizations")
        .get(
            "/orgs/{slug}/access-history",
            list,
            scoped(Scope::OrgsRead, "What the teams of an organization were granted, newest first")
                .notes("For owners, admins and auditors. `target` is part of the label of what the grant is on.")
                .query(FILTERS)
                .walk("entries", "AccessChange", 50)
                .problem(403, "insufficient_permission")
                .problem(403, "token_not_bound")
                .problem(422, "range_inverted"),
        )
        .get(
            "/orgs/{slug}/access-history/export",
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
    let filter = filter(&query)?;
    let page = query.page(50)?;
    let step = state.registry.audit_log(log, &filter, slice(&query, page)?).await?;
    let list = step.entries.iter().map(|row| Change::of(row).object(row)).collect();
    Ok(page.walk_answer(&query, "entries", list, step.total, step.next.map(cursor)))
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
    let filter = filter(&query)?;
    // A HEAD takes nothing away.
    if method == Method::GET {
        state.registry.note_audit_export(&caller.0, log, "access_history", &origin).await?;
    }
    let cells = |row: &AuditRow| Change::of(row).cells(row);
    sheet(&state.registry, log, filter, &format!("org-access-history-{slug}.csv"), &COLUMNS, cells).await
}

fn filter(query: &Query) -> Result<AuditFilter, Problem> {
    let (from, until) = query.range("occurred_from", "occurred_until")?;
    let scope = query.one_of("scope", &["all", "package", "repository", "namespace"])?;
    let scope = AccessScope::ALL.into_iter().find(|known| scope == Some(known.as_str()));
    let access = AccessFilter {
        scope,
        team_slug: query.text("team_slug").map(str::to_owned),
        target: query.text("target").map(str::to_owned),
    };
    Ok(AuditFilter { from, until, access: Some(access), ..AuditFilter::default() })
}

/// An entry read as a change of what a team is granted.
struct Change {
    scope: AccessScope,
    metadata: Map<String, Value>,
    label: String,
}

/// Members of an entry's metadata that say what a grant is on.
const TARGET: [&str; 9] = [
    "package_id",
    "repository_id",
    "namespace_claim_id",
    "ecosystem",
    "name",
    "normalized_name",
    "repository_slug",
    "repository_name",
    "namespace",
];

impl Change {
    fn of(row: &AuditRow) -> Self {
        let scope = AccessScope::ALL.into_iter().find(|scope| scope.action().as_str() == row.action);
        // The filter lets nothing else through.
        let scope = scope.unwrap_or(AccessScope::Package);
        let metadata: Map<String, Value> = serde_json::from_str(&row.metadata).unwrap_or_default();
        let label = scope.label(&metadata);
        Self { scope, metadata, label }
    }

    fn permissions(&self, member: &str) -> Vec<&str> {
        let list = self.metadata.get(member).and_then(Value::as_array);
        list.into_iter().flatten().filter_map(Value::as_str).collect()
    }

    fn word(&self, member: &str) -> Option<&str> {
        self.metadata.get(member).and_then(Value::as_str)
    }

    fn event(&self) -> &'static str {
        match (self.permissions("previous_permissions").is_empty(), self.permissions("permissions").is_empty()) {
            (_, true) => "revoked",
            (true, false) => "granted",
            (false, false) => "changed",
        }
    }

    /// One line for people.
    fn summary(&self, row: &AuditRow) -> String {
        let actor = row.actor_username.as_deref().unwrap_or("somebody");
        let team = self.word("team_name").unwrap_or("a team");
        let (before, now) = (self.permissions("previous_permissions").join(", "), self.permissions("permissions"));
        let label = &self.label;
        match self.event() {
            "revoked" => format!("{actor} ended {before} of {team} on {label}"),
            "granted" => format!("{actor} granted {team} {} on {label}", now.join(", ")),
            _ => format!("{actor} changed what {team} may do with {label} from {before} to {}", now.join(", ")),
        }
    }

    /// **AccessChange**.
    fn object(&self, row: &AuditRow) -> Value {
        let target: Map<String, Value> =
            TARGET.iter().filter_map(|name| Some(((*name).to_owned(), self.metadata.get(*name)?.clone()))).collect();
        json!({
            "id": row.id,
            "action": row.action,
            "scope": self.scope.as_str(),
            "event": self.event(),
            "team_id": self.word("team_id"),
            "team_slug": self.word("team_slug"),
            "team_name": self.word("team_name"),
            "target_label": self.label,
            "target": target,
            "previous_permissions": self.permissions("previous_permissions"),
            "permissions": self.permissions("permissions"),
            "actor_user_id": row.actor_user_id,
            "actor_username": row.actor_username,
            "actor_display_name": row.actor_display_name,
            "actor_token_id": row.actor_token_id,
            "occurred_at": row.occurred_at,
            "summary": self.summary(row),
        })
    }

    /// The cells under [`COLUMNS`].
    fn cells(&self, row: &AuditRow) -> csv::Row {
        vec![
            row.id.to_string(),
            row.occurred_at.to_string(),
            self.scope.as_str().to_owned(),
            self.event().to_owned(),
            text(self.word("team_slug")),
            text(self.word("team_name")),
            self.label.clone(),
            self.permissions("previous_permissions").join(";"),
            self.permissions("permissions").join(";"),
            text(row.actor_user_id),
            text(row.actor_username.as_ref()),
            text(row.actor_display_name.as_ref()),
            text(row.actor_token_id),
            self.summary(row),
        ]
    }
}

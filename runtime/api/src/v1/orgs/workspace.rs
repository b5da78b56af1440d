//! `/v1/orgs/{slug}/workspace` and `…/repository-package-coverage`: an organization at a glance
//! (control-plane.md §5.3).

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use publaryn_core::Timestamp;
use publaryn_metadata::teams::Grant;
use publaryn_registry::{
    control::SummaryView,
    governance::{Coverage, TeamManagement},
};
use serde::Serialize;
use serde_json::{Value, json};

use super::{grants::Shown, objects, security};
use crate::v1::{
    ApiState,
    extract::{Caller, Path},
    namespaces,
    packages::objects::PackageSummary,
    page::Query,
    problem::Problem,
    repositories,
    route::{Routes, public},
};

pub fn routes() -> Routes {
    Routes::new("organizations")
        .get(
            "/orgs/{slug}/repository-package-coverage",
            show_coverage,
            public("Packages of an organization by the repository they lie in, as far as the caller may see them")
                .notes("Up to 10,000 packages.")
                .answer(200, "repositories [Coverage]"),
        )
        .get(
            "/orgs/{slug}/workspace",
            show,
            public("Everything that a page about an organization shows")
                .notes(
                    "What the caller may not see is empty or null. Lists end at 10,000; the routes of their own page \
                     through all of it. The filters are those of the security overview.",
                )
                .query(security::FILTERS)
                .answer(
                    200,
                    "org Org, teams [Team], repositories [Repository], repository_package_coverage [Coverage], \
                     packages [PackageSummary], namespaces [NamespaceClaim], invitations [Invitation], \
                     team_management TeamManagement?, security SecurityOverview",
                )
                .problem(422, "validation_failed"),
        )
}

/// **Coverage**.
#[derive(Serialize)]
struct CoverageObject<'a> {
    repository_slug: &'a str,
    packages: Vec<PackageSummary<'a>>,
}

/// The answer of `workspace`; lists that may be long are written as they are.
#[derive(Serialize)]
struct WorkspaceObject<'a> {
    org: Value,
    teams: Vec<Value>,
    repositories: Vec<Value>,
    repository_package_coverage: Vec<CoverageObject<'a>>,
    packages: Vec<PackageSummary<'a>>,
    namespaces: Vec<Value>,
    invitations: Vec<Value>,
    team_management: Option<Value>,
    security: Value,
}

async fn show_coverage(
    State(state): State<ApiState>,
    caller: Caller,
    Path(slug): Path<String>,
) -> Result<Response, Problem> {
    let all = state.registry.repository_coverage(&caller.0, &slug).await?;
    Ok(Json(BTreeMap::from([("repositories", coverage(&all))])).into_response())
}

async fn show(
    State(state): State<ApiState>,
    caller: Caller,
    Path(slug): Path<String>,
    query: Query,
) -> Result<Response, Problem> {
    let all = state.registry.workspace(&caller.0, &slug, &security::filter(&query)?).await?;
    let now = Timestamp::now();
    let answer = WorkspaceObject {
        org: objects::org(&all.org),
        teams: all.teams.iter().map(objects::team).collect(),
        repositories: all.repositories.iter().map(repositories::object).collect(),
        repository_package_coverage: coverage(&all.coverage),
        packages: summaries(&all.packages),
        namespaces: all.claims.iter().map(namespaces::object).collect(),
        invitations: all.invitations.iter().map(|row| objects::invitation(row, now)).collect(),
        team_management: all.team_management.as_ref().map(team_management),
        security: security::overview(&all.security),
    };
    Ok(Json(answer).into_response())
}

fn coverage(all: &[Coverage]) -> Vec<CoverageObject<'_>> {
    all.iter()
        .map(|one| CoverageObject { repository_slug: &one.repository_slug, packages: summaries(&one.packages) })
        .collect()
}

fn summaries(views: &[Arc<SummaryView>]) -> Vec<PackageSummary<'_>> {
    views.iter().map(|view| PackageSummary::of(view)).collect()
}

/// **TeamManagement**.
fn team_management(all: &TeamManagement) -> Value {
    json!({
        "members_by_team_slug": by_team(all.members.iter().map(|(team, row)| (team, objects::team_member(row)))),
        "package_access_by_team_slug": grants(&all.packages),
        "repository_access_by_team_slug": grants(&all.repositories),
        "namespace_access_by_team_slug": grants(&all.claims),
    })
}

fn grants<T: Shown>(rows: &[(String, Grant<T>)]) -> BTreeMap<&String, Vec<Value>> {
    by_team(rows.iter().map(|(team, grant)| (team, T::object(grant))))
}

fn by_team<'a>(rows: impl Iterator<Item = (&'a String, Value)>) -> BTreeMap<&'a String, Vec<Value>> {
    let mut all: BTreeMap<&String, Vec<Value>> = BTreeMap::new();
    for (team, object) in rows {
        all.entry(team).or_default().push(object);
    }
    all
}

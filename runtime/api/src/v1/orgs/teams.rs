//! Teams and who is in them.

use axum::{
    Json,
    extract::{Path, State},
    response::{IntoResponse, Response},
};
use http::StatusCode;
use publaryn_core::{Operation, Scope};
use publaryn_metadata::organizations::Slice;
use publaryn_registry::governance::{NewTeam, TeamPatch};

use super::{
    super::{
        ApiState,
        auth::{message, refused},
        extract::{Body, Caller, Origin},
        input::{self, DESCRIPTION},
        page::Query,
        problem::Problem,
    },
    objects,
};

pub async fn list(
    State(state): State<ApiState>,
    caller: Caller,
    Path(slug): Path<String>,
    query: Query,
) -> Result<Response, Problem> {
    let who = caller.require_scope(Scope::OrgsRead)?;
    let page = query.page(100)?;
    let (rows, total) = state.registry.teams(who, &slug, Slice::new(page.per_page, page.offset())).await?;
    Ok(page.answer(&query, "teams", rows.iter().map(objects::team).collect(), total))
}

pub async fn create(
    State(state): State<ApiState>,
    caller: Caller,
    Origin(origin): Origin,
    Path(slug): Path<String>,
    body: Body,
) -> Result<Response, Problem> {
    let who = caller.require_scope(Scope::OrgsWrite)?;
    let mut fields = body.fields().await?;
    state.registry.organization_for(who, &slug, Operation::Govern).await?;
    let new = NewTeam {
        name: input::required_name(&mut fields),
        slug: input::required_slug(&mut fields),
        description: input::optional(&mut fields, "description", DESCRIPTION),
    };
    fields.finish()?;
    let team = state.registry.create_team(who, &slug, new, &origin).await?;
    Ok((StatusCode::CREATED, Json(objects::team(&team))).into_response())
}

pub async fn show(
    State(state): State<ApiState>,
    caller: Caller,
    Path((slug, team)): Path<(String, String)>,
) -> Result<Response, Problem> {
    let who = caller.require_scope(Scope::OrgsRead)?;
    let team = state.registry.team(who, &slug, &team, Operation::ReadDirectory).await?;
    Ok(Json(objects::team(&team)).into_response())
}

pub async fn update(
    State(state): State<ApiState>,
    caller: Caller,
    Origin(origin): Origin,
    Path((slug, team)): Path<(String, String)>,
    body: Body,
) -> Result<Response, Problem> {
    let who = caller.require_scope(Scope::OrgsWrite)?;
    let mut fields = body.fields().await?;
    state.registry.team(who, &slug, &team, Operation::Govern).await?;
    let patch = TeamPatch {
        name: input::patch_name(&mut fields),
        description: input::patch(&mut fields, "description", DESCRIPTION),
    };
    fields.finish()?;
    let team = state.registry.update_team(who, &slug, &team, patch, &origin).await?;
    Ok(Json(objects::with_message(objects::team(&team), "team updated")).into_response())
}

pub async fn remove(
    State(state): State<ApiState>,
    caller: Caller,
    Origin(origin): Origin,
    Path((slug, team)): Path<(String, String)>,
) -> Result<Response, Problem> {
    let who = caller.require_scope(Scope::OrgsWrite)?;
    state.registry.delete_team(who, &slug, &team, &origin).await?;
    Ok(message("team deleted"))
}

pub async fn members(
    State(state): State<ApiState>,
    caller: Caller,
    Path((slug, team)): Path<(String, String)>,
    query: Query,
) -> Result<Response, Problem> {
    let who = caller.require_scope(Scope::OrgsRead)?;
    let page = query.page(100)?;
    let slice = Slice::new(page.per_page, page.offset());
    let (team, rows, total) = state.registry.team_members(who, &slug, &team, slice).await?;
    let list = rows.iter().map(objects::team_member).collect();
    Ok(page.answer_with(&query, "members", list, total, [("team", objects::team_label(&team))]))
}

pub async fn add_member(
    State(state): State<ApiState>,
    caller: Caller,
    Origin(origin): Origin,
    Path((slug, team)): Path<(String, String)>,
    body: Body,
) -> Result<Response, Problem> {
    let who = caller.require_scope(Scope::OrgsWrite)?;
    let mut fields = body.fields().await?;
    state.registry.team(who, &slug, &team, Operation::Govern).await?;
    let Some(username) = fields.text("username") else { return Err(refused(fields.finish())) };
    fields.finish()?;
    let (row, is_new) = state.registry.add_team_member(who, &slug, &team, &username, &origin).await?;
    let (status, text) =
        if is_new { (StatusCode::CREATED, "member added") } else { (StatusCode::OK, "already in the team") };
    Ok((status, Json(objects::with_message(objects::team_member(&row), text))).into_response())
}

pub async fn remove_member(
    State(state): State<ApiState>,
    caller: Caller,
    Origin(origin): Origin,
    Path((slug, team, username)): Path<(String, String, String)>,
) -> Result<Response, Problem> {
    let who = caller.require_scope(Scope::OrgsWrite)?;
    state.registry.remove_team_member(who, &slug, &team, &username, &origin).await?;
    Ok(message("member removed"))
}

//! Teams and who is in them.

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use http::StatusCode;
use publaryn_core::{Operation, Scope, audit::AuditAction};
use publaryn_metadata::organizations::Slice;
use publaryn_registry::governance::{NewTeam, TeamPatch};

use super::{
    super::{
        ApiState,
        auth::{message, refused},
        extract::{Body, Caller, Origin, Path},
        input::{self, DESCRIPTION},
        page::Query,
        problem::Problem,
        route::{Routes, scoped},
    },
    objects,
};

pub fn routes() -> Routes {
    let refused = "insufficient_permission";
    Routes::new("teams")
        .get(
            "/orgs/{slug}/teams",
            list,
            scoped(Scope::OrgsRead, "Teams of an organization, by name")
                .list("teams", "Team", 100)
                .problem(403, refused),
        )
        .post(
            "/orgs/{slug}/teams",
            create,
            scoped(Scope::OrgsWrite, "Creates a team")
                .body("name s, slug s, description s?")
                .answer(201, "Team")
                .problem(403, refused)
                .problem(409, "already_exists")
                .audit(AuditAction::TeamCreate),
        )
        .get(
            "/orgs/{slug}/teams/{team}",
            show,
            scoped(Scope::OrgsRead, "A team").answer(200, "Team").problem(403, refused),
        )
        .patch(
            "/orgs/{slug}/teams/{team}",
            update,
            scoped(Scope::OrgsWrite, "Renames or describes a team")
                .body("name s?, description s?")
                .answer(200, "..Team, message s")
                .problem(403, refused)
                .audit(AuditAction::TeamUpdate),
        )
        .delete(
            "/orgs/{slug}/teams/{team}",
            remove,
            scoped(Scope::OrgsWrite, "Deletes a team with its memberships and grants")
                .message()
                .problem(403, refused)
                .audit(AuditAction::TeamDelete),
        )
        .get(
            "/orgs/{slug}/teams/{team}/members",
            members,
            scoped(Scope::OrgsRead, "Members of a team, by user name")
                .listed(
                    100,
                    "team {id u, slug s, name s}, members [TeamMember], page i, per_page i, total i, has_next b",
                )
                .problem(403, refused),
        )
        .post(
            "/orgs/{slug}/teams/{team}/members",
            add_member,
            scoped(Scope::OrgsWrite, "Adds a member of the organization to a team")
                .body("username s")
                .answer(201, "..TeamMember, message s")
                .answer(200, "..TeamMember, message s")
                .problem(403, refused)
                .audit(AuditAction::TeamMemberAdd),
        )
        .delete(
            "/orgs/{slug}/teams/{team}/members/{username}",
            remove_member,
            scoped(Scope::OrgsWrite, "Takes a member out of a team")
                .message()
                .problem(403, refused)
                .audit(AuditAction::TeamMemberRemove),
        )
}

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

//! `/v1/users/*`: profiles (control-plane.md §4).

use axum::{
    Json, Router,
    extract::{Path, State},
    response::{IntoResponse, Response},
    routing::get,
};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use publaryn_core::Scope;
use publaryn_registry::identity::ProfilePatch;
use serde_json::{Value, json};

use super::{
    ApiState,
    extract::{Body, Caller, Fields, Origin},
    objects,
    problem::{FieldProblem, Problem},
};

pub fn router() -> Router<ApiState> {
    Router::new()
        .route("/me", get(me).patch(update_me))
        .route("/me/organizations", get(super::orgs::own))
        .route("/{username}", get(profile).patch(update_named))
}

async fn me(State(state): State<ApiState>, caller: Caller) -> Result<Response, Problem> {
    let who = caller.require_user()?;
    let user = state.identity.own_account(who).await?;
    Ok(Json(objects::user_self(&user, who.scopes)).into_response())
}

async fn update_me(
    State(state): State<ApiState>,
    caller: Caller,
    Origin(origin): Origin,
    body: Body,
) -> Result<Response, Problem> {
    let who = caller.require_scope(Scope::ProfileWrite)?;
    let fields = body.fields().await?;
    let user = state.identity.update_profile(who, patch(fields)?, &origin).await?;
    Ok(Json(objects::user_self(&user, who.scopes)).into_response())
}

async fn profile(
    State(state): State<ApiState>,
    caller: Caller,
    headers: HeaderMap,
    Path(username): Path<String>,
) -> Result<Response, Problem> {
    let user = state.identity.user_by_name(&username).await?;
    let tag = format!("{}-{}", user.id.0.simple(), user.updated_at.as_micros());
    Ok(public(&caller, &headers, &tag, &objects::user_public(&user)))
}

async fn update_named(
    State(state): State<ApiState>,
    caller: Caller,
    Origin(origin): Origin,
    Path(username): Path<String>,
    body: Body,
) -> Result<Response, Problem> {
    let who = caller.require_scope(Scope::ProfileWrite)?;
    let fields = body.fields().await?;
    state.identity.require_own_profile(who, &username).await?;
    let user = state.identity.update_profile(who, patch(fields)?, &origin).await?;
    let mut object = objects::user_public(&user);
    object["message"] = json!("profile updated");
    Ok(Json(object).into_response())
}

/// Reads and checks a profile patch, so that faults of form and of content are listed together.
fn patch(mut fields: Fields) -> Result<ProfilePatch, Problem> {
    let patch = ProfilePatch {
        display_name: fields.patch_text("display_name"),
        bio: fields.patch_text("bio"),
        website: fields.patch_text("website"),
        avatar_url: fields.patch_text("avatar_url"),
    };
    let checked = patch.checked().unwrap_or_else(|problems| {
        problems.into_iter().map(FieldProblem::from).for_each(|problem| fields.problem(problem));
        ProfilePatch::default()
    });
    fields.finish()?;
    Ok(checked)
}

/// A public document: cacheable with a validator for anonymous callers, nobody else's business otherwise.
///
/// `tag` names the state of the document and goes into the `ETag`.
pub(super) fn public(caller: &Caller, request: &HeaderMap, tag: &str, document: &Value) -> Response {
    if !caller.0.is_anonymous() {
        return Json(document).into_response();
    }
    let etag = format!("\"{tag}\"");
    let asked = request.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    // Weak comparison (RFC 9110 §13.1.2).
    let is_known = asked
        .flat_map(|list| list.split(','))
        .map(str::trim)
        .any(|known| known == "*" || known.strip_prefix("W/").unwrap_or(known) == etag);
    let mut response = if is_known { StatusCode::NOT_MODIFIED.into_response() } else { Json(document).into_response() };
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=0, must-revalidate"));
    if let Ok(value) = HeaderValue::from_str(&etag) {
        headers.insert(header::ETAG, value);
    }
    response
}

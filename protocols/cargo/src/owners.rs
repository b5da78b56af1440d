//! `/cargo/api/v1/crates/{crate}/owners`: who may publish a crate.
//!
//! Cargo is strict here: ids are integers within u32, a success needs `msg`, and `"ok": false` makes
//! it panic, so failures are always errors (cargo.md §8).

use axum::{body::Body, response::Response};
use http::StatusCode;
use publaryn_core::{Ecosystem, Operation, RegistryError, access::Denial};
use publaryn_protocol::read_body;
use publaryn_registry::{OwnerChange, OwnerRow, PackageView, PublishingTeam};
use serde::Deserialize;
use serde_json::json;

use crate::{
    call::{Answer, Call, CratePath, json},
    error::{CargoError, about},
    name::collision_key,
};

/// Largest body of a change, in bytes.
const MAX_BODY_BYTES: u64 = 64 << 10;
/// Most users in one change.
const MAX_USERS: usize = 50;

#[derive(Deserialize)]
struct Change {
    users: Vec<String>,
}

pub(crate) async fn list(path: CratePath, call: Call) -> Response {
    call.answer(owners(&call, &path).await)
}

pub(crate) async fn add(path: CratePath, call: Call, body: Body) -> Response {
    call.answer(change(&call, &path, body, true).await)
}

pub(crate) async fn remove(path: CratePath, call: Call, body: Body) -> Response {
    call.answer(change(&call, &path, body, false).await)
}

async fn owners(call: &Call, path: &CratePath) -> Answer {
    call.require_login()?;
    let view = call.package(&path.0).await?;
    let users: Vec<_> = if view.is_owned_by_organization() {
        let teams = call.registry.publishing_teams(&view).await?;
        let shown = |team: &PublishingTeam| {
            let login = format!("{}:{}", team.org, team.slug);
            json!({ "id": team.number, "login": login, "name": team.name })
        };
        teams.iter().map(shown).collect()
    } else {
        let owners = call.registry.owners(&view).await?;
        let shown =
            |owner: &OwnerRow| json!({ "id": owner.number, "login": owner.username, "name": owner.display_name });
        owners.iter().map(shown).collect()
    };
    Ok(json(&json!({ "users": users })))
}

async fn change(call: &Call, path: &CratePath, body: Body, is_add: bool) -> Answer {
    call.require_scope(Operation::Administer)?;
    let body = read_body(body, MAX_BODY_BYTES).await?;
    let change: Change = serde_json::from_slice(&body)
        .map_err(|error| RegistryError::malformed(format!("invalid owners request: {error}")))?;
    let view = call.package(&path.0).await?;
    let is_managed = view.is_owned_by_organization();
    // The registry refuses whatever is asked of an organization's crate.
    let users = if is_managed { change.users } else { logins(change.users)? };
    let current = call.registry.owners(&view).await?;
    let is_owner = |login: &str| current.iter().any(|owner| owner.username.eq_ignore_ascii_case(login));
    if !is_add && !is_managed {
        check_removal(&view, &users, &is_owner, current.len())?;
    }
    let wanted = if is_add {
        OwnerChange { add: users.clone(), remove: vec![] }
    } else {
        OwnerChange { add: vec![], remove: users.clone() }
    };
    let changed = call.registry.change_owners(&call.who, Ecosystem::Cargo, &collision_key(view.name()), &wanted).await;
    changed.map_err(|error| refusal(error, &view))?;
    let sentences: Vec<String> =
        users.iter().map(|login| sentence(login, is_add, is_owner(login), view.name())).collect();
    Ok(json(&json!({ "ok": true, "msg": sentences.join(", ") })))
}

/// User names; teams are written `org:team`.
fn logins(users: Vec<String>) -> Result<Vec<String>, CargoError> {
    let refused = |status, detail: String| Err(CargoError::refused(status, detail));
    if users.is_empty() {
        return refused(StatusCode::BAD_REQUEST, "no users are named".into());
    }
    if users.len() > MAX_USERS {
        return refused(StatusCode::BAD_REQUEST, format!("more than {MAX_USERS} users in one request"));
    }
    let mut seen: Vec<String> = Vec::with_capacity(users.len());
    for user in users {
        let user = user.trim();
        let shown: String = user.chars().filter(|c| !c.is_control()).take(100).collect();
        match user.matches(':').count() {
            0 if user.is_empty() => return refused(StatusCode::BAD_REQUEST, "a user name is empty".into()),
            0 => {}
            1 => return refused(StatusCode::NOT_FOUND, format!("could not find team `{shown}`")),
            _ => return refused(StatusCode::BAD_REQUEST, "teams of this instance are written org:team".into()),
        }
        if !seen.iter().any(|s| s.eq_ignore_ascii_case(user)) {
            seen.push(shown);
        }
    }
    Ok(seen)
}

fn check_removal(
    view: &PackageView,
    users: &[String],
    is_owner: &impl Fn(&str) -> bool,
    owners: usize,
) -> Result<(), CargoError> {
    if let Some(stranger) = users.iter().find(|login| !is_owner(login)) {
        let detail = format!("could not find owner with login `{stranger}`");
        return Err(CargoError::refused(StatusCode::NOT_FOUND, detail));
    }
    if users.len() >= owners {
        let detail = format!("cannot remove the last owner of crate `{}`", view.name());
        return Err(CargoError::refused(StatusCode::FORBIDDEN, detail));
    }
    Ok(())
}

fn refusal(error: RegistryError, view: &PackageView) -> CargoError {
    match &error {
        RegistryError::Invalid { code: "unknown_user", message } => {
            let login = message.split('`').nth(1).unwrap_or_default();
            CargoError::refused(StatusCode::NOT_FOUND, format!("could not find user with login `{login}`"))
        }
        RegistryError::Denied(Denial::Rule { code: "owned_by_organization", message }) => {
            CargoError::refused(StatusCode::FORBIDDEN, message.clone())
        }
        _ => about(error, view.name()),
    }
}

fn sentence(login: &str, is_add: bool, was_owner: bool, name: &str) -> String {
    match (is_add, was_owner) {
        (true, true) => format!("user {login} is already an owner of crate {name}"),
        (true, false) => format!("user {login} has been added to the owners of crate {name}"),
        (false, _) => format!("user {login} has been removed from the owners of crate {name}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logins_are_users_and_teams_are_told_apart() {
        let of =
            |names: &[&str]| logins(names.iter().map(|n| (*n).to_owned()).collect()).map_err(|e| e.status().as_u16());
        assert_eq!(of(&["alice", "Alice", " bob "]), Ok(vec!["alice".into(), "bob".into()]));
        assert_eq!(of(&[]), Err(400));
        assert_eq!(of(&[""]), Err(400));
        assert_eq!(of(&["acme:core"]), Err(404));
        assert_eq!(of(&["github:acme:core"]), Err(400));
    }
}

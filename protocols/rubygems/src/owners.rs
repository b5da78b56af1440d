//! `/api/v1/gems/{gem}/owners`: who may push a gem.

use std::fmt::Write;

use axum::body::Body;
use http::{Method, StatusCode};
use publaryn_core::{Ecosystem, Operation, RegistryError, access::Denial};
use publaryn_registry::OwnerChange;
use serde_json::json;

use crate::{
    call::{Answer, Call, json, text, yaml},
    error::GemError,
    name,
    route::Format,
};

/// Addresses are nobody's business; `gem owner` shows the handle where there is none.
pub(crate) async fn list(call: &Call, gem: &str, format: Format) -> Answer {
    call.require_login()?;
    let view = call.gem(gem).await?;
    let owners = call.registry.owners(&view).await?;
    if format == Format::Json {
        let all: Vec<_> = owners.iter().map(|owner| json!({ "id": owner.number, "handle": owner.username })).collect();
        return Ok(json(&json!(all)));
    }
    let mut list = String::from("---\n");
    for owner in &owners {
        // User names are letters, digits and dashes; the quotes keep `123` a text. Writing to a text never fails.
        let _ = writeln!(list, "- id: {}\n  handle: \"{}\"", owner.number, owner.username);
    }
    if owners.is_empty() {
        list.push_str("[]\n");
    }
    Ok(yaml(list))
}

pub(crate) async fn change(call: &Call, gem: &str, body: Body) -> Answer {
    call.require_scope(Operation::Administer)?;
    let form = call.form(body).await?;
    let is_add = call.method() == Method::POST;
    let view = call.gem(gem).await?;
    let wanted = form.get("email").or_else(|| form.get("handle"));
    let wanted = wanted.ok_or_else(|| GemError::refused(StatusCode::BAD_REQUEST, "The field email is missing."))?;
    let current = call.registry.owners(&view).await?;
    // Only those who share the gem may be named by address: it must not tell who has an account.
    let by_address = current.iter().find(|owner| owner.email.eq_ignore_ascii_case(wanted));
    let user = by_address.map_or(wanted, |owner| owner.username.as_str()).to_owned();
    let is_owner = current.iter().any(|owner| owner.username.eq_ignore_ascii_case(&user));
    if is_add == is_owner {
        let word = if is_add { "is an owner already" } else { "is no owner" };
        return Err(GemError::refused(StatusCode::UNPROCESSABLE_ENTITY, format!("{user} {word} of {gem}.")));
    }
    let change = if is_add {
        OwnerChange { add: vec![user.clone()], remove: vec![] }
    } else {
        OwnerChange { add: vec![], remove: vec![user.clone()] }
    };
    let done = call.registry.change_owners(&call.who, Ecosystem::Rubygems, &name::canonical(gem), &change).await;
    done.map_err(|error| match error {
        RegistryError::Denied(Denial::InsufficientPermission(_)) => {
            GemError::refused(StatusCode::FORBIDDEN, "You do not have permission to manage the owners of this gem.")
        }
        RegistryError::Invalid { code: "unknown_user", .. } => {
            GemError::refused(StatusCode::NOT_FOUND, format!("Owner could not be found: {user}. Use a user name."))
        }
        other => other.into(),
    })?;
    Ok(text(if is_add { "Owner added successfully.\n" } else { "Owner removed successfully.\n" }))
}

//! Changes to what is published. Clients read a whole document, edit it and send it back, so every body is
//! taken as a patch by allow-list: what their copy did not show (held, yanked releases) is never touched.

use std::collections::HashMap;

use http::StatusCode;
use publaryn_core::{Ecosystem, RegistryError, Visibility};
use publaryn_registry::{OwnerChange, PackageDocument};
use serde_json::{Map, Value, json};

use crate::{
    body,
    call::{Answer, Call, created, ok},
    error::NpmError,
    name::unscoped,
    packument,
    read::document_at,
    version::{check_tag, parse_version},
};

/// Largest document a client may send back, in bytes: several thousand versions.
pub(crate) const MAX_DOCUMENT_BYTES: usize = 16 << 20;

/// `PUT /P` without attachments: deprecations, or a star.
pub(crate) async fn patch(call: &Call, name: &str, body: &Map<String, Value>) -> Answer {
    match (body.get("versions").and_then(Value::as_object), body.get("users").and_then(Value::as_object)) {
        (Some(versions), _) => deprecate(call, name, versions).await,
        (None, Some(users)) => star(call, name, users).await,
        (None, None) => Err(NpmError::bad_request("the body changes nothing this registry knows of")),
    }
}

async fn deprecate(call: &Call, name: &str, versions: &Map<String, Value>) -> Answer {
    let messages: Vec<(String, Option<String>)> = versions
        .iter()
        .filter(|(_, manifest)| manifest.is_object())
        .map(|(version, manifest)| {
            let message = manifest.get("deprecated").and_then(Value::as_str).filter(|m| !m.is_empty());
            (version.clone(), message.map(|m| m.chars().take(MAX_DEPRECATION_CHARS).collect()))
        })
        .collect();
    call.registry.deprecate(&call.who, Ecosystem::Npm, name, &messages).await?;
    changed(call, name).await
}

/// Longest deprecation message kept, in characters.
const MAX_DEPRECATION_CHARS: usize = 1024;

async fn star(call: &Call, name: &str, users: &Map<String, Value>) -> Answer {
    call.require_login()?;
    let view = call.package(name).await?;
    let starred = call.who.user().is_some_and(|user| users.get(user.username.as_str()).is_some_and(|v| *v == true));
    call.registry.set_star(&call.who, &view, starred).await?;
    changed(call, name).await
}

async fn changed(call: &Call, name: &str) -> Answer {
    // The new revision is a courtesy; the change itself is done.
    let rev = match call.package(name).await {
        Ok(view) => packument::revision_of(view.id(), view.revision()),
        Err(_) => String::new(),
    };
    created(json!({ "ok": true, "id": name, "rev": rev }))
}

/// `PUT /P/-rev/R`: owners, or the packument less the versions to unpublish.
pub(crate) async fn revise(call: &Call, name: &str, rev: &str) -> Answer {
    call.require_login()?;
    let raw = call.take_body();
    let body = body::read_object(&call.parts.headers, raw, MAX_DOCUMENT_BYTES).await?;
    let (_, document) = document_at(call, name, rev).await?;
    match (body.get("versions").and_then(Value::as_object), body.get("maintainers").and_then(Value::as_array)) {
        (Some(versions), _) => {
            unpublish_missing(call, name, &document, versions).await?;
            retag(call, name, &document, versions, body.get("dist-tags")).await?;
            restar(call, name, &document, body.get("users")).await?;
        }
        (None, Some(maintainers)) => set_owners(call, name, &document, maintainers).await?,
        (None, None) => return Err(NpmError::bad_request("the body changes nothing this registry knows of")),
    }
    changed(call, name).await
}

async fn unpublish_missing(
    call: &Call,
    name: &str,
    document: &PackageDocument,
    kept: &Map<String, Value>,
) -> Result<(), NpmError> {
    let gone: Vec<String> =
        visible_versions(document).filter(|version| !kept.contains_key(*version)).map(str::to_owned).collect();
    if !gone.is_empty() {
        call.registry.unpublish(&call.who, Ecosystem::Npm, name, &gone).await?;
    }
    Ok(())
}

fn visible_versions(document: &PackageDocument) -> impl Iterator<Item = &str> {
    document.releases.iter().filter(|r| !r.row.is_yanked).map(|r| r.row.version.as_str())
}

/// Applies the tags of the body where they name a version that stays and differ from what the client saw.
async fn retag(
    call: &Call,
    name: &str,
    document: &PackageDocument,
    kept: &Map<String, Value>,
    tags: Option<&Value>,
) -> Result<(), NpmError> {
    let before: HashMap<&str, &str> =
        document.tags.iter().map(|(tag, version)| (tag.as_str(), version.as_str())).collect();
    for (tag, version) in tags.and_then(Value::as_object).into_iter().flatten() {
        let Some(version) = version.as_str() else { continue };
        let stays = kept.contains_key(version) && visible_versions(document).any(|v| v == version);
        if stays && before.get(tag.as_str()) != Some(&version) && check_tag(tag).is_ok() {
            set_tag(call, name, tag, version).await?;
        }
    }
    Ok(())
}

/// pnpm stars by sending the whole document back with the caller among its users, or no longer.
async fn restar(call: &Call, name: &str, document: &PackageDocument, users: Option<&Value>) -> Result<(), NpmError> {
    let (Some(user), Some(users)) = (call.who.user(), users.and_then(Value::as_object)) else { return Ok(()) };
    let is_starred = users.get(user.username.as_str()).is_some_and(|starred| *starred == true);
    if is_starred != document.stargazers.iter().any(|name| *name == user.username) {
        let view = call.package(name).await?;
        call.registry.set_star(&call.who, &view, is_starred).await?;
    }
    Ok(())
}

async fn set_owners(
    call: &Call,
    name: &str,
    document: &PackageDocument,
    maintainers: &[Value],
) -> Result<(), NpmError> {
    let wanted: Vec<&str> = maintainers.iter().filter_map(|m| m.get("name").and_then(Value::as_str)).collect();
    let current: Vec<&str> = document.owners.iter().map(|o| o.username.as_str()).collect();
    let same = |a: &str, b: &str| a.eq_ignore_ascii_case(b);
    let change = OwnerChange {
        add: wanted.iter().filter(|w| !current.iter().any(|c| same(c, w))).map(|w| (*w).to_owned()).collect(),
        remove: current.iter().filter(|c| !wanted.iter().any(|w| same(c, w))).map(|c| (*c).to_owned()).collect(),
    };
    Ok(call.registry.change_owners(&call.who, Ecosystem::Npm, name, &change).await?)
}

/// `PUT /-/package/P/owners` with `{"user": …}`: one more owner.
pub(crate) async fn add_owner(call: &Call, name: &str) -> Answer {
    call.require_login()?;
    let body = call.object().await?;
    let Some(user) = body.get("user").and_then(Value::as_str) else {
        return Err(NpmError::bad_request("the body must name a user"));
    };
    let change = OwnerChange { add: vec![user.to_owned()], remove: Vec::new() };
    call.registry.change_owners(&call.who, Ecosystem::Npm, name, &change).await?;
    ok(json!({ "ok": true }))
}

/// `DELETE /-/package/P/owners/U`.
pub(crate) async fn remove_owner(call: &Call, name: &str, user: &str) -> Answer {
    call.require_login()?;
    let change = OwnerChange { add: Vec::new(), remove: vec![user.to_owned()] };
    call.registry.change_owners(&call.who, Ecosystem::Npm, name, &change).await?;
    ok(json!({ "ok": true }))
}

/// `DELETE /P/-rev/R`.
pub(crate) async fn unpublish_package(call: &Call, name: &str, rev: &str) -> Answer {
    call.require_login()?;
    document_at(call, name, rev).await?;
    call.registry.unpublish_package(&call.who, Ecosystem::Npm, name).await?;
    ok(json!({ "ok": true }))
}

/// `DELETE /P/-/F.tgz/-rev/R`: the second half of a single unpublish; the first half did it all.
pub(crate) async fn delete_tarball(call: &Call, name: &str, file: &str, rev: &str) -> Answer {
    call.require_login()?;
    let done = || ok(json!({ "ok": true }));
    let document = match document_at(call, name, rev).await {
        Ok((_, document)) => document,
        // Gone with its last version, or changed since: there is nothing of this client's left to delete.
        Err(error) if matches!(error.status(), StatusCode::NOT_FOUND | StatusCode::CONFLICT) => return done(),
        Err(error) => return Err(error),
    };
    let version = file
        .strip_suffix(".tgz")
        .and_then(|stem| stem.strip_prefix(unscoped(name))?.strip_prefix('-'))
        .filter(|version| visible_versions(&document).any(|v| v == *version));
    if let Some(version) = version {
        call.registry.unpublish(&call.who, Ecosystem::Npm, name, &[version.to_owned()]).await?;
    }
    done()
}

/// `PUT /-/package/P/dist-tags/T`, the body being a JSON string.
pub(crate) async fn put_tag(call: &Call, name: &str, tag: &str) -> Answer {
    call.require_login()?;
    let raw = call.take_body();
    let bytes = body::read(&call.parts.headers, raw, 4096).await?;
    check_tag(tag).map_err(|error| NpmError::bad_request(error.to_string()))?;
    let version: String = serde_json::from_slice(&bytes)
        .map_err(|_| NpmError::bad_request("the body must be a version as a JSON string"))?;
    set_tag(call, name, tag, version.trim()).await?;
    created(json!({ "ok": true }))
}

async fn set_tag(call: &Call, name: &str, tag: &str, version: &str) -> Result<(), NpmError> {
    let Some(version) = parse_version(version) else {
        return Err(RegistryError::VersionNotFound(version.chars().take(128).collect()).into());
    };
    Ok(call.registry.set_tag(&call.who, Ecosystem::Npm, name, tag, version.unique_key()).await?)
}

/// `DELETE /-/package/P/dist-tags/T`.
pub(crate) async fn delete_tag(call: &Call, name: &str, tag: &str) -> Answer {
    call.require_login()?;
    if tag == "latest" {
        return Err(NpmError::bad_request("latest cannot be removed"));
    }
    call.registry.delete_tag(&call.who, Ecosystem::Npm, name, tag).await?;
    ok(json!({ "ok": true }))
}

/// `POST /-/package/P/access`.
pub(crate) async fn set_access(call: &Call, name: &str) -> Answer {
    call.require_login()?;
    let body = call.object().await?;
    let visibility = match body.get("access").and_then(Value::as_str) {
        Some("public") => Visibility::Public,
        Some("restricted" | "private") => Visibility::Private,
        Some(_) => return Err(NpmError::bad_request("access must be public or restricted")),
        None if body.keys().any(|key| key.contains("tfa")) => {
            return Err(NpmError::bad_request("a second factor per package is not supported by this registry"));
        }
        None => {
            return Err(NpmError::refused(StatusCode::BAD_REQUEST, "the body changes nothing this registry knows of"));
        }
    };
    call.registry.set_visibility(&call.who, Ecosystem::Npm, name, visibility).await?;
    ok(json!({}))
}

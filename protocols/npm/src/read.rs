//! What clients read: packuments, single versions, tarballs, tags, who may touch a package.

use axum::response::Response;
use http::{HeaderMap, StatusCode, header};
use publaryn_core::{Ecosystem, RegistryError};
use publaryn_protocol::{respond_artifact, respond_rendered};
use publaryn_registry::PackageView;
use serde::Deserialize;
use serde_json::{Map, Value, json, value::RawValue};

use crate::{
    call::{Answer, Call, ok},
    packument::{self, ABBREVIATED_TYPE, FULL_TYPE},
};

/// `GET /P`: the packument, in the representation that `Accept` asks for.
pub(crate) async fn packument(call: &Call, name: &str) -> Answer {
    let view = call.package(name).await?;
    // Who is going to write it back needs the revision, whatever its `Accept` says (npm unpublish).
    let wants_short = wants_abbreviated(call.headers()) && call.query("write").is_none();
    let (flavour, content_type) =
        if wants_short { ("npm-abbreviated", ABBREVIATED_TYPE) } else { ("npm-full", FULL_TYPE) };
    let (base, key) = (call.base(), call.shared.key(&call.registry).await?);
    let render_base = base.clone();
    let rendered = call
        .registry
        .rendered(&view, flavour, &base, content_type, move |doc| {
            if wants_short {
                packument::render_abbreviated(doc, &render_base, Some(&key))
            } else {
                packument::render_full(doc, &render_base, Some(&key))
            }
        })
        .await?;
    Ok(respond_rendered(&rendered, call.headers(), view.is_open()))
}

/// Whether the client prefers the abbreviated form: listed, not refused, and not below `application/json`.
/// Missing and `*/*` mean the full one.
fn wants_abbreviated(headers: &HeaderMap) -> bool {
    let (mut short, mut full) = (None, None);
    for value in headers.get_all(header::ACCEPT).iter().filter_map(|v| v.to_str().ok()) {
        for item in value.split(',') {
            let mut parts = item.split(';').map(str::trim);
            let kind = parts.next().unwrap_or_default();
            let weight =
                parts.find_map(|p| p.strip_prefix("q=")).map_or(1.0, |q| q.trim().parse::<f32>().unwrap_or(0.0));
            if kind.eq_ignore_ascii_case(ABBREVIATED_TYPE) {
                short = Some(weight);
            } else if kind.eq_ignore_ascii_case(FULL_TYPE) {
                full = Some(weight);
            }
        }
    }
    short.is_some_and(|short| short > 0.0 && full.is_none_or(|full| short >= full))
}

/// `GET /P/V`: one version object, by version or tag.
pub(crate) async fn manifest(call: &Call, name: &str, spec: &str) -> Answer {
    #[derive(Deserialize)]
    struct Document<'a> {
        #[serde(rename = "dist-tags")]
        tags: Map<String, Value>,
        #[serde(borrow)]
        versions: std::collections::HashMap<&'a str, &'a RawValue>,
    }
    let view = call.package(name).await?;
    let (base, key) = (call.base(), call.shared.key(&call.registry).await?);
    let render_base = base.clone();
    let rendered = call
        .registry
        .rendered(&view, "npm-full", &base, FULL_TYPE, move |doc| packument::render_full(doc, &render_base, Some(&key)))
        .await?;
    let document: Document<'_> = serde_json::from_slice(&rendered.body).map_err(RegistryError::internal)?;
    let version = document.tags.get(spec).and_then(Value::as_str).unwrap_or(spec);
    let Some(manifest) = document.versions.get(version) else {
        return Err(RegistryError::VersionNotFound(spec.to_owned()).into());
    };
    let mut response = Response::new(manifest.get().to_owned().into());
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, http::HeaderValue::from_static(FULL_TYPE));
    headers.insert(header::CACHE_CONTROL, http::HeaderValue::from_static("private, max-age=0, must-revalidate"));
    headers.insert(header::VARY, http::HeaderValue::from_static("Accept, Authorization, Accept-Encoding"));
    Ok(response)
}

/// `GET /P/-/F.tgz`.
pub(crate) async fn tarball(call: &Call, name: &str, file: &str) -> Answer {
    let view = call.package(name).await?;
    let artifact = call.registry.artifact(&view, file).await?;
    Ok(respond_artifact(&call.registry, artifact, &call.parts.method, call.headers()).await?)
}

/// `GET /-/package/P/dist-tags`.
pub(crate) async fn dist_tags(call: &Call, name: &str) -> Answer {
    let view = call.package(name).await?;
    let rendered = call.registry.rendered(&view, "npm-tags", "", FULL_TYPE, packument::render_dist_tags).await?;
    Ok(respond_rendered(&rendered, call.headers(), view.is_open()))
}

/// `GET /-/package/P/visibility`.
pub(crate) async fn visibility(call: &Call, name: &str) -> Answer {
    let view = call.package(name).await?;
    ok(json!({ "public": view.is_open() }))
}

/// `GET /-/package/P/access`, as pnpm asks for it.
pub(crate) async fn access(call: &Call, name: &str) -> Answer {
    let view = call.package(name).await?;
    ok(json!({ "access": if view.is_open() { "public" } else { "restricted" } }))
}

/// `GET /-/package/P/collaborators`.
pub(crate) async fn collaborators(call: &Call, name: &str) -> Answer {
    let view = call.package(name).await?;
    call.require_login()?;
    let owners = call.registry.owners(&view).await?;
    ok(Value::Object(owners.into_iter().map(|owner| (owner.username, "write".into())).collect()))
}

/// `GET /-/user/U/package`: what the caller may see of what the user works on.
pub(crate) async fn packages_of_user(call: &Call, user: &str) -> Answer {
    call.require_login()?;
    let views = call.registry.packages_of_user(&call.who, Ecosystem::Npm, user).await?;
    ok(Value::Object(views.iter().map(|view| (view.name().to_owned(), "write".into())).collect()))
}

/// `GET /-/_view/starredByUser?key="u"`.
pub(crate) async fn starred_by_user(call: &Call) -> Answer {
    let key = call.query("key").unwrap_or_default();
    let views = call.registry.starred_by(&call.who, Ecosystem::Npm, key.trim_matches('"')).await?;
    let rows: Vec<Value> = views.iter().map(|view| json!({ "value": view.name() })).collect();
    ok(json!({ "rows": rows }))
}

/// `GET /-/user/U/stars`: the same in the form pnpm reads, names as keys.
pub(crate) async fn stars_of(call: &Call, user: &str) -> Answer {
    let views = call.registry.starred_by(&call.who, Ecosystem::Npm, user).await?;
    ok(Value::Object(views.iter().map(|view| (view.name().to_owned(), true.into())).collect()))
}

/// `GET /-/npm/v1/keys`.
pub(crate) async fn keys(call: &Call) -> Answer {
    ok(call.shared.key(&call.registry).await?.published())
}

/// The package document at exactly the revision that a client read.
///
/// # Errors
/// 409 when the revision is not the current one: the client must read again.
pub(crate) async fn document_at(
    call: &Call,
    name: &str,
    rev: &str,
) -> Result<(PackageView, publaryn_registry::PackageDocument), crate::error::NpmError> {
    let view = call.package(name).await?;
    let document = call.registry.document(&view).await?;
    if packument::parse_revision(view.id(), rev) != Some(document.package.revision) {
        return Err(crate::error::NpmError::refused(StatusCode::CONFLICT, "Document update conflict."));
    }
    Ok((view, document))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_short_form_goes_to_who_prefers_it() {
        let accept = |value: &str| wants_abbreviated(&HeaderMap::from_iter([(header::ACCEPT, value.parse().unwrap())]));
        for yes in [
            "application/vnd.npm.install-v1+json",
            "application/vnd.npm.install-v1+json; q=1.0, application/json; q=0.8, */*",
            "application/json; q=0.5, application/vnd.npm.install-v1+json",
            "application/vnd.npm.install-v1+json,application/json",
        ] {
            assert!(accept(yes), "{yes}");
        }
        for no in [
            "*/*",
            "application/json",
            "application/json, application/vnd.npm.install-v1+json;q=0.5",
            "application/vnd.npm.install-v1+json;q=0",
            "",
        ] {
            assert!(!accept(no), "{no}");
        }
        assert!(!wants_abbreviated(&HeaderMap::new()));
    }
}

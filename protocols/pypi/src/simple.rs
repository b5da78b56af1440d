//! `GET /pypi/simple/…`: the list of projects and the files of each (PEP 503, 691, 700 and their successors).
//!
//! Source: <https://packaging.python.org/en/latest/specifications/simple-repository-api/>

mod html;
mod json;
mod page;

use http::StatusCode;
use publaryn_core::{Ecosystem, RegistryError, Timestamp};
use publaryn_protocol::respond_rendered;
use publaryn_registry::ListedName;

pub use page::{FileEntry, ProjectPage, Yank, distributions, exposed, file_document};

use crate::{
    accept::Representation,
    call::{Answer, Call},
    error::PypiError,
    name::normalize,
    redirect,
};

/// Which version of the simple API the pages speak.
const API_VERSION: &str = "1.4";

pub(crate) async fn list(call: &Call, has_slash: bool) -> Answer {
    call.require_reader()?;
    if !has_slash {
        return Ok(redirect(call, &with_query(call, "/simple/")));
    }
    let form = representation(call)?;
    let base = call.base();
    let (render_base, flavour) = (base.clone(), flavour(form));
    let render = move |names: &Names| match form {
        Representation::Json => json::list(names),
        Representation::Html | Representation::LegacyHtml => html::list(names, render_base.as_str()),
    };
    let registry = &call.registry;
    let rendered = registry
        .rendered_names(&call.who, Ecosystem::Pypi, flavour, base.as_str(), form.content_type(), render)
        .await?;
    Ok(respond_rendered(&rendered, &call.headers, call.who.is_anonymous()))
}

pub(crate) async fn project(call: &Call, name: &str, has_slash: bool) -> Answer {
    call.require_reader()?;
    let Some(canonical) = normalize(name) else { return Err(call.miss().await) };
    if canonical != name || !has_slash {
        // Before any look-up, so it tells nothing.
        return Ok(redirect(call, &with_query(call, &format!("/simple/{canonical}/"))));
    }
    let form = representation(call)?;
    let view = call.project(name).await?;
    let base = call.base();
    let render_base = base.clone();
    let render: fn(&ProjectPage) -> Vec<u8> = match form {
        Representation::Json => json::project,
        Representation::Html | Representation::LegacyHtml => html::project,
    };
    let rendered = call
        .registry
        .try_rendered(&view, flavour(form), base.as_str(), form.content_type(), move |document| {
            Ok(ProjectPage::of(document, render_base.as_str())?.map(|page| render(&page)))
        })
        .await;
    match rendered {
        Ok(rendered) => Ok(respond_rendered(&rendered, &call.headers, view.is_open())),
        // Nothing of it is exposed yet: then there is no such project.
        Err(RegistryError::NotFound) => Err(call.miss().await),
        Err(other) => Err(other.into()),
    }
}

fn representation(call: &Call) -> Result<Representation, PypiError> {
    Representation::negotiate(call.uri.query(), &call.headers).ok_or_else(|| {
        let text = "This page is JSON (application/vnd.pypi.simple.v1+json) or HTML.";
        PypiError::refused(StatusCode::NOT_ACCEPTABLE, text)
    })
}

fn with_query(call: &Call, path: &str) -> String {
    match call.uri.query() {
        Some(query) => format!("{path}?{query}"),
        None => path.to_owned(),
    }
}

/// What pages of that form are kept under.
const fn flavour(form: Representation) -> &'static str {
    match form {
        Representation::Json => "pypi-json",
        Representation::Html => "pypi-html",
        Representation::LegacyHtml => "pypi-legacy-html",
    }
}

/// An instant with all six digits of its fraction.
pub(crate) fn instant(at: Timestamp) -> String {
    json::Instant(at).to_string()
}

/// The names of a list, display form and normalised.
type Names = [ListedName];

//! `GET /cargo/index[/auth]/…`: the configuration and the index files of both entry points.
//!
//! Cargo sends a token only to an index that demands one, so one address cannot serve anonymous
//! users and private crates: `index/` shows what its caller may see and never asks, `index/auth/`
//! always asks (cargo.md §1).

use axum::response::Response;
use http::Uri;
use publaryn_core::{Principal, Timestamp};
use publaryn_protocol::respond_rendered;
use publaryn_registry::{AnonymousMiss, Rendered};
use serde::Serialize;

use crate::{
    call::{Answer, Call},
    error::CargoError,
    index::render_index,
    name::name_of_index_path,
};

const INDEX_TYPE: &str = "text/plain; charset=utf-8";

/// Source: <https://doc.rust-lang.org/cargo/reference/registry-index.html#index-configuration>
#[derive(Serialize)]
struct IndexConfig {
    dl: String,
    api: String,
    #[serde(rename = "auth-required", skip_serializing_if = "std::ops::Not::not")]
    auth_required: bool,
}

pub(crate) async fn serve(call: Call, uri: Uri) -> Response {
    call.answer_text(index(&call, uri.path()).await)
}

async fn index(call: &Call, path: &str) -> Answer {
    let path = path.strip_prefix("/index/").ok_or_else(CargoError::not_found)?;
    let (asks, path) = match path.strip_prefix("auth/") {
        Some(rest) => (true, rest),
        None => (call.is_closed(), path),
    };
    if asks {
        call.require_login()?;
    }
    if path == "config.json" {
        // Cargo sends what token it has only where the index says so, and then always.
        let is_asked = asks || call.registry.settings().anonymous_miss == AnonymousMiss::Challenge;
        return Ok(config(call, is_asked));
    }
    let name = name_of_index_path(path).ok_or_else(CargoError::not_found)?;
    // A stale token must not break anonymous resolution, so here it counts as none.
    let anonymous = Principal::anonymous();
    let who = if call.who.is_invalid() { &anonymous } else { &call.who };
    let view = call.package_for(who, name).await?;
    let file = call
        .registry
        .try_rendered(&view, "index", "", INDEX_TYPE, |document| render_index(document).map_err(Into::into))
        .await?;
    Ok(respond_rendered(&file, &call.headers, view.is_open() && !asks))
}

fn config(call: &Call, auth_required: bool) -> Response {
    let base = call.base();
    let config = IndexConfig {
        dl: format!("{}/cargo/api/v1/crates/{{crate}}/{{version}}/download", base.as_str()),
        api: format!("{}/cargo", base.as_str()),
        auth_required,
    };
    let body = serde_json::to_vec(&config).expect("strings and a bool are always JSON");
    // Never from the clock: the validator is the content's, and a date nobody compares is constant.
    let rendered = Rendered::new("application/json", body, 0, Timestamp::from_micros(0));
    respond_rendered(&rendered, &call.headers, !auth_required)
}

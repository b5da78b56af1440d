//! The Cargo registry: sparse index, publishing, yanking, owners, search (docs/adapters/cargo.md).
//!
//! Everything a client sees of a crate is rendered from the rows of its live releases; nothing is
//! kept as a file that later changes edit.

mod about;
pub mod archive;
mod call;
mod category;
mod download;
mod draft;
mod error;
mod exchange;
pub mod frame;
pub mod index;
mod makeup;
mod manifest;
pub mod name;
pub mod own_index;
mod owners;
mod publish;
pub mod publish_json;
pub mod release;
mod scanner;
mod search;
mod serve_index;
mod yank;

use axum::{
    Router,
    response::{IntoResponse, Response},
    routing::{delete, get, post, put},
};
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use publaryn_core::{ArtifactKind, Ecosystem, PackageName, RegistryError, Version};
use publaryn_protocol::{Adapter, DraftFile, KeptRelease, Login, Makeup, Mount, RequestFacts, render};
use publaryn_registry::{Inspector, Registry, control::Described};
use publaryn_scan::Scanner;
use serde_json::{Value, json};

use crate::{call::Call, error::CargoError};

/// Where this protocol answers.
const MOUNT: &str = "/cargo";

/// The adapter.
#[derive(Debug, Clone, Copy, Default)]
pub struct Cargo;

impl Adapter for Cargo {
    fn ecosystem(&self) -> Ecosystem {
        Ecosystem::Cargo
    }

    fn mounts(&self) -> Vec<Mount> {
        vec![Mount { path: MOUNT, router: router() }]
    }

    fn parse_name(&self, raw: &str) -> Result<PackageName, RegistryError> {
        name::parse_name(raw)
    }

    fn parse_version(&self, raw: &str) -> Result<Version, RegistryError> {
        publish_json::parse_version(raw)
    }

    fn render_error(&self, error: &RegistryError, request: &RequestFacts) -> Response {
        if is_index(&request.path) { render::<error::Index>(error) } else { render::<Self>(error) }
    }

    fn login(&self, request: &RequestFacts, _: &HeaderMap) -> Login {
        let is_exchange = request.path.strip_prefix(MOUNT) == Some(exchange::TOKENS);
        if is_exchange && request.method == Method::POST { Login::Counts } else { Login::No }
    }

    fn scanners(&self) -> Vec<Box<dyn Scanner>> {
        vec![Box::new(scanner::CrateMetadata)]
    }

    fn describe(&self, file: &DraftFile<'_>) -> Option<Inspector<Described>> {
        (file.kind == ArtifactKind::Crate).then(|| draft::describe(file))
    }

    fn makeup(&self, release: &KeptRelease<'_>) -> Makeup {
        makeup::makeup(release)
    }

    fn details(&self, release: &KeptRelease<'_>) -> Value {
        let member = |name: &str| release.document.get(name).cloned().unwrap_or_default();
        json!({
            "dependencies": member("deps"),
            "features": member("features"),
            // Told apart in the index only, for clients that know one of the two.
            "features2": null,
            "links": member("links"),
            "rust_version": member("rust_version"),
        })
    }
}

fn router() -> Router<Registry> {
    let krate = "/api/v1/crates/{crate}";
    let version = "/api/v1/crates/{crate}/{version}";
    Router::new()
        .route("/index/{*path}", get(serve_index::serve))
        .route("/me", get(token_page))
        .route(exchange::TOKENS, post(exchange::exchange).delete(exchange::burn))
        .route("/api/v1/crates", get(search::search))
        .route("/api/v1/crates/new", put(publish::publish))
        .route(&format!("{version}/download"), get(download::download))
        .route(&format!("{version}/yank"), delete(yank::yank))
        .route(&format!("{version}/unyank"), put(yank::unyank))
        .route(&format!("{krate}/owners"), get(owners::list).put(owners::add).delete(owners::remove))
        .route(krate, get(about::krate))
        .route(&format!("{krate}/versions"), get(about::versions))
        .route(version, get(about::version))
        .route(&format!("{version}/dependencies"), get(about::dependencies))
        .route(&format!("{version}/readme"), get(about::readme))
        .fallback(unknown_route)
        .method_not_allowed_fallback(wrong_method)
}

/// `GET /cargo/me`: the address `cargo login` prints; leads to where tokens are made.
async fn token_page(call: Call) -> Response {
    let address = format!("{}/settings/tokens", call.base().as_str());
    match HeaderValue::from_str(&address) {
        Ok(location) => (StatusCode::FOUND, [(header::LOCATION, location)]).into_response(),
        Err(_) => CargoError::not_found().into_response(),
    }
}

async fn unknown_route(uri: Uri) -> Response {
    refuse(CargoError::not_found(), &uri)
}

async fn wrong_method(method: Method, uri: Uri) -> Response {
    let detail = format!("{method} is not allowed here");
    refuse(CargoError::refused(StatusCode::METHOD_NOT_ALLOWED, detail), &uri)
}

fn refuse(error: CargoError, uri: &Uri) -> Response {
    if uri.path().starts_with("/index/") {
        error.spoken::<error::Index>().into_response()
    } else {
        error.into_response()
    }
}

fn is_index(path: &str) -> bool {
    path.strip_prefix(MOUNT).is_some_and(|rest| rest.starts_with("/index"))
}

//! The npm registry protocol: what npm, pnpm, yarn and bun speak (docs/adapters/npm.md).
//!
//! [`route`] says what a request asks for and [`Npm`] hands it to the file named after what the client does:
//! `read`, `publish`, `change`, `account`, `search`, `audit`.

mod account;
pub mod archive;
mod audit;
mod body;
mod call;
mod change;
pub mod error;
mod exchange;
mod makeup;
pub mod name;
pub mod packument;
pub mod publish;
mod read;
pub mod release;
pub mod route;
pub mod scanner;
mod search;
pub mod signature;
pub mod version;
mod web_login;

use std::sync::Arc;

use axum::{Router, extract::State, response::Response};
use http::{HeaderMap, Method, Request, StatusCode, header};
use publaryn_core::{
    ArtifactKind, Ecosystem, PackageName, Principal, RegistryError, Version, publish::ReleaseDocument,
};
use publaryn_protocol::{Adapter, DraftFile, KeptRelease, Login, Makeup, Mount, RequestFacts, RouteTemplate};
use publaryn_registry::{Inspector, Registry, control::Described};
use publaryn_scan::{ArchiveError, Scanner};
use serde_json::{Value, json};

use crate::{
    call::{Answer, Call, MOUNT, Shared, ok},
    error::NpmError,
    route::Route,
};

/// The npm adapter.
#[derive(Debug, Clone, Copy, Default)]
pub struct Npm;

impl Adapter for Npm {
    fn ecosystem(&self) -> Ecosystem {
        Ecosystem::Npm
    }

    fn mounts(&self) -> Vec<Mount> {
        let shared = Arc::new(Shared::default());
        // One door: names may hold an encoded slash, which a path matcher cannot see.
        let door = |prefix: &'static str| {
            let shared = shared.clone();
            Router::new().fallback(move |State(registry): State<Registry>, request: Request<axum::body::Body>| {
                answer(registry, shared.clone(), exchange::below(prefix, request))
            })
        };
        // npm builds the address of its token exchange from the host alone; pnpm does not.
        vec![
            Mount { path: MOUNT, router: door("") },
            Mount { path: exchange::ROOT_MOUNT, router: door(exchange::ROOT_MOUNT) },
        ]
    }

    fn parse_name(&self, raw: &str) -> Result<PackageName, RegistryError> {
        name::parse_name(raw).map_err(|error| RegistryError::invalid("invalid_name", error.to_string()))
    }

    fn parse_version(&self, raw: &str) -> Result<Version, RegistryError> {
        version::parse_version(raw)
            .ok_or_else(|| RegistryError::invalid("invalid_version", "the version is not SemVer 2.0.0"))
    }

    fn render_error(&self, error: &RegistryError, request: &RequestFacts) -> Response {
        error::render(error, request.is_write())
    }

    fn login(&self, request: &RequestFacts, _: &HeaderMap) -> Login {
        if !request.is_write() {
            return Login::No;
        }
        let below = request.path.strip_prefix(MOUNT).unwrap_or(&request.path);
        match (Route::parse(below), &request.method) {
            (Route::User(_), &Method::PUT) => Login::Counts,
            (Route::Login | Route::LoginPage(_) | Route::OidcExchange(_), &Method::POST) => Login::Counts,
            _ => Login::No,
        }
    }

    fn scanners(&self) -> Vec<Box<dyn Scanner>> {
        vec![Box::new(scanner::NpmScanner)]
    }

    fn describe(&self, file: &DraftFile<'_>) -> Option<Inspector<Described>> {
        if file.kind != ArtifactKind::Tarball {
            return None;
        }
        let (name, version) = (file.name.display().to_owned(), file.version.as_str().to_owned());
        let unscoped = name.rsplit('/').next().unwrap_or_default();
        if let Some(refusal) = file.must_be_called(&format!("{unscoped}-{version}.tgz")) {
            return Some(refusal);
        }
        let read = move |input: &mut dyn std::io::Read| {
            let inspection = archive::inspect(input, archive::ArchiveLimits::default(), 0)?;
            let says =
                |member: &str, wanted: &str| inspection.manifest.get(member).is_some_and(|value| value == wanted);
            if !says("name", &name) || !says("version", &version) {
                return Err(ArchiveError::refuse(
                    "META-NAME",
                    Some("package.json"),
                    format!("package.json is not that of {name}@{version}"),
                ));
            }
            let metadata = release::document(&inspection.manifest, inspection.facts, None, &[], None);
            let facts = release::package_facts(&inspection.manifest, None);
            Ok(Some(ReleaseDocument { metadata, facts }.into()))
        };
        Some(Box::new(read))
    }

    fn makeup(&self, release: &KeptRelease<'_>) -> Makeup {
        makeup::makeup(release)
    }

    fn details(&self, release: &KeptRelease<'_>) -> Value {
        release::details(release)
    }

    fn tag_problem(&self, tag: &str) -> Option<&'static str> {
        version::check_tag(tag).is_err().then_some("must not be a version range")
    }
}

async fn answer(registry: Registry, shared: Arc<Shared>, request: Request<axum::body::Body>) -> Response {
    let (parts, body) = request.into_parts();
    let route = Route::parse(parts.uri.path());
    let template = RouteTemplate::Own(route.template());
    let is_write = !matches!(parts.method, Method::GET | Method::HEAD);
    let caller = if ignores_credentials(&route, &parts.method) {
        Ok(Principal::anonymous())
    } else {
        registry.caller(parts.headers.get(header::AUTHORIZATION).map(|value| value.as_bytes())).await
    };
    let answered = match caller {
        Ok(who) => {
            let call = Call::new(registry, shared, who, parts, body);
            dispatch(&call, route).await
        }
        Err(error) => Err(error.into()),
    };
    let mut response = answered.unwrap_or_else(|error| error::answer(error, is_write));
    response.extensions_mut().insert(template);
    response
}

/// Logging in must work with the old, dead token still in the client's configuration.
fn ignores_credentials(route: &Route, method: &Method) -> bool {
    match route {
        Route::Ping | Route::Login | Route::LoginPage(_) | Route::LoginStatus(_) => true,
        // What it brings is another issuer's.
        Route::OidcExchange(_) => true,
        Route::User(_) => method == Method::PUT,
        _ => false,
    }
}

async fn dispatch(call: &Call, route: Route) -> Answer {
    let is_open_to_all = ignores_credentials(&route, &call.parts.method);
    if call.registry.settings().require_login && !is_open_to_all {
        call.require_login()?;
    }
    let method = match &call.parts.method {
        &Method::HEAD => Method::GET,
        other => other.clone(),
    };
    match (method.as_str(), route) {
        ("GET", Route::Root | Route::Ping) => ok(json!({})),
        ("GET", Route::Packument(name)) => read::packument(call, &name).await,
        ("GET", Route::Manifest { name, spec }) => read::manifest(call, &name, &spec).await,
        ("GET", Route::Tarball { name, file }) => read::tarball(call, &name, &file).await,
        ("GET", Route::DistTags(name)) => read::dist_tags(call, &name).await,
        ("GET", Route::Visibility(name)) => read::visibility(call, &name).await,
        ("GET", Route::Collaborators(name)) => read::collaborators(call, &name).await,
        ("GET", Route::UserPackages(user)) => read::packages_of_user(call, &user).await,
        ("GET", Route::Access(name)) => read::access(call, &name).await,
        ("GET", Route::UserStars(user)) => read::stars_of(call, &user).await,
        ("GET", Route::StarredByUser) => read::starred_by_user(call).await,
        ("GET", Route::Keys) => read::keys(call).await,
        ("GET", Route::Search) => search::search(call).await,

        ("PUT", Route::Packument(name)) => publish::put(call, &name).await,
        ("PUT", Route::Revision { name, rev }) => change::revise(call, &name, &rev).await,
        ("DELETE", Route::Revision { name, rev }) => change::unpublish_package(call, &name, &rev).await,
        ("DELETE", Route::TarballRevision { name, file, rev }) => {
            change::delete_tarball(call, &name, &file, &rev).await
        }
        ("PUT" | "POST", Route::DistTag { name, tag }) => change::put_tag(call, &name, &tag).await,
        ("DELETE", Route::DistTag { name, tag }) => change::delete_tag(call, &name, &tag).await,
        ("POST", Route::Access(name)) => change::set_access(call, &name).await,
        ("PUT", Route::Owners(name)) => change::add_owner(call, &name).await,
        ("DELETE", Route::Owner { name, user }) => change::remove_owner(call, &name, &user).await,

        ("GET", Route::Whoami) => account::whoami(call).await,
        ("GET", Route::User(name)) => account::user(call, &name).await,
        ("PUT", Route::User(name)) => account::login(call, &name).await,
        ("DELETE", Route::Logout(token)) => account::logout(call, &token).await,
        ("GET", Route::Tokens) => account::tokens(call).await,
        ("POST", Route::Tokens) => account::create_token(call).await,
        ("DELETE", Route::Token(key)) => account::revoke_token(call, &key).await,
        ("GET", Route::Profile) => account::profile(call).await,
        ("POST", Route::Profile) => account::set_profile(call).await,

        ("POST", Route::BulkAudit) => audit::bulk(call).await,
        ("POST", Route::QuickAudit) => audit::quick(call).await,

        ("POST", Route::Login) => web_login::start(call).await,
        ("GET", Route::LoginStatus(id)) => web_login::poll(call, &id).await,
        ("GET", Route::LoginPage(id)) => web_login::page(call, &id).await,
        ("POST", Route::LoginPage(id)) => web_login::confirm(call, &id).await,

        ("POST", Route::OidcExchange(name)) => exchange::exchange(call, &name).await,
        _ => Err(NpmError::refused(StatusCode::NOT_FOUND, "not found")),
    }
}

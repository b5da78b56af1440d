//! A Maven repository: what mvn, Gradle, Ivy, sbt, coursier and Leiningen speak (docs/adapters/maven.md).
//!
//! A deploy is a number of uploads that nobody announces and nothing ends for sure, so a version takes files for a
//! while and each file has a quarantine of its own. Metadata is made here, whatever clients upload.

pub mod archive;
mod call;
pub mod checksum;
pub mod document;
mod draft;
mod error;
pub mod file;
mod makeup;
pub mod metadata;
pub mod module;
pub mod name;
pub mod packaging;
mod path;
mod plugins;
pub mod pom;
mod put;
mod scanner;
mod serve;
pub mod version;

use axum::{
    Router,
    body::Body,
    extract::State,
    response::{IntoResponse, Response},
};
use http::{Method, Request};
use publaryn_core::{ArtifactKind, Ecosystem, PackageName, RegistryError, Version};
use publaryn_protocol::{Adapter, DraftFile, KeptRelease, Makeup, Mount, RequestFacts, RouteTemplate, render};
use publaryn_registry::{Inspector, Registry, control::Described};
use publaryn_scan::Scanner;
use serde_json::Value;

use crate::{
    call::{Answer, Call},
    error::MavenError,
    path::{Address, PathFault, Target},
};

/// Where this protocol answers.
const MOUNT: &str = "/maven";

/// The adapter.
#[derive(Debug, Clone, Copy, Default)]
pub struct Maven;

impl Adapter for Maven {
    fn ecosystem(&self) -> Ecosystem {
        Ecosystem::Maven
    }

    fn mounts(&self) -> Vec<Mount> {
        // One door: what an address means hangs on its last segments, however many there are.
        vec![Mount { path: MOUNT, router: Router::new().fallback(door) }]
    }

    fn parse_name(&self, raw: &str) -> Result<PackageName, RegistryError> {
        name::parse_name(raw)
    }

    fn parse_version(&self, raw: &str) -> Result<Version, RegistryError> {
        version::parse_version(raw)
    }

    fn render_error(&self, error: &RegistryError, _: &RequestFacts) -> Response {
        render::<Self>(error)
    }

    fn scanners(&self) -> Vec<Box<dyn Scanner>> {
        vec![Box::new(scanner::MavenMetadata)]
    }

    fn describe(&self, file: &DraftFile<'_>) -> Option<Inspector<Described>> {
        draft::describe(file)
    }

    fn makeup(&self, release: &KeptRelease<'_>) -> Makeup {
        makeup::makeup(release)
    }

    fn details(&self, release: &KeptRelease<'_>) -> Value {
        let mut details = release.document.clone();
        details["files"] = release.files.iter().map(|file| file.filename).collect();
        details
    }
}

async fn door(State(registry): State<Registry>, request: Request<Body>) -> Response {
    let (parts, body) = request.into_parts();
    let address = Address::of(parts.uri.path());
    let template = address.target.as_ref().map_or("unmatched", Target::template);
    let answered = match Call::new(registry, parts).await {
        Ok(call) => answer(&call, address, body).await,
        Err(error) => Err(error),
    };
    let mut response = answered.unwrap_or_else(MavenError::into_response);
    response.extensions_mut().insert(RouteTemplate::Own(template));
    response
}

async fn answer(call: &Call, address: Address, body: Body) -> Answer {
    match call.method {
        Method::PUT => {
            let allowed = call.require_publisher();
            let target = address.target.map_err(|fault| MavenError::bad_request(fault.to_string()));
            match allowed.and(target) {
                Ok(target) => put::put(call, target, body).await,
                Err(refusal) => Err(put::refused(call, ArtifactKind::Jar, body, refusal).await),
            }
        }
        Method::GET | Method::HEAD => {
            call.require_reader(address.is_challenging)?;
            match address.target {
                Ok(target) => read(call, &target).await,
                Err(fault @ PathFault::Segment) => Err(MavenError::bad_request(fault.to_string())),
                // Clients ask for many things that no repository has to have.
                Err(_) => Err(call.miss().await),
            }
        }
        _ => {
            call.require_reader(address.is_challenging)?;
            Ok(serve::wrong_method())
        }
    }
}

async fn read(call: &Call, target: &Target) -> Answer {
    match target {
        Target::Root => Ok(serve::root()),
        Target::File { file, sidecar: None } => serve::file(call, file).await,
        Target::File { file, sidecar: Some(algorithm) } => serve::checksum(call, file, *algorithm).await,
        Target::Metadata { at, sidecar } => serve::metadata(call, at, *sidecar).await,
        Target::Directory | Target::Ignored(_) => Err(call.miss().await),
    }
}

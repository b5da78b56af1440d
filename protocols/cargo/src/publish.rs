//! `PUT /cargo/api/v1/crates/new`: one crate version, metadata and archive in one body.
//!
//! The order of the checks is that of cargo.md §6: who, frame, metadata, archive. The archive streams
//! into the store while it is inspected; it is never held in memory or unpacked to disk.

use std::{collections::BTreeSet, time::Duration};

use axum::{body::Body, response::Response};
use http::{StatusCode, header};
use publaryn_core::{
    ArtifactKind, Ecosystem, Operation, Principal, RegistryError,
    publish::{PublishCommand, PublishOutcome},
};
use publaryn_protocol::byte_stream;
use publaryn_registry::{Published, StageRequest};
use publaryn_scan::ArchiveError;
use serde_json::json;

use crate::{
    archive::{ArchiveLimits, read_crate},
    call::{Answer, Call, json},
    download::archive_filename,
    error::{CargoError, about},
    frame::{MAX_JSON_BYTES, PublishBody, Remainder},
    name::collision_key,
    own_index::OwnIndexes,
    publish_json::{CheckedCrate, NewCrate, Warnings, is_rust_version},
};

/// Dependencies that a warning names.
const MAX_NAMED_DEPENDENCIES: usize = 10;
/// What a client without `Expect: 100-continue` may still send before it reads our refusal.
const DRAIN_UNAUTHENTICATED_BYTES: u64 = 1 << 20;

/// Longest wait for a verdict, whatever the operator allows: cargo gives up on a connection that is
/// silent for 30 s.
const MAX_WAIT: Duration = Duration::from_secs(20);

pub(crate) async fn publish(call: Call, body: Body) -> Response {
    call.answer(run(&call, body).await)
}

async fn run(call: &Call, body: Body) -> Answer {
    let limit = call.registry.settings().limits.of(ArtifactKind::Crate);
    let body = byte_stream(body);
    if let Err(refusal) = call.require_scope(Operation::Publish) {
        Remainder::new(body).drain(DRAIN_UNAUTHENTICATED_BYTES).await;
        return Err(refusal);
    }
    let length = call.headers.get(header::CONTENT_LENGTH).and_then(|v| v.to_str().ok()?.parse::<u64>().ok());
    if length.is_some_and(|length| length > limit + MAX_JSON_BYTES + 8) {
        // Clients that ask first (`Expect`) have sent nothing yet and would start on a read.
        if !call.headers.contains_key(header::EXPECT) {
            Remainder::new(body).drain(2 * limit).await;
        }
        return Err(RegistryError::TooLarge { what: "the crate", limit_bytes: limit }.into());
    }
    let framed = match PublishBody::read(body, length, limit).await {
        Ok(framed) => framed,
        Err((fault, rest)) => {
            rest.drain(2 * limit).await;
            return Err(RegistryError::from(fault).into());
        }
    };
    let checked = match check(call, framed.json()).await {
        Ok(checked) => checked,
        Err(refusal) => {
            framed.into_remainder().drain(limit).await;
            return Err(refusal);
        }
    };
    store(call, checked, framed, limit).await
}

/// Everything that can be said before the archive is read.
async fn check(call: &Call, metadata: &[u8]) -> Result<CheckedCrate, CargoError> {
    let new = NewCrate::parse(metadata)?;
    let name = new.name.clone();
    let holder = match call.registry.package(&call.who, Ecosystem::Cargo, name.canonical()).await {
        Ok(view) => Some(view),
        Err(RegistryError::NotFound) => None,
        Err(other) => return Err(other.into()),
    };
    if let Some(view) = &holder
        && view.name() != name.display()
    {
        return Err(RegistryError::NameTaken { existing: Some(view.name().to_owned()) }.into());
    }
    call.registry
        .may_publish(&call.who, Ecosystem::Cargo, &name)
        .await
        .map_err(|error| refusal(error, name.display()))?;
    let bases = own_bases(call);
    let checked = new.check(&OwnIndexes::new(bases.iter().map(String::as_str)), bases.clone())?;
    if let Some(view) = &holder
        && let Some(taken) = call.registry.taken_version(view, &checked.version).await?
    {
        // The commit finds this, too; here it spares an upload that cannot succeed.
        return Err(RegistryError::VersionExists(taken).into());
    }
    Ok(checked)
}

/// A name that exists but may not be seen is simply not to be had.
fn refusal(error: RegistryError, name: &str) -> CargoError {
    match error {
        RegistryError::NotFound => CargoError::refused(StatusCode::NOT_FOUND, "this name is not available"),
        other => about(other, name),
    }
}

async fn store(call: &Call, mut checked: CheckedCrate, framed: PublishBody, limit: u64) -> Answer {
    let limits = ArchiveLimits::within(&call.registry.settings().limits);
    let (name, version) = (checked.release.name.clone(), checked.release.vers.clone());
    let request = StageRequest {
        kind: ArtifactKind::Crate,
        filename: archive_filename(&name, &version),
        content_type: "application/octet-stream".to_owned(),
        limit_bytes: limit,
        sha1: false,
        md5: false,
    };
    let inspect = move |input: &mut dyn std::io::Read| {
        let archive = read_crate(input, &name, &version, limits)?;
        match &archive.manifest.rust_version {
            Some(text) if !is_rust_version(text) => {
                let message = format!("`rust-version` of the manifest is not a version of Rust: {text:?}");
                Err(ArchiveError::refuse("META-CRATE", Some("Cargo.toml"), message))
            }
            _ => Ok(archive),
        }
    };
    let (stream, fault) = framed.into_archive();
    let staged = call.registry.stage(Box::pin(stream), request, Box::new(inspect)).await;
    let (staged, archive) = match (staged, fault.get()) {
        (Ok(staged), _) => staged,
        (Err(_), Some(fault)) => return Err(RegistryError::from(fault.clone()).into()),
        (Err(error), None) => return Err(error.into()),
    };
    checked.adopt(archive);
    let command = PublishCommand {
        ecosystem: Ecosystem::Cargo,
        name: checked.name.clone(),
        version: checked.version.clone(),
        artifacts: Vec::new(),
        metadata: serde_json::to_value(&checked.release).map_err(RegistryError::internal)?,
        facts: checked.facts(),
        tags: Vec::new(),
        access_hint: None,
    };
    let published = call.registry.publish_within(&call.who, command, vec![staged], MAX_WAIT).await;
    let published = published.map_err(|error| refusal(error, checked.name.display()))?;
    conclude(call, checked, &published).await
}

/// What the publisher is told; every text in `other` is printed by cargo as a warning.
async fn conclude(call: &Call, checked: CheckedCrate, published: &Published) -> Answer {
    let name = checked.name.display();
    let base = call.base();
    let mut warnings = checked.warnings.clone();
    match &published.outcome {
        PublishOutcome::Blocked { findings, .. } => {
            let titles: Vec<&str> = findings.iter().map(|f| f.title.as_str()).collect();
            let detail = format!("crate `{name}` {} was blocked by a scan: {}", checked.version, titles.join("; "));
            return Err(CargoError::refused(StatusCode::FORBIDDEN, detail));
        }
        PublishOutcome::Pending { .. } => warnings.other.push(format!(
            "release is held for review: {}/packages/cargo/{name}/-/v/{}; cargo will stop waiting after 60 s, which is harmless",
            base.as_str(),
            checked.version
        )),
        PublishOutcome::Live { .. } => {}
    }
    if !published.is_open && !call.is_closed() {
        warnings.other.push(format!("private crate: use `sparse+{}/cargo/index/auth/`", base.as_str()));
    }
    if let Some(slug) = &published.new_repository {
        warnings.other.push(format!(
            "a repository `{slug}` was made for your packages; its visibility is set at {}/repositories/{slug}",
            base.as_str()
        ));
    }
    name_unknown_dependencies(call, &checked, published.is_open, &mut warnings).await;
    Ok(json(&json!({ "warnings": warnings })))
}

/// Crates are often published before what they need (bulk imports), so this is no reason to refuse.
async fn name_unknown_dependencies(call: &Call, checked: &CheckedCrate, is_open: bool, warnings: &mut Warnings) {
    let anonymous = Principal::anonymous();
    let audience = if is_open { &anonymous } else { &call.who };
    let own = checked.release.deps.iter().filter(|dep| dep.registry.is_none()).map(|dep| dep.crate_name());
    let wanted: BTreeSet<&str> = own.filter(|name| collision_key(name) != checked.name.collision_key()).collect();
    let mut unknown = Vec::new();
    for name in wanted {
        if call.package_for(audience, name).await.is_err() {
            unknown.push(format!("`{name}`"));
        }
        if unknown.len() == MAX_NAMED_DEPENDENCIES {
            break;
        }
    }
    if !unknown.is_empty() {
        let text = "dependencies that this registry does not have, or not for everyone who can see this crate";
        warnings.other.push(format!("{text}: {}", unknown.join(", ")));
    }
}

/// The addresses under which this registry may be named in a dependency.
fn own_bases(call: &Call) -> Vec<String> {
    let mut bases = vec![call.base().as_str().to_owned()];
    let configured = &call.registry.settings().base_url;
    if !bases.contains(configured) {
        bases.push(configured.clone());
    }
    bases
}

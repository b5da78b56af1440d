//! `POST /api/v1/gems`: a gem as the body, or as a part of a form from clients that attest.
//!
//! Nothing in the request names the gem, so it streams into the store while its specification is read, and whether
//! the caller may push it is decided after that.

use std::{
    io::{self, Read},
    time::Duration,
};

use axum::{body::Body, response::Response};
use futures::StreamExt;
use http::{StatusCode, header};
use publaryn_core::{
    ArtifactKind, Ecosystem, Operation, PackageName, RegistryError, Version,
    access::Denial,
    publish::{PublishCommand, PublishOutcome},
};
use publaryn_protocol::{Form, FormLimits, byte_stream};
use publaryn_registry::{ByteStream, Published, StageRequest, StagedArtifact};
use publaryn_scan::ArchiveError;

use crate::{
    archive::{ArchiveLimits, GemArchive, read_gem},
    call::{Answer, Call, text},
    error::GemError,
    gemspec::Gemspec,
    name,
    serve::namesakes,
    version,
};

/// What a refused client without a credential may still send: `gem` only listens once it has sent everything.
const DRAIN_UNKNOWN_BYTES: u64 = 8 << 20;
/// Longest wait for a verdict, whatever the operator allows (rubygems.md §6).
const MAX_WAIT: Duration = Duration::from_secs(10);
const MAX_ATTESTATION_BYTES: usize = 1 << 20;

/// A gem that lies staged, with what is known of its content.
type Upload = (StagedArtifact, Result<GemArchive, ArchiveError>);

pub(crate) async fn push(call: &Call, body: Body) -> Answer {
    let limit = call.registry.settings().limits.of(ArtifactKind::Gem);
    if let Err(refusal) = call.require_scope(Operation::Publish) {
        drain(byte_stream(body), DRAIN_UNKNOWN_BYTES).await;
        return Err(refusal);
    }
    let length = call.headers().get(header::CONTENT_LENGTH).and_then(|v| v.to_str().ok()?.parse::<u64>().ok());
    if length.is_some_and(|length| length > limit + MAX_ATTESTATION_BYTES as u64) {
        drain(byte_stream(body), limit.saturating_mul(2)).await;
        return Err(too_large(limit));
    }
    let content_type = call.headers().get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let upload = if content_type.to_ascii_lowercase().starts_with("multipart/") {
        from_form(call, body, limit).await?
    } else {
        stage(call, byte_stream(body), limit).await?
    };
    conclude(call, upload).await
}

async fn drain(mut body: ByteStream, max_bytes: u64) {
    let mut seen = 0;
    while let Some(Ok(chunk)) = body.next().await {
        seen += chunk.len() as u64;
        if seen > max_bytes {
            return;
        }
    }
}

fn too_large(limit: u64) -> GemError {
    GemError::refused(StatusCode::PAYLOAD_TOO_LARGE, format!("The gem is larger than {} MB.", limit >> 20))
}

async fn from_form(call: &Call, body: Body, limit: u64) -> Result<Upload, GemError> {
    let limits = FormLimits { parts: 8, text_bytes: MAX_ATTESTATION_BYTES };
    let mut form = Form::new(call.headers(), body, limits).map_err(|(fault, _)| GemError::from(fault))?;
    let received = read_form(call, &mut form, limit).await;
    form.drain(limit).await;
    match received {
        (Some(upload), None) => Ok(upload),
        (upload, fault) => {
            if let Some((staged, _)) = upload {
                call.registry.discard(staged).await;
            }
            let missing = || GemError::refused(StatusCode::BAD_REQUEST, "The form holds no gem.");
            Err(fault.unwrap_or_else(missing))
        }
    }
}

/// The gem of a form, and why the form is refused.
async fn read_form(call: &Call, form: &mut Form, limit: u64) -> (Option<Upload>, Option<GemError>) {
    let mut upload = None;
    loop {
        let part = match form.next().await {
            Ok(Some(part)) => part,
            Ok(None) => return (upload, None),
            Err(fault) => return (upload, Some(fault.into())),
        };
        let fault = match part.name() {
            "gem" if upload.is_none() => match stage(call, part.into_stream(), limit).await {
                Ok(staged) => {
                    upload = Some(staged);
                    None
                }
                Err(fault) => Some(fault),
            },
            "gem" => Some(GemError::refused(StatusCode::BAD_REQUEST, "The form holds more than one gem.")),
            "attestations" => match part.text(MAX_ATTESTATION_BYTES).await {
                Ok(list) if matches!(list.trim(), "" | "[]") => None,
                Ok(_) => Some(GemError::refused(StatusCode::BAD_REQUEST, "Attestations are not supported.")),
                Err(fault) => Some(fault.into()),
            },
            _ => part.skip(MAX_ATTESTATION_BYTES as u64).await.err().map(GemError::from),
        };
        if fault.is_some() {
            return (upload, fault);
        }
    }
}

/// Streams the gem into the store. What is wrong with its content comes back inside, once all of it was read.
async fn stage(call: &Call, body: ByteStream, limit: u64) -> Result<Upload, GemError> {
    let limits = ArchiveLimits::within(&call.registry.settings().limits);
    let request = StageRequest {
        kind: ArtifactKind::Gem,
        filename: "upload.gem".to_owned(),
        content_type: "application/octet-stream".to_owned(),
        limit_bytes: limit,
        sha1: false,
        md5: false,
    };
    let inspect = move |input: &mut dyn Read| {
        let content = read_gem(input, limits);
        io::copy(input, &mut io::sink())?;
        Ok(content)
    };
    let staged = call.registry.stage(body, request, Box::new(inspect)).await;
    staged.map_err(|error| match error {
        RegistryError::TooLarge { limit_bytes, .. } => too_large(limit_bytes),
        other => other.into(),
    })
}

async fn conclude(call: &Call, (mut staged, content): Upload) -> Answer {
    let checked = match content {
        Ok(gem) => check(call, &gem.packed.spec).await.map(|(name, version)| (name, version, gem.packed.spec)),
        Err(fault) => Err(RegistryError::Archive { rule: fault.rule, message: fault.message }.into()),
    };
    let (name, version, spec) = match checked {
        Ok(checked) => checked,
        Err(refusal) => {
            call.registry.discard(staged).await;
            return Err(refusal);
        }
    };
    staged.rename(format!("{}.gem", spec.full_name()));
    let command = PublishCommand {
        ecosystem: Ecosystem::Rubygems,
        name: name.clone(),
        version,
        artifacts: Vec::new(),
        metadata: serde_json::to_value(&spec).map_err(RegistryError::internal)?,
        facts: spec.facts(),
        tags: Vec::new(),
        access_hint: None,
    };
    let published = call.registry.publish_within(&call.who, command, vec![staged], MAX_WAIT).await;
    let published = published.map_err(|error| refusal(error, &name))?;
    answer(&spec, &published)
}

/// Everything about the name and the version; the commit decides again, against the locked row.
async fn check(call: &Call, spec: &Gemspec) -> Result<(PackageName, Version), GemError> {
    let name = name::parse_name(&spec.name)?;
    let allowed = call.registry.may_publish(&call.who, Ecosystem::Rubygems, &name).await;
    allowed.map_err(|error| refusal(error, &name))?;
    let version = version::version_of(&spec.version, &spec.platform)
        .ok_or_else(|| GemError::refused(StatusCode::UNPROCESSABLE_ENTITY, "The gem could not be processed."))?;
    match call.registry.package(&call.who, Ecosystem::Rubygems, name.canonical()).await {
        Ok(view) if view.name() != name.display() => {
            return Err(RegistryError::NameTaken { existing: Some(view.name().to_owned()) }.into());
        }
        Ok(view) => {
            if let Some(taken) = call.registry.taken_version(&view, &version).await? {
                return Err(RegistryError::VersionExists(taken).into());
            }
        }
        Err(RegistryError::NotFound) => {}
        Err(other) => return Err(other.into()),
    }
    let namesakes = namesakes(&spec.name, version.as_str());
    if call.registry.is_any_taken(Ecosystem::Rubygems, &namesakes).await? {
        let text = format!("Another gem has a file that is called {}.gem.", spec.full_name());
        return Err(GemError::refused(StatusCode::CONFLICT, text));
    }
    Ok((name, version))
}

/// Says what a refusal means for that gem.
fn refusal(error: RegistryError, name: &PackageName) -> GemError {
    let shown = name.display();
    match error {
        RegistryError::Denied(Denial::InsufficientPermission(_)) => GemError::refused(
            StatusCode::FORBIDDEN,
            format!(
                "You do not have permission to push to this gem. Ask an owner to add you with: gem owner {shown} --add …"
            ),
        ),
        other => other.into(),
    }
}

/// What the publisher is told; `gem` prints it.
fn answer(spec: &Gemspec, published: &Published) -> Answer {
    let done = format!("Successfully registered gem: {} ({})", spec.name, spec.full_version());
    match &published.outcome {
        PublishOutcome::Live { .. } => Ok(said(&done)),
        PublishOutcome::Pending { .. } => {
            Ok(said(&format!("{done}\nThe release is awaiting review and is not visible yet.")))
        }
        PublishOutcome::Blocked { findings, .. } => {
            let titles: Vec<&str> = findings.iter().map(|finding| finding.title.as_str()).collect();
            let text = format!("The gem was blocked by a scan: {}", titles.join("; "));
            Err(GemError::refused(StatusCode::FORBIDDEN, text))
        }
    }
}

fn said(words: &str) -> Response {
    text(format!("{words}\n"))
}

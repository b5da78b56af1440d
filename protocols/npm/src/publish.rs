//! `PUT /P`: a new version, or (without attachments) a change to existing ones.
//!
//! The tarball travels as base64 inside the JSON; it is decoded, hashed, inspected and staged while the body
//! arrives, so memory stays flat. All checks come in the order of npm.md §4 and stop at the first failure.

pub mod body;
mod integrity;
mod provenance;
mod submission;

use std::{io, sync::Arc};

use bytes::Bytes;
use futures::{StreamExt, stream};
use http::StatusCode;
use publaryn_core::{
    ArtifactKind, BoxError, Ecosystem, PackageName, RegistryError,
    publish::{PublishCommand, PublishOutcome},
};
use publaryn_protocol::strict_json;
use publaryn_registry::{ByteStream, Published, StageRequest, StagedArtifact};
use serde_json::{Map, Value, json};
use tokio::sync::Mutex;

use self::{
    body::{BodyError, BodyScanner},
    submission::Submission,
};
use crate::{
    archive::{ArchiveLimits, Inspection, inspect},
    body as request_body,
    call::{Answer, Call, json as json_answer, noticed},
    change::{self, MAX_DOCUMENT_BYTES},
    error::{self, NpmError},
    name::{self, tarball_filename},
    packument,
    release::{self, MAX_README_BYTES},
    version::clean,
};

/// `PUT /P`.
pub(crate) async fn put(call: &Call, url_name: &str) -> Answer {
    call.require_login()?;
    let parsed =
        name::parse_name(url_name).map_err(|error| NpmError::bad_request(format!("invalid package name: {error}")))?;
    // A star needs no right to publish, so the refusal waits until the body shows what it is.
    let mut refusal = call.registry.may_publish(&call.who, Ecosystem::Npm, &parsed).await.err();
    if let Some(error) = refusal.take_if(|error| !matches!(error, RegistryError::Denied(_) | RegistryError::NotFound)) {
        return Err(error.into());
    }
    let raw = call.take_body();
    let upload = Arc::new(Mutex::new(Upload {
        input: request_body::stream(&call.parts.headers, raw)?,
        scanner: BodyScanner::new(MAX_DOCUMENT_BYTES),
        decoded: Vec::new(),
        left_bytes: body_limit(call.registry.settings().limits.of(ArtifactKind::Tarball)),
        failure: None,
    }));
    upload.lock().await.read_until(BodyScanner::reached_tarball).await?;
    let mut staged = None;
    if upload.lock().await.scanner.reached_tarball() {
        if let Some(error) = refusal {
            return Err(error.into());
        }
        staged = Some(stage(call, &parsed, &upload).await?);
    }
    let mut upload = Arc::into_inner(upload).map(Mutex::into_inner).ok_or_else(still_shared)?;
    upload.read_until(|_| false).await?;
    let body = strict_json::parse_object(&upload.scanner.into_skeleton())
        .map_err(|error| NpmError::bad_request(format!("the body cannot be read: {error}")));
    match staged {
        Some(staged) => {
            let mut body = match body {
                Ok(body) => body,
                Err(error) => return give_up(call, staged, error).await,
            };
            publish(call, &parsed, &mut body, staged).await
        }
        None => {
            let body = body?;
            if body.get("_attachments").and_then(Value::as_object).is_some_and(|a| !a.is_empty()) {
                return Err(NpmError::bad_request("the body must hold exactly one tarball, as base64"));
            }
            change::patch(call, parsed.canonical(), &body).await
        }
    }
}

fn still_shared() -> RegistryError {
    RegistryError::internal("the upload is still being read")
}

/// base64 takes 4/3; the rest is for the manifest and readme.
fn body_limit(max_tarball_bytes: u64) -> u64 {
    max_tarball_bytes / 5 * 7 + (4 << 20) + MAX_DOCUMENT_BYTES as u64
}

type Tarball = Result<(StagedArtifact, Inspection), RegistryError>;

/// Streams the tarball into the store. What is wrong with its content comes back inside, because the rules
/// that are checked before it can only be checked when the whole body was read.
async fn stage(call: &Call, name: &PackageName, upload: &Arc<Mutex<Upload>>) -> Result<Tarball, NpmError> {
    let limits = &call.registry.settings().limits;
    let request = StageRequest {
        kind: ArtifactKind::Tarball,
        filename: tarball_filename(name.canonical(), "staged"),
        content_type: "application/octet-stream".to_owned(),
        limit_bytes: limits.of(ArtifactKind::Tarball),
        sha1: true,
        md5: false,
    };
    let archive_limits = ArchiveLimits {
        max_entries: limits.max_entries,
        max_unpacked_bytes: limits.max_unpacked,
        max_ratio: limits.max_ratio,
    };
    let inspector = Box::new(move |bytes: &mut dyn io::Read| inspect(bytes, archive_limits, 0));
    let staged = call.registry.stage(tarball_stream(upload.clone()), request, inspector).await;
    if let Some(failure) = upload.lock().await.failure.take() {
        if let Ok((artifact, _)) = staged {
            call.registry.discard(artifact).await;
        }
        return Err(failure);
    }
    match staged {
        Ok(tarball) => Ok(Ok(tarball)),
        Err(refused @ (RegistryError::Archive { .. } | RegistryError::Malformed(_))) => Ok(Err(refused)),
        Err(error) => Err(error.into()),
    }
}

/// A body being read: what is not tarball goes to the scanner's skeleton.
struct Upload {
    input: ByteStream,
    scanner: BodyScanner,
    /// Tarball bytes not yet handed on.
    decoded: Vec<u8>,
    left_bytes: u64,
    /// Why the tarball's stream ended early.
    failure: Option<NpmError>,
}

impl Upload {
    /// Reads one chunk; `false` at the end of the body.
    async fn step(&mut self) -> Result<bool, NpmError> {
        let Some(chunk) = self.input.next().await else { return Ok(false) };
        let chunk = chunk.map_err(request_body::broken)?;
        self.left_bytes = self.left_bytes.checked_sub(chunk.len() as u64).ok_or_else(too_large)?;
        self.scanner.feed(&chunk, &mut self.decoded).map_err(|error| match error {
            BodyError::SkeletonTooLarge(_) => too_large(),
            other => NpmError::bad_request(other.to_string()),
        })?;
        Ok(true)
    }

    async fn read_until(&mut self, reached: impl Fn(&BodyScanner) -> bool) -> Result<(), NpmError> {
        while !reached(&self.scanner) && self.step().await? {}
        Ok(())
    }

    async fn next_tarball_bytes(&mut self) -> Option<Result<Bytes, BoxError>> {
        loop {
            if !self.decoded.is_empty() {
                return Some(Ok(std::mem::take(&mut self.decoded).into()));
            }
            if self.scanner.passed_tarball() {
                return None;
            }
            let failure = match self.step().await {
                Ok(true) => continue,
                Ok(false) => NpmError::bad_request("the request body broke off"),
                Err(error) => error,
            };
            self.failure = Some(failure);
            return Some(Err("the upload broke off".into()));
        }
    }
}

fn too_large() -> NpmError {
    NpmError::refused(StatusCode::PAYLOAD_TOO_LARGE, "the request body is too large")
}

fn tarball_stream(upload: Arc<Mutex<Upload>>) -> ByteStream {
    stream::unfold(upload, |upload| async move {
        let next = upload.lock().await.next_tarball_bytes().await;
        next.map(|bytes| (bytes, upload))
    })
    .boxed()
}

/// Everything after the body was read.
async fn publish(call: &Call, name: &PackageName, body: &mut Map<String, Value>, tarball: Tarball) -> Answer {
    let submission = match Submission::parse(body, name) {
        Ok(submission) => submission,
        Err(error) => return give_up(call, tarball, error).await,
    };
    let (mut artifact, seen) = tarball?;
    if let Err(error) = check_content(&submission, &artifact, &seen) {
        return give_up(call, Ok((artifact, seen)), error).await;
    }
    artifact.rename(tarball_filename(name.canonical(), submission.version.as_str()));
    let command = command(call, submission, &artifact, &seen).await?;
    let version = command.version.clone();
    let published = call.registry.publish(&call.who, command, vec![artifact]).await?;
    Ok(answer(call, name, version.as_str(), published).await)
}

/// Drops staged bytes and fails.
async fn give_up(call: &Call, tarball: Tarball, error: NpmError) -> Answer {
    if let Ok((artifact, _)) = tarball {
        call.registry.discard(artifact).await;
    }
    Err(error)
}

fn check_content(submission: &Submission, artifact: &StagedArtifact, seen: &Inspection) -> Result<(), NpmError> {
    let (name, version) = (submission.name.canonical(), submission.version.as_str());
    integrity::check(&submission.manifest, submission.claimed_length, artifact.size_bytes(), artifact.digests())?;
    let packed = |key: &str| seen.manifest.get(key).and_then(Value::as_str);
    let mismatch = |key: &str| {
        let message = format!("the {key} in the tarball's package.json is not that of {name}@{version}");
        Err(NpmError::refused(StatusCode::UNPROCESSABLE_ENTITY, message))
    };
    if packed("name") != Some(name) {
        return mismatch("name");
    }
    if packed("version").and_then(clean) != clean(version) {
        return mismatch("version");
    }
    if let Some(bundle) = &submission.provenance {
        provenance::check(bundle, name, version, &artifact.digests().sha512)?;
    }
    Ok(())
}

async fn command(
    call: &Call,
    submission: Submission,
    artifact: &StagedArtifact,
    seen: &Inspection,
) -> Result<PublishCommand, NpmError> {
    let key = call.shared.key(&call.registry).await?;
    let integrity = packument::integrity(&artifact.digests().sha512);
    let signature = key.sign(submission.name.canonical(), submission.version.as_str(), &integrity);
    let readme = submission.readme.as_deref().map(|text| release::cut(text, MAX_README_BYTES));
    let metadata = release::document(
        &submission.manifest,
        seen.facts,
        submission.readme_filename.as_deref(),
        &[signature],
        submission.provenance.as_deref(),
    );
    Ok(PublishCommand {
        ecosystem: Ecosystem::Npm,
        facts: release::package_facts(&submission.manifest, readme),
        name: submission.name,
        version: submission.version,
        artifacts: Vec::new(),
        metadata,
        tags: submission.tags,
        access_hint: submission.access,
    })
}

async fn answer(call: &Call, name: &PackageName, version: &str, published: Published) -> axum::response::Response {
    let portal = call.portal();
    let page = format!("{}/packages/npm/{name}", portal.as_str());
    let (release, mut notice) = match published.outcome {
        PublishOutcome::Blocked { findings, .. } => {
            return error::answer(RegistryError::Blocked(findings).into(), true);
        }
        PublishOutcome::Live { release } => (release, None),
        PublishOutcome::Pending { release } => {
            (release, Some(format!("{name}@{version} is held for review and not installable yet: {page}")))
        }
    };
    if notice.is_none()
        && let Some(repository) = &published.new_repository
        && !published.is_open
    {
        notice = Some(format!(
            "{name} is private: your new repository `{repository}` is. Make it public at {}/repositories/{repository}",
            portal.as_str()
        ));
    }
    let body = json!({ "ok": true, "success": true, "id": name.display(), "rev": format!("1-{}", release.0.simple()) });
    if notice.is_none() {
        notice = call.expiry_notice().await;
    }
    noticed(json_answer(StatusCode::CREATED, &body), notice)
}

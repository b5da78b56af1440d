//! `POST /pypi/legacy/`: one distribution file with what its client says of it, as a form.
//!
//! The file streams into the store while it is hashed and inspected, wherever in the form it stands; faults of
//! its content are told last, as the order of pypi.md §5 wants it.

use std::io::Read;

use axum::{body::Body, response::IntoResponse};
use bytes::Bytes;
use http::{HeaderValue, StatusCode, header};
use publaryn_core::{
    ArtifactKind, CompanionRole, Ecosystem, PackageName, RegistryError,
    access::Denial,
    publish::{AppendCommand, PublishOutcome},
};
use publaryn_protocol::{Form, FormLimits, Part, byte_stream};
use publaryn_registry::{Companion, Published, StageRequest, StagedArtifact, trusted_publishing::AttestedBy};
use publaryn_scan::ArchiveError;

use crate::{
    archive::{ArchiveLimits, Distribution},
    attestation,
    call::{Answer, Call},
    document::{FileDocument, metadata_companion, release_document},
    error::PypiError,
    filename::{DistributionName, Format, check_characters},
    form::{Checked, Fields, MAX_PARTS, MAX_TEXT_BYTES, max_bytes},
    inspect::{Inspected, inspect},
};

/// What a refused client without a credential may still send: it only listens once it has sent everything.
const DRAIN_UNKNOWN_BYTES: u64 = 8 << 20;
/// A detached signature of old twine versions; ignored.
const MAX_SIGNATURE_BYTES: u64 = 64 << 10;

pub(crate) async fn upload(call: &Call, repository: Option<&str>, body: Body) -> Answer {
    let limits = FormLimits { parts: MAX_PARTS, text_bytes: MAX_TEXT_BYTES };
    let mut form = match Form::new(&call.headers, body, limits) {
        Ok(form) => form,
        Err((fault, body)) => {
            call.require_publisher()?;
            drop(byte_stream(body));
            return Err(fault.into());
        }
    };
    if let Err(refusal) = call.require_publisher() {
        form.drain(DRAIN_UNKNOWN_BYTES).await;
        return Err(refusal);
    }
    let mut upload = None;
    match receive(call, repository, &mut form, &mut upload).await {
        Ok(fields) => {
            form.drain(MAX_TEXT_BYTES as u64).await;
            conclude(call, repository, &fields, upload).await
        }
        Err(refusal) => {
            give_up(call, upload).await;
            let largest = [ArtifactKind::Wheel, ArtifactKind::Sdist].map(|k| call.registry.settings().limits.of(k));
            form.drain(2 * largest[0].max(largest[1])).await;
            Err(refusal)
        }
    }
}

/// A file that lies staged, with what is known of its content.
struct Upload {
    staged: StagedArtifact,
    format: Format,
    filename: String,
    /// Lower-case hex.
    blake2b_256: String,
    content: Result<Distribution, ArchiveError>,
}

/// Reads the whole form. What can be said early is said before the file is read.
async fn receive(
    call: &Call,
    repository: Option<&str>,
    form: &mut Form,
    upload: &mut Option<Upload>,
) -> Result<Fields, PypiError> {
    let mut fields = Fields::default();
    while let Some(part) = form.next().await? {
        match part.name() {
            "content" if upload.is_some() => {
                return Err(PypiError::bad_request("Include exactly one file."));
            }
            "content" => {
                let project = fields.name_so_far()?;
                if let Some(project) = &project {
                    may_upload(call, repository, project).await?;
                }
                *upload = Some(stage(call, project.as_ref(), part).await?);
            }
            "gpg_signature" => part.skip(MAX_SIGNATURE_BYTES).await?,
            field => {
                let (field, limit) = (field.to_owned(), max_bytes(field));
                fields.add(&field, part.text(limit).await?);
            }
        }
    }
    Ok(fields)
}

async fn may_upload(call: &Call, repository: Option<&str>, project: &PackageName) -> Result<(), PypiError> {
    let allowed = call.registry.may_publish(&call.who, Ecosystem::Pypi, project).await;
    allowed.map_err(|error| refusal(call, repository, project, error))
}

/// Says what a refusal means for that project.
fn refusal(call: &Call, repository: Option<&str>, project: &PackageName, error: RegistryError) -> PypiError {
    let name = project.display();
    match error {
        RegistryError::Denied(Denial::InsufficientPermission(_)) => {
            let text = format!("The user '{}' isn't allowed to upload to project '{name}'.", call.user());
            PypiError::refused(StatusCode::FORBIDDEN, text)
        }
        RegistryError::NameTaken { .. } => {
            PypiError::bad_request(format!("The name '{name}' is too similar to an existing project."))
        }
        RegistryError::Invalid { code: "reserved_name", .. } => {
            PypiError::bad_request(format!("The name '{name}' isn't allowed."))
        }
        RegistryError::NotFound if repository.is_some() => PypiError::refused(
            StatusCode::NOT_FOUND,
            format!("There is no repository '{}' for project '{name}'.", repository.unwrap_or_default()),
        ),
        other => other.into(),
    }
}

/// Streams the file into the store. What is wrong with its content comes back inside.
async fn stage(call: &Call, project: Option<&PackageName>, part: Part<'_>) -> Result<Upload, PypiError> {
    let filename = part.filename().unwrap_or_default().to_owned();
    check_characters(&filename).map_err(|fault| PypiError::bad_request(fault.to_string()))?;
    let format = Format::of(&filename)
        .ok_or_else(|| PypiError::bad_request(crate::filename::FilenameFault::Extension.to_string()))?;
    let settings = &call.registry.settings().limits;
    let limits = ArchiveLimits::within(settings, format.kind());
    let request = StageRequest {
        kind: format.kind(),
        filename: filename.clone(),
        content_type: "application/octet-stream".to_owned(),
        limit_bytes: settings.of(format.kind()),
        sha1: false,
        md5: true,
    };
    let inspect = move |input: &mut dyn Read| Ok(inspect(input, format, limits)?);
    let staged = call.registry.stage(part.into_stream(), request, Box::new(inspect)).await;
    let (staged, Inspected { content, blake2b_256 }) = staged.map_err(|error| match error {
        RegistryError::TooLarge { limit_bytes, .. } => {
            let name = project.map_or(filename.as_str(), PackageName::display);
            let text = format!("File too large. Limit for project '{name}' is {} MB.", limit_bytes >> 20);
            PypiError::refused(StatusCode::PAYLOAD_TOO_LARGE, text)
        }
        other => other.into(),
    })?;
    Ok(Upload { staged, format, filename, blake2b_256, content })
}

/// Everything that can only be said once the whole form was read; then the file becomes part of its release.
async fn conclude(call: &Call, repository: Option<&str>, fields: &Fields, upload: Option<Upload>) -> Answer {
    let checked = match fields.check() {
        Ok(checked) => checked,
        Err(refusal) => {
            give_up(call, upload).await;
            return Err(refusal);
        }
    };
    let Some(upload) = upload else {
        return Err(PypiError::bad_request("'Content' is a required field."));
    };
    match examine(call, repository, fields, &checked, &upload).await {
        Ok(file) => store(call, repository, fields, &checked, upload, file).await,
        Err(refusal) => {
            give_up(call, Some(upload)).await;
            Err(refusal)
        }
    }
}

async fn give_up(call: &Call, upload: Option<Upload>) {
    if let Some(upload) = upload {
        call.registry.discard(upload.staged).await;
    }
}

/// Whether this file may become part of that release; the order of the checks is that of pypi.md §5.
async fn examine(
    call: &Call,
    repository: Option<&str>,
    fields: &Fields,
    checked: &Checked,
    upload: &Upload,
) -> Result<(DistributionName, Option<AttestedBy>), PypiError> {
    may_upload(call, repository, &checked.name).await?;
    let (project, version) = (checked.name.canonical(), checked.version.as_str());
    let file = DistributionName::parse(&upload.filename, project, version)
        .map_err(|fault| PypiError::bad_request(fault.named(checked.name.display()).to_string()))?;
    checked.check_format(upload.format)?;
    check_digests(fields, upload)?;
    let key = checked.version.unique_key();
    call.registry.check_file_name(Ecosystem::Pypi, &checked.name, key, &upload.staged).await?;
    let content = upload.content.as_ref().map_err(archive_fault)?;
    content.check_identity(&file, project, version).map_err(|fault| archive_fault(&fault))?;
    let attested_by = match &fields.attestations {
        Some(attestations) => attested(call, attestations, &file, checked, upload).await?,
        None => None,
    };
    Ok((file, attested_by))
}

/// Checks what was sent about the file, and whose workflow stands behind it: the one that signed all of it.
async fn attested(
    call: &Call,
    attestations: &str,
    file: &DistributionName,
    checked: &Checked,
    upload: &Upload,
) -> Result<Option<AttestedBy>, PypiError> {
    let invalid =
        |fault: String| PypiError::bad_request(format!("Invalid attestations supplied during upload: {fault}"));
    let sha256 = upload.staged.digests().sha256.hex();
    let (project, version) = (checked.name.canonical(), checked.version.as_str());
    let all = attestation::check(attestations, file, project, version, &sha256).map_err(invalid)?;
    let Some(root) = &call.registry.settings().attestations else { return Ok(None) };
    let mut behind = Vec::new();
    for attestation in &all {
        let signer = attestation.verify(root).map_err(invalid)?;
        behind.push(call.registry.attested_by(Ecosystem::Pypi, &checked.name, &signer).await?);
    }
    let is_one = behind.windows(2).all(|pair| pair[0] == pair[1]);
    Ok(behind.pop().flatten().filter(|_| is_one))
}

fn archive_fault(fault: &ArchiveError) -> PypiError {
    RegistryError::Archive { rule: fault.rule, message: fault.message.clone() }.into()
}

/// Every digest that was sent must be right; at least one was (`Fields::check`).
fn check_digests(fields: &Fields, upload: &Upload) -> Result<(), PypiError> {
    let digests = upload.staged.digests();
    let agrees =
        |sent: &Option<String>, found: &str| sent.as_ref().is_none_or(|s| s.trim().eq_ignore_ascii_case(found));
    let md5 = digests.md5.as_deref().unwrap_or_default();
    if agrees(&fields.sha256, &digests.sha256.hex())
        && agrees(&fields.blake2b_256, &upload.blake2b_256)
        && agrees(&fields.md5, md5)
    {
        return Ok(());
    }
    let text = "The digest supplied does not match a digest calculated from the uploaded file.";
    Err(PypiError::bad_request(text))
}

async fn store(
    call: &Call,
    repository: Option<&str>,
    fields: &Fields,
    checked: &Checked,
    upload: Upload,
    (file, attested_by): (DistributionName, Option<AttestedBy>),
) -> Answer {
    let content = upload.content.map_err(|fault| archive_fault(&fault))?;
    let is_wheel = upload.format == Format::Wheel;
    let mut companions = Vec::new();
    if is_wheel {
        companions.push(metadata_companion(&content));
    }
    if let Some(attestations) = &fields.attestations {
        companions.push(Companion {
            role: CompanionRole::Attestations,
            content_type: "application/json",
            bytes: Bytes::from(attestations.clone()),
        });
    }
    let mut document = FileDocument::new(&content, &file, upload.blake2b_256, &fields.claims);
    document.has_attestations = fields.attestations.is_some();
    document.attested_by = attested_by;
    let command = AppendCommand {
        ecosystem: Ecosystem::Pypi,
        name: checked.name.clone(),
        version: checked.version.clone(),
        repository: repository.map(str::to_owned),
        metadata: serde_json::to_value(&document).map_err(RegistryError::internal)?,
        release: Some(release_document(&content.metadata, checked.name.canonical())),
        creates_release: true,
        required_files: Vec::new(),
        is_only_of_its_kind: !is_wheel,
        open: None,
        lookup_keys: Vec::new(),
    };
    let published = call.registry.append(&call.who, command, upload.staged, companions).await;
    let published = published.map_err(|error| refusal(call, repository, &checked.name, error))?;
    answer(call, checked, &published)
}

/// What the uploader is told. Always 200 for what was accepted: twine takes nothing else for success.
fn answer(call: &Call, checked: &Checked, published: &Published) -> Answer {
    let text = match &published.outcome {
        PublishOutcome::Live { .. } => String::new(),
        PublishOutcome::Pending { .. } => format!(
            "held for review: {}/packages/pypi/{}/-/v/{}\n",
            call.base().as_str(),
            checked.name.canonical(),
            checked.version
        ),
        PublishOutcome::Blocked { findings, .. } => {
            let titles: Vec<&str> = findings.iter().map(|f| f.title.as_str()).collect();
            let text = format!("The file was blocked by a scan: {}", titles.join("; "));
            return Err(PypiError::refused(StatusCode::FORBIDDEN, text));
        }
    };
    let mut response = text.into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

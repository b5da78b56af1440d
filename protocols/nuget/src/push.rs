//! `PUT`: a package, or the symbols of one, as a form or as the body.
//!
//! Nothing in the request names the package, so it streams into the store while its nuspec is read, and whether the
//! caller may push it is decided after that.

use std::{
    io::{self, Read},
    time::Duration,
};

use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use http::{HeaderName, HeaderValue, StatusCode, header};
use publaryn_core::{
    ArtifactKind, Digest, Ecosystem, Operation, PackageName, RegistryError, Timestamp, Version,
    publish::{AppendCommand, PublishCommand, PublishOutcome},
};
use publaryn_protocol::{Reason, byte_stream, drain};
use publaryn_registry::{ByteStream, Published, StageRequest, StagedArtifact};
use publaryn_scan::ArchiveError;
use serde_json::json;

use crate::{
    archive::{ArchiveLimits, Package, read_package},
    call::{Answer, Call},
    error::{NugetError, about},
    form::{first_file, whole},
    name,
    release::{self, Stored},
    version,
};

/// Clients print it.
const WARNING: HeaderName = HeaderName::from_static("x-nuget-warning");

/// What a form adds to its file, at most, in bytes.
const FORM_BYTES: u64 = 64 << 10;
/// Longest wait for a verdict, whatever the operator allows (nuget.md §4).
const MAX_WAIT: Duration = Duration::from_secs(10);

/// A package that lies staged, with what is known of its content.
type Upload = (StagedArtifact, Result<Package, ArchiveError>);

pub(crate) async fn push(call: &Call, body: Body, kind: ArtifactKind) -> Answer {
    let limit = call.registry.settings().limits.of(kind);
    if let Err(refusal) = call.require_scope(Operation::Publish) {
        // All of it: clients send their password only once this was answered, and listen when they have sent everything.
        drain(byte_stream(body), limit + FORM_BYTES).await;
        return Err(refusal);
    }
    let length = call.headers().get(header::CONTENT_LENGTH).and_then(|v| v.to_str().ok()?.parse::<u64>().ok());
    if length.is_some_and(|length| length > limit + FORM_BYTES) {
        drain(byte_stream(body), limit.saturating_mul(2)).await;
        return Err(RegistryError::TooLarge { what: kind.as_str(), limit_bytes: limit }.into());
    }
    let (staged, content) = receive(call, body, kind, limit).await?;
    let package = match content {
        Ok(package) => package,
        Err(fault) => {
            call.registry.discard(staged).await;
            return Err(RegistryError::Archive { rule: fault.rule, message: fault.message }.into());
        }
    };
    match conclude(call, &package, kind).await {
        Ok(Accepted::New(name, version)) if kind == ArtifactKind::Snupkg => {
            publish_symbols(call, name, version, package, staged).await
        }
        Ok(Accepted::New(name, version)) => publish(call, name, version, package, staged).await,
        Ok(Accepted::Taken(name, version)) => {
            let sha256 = staged.digests().sha256;
            call.registry.discard(staged).await;
            again(call, &name, &version, sha256).await
        }
        Err(refusal) => {
            call.registry.discard(staged).await;
            Err(refusal)
        }
    }
}

async fn receive(call: &Call, body: Body, kind: ArtifactKind, limit: u64) -> Result<Upload, NugetError> {
    let content_type = call.headers().get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let body = byte_stream(body);
    let (file, rest) = if content_type.trim_start().to_ascii_lowercase().starts_with("multipart/") {
        let boundary =
            multer::parse_boundary(content_type).map_err(|_| NugetError::bad_request("the form names no boundary"))?;
        first_file(body, &boundary).await?
    } else {
        whole(body)
    };
    let staged = stage(call, file, kind, limit).await;
    if rest.broke_off() {
        if let Ok((staged, _)) = staged {
            call.registry.discard(staged).await;
        }
        return Err(NugetError::bad_request("the form broke off"));
    }
    rest.drain(limit).await;
    staged
}

/// Streams the package into the store. What is wrong with its content comes back inside, once all of it was read.
async fn stage(call: &Call, body: ByteStream, kind: ArtifactKind, limit: u64) -> Result<Upload, NugetError> {
    let settings = &call.registry.settings().limits;
    let limits = ArchiveLimits::within(settings, kind, Timestamp::now());
    let request = StageRequest {
        kind,
        filename: format!("upload.{kind}"),
        content_type: "application/octet-stream".to_owned(),
        limit_bytes: limit,
        sha1: false,
        md5: false,
    };
    let inspect = move |input: &mut dyn Read| {
        let content = read_package(input, limits);
        io::copy(input, &mut io::sink())?;
        Ok(content)
    };
    Ok(call.registry.stage(body, request, Box::new(inspect)).await?)
}

/// A package that the caller may push.
enum Accepted {
    New(PackageName, Version),
    /// The version is there.
    Taken(PackageName, Version),
}

/// Everything about id and version that can be said before the commit, which decides again against the locked row.
async fn conclude(call: &Call, package: &Package, kind: ArtifactKind) -> Result<Accepted, NugetError> {
    let nuspec = &package.nuspec;
    let name = name::parse_name(&nuspec.id)?;
    let version = version::parse_version(&nuspec.version)
        .ok_or_else(|| NugetError::bad_request("the nuspec's version is none"))?;
    match (nuspec.is_symbols(), kind) {
        (true, ArtifactKind::Nupkg) => {
            return Err(NugetError::bad_request("This is a symbol package: push it to the symbols' address"));
        }
        (false, ArtifactKind::Snupkg) => return Err(NugetError::bad_request("This is no symbol package")),
        _ => {}
    }
    let refused = |error| about(error, name.display(), version::without_metadata(version.as_str()));
    call.registry.may_publish(&call.who, Ecosystem::Nuget, &name).await.map_err(refused)?;
    let taken = match call.registry.package(&call.who, Ecosystem::Nuget, name.canonical()).await {
        Ok(view) => call.registry.taken_version(&view, &version).await.map_err(refused)?,
        Err(RegistryError::NotFound) => None,
        Err(other) => return Err(refused(other)),
    };
    match (taken, kind) {
        (Some(_), ArtifactKind::Nupkg) => Ok(Accepted::Taken(name, version)),
        (None, ArtifactKind::Snupkg) => Err(push_first(&name, &version)),
        _ => Ok(Accepted::New(name, version)),
    }
}

fn push_first(name: &PackageName, version: &Version) -> NugetError {
    let version = version::without_metadata(version.as_str());
    NugetError::refused(StatusCode::NOT_FOUND, format!("Push {} {version} first", name.display()))
}

/// The answer to a version that is there: clients repeat a push of which they did not hear the end, and the same bytes
/// get the same answer while that is not decided.
async fn again(call: &Call, name: &PackageName, version: &Version, sha256: Digest) -> Answer {
    let shown = version::without_metadata(version.as_str());
    let file = filename(name, version);
    let joined = call.registry.joined(&call.who, Ecosystem::Nuget, (name, version), (&file, sha256), MAX_WAIT).await?;
    match joined {
        Some(published) => Ok(answer(call, &format!("{} {shown}", name.display()), &published)),
        None => Err(about(RegistryError::VersionExists(shown.to_owned()), name.display(), shown)),
    }
}

fn filename(name: &PackageName, version: &Version) -> String {
    format!("{}.{}.nupkg", name.canonical(), version.unique_key())
}

async fn publish(
    call: &Call,
    name: PackageName,
    version: Version,
    package: Package,
    mut staged: StagedArtifact,
) -> Answer {
    staged.rename(filename(&name, &version));
    let sha256 = staged.digests().sha256;
    let command = PublishCommand {
        ecosystem: Ecosystem::Nuget,
        name: name.clone(),
        version: version.clone(),
        artifacts: Vec::new(),
        metadata: Stored::of(&package).to_metadata()?,
        facts: release::facts(&package),
        tags: Vec::new(),
        access_hint: None,
    };
    let published = call.registry.publish_within(&call.who, command, vec![staged], MAX_WAIT).await;
    let shown = version::without_metadata(version.as_str());
    match published {
        Ok(published) => Ok(answer(call, &format!("{} {shown}", name.display()), &published)),
        // Both came at once.
        Err(RegistryError::VersionExists(_)) => again(call, &name, &version, sha256).await,
        Err(error) => Err(about(error, name.display(), shown)),
    }
}

/// Symbols join a release that is there, with a quarantine of their own. Pushing others for the same version is
/// allowed: what was cleared last is served.
async fn publish_symbols(
    call: &Call,
    name: PackageName,
    version: Version,
    package: Package,
    mut staged: StagedArtifact,
) -> Answer {
    let digest = staged.digests().sha256.hex();
    staged.rename(format!("{}.{}.{}.snupkg", name.canonical(), version.unique_key(), &digest[..16]));
    let lookup_keys = package.pdbs.iter().map(|pdb| pdb.key.clone()).collect();
    let command = AppendCommand {
        ecosystem: Ecosystem::Nuget,
        name: name.clone(),
        version: version.clone(),
        repository: None,
        metadata: json!({ "nuspec": package.nuspec, "pdbs": package.pdbs }),
        release: None,
        creates_release: false,
        required_files: Vec::new(),
        is_only_of_its_kind: false,
        open: None,
        lookup_keys,
    };
    let published = call.registry.append(&call.who, command, staged, Vec::new()).await;
    let published = published.map_err(|error| match error {
        RegistryError::VersionNotFound(_) => push_first(&name, &version),
        RegistryError::Conflict { code: "filename_spent", message } => {
            NugetError::refused(StatusCode::FORBIDDEN, message)
        }
        other => about(other, name.display(), version::without_metadata(version.as_str())),
    })?;
    let shown = version::without_metadata(version.as_str());
    Ok(answer(call, &format!("The symbols of {} {shown}", name.display()), &published))
}

/// 201 once it can be installed, 202 while or because it is held. Clients take both for success and print the warning.
fn answer(call: &Call, what: &str, published: &Published) -> Response {
    let (status, warning) = match &published.outcome {
        PublishOutcome::Live { .. } => {
            let private = published.new_repository.as_ref().filter(|_| !published.is_open).map(|repository| {
                format!(
                    "{what} is private: your new repository `{repository}` is. Make it public at {}/repositories/{repository}",
                    call.portal().as_str()
                )
            });
            (StatusCode::CREATED, private)
        }
        PublishOutcome::Pending { .. } => {
            (StatusCode::ACCEPTED, Some(format!("{what} awaits review and cannot be installed yet.")))
        }
        PublishOutcome::Blocked { findings, .. } => {
            let titles: Vec<&str> = findings.iter().map(|finding| finding.title.as_str()).collect();
            (StatusCode::ACCEPTED, Some(format!("{what} is held by a scan: {}", titles.join("; "))))
        }
    };
    let mut response = status.into_response();
    if let Some(text) = warning
        && let Ok(value) = HeaderValue::from_str(&Reason::line(&text, Reason::MAX).0)
    {
        response.headers_mut().insert(WARNING, value);
    }
    response
}

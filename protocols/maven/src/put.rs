//! `PUT`: one file of a deploy, a checksum beside one, or the metadata that ends it (maven.md §3–§6).

use std::{
    io::{self, Read},
    time::Duration,
};

use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use http::{StatusCode, header};
use publaryn_core::{
    ArtifactKind, Digests, Ecosystem, RegistryError,
    publish::{AppendCommand, PublishOutcome, StaysOpen},
};
use publaryn_protocol::{byte_stream, drain, read_body};
use publaryn_registry::{Checksummed, StageRequest, StagedArtifact, Withdrawal};
use publaryn_scan::ArchiveError;

use crate::{
    archive::{Archive, ArchiveLimits, MAX_ENTRIES, MAX_RATIO, read_archive},
    call::{Answer, Call},
    checksum::{Algorithm, MAX_CHECKSUM_BYTES},
    document::release_document,
    error::{MavenError, of_upload},
    file::FileName,
    metadata::{MAX_METADATA_BYTES, Uploaded, version_key},
    module::{self, MAX_MODULE_BYTES},
    name::Coordinates,
    packaging,
    path::{GavFile, MetadataPath, Target},
    plugins,
    pom::{MAX_POM_BYTES, Pom},
    version::{VersionFault, accepted},
};

/// How long the end of a deploy waits for scans, so that a build right after it finds everything.
const SEAL_PATIENCE: Duration = Duration::from_secs(10);

pub(crate) async fn put(call: &Call, target: Target, body: Body) -> Answer {
    match target {
        Target::File { file, sidecar: None } => put_file(call, &file, body).await,
        Target::File { file, sidecar: Some(algorithm) } => put_checksum(call, &file, algorithm, body).await,
        Target::Metadata { at, .. } if at.is_of_snapshot() => {
            Err(MavenError::bad_request(VersionFault::Snapshot.to_string()))
        }
        Target::Metadata { at, sidecar: None } => put_metadata(call, &at, body).await,
        // Of the client's own document, which nobody will see.
        Target::Metadata { sidecar: Some(_), .. } => ignored(body).await,
        Target::Ignored(coordinates) => {
            may_publish(call, &coordinates, &coordinates.to_string()).await?;
            ignored(body).await
        }
        Target::Root | Target::Directory => Ok(crate::serve::wrong_method()),
    }
}

fn created() -> Response {
    StatusCode::CREATED.into_response()
}

async fn ignored(body: Body) -> Answer {
    read_body(body, MAX_METADATA_BYTES).await?;
    Ok(created())
}

/// Whether the caller may publish there, or make what is not there yet: said before anything is read.
async fn may_publish(call: &Call, coordinates: &Coordinates, gav: &str) -> Result<(), MavenError> {
    let (registry, who, name) = (&call.registry, &call.who, coordinates.package_name());
    let allowed = match registry.may_publish(who, Ecosystem::Maven, &name).await {
        Ok(()) => registry.may_create(who, Ecosystem::Maven, &name).await,
        refused => refused,
    };
    allowed.map_err(|error| of_upload(error, &coordinates.group, gav))
}

/// The refusal of an upload that nobody has read.
pub(crate) async fn refused(call: &Call, kind: ArtifactKind, body: Body, refusal: MavenError) -> MavenError {
    let asks_first = call.headers.get(header::EXPECT).is_some_and(|value| !value.is_empty());
    if !asks_first {
        drain(byte_stream(body), call.registry.settings().limits.of(kind)).await;
    }
    refusal
}

/// What a file turned out to be.
pub(crate) enum Content {
    Pom(Box<Pom>),
    Archive(Archive),
    Other,
}

async fn put_file(call: &Call, file: &GavFile, body: Body) -> Answer {
    let refusal = |error| of_upload(error, &file.coordinates.group, &file.gav());
    let open = stays_open(call, file);
    let (name, version) = (file.coordinates.package_name(), accepted(&file.version));
    let key = version.unique_key();
    let takes = async {
        may_publish(call, &file.coordinates, &file.gav()).await?;
        call.registry.takes_files(Ecosystem::Maven, &name, key, open).await.map_err(refusal)
    };
    if let Err(refusal) = takes.await {
        return Err(refused(call, file.name.kind(), body, refusal).await);
    }
    let (staged, content) = stage(call, file, body).await?;
    // Before its checksums are looked at: those that are known are of the file that is there.
    if let Err(error) = call.registry.check_file_name(Ecosystem::Maven, &name, key, &staged).await {
        call.registry.discard(staged).await;
        return Err(refusal(error));
    }
    let content = match content {
        Ok(content) => content,
        Err(fault) => {
            call.registry.discard(staged).await;
            return Err(MavenError::bad_request(fault));
        }
    };
    if let Some(algorithm) = mismatch(call, file, staged.digests()).await? {
        call.registry.discard(staged).await;
        return Err(does_not_match(call, file, algorithm).await?);
    }
    if let Some(fault) = misfit(call, file, &content).await? {
        call.registry.discard(staged).await;
        return Err(MavenError::bad_request(fault));
    }
    let command = AppendCommand {
        ecosystem: Ecosystem::Maven,
        name: name.clone(),
        version: version.clone(),
        repository: None,
        metadata: plugins::document(&file.name, &content),
        release: match &content {
            Content::Pom(pom) => Some(release_document(pom, &file.coordinates, &file.version)),
            Content::Archive(_) | Content::Other => None,
        },
        creates_release: true,
        required_files: Vec::new(),
        is_only_of_its_kind: false,
        open: Some(open),
        lookup_keys: Vec::new(),
    };
    let digests = staged.digests().clone();
    let published = call.registry.append(&call.who, command, staged, Vec::new()).await.map_err(refusal)?;
    if let PublishOutcome::Blocked { findings, .. } = &published.outcome {
        let titles: Vec<&str> = findings.iter().map(|finding| finding.title.as_str()).collect();
        let text = format!("{} was blocked by a scan: {}", file.name, titles.join("; "));
        return Err(MavenError::refused(StatusCode::FORBIDDEN, text));
    }
    // A checksum may have come while the file was on its way, or another file that it does not go with.
    if let Some(algorithm) = mismatch(call, file, &digests).await? {
        withdraw(call, file, CHECKSUM).await?;
        return Err(does_not_match(call, file, algorithm).await?);
    }
    if let Some(fault) = misfit(call, file, &content).await? {
        withdraw(call, file, "packaging_mismatch").await?;
        return Err(MavenError::bad_request(fault));
    }
    plugins::name(call, file, &content).await?;
    Ok(if published.is_repeat { StatusCode::OK.into_response() } else { created() })
}

fn stays_open(call: &Call, file: &GavFile) -> StaysOpen {
    let settings = &call.registry.settings().maven;
    let late = file.name.is_attachment().then_some(settings.attachments).filter(|late| !late.is_zero());
    StaysOpen { idle: settings.idle, late }
}

/// Streams a file into the store. What is wrong with its content comes back inside, once all of it was read.
async fn stage(
    call: &Call,
    file: &GavFile,
    body: Body,
) -> Result<(StagedArtifact, Result<Content, String>), MavenError> {
    let settings = &call.registry.settings().limits;
    let kind = file.name.kind();
    let limit = match () {
        () if file.name.is_pom() => settings.of(kind).min(MAX_POM_BYTES),
        () if file.name.is_module() => MAX_MODULE_BYTES,
        () => settings.of(kind),
    };
    let limits = ArchiveLimits {
        max_entries: settings.max_entries.min(MAX_ENTRIES),
        max_unpacked_bytes: settings.max_unpacked,
        max_entry_bytes: limit.max(512 << 20),
        max_ratio: settings.max_ratio.min(MAX_RATIO),
    };
    let request = StageRequest {
        kind,
        filename: file.name.to_string(),
        content_type: file.name.content_type().to_owned(),
        limit_bytes: limit,
        sha1: true,
        md5: true,
    };
    let of = file.clone();
    let inspect = move |input: &mut dyn Read| {
        let content = inspect(&of, limits, input)?;
        // Digests are of all of it.
        io::copy(input, &mut io::sink())?;
        Ok(content)
    };
    let staged = call.registry.stage(byte_stream(body), request, Box::new(inspect)).await;
    staged.map_err(|error| match error {
        RegistryError::TooLarge { .. } if file.name.is_pom() => {
            MavenError::bad_request(format!("the POM is larger than {limit} bytes"))
        }
        RegistryError::TooLarge { limit_bytes, .. } => {
            let text = format!("{} is larger than the limit of {limit_bytes} bytes", file.name);
            MavenError::refused(StatusCode::PAYLOAD_TOO_LARGE, text)
        }
        other => other.into(),
    })
}

fn inspect(
    file: &GavFile,
    limits: ArchiveLimits,
    input: &mut dyn Read,
) -> Result<Result<Content, String>, ArchiveError> {
    let GavFile { coordinates, version, name } = file;
    if name.is_pom() {
        let mut bytes = Vec::new();
        // One that is too long is refused by the store.
        input.take(MAX_POM_BYTES).read_to_end(&mut bytes)?;
        let pom =
            Pom::parse(&bytes).and_then(|pom| pom.check_identity(coordinates, name.prefix(), version).map(|()| pom));
        return Ok(pom.map(|pom| Content::Pom(Box::new(pom))).map_err(|fault| fault.to_string()));
    }
    if name.is_module() {
        let mut bytes = Vec::new();
        input.take(MAX_MODULE_BYTES).read_to_end(&mut bytes)?;
        return Ok(module::check(&bytes, coordinates, version).map(|()| Content::Other).map_err(|f| f.to_string()));
    }
    if !name.is_archive() {
        return Ok(Ok(Content::Other));
    }
    match read_archive(input, limits, None) {
        Ok(archive) => Ok(Ok(Content::Archive(archive))),
        Err(fault) if fault.kind == publaryn_scan::ErrorKind::Io => Err(fault),
        Err(fault) => Ok(Err(format!("{name} is not a valid archive: {fault}"))),
    }
}

/// Why the POM and the main file of the version do not go together, if one of them is there and the other is coming.
async fn misfit(call: &Call, file: &GavFile, content: &Content) -> Result<Option<String>, MavenError> {
    if !file.name.is_pom() && !packaging::concerns(&file.name) {
        return Ok(None);
    }
    let name = file.coordinates.package_name();
    let known = call.registry.staged_files(Ecosystem::Maven, &name, &version_key(&file.version)).await?;
    Ok(match content {
        Content::Pom(pom) => known.names.iter().find_map(|other| {
            let other = FileName::parse(other, &file.coordinates.artifact, &file.version)?;
            packaging::fault(&pom.packaging, &other)
        }),
        _ => known.document.as_ref().and_then(packaging::of_document).and_then(|of| packaging::fault(of, &file.name)),
    })
}

/// The checksum that was sent of a file and that it does not have.
async fn mismatch(call: &Call, file: &GavFile, digests: &Digests) -> Result<Option<&'static str>, MavenError> {
    let noted = call.registry.noted_checksums(&call.who, &file.path()).await?;
    Ok(Algorithm::ALL.into_iter().map(Algorithm::name).find(|algorithm| {
        let sent = noted.iter().find(|(known, _)| known == algorithm).map(|(_, digest)| digest.as_str());
        let found = match *algorithm {
            "sha256" => Some(digests.sha256.hex().to_string()),
            "sha512" => Some(digests.sha512.clone()),
            "sha1" => digests.sha1.clone(),
            _ => digests.md5.clone(),
        };
        sent.is_some_and(|sent| found.is_some_and(|found| found != sent))
    }))
}

/// What the client is told; it may then send both again.
async fn does_not_match(call: &Call, file: &GavFile, algorithm: &str) -> Result<MavenError, MavenError> {
    call.registry.forget_checksums(&call.who, &file.path()).await?;
    Ok(MavenError::bad_request(format!("{algorithm} of {} does not match the uploaded file", file.name)))
}

/// Why a file is taken back.
const CHECKSUM: &str = "checksum_mismatch";

async fn withdraw(call: &Call, file: &GavFile, reason: &'static str) -> Result<(), MavenError> {
    let name = file.coordinates.package_name();
    let key = version_key(&file.version);
    let taken = Withdrawal { filename: file.name.as_str(), spoke: file.name.is_pom(), reason };
    let done = call.registry.withdraw_file(&call.who, Ecosystem::Maven, &name, &key, taken).await;
    match done {
        // Another request did it, or there is no such version any more.
        Ok(_) | Err(RegistryError::NotFound | RegistryError::VersionNotFound(_)) => Ok(()),
        Err(other) => Err(other.into()),
    }
}

async fn put_checksum(call: &Call, file: &GavFile, algorithm: Algorithm, body: Body) -> Answer {
    may_publish(call, &file.coordinates, &file.gav()).await?;
    let body = match read_body(body, MAX_CHECKSUM_BYTES).await {
        Err(RegistryError::TooLarge { .. }) => return Err(no_checksum(algorithm)),
        other => other?,
    };
    let digest = algorithm.parse(&body).ok_or_else(|| no_checksum(algorithm))?;
    let name = file.coordinates.package_name();
    let (key, path) = (version_key(&file.version), file.path());
    call.registry.keep_open(Ecosystem::Maven, &name, &key, stays_open(call, file)).await?;
    let filename = file.name.as_str();
    let noted = call
        .registry
        .note_checksum(&call.who, Ecosystem::Maven, &name, &key, filename, &path, algorithm.name(), &digest)
        .await?;
    if noted == Checksummed::Differs {
        withdraw(call, file, CHECKSUM).await?;
        return Err(does_not_match(call, file, algorithm.name()).await?);
    }
    Ok(created())
}

fn no_checksum(algorithm: Algorithm) -> MavenError {
    MavenError::bad_request(format!("this is no {} checksum", algorithm.name()))
}

async fn put_metadata(call: &Call, at: &MetadataPath, body: Body) -> Answer {
    let body = match read_body(body, MAX_METADATA_BYTES).await {
        Err(RegistryError::TooLarge { limit_bytes, .. }) => {
            return Err(MavenError::bad_request(format!("the metadata is larger than {limit_bytes} bytes")));
        }
        other => other?,
    };
    let uploaded = Uploaded::parse(&body, at).map_err(|fault| MavenError::bad_request(fault.to_string()))?;
    match uploaded {
        Uploaded::Artifact { coordinates, deployed } => {
            may_publish(call, &coordinates, &coordinates.to_string()).await?;
            if let Some(version) = deployed {
                seal(call, &coordinates, &version).await?;
            }
        }
        Uploaded::Group(uploaded) => {
            let group = at.group().ok_or_else(|| MavenError::bad_request("the path is that of no group"))?;
            plugins::name_uploaded(call, &group, uploaded).await?;
        }
    }
    Ok(created())
}

async fn seal(call: &Call, coordinates: &Coordinates, version: &str) -> Result<(), MavenError> {
    let (name, key) = (coordinates.package_name(), version_key(version));
    match call.registry.seal(&call.who, Ecosystem::Maven, &name, &key, SEAL_PATIENCE).await {
        // Nothing was uploaded: there is nothing to end.
        Err(RegistryError::NotFound) => Ok(()),
        other => Ok(other?),
    }
}

//! `PUT /packages/{v}/{p}`: one version, as a bare zip or in a form; the shapes of composer.md §5.
//!
//! The zip streams into the store while it is hashed and inspected. Name and version come from the `composer.json`
//! inside; what the address or the form says must agree.

use std::time::Duration;

use axum::{body::Body, response::Response};
use http::{StatusCode, header};
use publaryn_core::{
    ArtifactKind, Ecosystem, Operation, PackageName, RegistryError,
    publish::{PublishCommand, PublishOutcome},
};
use publaryn_protocol::{Form, FormLimits, byte_stream};
use publaryn_registry::{ByteStream, Published, StageRequest, StagedArtifact};
use serde_json::json;

use crate::{
    archive::{ArchiveLimits, PackageZip, read_zip},
    call::{Answer, Call, json as json_answer},
    error::ComposerError,
    manifest::Manifest,
    name::parse_name,
    release::{Source, dist, dist_filename, document},
    version::{Normalized, VersionFault},
};

/// What a refused client without a credential may still send: most only listen once they have sent everything.
const DRAIN_UNKNOWN_BYTES: u64 = 8 << 20;
/// Texts of a form, and the parts it may have.
const MAX_TEXT_BYTES: usize = 2 << 20;
const MAX_MANIFEST_BYTES: usize = 1 << 20;
const MAX_PARTS: usize = 32;
/// Longest wait for a verdict (composer.md §5).
const MAX_WAIT: Duration = Duration::from_secs(10);

pub(crate) async fn upload(call: &Call, package: &str, version: Option<String>, body: Body) -> Answer {
    let limit = call.registry.settings().limits.of(ArtifactKind::ComposerZip);
    let name = match may_upload(call, package, limit).await {
        Ok(name) => name,
        Err(refusal) => {
            // Clients that ask first (`Expect`) have sent nothing yet and would start on a read.
            if !call.headers.contains_key(header::EXPECT) {
                let patience = if call.who.is_anonymous() { DRAIN_UNKNOWN_BYTES } else { 2 * limit };
                drain(byte_stream(body), patience).await;
            }
            return Err(refusal);
        }
    };
    let mut fields = Fields { in_address: version.or_else(|| call.query("version")), ..Fields::default() };
    let content_type = call.headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let (staged, zip) = if content_type.trim_start().to_ascii_lowercase().starts_with("multipart/") {
        from_form(call, &name, body, limit, &mut fields).await?
    } else {
        stage(call, &name, byte_stream(body), limit).await?
    };
    match check(&name, &fields, &zip.manifest) {
        Ok((version, source)) => publish(call, name, version, source.as_ref(), staged, zip).await,
        Err(refusal) => {
            call.registry.discard(staged).await;
            Err(refusal)
        }
    }
}

/// Everything that can be said before the body is read.
async fn may_upload(call: &Call, package: &str, limit: u64) -> Result<PackageName, ComposerError> {
    call.require_scope(Operation::Publish)?;
    let name =
        parse_name(&package.to_ascii_lowercase()).map_err(|error| ComposerError::bad_request(error.to_string()))?;
    call.registry.may_publish(&call.who, Ecosystem::Composer, &name).await?;
    call.registry.may_create(&call.who, Ecosystem::Composer, &name).await?;
    let length = call.headers.get(header::CONTENT_LENGTH).and_then(|v| v.to_str().ok()?.parse::<u64>().ok());
    if length.is_some_and(|length| length > limit + MAX_TEXT_BYTES as u64) {
        return Err(too_large(limit));
    }
    Ok(name)
}

fn too_large(limit_bytes: u64) -> ComposerError {
    let text = format!("the zip is larger than {limit_bytes} bytes");
    ComposerError::refused(StatusCode::PAYLOAD_TOO_LARGE, text)
}

/// Listens to a client without keeping anything, so that it gets to read the answer.
pub(crate) async fn drain(mut rest: ByteStream, max_bytes: u64) {
    let mut left = max_bytes;
    while let Some(Ok(chunk)) = std::future::poll_fn(|cx| rest.as_mut().poll_next(cx)).await {
        match left.checked_sub(chunk.len() as u64) {
            Some(rest) => left = rest,
            None => return,
        }
    }
}

/// What is said of a zip beside it.
#[derive(Debug, Default)]
struct Fields {
    in_address: Option<String>,
    version: Option<String>,
    composer_json: Option<String>,
    src_type: Option<String>,
    src_url: Option<String>,
    src_ref: Option<String>,
}

async fn from_form(
    call: &Call,
    name: &PackageName,
    body: Body,
    limit: u64,
    fields: &mut Fields,
) -> Result<(StagedArtifact, PackageZip), ComposerError> {
    let limits = FormLimits { parts: MAX_PARTS, text_bytes: MAX_TEXT_BYTES };
    let mut form = match Form::new(&call.headers, body, limits) {
        Ok(form) => form,
        Err((fault, body)) => {
            drain(byte_stream(body), 2 * limit).await;
            return Err(fault.into());
        }
    };
    let mut staged = None;
    let read = read_form(call, name, &mut form, limit, fields, &mut staged).await;
    form.drain(2 * limit).await;
    match (read, staged) {
        (Ok(()), Some(staged)) => Ok(staged),
        (Ok(()), None) => Err(ComposerError::bad_request("the form has no zip in a part named `package`")),
        (Err(refusal), staged) => {
            if let Some((artifact, _)) = staged {
                call.registry.discard(artifact).await;
            }
            Err(refusal)
        }
    }
}

async fn read_form(
    call: &Call,
    name: &PackageName,
    form: &mut Form,
    limit: u64,
    fields: &mut Fields,
    staged: &mut Option<(StagedArtifact, PackageZip)>,
) -> Result<(), ComposerError> {
    while let Some(part) = form.next().await? {
        let slot = match part.name() {
            "package" | "dist" | "dist.zip" | "file" => {
                if staged.is_some() {
                    return Err(ComposerError::bad_request("the form has more than one zip"));
                }
                *staged = Some(stage(call, name, part.into_stream(), limit).await?);
                continue;
            }
            "version" => &mut fields.version,
            "composer.json" => &mut fields.composer_json,
            "src-type" => &mut fields.src_type,
            "src-url" => &mut fields.src_url,
            "src-ref" => &mut fields.src_ref,
            _ => {
                part.skip(MAX_TEXT_BYTES as u64).await?;
                continue;
            }
        };
        let text = part.text(MAX_MANIFEST_BYTES).await?;
        if slot.as_ref().is_some_and(|known| *known != text) {
            return Err(ComposerError::bad_request("the request says one thing twice, and differently"));
        }
        *slot = Some(text).filter(|text| !text.trim().is_empty());
    }
    Ok(())
}

async fn stage(
    call: &Call,
    name: &PackageName,
    stream: ByteStream,
    limit: u64,
) -> Result<(StagedArtifact, PackageZip), ComposerError> {
    let limits = ArchiveLimits::within(&call.registry.settings().limits);
    let request = StageRequest {
        kind: ArtifactKind::ComposerZip,
        filename: format!("{}.zip", name.canonical().replace('/', "-")),
        content_type: "application/zip".to_owned(),
        limit_bytes: limit,
        sha1: true,
        md5: false,
    };
    let staged = call.registry.stage(stream, request, Box::new(move |input| read_zip(input, limits))).await;
    staged.map_err(|error| match error {
        RegistryError::TooLarge { limit_bytes, .. } => too_large(limit_bytes),
        other => other.into(),
    })
}

/// Whether all that was said agrees.
fn check(
    name: &PackageName,
    fields: &Fields,
    manifest: &Manifest,
) -> Result<(Normalized, Option<Source>), ComposerError> {
    let bad = ComposerError::bad_request;
    let shown = |text: &str| text.chars().filter(|c| !c.is_control()).take(100).collect::<String>();
    if manifest.name != name.canonical() {
        if manifest.name.eq_ignore_ascii_case(name.canonical()) {
            let text = format!("composer.json: name must be in lower case: `{}`", shown(&manifest.name));
            return Err(ComposerError::refused(StatusCode::UNPROCESSABLE_ENTITY, text));
        }
        return Err(bad(format!("composer.json is of `{}`, not of {name}", shown(&manifest.name))));
    }
    let parse = |raw: &str| Normalized::parse(raw).map_err(|fault: VersionFault| bad(fault.of(raw)));
    // Whatever says it first is how it is shown.
    let mut version: Option<Normalized> = None;
    for raw in [&manifest.version, &fields.in_address, &fields.version].into_iter().flatten() {
        let said = parse(raw)?;
        match &version {
            Some(known) if known.unique != said.unique => {
                let place = if manifest.version.is_some() { "composer.json" } else { "the address" };
                let text = format!("the version is {} in {place} and {} outside", known.display, shown(raw));
                return Err(bad(text));
            }
            Some(_) => {}
            None => version = Some(said),
        }
    }
    let Some(version) = version else {
        return Err(bad("no version: name one in composer.json or with ?version=".to_owned()));
    };
    if let Some(text) = &fields.composer_json {
        let sent = Manifest::parse(text.as_bytes()).map_err(|fault| bad(format!("the form's {fault}")))?;
        let sent_version = sent.version.as_deref().map(parse).transpose()?;
        if sent.name != manifest.name || sent_version.is_some_and(|sent| sent.unique != version.unique) {
            return Err(bad("the form's composer.json is not that of the zip".to_owned()));
        }
    }
    Ok((version, source(fields)?))
}

/// Where the publisher says the source lies; a place that is told in part is none.
fn source(fields: &Fields) -> Result<Option<Source>, ComposerError> {
    let (Some(kind), Some(url), Some(reference)) = (&fields.src_type, &fields.src_url, &fields.src_ref) else {
        return Ok(None);
    };
    let (kind, url, reference) = (kind.trim(), url.trim(), reference.trim());
    if !matches!(kind, "git" | "hg" | "svn" | "fossil") {
        return Err(ComposerError::bad_request("src-type must be git, hg, svn or fossil"));
    }
    let is_plain = |text: &str| text.len() <= 1024 && text.bytes().all(|b| b.is_ascii_graphic());
    let has_scheme = ["https://", "ssh://", "git://"].iter().any(|scheme| url.starts_with(scheme));
    if !(has_scheme || is_ssh_place(url)) || !is_plain(url) {
        let text = "src-url must start with https://, ssh:// or git://, or be like git@host:path";
        return Err(ComposerError::bad_request(text));
    }
    // Clients hand it to the program as an argument.
    if reference.is_empty() || reference.starts_with('-') || !is_plain(reference) {
        return Err(ComposerError::bad_request("src-ref is no reference"));
    }
    Ok(Some(Source { kind: kind.to_owned(), url: url.to_owned(), reference: reference.to_owned() }))
}

/// `git@host:path`, which git reads as a place to reach by ssh. `ext::sh -c x` is none.
fn is_ssh_place(url: &str) -> bool {
    let is_name = |text: &str| {
        text.starts_with(|c: char| c.is_ascii_alphanumeric())
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'))
    };
    let parts = url.split_once('@').and_then(|(user, rest)| Some((user, rest.split_once(':')?)));
    parts.is_some_and(|(user, (host, path))| is_name(user) && is_name(host) && !path.is_empty())
}

async fn publish(
    call: &Call,
    name: PackageName,
    version: Normalized,
    source: Option<&Source>,
    mut staged: StagedArtifact,
    zip: PackageZip,
) -> Answer {
    let Some(sha1) = staged.digests().sha1.clone() else {
        return Err(RegistryError::internal("the zip was staged without its SHA-1").into());
    };
    staged.rename(dist_filename(name.canonical(), &version.unique, &sha1));
    let command = PublishCommand {
        ecosystem: Ecosystem::Composer,
        name: name.clone(),
        version: version.to_version(),
        artifacts: Vec::new(),
        metadata: document(&zip.manifest, &version, source),
        facts: zip.manifest.facts(zip.readme),
        tags: Vec::new(),
        access_hint: None,
    };
    let published = call.registry.publish_within(&call.who, command, vec![staged], MAX_WAIT).await;
    let published = published.map_err(|error| match error {
        RegistryError::VersionExists(_) => {
            ComposerError::refused(StatusCode::CONFLICT, format!("{name} {} already exists", version.display))
        }
        other => other.into(),
    })?;
    conclude(call, &name, &version, &sha1, &published)
}

fn conclude(call: &Call, name: &PackageName, version: &Normalized, sha1: &str, published: &Published) -> Answer {
    let (status, state) = match &published.outcome {
        PublishOutcome::Live { .. } => (StatusCode::CREATED, "published"),
        PublishOutcome::Pending { .. } => (StatusCode::ACCEPTED, "quarantined"),
        PublishOutcome::Blocked { findings, .. } => return Err(RegistryError::Blocked(findings.clone()).into()),
    };
    let body = json!({
        "name": name.display(),
        "version": version.display,
        "version_normalized": version.text,
        "dist": dist(&call.base(), name.canonical(), &version.display, sha1),
        "status": state,
    });
    let response: Response = json_answer(status, &body);
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(version: Option<&str>) -> Manifest {
        Manifest { name: "acme/lib".into(), version: version.map(str::to_owned), served: serde_json::Map::new() }
    }

    fn said(version: &str) -> Fields {
        Fields { version: Some(version.into()), ..Fields::default() }
    }

    #[test]
    fn the_version_comes_from_inside_or_outside_and_never_contradicts_itself() {
        let name = parse_name("acme/lib").unwrap();
        let checked = |manifest: &Manifest, fields: &Fields| check(&name, fields, manifest).map(|(v, _)| v.display);
        assert_eq!(checked(&manifest(Some("v1.2")), &Fields::default()).unwrap(), "v1.2");
        assert_eq!(checked(&manifest(Some("v1.2")), &said("1.2.0")).unwrap(), "v1.2");
        assert_eq!(checked(&manifest(None), &said("1.2.0")).unwrap(), "1.2.0");
        let twice = Fields { in_address: Some("v1.2".into()), ..said("1.2.0") };
        assert_eq!(checked(&manifest(None), &twice).unwrap(), "v1.2");
        for (manifest, fields) in [
            (manifest(Some("1.2")), said("1.3")),
            (manifest(None), Fields { in_address: Some("1.2".into()), ..said("1.3") }),
            (manifest(Some("dev-main")), Fields::default()),
            (manifest(None), Fields::default()),
            (Manifest { name: "acme/other".into(), ..manifest(Some("1.0")) }, Fields::default()),
        ] {
            assert_eq!(checked(&manifest, &fields).unwrap_err().status(), 400);
        }
    }

    #[test]
    fn a_source_is_reachable_or_refused_and_nothing_in_part() {
        let fields = |kind: &str, url: &str, reference: &str| Fields {
            src_type: Some(kind.into()),
            src_url: Some(url.into()),
            src_ref: Some(reference.into()),
            ..Fields::default()
        };
        assert!(source(&Fields::default()).unwrap().is_none());
        assert!(source(&fields("git", "https://h/x.git", "abc")).unwrap().is_some());
        assert!(source(&fields("git", "git@github.com:acme/lib.git", "abc")).unwrap().is_some());
        let part = Fields { src_url: Some("https://h".into()), ..Fields::default() };
        assert!(source(&part).unwrap().is_none());
        for bad in [
            fields("git", "file:///etc", "abc"),
            fields("git", "ext::sh -c x", "abc"),
            fields("exe", "https://h/x", "abc"),
            fields("git", "https://h/x", "--upload-pack=x"),
            fields("git", "https://h/ x", "abc"),
            fields("git", "-o@h:x", "abc"),
            fields("git", "git@h", "abc"),
        ] {
            assert!(source(&bad).is_err(), "{bad:?}");
        }
    }
}

//! `PUT` of manifests: OCI's publish.

use axum::body::Body;
use http::{HeaderName, StatusCode, header};
use publaryn_core::{ContentDigest, Digest, Ecosystem, RegistryError, publish::PublishCommand};
use publaryn_protocol::read_body;
use publaryn_registry::oci::{ManifestPush, ManifestRefusal, PushOutcome};
use sha2::{Digest as _, Sha256, Sha512};

use crate::{
    call::{Answer, CONTENT_DIGEST, Call, empty, insert, warning},
    error::OciError,
    manifest,
    name::{Reference, ReferenceFault, addressed, is_tag},
};

const SUBJECT: HeaderName = HeaderName::from_static("oci-subject");
const TAGS: HeaderName = HeaderName::from_static("oci-tag");
/// Most tags in the query of one push (distribution-spec, pushing manifests with tags).
const MAX_TAGS: usize = 32;

pub(crate) async fn manifest(call: &Call, raw_name: &str, reference: &str, body: Body) -> Answer {
    let _gate = call.pushable(raw_name).await?;
    let name = addressed(raw_name)?;
    let reference = Reference::parse(reference).map_err(|fault| match fault {
        ReferenceFault::Tag => OciError::manifest_invalid("not a tag"),
        ReferenceFault::Digest(problem) => OciError::digest(problem),
    })?;
    let asked = tags_of_query(call)?;
    let bytes = read_manifest(call, body).await?;
    let digest = match &reference {
        Reference::Digest(ContentDigest::Sha512(_)) => ContentDigest::Sha512(Sha512::digest(&bytes).into()),
        _ => ContentDigest::Sha256(Digest::from_bytes(Sha256::digest(&bytes).into())),
    };
    if matches!(&reference, Reference::Digest(named) if *named != digest) {
        return Err(OciError::digest_invalid("the manifest does not match the digest"));
    }
    let parsed = manifest::parse(&bytes, call.header(header::CONTENT_TYPE)).map_err(OciError::manifest_invalid)?;
    let mut tags = asked.clone();
    if let Reference::Tag(tag) = reference
        && !tags.contains(&tag)
    {
        tags.insert(0, tag);
    }
    let subject = parsed.subject.clone();
    let media_type = parsed.media_type.clone();
    let command = PublishCommand {
        ecosystem: Ecosystem::Oci,
        name,
        version: manifest::version(digest),
        artifacts: Vec::new(),
        metadata: parsed.metadata(),
        facts: parsed.facts(),
        tags: Vec::new(),
        access_hint: None,
    };
    let push =
        ManifestPush { command, manifest: parsed.into_manifest(digest, bytes.len() as u64, tags), media_type, bytes };
    let pushed = call.registry.oci_push(call.who(), push).await.map_err(hide_missing)?;
    let digest = digest.to_string();
    let location = call.place(&format!("{raw_name}/manifests/{digest}"));
    let mut response = empty(StatusCode::CREATED, &[(header::LOCATION, &location), (CONTENT_DIGEST, &digest)]);
    let headers = response.headers_mut();
    if let Some(subject) = subject {
        insert(headers, &[(SUBJECT, &subject)]);
    }
    if !asked.is_empty() {
        insert(headers, &[(TAGS, &asked.join(", "))]);
    }
    match pushed.outcome {
        PushOutcome::Live => {
            if let Some(slug) = pushed.new_repository {
                let text = format!("the repository {slug} was made for your images; its settings say who may see them");
                insert(headers, &[(header::WARNING, &warning(&text))]);
            }
        }
        PushOutcome::Held => {
            insert(headers, &[(header::WARNING, &warning("held for scanning, not pullable yet"))]);
        }
        PushOutcome::Blocked(findings) => {
            let titles: Vec<&str> = findings.iter().map(|finding| finding.title.as_str()).collect();
            let reason = if titles.is_empty() { "it was held back by policy".to_owned() } else { titles.join("; ") };
            return Err(OciError::denied(format!("the manifest is blocked: {reason}")));
        }
    }
    Ok(response)
}

/// A name that exists but may not be seen is simply not there.
fn hide_missing(refusal: ManifestRefusal) -> OciError {
    match refusal {
        ManifestRefusal::Registry(RegistryError::NotFound) => OciError::name_unknown(),
        other => other.into(),
    }
}

fn tags_of_query(call: &Call) -> Result<Vec<String>, OciError> {
    let mut tags = Vec::new();
    for tag in call.query("tag") {
        if !is_tag(&tag) {
            return Err(OciError::manifest_invalid("not a tag in the query"));
        }
        if !tags.contains(&tag) {
            tags.push(tag);
        }
    }
    if tags.len() > MAX_TAGS {
        let message = format!("at most {MAX_TAGS} tags in one push");
        return Err(OciError::new(StatusCode::URI_TOO_LONG, "UNSUPPORTED", message));
    }
    Ok(tags)
}

async fn read_manifest(call: &Call, body: Body) -> Result<bytes::Bytes, OciError> {
    let limit = call.registry.oci_settings().manifest_limit_bytes;
    let too_large = || {
        let message = format!("a manifest may have at most {limit} bytes");
        OciError::new(StatusCode::PAYLOAD_TOO_LARGE, "MANIFEST_INVALID", message)
    };
    let announced = call.header(header::CONTENT_LENGTH).and_then(|text| text.parse::<u64>().ok());
    if announced.is_some_and(|length| length > limit) {
        return Err(too_large());
    }
    read_body(body, limit).await.map_err(|error| match error {
        RegistryError::TooLarge { .. } => too_large(),
        RegistryError::Malformed(text) => OciError::manifest_invalid(text),
        other => other.into(),
    })
}

//! Upload sessions: begin, append, ask, finish, give up; and mounting instead of uploading.

use axum::{body::Body, response::Response};
use http::{HeaderName, StatusCode, header};
use publaryn_core::{ContentDigest, DigestProblem, PackageName, UploadId};
use publaryn_protocol::byte_stream;
use publaryn_registry::oci::{OciRepository, Placement, UploadRefusal};

use crate::{
    call::{Answer, CONTENT_DIGEST, Call, empty},
    error::OciError,
    name,
    range::Chunk,
};

const UPLOAD_ID: HeaderName = HeaderName::from_static("docker-upload-uuid");

/// `POST …/blobs/uploads/`
pub(crate) async fn start(call: &Call, raw_name: &str, body: Body) -> Answer {
    let repository = call.pushable(raw_name).await?;
    call.registry.oci_may_create(call.who(), &repository).await?;
    if let Some(mount) = call.query("mount").next() {
        let from = call.query("from").next();
        if mounted(call, &repository, &mount, from.as_deref()).await? {
            return Ok(stored(call, raw_name, &mount));
        }
        // It will be sent instead.
        let with_sha512 = mount.parse::<ContentDigest>().is_ok_and(|digest| digest.is_sha512());
        return begun(call, raw_name, &repository, with_sha512).await;
    }
    if let Some(digest) = call.query("digest").next() {
        let digest: ContentDigest = digest.parse().map_err(OciError::digest)?;
        refuse_too_large(call)?;
        let id = call.registry.oci_begin_upload(call.who(), &repository, digest.is_sha512()).await?;
        return finished(call, raw_name, &repository, id, Placement::At(0), body, digest).await;
    }
    let with_sha512 = match call.query("digest-algorithm").next().as_deref() {
        None | Some("sha256") => false,
        Some("sha512") => true,
        Some(_) => return Err(OciError::digest(DigestProblem::Unsupported)),
    };
    begun(call, raw_name, &repository, with_sha512).await
}

/// Whether the blob could be taken over; a source the caller may not see is a miss, never a refusal.
async fn mounted(call: &Call, repository: &OciRepository, mount: &str, from: Option<&str>) -> Result<bool, OciError> {
    let digest: ContentDigest = match mount.parse() {
        Ok(digest) => digest,
        Err(DigestProblem::Unsupported) => return Ok(false),
        Err(problem) => return Err(OciError::digest(problem)),
    };
    let source = match from.map(name::parse_name) {
        // No name at all: nothing is there.
        Some(Err(_)) => return Ok(false),
        Some(Ok(name)) => Some(call.repository(&name).await?),
        None => None,
    };
    Ok(call.registry.oci_mount(call.who(), repository, digest, source.as_ref()).await?)
}

async fn begun(call: &Call, raw_name: &str, repository: &OciRepository, with_sha512: bool) -> Answer {
    let id = call.registry.oci_begin_upload(call.who(), repository, with_sha512).await?;
    Ok(progress(call, StatusCode::ACCEPTED, raw_name, id, 0))
}

/// The answer about an upload that goes on.
fn progress(call: &Call, status: StatusCode, raw_name: &str, id: UploadId, size_bytes: u64) -> Response {
    let (location, range, id) = (place(call, raw_name, id), range_text(size_bytes), id.to_string());
    empty(status, &[(header::LOCATION, &location), (header::RANGE, &range), (UPLOAD_ID, &id)])
}

fn place(call: &Call, raw_name: &str, id: UploadId) -> String {
    call.place(&format!("{raw_name}/blobs/uploads/{id}"))
}

/// First and last byte. `0-0` also when there is none: docker reads two numbers.
fn range_text(size_bytes: u64) -> String {
    format!("0-{}", size_bytes.saturating_sub(1))
}

/// The answer about a blob that is there.
fn stored(call: &Call, raw_name: &str, digest: &str) -> Response {
    let location = call.place(&format!("{raw_name}/blobs/{digest}"));
    empty(StatusCode::CREATED, &[(header::LOCATION, &location), (CONTENT_DIGEST, digest)])
}

/// `GET …/uploads/U`
pub(crate) async fn status(call: &Call, raw_name: &str, id: &str) -> Answer {
    call.pushable(raw_name).await?;
    let (name, id) = (name::addressed(raw_name)?, upload_id(id)?);
    let upload = call.registry.oci_upload(call.who(), &name, id).await?.ok_or_else(OciError::upload_unknown)?;
    Ok(progress(call, StatusCode::NO_CONTENT, raw_name, id, upload.size_bytes))
}

fn upload_id(text: &str) -> Result<UploadId, OciError> {
    text.parse().map_err(|_| OciError::upload_unknown())
}

/// `DELETE …/uploads/U`
pub(crate) async fn cancel(call: &Call, raw_name: &str, id: &str) -> Answer {
    call.pushable(raw_name).await?;
    let (name, id) = (name::addressed(raw_name)?, upload_id(id)?);
    match call.registry.oci_cancel_upload(call.who(), &name, id).await {
        Ok(()) => Ok(empty(StatusCode::NO_CONTENT, &[])),
        Err(refusal) => Err(refused(call, raw_name, id, refusal)),
    }
}

/// `PATCH …/uploads/U`
pub(crate) async fn append(call: &Call, raw_name: &str, id: &str, body: Body) -> Answer {
    let repository = call.pushable(raw_name).await?;
    let id = upload_id(id)?;
    refuse_too_large_upload(call, raw_name, id).await?;
    let placement = placement(call, raw_name, id).await?;
    match call.registry.oci_append(call.who(), &repository, id, placement, byte_stream(body)).await {
        Ok(size_bytes) => Ok(progress(call, StatusCode::ACCEPTED, raw_name, id, size_bytes)),
        Err(refusal) => Err(refused(call, raw_name, id, refusal)),
    }
}

/// `PUT …/uploads/U?digest=D`
pub(crate) async fn finish(call: &Call, raw_name: &str, id: &str, body: Body) -> Answer {
    let repository = call.pushable(raw_name).await?;
    let id = upload_id(id)?;
    let digest = call.query("digest").next().ok_or_else(|| OciError::digest_invalid("the digest is missing"))?;
    let digest: ContentDigest = digest.parse().map_err(OciError::digest)?;
    if call.registry.oci_upload_became(call.who(), &name::addressed(raw_name)?, id, digest).await? {
        return Ok(stored(call, raw_name, &digest.to_string()));
    }
    refuse_too_large_upload(call, raw_name, id).await?;
    let placement = placement(call, raw_name, id).await?;
    finished(call, raw_name, &repository, id, placement, body, digest).await
}

async fn finished(
    call: &Call,
    raw_name: &str,
    repository: &OciRepository,
    id: UploadId,
    placement: Placement,
    body: Body,
    digest: ContentDigest,
) -> Answer {
    let body = byte_stream(body);
    match call.registry.oci_finish_upload(call.who(), repository, id, placement, body, digest).await {
        Ok(()) => Ok(stored(call, raw_name, &digest.to_string())),
        Err(refusal) => Err(refused(call, raw_name, id, refusal)),
    }
}

/// Where the body belongs, by `Content-Range`.
async fn placement(call: &Call, raw_name: &str, id: UploadId) -> Result<Placement, OciError> {
    let Some(value) = call.headers.get(header::CONTENT_RANGE) else { return Ok(Placement::End) };
    let chunk = value.to_str().ok().and_then(Chunk::parse);
    let chunk = chunk.ok_or_else(|| OciError::upload_invalid("`Content-Range` is not a range"))?;
    let name: PackageName = name::addressed(raw_name)?;
    let upload = call.registry.oci_upload(call.who(), &name, id).await?.ok_or_else(OciError::upload_unknown)?;
    let out_of_step = || refused(call, raw_name, id, UploadRefusal::OutOfStep { size_bytes: upload.size_bytes });
    let length = chunk.length().filter(|_| chunk.first == upload.size_bytes).ok_or_else(out_of_step)?;
    if let Some(announced) = content_length(call)
        && announced != length
    {
        return Err(OciError::size_invalid(format!("the range has {length} bytes, the body {announced}")));
    }
    Ok(Placement::At(chunk.first))
}

fn content_length(call: &Call) -> Option<u64> {
    call.header(header::CONTENT_LENGTH).and_then(|text| text.parse().ok())
}

/// Before a byte is read, where the length is known.
fn refuse_too_large(call: &Call) -> Result<(), OciError> {
    let limit_bytes = call.registry.oci_settings().layer_limit_bytes;
    match content_length(call) {
        Some(length) if length > limit_bytes => Err(UploadRefusal::TooLarge { limit_bytes }.into()),
        _ => Ok(()),
    }
}

/// The same for an upload in progress, which ends with it.
async fn refuse_too_large_upload(call: &Call, raw_name: &str, id: UploadId) -> Result<(), OciError> {
    let Err(too_large) = refuse_too_large(call) else { return Ok(()) };
    match call.registry.oci_cancel_upload(call.who(), &name::addressed(raw_name)?, id).await {
        Ok(()) => Err(too_large),
        Err(refusal) => Err(refused(call, raw_name, id, refusal)),
    }
}

/// A client out of step is told where to go on.
fn refused(call: &Call, raw_name: &str, id: UploadId, refusal: UploadRefusal) -> OciError {
    let at = match &refusal {
        UploadRefusal::OutOfStep { size_bytes } => Some(*size_bytes),
        _ => None,
    };
    let error = OciError::from(refusal);
    match at {
        Some(size_bytes) => error
            .with(header::LOCATION, &place(call, raw_name, id))
            .with(header::RANGE, &range_text(size_bytes))
            .with(UPLOAD_ID, &id.to_string()),
        None => error,
    }
}

#[cfg(test)]
mod tests {
    use super::range_text;

    #[test]
    fn the_range_of_an_empty_upload_has_two_numbers() {
        assert_eq!((range_text(0), range_text(1), range_text(100)), ("0-0".into(), "0-0".into(), "0-99".into()));
    }
}

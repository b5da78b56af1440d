//! `GET`/`HEAD` of blobs: whole, in one part, or in several.

use std::{ops::Range, sync::Arc};

use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use http::{HeaderValue, StatusCode, header};
use publaryn_core::{BoxError, ContentDigest, DigestProblem};
use publaryn_registry::oci::{BlobUse, ServableBlob};

use crate::{
    call::{Answer, CONTENT_DIGEST, Call, empty, insert},
    error::OciError,
    range::{Wanted, wanted},
};

const OCTETS: &str = "application/octet-stream";

pub(crate) async fn get(call: &Call, name: &str, digest: &str) -> Answer {
    let repository = call.readable(name).await?;
    let digest: ContentDigest = match digest.parse() {
        Ok(digest) => digest,
        Err(DigestProblem::Unsupported) => return Err(OciError::blob_unknown()),
        Err(problem) => return Err(OciError::digest(problem)),
    };
    let how = if call.is_head { BlobUse::Head } else { BlobUse::Get };
    let found = call.registry.oci_blob(&repository, digest, how).await?;
    let blob = found.ok_or_else(|| call.missing_blob(&repository))?;
    let mut response = serve(call, blob.clone()).await?;
    describe(&mut response, call, &blob);
    Ok(response)
}

/// The headers that every answer about a blob has.
fn describe(response: &mut Response, call: &Call, blob: &ServableBlob) {
    let digest = blob.digest().to_string();
    let is_shared = blob.is_open() && !call.headers.contains_key(header::AUTHORIZATION);
    let caching = match is_shared {
        // The address is good for minutes.
        _ if response.status() == StatusCode::TEMPORARY_REDIRECT => "private, no-store",
        true => "public, max-age=31536000, immutable",
        false => "private, max-age=31536000, immutable",
    };
    let etag = format!("\"{digest}\"");
    insert(
        response.headers_mut(),
        &[
            (CONTENT_DIGEST, &digest),
            (header::ETAG, &etag),
            (header::ACCEPT_RANGES, "bytes"),
            (header::CACHE_CONTROL, caching),
            (header::CONTENT_SECURITY_POLICY, "sandbox"),
        ],
    );
}

/// Whether a list of validators names this content, quoted or bare.
pub(crate) fn names_digest(list: &str, digest: &str) -> bool {
    list.split(',').map(str::trim).any(|tag| {
        let tag = tag.strip_prefix("W/").unwrap_or(tag);
        tag == "*" || tag.trim_matches('"') == digest
    })
}

async fn serve(call: &Call, blob: Arc<ServableBlob>) -> Answer {
    let digest = blob.digest().to_string();
    let size = blob.size_bytes();
    if call.header(header::IF_NONE_MATCH).is_some_and(|list| names_digest(list, &digest)) {
        return Ok(StatusCode::NOT_MODIFIED.into_response());
    }
    if call.is_head {
        let length = size.to_string();
        return Ok(empty(StatusCode::OK, &[(header::CONTENT_TYPE, OCTETS), (header::CONTENT_LENGTH, &length)]));
    }
    // A range is only for the content the client thinks it has (RFC 9110 §13.1.5).
    let is_same = call.header(header::IF_RANGE).is_none_or(|tag| names_digest(tag, &digest));
    match wanted(call.header(header::RANGE).filter(|_| is_same), size) {
        Wanted::Nothing => {
            let error = OciError::new(StatusCode::RANGE_NOT_SATISFIABLE, "BLOB_UNKNOWN", "the blob has no such bytes");
            Err(error.with(header::CONTENT_RANGE, &format!("bytes */{size}")))
        }
        Wanted::Whole => whole(call, &blob).await,
        Wanted::Parts(parts) => match &parts[..] {
            [part] => one_part(call, &blob, part.clone()).await,
            _ => several_parts(call, blob, parts),
        },
    }
}

async fn whole(call: &Call, blob: &ServableBlob) -> Answer {
    if let Some(address) = call.registry.redirect_oci_blob(blob).await? {
        return Ok(empty(StatusCode::TEMPORARY_REDIRECT, &[(header::LOCATION, &address)]));
    }
    let size = blob.size_bytes();
    let mut response =
        if size == 0 { Body::empty().into_response() } else { bytes_of(call, blob, None).await?.into_response() };
    response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(size));
    insert(response.headers_mut(), &[(header::CONTENT_TYPE, OCTETS)]);
    Ok(response)
}

async fn one_part(call: &Call, blob: &ServableBlob, part: Range<u64>) -> Answer {
    let length = part.end - part.start;
    let range = content_range(&part, blob.size_bytes());
    let mut response = bytes_of(call, blob, Some(part)).await?.into_response();
    *response.status_mut() = StatusCode::PARTIAL_CONTENT;
    response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    insert(response.headers_mut(), &[(header::CONTENT_TYPE, OCTETS), (header::CONTENT_RANGE, &range)]);
    Ok(response)
}

fn content_range(part: &Range<u64>, size: u64) -> String {
    format!("bytes {}-{}/{size}", part.start, part.end - 1)
}

async fn bytes_of(call: &Call, blob: &ServableBlob, part: Option<Range<u64>>) -> Result<Body, OciError> {
    let body = call.registry.open_oci_blob(blob, part).await?;
    Ok(match body.as_bytes() {
        Some(bytes) => Body::from(bytes.clone()),
        None => Body::from_stream(body.into_stream()),
    })
}

/// `multipart/byteranges` (RFC 9110 §14.6), each part opened when its turn comes.
fn several_parts(call: &Call, blob: Arc<ServableBlob>, parts: Vec<Range<u64>>) -> Answer {
    let boundary = uuid::Uuid::new_v4().simple().to_string();
    let size = blob.size_bytes();
    let heads: Vec<(Bytes, Range<u64>)> = parts
        .into_iter()
        .map(|part| {
            let range = content_range(&part, size);
            let head = format!("\r\n--{boundary}\r\ncontent-type: {OCTETS}\r\ncontent-range: {range}\r\n\r\n");
            (Bytes::from(head), part)
        })
        .collect();
    let end = Bytes::from(format!("\r\n--{boundary}--\r\n"));
    let length: u64 =
        heads.iter().map(|(head, part)| head.len() as u64 + part.end - part.start).sum::<u64>() + end.len() as u64;
    let registry = call.registry.clone();
    let content = stream::iter(heads)
        .then(move |(head, part)| {
            let (registry, blob) = (registry.clone(), blob.clone());
            async move {
                let body = registry.open_oci_blob(&blob, Some(part)).await.map_err(BoxError::from)?;
                Ok::<_, BoxError>(stream::once(async move { Ok(head) }).chain(body.into_stream()))
            }
        })
        .try_flatten()
        .chain(stream::once(async move { Ok(end) }));
    let mut response = Body::from_stream(content).into_response();
    *response.status_mut() = StatusCode::PARTIAL_CONTENT;
    response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    let kind = format!("multipart/byteranges; boundary={boundary}");
    insert(response.headers_mut(), &[(header::CONTENT_TYPE, &kind)]);
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::names_digest;

    #[test]
    fn validators_come_quoted_bare_and_in_lists() {
        for (list, wanted) in [
            ("\"sha256:a\"", true),
            ("sha256:a", true),
            ("W/\"sha256:a\"", true),
            ("\"x\", \"sha256:a\"", true),
            ("*", true),
            ("\"sha256:b\"", false),
            ("Wed, 21 Oct 2015 07:28:00 GMT", false),
        ] {
            assert_eq!(names_digest(list, "sha256:a"), wanted, "{list}");
        }
    }
}

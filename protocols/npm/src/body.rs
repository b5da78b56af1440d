//! Request bodies of this protocol: JSON documents, sometimes gzip-compressed (npm and bun send audits so).

use std::io::Write;

use axum::body::Body;
use bytes::Bytes;
use flate2::write::MultiGzDecoder;
use futures::StreamExt;
use http::{HeaderMap, header};
use publaryn_core::{BoxError, RegistryError};
use publaryn_protocol::{byte_stream, strict_json};
use publaryn_registry::ByteStream;
use serde_json::{Map, Value};

use crate::error::NpmError;

/// Compressed bytes inflated at a time: bounds what one step can produce to about 4 MiB.
const INFLATE_STEP_BYTES: usize = 4096;

/// The body as a stream, inflated if need be. Its consumer bounds the size.
pub(crate) fn stream(headers: &HeaderMap, body: Body) -> Result<ByteStream, NpmError> {
    let coding = headers.get(header::CONTENT_ENCODING).map(|v| v.to_str().unwrap_or("?").trim().to_ascii_lowercase());
    match coding.as_deref() {
        None | Some("" | "identity") => Ok(byte_stream(body)),
        Some("gzip" | "x-gzip") => Ok(inflated(byte_stream(body))),
        Some(_) => Err(NpmError::refused(http::StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported content encoding")),
    }
}

fn inflated(body: ByteStream) -> ByteStream {
    let steps = body.flat_map(|chunk| {
        let pieces = match chunk {
            Ok(bytes) => bytes.chunks(INFLATE_STEP_BYTES).map(|piece| Ok(bytes.slice_ref(piece))).collect(),
            Err(error) => vec![Err(error)],
        };
        futures::stream::iter(pieces)
    });
    let state = (Box::pin(steps), Some(MultiGzDecoder::new(Vec::new())));
    futures::stream::try_unfold(state, |(mut steps, decoder)| async move {
        let Some(mut decoder) = decoder else { return Ok(None) };
        match steps.next().await.transpose()? {
            Some(piece) => {
                let piece: Bytes = piece;
                decoder.write_all(&piece)?;
                let out = Bytes::from(std::mem::take(decoder.get_mut()));
                Ok(Some((out, (steps, Some(decoder)))))
            }
            None => Ok(Some((Bytes::from(decoder.finish()?), (steps, None)))),
        }
    })
    .boxed()
}

/// The whole body, refused as soon as it passes `limit_bytes` inflated.
pub(crate) async fn read(headers: &HeaderMap, body: Body, limit_bytes: usize) -> Result<Vec<u8>, NpmError> {
    let mut chunks = stream(headers, body)?;
    let mut whole = Vec::new();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(broken)?;
        if whole.len() + chunk.len() > limit_bytes {
            return Err(RegistryError::TooLarge { what: "the request body", limit_bytes: limit_bytes as u64 }.into());
        }
        whole.extend_from_slice(&chunk);
    }
    Ok(whole)
}

/// The whole body as a JSON object; an empty one is `{}`.
pub(crate) async fn read_object(
    headers: &HeaderMap,
    body: Body,
    limit_bytes: usize,
) -> Result<Map<String, Value>, NpmError> {
    let bytes = read(headers, body, limit_bytes).await?;
    if bytes.is_empty() {
        return Ok(Map::new());
    }
    strict_json::parse_object(&bytes)
        .map_err(|error| NpmError::bad_request(format!("the body cannot be read: {error}")))
}

pub(crate) fn broken(error: BoxError) -> NpmError {
    NpmError::bad_request(format!("the request body broke off: {error}"))
}

#[cfg(test)]
mod tests {
    use flate2::{Compression, write::GzEncoder};

    use super::*;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    #[tokio::test]
    async fn compressed_bodies_are_read_and_bounded_by_what_they_inflate_to() {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_ENCODING, "gzip".parse().unwrap());
        let packed = gzip(br#"{"a":["1.0.0"]}"#);
        let read = read_object(&headers, Body::from(packed.clone()), 1000).await.unwrap();
        assert_eq!(read["a"][0], "1.0.0");
        let bomb = gzip(&vec![b' '; 10 << 20]);
        let error = super::read(&headers, Body::from(bomb), 1 << 20).await.unwrap_err();
        assert!(matches!(error.cause(), RegistryError::TooLarge { .. }));
        let torso = Body::from(packed[..packed.len() - 4].to_vec());
        assert!(super::read(&headers, torso, 1000).await.is_err());
        headers.insert(header::CONTENT_ENCODING, "br".parse().unwrap());
        assert!(super::read(&headers, Body::empty(), 10).await.is_err());
    }
}

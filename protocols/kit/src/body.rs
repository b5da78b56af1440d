//! Request bodies: as streams, or whole up to a limit.

use axum::body::Body;
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use http_body_util::{BodyExt, Limited};
use publaryn_core::{BoxError, RegistryError};
use publaryn_registry::ByteStream;

/// A request body as the blob store wants it.
pub fn byte_stream(body: Body) -> ByteStream {
    TryStreamExt::map_err(body.into_data_stream(), BoxError::from).boxed()
}

/// Reads and forgets a body, up to `max_bytes`: most clients only listen once they have sent everything, and one whose
/// connection is closed before that loses the answer.
pub async fn drain(mut body: ByteStream, max_bytes: u64) {
    let mut seen = 0;
    while let Some(Ok(chunk)) = body.next().await {
        seen += chunk.len() as u64;
        if seen > max_bytes {
            return;
        }
    }
}

/// The whole body, refused as soon as it passes `limit_bytes`.
pub async fn read_body(body: Body, limit_bytes: u64) -> Result<Bytes, RegistryError> {
    let limit = usize::try_from(limit_bytes).unwrap_or(usize::MAX);
    match Limited::new(body, limit).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<http_body_util::LengthLimitError>() => {
            Err(RegistryError::TooLarge { what: "the request body", limit_bytes })
        }
        Err(error) => Err(RegistryError::malformed(format!("the request body broke off: {error}"))),
    }
}

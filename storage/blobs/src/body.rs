//! Content on its way out of a store.

use std::{fmt, ops::Range};

use bytes::{Bytes, BytesMut};
use futures::{
    StreamExt, TryStreamExt,
    future::ready,
    stream::{self, BoxStream},
};
use publaryn_core::{BoxError, Digest};
use sha2::{Digest as _, Sha256};

use crate::BlobError;

/// A stream of blob content, in either direction. Errors out of a store are [`BlobError`]s.
pub type ByteStream = BoxStream<'static, Result<Bytes, BoxError>>;

/// An opened blob, or a part of one.
pub struct BlobBody {
    size_bytes: u64,
    range: Range<u64>,
    content: Content,
}

enum Content {
    Whole(Bytes),
    Stream(ByteStream),
}

impl BlobBody {
    pub(crate) fn whole(size_bytes: u64, range: Range<u64>, bytes: Bytes) -> Self {
        Self { size_bytes, range, content: Content::Whole(bytes) }
    }
    pub(crate) fn stream(size_bytes: u64, range: Range<u64>, stream: ByteStream) -> Self {
        Self { size_bytes, range, content: Content::Stream(stream) }
    }

    /// Size of the whole blob, whatever part of it was opened.
    pub fn size_bytes(&self) -> u64 {
        self.size_bytes
    }
    /// The part that was opened, end exclusive; `0..size` for all of it.
    pub fn range(&self) -> Range<u64> {
        self.range.clone()
    }
    /// How many bytes the body yields.
    pub fn len(&self) -> u64 {
        self.range.end - self.range.start
    }
    pub fn is_empty(&self) -> bool {
        self.range.is_empty()
    }

    /// The content when it is in memory already: the cheap case for small blobs.
    pub fn as_bytes(&self) -> Option<&Bytes> {
        match &self.content {
            Content::Whole(bytes) => Some(bytes),
            Content::Stream(_) => None,
        }
    }

    pub fn into_stream(self) -> ByteStream {
        match self.content {
            Content::Whole(bytes) if bytes.is_empty() => stream::empty().boxed(),
            Content::Whole(bytes) => stream::once(async move { Ok(bytes) }).boxed(),
            Content::Stream(stream) => stream,
        }
    }

    /// The content in one piece.
    ///
    /// # Errors
    /// [`BlobError::TooLarge`] before anything is read when it is longer than `limit_bytes`.
    pub async fn into_bytes(self, limit_bytes: u64) -> Result<Bytes, BlobError> {
        if self.len() > limit_bytes {
            return Err(BlobError::TooLarge { limit_name: "blob read", limit_bytes });
        }
        let length = self.len() as usize;
        match self.content {
            Content::Whole(bytes) => Ok(bytes),
            Content::Stream(mut stream) => {
                let mut all = BytesMut::with_capacity(length);
                while let Some(chunk) = stream.try_next().await.map_err(into_blob_error)? {
                    all.extend_from_slice(&chunk);
                }
                Ok(all.freeze())
            }
        }
    }

    /// The content, followed by an error when its SHA-256 is not `expected`.
    ///
    /// For readers that must notice bit rot (scanner, backup, doctor); the download path leaves
    /// that to the client, which has the digest. Meaningful only for a whole blob.
    pub fn into_verified_stream(self, expected: Digest) -> ByteStream {
        let mut hasher = Some(Sha256::new());
        let content = self.into_stream().map_ok(Some);
        content
            .chain(stream::once(async { Ok(None) }))
            .map(move |item| match (item?, hasher.take()) {
                (Some(chunk), Some(mut so_far)) => {
                    so_far.update(&chunk);
                    hasher = Some(so_far);
                    Ok(Some(chunk))
                }
                (None, Some(complete)) => {
                    let actual = Digest::from_bytes(complete.finalize().into());
                    if actual == expected {
                        Ok(None)
                    } else {
                        Err(BlobError::DigestMismatch { expected, actual }.into())
                    }
                }
                // Only polled again after an error; the reader has had its answer.
                (_, None) => Ok(None),
            })
            .try_filter_map(|chunk| ready(Ok(chunk)))
            .boxed()
    }
}

impl fmt::Debug for BlobBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlobBody")
            .field("size_bytes", &self.size_bytes)
            .field("range", &self.range)
            .finish_non_exhaustive()
    }
}

/// A blob as an open file, positioned at its start. Stays readable when the blob is deleted.
#[derive(Debug)]
pub struct LocalBlob {
    pub file: std::fs::File,
    pub size_bytes: u64,
}

/// A URL that grants access to one blob for a while: a secret until it expires, so `Debug` hides it.
#[derive(Clone, PartialEq, Eq)]
pub struct SignedUrl(String);

impl SignedUrl {
    pub(crate) fn new(url: String) -> Self {
        Self(url)
    }
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SignedUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SignedUrl([redacted])")
    }
}

/// Brings a stream's boxed error back to what it was.
pub(crate) fn into_blob_error(error: BoxError) -> BlobError {
    match error.downcast::<BlobError>() {
        Ok(error) => *error,
        Err(other) => BlobError::Unavailable(other),
    }
}

/// The part of a blob of `size_bytes` that a request for `range` gets.
pub(crate) fn resolve_range(range: Option<Range<u64>>, size_bytes: u64) -> Result<Range<u64>, BlobError> {
    match range {
        None => Ok(0..size_bytes),
        Some(range) if range.start < range.end.min(size_bytes) => Ok(range.start..range.end.min(size_bytes)),
        Some(_) => Err(BlobError::RangeNotSatisfiable { size_bytes }),
    }
}

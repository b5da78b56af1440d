//! Names of stored things: the key of a blob, its listing entry, and an unfinished upload.

use std::{fmt, str::FromStr};

use publaryn_core::Timestamp;
use serde::{Deserialize, Serialize};

/// The opaque storage location of one blob, as the blob's database row keeps it.
///
/// Independent of where the store is mounted (directory, bucket, prefix), so a store can be moved.
/// Parsing admits only relative, normalised paths of `[A-Za-z0-9._-]` segments.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct BlobKey(String);

/// Longest key, in bytes. Ours have at most 100; S3 allows 1024 with the prefix.
const MAX_KEY_BYTES: usize = 256;

impl BlobKey {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for BlobKey {
    type Err = InvalidBlobKey;
    fn from_str(text: &str) -> Result<Self, InvalidBlobKey> {
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
        let segment_ok = |s: &str| !s.is_empty() && !s.starts_with('.') && s.bytes().all(plain);
        if text.len() <= MAX_KEY_BYTES && text.split('/').all(segment_ok) {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidBlobKey)
        }
    }
}

impl fmt::Display for BlobKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for BlobKey {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        String::deserialize(d)?.parse().map_err(serde::de::Error::custom)
    }
}

/// The text is not a storage key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a blob key")]
pub struct InvalidBlobKey;

/// One blob as a listing shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlobMeta {
    pub key: BlobKey,
    pub size_bytes: u64,
    /// When the store finished writing it, or earlier (S3 dates multipart objects by their start).
    pub modified: Timestamp,
}

/// An upload that was begun and neither finished nor removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StaleUpload {
    pub(crate) place: StalePlace,
    /// Bytes it occupies; `None` where the store does not tell without further requests (S3).
    pub size_bytes: Option<u64>,
    /// Last write on disk, start of the upload on S3.
    pub touched: Timestamp,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum StalePlace {
    TempFile { name: String },
    Multipart { object: String, upload_id: String },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_cannot_leave_their_store() {
        for bad in ["", "/", "/etc/passwd", "a//b", "a/", "..", "a/../b", ".hidden", "a\0b", "a b", "ä", "a\\b"] {
            assert!(bad.parse::<BlobKey>().is_err(), "{bad:?}");
        }
        assert!("a".repeat(257).parse::<BlobKey>().is_err());
        let key: BlobKey = "sha256/ab/cd-01".parse().unwrap();
        assert_eq!(key.to_string(), "sha256/ab/cd-01");
    }
}

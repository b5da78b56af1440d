//! Digests as OCI clients write them: the algorithm is part of the address.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::Digest;

/// What a client addresses content by: `sha256:<64 hex>` or `sha512:<128 hex>`.
///
/// Content pushed under one algorithm is not reachable under the other, so this, not the SHA-256
/// that names the blob in the store, is the identity in a repository.
/// Source: distribution-spec and image-spec `descriptor.md`, digests.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ContentDigest {
    Sha256(Digest),
    Sha512([u8; 64]),
}

/// Why a text is not a digest that can be served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DigestProblem {
    #[error("not a digest of the form `sha256:<64 lower-case hex digits>`")]
    Malformed,
    /// Well formed, but of another algorithm.
    #[error("the digest algorithm is not supported; use sha256 or sha512")]
    Unsupported,
}

/// Longest digest text looked at, in bytes; longer than any registered algorithm's.
pub const MAX_DIGEST_BYTES: usize = 256;

impl ContentDigest {
    pub const fn is_sha512(&self) -> bool {
        matches!(self, Self::Sha512(_))
    }
    /// `sha256` or `sha512`.
    pub const fn algorithm(&self) -> &'static str {
        match self {
            Self::Sha256(_) => "sha256",
            Self::Sha512(_) => "sha512",
        }
    }
    /// Lower-case hex digits, without the algorithm.
    pub fn hex(&self) -> String {
        match self {
            Self::Sha256(digest) => digest.hex(),
            Self::Sha512(bytes) => hex::encode(bytes),
        }
    }
}

impl From<Digest> for ContentDigest {
    fn from(digest: Digest) -> Self {
        Self::Sha256(digest)
    }
}

impl fmt::Display for ContentDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.algorithm(), self.hex())
    }
}

impl fmt::Debug for ContentDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for ContentDigest {
    type Err = DigestProblem;

    fn from_str(text: &str) -> Result<Self, DigestProblem> {
        let (algorithm, encoded) = text.split_once(':').ok_or(DigestProblem::Malformed)?;
        if text.len() > MAX_DIGEST_BYTES || !is_algorithm(algorithm) || !is_encoded(encoded) {
            return Err(DigestProblem::Malformed);
        }
        let is_lower_hex = encoded.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        let bytes = |buffer: &mut [u8]| {
            hex::decode_to_slice(encoded, buffer).ok().filter(|()| is_lower_hex).ok_or(DigestProblem::Malformed)
        };
        match algorithm {
            "sha256" => {
                let mut buffer = [0; 32];
                bytes(&mut buffer).map(|()| Self::Sha256(Digest::from_bytes(buffer)))
            }
            "sha512" => {
                let mut buffer = [0; 64];
                bytes(&mut buffer).map(|()| Self::Sha512(buffer))
            }
            _ => Err(DigestProblem::Unsupported),
        }
    }
}

/// `component ([+._-] component)*`, a component being lower-case letters and digits.
fn is_algorithm(text: &str) -> bool {
    text.split(['+', '.', '_', '-'])
        .all(|c| !c.is_empty() && c.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit()))
}

fn is_encoded(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'=' | b'_' | b'-'))
}

impl Serialize for ContentDigest {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ContentDigest {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        String::deserialize(d)?.parse().map_err(serde::de::Error::custom)
    }
}

sql_text!(ContentDigest);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn well_formed_unsupported_and_malformed_are_told_apart() {
        let good = format!("sha256:{}", "0a".repeat(32));
        assert_eq!(good.parse::<ContentDigest>().unwrap().to_string(), good);
        let long = format!("sha512:{}", "0a".repeat(64));
        assert!(long.parse::<ContentDigest>().unwrap().is_sha512());
        for text in ["sha384:00ff", "multihash+base58:QmRZxt2b1FVZPNqd8hsiykDL3TdBDeTSPX9Kv46HmX4Gx8", "md5:x"] {
            assert_eq!(text.parse::<ContentDigest>(), Err(DigestProblem::Unsupported), "{text}");
        }
        let upper = good.to_uppercase().replace("SHA256", "sha256");
        for text in
            ["", ":", "sha256", "sha256:", "sha256:abc", "SHA256:00", "sha256:!", "a..b:00", &upper, &good[..70]]
        {
            assert_eq!(text.parse::<ContentDigest>(), Err(DigestProblem::Malformed), "{text}");
        }
    }

    proptest! {
        #[test]
        fn whatever_is_accepted_is_its_own_text(text in "\\PC{0,150}|sha(256|512):[0-9a-f]{60,130}") {
            if let Ok(digest) = text.parse::<ContentDigest>() {
                prop_assert_eq!(digest.to_string(), text);
            }
        }
    }
}

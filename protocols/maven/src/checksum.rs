//! Checksum files beside every file: which there are, and what clients write into them (maven.md §5).

use md5::Md5;
use sha1::Sha1;
use sha2::{Digest, Sha256, Sha512};

/// Largest checksum file, in bytes.
pub const MAX_CHECKSUM_BYTES: u64 = 1 << 10;

/// How a file was summed up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Algorithm {
    Md5,
    Sha1,
    Sha256,
    Sha512,
}

impl Algorithm {
    pub const ALL: [Self; 4] = [Self::Md5, Self::Sha1, Self::Sha256, Self::Sha512];

    /// The ending of its files, and the word for it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Md5 => "md5",
            Self::Sha1 => "sha1",
            Self::Sha256 => "sha256",
            Self::Sha512 => "sha512",
        }
    }

    const fn hex_digits(self) -> usize {
        match self {
            Self::Md5 => 32,
            Self::Sha1 => 40,
            Self::Sha256 => 64,
            Self::Sha512 => 128,
        }
    }

    /// Takes the ending of a checksum file off a file name.
    pub fn split(name: &str) -> (&str, Option<Self>) {
        let found = Self::ALL.into_iter().find_map(|algorithm| {
            let stem = name.strip_suffix(algorithm.name())?.strip_suffix('.')?;
            (!stem.is_empty()).then_some((stem, Some(algorithm)))
        });
        found.unwrap_or((name, None))
    }

    /// The digest of bytes, as lower-case hex.
    pub fn of(self, bytes: &[u8]) -> String {
        match self {
            Self::Md5 => hex::encode(Md5::digest(bytes)),
            Self::Sha1 => hex::encode(Sha1::digest(bytes)),
            Self::Sha256 => hex::encode(Sha256::digest(bytes)),
            Self::Sha512 => hex::encode(Sha512::digest(bytes)),
        }
    }

    /// The digest inside a checksum file, as lower-case hex: `hex`, `hex  name` or `name = hex`.
    pub fn parse(self, body: &[u8]) -> Option<String> {
        let text = std::str::from_utf8(body).ok()?.trim();
        let words = match text.rsplit_once('=') {
            Some((_, after)) => after,
            None => text,
        };
        let digest = words.split_whitespace().next()?;
        let is_hex = digest.len() == self.hex_digits() && digest.bytes().all(|b| b.is_ascii_hexdigit());
        is_hex.then(|| digest.to_ascii_lowercase())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_form_in_use_is_read() {
        let hex = "da39a3ee5e6b4b0d3255bfef95601890afd80709";
        for body in [
            hex.to_owned(),
            format!(" {} \r\n", hex.to_uppercase()),
            format!("{hex}  widget-1.0.jar\n"),
            format!("{hex} *widget-1.0.jar"),
            format!("SHA1(widget-1.0.jar)= {hex}"),
            format!("widget-1.0.jar = {hex}"),
        ] {
            assert_eq!(Algorithm::Sha1.parse(body.as_bytes()).as_deref(), Some(hex), "{body}");
        }
        for body in ["", "x", "da39", "widget.jar", &format!("{hex}0"), &hex.replace('d', "g"), "\u{e9}"] {
            assert_eq!(Algorithm::Sha1.parse(body.as_bytes()), None, "{body}");
        }
        assert_eq!(Algorithm::Md5.parse(hex.as_bytes()), None);
        assert_eq!(Algorithm::Sha1.parse(&[0xff]), None);
    }

    #[test]
    fn digests_are_those_of_the_standards() {
        assert_eq!(Algorithm::Md5.of(b""), "d41d8cd98f00b204e9800998ecf8427e");
        assert_eq!(Algorithm::Sha1.of(b""), "da39a3ee5e6b4b0d3255bfef95601890afd80709");
        for algorithm in Algorithm::ALL {
            assert_eq!(algorithm.of(b"x").len(), algorithm.hex_digits());
            assert_eq!(algorithm.parse(algorithm.of(b"x").as_bytes()), Some(algorithm.of(b"x")));
        }
    }

    #[test]
    fn endings_are_told_from_names() {
        assert_eq!(Algorithm::split("a.jar.sha1"), ("a.jar", Some(Algorithm::Sha1)));
        assert_eq!(Algorithm::split("a.jar"), ("a.jar", None));
        assert_eq!(Algorithm::split(".md5"), (".md5", None));
        assert_eq!(Algorithm::split("asha1"), ("asha1", None));
    }

    proptest! {
        #[test]
        fn no_body_panics(body in prop::collection::vec(any::<u8>(), 0..200)) {
            Algorithm::ALL.into_iter().for_each(|algorithm| drop(algorithm.parse(&body)));
        }
    }
}

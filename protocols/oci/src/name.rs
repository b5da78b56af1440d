//! Repository names, tags and references (oci.md §2).

use publaryn_core::{ContentDigest, DigestProblem, PackageName, RegistryError};

use crate::error::OciError;

/// Longest repository name that may exist, in bytes.
/// Source: distribution-spec, pulling manifests: many clients limit host and name to 255 together.
pub const MAX_NAME_BYTES: usize = 255;
/// Longest name that may be pushed to: leaves room for the host.
pub const MAX_PUSHED_NAME_BYTES: usize = 200;
/// Longest tag, in bytes.
pub const MAX_TAG_BYTES: usize = 128;

/// The only door for repository names: `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(/…)*`.
pub fn parse_name(raw: &str) -> Result<PackageName, RegistryError> {
    if is_name(raw) {
        Ok(PackageName::accepted(raw, raw, raw))
    } else {
        Err(RegistryError::invalid(
            "invalid_name",
            "not a repository name: lower-case letters and digits, separated by `.`, `_`, `__`, dashes and slashes",
        ))
    }
}

fn is_name(text: &str) -> bool {
    text.len() <= MAX_NAME_BYTES && text.split('/').all(is_component)
}

fn is_component(text: &str) -> bool {
    let bytes = text.as_bytes();
    let is_word = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let (Some(first), Some(last)) = (bytes.first(), bytes.last()) else { return false };
    if !is_word(first) || !is_word(last) {
        return false;
    }
    bytes
        .split(is_word)
        .all(|separator| matches!(separator, b"" | b"." | b"_" | b"__") || separator.iter().all(|b| *b == b'-'))
}

/// A name that a request addresses.
///
/// # Errors
/// 400 `NAME_INVALID`.
pub fn addressed(raw: &str) -> Result<PackageName, OciError> {
    parse_name(raw).map_err(|error| OciError::name_invalid(error.to_string()))
}

/// Whether a name may be pushed to, beyond being one.
///
/// # Errors
/// 400 `NAME_INVALID` with a hint for people who put the mount into the name.
pub fn check_pushed(name: &PackageName) -> Result<(), OciError> {
    let text = name.canonical();
    let first = text.split('/').next().unwrap_or_default();
    if matches!(first, "oci" | "v2") && text.contains('/') {
        let rest = text.split_once('/').map_or("", |(_, rest)| rest);
        return Err(OciError::name_invalid(format!("use host/{rest}, not host/{text}")));
    }
    if matches!(first, "oci" | "v2") {
        return Err(OciError::name_invalid(format!("`{text}` is not a repository name here; use host/owner/name")));
    }
    if text.len() > MAX_PUSHED_NAME_BYTES {
        return Err(OciError::name_invalid(format!(
            "a repository name may have at most {MAX_PUSHED_NAME_BYTES} characters"
        )));
    }
    Ok(())
}

/// `[A-Za-z0-9_][A-Za-z0-9._-]{0,127}`.
pub fn is_tag(text: &str) -> bool {
    let is_word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    let bytes = text.as_bytes();
    bytes.len() <= MAX_TAG_BYTES
        && bytes.first().is_some_and(|b| is_word(*b))
        && bytes.iter().all(|b| is_word(*b) || matches!(b, b'.' | b'-'))
}

/// What a manifest is addressed by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reference {
    Tag(String),
    Digest(ContentDigest),
}

/// Why a reference leads nowhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReferenceFault {
    Tag,
    Digest(DigestProblem),
}

impl Reference {
    pub fn parse(text: &str) -> Result<Self, ReferenceFault> {
        if text.contains(':') {
            return text.parse().map(Self::Digest).map_err(ReferenceFault::Digest);
        }
        if is_tag(text) { Ok(Self::Tag(text.to_owned())) } else { Err(ReferenceFault::Tag) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_of_the_specification() {
        for good in ["a", "acme/app", "a.b_c__d-e---f/g0", "a/b/c/d/e/f", "0", "a/tags/list", &"a".repeat(255)] {
            assert!(parse_name(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "/",
            "a/",
            "/a",
            "a//b",
            "A",
            "a..b",
            "a___b",
            "a._b",
            "-a",
            "a-",
            ".a",
            "a_",
            "ä",
            "a b",
            "a:b",
            "a@b",
            &"a".repeat(256),
        ] {
            assert!(parse_name(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_mount_is_not_part_of_a_name() {
        for (name, is_good) in
            [("acme/app", true), ("oci/acme/app", false), ("v2/acme", false), ("oci", false), ("ocity/x", true)]
        {
            assert_eq!(check_pushed(&parse_name(name).unwrap()).is_ok(), is_good, "{name}");
        }
        let long = parse_name(&"a".repeat(201)).unwrap();
        assert!(check_pushed(&long).is_err());
    }

    #[test]
    fn tags_of_the_specification() {
        for good in ["latest", "_x", "1.0", "V1-rc.1", &"a".repeat(128)] {
            assert!(is_tag(good), "{good}");
        }
        for bad in ["", ".INVALID_MANIFEST_NAME", "-a", "a b", "a/b", "ä", &"a".repeat(129)] {
            assert!(!is_tag(bad), "{bad}");
        }
    }

    proptest! {
        /// The hand-written check and the specification's expression, read by a naive matcher, agree.
        #[test]
        fn components_are_words_between_separators(text in "[a-z0-9._-]{0,12}") {
            fn naive(text: &str) -> bool {
                let words: Vec<&str> = text.split(['.', '_', '-']).collect();
                let is_edge_word = |word: Option<&&str>| word.is_some_and(|w| !w.is_empty());
                if !is_edge_word(words.first()) || !is_edge_word(words.last()) {
                    return false;
                }
                let mut rest = text;
                loop {
                    rest = rest.trim_start_matches(|c: char| c.is_ascii_alphanumeric());
                    if rest.is_empty() {
                        return true;
                    }
                    let end = rest.find(|c: char| c.is_ascii_alphanumeric()).unwrap_or(rest.len());
                    let separator = &rest[..end];
                    if !(["." , "_", "__"].contains(&separator) || separator.chars().all(|c| c == '-')) {
                        return false;
                    }
                    rest = &rest[end..];
                }
            }
            prop_assert_eq!(is_component(&text), naive(&text));
        }

        #[test]
        fn any_text_is_a_reference_or_is_not(text in "\\PC{0,140}") {
            if let Ok(Reference::Tag(tag)) = Reference::parse(&text) {
                prop_assert!(is_tag(&tag) && !tag.contains(':'));
            }
            let _ = parse_name(&text);
        }
    }
}

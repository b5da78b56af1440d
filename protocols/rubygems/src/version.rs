//! Versions as `Gem::Version` reads them, joined with the platform a gem was built for.
//!
//! A release is one gem file: `1.2.0` for any Ruby, `1.2.0-x86_64-linux` for one platform (ADR 0023). A version
//! number never holds a `-` once RubyGems wrote it (`1.0-rc` becomes `1.0.pre.rc`), so the first `-` of such a
//! text is where the platform begins.
//!
//! Source: `lib/rubygems/version.rb` of ruby/rubygems.

use publaryn_core::{
    Version,
    version::{MAX_VERSION_CHARS, SharedNumber},
};

/// The platform of gems that run anywhere.
pub const RUBY: &str = "ruby";

/// Parses `1.2.0` or `1.2.0-x86_64-linux`.
pub fn parse_version(text: &str) -> Option<Version> {
    let (number, platform) = text.split_once('-').unwrap_or((text, RUBY));
    version_of(number, platform)
}

/// The release of that number and platform.
pub fn version_of(number: &str, platform: &str) -> Option<Version> {
    let number = normalize(number)?;
    if !is_platform(platform) {
        return None;
    }
    let text = full(&number, platform);
    if text.len() > MAX_VERSION_CHARS {
        return None;
    }
    let segments = canonical_segments(&number);
    let mut sort_key = sort_key(&segments);
    if platform != RUBY {
        sort_key.push(1);
        sort_key.extend_from_slice(platform.as_bytes());
    }
    let unique: Vec<String> = segments.iter().map(|segment| segment.to_string()).collect();
    let unique = if unique.is_empty() { "0".to_owned() } else { unique.join(".") };
    let version = Version::accepted(&text, &full(&unique, platform), sort_key, is_prerelease(&number));
    Some(version.sharing(SharedNumber { text: number.into(), unique: unique.into() }))
}

/// `number` or `number-platform`, as it stands in file names and in the compact index.
pub fn full(number: &str, platform: &str) -> String {
    if platform == RUBY { number.to_owned() } else { format!("{number}-{platform}") }
}

/// Number and platform of a stored version.
pub fn split(text: &str) -> (&str, &str) {
    text.split_once('-').unwrap_or((text, RUBY))
}

/// The form in which RubyGems writes a version number; `None` when it is none.
pub fn normalize(text: &str) -> Option<String> {
    let text = text.trim();
    if text.len() > MAX_VERSION_CHARS {
        return None;
    }
    let (release, pre) = match text.split_once('-') {
        Some((release, pre)) => (release, Some(pre)),
        None => (text, None),
    };
    let mut segments = release.split('.');
    let is_number = |segment: &str| !segment.is_empty() && segment.bytes().all(|b| b.is_ascii_digit());
    let is_word = |segment: &str| !segment.is_empty() && segment.bytes().all(|b| b.is_ascii_alphanumeric());
    if !segments.next().is_some_and(is_number) || !segments.all(is_word) {
        return None;
    }
    let is_dashed = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    match pre {
        None => Some(text.to_owned()),
        Some(pre) if pre.split('.').all(is_dashed) => {
            // `1.0--a` would leave an empty segment behind.
            let normalized = text.replace('-', ".pre.");
            normalized.split('.').all(is_word).then_some(normalized)
        }
        Some(_) => None,
    }
}

pub fn is_prerelease(number: &str) -> bool {
    number.bytes().any(|b| b.is_ascii_alphabetic())
}

/// Whether a text can be a platform. It never begins with a digit, so that a full name is read in one way only.
pub fn is_platform(platform: &str) -> bool {
    platform.len() <= 64
        && platform.bytes().next().is_some_and(|b| b.is_ascii_alphabetic())
        && platform.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
}

/// A run of digits or of letters.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Segment {
    /// Digits without leading zeros; empty for zero.
    Number(String),
    Word(String),
}

impl Segment {
    fn is_zero(&self) -> bool {
        matches!(self, Self::Number(digits) if digits.is_empty())
    }
}

impl std::fmt::Display for Segment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Number(digits) if digits.is_empty() => f.write_str("0"),
            Self::Number(text) | Self::Word(text) => f.write_str(text),
        }
    }
}

/// Segments without what does not count: zeros before the first word, and at the end.
fn canonical_segments(number: &str) -> Vec<Segment> {
    let mut segments = Vec::new();
    let mut rest = number;
    while let Some(first) = rest.bytes().next() {
        let same = |b: u8| b.is_ascii_digit() == first.is_ascii_digit() && b.is_ascii_alphanumeric();
        let length = rest.bytes().take_while(|b| same(*b)).count();
        if length == 0 {
            rest = &rest[1..];
            continue;
        }
        let (run, after) = rest.split_at(length);
        segments.push(match first.is_ascii_digit() {
            true => Segment::Number(run.trim_start_matches('0').to_owned()),
            false => Segment::Word(run.to_owned()),
        });
        rest = after;
    }
    let word = segments.iter().position(|segment| matches!(segment, Segment::Word(_))).unwrap_or(segments.len());
    let trimmed = |part: &[Segment]| part.iter().rposition(|s| !s.is_zero()).map_or(0, |last| last + 1);
    let (numbers, words) = segments.split_at(word);
    [&numbers[..trimmed(numbers)], &words[..trimmed(words)]].concat()
}

/// Bytes whose `memcmp` order is that of `Gem::Version`.
///
/// A missing segment counts as zero and words come before numbers, so what a zero means depends on what follows
/// it: zeros and then a word (2) sort before the end (3), zeros and then a number (4) after it. A word is 1, its
/// bytes and a 0; a number above zero is 5, its digits' count and its digits.
fn sort_key(segments: &[Segment]) -> Vec<u8> {
    let mut key = Vec::with_capacity(16);
    for (at, segment) in segments.iter().enumerate() {
        match segment {
            Segment::Word(word) => {
                key.push(1);
                key.extend_from_slice(word.as_bytes());
                key.push(0);
            }
            Segment::Number(digits) if digits.is_empty() => {
                let next = segments[at..].iter().find(|segment| !segment.is_zero());
                key.push(if matches!(next, Some(Segment::Word(_))) { 2 } else { 4 });
            }
            Segment::Number(digits) => {
                key.push(5);
                // At most 128 characters are ever accepted.
                key.push(digits.len() as u8);
                key.extend_from_slice(digits.as_bytes());
            }
        }
    }
    key.push(3);
    key
}

#[cfg(test)]
mod tests {
    use std::cmp::Ordering;

    use proptest::prelude::*;

    use super::*;

    fn version(text: &str) -> Version {
        parse_version(text).unwrap_or_else(|| panic!("{text}"))
    }

    /// `Gem::Version#<=>`, as its source has it.
    fn compare(a: &str, b: &str) -> Ordering {
        let (a, b) = (canonical_segments(a), canonical_segments(b));
        let zero = Segment::Number(String::new());
        for at in 0..a.len().max(b.len()) {
            let (x, y) = (a.get(at).unwrap_or(&zero), b.get(at).unwrap_or(&zero));
            let order = match (x, y) {
                (Segment::Word(x), Segment::Word(y)) => x.cmp(y),
                (Segment::Word(_), _) => Ordering::Less,
                (_, Segment::Word(_)) => Ordering::Greater,
                (Segment::Number(x), Segment::Number(y)) => (x.len(), x).cmp(&(y.len(), y)),
            };
            if order != Ordering::Equal {
                return order;
            }
        }
        Ordering::Equal
    }

    #[test]
    fn order_is_that_of_rubygems() {
        let rising = [
            "0",
            "0.0.1",
            "0.9",
            "1.0.a",
            "1.0.a.2",
            "1.0.b1",
            "1.0.pre.1",
            "1.0.rc1",
            "1",
            "1.0.1",
            "1.9",
            "1.10",
            "1.10.0-java",
            "1.10.0-x86_64-linux",
            "2.a",
            "2.0",
        ];
        for pair in rising.windows(2) {
            assert!(version(pair[0]).sort_key() < version(pair[1]).sort_key(), "{} < {}", pair[0], pair[1]);
        }
    }

    #[test]
    fn equal_numbers_are_one_release_per_platform() {
        for (a, b) in [("1.0", "1.0.0"), ("1", "1.0"), ("1.a1", "1.0.a.1"), ("01.2", "1.2"), ("0", "0.0")] {
            assert_eq!(version(a).unique_key(), version(b).unique_key(), "{a} {b}");
        }
        assert_ne!(version("1.0").unique_key(), version("1.0-java").unique_key());
        assert_eq!(version("1.0.0-java").unique_key(), "1-java");
        assert_eq!(normalize("1.0-rc.1").as_deref(), Some("1.0.pre.rc.1"));
        assert!(version("1.0.rc1").is_prerelease() && !version("1.0-java").is_prerelease());
    }

    #[test]
    fn what_is_no_version_is_refused() {
        for bad in ["", "v1", "a", "1..0", "1.", "1.0 0", "1/2", "1.0-", "1.0-8", "1.0-a b", "1_0", "1\n0"] {
            assert!(parse_version(bad).is_none(), "{bad}");
        }
        assert!(normalize("1.0--a").is_none() && normalize("1.0-").is_none());
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 3000, ..ProptestConfig::default() })]

        #[test]
        fn key_order_equals_that_of_gem_version(
            a in "[0-2](\\.(0|0|[0-9]{1,2}|[ab]{1,2}[0-9]?)){0,5}",
            b in "[0-2](\\.(0|0|[0-9]{1,2}|[ab]{1,2}[0-9]?)){0,5}",
        ) {
            let order = compare(&a, &b);
            prop_assert_eq!(version(&a).sort_key().cmp(version(&b).sort_key()), order, "{} {}", a, b);
            prop_assert_eq!(version(&a).unique_key() == version(&b).unique_key(), order == Ordering::Equal);
        }

        #[test]
        fn no_text_panics(text in "\\PC{0,40}") {
            parse_version(&text);
        }
    }
}

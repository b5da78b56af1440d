//! Versions of PEP 440: parsed by `pep440_rs`, with keys that both databases can compare.
//!
//! Source: <https://packaging.python.org/en/latest/specifications/version-specifiers/>

use pep440_rs::{LocalSegment, PrereleaseKind, Version as Pep440};
use publaryn_core::{Version, version::MAX_VERSION_CHARS};

/// Parses a version; its text becomes the normalised one (`v1.0-RC.1` is `1.0rc1`).
pub fn parse_version(raw: &str) -> Option<Version> {
    let parsed = parse(raw)?;
    let text = parsed.to_string();
    let unique = without_trailing_zeros(&parsed).to_string();
    Some(Version::accepted(&text, &unique, sort_key(&parsed), parsed.any_prerelease()))
}

/// The same for comparisons.
pub fn parse(raw: &str) -> Option<Pep440> {
    if raw.len() > MAX_VERSION_CHARS {
        return None;
    }
    raw.parse().ok()
}

/// `1.0` and `1.0.0` are one version; this is what they have in common.
fn without_trailing_zeros(version: &Pep440) -> Pep440 {
    let mut release = version.release().to_vec();
    while release.len() > 1 && release.last() == Some(&0) {
        release.pop();
    }
    version.clone().with_release(release)
}

/// Bytes whose `memcmp` order is that of PEP 440.
///
/// A number is its length in bytes and then its bytes, big-endian and without leading zeros. Release segments
/// (without trailing zeros) are numbers after a `1`, closed by a `0`. Then come, each so that an absent part falls
/// where PEP 440 puts it: the pre-release, the post-release, the development release, the local segments.
fn sort_key(version: &Pep440) -> Vec<u8> {
    let mut key = Vec::with_capacity(24);
    push_number(&mut key, version.epoch());
    let release = version.release();
    let significant = release.iter().rposition(|n| *n != 0).map_or(0, |last| last + 1);
    for number in &release[..significant] {
        key.push(1);
        push_number(&mut key, *number);
    }
    key.push(0);
    match (version.pre(), version.post(), version.dev()) {
        // `1.0.dev1` comes before `1.0a1`.
        (None, None, Some(_)) => key.push(0),
        (None, _, _) => key.push(4),
        (Some(pre), _, _) => {
            key.push(match pre.kind {
                PrereleaseKind::Alpha => 1,
                PrereleaseKind::Beta => 2,
                PrereleaseKind::Rc => 3,
            });
            push_number(&mut key, pre.number);
        }
    }
    match version.post() {
        None => key.push(0),
        Some(number) => {
            key.push(1);
            push_number(&mut key, number);
        }
    }
    match version.dev() {
        Some(number) => {
            key.push(0);
            push_number(&mut key, number);
        }
        None => key.push(1),
    }
    for segment in version.local() {
        match segment {
            LocalSegment::String(text) => {
                key.push(1);
                key.extend_from_slice(text.as_bytes());
                key.push(0);
            }
            LocalSegment::Number(number) => {
                key.push(2);
                push_number(&mut key, *number);
            }
        }
    }
    key.push(0);
    key
}

fn push_number(key: &mut Vec<u8>, number: u64) {
    let bytes = number.to_be_bytes();
    let significant = &bytes[number.leading_zeros() as usize / 8..];
    key.push(significant.len() as u8);
    key.extend_from_slice(significant);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key(text: &str) -> Vec<u8> {
        sort_key(&parse(text).unwrap())
    }

    #[test]
    fn order_is_that_of_pep_440() {
        let rising = [
            "0",
            "0.0.1",
            "1.dev0",
            "1.0.dev456",
            "1.0a1",
            "1.0a2.dev456",
            "1.0a12.dev456",
            "1.0a12",
            "1.0b1.dev456",
            "1.0b2",
            "1.0b2.post345.dev456",
            "1.0b2.post345",
            "1.0rc1.dev456",
            "1.0rc1",
            "1.0",
            "1.0+abc.5",
            "1.0+abc.7",
            "1.0+5",
            "1.0.post456.dev34",
            "1.0.post456",
            "1.0.1",
            "1.1.dev1",
            "1.9",
            "1.10",
            "1.256",
            "1.65536",
            "2",
            "1!0.1",
            "300!0",
        ];
        for pair in rising.windows(2) {
            assert!(key(pair[0]) < key(pair[1]), "{} < {}", pair[0], pair[1]);
        }
    }

    #[test]
    fn spellings_of_one_version_are_one_release() {
        for (a, b) in [
            ("1.0", "1.0.0"),
            ("1.0", "v1.0"),
            ("1", "1.0.0.0"),
            ("1.0RC1", "1.0-c.1"),
            ("1.0-1", "1.0.post1"),
            ("0", "0.0"),
            ("1.0+Ubuntu-1", "1.0+ubuntu.1"),
            ("01.2", "1.2"),
            ("0!1.0", "1.0"),
        ] {
            let (x, y) = (parse_version(a).unwrap(), parse_version(b).unwrap());
            assert_eq!((x.unique_key(), x.sort_key()), (y.unique_key(), y.sort_key()), "{a} {b}");
        }
        assert_eq!(parse_version("V1.0-RC.1").unwrap().as_str(), "1.0rc1");
        assert_ne!(parse_version("1.0+a").unwrap().unique_key(), parse_version("1.0").unwrap().unique_key());
    }

    #[test]
    fn what_is_no_version_is_refused() {
        for bad in ["", "latest", "1.0-x", "1.0 0", "1..0", "1.0+", "../1", "1.0/2", &format!("1.{}", "0".repeat(200))]
        {
            assert!(parse_version(bad).is_none(), "{bad}");
        }
        let flags = ["1.0", "1.0.post1", "1.0a1", "1.0.dev1"].map(|v| parse_version(v).unwrap().is_prerelease());
        assert_eq!(flags, [false, false, true, true]);
    }

    fn versions() -> impl Strategy<Value = String> {
        "([0-2]!)?[0-3](\\.[0-9]{1,3}){0,3}((a|b|rc)[0-9]{1,2})?(\\.post[0-9]{1,2})?(\\.dev[0-9]{1,2})?(\\+[0-9a-c]{1,3}(\\.[0-9a-c]{1,2}){0,2})?"
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

        #[test]
        fn key_order_equals_that_of_the_library(a in versions(), b in versions()) {
            let (x, y) = (parse(&a).unwrap(), parse(&b).unwrap());
            prop_assert_eq!(sort_key(&x).cmp(&sort_key(&y)), x.cmp(&y), "{} {}", a, b);
        }

        #[test]
        fn normalising_is_idempotent(text in versions()) {
            let once = parse_version(&text).unwrap();
            let twice = parse_version(once.as_str()).unwrap();
            prop_assert_eq!(once, twice);
        }

        #[test]
        fn no_text_panics(text in "\\PC{0,60}") {
            parse_version(&text);
        }
    }
}

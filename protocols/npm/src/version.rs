//! Versions and dist-tags: one strict reading for what is published, npm's own for what is compared.

use nodejs_semver::Range;
use publaryn_core::Version;

/// Longest dist-tag, in characters; as long as a name, since clients put both into URLs.
pub const MAX_TAG_CHARS: usize = 214;

/// A version as it may be published: SemVer 2.0.0 without a leading `v` or `=` (npm.md §4).
pub fn parse_version(text: &str) -> Option<Version> {
    Version::semver(text)
}

/// What `semver.clean` of the npm client makes of a version text; `None` when it is none.
pub fn clean(text: &str) -> Option<String> {
    let trimmed = text.trim();
    let bare = trimmed.trim_start_matches(|c: char| c == '=' || c == 'v' || c.is_whitespace());
    // The client drops build metadata here as well.
    let bare = bare.split('+').next().unwrap_or(bare);
    Version::semver(bare).map(|v| v.as_str().to_owned())
}

/// Why a dist-tag may not be set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TagError {
    #[error("tag name must not be a valid SemVer range")]
    IsRange,
    #[error("tag name must be 1 to {MAX_TAG_CHARS} URL-safe characters")]
    Shape,
}

/// Whether `tag` can name a release without being taken for a version range by clients.
pub fn check_tag(tag: &str) -> Result<(), TagError> {
    // What `encodeURIComponent` leaves alone.
    let is_safe = |b: u8| b.is_ascii_alphanumeric() || b"-_.!~*'()".contains(&b);
    if tag.is_empty() || tag.len() > MAX_TAG_CHARS || !tag.bytes().all(is_safe) || matches!(tag, "." | "..") {
        return Err(TagError::Shape);
    }
    if is_range(tag) { Err(TagError::IsRange) } else { Ok(()) }
}

/// Whether the npm client would read the text as a version range.
fn is_range(text: &str) -> bool {
    // The crate refuses some spellings that node-semver takes, such as a bare `x`.
    let wild = text.trim_start_matches(['v', '=', '~', '^', '>', '<', ' ']);
    matches!(wild, "" | "x" | "X" | "*") || Range::parse(text).is_ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn whatever_is_published_is_clean_and_cleaning_settles(
            text in prop_oneof!["\\PC{0,20}", "[v= ]{0,2}[0-9]{1,3}\\.[0-9]{1,2}\\.[0-9]{1,2}(-[a-z0-9.-]{0,6})?(\\+[a-z0-9.]{0,4})? ?"],
        ) {
            let cleaned = clean(&text);
            if let Some(once) = &cleaned {
                prop_assert_eq!(clean(once), Some(once.clone()));
            }
            if let Some(version) = parse_version(&text) {
                prop_assert_eq!(version.as_str(), &text);
                prop_assert_eq!(cleaned.as_deref(), text.split('+').next());
            }
        }

        #[test]
        fn no_tag_reads_as_a_range_or_breaks_a_url(tag in prop_oneof!["\\PC{0,12}", "[a-z0-9x.*~^<>=v|& -]{0,8}"]) {
            if check_tag(&tag).is_ok() {
                prop_assert!(Range::parse(&tag).is_err() && parse_version(&tag).is_none());
                let path = format!("/-/package/p/dist-tags/{tag}");
                prop_assert_eq!(crate::route::Route::parse(&path), crate::route::Route::DistTag { name: "p".into(), tag });
            }
        }
    }

    #[test]
    fn only_strict_semver_is_published() {
        for good in ["1.0.0", "0.0.0-0", "1.2.3-rc.1+build.5", "10.20.30"] {
            assert!(parse_version(good).is_some(), "{good}");
        }
        for bad in [
            "v1.0.0",
            "=1.0.0",
            "1.0",
            "1.0.0 ",
            "01.0.0",
            "1.0.0-01",
            "latest",
            "",
            &format!("1.0.0-{}", "a".repeat(300)),
        ] {
            assert!(parse_version(bad).is_none(), "{bad}");
        }
        assert_eq!(parse_version("1.0.0+a").unwrap().unique_key(), parse_version("1.0.0+b").unwrap().unique_key());
    }

    #[test]
    fn cleaning_is_that_of_the_client() {
        for (text, clean_text) in [
            ("1.0.0", Some("1.0.0")),
            (" =v1.0.0 ", Some("1.0.0")),
            ("v1.2.3-a+b", Some("1.2.3-a")),
            ("1.0", None),
            ("x", None),
        ] {
            assert_eq!(clean(text).as_deref(), clean_text, "{text}");
        }
    }

    #[test]
    fn tags_are_words_and_never_ranges() {
        for good in ["latest", "beta", "next-11", "canary_1", "v-next", "rc.x", "alpha.1"] {
            assert_eq!(check_tag(good), Ok(()), "{good}");
        }
        for range in ["1", "1.0", "1.0.0", "v1", "v1.4", "x", "X", "*", "1.x", "~1", "1.0.0-beta"] {
            assert!(check_tag(range).is_err(), "{range}");
        }
        for shape in ["", "a b", "a/b", "é", "a%20b", "..", ">=1", &"t".repeat(215)] {
            assert!(check_tag(shape).is_err(), "{shape}");
        }
    }
}

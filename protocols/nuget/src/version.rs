//! Versions: SemVer 2 with up to four numbers (nuget.md §6).
//!
//! Source: `NuGetVersion` and `VersionComparer` of NuGet/NuGet.Client.

use std::fmt;

use publaryn_core::Version;

/// Longest version, in characters.
pub const MAX_VERSION_CHARS: usize = 64;

/// A version taken apart. Its `Display` is the normal form with label and metadata as written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parts {
    numbers: [u32; 4],
    labels: Vec<String>,
    metadata: Option<String>,
}

impl Parts {
    /// Reads `1`, `1.0`, `01.2.3.4-Beta.1+abc`.
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() > MAX_VERSION_CHARS || !text.is_ascii() {
            return None;
        }
        let (text, metadata) = match text.split_once('+') {
            Some((text, metadata)) => (text, Some(metadata)),
            None => (text, None),
        };
        let (core, label) = match text.split_once('-') {
            Some((core, label)) => (core, Some(label)),
            None => (text, None),
        };
        let mut numbers = [0; 4];
        for (at, part) in core.split('.').enumerate() {
            let is_number = !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
            let number = part.parse::<u32>().ok().filter(|n| is_number && *n <= i32::MAX.unsigned_abs())?;
            *numbers.get_mut(at)? = number;
        }
        let labels: Vec<String> = label.map(|label| label.split('.').map(str::to_owned).collect()).unwrap_or_default();
        let has_leading_zero = |label: &str| label.len() > 1 && label.starts_with('0') && is_numeric(label);
        if labels.iter().any(|label| !is_identifier(label) || has_leading_zero(label)) {
            return None;
        }
        if metadata.is_some_and(|metadata| !metadata.split('.').all(is_identifier)) {
            return None;
        }
        Some(Self { numbers, labels, metadata: metadata.map(str::to_owned) })
    }

    pub fn is_prerelease(&self) -> bool {
        !self.labels.is_empty()
    }

    /// Whether clients from before SemVer 2 cannot read it: to them a label is one word that begins with a letter.
    pub fn is_semver2(&self) -> bool {
        let is_word = |label: &String| label.starts_with(|c: char| c.is_ascii_alphabetic());
        self.labels.len() > 1 || self.metadata.is_some() || !self.labels.iter().all(is_word)
    }

    /// Without build metadata: what clients show and what the registry tells apart, but for case.
    pub fn normalized(&self) -> String {
        let [major, minor, patch, revision] = self.numbers;
        let mut text = format!("{major}.{minor}.{patch}");
        if revision != 0 {
            text.push_str(&format!(".{revision}"));
        }
        if !self.labels.is_empty() {
            text.push('-');
            text.push_str(&self.labels.join("."));
        }
        text
    }

    /// Bytes whose `memcmp` order is NuGet's: four big-endian u32, then `0xff` for a release or, per label,
    /// `0x01` + number of digits + digits (numeric) or `0x02` + lower-case text + `0x00`, closed by `0x00`.
    pub fn sort_key(&self) -> Vec<u8> {
        let mut key = Vec::with_capacity(24);
        for number in self.numbers {
            key.extend_from_slice(&number.to_be_bytes());
        }
        if self.labels.is_empty() {
            key.push(0xff);
            return key;
        }
        for label in &self.labels {
            if is_numeric(label) {
                // At most 64 characters are ever accepted.
                key.extend_from_slice(&[1, label.len() as u8]);
                key.extend_from_slice(label.as_bytes());
            } else {
                key.push(2);
                key.extend_from_slice(label.to_ascii_lowercase().as_bytes());
                key.push(0);
            }
        }
        key.push(0);
        key
    }
}

impl fmt::Display for Parts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.normalized())?;
        match &self.metadata {
            Some(metadata) => write!(f, "+{metadata}"),
            None => Ok(()),
        }
    }
}

fn is_identifier(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

fn is_numeric(label: &str) -> bool {
    label.bytes().all(|b| b.is_ascii_digit())
}

/// Parses a version. Its text keeps case and build metadata; its unique key is the form in addresses.
pub fn parse_version(text: &str) -> Option<Version> {
    let parts = Parts::parse(text)?;
    let unique = parts.normalized().to_ascii_lowercase();
    Some(Version::accepted(&parts.to_string(), &unique, parts.sort_key(), parts.is_prerelease()))
}

/// A stored version without its build metadata.
pub fn without_metadata(text: &str) -> &str {
    text.split('+').next().unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn versions_are_normalized() {
        for (text, normal, unique) in [
            ("1", "1.0.0", "1.0.0"),
            ("1.0", "1.0.0", "1.0.0"),
            ("1.0.0.0", "1.0.0", "1.0.0"),
            ("01.02.03.04", "1.2.3.4", "1.2.3.4"),
            ("1.0.0-RC+a.B", "1.0.0-RC+a.B", "1.0.0-rc"),
            ("2.0.0-Beta.1", "2.0.0-Beta.1", "2.0.0-beta.1"),
            ("1.0-0a", "1.0.0-0a", "1.0.0-0a"),
            ("2147483647.0.0", "2147483647.0.0", "2147483647.0.0"),
        ] {
            let version = parse_version(text).unwrap();
            assert_eq!((version.as_str(), version.unique_key()), (normal, unique), "{text}");
            // The normal form is one.
            assert_eq!(parse_version(normal).unwrap(), version);
        }
        for bad in [
            "",
            "a",
            "1.",
            ".1",
            "1..2",
            "1.2.3.4.5",
            "2147483648.0",
            "1.0-",
            "1.0-a..b",
            "1.0-01",
            "1.0+",
            "1.0+a..b",
            "1.0-ä",
            "-1.0",
            "+1",
            " 1",
            "1.0 ",
            "1.0-a_b",
            &format!("1.0-{}", "a".repeat(61)),
        ] {
            assert!(parse_version(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn semver2_is_told_by_the_label_and_by_metadata() {
        let is = |text: &str| Parts::parse(text).unwrap().is_semver2();
        assert!(!is("1.0.0") && !is("1.0.0-beta1") && !is("1.0.0.1"));
        assert!(is("1.0.0-beta.1") && is("1.0.0+x"));
        assert!(is("1.0.0-1") && is("1.0.0-0a") && is("1.0.0--a"));
    }

    #[test]
    fn order_is_nugets() {
        let rising = [
            "0.9.9.9",
            "1.0.0-1",
            "1.0.0-2",
            "1.0.0-10",
            "1.0.0-alpha",
            "1.0.0-Alpha.1",
            "1.0.0-alpha.beta",
            "1.0.0-BETA",
            "1.0.0-beta.2",
            "1.0.0-beta.11",
            "1.0.0",
            "1.0.0.1-a",
            "1.0.0.1",
            "1.0.1",
            "1.10.0",
        ];
        let keys: Vec<Vec<u8>> = rising.iter().map(|text| Parts::parse(text).unwrap().sort_key()).collect();
        assert!(keys.is_sorted_by(|a, b| a < b));
    }

    fn semver() -> impl Strategy<Value = String> {
        let label = prop_oneof!["0|[1-9][0-9]{0,11}", "[a-b0-1-]{0,3}[a-b-][a-b0-1-]{0,2}"];
        let labels = proptest::collection::vec(label, 0..4);
        (0..3u32, 0..3u32, 0..12u32, labels).prop_map(|(a, b, c, labels)| {
            let label = if labels.is_empty() { String::new() } else { format!("-{}", labels.join(".")) };
            format!("{a}.{b}.{c}{label}")
        })
    }

    proptest! {
        #[test]
        fn byte_order_is_that_of_semver(a in semver(), b in semver()) {
            let wanted = semver::Version::parse(&a).unwrap().cmp(&semver::Version::parse(&b).unwrap());
            let (a, b) = (parse_version(&a).unwrap(), parse_version(&b.to_ascii_uppercase()).unwrap());
            prop_assert_eq!(a.sort_key().cmp(b.sort_key()), wanted);
            prop_assert_eq!(a.unique_key() == b.unique_key(), wanted.is_eq());
        }

        #[test]
        fn equal_keys_are_equal_versions(a in "[0-2](\\.[0-2]){0,3}(-[aA1](\\.[aA1])?)?", b in "[0-2](\\.[0-2]){0,3}(-[aA1](\\.[aA1])?)?") {
            let (a, b) = (parse_version(&a).unwrap(), parse_version(&b).unwrap());
            prop_assert_eq!(a.sort_key() == b.sort_key(), a.unique_key() == b.unique_key());
        }

        #[test]
        fn no_text_panics(text in "[0-9a-z.+-]{0,70}") {
            parse_version(&text);
        }
    }
}

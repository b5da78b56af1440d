//! Versions with an ecosystem-aware order that both database engines can sort by.

use std::fmt;

use smol_str::SmolStr;

/// Longest version text, in characters (access.md §7).
pub const MAX_VERSION_CHARS: usize = 128;

/// A version that its ecosystem's adapter accepted.
///
/// `unique` decides whether a version number is taken (npm and Cargo ignore build metadata);
/// `sort_key` has `memcmp` order, so `ORDER BY` works the same in SQLite and PostgreSQL.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Version {
    text: SmolStr,
    unique: SmolStr,
    sort_key: Vec<u8>,
    is_prerelease: bool,
    number: Option<SharedNumber>,
}

/// The number of a version that says beside it what it was built for (`1.0` of `1.0-java`). Its version is the number
/// alone, or the number, a `-` and a platform, in the text and in the unique key alike.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SharedNumber {
    pub text: SmolStr,
    /// Equal for numbers that resolvers take for the same one.
    pub unique: SmolStr,
}

impl Version {
    /// For adapters: all four facts as the ecosystem sees them.
    pub fn accepted(text: &str, unique: &str, sort_key: Vec<u8>, is_prerelease: bool) -> Self {
        Self { text: text.into(), unique: unique.into(), sort_key, is_prerelease, number: None }
    }
    /// For ecosystems in which releases for several platforms share a number: all of a package must spell it alike.
    pub fn sharing(self, number: SharedNumber) -> Self {
        Self { number: Some(number), ..self }
    }

    /// A SemVer 2.0.0 version; `None` when `text` is not one, strictly read.
    pub fn semver(text: &str) -> Option<Self> {
        if text.len() > MAX_VERSION_CHARS {
            return None;
        }
        let parsed = semver::Version::parse(text).ok()?;
        let unique = text.split('+').next().unwrap_or(text);
        Some(Self::accepted(text, unique, semver_sort_key(&parsed), !parsed.pre.is_empty()))
    }

    pub fn as_str(&self) -> &str {
        &self.text
    }
    /// The identity under which the version number is taken for good.
    pub fn unique_key(&self) -> &str {
        &self.unique
    }
    pub fn shared_number(&self) -> Option<&SharedNumber> {
        self.number.as_ref()
    }
    pub fn sort_key(&self) -> &[u8] {
        &self.sort_key
    }
    pub fn is_prerelease(&self) -> bool {
        self.is_prerelease
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Bytes whose `memcmp` order is SemVer precedence (semver.org §11; build metadata ignored).
///
/// Layout: three big-endian u64, then `0xff` for a release or, per pre-release identifier,
/// `0x01` + big-endian u64 (numeric) or `0x02` + text + `0x00` (alphanumeric), closed by `0x00`.
pub fn semver_sort_key(version: &semver::Version) -> Vec<u8> {
    let mut key = Vec::with_capacity(32);
    for part in [version.major, version.minor, version.patch] {
        key.extend_from_slice(&part.to_be_bytes());
    }
    if version.pre.is_empty() {
        key.push(0xff);
        return key;
    }
    for identifier in version.pre.split('.') {
        match identifier.parse::<u64>() {
            Ok(number) if identifier.bytes().all(|b| b.is_ascii_digit()) => {
                key.push(1);
                key.extend_from_slice(&number.to_be_bytes());
            }
            _ if identifier.bytes().all(|b| b.is_ascii_digit()) => {
                // Longer than a u64: still numeric, so it sorts by length, then digits.
                key.push(1);
                key.extend_from_slice(&u64::MAX.to_be_bytes());
                key.push(u8::try_from(identifier.len()).unwrap_or(u8::MAX));
                key.extend_from_slice(identifier.as_bytes());
            }
            _ => {
                key.push(2);
                key.extend_from_slice(identifier.as_bytes());
                key.push(0);
            }
        }
    }
    key.push(0);
    key
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key(text: &str) -> Vec<u8> {
        Version::semver(text).unwrap().sort_key
    }

    #[test]
    fn order_is_that_of_semver_section_11() {
        let rising = [
            "0.9.9",
            "1.0.0-1",
            "1.0.0-2",
            "1.0.0-10",
            "1.0.0-alpha",
            "1.0.0-alpha.1",
            "1.0.0-alpha.beta",
            "1.0.0-beta",
            "1.0.0-beta.2",
            "1.0.0-beta.11",
            "1.0.0-rc.1",
            "1.0.0",
            "1.0.1",
            "1.10.0",
            "2.0.0",
        ];
        for pair in rising.windows(2) {
            assert!(key(pair[0]) < key(pair[1]), "{} < {}", pair[0], pair[1]);
        }
        assert_eq!(key("1.0.0+a"), key("1.0.0+b"));
    }

    #[test]
    fn loose_versions_are_refused() {
        for bad in ["v1.0.0", "=1.0.0", "1.0", "1", "01.0.0", "1.0.0-01", "1.0.0-", " 1.0.0", "1.0.0 ", ""] {
            assert!(Version::semver(bad).is_none(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn key_order_equals_semver_precedence(
            a in "[0-3]\\.[0-3]\\.[0-3](-[0-9a-z]{1,3}(\\.[0-9a-z]{1,3}){0,2})?",
            b in "[0-3]\\.[0-3]\\.[0-3](-[0-9a-z]{1,3}(\\.[0-9a-z]{1,3}){0,2})?",
        ) {
            if let (Ok(x), Ok(y)) = (semver::Version::parse(&a), semver::Version::parse(&b)) {
                prop_assert_eq!(semver_sort_key(&x).cmp(&semver_sort_key(&y)), x.cmp_precedence(&y));
            }
        }
    }
}

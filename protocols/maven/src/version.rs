//! Versions and their order: Maven's `ComparableVersion` as bytes.
//!
//! Maven reads a version as lists of numbers and words, nested by hyphens and by borders between digits and letters.
//! Positions are compared one by one, what is missing counts as nothing, and nothing stands between the words that
//! come before a release (`alpha`) and those after it (`sp`). Source: <https://maven.apache.org/pom.html#version-order-specification>
//! and the behaviour of maven-artifact 3.9, which tests ask (`runtime/api/tests/clients/maven/order.rs`).

use publaryn_core::{RegistryError, Version, version::MAX_VERSION_CHARS};

/// Why a text is no version of a release.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum VersionFault {
    #[error("SNAPSHOT versions are not accepted by this registry")]
    Snapshot,
    #[error("version may hold only letters, digits, `.`, `_`, `+` and `-`, and up to {MAX_VERSION_CHARS} of them")]
    Characters,
    #[error("LATEST and RELEASE are no versions")]
    Word,
}

/// Parses a version for the registry.
///
/// # Errors
/// `Invalid`, with the code `snapshot_not_supported` for what changes under its name.
pub fn parse_version(raw: &str) -> Result<Version, RegistryError> {
    match check(raw) {
        Ok(()) => Ok(accepted(raw)),
        Err(fault @ VersionFault::Snapshot) => Err(RegistryError::invalid("snapshot_not_supported", fault.to_string())),
        Err(fault) => Err(RegistryError::invalid("invalid_version", fault.to_string())),
    }
}

/// # Errors
/// What keeps the text from being the version of a release.
pub fn check(raw: &str) -> Result<(), VersionFault> {
    if is_snapshot(raw) {
        return Err(VersionFault::Snapshot);
    }
    let is_legal = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'+' | b'-');
    if raw.is_empty() || raw.len() > MAX_VERSION_CHARS || !raw.bytes().all(is_legal) || matches!(raw, "." | "..") {
        return Err(VersionFault::Characters);
    }
    match raw {
        "LATEST" | "RELEASE" => Err(VersionFault::Word),
        _ => Ok(()),
    }
}

/// A version that passed [`check`]. Addresses hold its exact spelling; spellings that differ only in case are one
/// number, and `1.0` and `1.0.0` are two.
pub fn accepted(text: &str) -> Version {
    let order = Order::of(text);
    Version::accepted(text, &text.to_ascii_lowercase(), order.key, order.is_prerelease)
}

/// Whether the text names something that changes: `1.0-SNAPSHOT`, or one build of it, `1.0-20260102.030405-6`.
pub fn is_snapshot(text: &str) -> bool {
    let ends = text.len().checked_sub("SNAPSHOT".len()).and_then(|at| text.get(at..));
    if ends.is_some_and(|end| end.eq_ignore_ascii_case("SNAPSHOT")) {
        return true;
    }
    let digits = |text: &str, count: Option<usize>| {
        !text.is_empty() && count.is_none_or(|n| text.len() == n) && text.bytes().all(|b| b.is_ascii_digit())
    };
    let Some((rest, build)) = text.rsplit_once('-') else { return false };
    let Some((_, stamp)) = rest.rsplit_once('-') else { return false };
    stamp.split_once('.').is_some_and(|(day, time)| digits(day, Some(8)) && digits(time, Some(6)))
        && digits(build, None)
}

/// What can stand at one position.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Item {
    /// Decimal digits without leading zeros; empty for zero.
    Number(String),
    Word(Word),
    /// Always the last of its list.
    List(Vec<Item>),
}

/// Words in their order; those nobody knows come last, by their letters.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Word {
    Alpha,
    Beta,
    Milestone,
    Candidate,
    Snapshot,
    Release,
    ServicePack,
    Other(String),
}

impl Word {
    /// `a1` is alpha 1, `a-1` is not.
    fn of(text: &str, is_followed_by_digit: bool) -> Self {
        match text {
            "a" if is_followed_by_digit => Self::Alpha,
            "b" if is_followed_by_digit => Self::Beta,
            "m" if is_followed_by_digit => Self::Milestone,
            "alpha" => Self::Alpha,
            "beta" => Self::Beta,
            "milestone" => Self::Milestone,
            "rc" | "cr" => Self::Candidate,
            "snapshot" => Self::Snapshot,
            "" | "ga" | "final" | "release" => Self::Release,
            "sp" => Self::ServicePack,
            other => Self::Other(other.to_owned()),
        }
    }

    fn rank(&self) -> u8 {
        match self {
            Self::Alpha => 1,
            Self::Beta => 2,
            Self::Milestone => 3,
            Self::Candidate => 4,
            Self::Snapshot => 5,
            Self::Release => 6,
            Self::ServicePack => 7,
            Self::Other(_) => 8,
        }
    }
}

/// How something compares with nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Sign {
    Before,
    Nothing,
    After,
}

impl Item {
    fn sign(&self) -> Sign {
        match self {
            Self::Number(digits) if digits.is_empty() => Sign::Nothing,
            Self::Number(_) => Sign::After,
            Self::Word(word) => match word.cmp(&Word::Release) {
                std::cmp::Ordering::Less => Sign::Before,
                std::cmp::Ordering::Equal => Sign::Nothing,
                std::cmp::Ordering::Greater => Sign::After,
            },
            Self::List(items) => sign_of(items),
        }
    }
}

/// The first item that is something decides.
fn sign_of(items: &[Item]) -> Sign {
    items.iter().map(Item::sign).find(|sign| *sign != Sign::Nothing).unwrap_or(Sign::Nothing)
}

// What a position starts with, in ascending order. Nothing at all is equal to a zero in Maven, but a zero is above
// every word and list, so a zero (and a word that says nothing) goes where what follows it belongs.
const WORD_BEFORE: u8 = 0x10;
const LIST_BEFORE: u8 = 0x20;
const ZERO_BEFORE: u8 = 0x30;
const END: u8 = 0x40;
const WORD_AFTER: u8 = 0x50;
const LIST_AFTER: u8 = 0x60;
const NUMBER: u8 = 0x70;

struct Order {
    key: Vec<u8>,
    is_prerelease: bool,
}

impl Order {
    fn of(text: &str) -> Self {
        let items = parse(&text.to_ascii_lowercase());
        let mut order = Self { key: Vec::with_capacity(16), is_prerelease: false };
        order.list(&items);
        // Lists are last in the list around them, so one end is that of all.
        order.key.push(END);
        order
    }

    fn list(&mut self, items: &[Item]) {
        for (at, item) in items.iter().enumerate() {
            let follows = sign_of(&items[at..]);
            match item {
                Item::Number(digits) if digits.is_empty() && follows == Sign::Before => self.key.push(ZERO_BEFORE),
                Item::Number(digits) => {
                    // As long as a version at most, so the length fits.
                    self.key.extend([NUMBER, u8::try_from(digits.len()).unwrap_or(u8::MAX)]);
                    self.key.extend_from_slice(digits.as_bytes());
                }
                Item::Word(word) => {
                    self.is_prerelease |= word.rank() < Word::Release.rank();
                    let class = if follows == Sign::Before { WORD_BEFORE } else { WORD_AFTER };
                    self.key.extend([class, word.rank()]);
                    if let Word::Other(letters) = word {
                        self.key.extend_from_slice(letters.as_bytes());
                        self.key.push(0);
                    }
                }
                Item::List(inner) => {
                    self.key.push(if follows == Sign::Before { LIST_BEFORE } else { LIST_AFTER });
                    self.list(inner);
                }
            }
        }
    }
}

/// Reads a version in lower case.
fn parse(text: &str) -> Vec<Item> {
    // Lists that are open; each closes into the one before it.
    let mut open: Vec<Vec<Item>> = vec![Vec::new()];
    let mut add = |item: Option<Item>, opens: bool| {
        if let (Some(list), Some(item)) = (open.last_mut(), item) {
            list.push(item);
        }
        if opens {
            open.push(Vec::new());
        }
    };
    let (mut start, mut in_digits) = (0, false);
    let mut is_first = true;
    for (at, c) in text.char_indices() {
        let piece = &text[start..at];
        match c {
            '.' | '-' => {
                let item = if piece.is_empty() { Item::Number(String::new()) } else { item(piece, in_digits, false) };
                add(Some(item), c == '-');
                is_first = c == '-';
                start = at + 1;
            }
            '0'..='9' => {
                if !in_digits && !piece.is_empty() {
                    // 1.rc2 means what 1-rc2 means.
                    if !is_first {
                        add(None, true);
                    }
                    add(Some(item(piece, false, true)), true);
                    (start, is_first) = (at, true);
                }
                in_digits = true;
            }
            _ => {
                if in_digits && !piece.is_empty() {
                    add(Some(item(piece, true, false)), true);
                    (start, is_first) = (at, true);
                }
                in_digits = false;
            }
        }
    }
    let piece = &text[start..];
    if !piece.is_empty() {
        if !in_digits && !is_first {
            add(None, true);
        }
        add(Some(item(piece, in_digits, false)), false);
    }
    let mut closed = open.pop().unwrap_or_default();
    normalize(&mut closed);
    while let Some(mut around) = open.pop() {
        around.push(Item::List(closed));
        normalize(&mut around);
        closed = around;
    }
    closed
}

fn item(piece: &str, is_number: bool, is_followed_by_digit: bool) -> Item {
    if is_number {
        Item::Number(piece.trim_start_matches('0').to_owned())
    } else {
        Item::Word(Word::of(piece, is_followed_by_digit))
    }
}

/// Takes away what says nothing at the end and before a list at the end.
fn normalize(items: &mut Vec<Item>) {
    for at in (0..items.len()).rev() {
        let is_nothing = match &items[at] {
            Item::List(inner) => inner.is_empty(),
            other => other.sign() == Sign::Nothing,
        };
        if is_nothing {
            items.remove(at);
        } else if !matches!(items[at], Item::List(_)) {
            break;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key(text: &str) -> Vec<u8> {
        Order::of(text).key
    }

    #[test]
    fn versions_rise_as_in_maven() {
        let rising = [
            "1-alpha2snapshot",
            "1-alpha2",
            "1-alpha-123",
            "1-beta-2",
            "1-beta123",
            "1-m2",
            "1-m11",
            "1-rc",
            "1-cr2",
            "1-rc123",
            "1-SNAPSHOT",
            "1",
            "1-sp",
            "1-sp2",
            "1-sp123",
            "1-abc",
            "1-def",
            "1-pom-1",
            "1-1-snapshot",
            "1-1",
            "1-2",
            "1-123",
        ];
        let numbers = [
            "2.0.a", "2.0.0.a", "2-1", "2.0.2", "2.0.123", "2.1.0", "2.1-a", "2.1b", "2.1-c", "2.1-1", "2.1.0.1",
            "2.2", "2.123", "11.a2", "11.a11", "11.b2", "11.b11", "11.m2", "11.m11", "11", "11.a", "11b", "11c", "11m",
        ];
        for list in [&rising[..], &numbers[..]] {
            for pair in list.windows(2) {
                assert!(
                    key(pair[0]) <= key(pair[1]),
                    "{} <= {}: {:?} {:?}",
                    pair[0],
                    pair[1],
                    parse(pair[0]),
                    parse(pair[1])
                );
            }
            for (at, low) in list.iter().enumerate() {
                for high in list.iter().skip(at + 2) {
                    assert!(key(low) <= key(high), "{low} <= {high}");
                }
            }
        }
        for (low, high) in [
            ("1.0.RC2", "1.0-RC3"),
            ("1.0-RC3", "1.0.1"),
            ("1.0-1", "1.0.1"),
            ("1-a1", "1-a-1"),
            ("1.0-alpha-1", "1.0"),
            ("1.0.alpha.1", "1.0"),
            ("9", "10"),
            ("1.9", "1.10"),
            ("99999999999999999999", "100000000000000000000"),
            ("1", "1-1"),
            ("2.0.1-xyz", "2.0.1-123"),
            ("1.0-SNAPSHOT", "1.0"),
            ("20040616", "20040617"),
            ("1.0", "1.0-jre"),
        ] {
            assert!(key(low) < key(high), "{low} < {high}");
        }
    }

    #[test]
    fn what_says_nothing_changes_nothing() {
        for same in [
            &["1", "1.0", "1.0.0", "1-0", "1.0-0", "1.final", "1-ga", "1.0.RELEASE", "1.", "1-", "01", "1.00"][..],
            &["1-rc", "1-cr", "1rc", "1.0-rc", "1.RC", "1.0.0-RC"],
            &["1a1", "1-alpha-1", "1.0alpha1", "1-A1"],
            &["1-x", "1.0.0-x", "1x", "1.x"],
        ] {
            for other in same {
                assert_eq!(key(same[0]), key(other), "{} = {other}", same[0]);
            }
        }
        // Known words are short for others only before a digit.
        assert_ne!(key("1-a"), key("1-alpha"));
    }

    #[test]
    fn what_changes_under_its_name_is_refused() {
        for bad in ["1.0-SNAPSHOT", "1.0-snapshot", "SNAPSHOT", "1.0-20260102.030405-6", "1-x-20260102.030405-12"] {
            assert_eq!(check(bad), Err(VersionFault::Snapshot), "{bad}");
        }
        for bad in ["", "1 0", "1/0", "1~0", "${revision}", "ä", ".", "..", &"1".repeat(129)] {
            assert_eq!(check(bad), Err(VersionFault::Characters), "{bad}");
        }
        assert_eq!((check("LATEST"), check("RELEASE")), (Err(VersionFault::Word), Err(VersionFault::Word)));
        for good in ["1", "1.0-20260102", "1.0-20260102.030405", "2.0+build", "r07", "1.0_2", "1.0.RELEASE", "latest"] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
    }

    #[test]
    fn prereleases_are_those_before_a_release() {
        for (text, wanted) in [
            ("1.0-rc1", true),
            ("1.0.0.M3", true),
            ("1.0b2", true),
            ("1.0-alpha", true),
            ("1.0", false),
            ("1.0-jre", false),
            ("1.0.Final", false),
            ("1.0-sp1", false),
            ("1.0-b", false),
            ("1.0-jre-rc2", true),
        ] {
            assert_eq!(accepted(text).is_prerelease(), wanted, "{text}");
        }
    }

    #[test]
    fn spellings_are_kept_and_cases_are_one() {
        let (a, b) = (accepted("1.0-RC1"), accepted("1.0-rc1"));
        assert_eq!((a.as_str(), a.unique_key()), ("1.0-RC1", b.unique_key()));
        assert_ne!(accepted("1.0").unique_key(), accepted("1.0.0").unique_key());
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "[ -~é]{0,140}") {
            let _ = parse_version(&text);
            let _ = Order::of(&text);
        }

        #[test]
        fn numbers_rise(a in prop::collection::vec(0_u32..1000, 1..5), b in prop::collection::vec(0_u32..1000, 1..5)) {
            let text = |parts: &[u32]| parts.iter().map(u32::to_string).collect::<Vec<_>>().join(".");
            let (mut x, mut y) = (a.clone(), b.clone());
            x.resize(5, 0);
            y.resize(5, 0);
            prop_assert_eq!(key(&text(&a)).cmp(&key(&text(&b))), x.cmp(&y));
        }

        #[test]
        fn trailing_zeros_change_nothing(text in "[1-9](\\.[0-9]{1,2}){0,3}", zeros in 0_usize..4) {
            prop_assert_eq!(key(&text), key(&format!("{text}{}", ".0".repeat(zeros))));
        }

        #[test]
        fn a_prerelease_is_below_its_release(text in "[0-9](\\.[0-9]){0,3}", word in "alpha|beta|m|rc|cr|a|b", n in 1_u8..99) {
            let before = format!("{text}-{word}{n}");
            prop_assert!(key(&before) < key(&text));
        }
    }
}

//! Versions of tagged releases: Composer's normal form, its identity and its order.
//!
//! Source: `VersionParser::normalize` of composer/semver; PHP's `version_compare`; composer.md §6.

use publaryn_core::{Version, version::MAX_VERSION_CHARS};

/// A version in Composer's words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Normalized {
    /// As the publisher wrote it, without alias, stability flag and spaces.
    pub display: String,
    /// What clients make of it: `1.2.0.0-beta3`.
    pub text: String,
    /// Equal for versions that clients take for the same one: [`Self::text`] without leading zeros.
    pub unique: String,
    order: Vec<Token>,
}

/// Why a text is not the version of a tagged release.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VersionFault {
    /// It names a branch, whose content would change.
    Branch,
    Invalid,
}

impl VersionFault {
    /// The refusal of that text.
    pub fn of(self, raw: &str) -> String {
        let shown: String = raw.trim().chars().filter(|c| !c.is_control()).take(80).collect();
        match self {
            Self::Branch => format!("{shown} is a branch; only tagged versions are hosted"),
            Self::Invalid => format!("`{shown}` is not a version"),
        }
    }
}

/// One piece in the order of `version_compare`. The end stands between the stabilities and a further number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Token {
    Alpha,
    Beta,
    Rc,
    End,
    Number(u64),
    Patch,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stability {
    Alpha,
    Beta,
    Rc,
    Stable,
    Patch,
}

/// Longest first, so that `alpha` is not read as `a`.
const STABILITIES: &[(&str, Stability)] = &[
    ("stable", Stability::Stable),
    ("alpha", Stability::Alpha),
    ("patch", Stability::Patch),
    ("beta", Stability::Beta),
    ("rc", Stability::Rc),
    ("pl", Stability::Patch),
    ("a", Stability::Alpha),
    ("b", Stability::Beta),
    ("p", Stability::Patch),
];

/// Parses a version for the registry.
pub fn parse_version(raw: &str) -> Result<Version, VersionFault> {
    Normalized::parse(raw).map(|normalized| normalized.to_version())
}

impl Normalized {
    /// # Errors
    /// [`VersionFault`] for branches and for what is no version.
    pub fn parse(raw: &str) -> Result<Self, VersionFault> {
        let mut display = raw.trim();
        if display.len() > MAX_VERSION_CHARS {
            return Err(VersionFault::Invalid);
        }
        if let Some((version, alias)) = display.split_once(" as ") {
            let is_plain = |text: &str| !text.trim().is_empty() && !text.trim().contains([' ', ',', '\t']);
            if !is_plain(version) || !is_plain(alias) {
                return Err(VersionFault::Invalid);
            }
            display = version.trim();
        }
        if let Some((version, flag)) = display.rsplit_once('@')
            && ["stable", "rc", "beta", "alpha", "dev"].iter().any(|known| flag.eq_ignore_ascii_case(known))
        {
            display = version;
        }
        let lower = display.to_ascii_lowercase();
        if lower.starts_with("dev-")
            || matches!(lower.as_str(), "master" | "trunk" | "default")
            || lower.ends_with("-dev")
        {
            return Err(VersionFault::Branch);
        }
        let plain = match display.split_once('+') {
            Some((version, meta)) if !version.is_empty() && !meta.is_empty() && !meta.contains(char::is_whitespace) => {
                version
            }
            Some(_) => return Err(VersionFault::Invalid),
            None => display,
        };
        let plain = plain.strip_prefix(['v', 'V']).unwrap_or(plain);
        let (numbers, rest) = classical(plain).or_else(|| dated(plain)).ok_or(VersionFault::Invalid)?;
        let suffix = Suffix::parse(rest)?;
        Self::build(display, &numbers, suffix.as_ref()).ok_or(VersionFault::Invalid)
    }

    /// `None` when a number is too large to be compared.
    fn build(display: &str, numbers: &[&str], suffix: Option<&Suffix<'_>>) -> Option<Self> {
        let parsed: Vec<u64> = numbers.iter().map(|digits| digits.parse().ok()).collect::<Option<_>>()?;
        let mut text = numbers.join(".");
        let mut unique = parsed.iter().map(u64::to_string).collect::<Vec<_>>().join(".");
        let mut order: Vec<Token> = parsed.into_iter().map(Token::Number).collect();
        if let Some(suffix) = suffix {
            let (word, token) = match suffix.stability {
                Stability::Alpha => ("alpha", Token::Alpha),
                Stability::Beta => ("beta", Token::Beta),
                Stability::Rc => ("RC", Token::Rc),
                Stability::Patch => ("patch", Token::Patch),
                // A stable version is what it is without the word, and its number is dropped with it.
                Stability::Stable => return Some(Self { display: display.to_owned(), text, unique, order }),
            };
            let further = suffix.numbers.trim_start_matches(['.', '-']);
            text.push_str(&format!("-{word}{further}"));
            order.push(token);
            let parsed: Vec<u64> =
                further.split(['.', '-']).filter(|n| !n.is_empty()).map(|n| n.parse().ok()).collect::<Option<_>>()?;
            let joined = parsed.iter().map(u64::to_string).collect::<Vec<_>>().join(".");
            unique.push_str(&format!("-{word}{joined}"));
            order.extend(parsed.into_iter().map(Token::Number));
        }
        Some(Self { display: display.to_owned(), text, unique, order })
    }

    pub fn to_version(&self) -> Version {
        let is_prerelease = self.order.iter().any(|token| matches!(token, Token::Alpha | Token::Beta | Token::Rc));
        Version::accepted(&self.display, &self.unique, self.sort_key(), is_prerelease)
    }

    /// Bytes whose order is that of the versions: a tag per token, numbers big-endian, the end marked.
    fn sort_key(&self) -> Vec<u8> {
        let mut key = Vec::with_capacity(9 * self.order.len() + 1);
        for token in self.order.iter().chain([&Token::End]) {
            match token {
                Token::Alpha => key.push(2),
                Token::Beta => key.push(3),
                Token::Rc => key.push(4),
                Token::End => key.push(5),
                Token::Number(number) => {
                    key.push(6);
                    key.extend_from_slice(&number.to_be_bytes());
                }
                Token::Patch => key.push(7),
            }
        }
        key
    }
}

/// One to four numbers, padded to four; the first has at most five digits.
fn classical(text: &str) -> Option<(Vec<&str>, &str)> {
    let (first, mut rest) = digits(text)?;
    if first.len() > 5 {
        return None;
    }
    let mut numbers = vec![first];
    while numbers.len() < 4 {
        let Some((number, after)) = rest.strip_prefix('.').and_then(digits) else { break };
        numbers.push(number);
        rest = after;
    }
    // A fifth number, or a date's separator, is not part of this form.
    if rest.starts_with(|c: char| c.is_ascii_digit())
        || rest.strip_prefix(['.', ':', '-']).is_some_and(|after| after.starts_with(|c: char| c.is_ascii_digit()))
    {
        return None;
    }
    numbers.resize(4, "0");
    Some((numbers, rest))
}

/// A date and what may follow it: `20100102`, `2010-01-02.5`.
fn dated(text: &str) -> Option<(Vec<&str>, &str)> {
    let bytes = text.as_bytes();
    let mut end = 0;
    while end < bytes.len() {
        let is_joined = matches!(bytes[end], b'.' | b':' | b'-') && end > 0 && bytes[end - 1].is_ascii_digit();
        let leads_on = bytes.get(end + 1).is_some_and(u8::is_ascii_digit);
        if !(bytes[end].is_ascii_digit() || is_joined && leads_on) {
            break;
        }
        end += 1;
    }
    let (date, rest) = text.split_at(end);
    let year = date.get(..4).filter(|year| year.bytes().all(|b| b.is_ascii_digit()))?;
    is_date_tail(&date.as_bytes()[year.len()..], 0, 0).then(|| (date.split(['.', ':', '-']).collect(), rest))
}

/// One to six groups of two digits, then up to two of one to three; a separator may stand before each.
fn is_date_tail(tail: &[u8], pairs: u8, extras: u8) -> bool {
    if tail.is_empty() {
        return pairs > 0;
    }
    let tail = if matches!(tail[0], b'.' | b':' | b'-') { &tail[1..] } else { tail };
    let run = tail.iter().take_while(|b| b.is_ascii_digit()).count();
    let takes = |count: usize, pairs, extras| run >= count && is_date_tail(&tail[count..], pairs, extras);
    (extras == 0 && pairs < 6 && takes(2, pairs + 1, 0))
        || (pairs > 0 && extras < 2 && (1..=3).any(|count| takes(count, pairs, extras + 1)))
}

fn digits(text: &str) -> Option<(&str, &str)> {
    let end = text.bytes().take_while(u8::is_ascii_digit).count();
    (end > 0).then(|| text.split_at(end))
}

/// What may follow the numbers.
struct Suffix<'a> {
    stability: Stability,
    /// With their separators, as `.3` or `-1.2`.
    numbers: &'a str,
}

impl<'a> Suffix<'a> {
    fn parse(text: &'a str) -> Result<Option<Self>, VersionFault> {
        if text.is_empty() {
            return Ok(None);
        }
        let word = text.strip_prefix(['.', '_', '-']).unwrap_or(text);
        if is_dev(text) || is_dev(word) {
            return Err(VersionFault::Branch);
        }
        let found = STABILITIES.iter().find_map(|(name, stability)| {
            let head = word.get(..name.len())?;
            head.eq_ignore_ascii_case(name).then(|| (*stability, head, &word[name.len()..]))
        });
        let Some((stability, spelled, numbers)) = found else { return Err(VersionFault::Invalid) };
        let mut rest = numbers;
        while let Some((_, after)) = digits(rest.strip_prefix(['.', '-']).unwrap_or(rest)) {
            rest = after;
        }
        if is_dev(rest) {
            return Err(VersionFault::Branch);
        }
        // Clients drop the word only in lower case and keep it otherwise: two readings, so neither.
        let is_odd = stability == Stability::Stable && spelled != "stable";
        if !rest.is_empty() || is_odd {
            return Err(VersionFault::Invalid);
        }
        Ok(Some(Self { stability, numbers }))
    }
}

fn is_dev(text: &str) -> bool {
    text.strip_prefix(['.', '-']).unwrap_or(text).eq_ignore_ascii_case("dev")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn versions_are_normalised_as_clients_do_it() {
        // Cases of composer/semver's own documentation of the form, checked against composer/semver 3.3.
        for (raw, wanted) in [
            ("1.0.0", "1.0.0.0"),
            ("1.2.3.4", "1.2.3.4"),
            ("1", "1.0.0.0"),
            ("v1.2", "1.2.0.0"),
            (" V1.2.0 ", "1.2.0.0"),
            ("1.0.0RC1", "1.0.0.0-RC1"),
            ("1.0.0-rC13", "1.0.0.0-RC13"),
            ("1.0.0.RC.15", "1.0.0.0-RC15"),
            ("1.0.0_beta3", "1.0.0.0-beta3"),
            ("1.0b3.1", "1.0.0.0-beta3.1"),
            ("1.0-alpha.2", "1.0.0.0-alpha2"),
            ("1.0-patch1", "1.0.0.0-patch1"),
            ("1.0pl3", "1.0.0.0-patch3"),
            ("1.0-stable", "1.0.0.0"),
            ("1.0.0+build.7", "1.0.0.0"),
            ("1.0.0@beta", "1.0.0.0"),
            ("1.0.0 as 2.0", "1.0.0.0"),
            ("00.01.03.04", "00.01.03.04"),
            ("2010.01.02", "2010.01.02.0"),
            ("2010-01-02", "2010.01.02"),
            ("20100102", "20100102"),
            ("20100102-203040", "20100102.203040"),
            ("2010-01-02.5", "2010.01.02.5"),
            ("20100102.0-beta2", "20100102.0-beta2"),
        ] {
            assert_eq!(Normalized::parse(raw).map(|n| n.text).as_deref(), Ok(wanted), "{raw}");
        }
    }

    #[test]
    fn branches_and_nonsense_are_told_apart() {
        for branch in
            ["dev-main", "DEV-x", "1.x-dev", "1.0-dev", "1.0.dev", "1.0-beta1-dev", "master", "trunk", "default"]
        {
            assert_eq!(Normalized::parse(branch), Err(VersionFault::Branch), "{branch}");
        }
        for bad in [
            "",
            "v",
            "a",
            "1.0.0.0.0",
            "1.0 2",
            "1.*",
            "^1.0",
            "1.0+",
            "1.0-foo",
            "1..0",
            "1.0.",
            "1.99999999999999999999",
            "1.0-STABLE",
            "../x",
            "1.0/2",
        ] {
            assert_eq!(Normalized::parse(bad), Err(VersionFault::Invalid), "{bad}");
        }
        assert!(VersionFault::Branch.of("dev-main").starts_with("dev-main is a branch"));
    }

    #[test]
    fn spellings_of_one_version_share_its_identity() {
        let unique = |raw: &str| Normalized::parse(raw).unwrap().unique;
        for same in ["v1.2.0", "1.2.0.0", "1.2.0+x", "01.2", "1.2-stable"] {
            assert_eq!(unique(same), unique("1.2"), "{same}");
        }
        assert_eq!(unique("1.0-b1-2"), unique("1.0.beta1.2"));
        assert_ne!(unique("1.0-beta"), unique("1.0-beta1"));
    }

    #[test]
    fn the_order_is_that_of_version_compare() {
        let rising = [
            "0.9",
            "1.0-alpha",
            "1.0-alpha2",
            "1.0-alpha10",
            "1.0-beta",
            "1.0-beta1",
            "1.0-beta1.1",
            "1.0-RC1",
            "1.0",
            "1.0-patch1",
            "1.0-patch2",
            "1.0.0.1",
            "1.0.1",
            "1.10",
            "2.0",
            "99999.0",
            "20100102-beta1",
            "20100102",
            "20100102.1",
        ];
        for pair in rising.windows(2) {
            let key = |raw: &str| parse_version(raw).unwrap().sort_key().to_vec();
            assert!(key(pair[0]) < key(pair[1]), "{} < {}", pair[0], pair[1]);
        }
        assert!(parse_version("1.0-RC1").unwrap().is_prerelease());
        assert!(!parse_version("1.0-patch1").unwrap().is_prerelease());
    }

    proptest! {
        #[test]
        fn normalising_is_idempotent_and_never_panics(raw in "[v0-9.]{0,8}([._-]?(alpha|b|RC|p|stable|dev)?[0-9.-]{0,3})?|\\PC{0,20}") {
            if let Ok(once) = Normalized::parse(&raw) {
                let twice = Normalized::parse(&once.text).unwrap();
                prop_assert_eq!(&twice.text, &once.text);
                prop_assert_eq!(twice.sort_key(), once.sort_key());
                prop_assert_eq!(twice.unique, once.unique);
            }
        }

        #[test]
        fn byte_order_is_token_order(a in "[0-3](\\.[0-3]){0,3}(-(alpha|beta|RC|patch)[0-2]?(\\.[0-2])?)?", b in "[0-3](\\.[0-3]){0,3}(-(alpha|beta|RC|patch)[0-2]?(\\.[0-2])?)?") {
            let (a, b) = (Normalized::parse(&a).unwrap(), Normalized::parse(&b).unwrap());
            let ended = |n: &Normalized| n.order.iter().copied().chain([Token::End]).collect::<Vec<_>>();
            prop_assert_eq!(a.sort_key().cmp(&b.sort_key()), ended(&a).cmp(&ended(&b)));
            prop_assert_eq!(a.sort_key() == b.sort_key(), a.unique == b.unique);
        }
    }
}

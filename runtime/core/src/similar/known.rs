//! All names of an ecosystem, packed so that comparing one with every other is cheap.
//!
//! No index of a database finds names that differ in several places: what they share may be anywhere. But the names
//! of half a million packages are 15 MB, and most of them are told apart by their length or by the letters in them.
//! Names of one length lie side by side with a *signature* of 64 bits each; only names whose signatures are close
//! enough are compared letter by letter.

use std::collections::HashMap;

use rapidfuzz::distance::osa;
use smol_str::SmolStr;

use super::split;

/// Similar is what differs in at most this many of a hundred letters (access.md §8: ratio ≥ 0.85).
const PERCENT: usize = 15;

/// Longest name that is compared, in bytes, without its scope; no ecosystem has longer ones.
const MOST_BYTES: usize = 255;

/// Names of one ecosystem.
#[derive(Debug, Default)]
pub struct KnownNames {
    scopes: HashMap<SmolStr, u32>,
    by_length: Vec<OfLength>,
    count: usize,
}

/// Names of one length, in the order they came in.
#[derive(Debug, Default)]
struct OfLength {
    signatures: Vec<u64>,
    scopes: Vec<u32>,
    letters: Vec<u8>,
}

impl KnownNames {
    /// Takes a normalised name in. The same name twice is found twice.
    pub fn add(&mut self, normalized: &str) {
        let (scope, name) = split(normalized);
        if name.is_empty() || name.len() > MOST_BYTES {
            return;
        }
        let next = u32::try_from(self.scopes.len()).expect("fewer scopes than names, and those fit");
        let scope = *self.scopes.entry(scope.into()).or_insert(next);
        if self.by_length.len() <= name.len() {
            self.by_length.resize_with(name.len() + 1, OfLength::default);
        }
        let same = &mut self.by_length[name.len()];
        same.signatures.push(signature(name.as_bytes()));
        same.scopes.push(scope);
        same.letters.extend_from_slice(name.as_bytes());
        self.count += 1;
    }

    /// Every other name of the same scope whose Damerau–Levenshtein distance *d* (optimal string alignment) is
    /// small beside the longer one's length: 1 − *d*/length ≥ 0.85. Closest first.
    pub fn near(&self, normalized: &str) -> Vec<SmolStr> {
        let (scope_text, name) = split(normalized);
        let Some(scope) = self.scopes.get(scope_text) else { return Vec::new() };
        let own = signature(name.as_bytes());
        let compare = osa::BatchComparator::new(name.bytes());
        let mut found: Vec<(usize, &[u8])> = Vec::new();
        for (length, same) in self.by_length.iter().enumerate() {
            let allowed = name.len().max(length) * PERCENT / 100;
            if name.len().abs_diff(length) > allowed {
                continue;
            }
            let close = same.signatures.iter().zip(&same.scopes).enumerate();
            let close = close.filter(|(_, (other, of))| {
                // One edit changes two bits at most: a letter goes, another comes.
                *of == scope && (own ^ **other).count_ones() as usize <= 2 * allowed
            });
            for (at, _) in close {
                let other = &same.letters[at * length..][..length];
                let args = osa::Args::default().score_cutoff(allowed);
                match compare.distance_with_args(other.iter().copied(), &args) {
                    None | Some(0) => {}
                    Some(distance) => found.push((distance, other)),
                }
            }
        }
        found.sort_unstable();
        found.dedup();
        let whole = |name: &[u8]| SmolStr::from(format!("{scope_text}{}", String::from_utf8_lossy(name)));
        found.into_iter().map(|(_, name)| whole(name)).collect()
    }

    pub fn len(&self) -> usize {
        self.count
    }
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }
}

/// Which letters are in a name: one bit each, and for those that there are bits left for, one more if it is in there
/// twice. Taking a letter out or putting one in changes one bit at most.
fn signature(name: &[u8]) -> u64 {
    let mut seen = 0u64;
    for letter in name {
        let bit = match letter {
            b'a'..=b'z' => letter - b'a',
            b'0'..=b'9' => letter - b'0' + 26,
            b'-' => 36,
            b'_' => 37,
            b'.' => 38,
            // The rest shares one: then two of these count as two of the same letter.
            _ => 39,
        };
        let (once, twice) = (1 << bit, 1u64.checked_shl(u32::from(bit) + LETTERS_WITH_ONE_BIT).unwrap_or(0));
        seen |= if seen & once == 0 { once } else { twice };
    }
    seen
}

/// Letters that have a bit of their own; the bits behind them are for the first 24 of these, seen twice.
const LETTERS_WITH_ONE_BIT: u32 = 40;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{super::tests::distance, *};

    fn known<'a>(names: impl IntoIterator<Item = &'a str>) -> KnownNames {
        let mut known = KnownNames::default();
        names.into_iter().for_each(|name| known.add(name));
        known
    }

    #[test]
    fn the_ratio_is_that_of_the_contract() {
        for (a, b, is_near) in [
            // 2 of 14 is 0.857, 2 of 13 is 0.846.
            ("abcdefghijklmn", "abcdefghijklXY".to_lowercase(), true),
            ("abcdefghijklm", "abcdefghijkxy".to_owned(), false),
            // 3 of 20 is 0.85 exactly.
            ("abcdefghijklmnopqrst", "abcdefghijklmnopqxyz".to_owned(), true),
            ("abcdefghijklmnopqrst", "badcfeghijklmnopqrst".to_owned(), true),
            ("abcdefghijklmnopqrst", "abcdefghijklmnopwxyz".to_owned(), false),
            ("react-native-firestack", "react-native-firebase".to_owned(), false),
            ("react-native-firestack", "react-natve-firestacks".to_owned(), true),
        ] {
            assert_eq!(known([b.as_str()]).near(a), if is_near { vec![SmolStr::from(&b)] } else { vec![] }, "{a} {b}");
        }
    }

    #[test]
    fn the_closest_comes_first_and_the_name_itself_is_not_similar() {
        let names = ["some-long-name-ab", "some-long-name", "some-long-nome-a", "some-long-name-a"];
        assert_eq!(known(names).near("some-long-name-a"), ["some-long-name-ab", "some-long-nome-a", "some-long-name"]);
    }

    #[test]
    fn only_names_of_one_scope_are_compared_and_scopes_count_for_nothing() {
        let all = known(["@acme/some-long-name", "@acme/ab", "some-long-name"]);
        assert_eq!(all.near("@acme/some-long-nam"), ["@acme/some-long-name"]);
        assert_eq!(all.near("@acme/cd"), [""; 0]);
        assert_eq!(all.near("@other/some-long-nam"), [""; 0]);
        assert_eq!(all.len(), 3);
    }

    proptest! {
        #[test]
        fn exactly_the_names_within_the_ratio_are_found(
            a in "[ab]{7,30}|[a-c0-9~_.-]{14,28}", edits in prop::collection::vec((0usize..4, 0usize..40, "[a-d]"), 0..6),
        ) {
            let mut b: Vec<char> = a.chars().collect();
            for (edit, at, letter) in edits {
                let (at, letter) = (at % b.len().max(1), letter.chars().next().unwrap());
                match edit {
                    0 => b.insert(at, letter),
                    1 if b.len() > 1 => drop(b.remove(at)),
                    2 if at + 1 < b.len() => b.swap(at, at + 1),
                    _ => b[at] = letter,
                }
            }
            let b: String = b.into_iter().collect();
            let d = distance(&a, &b);
            let is_near = d > 0 && 1.0 - d as f64 / a.len().max(b.len()) as f64 >= 0.85 - 1e-9;
            prop_assert_eq!(!known([b.as_str()]).near(&a).is_empty(), is_near, "{} {} {}", a, b, d);
        }
    }

    /// `cargo test --release -p publaryn-core -- --ignored --nocapture names_compared`
    #[test]
    #[ignore = "measures"]
    fn names_compared_in_half_a_million() {
        let words =
            ["react", "native", "core", "utils", "plugin", "babel", "types", "config", "server", "client", "ui"];
        let mut state = 7u64;
        let mut next = move |n: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as usize % n
        };
        let mut known = KnownNames::default();
        let mut asked = Vec::new();
        for n in 0..500_000 {
            let parts: Vec<String> = (0..2 + next(2))
                .map(|_| match next(2) {
                    0 => words[next(words.len())].to_owned(),
                    _ => (0..3 + next(5)).map(|_| char::from(b'a' + next(26) as u8)).collect(),
                })
                .collect();
            let name = parts.join("-");
            known.add(&name);
            if n % 1000 == 0 {
                asked.push(format!("{name}s"));
            }
        }
        let mut times: Vec<_> = asked
            .iter()
            .map(|name| {
                let started = std::time::Instant::now();
                let found = std::hint::black_box(known.near(name)).len();
                (started.elapsed(), found)
            })
            .collect();
        times.sort_unstable();
        println!("median {:?}, longest {:?}", times[times.len() / 2], times[times.len() - 1]);
    }
}

//! Names that are easily mistaken for each other (access.md §8).

mod known;

use std::collections::BTreeSet;

use smol_str::{SmolStr, format_smolstr};

pub use self::known::KnownNames;

/// Shortest name for which one typing error makes another one similar.
pub const MIN_TYPO_CHARS: usize = 5;

/// Splits a normalised name into the part that must match to be compared at all (npm scope, vendor,
/// group, leading segments, with its separator) and the rest.
fn split(normalized: &str) -> (&str, &str) {
    let at = normalized.rfind(['/', ':']).map_or(0, |at| at + 1);
    normalized.split_at(at)
}

/// The key under which two names look the same: separators removed and `0→o, 1→l, 5→s, rn→m, vv→w` folded,
/// in this order. Migration 0006 says the same in SQL.
pub fn lookalike_key(normalized: &str) -> SmolStr {
    let (scope, name) = split(normalized);
    let plain: String = name
        .chars()
        .filter(|c| !matches!(c, '-' | '_' | '.'))
        .map(|c| match c {
            '0' => 'o',
            '1' => 'l',
            '5' => 's',
            other => other,
        })
        .collect();
    format_smolstr!("{scope}{}", plain.replace("rn", "m").replace("vv", "w"))
}

/// Every name at Damerau–Levenshtein distance 1 (optimal string alignment) within the same scope.
///
/// Looking these up costs the same however many packages there are. Empty for names shorter than
/// [`MIN_TYPO_CHARS`], which are close to everything.
pub fn one_typo_away(normalized: &str) -> BTreeSet<String> {
    let (scope, name) = split(normalized);
    let chars: Vec<char> = name.chars().collect();
    let mut near = BTreeSet::new();
    if chars.len() < MIN_TYPO_CHARS {
        return near;
    }
    let mut add = |parts: [&[char]; 3]| {
        near.insert(scope.chars().chain(parts.into_iter().flatten().copied()).collect::<String>());
    };
    for at in 0..=chars.len() {
        let (before, after) = chars.split_at(at);
        for letter in LETTERS.chars() {
            add([before, &[letter], after]);
        }
        if let [first, rest @ ..] = after {
            add([before, &[], rest]);
            for letter in LETTERS.chars() {
                add([before, &[letter], rest]);
            }
            if let [second, rest @ ..] = rest {
                add([before, &[*second, *first], rest]);
            }
        }
    }
    near.remove(normalized);
    near
}

/// What normalised names are made of.
const LETTERS: &str = "abcdefghijklmnopqrstuvwxyz0123456789-_.~";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Optimal string alignment distance, by the book.
    pub(super) fn distance(a: &str, b: &str) -> usize {
        let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
        let mut d = vec![vec![0; b.len() + 1]; a.len() + 1];
        for i in 0..=a.len() {
            for j in 0..=b.len() {
                d[i][j] = if i == 0 || j == 0 {
                    i + j
                } else {
                    let same = usize::from(a[i - 1] != b[j - 1]);
                    let mut best = (d[i - 1][j] + 1).min(d[i][j - 1] + 1).min(d[i - 1][j - 1] + same);
                    if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                        best = best.min(d[i - 2][j - 2] + 1);
                    }
                    best
                };
            }
        }
        d[a.len()][b.len()]
    }

    #[test]
    fn lookalikes_share_a_key() {
        for (a, b) in [("left-pad", "leftpad"), ("c0lors", "colors"), ("modem", "rnodern"), ("vvorker", "worker")] {
            assert_eq!(lookalike_key(a), lookalike_key(b), "{a} {b}");
        }
        assert_ne!(lookalike_key("@a/left-pad"), lookalike_key("@b/left-pad"));
        assert_ne!(lookalike_key("@a-b/x"), lookalike_key("@ab/x"));
        assert_eq!(lookalike_key("@a-b/le-ft"), "@a-b/left");
    }

    proptest! {
        #[test]
        fn neighbours_are_exactly_the_names_at_distance_one(a in "[ab-]{5,6}", b in "[ab-]{4,7}") {
            prop_assert_eq!(one_typo_away(&a).contains(&b), distance(&a, &b) == 1);
        }
    }
}

//! Ranges of versions that dependencies ask for, in interval notation.
//!
//! Source: <https://learn.microsoft.com/nuget/concepts/package-versioning#version-ranges>.

use std::fmt;

use crate::version::Parts;

/// A range; without bounds it admits everything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Range {
    min: Option<Bound>,
    max: Option<Bound>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Bound {
    version: Parts,
    is_inclusive: bool,
}

impl Range {
    /// Reads `1.0`, `[1.0]`, `[1.0,2.0)`, `(,1.0]`; a blank text is everything. Floating versions are refused: they
    /// mean nothing in a package.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        if text.is_empty() {
            return Some(Self::default());
        }
        let Some(inner) = text.strip_prefix(['[', '(']) else {
            let version = Parts::parse(text)?;
            return Some(Self { min: Some(Bound { version, is_inclusive: true }), max: None });
        };
        let (opens, closes) = (text.starts_with('['), text.ends_with(']'));
        let inner = inner.strip_suffix([']', ')'])?;
        let bound = |text: &str, is_inclusive| match text.trim() {
            "" => Some(None),
            text => Parts::parse(text).map(|version| Some(Bound { version, is_inclusive })),
        };
        let range = match inner.split_once(',') {
            Some((min, max)) => Self { min: bound(min, opens)?, max: bound(max, closes)? },
            // Only `[1.0]`, exactly that version.
            None if opens && closes => Self { min: Some(bound(inner, true)??), max: bound(inner, true)? },
            None => return None,
        };
        range.is_possible().then_some(range)
    }

    fn is_possible(&self) -> bool {
        let (Some(min), Some(max)) = (&self.min, &self.max) else { return true };
        match min.version.sort_key().cmp(&max.version.sort_key()) {
            std::cmp::Ordering::Less => true,
            std::cmp::Ordering::Equal => min.is_inclusive && max.is_inclusive,
            std::cmp::Ordering::Greater => false,
        }
    }

    pub fn contains(&self, version: &Parts) -> bool {
        use std::cmp::Ordering::{Equal, Greater, Less};
        let side = |bound: &Option<Bound>, allowed| match bound {
            None => true,
            Some(bound) => match version.sort_key().cmp(&bound.version.sort_key()) {
                Equal => bound.is_inclusive,
                other => other == allowed,
            },
        };
        side(&self.min, Greater) && side(&self.max, Less)
    }

    /// Whether a bound is a version that clients from before SemVer 2 cannot read.
    pub fn is_semver2(&self) -> bool {
        [&self.min, &self.max].into_iter().flatten().any(|bound| bound.version.is_semver2())
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_open = |bound: &Option<Bound>| bound.as_ref().is_none_or(|bound| !bound.is_inclusive);
        let text = |bound: &Option<Bound>| bound.as_ref().map(|bound| bound.version.normalized()).unwrap_or_default();
        let (opens, closes) = (if is_open(&self.min) { '(' } else { '[' }, if is_open(&self.max) { ')' } else { ']' });
        write!(f, "{opens}{}, {}{closes}", text(&self.min), text(&self.max))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ranges_are_shown_as_intervals() {
        for (text, shown) in [
            ("", "(, )"),
            ("1.0", "[1.0.0, )"),
            ("[1.0]", "[1.0.0, 1.0.0]"),
            ("[1.0, 2.0)", "[1.0.0, 2.0.0)"),
            ("(1.0,]", "(1.0.0, ]"),
            ("(,1.5]", "(, 1.5.0]"),
            ("[ 1.0.0-Beta.1 , )", "[1.0.0-Beta.1, )"),
            ("1.0.0+meta", "[1.0.0, )"),
        ] {
            let wanted = shown.replace(", ]", ", )");
            assert_eq!(Range::parse(text).unwrap().to_string(), wanted, "{text}");
        }
        for bad in
            ["*", "1.*", "[1.*,2)", "(1.0)", "[1.0", "1.0]", "[2.0,1.0]", "(1.0,1.0)", "[]", "()", "[1,2,3]", "x"]
        {
            assert!(Range::parse(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn semver2_bounds_are_seen() {
        let is = |text: &str| Range::parse(text).unwrap().is_semver2();
        assert!(is("1.0.0-a.b") && is("[1.0,2.0.0-a.b)") && is("1.0+x"));
        assert!(!is("1.0.0-a") && !is(""));
    }

    #[test]
    fn ranges_contain_what_lies_between_their_bounds() {
        let has = |range: &str, version: &str| Range::parse(range).unwrap().contains(&Parts::parse(version).unwrap());
        assert!(has("1.0", "1.0") && has("1.0", "9.0") && !has("1.0", "1.0-a"));
        assert!(has("[1.0,2.0)", "2.0-a") && !has("[1.0,2.0)", "2.0") && !has("(1.0,]", "1.0") && has("", "0.0"));
    }

    proptest! {
        #[test]
        fn the_shown_form_means_the_same(text in "[\\[(]?[0-2]?(\\.[0-2])?,?[0-3]?(\\.[0-2])?[\\])]?") {
            if let Some(range) = Range::parse(&text) {
                prop_assert_eq!(Range::parse(&range.to_string()).unwrap().to_string(), range.to_string());
            }
        }
    }
}

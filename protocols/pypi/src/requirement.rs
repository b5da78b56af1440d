//! Requirements as far as two spellings can be told to mean the same (PEP 508, PEP 440): tools write them with other
//! spaces, quotes, brackets and in another order.
//!
//! Source: <https://packaging.python.org/en/latest/specifications/dependency-specifiers/>

use std::collections::BTreeSet;

use pep440_rs::VersionSpecifier;

use crate::name::normalize;

/// What a `Requires-Dist` entry means; equal for entries that differ in spelling only.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Requirement {
    name: String,
    extras: BTreeSet<String>,
    versions: Versions,
    address: String,
    marker: String,
}

/// What a list of version specifiers means, in any order.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Versions(BTreeSet<String>);

impl Requirement {
    /// Reads a requirement; what is none is equal to itself only.
    pub fn read(text: &str) -> Self {
        // An address may hold a semicolon; only one after a space ends it.
        let end = if text.contains('@') { " ;" } else { ";" };
        let (head, marker) = text.split_once(end).unwrap_or((text, ""));
        let head = head.trim();
        let is_of_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        let (name, rest) = head.split_at(head.find(|c| !is_of_name(c)).unwrap_or(head.len()));
        let (extras, rest) = match rest.trim_start().strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((extras, rest)) => (extras, rest),
            None => ("", rest),
        };
        let (versions, address) = match rest.trim_start().strip_prefix('@') {
            Some(address) => ("", address.trim()),
            None => (rest, ""),
        };
        Self {
            name: same_name(name),
            extras: extras.split(',').map(str::trim).filter(|extra| !extra.is_empty()).map(same_name).collect(),
            versions: Versions::read(versions),
            address: address.to_owned(),
            marker: same_marker(marker),
        }
    }
}

impl Versions {
    /// Reads a list of specifiers; what is none is equal to itself only.
    pub fn read(text: &str) -> Self {
        let list = folded(text);
        let same = |one: &str| one.parse::<VersionSpecifier>().map_or_else(|_| one.to_owned(), |s| s.to_string());
        Self(list.split(',').filter(|one| !one.is_empty()).map(same).collect())
    }
}

/// The one spelling of a name of a project or an extra.
pub fn same_name(name: &str) -> String {
    normalize(name).unwrap_or_else(|| name.to_owned())
}

fn same_marker(marker: &str) -> String {
    let folded = folded(marker);
    // Every second part is a literal.
    let mut parts: Vec<String> = folded.split('"').map(str::to_owned).collect();
    for literal in (1..parts.len()).step_by(2) {
        if parts[literal - 1].ends_with("extra==") {
            parts[literal] = same_name(&parts[literal]);
        }
    }
    parts.join("\"")
}

/// Without what spelling alone decides.
pub fn folded(text: &str) -> String {
    let text: String = text.chars().filter(|c| !c.is_whitespace() && !matches!(c, '(' | ')')).collect();
    text.replace('\'', "\"").to_lowercase()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn spellings_of_one_requirement_are_equal() {
        for (a, b) in [
            ("six>=1,<2", "six <2, >=1"),
            ("six (>=1.0)", "six>=1.0"),
            ("Foo_Bar", "foo-bar"),
            ("a[x,y]", "a [ Y , x ]"),
            ("a[x]>=1; python_version < '3'", "A[x] (>=1) ; python_version<\"3\""),
            ("a; extra == 'Foo_Bar'", "a ; (extra == \"foo-bar\")"),
            ("a; os_name == 'nt' and extra == 'Foo_Bar'", "a; os_name == 'nt' and extra == 'foo.bar'"),
            ("a @ https://e.test/a.zip", "a@https://e.test/a.zip"),
            ("a @ https://e.test/a;b.zip ; extra == 'x'", "a @ https://e.test/a;b.zip ;extra==\"x\""),
            ("six>=2.0RC1", "six>=2.0rc1"),
        ] {
            assert_eq!(Requirement::read(a), Requirement::read(b), "{a} and {b}");
        }
        assert_eq!(Versions::read(">=3.8, <4"), Versions::read("<4,>=3.8"));
    }

    #[test]
    fn other_requirements_are_not() {
        for (a, b) in [
            ("six>=1", "six>=2"),
            ("six>=1", "six"),
            ("six>=1", "seven>=1"),
            ("six[a]", "six[b]"),
            ("six[a]", "six"),
            ("six", "six; extra == 'x'"),
            ("six; extra == 'y'", "six; extra == 'x'"),
            ("six; os_name == 'Foo_Bar'", "six; os_name == 'foo-bar'"),
            ("six @ https://e.test/a", "six @ https://e.test/b"),
            ("six>=1", "six>=1,<2"),
            ("six ??", "six"),
        ] {
            assert_ne!(Requirement::read(a), Requirement::read(b), "{a} and {b}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "\\PC{0,80}") {
            prop_assert_eq!(Requirement::read(&text), Requirement::read(&text));
        }
    }
}

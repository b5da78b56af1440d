//! Coordinates: a group and an artifact, written `com.acme:widget` (access.md §7).

use std::fmt;

use publaryn_core::{PackageName, RegistryError};

/// Longest group and longest artifact id, in characters (access.md §7).
pub const MAX_PART_CHARS: usize = 200;

/// What names a package: where it lies in a repository follows from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Coordinates {
    pub group: String,
    pub artifact: String,
}

impl Coordinates {
    /// # Errors
    /// What is wrong with either part.
    pub fn new(group: &str, artifact: &str) -> Result<Self, NameFault> {
        check(group, "groupId")?;
        check(artifact, "artifactId")?;
        Ok(Self { group: group.to_owned(), artifact: artifact.to_owned() })
    }

    /// The name in the registry. Reads go by the exact spelling; names that differ only in case are one name.
    pub fn package_name(&self) -> PackageName {
        let canonical = self.canonical();
        PackageName::accepted(&self.to_string(), &canonical, &canonical).keeping_spelling()
    }

    /// The key a package is stored under.
    pub fn canonical(&self) -> String {
        self.to_string().to_ascii_lowercase()
    }
}

impl fmt::Display for Coordinates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.group, self.artifact)
    }
}

/// What is wrong with a part of a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameFault {
    #[error("{0} is empty or longer than {MAX_PART_CHARS} characters")]
    Length(&'static str),
    #[error("{0} may hold only letters, digits, `.`, `_` and `-`, and starts with none of `.` and `-`")]
    Characters(&'static str),
    #[error("{0} has an empty part between dots")]
    Dots(&'static str),
    #[error("a package is named by groupId:artifactId")]
    Form,
}

fn check(part: &str, what: &'static str) -> Result<(), NameFault> {
    if part.is_empty() || part.len() > MAX_PART_CHARS {
        return Err(NameFault::Length(what));
    }
    let is_legal = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    if part.starts_with(['.', '-']) || !part.bytes().all(is_legal) {
        return Err(NameFault::Characters(what));
    }
    if part.ends_with('.') || part.contains("..") {
        return Err(NameFault::Dots(what));
    }
    Ok(())
}

/// Parses `group:artifact`.
///
/// # Errors
/// `Invalid` with the reason.
pub fn parse_name(raw: &str) -> Result<PackageName, RegistryError> {
    let parsed = match raw.split_once(':') {
        Some((group, artifact)) => Coordinates::new(group, artifact),
        None => Err(NameFault::Form),
    };
    match parsed {
        Ok(coordinates) => Ok(coordinates.package_name()),
        Err(fault) => Err(RegistryError::invalid("invalid_name", fault.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_a_group_and_an_artifact() {
        let name = parse_name("com.Acme:Widget_2.12").unwrap();
        assert_eq!((name.display(), name.canonical()), ("com.Acme:Widget_2.12", "com.acme:widget_2.12"));
        assert!(name.respells("com.acme:widget_2.12"));
        for good in ["a:b", "com.acme:a-b", "_a:1", "commons-io:commons-io", "com.acme.x_y:z.w"] {
            assert!(parse_name(good).is_ok(), "{good}");
        }
        for bad in [
            "", "a", ":", "a:", ":a", "a:b:c", "-a:b", ".a:b", "a.:b", "a..b:c", "a:b.", "a b:c", "~auth:b", "a/b:c",
            "ä:b", "a:$b",
        ] {
            assert!(parse_name(bad).is_err(), "{bad}");
        }
        assert!(parse_name(&format!("{}:b", "a".repeat(201))).is_err());
    }

    #[test]
    fn a_hyphen_may_stand_on_either_side_of_the_colon() {
        assert_ne!(parse_name("a-b:c").unwrap(), parse_name("a:b-c").unwrap());
    }
}

//! Gem names: which are allowed, and which are too close to each other (rubygems.md §7).

use publaryn_core::{PackageName, RegistryError};

/// Longest name, in characters (access.md §7).
pub const MAX_NAME_CHARS: usize = 255;

/// Endings that would make addresses ambiguous.
const FORBIDDEN_ENDINGS: [&str; 5] = [".gem", ".json", ".html", ".gemspec", ".yaml"];

/// Parses the name of a gem of this registry.
///
/// Clients ask for a gem by its exact spelling, so every release repeats it; names that differ only in case are
/// one name, and names that differ only in `-` and `_` may not have two owners.
///
/// # Errors
/// `Invalid` with the reason.
pub fn parse_name(raw: &str) -> Result<PackageName, RegistryError> {
    if let Some(fault) = fault(raw) {
        let shown: String = raw.chars().take(100).collect();
        return Err(RegistryError::invalid("invalid_name", format!("`{shown}` is no gem name: {fault}")));
    }
    let key = canonical(raw);
    let alike = key.replace(['-', '_'], "");
    Ok(PackageName::accepted(raw, &key, &key).keeping_spelling().looking_like(&alike))
}

/// The key a gem is stored under.
pub fn canonical(name: &str) -> String {
    name.to_ascii_lowercase()
}

/// What is wrong with a name: of a gem, or of one that another asks for.
pub fn fault(name: &str) -> Option<&'static str> {
    if name.is_empty() || name.len() > MAX_NAME_CHARS {
        return Some("it must have between 1 and 255 characters");
    }
    if !name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-')) {
        return Some("only letters, digits, `.`, `_` and `-` are allowed");
    }
    if !name.bytes().any(|b| b.is_ascii_alphabetic()) {
        return Some("it must contain a letter");
    }
    if name.starts_with(['.', '-', '_']) {
        return Some("it must start with a letter or a digit");
    }
    let lower = name.to_ascii_lowercase();
    FORBIDDEN_ENDINGS.iter().any(|ending| lower.ends_with(ending)).then_some("it ends like a file name")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_told_apart_and_kept_apart() {
        for good in ["rack", "net-http", "a", "RedCloth", "1password", "foo.bar", "x_y"] {
            assert!(parse_name(good).is_ok(), "{good}");
        }
        for bad in ["", "-a", ".a", "_a", "1.2", "a b", "a/b", "ä", "a.json", "a.YAML", "a.gem", &"a".repeat(256)] {
            assert!(parse_name(bad).is_err(), "{bad}");
        }
        let (a, b) = (parse_name("Net-HTTP").unwrap(), parse_name("net_http").unwrap());
        assert_eq!((a.display(), a.canonical()), ("Net-HTTP", "net-http"));
        assert_ne!(a.collision_key(), b.collision_key());
        assert_eq!(a.lookalike_key(), b.lookalike_key());
        assert!(a.respells("net-http"));
    }
}

//! Gem names: which are allowed, and which are too close to each other (rubygems.md §7).

use publaryn_core::{PackageName, RegistryError};

/// Longest name, in characters (access.md §7).
pub const MAX_NAME_CHARS: usize = 200;

/// Endings that would make addresses ambiguous.
const FORBIDDEN_ENDINGS: [&str; 5] = [".gem", ".json", ".html", ".gemspec", ".yaml"];

/// Parses the name of a gem of this registry.
///
/// Clients ask for a gem by its exact spelling, so every release repeats it; of names that differ only in case, or in
/// `-` and `_`, only one is to be had (access.md §7).
///
/// # Errors
/// `Invalid` with the reason.
pub fn parse_name(raw: &str) -> Result<PackageName, RegistryError> {
    if let Some(fault) = fault(raw) {
        let shown: String = raw.chars().take(100).collect();
        return Err(RegistryError::invalid("invalid_name", format!("`{shown}` is no gem name: {fault}")));
    }
    let key = canonical(raw);
    Ok(PackageName::accepted(raw, &key, &key.replace('-', "_")).keeping_spelling())
}

/// The key a gem is stored under.
pub fn canonical(name: &str) -> String {
    name.to_ascii_lowercase()
}

/// What is wrong with a name: of a gem, or of one that another asks for.
pub fn fault(name: &str) -> Option<&'static str> {
    if name.is_empty() || name.len() > MAX_NAME_CHARS {
        return Some("it must have between 1 and 200 characters");
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
        for bad in ["", "-a", ".a", "_a", "1.2", "a b", "a/b", "ä", "a.json", "a.YAML", "a.gem", &"a".repeat(201)] {
            assert!(parse_name(bad).is_err(), "{bad}");
        }
        let (a, b) = (parse_name("Net-HTTP").unwrap(), parse_name("net_http").unwrap());
        assert_eq!((a.display(), a.canonical()), ("Net-HTTP", "net-http"));
        assert_eq!((a.collision_key(), b.collision_key()), ("net_http", "net_http"));
        assert_ne!(a.canonical(), b.canonical());
        assert_eq!(parse_name("n3t.http1").unwrap().lookalike_key(), parse_name("n3thttpl").unwrap().lookalike_key());
        assert!(a.respells("net-http"));
    }
}

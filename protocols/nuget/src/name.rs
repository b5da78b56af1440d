//! Package ids (nuget.md §6): one package whatever the case, shown as first published.

use publaryn_core::{PackageName, RegistryError};

/// Longest id, in characters.
pub const MAX_ID_CHARS: usize = 100;

/// Parses the id of a package.
///
/// # Errors
/// `Invalid` with the reason.
pub fn parse_name(raw: &str) -> Result<PackageName, RegistryError> {
    if !is_id(raw) {
        let shown: String = raw.chars().take(MAX_ID_CHARS).collect();
        let rule = "letters, digits and `_`, joined by single `.` or `-`, at most 100 characters";
        return Err(RegistryError::invalid("invalid_name", format!("`{shown}` is no package id: {rule}")));
    }
    let key = canonical(raw);
    Ok(PackageName::accepted(raw, &key, &key))
}

/// The key a package is stored under, and the form in addresses.
pub fn canonical(id: &str) -> String {
    id.to_ascii_lowercase()
}

/// Whether a text can be an id at all.
pub fn is_id(text: &str) -> bool {
    text.len() <= MAX_ID_CHARS
        && text
            .split(['.', '-'])
            .all(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_words_joined_by_single_dots_and_dashes() {
        for good in ["Newtonsoft.Json", "a", "_x", "A-b.c_d", "7zip", &"a".repeat(100)] {
            assert!(parse_name(good).is_ok(), "{good}");
        }
        for bad in ["", ".a", "a.", "a..b", "a.-b", "a b", "a/b", "$id$", "ä", "~auth", &"a".repeat(101)] {
            assert!(parse_name(bad).is_err(), "{bad}");
        }
        let name = parse_name("Acme.Lib").unwrap();
        assert_eq!((name.display(), name.canonical()), ("Acme.Lib", "acme.lib"));
        assert!(!name.respells("ACME.LIB"));
    }
}

//! Project names: which are allowed, and which are the same.
//!
//! Source: <https://packaging.python.org/en/latest/specifications/name-normalization/>

use publaryn_core::{PackageName, RegistryError, similar};

/// Longest project name, in characters (access.md §7).
pub const MAX_NAME_CHARS: usize = 200;

/// Parses the name of a project of this index.
///
/// # Errors
/// `Invalid` with the reason in the words of the public index.
pub fn parse_name(raw: &str) -> Result<PackageName, RegistryError> {
    let Some(canonical) = normalize(raw) else {
        let shown: String = raw.chars().take(60).filter(|c| !c.is_control()).collect();
        let message = format!(
            "'{shown}' is an invalid value for Name. Error: Start and end with a letter or numeral, with only ASCII \
             letters, numerals, '.', '_' and '-' between, at most {MAX_NAME_CHARS} characters."
        );
        return Err(RegistryError::invalid("invalid_name", message));
    };
    Ok(PackageName::accepted(raw, &canonical, &canonical).looking_like(&lookalike_key(&canonical)))
}

/// The normalised form (PEP 503): lower case, runs of `-`, `_` and `.` as one `-`. `None` for what is no name.
pub fn normalize(raw: &str) -> Option<String> {
    let is_edge = |b: Option<&u8>| b.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = raw.as_bytes();
    if bytes.len() > MAX_NAME_CHARS || !is_edge(bytes.first()) || !is_edge(bytes.last()) {
        return None;
    }
    let mut normal = String::with_capacity(raw.len());
    for byte in bytes {
        match byte {
            b'-' | b'_' | b'.' if normal.ends_with('-') => {}
            b'-' | b'_' | b'.' => normal.push('-'),
            byte if byte.is_ascii_alphanumeric() => normal.push(byte.to_ascii_lowercase().into()),
            _ => return None,
        }
    }
    Some(normal)
}

/// Here `l` and `1` also look like `i` (pypi.md §5).
fn lookalike_key(canonical: &str) -> String {
    similar::lookalike_key(canonical).replace('l', "i")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_are_normalised_and_nonsense_is_refused() {
        for (raw, wanted) in [
            ("demo", "demo"),
            ("Demo.Pkg", "demo-pkg"),
            ("demo__-.pkg", "demo-pkg"),
            ("A", "a"),
            ("0", "0"),
            (&"a".repeat(200), &"a".repeat(200)),
        ] {
            assert_eq!(normalize(raw).as_deref(), Some(wanted), "{raw}");
        }
        for bad in ["", "-a", "a-", ".a", "a_", "a b", "a/b", "../x", "ünicode", "a\0b", "a!", &"a".repeat(201)] {
            assert_eq!(normalize(bad), None, "{bad}");
            let error = parse_name(bad).unwrap_err().to_string();
            assert!(error.contains("is an invalid value for Name. Error: "), "{error}");
        }
    }

    #[test]
    fn names_that_look_alike_share_a_key() {
        let key = |name: &str| parse_name(name).unwrap().lookalike_key();
        for (a, b) in [("demo-pkg", "demopkg"), ("dem0", "demo"), ("lib1", "iibl"), ("Py_Lib", "pylib")] {
            assert_eq!(key(a), key(b), "{a} {b}");
        }
        assert_ne!(key("demo"), key("demos"));
    }

    proptest! {
        #[test]
        fn normalising_is_idempotent_and_never_panics(raw in "\\PC{0,40}") {
            if let Some(normal) = normalize(&raw) {
                prop_assert_eq!(normalize(&normal), Some(normal.clone()));
                prop_assert!(!normal.contains("--"));
            }
        }

        #[test]
        fn every_spelling_is_one_project(name in "[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?", upper in any::<u64>()) {
            let spelled: String = name.chars().enumerate().map(|(i, c)| match (c, (upper >> (i % 64)) & 1) {
                ('-', 1) => '.',
                (c, 1) => c.to_ascii_uppercase(),
                (c, _) => c,
            }).collect();
            prop_assert_eq!(normalize(&spelled), normalize(&name));
        }
    }
}

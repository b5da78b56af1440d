//! Crate names: which are allowed, under which keys they live, and where the index keeps them.
//!
//! Two keys on purpose: the *path key* (lower case) is what clients ask the index for, the
//! *collision key* (lower case, `-` = `_`) is what two crates may not share. Answering one with the
//! other makes cargo fail with a name mismatch (cargo.md §5).

use publaryn_core::{PackageName, RegistryError};

/// Longest crate name, in characters (access.md §7).
pub const MAX_NAME_CHARS: usize = 64;

/// Words no crate can be called: a dependency on it could not be written in Rust.
/// Source: <https://doc.rust-lang.org/reference/keywords.html>
const KEYWORDS: [&str; 51] = [
    "abstract", "as", "async", "await", "become", "box", "break", "const", "continue", "crate", "do", "dyn", "else",
    "enum", "extern", "false", "final", "fn", "for", "gen", "if", "impl", "in", "let", "loop", "macro", "match", "mod",
    "move", "mut", "override", "priv", "pub", "ref", "return", "self", "static", "struct", "super", "trait", "true",
    "try", "type", "typeof", "unsafe", "unsized", "use", "virtual", "where", "while", "yield",
];

/// Crates of the toolchain: a registry crate of that name would shadow or be shadowed.
const TOOLCHAIN: [&str; 7] = ["alloc", "compiler_builtins", "core", "proc_macro", "rustc", "std", "test"];

/// Parses the name of a crate of this registry.
///
/// # Errors
/// `Invalid` with the reason, as `invalid crate name ...`.
pub fn parse_name(raw: &str) -> Result<PackageName, RegistryError> {
    match fault(raw) {
        None => Ok(PackageName::accepted(raw, &collision_key(raw), &collision_key(raw)).keeping_spelling()),
        Some(reason) => {
            let shown: String = raw.chars().take(MAX_NAME_CHARS).collect();
            Err(RegistryError::invalid("invalid_name", format!("invalid crate name `{shown}`: {reason}")))
        }
    }
}

/// The key that two crates may not share.
pub fn collision_key(name: &str) -> String {
    name.to_ascii_lowercase().replace('-', "_")
}

/// Whether `requested` addresses the crate published as `published`: any case, but the exact `-` and `_`.
pub fn addresses(requested: &str, published: &str) -> bool {
    requested.eq_ignore_ascii_case(published)
}

fn fault(name: &str) -> Option<String> {
    if let Some(fault) = syntax_fault(name, false) {
        return Some(fault);
    }
    let key = collision_key(name);
    if is_windows_device(&key) {
        return Some("it is a device name on Windows".into());
    }
    if KEYWORDS.contains(&key.as_str()) {
        return Some("it is a Rust keyword".into());
    }
    if TOOLCHAIN.contains(&key.as_str()) {
        return Some("it is the name of a crate of the Rust toolchain".into());
    }
    None
}

/// What is wrong with the form of a name: of a crate, or of the alias a manifest gives a dependency
/// (which may start with `_`).
pub fn syntax_fault(name: &str, is_alias: bool) -> Option<String> {
    let mut chars = name.chars();
    match chars.next() {
        None => return Some("it is empty".into()),
        Some(c) if c.is_ascii_alphabetic() || (is_alias && c == '_') => {}
        Some(c) => return Some(format!("it must start with an ASCII letter, not {c:?}")),
    }
    if let Some(c) = chars.find(|c| !c.is_ascii_alphanumeric() && !matches!(c, '-' | '_')) {
        return Some(format!("{c:?} is not an ASCII letter, digit, `-` or `_`"));
    }
    (name.len() > MAX_NAME_CHARS).then(|| format!("it is longer than {MAX_NAME_CHARS} characters"))
}

fn is_windows_device(key: &str) -> bool {
    match key {
        "con" | "prn" | "aux" | "nul" => true,
        _ => matches!(key.as_bytes(), [b'c', b'o', b'm', b'1'..=b'9'] | [b'l', b'p', b't', b'1'..=b'9']),
    }
}

/// The crate name an index path asks for; `None` unless the directories are the ones its name demands
/// and all of it is lower case.
/// Source: <https://doc.rust-lang.org/cargo/reference/registry-index.html#index-files>
pub fn name_of_index_path(path: &str) -> Option<&str> {
    let name = path.rsplit('/').next()?;
    let is_plain = syntax_fault(name, false).is_none() && !name.bytes().any(|b| b.is_ascii_uppercase());
    (is_plain && path == index_path(name)).then_some(name)
}

/// Where the index keeps a (lower-case) name.
pub fn index_path(name: &str) -> String {
    match name.len() {
        0..=2 => format!("{}/{name}", name.len()),
        3 => format!("3/{}/{name}", &name[..1]),
        _ => format!("{}/{}/{name}", &name[..2], &name[2..4]),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_that_rust_or_file_systems_cannot_hold_are_refused() {
        for good in ["a", "serde", "Foo-Bar_2", "x9", "com10", "a-", "core-foundation", &"a".repeat(64)] {
            assert!(parse_name(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "1a",
            "_a",
            "-a",
            "x!",
            "ünicode",
            "a.b",
            "a/b",
            "a b",
            "con",
            "NUL",
            "Com1",
            "lpt9",
            "fn",
            "Self",
            "async",
            "test",
            "core",
            "std",
            "alloc",
            "proc_macro",
            "proc-macro",
            "Proc-Macro",
            &"a".repeat(65),
        ] {
            let error = parse_name(bad).unwrap_err().to_string();
            assert!(error.starts_with("invalid crate name `"), "{bad}: {error}");
        }
    }

    #[test]
    fn spelling_is_kept_and_separators_collide() {
        let (a, b) = (parse_name("Foo-Bar").unwrap(), parse_name("foo_bar").unwrap());
        assert_eq!(a.display(), "Foo-Bar");
        assert_eq!(a.collision_key(), b.collision_key());
        assert!(addresses("foo-bar", "Foo-Bar") && !addresses("foo_bar", "Foo-Bar"));
    }

    #[test]
    fn index_paths_are_exact() {
        for (path, name) in
            [("1/a", "a"), ("2/ab", "ab"), ("3/a/abc", "abc"), ("ab/cd/abcd", "abcd"), ("se/rd/serde", "serde")]
        {
            assert_eq!(name_of_index_path(path), Some(name));
        }
        for bad in [
            "",
            "a",
            "1/ab",
            "3/b/abc",
            "3/abc",
            "ab/ce/abcd",
            "Se/rd/Serde",
            "se/rd/Serde",
            "se/rd/serde/",
            "/se/rd/serde",
            "se/rd/../serde",
            "se//serde",
            "1/é",
            "xx/se/rd/serde",
        ] {
            assert_eq!(name_of_index_path(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn every_valid_name_has_one_index_path(name in "[a-z][a-z0-9_-]{0,63}") {
            let path = index_path(&name);
            prop_assert_eq!(name_of_index_path(&path), Some(name.as_str()));
        }

        #[test]
        fn what_is_accepted_is_found_under_its_index_path(name in "\\PC{0,70}|[A-Za-z0-9_-]{1,70}") {
            if let Ok(parsed) = parse_name(&name) {
                let lower = parsed.display().to_ascii_lowercase();
                let path = index_path(&lower);
                prop_assert_eq!(name_of_index_path(&path), Some(lower.as_str()));
                prop_assert!(addresses(&lower, parsed.display()));
                prop_assert_eq!(parsed.collision_key(), collision_key(&lower));
            }
        }

        #[test]
        fn no_path_panics(path in "\\PC{0,40}") {
            name_of_index_path(&path);
        }
    }
}

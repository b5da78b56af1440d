//! Names, versions, index paths and index URLs: no panic, and each accepted name has one place.
#![no_main]

use libfuzzer_sys::fuzz_target;
use publaryn_cargo::{
    name::{addresses, index_path, name_of_index_path, parse_name},
    own_index::OwnIndexes,
    publish_json::parse_version,
};

fuzz_target!(|text: &str| {
    if let Ok(name) = parse_name(text) {
        let lower = text.to_ascii_lowercase();
        assert_eq!(name_of_index_path(&index_path(&lower)), Some(lower.as_str()));
        assert!(addresses(text, name.display()));
    }
    if let Some(name) = name_of_index_path(text) {
        assert_eq!(index_path(name), text);
    }
    if let Ok(version) = parse_version(text) {
        assert!(version.as_str() == text && text.starts_with(version.unique_key()));
    }
    let own = OwnIndexes::new(["https://pkg.example/base", text]);
    own.contains(text);
    own.check_foreign(text).ok();
});

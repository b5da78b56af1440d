//! The JSON of a publish request: no panic, and what is accepted can be stored and rendered.
#![no_main]

use libfuzzer_sys::fuzz_target;
use publaryn_cargo::{own_index::OwnIndexes, publish_json::NewCrate};

fuzz_target!(|json: &[u8]| {
    let Ok(new) = NewCrate::parse(json) else { return };
    let own = OwnIndexes::new(["https://pkg.example"]);
    let Ok(checked) = new.check(&own, vec![]) else { return };
    assert_eq!(checked.release.name, checked.name.display());
    assert_eq!(checked.release.vers, checked.version.as_str());
    assert!(checked.release.deps.iter().all(|dep| dep.registry.as_deref().is_none_or(|url| !own.contains(url))));
    assert!(!checked.facts().description.is_some_and(|text| text.trim().is_empty()));
});

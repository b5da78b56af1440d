//! What a release is made of (control-plane.md §2, Analysis), out of its document.

use publaryn_protocol::{
    KeptRelease,
    makeup::{Makeup, count, size_of},
};

pub(crate) fn makeup(release: &KeptRelease<'_>) -> Makeup {
    let (spec, dependencies) = (release.document, &release.document["dependencies"]);
    let is_built = size_of(&spec["extensions"]) > 0;
    Makeup {
        runtime_dependency_count: Some(count(dependencies, |dependency| dependency["is_development"] != true)),
        development_dependency_count: Some(count(dependencies, |dependency| dependency["is_development"] == true)),
        install_script_count: Some(size_of(&spec["extensions"])),
        has_native_code: Some(is_built || spec["platform"] != "ruby"),
        ..Makeup::default()
    }
}

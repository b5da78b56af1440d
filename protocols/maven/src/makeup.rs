//! What a release is made of (control-plane.md §2, Analysis), out of its document.

use publaryn_protocol::{
    KeptRelease,
    makeup::{Makeup, count},
};

pub(crate) fn makeup(release: &KeptRelease<'_>) -> Makeup {
    let dependencies = &release.document["dependencies"];
    let is_test = |dependency: &serde_json::Value| dependency["scope"] == "test";
    let is_optional = |dependency: &serde_json::Value| dependency["optional"] == true;
    Makeup {
        runtime_dependency_count: Some(count(dependencies, |one| !is_test(one) && !is_optional(one))),
        development_dependency_count: Some(count(dependencies, is_test)),
        optional_dependency_count: Some(count(dependencies, |one| !is_test(one) && is_optional(one))),
        ..Makeup::default()
    }
}

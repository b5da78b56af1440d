//! What a release is made of (control-plane.md §2, Analysis), out of its document.

use publaryn_protocol::{
    KeptRelease,
    makeup::{Makeup, count, size_of},
};

pub(crate) fn makeup(release: &KeptRelease<'_>) -> Makeup {
    let deps = &release.document["deps"];
    let is_optional = |dep: &serde_json::Value| dep["optional"] == true;
    Makeup {
        runtime_dependency_count: Some(count(deps, |dep| dep["kind"] != "dev" && !is_optional(dep))),
        development_dependency_count: Some(count(deps, |dep| dep["kind"] == "dev")),
        optional_dependency_count: Some(count(deps, |dep| dep["kind"] != "dev" && is_optional(dep))),
        extra_count: Some(size_of(&release.document["features"])),
        has_native_code: Some(release.document["links"].is_string()),
        ..Makeup::default()
    }
}

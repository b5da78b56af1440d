//! What a release is made of (control-plane.md §2, Analysis), out of its document.

use publaryn_protocol::{
    KeptRelease,
    makeup::{Makeup, size_of},
};

pub(crate) fn makeup(release: &KeptRelease<'_>) -> Makeup {
    let manifest = &release.document["manifest"];
    // `php` and its extensions are the platform's, not packages.
    let packages = |links: &serde_json::Value| {
        links.as_object().map_or(0, |links| links.keys().filter(|name| name.contains('/')).count())
    };
    Makeup {
        runtime_dependency_count: Some(packages(&manifest["require"])),
        development_dependency_count: Some(packages(&manifest["require-dev"])),
        optional_dependency_count: Some(size_of(&manifest["suggest"])),
        has_cli_entrypoints: Some(manifest["bin"].is_string() || size_of(&manifest["bin"]) > 0),
        ..Makeup::default()
    }
}

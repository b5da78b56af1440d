//! What a release is made of (control-plane.md §2, Analysis), out of its document.

use std::collections::BTreeSet;

use publaryn_protocol::{
    KeptRelease,
    makeup::{Makeup, size_of},
};

pub(crate) fn makeup(release: &KeptRelease<'_>) -> Makeup {
    let nuspec = &release.document["nuspec"];
    let groups = nuspec["dependency_groups"].as_array().map(Vec::as_slice).unwrap_or_default();
    let dependencies = groups.iter().flat_map(|group| group["dependencies"].as_array().into_iter().flatten());
    let names: BTreeSet<String> =
        dependencies.filter_map(|dependency| Some(dependency["id"].as_str()?.to_lowercase())).collect();
    let types = &nuspec["package_types"];
    let is_tool = types.as_array().is_some_and(|types| types.iter().any(|kind| kind == "DotnetTool"));
    Makeup {
        runtime_dependency_count: Some(names.len()),
        dependency_group_count: Some(groups.len()),
        package_type_count: Some(size_of(types).max(1)),
        has_cli_entrypoints: Some(is_tool),
        ..Makeup::default()
    }
}

//! What a release is made of (control-plane.md §2, Analysis), out of its document.

use publaryn_protocol::{
    KeptRelease,
    makeup::{Makeup, size_of},
};

pub(crate) fn makeup(release: &KeptRelease<'_>) -> Makeup {
    let (manifest, archive) = (&release.document["manifest"], &release.document["archive"]);
    let scripts =
        ["preinstall", "install", "postinstall"].iter().filter(|name| manifest["scripts"][**name].is_string());
    // A native build is a script that nobody wrote down.
    let builds = release.document["has_install_script"] == true;
    let bundled = ["bundledDependencies", "bundleDependencies"].iter().map(|name| size_of(&manifest[*name])).sum();
    Makeup {
        install_size_bytes: archive["unpacked_size"].as_u64(),
        file_count: archive["file_count"].as_u64(),
        runtime_dependency_count: Some(size_of(&manifest["dependencies"])),
        development_dependency_count: Some(size_of(&manifest["devDependencies"])),
        peer_dependency_count: Some(size_of(&manifest["peerDependencies"])),
        optional_dependency_count: Some(size_of(&manifest["optionalDependencies"])),
        bundled_dependency_count: Some(bundled),
        install_script_count: Some(scripts.count().max(usize::from(builds))),
        has_cli_entrypoints: Some(manifest["bin"].is_string() || size_of(&manifest["bin"]) > 0),
        has_tree_shaking_hints: Some(manifest.get("sideEffects").is_some() || manifest["module"].is_string()),
        has_native_code: Some(archive["has_binding_gyp"] == true),
        ..Makeup::default()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_manifest_is_counted() {
        let document = json!({
            "manifest": {
                "dependencies": {"a": "1", "b": "1"}, "devDependencies": {"c": "1"}, "bundledDependencies": ["a"],
                "bin": {"x": "x.js"}, "sideEffects": false, "scripts": {"postinstall": "x", "test": "y"},
            },
            "archive": {"unpacked_size": 1000, "file_count": 7, "has_binding_gyp": false},
            "has_install_script": true,
        });
        let release = KeptRelease {
            name: "a",
            version: "1.0.0",
            is_yanked: false,
            document: &document,
            files: Vec::new(),
            base_url: "",
        };
        let made = makeup(&release);
        assert_eq!((made.install_size_bytes, made.file_count), (Some(1000), Some(7)));
        assert_eq!((made.direct_dependency_count(), made.bundled_dependency_count), (Some(3), Some(1)));
        assert_eq!((made.install_script_count, made.has_cli_entrypoints), (Some(1), Some(true)));
        assert_eq!((made.has_tree_shaking_hints, made.has_native_code), (Some(true), Some(false)));
    }
}

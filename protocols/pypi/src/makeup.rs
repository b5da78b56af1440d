//! What a release is made of (control-plane.md §2, Analysis), out of its document.

use publaryn_protocol::{
    KeptRelease,
    makeup::{Makeup, count, size_of},
};

pub(crate) fn makeup(release: &KeptRelease<'_>) -> Makeup {
    let requires = &release.document["requires_dist"];
    // What is wanted with an extra only says so in its marker (PEP 508).
    let is_extra = |line: &serde_json::Value| line.as_str().is_some_and(|line| line.contains("extra"));
    let mut wheels = release.files.iter().filter(|file| file.filename.ends_with(".whl")).peekable();
    Makeup {
        runtime_dependency_count: Some(count(requires, |line| !is_extra(line))),
        optional_dependency_count: Some(count(requires, is_extra)),
        extra_count: Some(size_of(&release.document["provides_extra"])),
        has_native_code: wheels.peek().is_some().then(|| wheels.any(|wheel| !wheel.filename.ends_with("-any.whl"))),
        ..Makeup::default()
    }
}

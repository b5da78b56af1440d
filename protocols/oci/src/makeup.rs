//! What a release is made of (control-plane.md §2, Analysis), out of its document.

use publaryn_protocol::{
    KeptRelease,
    makeup::{Makeup, size_of},
};

pub(crate) fn makeup(release: &KeptRelease<'_>) -> Makeup {
    let manifest = &release.document["manifest"];
    let layers = manifest["layers"].as_array().map(Vec::as_slice).unwrap_or_default();
    let sizes = layers.iter().chain([&manifest["config"]]).filter_map(|part| part["size"].as_u64());
    let is_image = manifest["layers"].is_array();
    Makeup {
        compressed_size_bytes: is_image.then(|| sizes.sum()),
        layer_count: is_image.then(|| size_of(&manifest["layers"])),
        ..Makeup::default()
    }
}

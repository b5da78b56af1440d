//! Crates.

use flate2::Compression;
use rand::{SeedableRng, rngs::StdRng};
use reqwest::Method;
use serde_json::json;

use super::{Upload, targz, text};
use crate::Error;

/// A crate with a handful of dependencies and about `source_bytes` of source text.
pub(crate) fn crate_upload(name: &str, version: &str, source_bytes: usize) -> Result<Upload, Error> {
    let mut manifest = format!(
        "[package]\nname = \"{name}\"\nversion = \"{version}\"\nedition = \"2021\"\n\
         description = \"A crate to be measured\"\nlicense = \"MIT\"\n\n[dependencies]\n"
    );
    let mut deps = Vec::new();
    for dependency in ["serde", "thiserror", "tracing", "bytes", "itoa"] {
        manifest.push_str(&format!("{dependency} = \"1.0\"\n"));
        deps.push(json!({
            "name": dependency, "version_req": "^1.0", "features": [], "optional": false, "default_features": true,
            "target": null, "kind": "normal", "registry": "https://github.com/rust-lang/crates.io-index",
            "explicit_name_in_toml": null,
        }));
    }
    let files = [
        (format!("{name}-{version}/Cargo.toml"), manifest.into_bytes()),
        (format!("{name}-{version}/src/lib.rs"), text(&mut StdRng::from_os_rng(), source_bytes)),
    ];
    let archive = targz(&files, Compression::default())?;
    let metadata = json!({
        "name": name, "vers": version, "deps": deps, "features": {},
        "authors": [], "description": "A crate to be measured", "license": "MIT",
    });
    let metadata = serde_json::to_vec(&metadata)?;
    let mut body = Vec::new();
    for part in [metadata, archive] {
        body.extend_from_slice(&u32::try_from(part.len())?.to_le_bytes());
        body.extend_from_slice(&part);
    }
    let path = "/api/v1/crates/new".to_owned();
    Ok(Upload { method: Method::PUT, path, content_type: "application/octet-stream", body: body.into() })
}

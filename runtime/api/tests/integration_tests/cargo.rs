//! `cargo publish` by hand.

use serde_json::json;

use crate::app::{Answer, Server};

/// A minimal `.crate`.
fn archive(name: &str, version: &str) -> Vec<u8> {
    let manifest = format!(
        "[package]\nname = \"{name}\"\nversion = \"{version}\"\nedition = \"2021\"\ndescription = \"x\"\nlicense = \"MIT\"\n"
    );
    let mut tar = tar::Builder::new(flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast()));
    for (path, data) in [("Cargo.toml", manifest.as_bytes()), ("src/lib.rs", b"")] {
        let mut header = tar::Header::new_ustar();
        header.set_size(data.len() as u64);
        header.set_mode(0o644);
        header.set_cksum();
        tar.append_data(&mut header, format!("{name}-{version}/{path}"), data).unwrap();
    }
    tar.into_inner().unwrap().finish().unwrap()
}

/// The frame that cargo PUTs: lengths in little endian, JSON, archive.
pub async fn publish(server: &Server, token: Option<&str>, name: &str, version: &str) -> Answer {
    let metadata = json!({
        "name": name, "vers": version, "deps": [], "features": {}, "authors": [], "description": "x",
        "license": "MIT", "license_file": null, "readme": null, "readme_file": null, "homepage": null,
        "documentation": null, "repository": null, "keywords": [], "categories": [], "links": null, "badges": {},
    })
    .to_string();
    let archive = archive(name, version);
    let mut frame = Vec::new();
    for part in [metadata.as_bytes(), &archive] {
        frame.extend_from_slice(&u32::try_from(part.len()).unwrap().to_le_bytes());
        frame.extend_from_slice(part);
    }
    let call = server.call("PUT", "/cargo/api/v1/crates/new").bytes(frame);
    // Cargo sends its token bare.
    let call = if let Some(token) = token { call.header("authorization", token) } else { call };
    call.send().await
}

/// The path of a crate's sparse-index file; names of four letters and more.
pub fn index_path(name: &str) -> String {
    format!("/cargo/index/{}/{}/{name}", &name[..2], &name[2..4])
}

pub fn download_path(name: &str, version: &str) -> String {
    format!("/cargo/api/v1/crates/{name}/{version}/download")
}

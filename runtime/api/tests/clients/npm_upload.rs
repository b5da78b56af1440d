//! The body of `npm publish`, made by hand, for what real clients cannot provoke.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use sha2::{Digest, Sha512};

/// A minimal npm tarball.
pub fn tarball(name: &str, version: &str, filler: &[u8]) -> Vec<u8> {
    let manifest = json!({ "name": name, "version": version }).to_string();
    let mut tar = tar::Builder::new(flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast()));
    for (path, data) in [("package/package.json", manifest.as_bytes()), ("package/data.bin", filler)] {
        let mut header = tar::Header::new_ustar();
        header.set_size(data.len() as u64);
        header.set_mode(0o644);
        header.set_cksum();
        tar.append_data(&mut header, path, data).expect("memory takes everything");
    }
    tar.into_inner().and_then(|gz| gz.finish()).expect("memory takes everything")
}

/// The document a client PUTs.
pub fn document(name: &str, version: &str, tarball: &[u8]) -> Value {
    let integrity = format!("sha512-{}", STANDARD.encode(Sha512::digest(tarball)));
    let shasum: String = sha1::Sha1::digest(tarball).iter().map(|b| format!("{b:02x}")).collect();
    let file = format!("{name}-{version}.tgz");
    json!({
        "_id": name,
        "name": name,
        "dist-tags": { "latest": version },
        "versions": { version: {
            "_id": format!("{name}@{version}"), "name": name, "version": version,
            "dist": { "integrity": integrity, "shasum": shasum, "tarball": "http://ignored.test/x.tgz" },
        }},
        "access": null,
        "_attachments": { file: {
            "content_type": "application/octet-stream", "data": STANDARD.encode(tarball), "length": tarball.len(),
        }},
    })
}

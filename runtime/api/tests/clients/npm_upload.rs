//! The body of `npm publish`, made by hand: for what real clients cannot provoke, and to set a stage quickly.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use sha2::{Digest, Sha512};

use crate::Server;

/// A minimal npm tarball.
pub fn tarball(name: &str, version: &str, filler: &[u8]) -> Vec<u8> {
    tarball_of(&json!({ "name": name, "version": version }), &[("data.bin", filler)])
}

/// A tarball with this `package.json` and further files.
pub fn tarball_of(package_json: &Value, files: &[(&str, &[u8])]) -> Vec<u8> {
    let manifest = package_json.to_string();
    let mut tar = tar::Builder::new(flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast()));
    for (path, data) in std::iter::once(&("package.json", manifest.as_bytes())).chain(files) {
        let mut header = tar::Header::new_ustar();
        header.set_size(data.len() as u64);
        header.set_mode(0o644);
        header.set_cksum();
        tar.append_data(&mut header, format!("package/{path}"), *data).expect("memory takes everything");
    }
    tar.into_inner().and_then(|gz| gz.finish()).expect("memory takes everything")
}

/// The document a client PUTs.
pub fn document(name: &str, version: &str, tarball: &[u8]) -> Value {
    document_of(&json!({ "name": name, "version": version }), "latest", tarball)
}

/// The document a client PUTs for a package with this `package.json`.
pub fn document_of(package_json: &Value, tag: &str, tarball: &[u8]) -> Value {
    let text = |key: &str| package_json[key].as_str().expect("name and version").to_owned();
    let (name, version) = (text("name"), text("version"));
    let integrity = format!("sha512-{}", STANDARD.encode(Sha512::digest(tarball)));
    let shasum: String = sha1::Sha1::digest(tarball).iter().map(|b| format!("{b:02x}")).collect();
    let mut manifest = package_json.clone();
    manifest["_id"] = json!(format!("{name}@{version}"));
    manifest["dist"] = json!({ "integrity": integrity, "shasum": shasum, "tarball": "http://ignored.test/x.tgz" });
    let file = format!("{name}-{version}.tgz");
    json!({
        "_id": name,
        "name": name,
        "dist-tags": { tag: version },
        "versions": { version: manifest },
        "access": null,
        "_attachments": { file: {
            "content_type": "application/octet-stream", "data": STANDARD.encode(tarball), "length": tarball.len(),
        }},
    })
}

/// PUTs a publish body; status and answer.
pub async fn put(server: &Server, token: &str, name: &str, body: &Value) -> (u16, String) {
    let url = format!("{}/npm/{}", server.base_url(), name.replace('/', "%2f"));
    let response = server.http.put(url).bearer_auth(token).json(body).send().await.expect("the server answers");
    (response.status().as_u16(), response.text().await.expect("a body"))
}

/// Publishes a package whose `index.js` says `name@version`, under a tag, and expects it to be live.
pub async fn publish(server: &Server, token: &str, package_json: &Value, tag: &str) {
    let text = |key: &str| package_json[key].as_str().expect("name and version").to_owned();
    let (name, version) = (text("name"), text("version"));
    let index = format!("module.exports = '{name}@{version}';\n");
    let bytes = tarball_of(package_json, &[("index.js", index.as_bytes())]);
    let (status, text) = put(server, token, &name, &document_of(package_json, tag, &bytes)).await;
    assert_eq!(status, 201, "{name}@{version}: {text}");
}

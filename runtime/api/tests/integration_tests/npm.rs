//! `npm publish` and `npm install` by hand.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use sha2::{Digest, Sha512};

use crate::app::{Answer, Server};

/// A minimal npm tarball.
pub fn tarball(name: &str, version: &str) -> Vec<u8> {
    let manifest = json!({"name": name, "version": version}).to_string();
    let mut tar = tar::Builder::new(flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast()));
    let mut header = tar::Header::new_ustar();
    header.set_size(manifest.len() as u64);
    header.set_mode(0o644);
    header.set_cksum();
    tar.append_data(&mut header, "package/package.json", manifest.as_bytes()).unwrap();
    tar.into_inner().unwrap().finish().unwrap()
}

/// The document a client PUTs.
fn document(name: &str, version: &str, access: Option<&str>) -> Value {
    let bytes = tarball(name, version);
    let integrity = format!("sha512-{}", STANDARD.encode(Sha512::digest(&bytes)));
    let shasum: String = sha1::Sha1::digest(&bytes).iter().map(|b| format!("{b:02x}")).collect();
    json!({
        "_id": name,
        "name": name,
        "dist-tags": { "latest": version },
        "versions": { version: {
            "name": name,
            "version": version,
            "_id": format!("{name}@{version}"),
            "dist": { "integrity": integrity, "shasum": shasum, "tarball": "http://ignored.test/x.tgz" },
        }},
        "access": access,
        "_attachments": { format!("{name}-{version}.tgz"): {
            "content_type": "application/octet-stream", "data": STANDARD.encode(&bytes), "length": bytes.len(),
        }},
    })
}

fn path(name: &str) -> String {
    format!("/npm/{}", name.replace('/', "%2f"))
}

/// One under another tag that is blocked: what clients resolve from says one thing, the tarball another.
pub fn blocked(name: &str, version: &str, tag: &str) -> Value {
    let mut body = document(name, version, None);
    body["dist-tags"] = json!({ tag: version });
    body["versions"][version]["dependencies"] = json!({ "evil": "1.0.0" });
    body
}

impl Server {
    /// Sends a document and waits for the verdict.
    pub async fn npm_put(&self, token: &str, name: &str, document: Value) -> Answer {
        self.call("PUT", path(name)).bearer(token).json(document).send().await
    }

    /// Publishes and waits for the verdict.
    pub async fn npm_publish(&self, token: &str, name: &str, version: &str) -> Answer {
        self.npm_put(token, name, document(name, version, None)).await
    }

    /// Publishes something that must be live then.
    pub async fn npm_published(&self, token: &str, name: &str, version: &str) {
        let answer = self.npm_publish(token, name, version).await;
        assert_eq!(answer.status, 201, "{name}@{version}: {}", answer.text);
    }

    /// A packument as clients read it to write it back.
    pub async fn npm_whole(&self, name: &str, token: &str) -> Value {
        self.call("GET", format!("{}?write=true", path(name))).bearer(token).expect(200).await.body
    }

    /// The status of reading a packument.
    pub async fn npm_read(&self, token: Option<&str>, name: &str) -> u16 {
        let call = self.call("GET", path(name));
        let call = if let Some(token) = token { call.bearer(token) } else { call };
        call.send().await.status
    }
}

//! Publish bodies made by hand, for what cargo cannot be made to send.

use serde_json::{Value, json};

use crate::Server;

/// One publish request: metadata and archive, to be bent.
pub struct Upload {
    pub json: Value,
    pub archive: Vec<u8>,
}

impl Upload {
    pub fn new(name: &str, version: &str) -> Self {
        let manifest = manifest(name, version);
        let root = format!("{name}-{version}");
        Self {
            json: json!({ "name": name, "vers": version, "deps": [], "features": {}, "description": "a test", "license": "MIT" }),
            archive: archive(&[(&format!("{root}/Cargo.toml"), &manifest), (&format!("{root}/src/lib.rs"), "")]),
        }
    }

    pub fn with_archive(mut self, archive: Vec<u8>) -> Self {
        self.archive = archive;
        self
    }

    pub fn body(&self) -> Vec<u8> {
        frame(self.json.to_string().as_bytes(), &self.archive)
    }

    pub async fn send(&self, server: &Server, token: &str) -> (u16, String) {
        send(server, token, self.body()).await
    }
}

pub fn manifest(name: &str, version: &str) -> String {
    format!(
        "[package]\nname = \"{name}\"\nversion = \"{version}\"\nedition = \"2021\"\ndescription = \"a test\"\nlicense = \"MIT\"\n"
    )
}

pub fn frame(json: &[u8], archive: &[u8]) -> Vec<u8> {
    let mut body = (json.len() as u32).to_le_bytes().to_vec();
    body.extend_from_slice(json);
    body.extend_from_slice(&(archive.len() as u32).to_le_bytes());
    body.extend_from_slice(archive);
    body
}

/// A `.crate` with exactly these files.
pub fn archive(files: &[(&str, &str)]) -> Vec<u8> {
    let files: Vec<(&str, &[u8])> = files.iter().map(|(path, text)| (*path, text.as_bytes())).collect();
    publaryn_scan::corpus::targz(&files)
}

pub async fn send(server: &Server, token: &str, body: Vec<u8>) -> (u16, String) {
    let request = server.http.put(format!("{}/cargo/api/v1/crates/new", server.base_url()));
    let response = request.header("authorization", token).body(body).send().await.expect("the server answers");
    (response.status().as_u16(), response.text().await.expect("a body"))
}

//! An image pushed by hand.

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::app::Server;

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// An image below an index: neither it nor its blob can be deleted, which only those are told who may delete.
#[derive(Debug, Clone)]
pub struct Image {
    pub blob: String,
    pub manifest: String,
}

fn digest(bytes: &[u8]) -> String {
    let hex: String = Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect();
    format!("sha256:{hex}")
}

async fn blob(server: &Server, token: &str, name: &str, bytes: &[u8]) -> Value {
    let digest = digest(bytes);
    let path = format!("/v2/{name}/blobs/uploads/?digest={digest}");
    let upload = server.call("POST", path).header("content-type", "application/octet-stream");
    upload.bytes(bytes.to_vec()).bearer(token).expect(201).await;
    json!({"digest": digest, "size": bytes.len()})
}

async fn manifest(server: &Server, token: &str, name: &str, tag: &str, media: &str, document: &Value) -> Value {
    let bytes = document.to_string().into_bytes();
    let answer = json!({"mediaType": media, "digest": digest(&bytes), "size": bytes.len()});
    let push = server.call("PUT", format!("/v2/{name}/manifests/{tag}")).header("content-type", media);
    push.bytes(bytes).bearer(token).expect(201).await;
    answer
}

/// Pushes an image as `one`, and an index of it as `many`.
pub async fn push(server: &Server, token: &str, name: &str) -> Image {
    let mut config = blob(server, token, name, b"{}").await;
    config["mediaType"] = json!("application/vnd.oci.image.config.v1+json");
    let image = json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": []});
    let image = manifest(server, token, name, "one", MANIFEST, &image).await;
    let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [image]});
    manifest(server, token, name, "many", INDEX, &index).await;
    Image {
        blob: config["digest"].as_str().unwrap().to_owned(),
        manifest: image["digest"].as_str().unwrap().to_owned(),
    }
}

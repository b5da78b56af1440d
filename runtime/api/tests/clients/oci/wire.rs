//! The distribution protocol spoken by hand.

use reqwest::{Method, header::HeaderMap};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256, Sha512};

use crate::{Server, User};

pub const IMAGE: &str = "application/vnd.oci.image.manifest.v1+json";
pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";

pub fn sha256(bytes: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(bytes)))
}
pub fn sha512(bytes: &[u8]) -> String {
    format!("sha512:{}", hex::encode(Sha512::digest(bytes)))
}

/// An answer, read to its end.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
    asked: String,
}

impl Answer {
    #[track_caller]
    pub fn is(self, status: u16) -> Self {
        let body = String::from_utf8_lossy(&self.body[..self.body.len().min(500)]);
        assert_eq!(self.status, status, "{}: {:?} {body}", self.asked, self.headers);
        self
    }
    /// A refusal with this code of the protocol.
    #[track_caller]
    pub fn refuses(self, status: u16, code: &str) -> Self {
        let answer = self.is(status);
        assert_eq!(answer.json()["errors"][0]["code"], code, "{}", answer.asked);
        assert_eq!(answer.header("content-type"), "application/json");
        answer
    }
    #[track_caller]
    pub fn header(&self, name: &str) -> &str {
        self.try_header(name).unwrap_or_else(|| panic!("{}: no `{name}` in {:?}", self.asked, self.headers))
    }
    pub fn try_header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().expect("a header of text"))
    }
    #[track_caller]
    pub fn json(&self) -> Value {
        let text = String::from_utf8_lossy(&self.body);
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}: {text}", self.asked))
    }
}

/// One caller of one server.
#[derive(Clone)]
pub struct Wire {
    http: reqwest::Client,
    base: String,
    /// User name and password, or a bearer token.
    login: Option<(String, Option<String>)>,
}

impl Wire {
    pub fn anonymous(server: &Server) -> Self {
        Self { http: server.http.clone(), base: server.base_url(), login: None }
    }
    pub fn of(server: &Server, user: &User) -> Self {
        Self::with_password(server, &user.name, &user.token)
    }
    pub fn with_password(server: &Server, name: &str, password: &str) -> Self {
        Self { login: Some((name.to_owned(), Some(password.to_owned()))), ..Self::anonymous(server) }
    }
    pub fn with_bearer(server: &Server, token: &str) -> Self {
        Self { login: Some((token.to_owned(), None)), ..Self::anonymous(server) }
    }

    pub fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        let request = self.http.request(method, format!("{}{path}", self.base));
        match &self.login {
            None => request,
            Some((name, Some(password))) => request.basic_auth(name, Some(password)),
            Some((token, None)) => request.bearer_auth(token),
        }
    }

    pub async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<reqwest::Body>,
    ) -> Answer {
        let mut request = self.request(method.clone(), path).body(body);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let asked = format!("{method} {path}");
        let response = request.send().await.unwrap_or_else(|error| panic!("{asked}: {error:?}"));
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let body = response.bytes().await.unwrap_or_else(|error| panic!("{asked}: {error:?}")).to_vec();
        Answer { status, headers, body, asked }
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, &[], "").await
    }
    pub async fn head(&self, path: &str) -> Answer {
        self.send(Method::HEAD, path, &[], "").await
    }
    pub async fn post(&self, path: &str) -> Answer {
        self.send(Method::POST, path, &[("content-length", "0")], "").await
    }
    pub async fn patch(&self, path: &str, headers: &[(&str, &str)], body: impl Into<reqwest::Body>) -> Answer {
        self.send(Method::PATCH, path, headers, body).await
    }
    pub async fn put(&self, path: &str, headers: &[(&str, &str)], body: impl Into<reqwest::Body>) -> Answer {
        self.send(Method::PUT, path, headers, body).await
    }
    pub async fn delete(&self, path: &str) -> Answer {
        self.send(Method::DELETE, path, &[], "").await
    }

    /// Begins an upload; the path to go on at.
    pub async fn begin(&self, name: &str) -> String {
        self.post(&format!("/v2/{name}/blobs/uploads/")).await.is(202).header("location").to_owned()
    }

    /// Uploads a blob; its digest.
    pub async fn blob(&self, name: &str, bytes: &[u8]) -> String {
        let digest = sha256(bytes);
        let path = self.begin(name).await;
        self.put(&format!("{path}?digest={digest}"), &[], bytes.to_vec()).await.is(201);
        digest
    }

    pub async fn manifest(&self, name: &str, reference: &str, manifest: &Value) -> Answer {
        let kind = manifest["mediaType"].as_str().expect("test manifests name their type").to_owned();
        self.put(&format!("/v2/{name}/manifests/{reference}"), &[("content-type", &kind)], manifest.to_string()).await
    }

    /// Uploads what an image of these layers needs; its manifest.
    pub async fn prepare(&self, name: &str, layers: &[&[u8]]) -> Value {
        let config = json!({
            "architecture": "amd64", "os": "linux", "config": {},
            "rootfs": { "type": "layers", "diff_ids": layers.iter().map(|layer| sha256(layer)).collect::<Vec<_>>() },
        })
        .to_string();
        let mut descriptors = Vec::new();
        for layer in layers {
            descriptors
                .push(json!({ "mediaType": LAYER, "digest": self.blob(name, layer).await, "size": layer.len() }));
        }
        let config_digest = self.blob(name, config.as_bytes()).await;
        json!({
            "schemaVersion": 2, "mediaType": IMAGE,
            "config": { "mediaType": CONFIG, "digest": config_digest, "size": config.len() },
            "layers": descriptors,
        })
    }

    /// Pushes an image of these layers; its digest.
    pub async fn image(&self, name: &str, tag: &str, layers: &[&[u8]]) -> String {
        let manifest = self.prepare(name, layers).await;
        let answer = self.manifest(name, tag, &manifest).await.is(201);
        assert_eq!(answer.try_header("warning").filter(|text| text.contains("held")), None, "{name}:{tag} was held");
        answer.header("docker-content-digest").to_owned()
    }
}

/// An index of these manifests.
pub fn index(manifests: &[&Value]) -> Value {
    let entries: Vec<Value> = manifests
        .iter()
        .enumerate()
        .map(|(n, manifest)| {
            let text = manifest.to_string();
            let architecture = ["amd64", "arm64", "riscv64"][n % 3];
            json!({
                "mediaType": manifest["mediaType"], "digest": sha256(text.as_bytes()), "size": text.len(),
                "platform": { "os": "linux", "architecture": architecture },
            })
        })
        .collect();
    json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": entries })
}

/// The digest that a manifest of [`Wire::manifest`] gets.
pub fn digest_of(manifest: &Value) -> String {
    sha256(manifest.to_string().as_bytes())
}

//! Packages made on the spot, and uploads of them.

use publaryn_scan::corpus::ZipBuilder;
use serde_json::{Value, json};

use crate::{Server, User};

/// A package under construction.
#[derive(Debug, Clone)]
pub struct Lib {
    pub name: String,
    /// The content of its `composer.json`.
    pub manifest: Value,
    files: Vec<(String, Vec<u8>)>,
    /// A top directory that everything lies in, with its slash; or nothing.
    root: String,
}

/// An answer to an upload.
#[derive(Debug)]
pub struct Said {
    pub status: u16,
    pub body: Value,
}

impl Said {
    /// The text that clients print.
    pub fn warning(&self) -> &str {
        self.body["warning"].as_str().unwrap_or_default()
    }
    #[track_caller]
    pub fn is(&self, status: u16, text: &str) {
        assert_eq!(self.status, status, "{self:?}");
        assert!(self.warning().contains(text), "no `{text}` in {self:?}");
    }
}

impl Lib {
    /// A library with one class, `NAME\Hello`, whose `VERSION` tells its version.
    pub fn new(name: &str, version: &str) -> Self {
        let space: String = name.split(['/', '-']).map(|part| part[..1].to_uppercase() + &part[1..]).collect();
        let class = format!("<?php\nnamespace {space};\nclass Hello {{ const VERSION = '{version}'; }}\n");
        let manifest = json!({
            "name": name,
            "version": version,
            "description": format!("a test of {name}"),
            "license": "MIT",
            "autoload": { "psr-4": { format!("{space}\\"): "src/" } },
        });
        let files = vec![("src/Hello.php".to_owned(), class.into_bytes())];
        Self { name: name.to_owned(), manifest, files, root: String::new() }
    }

    /// Sets a member of its `composer.json`; null takes it out.
    pub fn with(mut self, key: &str, value: Value) -> Self {
        match (self.manifest.as_object_mut(), value) {
            (Some(map), Value::Null) => drop(map.remove(key)),
            (Some(map), value) => drop(map.insert(key.to_owned(), value)),
            (None, _) => {}
        }
        self
    }
    pub fn file(mut self, path: &str, data: impl Into<Vec<u8>>) -> Self {
        self.files.push((path.to_owned(), data.into()));
        self
    }
    pub fn below(mut self, root: &str) -> Self {
        self.root = root.to_owned();
        self
    }

    pub fn zip(&self) -> Vec<u8> {
        let manifest = self.manifest.to_string().into_bytes();
        let all = [("composer.json".to_owned(), manifest)].into_iter().chain(self.files.iter().cloned());
        all.fold(ZipBuilder::new(), |zip, (path, data)| zip.file(&format!("{}{path}", self.root), &data)).finish()
    }

    /// Uploads it in the canonical way.
    pub async fn put(&self, server: &Server, token: Option<&str>) -> Said {
        put(server, &format!("/composer/packages/{}", self.name), token, self.zip()).await
    }

    /// Uploads it and expects it to be installable.
    pub async fn live(&self, server: &Server, user: &User) -> Said {
        let said = self.put(server, Some(&user.token)).await;
        assert_eq!((said.status, said.body["status"].as_str()), (201, Some("published")), "{said:?}");
        said
    }
}

/// PUTs a zip.
pub async fn put(server: &Server, path: &str, token: Option<&str>, zip: Vec<u8>) -> Said {
    send(server, http::Method::PUT, path, token, "application/zip", zip).await
}

pub async fn send(
    server: &Server,
    method: http::Method,
    path: &str,
    token: Option<&str>,
    content_type: &str,
    body: Vec<u8>,
) -> Said {
    let mut request = server.http.request(method, format!("{}{path}", server.base_url())).body(body);
    request = request.header("content-type", content_type);
    if let Some(token) = token {
        request = request.basic_auth("token", Some(token));
    }
    let response = request.send().await.expect("the server answers");
    let status = response.status().as_u16();
    let text = response.text().await.expect("a body");
    Said { status, body: serde_json::from_str(&text).unwrap_or(Value::String(text)) }
}

/// A form with these parts: name, file name, content.
pub fn form(parts: &[(&str, Option<&str>, &[u8])]) -> (&'static str, Vec<u8>) {
    let mut body = Vec::new();
    for (name, filename, data) in parts {
        let file = filename.map(|f| format!("; filename=\"{f}\"")).unwrap_or_default();
        body.extend_from_slice(
            format!("--XX\r\nContent-Disposition: form-data; name=\"{name}\"{file}\r\n\r\n").as_bytes(),
        );
        body.extend_from_slice(data);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(b"--XX--\r\n");
    ("multipart/form-data; boundary=XX", body)
}

//! Packages made on the spot, and what the server says to requests about them.

use std::time::Duration;

use publaryn_scan::corpus::ZipBuilder;
use serde_json::Value;

use crate::{Server, User, faults::state::eventually};

/// A package under construction.
#[derive(Debug, Clone)]
pub struct Pack {
    pub id: String,
    pub version: String,
    /// Further elements of the metadata.
    inner: String,
    files: Vec<(String, Vec<u8>)>,
}

/// An answer.
#[derive(Debug)]
pub struct Said {
    pub status: u16,
    pub headers: http::HeaderMap,
    pub bytes: Vec<u8>,
}

impl Said {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }
    #[track_caller]
    pub fn json(&self) -> Value {
        assert_eq!(self.status, 200, "{}", self.text());
        serde_json::from_slice(&self.bytes).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
    #[track_caller]
    pub fn is(&self, status: u16, text: &str) {
        assert_eq!(self.status, status, "{}", self.text());
        assert!(self.text().contains(text), "no `{text}` in {}", self.text());
    }
}

impl Pack {
    pub fn new(id: &str, version: &str) -> Self {
        let dll = ("lib/netstandard2.0/Code.dll".to_owned(), b"not a program".to_vec());
        Self { id: id.into(), version: version.into(), inner: String::new(), files: vec![dll] }
    }
    /// Adds elements to the metadata.
    pub fn with(mut self, inner: &str) -> Self {
        self.inner.push_str(inner);
        self
    }
    pub fn needs(self, id: &str, range: &str) -> Self {
        self.with(&format!("<dependencies><dependency id=\"{id}\" version=\"{range}\" /></dependencies>"))
    }
    pub fn file(mut self, path: &str, data: impl Into<Vec<u8>>) -> Self {
        self.files.push((path.to_owned(), data.into()));
        self
    }
    /// Only symbols.
    pub fn symbols(mut self) -> Self {
        self.files.clear();
        self.with("<packageTypes><packageType name=\"SymbolsPackage\" /></packageTypes>")
    }

    pub fn nuspec(&self) -> String {
        format!(
            "\u{feff}<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<package xmlns=\"http://schemas.microsoft.com/packaging/2012/06/nuspec.xsd\">\
             <metadata><id>{}</id><version>{}</version><authors>Ada, Bob</authors><description>a test of {}</description>{}</metadata></package>",
            self.id, self.version, self.id, self.inner
        )
    }

    /// The package, with the parts that make it an Open Packaging one: NuGet 2 finds the nuspec through them.
    pub fn zip(&self) -> Vec<u8> {
        let nuspec = (format!("{}.nuspec", self.id), self.nuspec().into_bytes());
        let rels = format!(
            "<Relationships xmlns=\"http://schemas.openxmlformats.org/package/2006/relationships\"><Relationship Id=\"R0\" \
             Type=\"http://schemas.microsoft.com/packaging/2010/07/manifest\" Target=\"/{}.nuspec\"/></Relationships>",
            self.id
        );
        let mut endings: Vec<&str> =
            self.files.iter().filter_map(|(path, _)| path.rsplit_once('.')).map(|p| p.1).collect();
        endings.push("nuspec");
        endings.sort_unstable();
        endings.dedup();
        let types: String = endings
            .iter()
            .map(|ending| format!("<Default Extension=\"{ending}\" ContentType=\"application/octet\"/>"))
            .collect();
        let types = format!(
            "<Types xmlns=\"http://schemas.openxmlformats.org/package/2006/content-types\"><Default Extension=\"rels\" \
             ContentType=\"application/vnd.openxmlformats-package.relationships+xml\"/>{types}</Types>"
        );
        let parts = [("_rels/.rels", rels), ("[Content_Types].xml", types)];
        let parts = parts.map(|(path, text)| (path.to_owned(), text.into_bytes()));
        let all = [nuspec].into_iter().chain(parts).chain(self.files.iter().cloned());
        all.fold(ZipBuilder::new(), |zip, (path, data)| zip.file(&path, &data)).finish()
    }

    /// Pushes it as a form, as clients do.
    pub async fn push(&self, server: &Server, key: Option<&str>) -> Said {
        push(server, "/nuget/v2/package/", key, &self.zip()).await
    }

    /// Pushes it and expects it to be there.
    pub async fn live(&self, server: &Server, user: &User) {
        let said = self.push(server, Some(&user.token)).await;
        assert_eq!(said.status, 201, "{said:?}");
    }
}

/// Pushes bytes as the file of a form.
pub async fn push(server: &Server, path: &str, key: Option<&str>, zip: &[u8]) -> Said {
    let head = b"--XX\r\nContent-Disposition: form-data; name=package; filename=package.nupkg\r\n\r\n";
    let body = [&head[..], zip, b"\r\n--XX--\r\n"].concat();
    let request = server.http.put(format!("{}{path}", server.base_url())).body(body);
    send(keyed(request.header("content-type", "multipart/form-data; boundary=\"XX\""), key)).await
}

fn keyed(request: reqwest::RequestBuilder, key: Option<&str>) -> reqwest::RequestBuilder {
    match key {
        Some(key) => request.header("x-nuget-apikey", key),
        None => request,
    }
}

pub async fn send(request: reqwest::RequestBuilder) -> Said {
    let response = request.send().await.expect("the server answers");
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    Said { status, headers, bytes: response.bytes().await.expect("a body").to_vec() }
}

/// Reads a path below `/nuget`, with a token as password or without.
pub async fn get(server: &Server, path: &str, password: Option<&str>) -> Said {
    let request = server.http.get(format!("{}/nuget{path}", server.base_url()));
    send(match password {
        Some(password) => request.basic_auth("anybody", Some(password)),
        None => request,
    })
    .await
}

/// DELETE or POST of a version below `/nuget`.
pub async fn change(server: &Server, method: http::Method, path: &str, key: Option<&str>) -> Said {
    send(keyed(server.http.request(method, format!("{}/nuget{path}", server.base_url())), key)).await
}

/// Waits until so many packages are found by a word: the index is told of changes a moment later.
pub async fn until_found(server: &Server, word: &str, count: usize) {
    eventually("the index knows the packages", Duration::from_secs(30), async || {
        let found = get(server, &format!("/v3/search?q={word}&prerelease=true&semVerLevel=2.0.0"), None).await.json();
        found["data"].as_array().is_some_and(|data| data.len() >= count)
    })
    .await;
}

/// A compressed document, unpacked.
pub fn unpacked(said: &Said) -> Value {
    assert_eq!((said.status, said.header("content-encoding")), (200, "gzip"), "{}", said.text());
    let plain = publaryn_scan::gunzip(&mut said.bytes.as_slice(), 64 << 20).expect("gzip");
    serde_json::from_slice(&plain).expect("JSON")
}

//! Publishing and reading a package in either ecosystem, for tests that do not care which.

use std::collections::BTreeMap;

use base64::{Engine, engine::general_purpose::STANDARD};
use publaryn_core::Timestamp;
use serde_json::Value;
use sha2::{Digest, Sha256, Sha512};

use crate::{Server, cargo::upload, npm_upload, pypi};

/// Whose protocol to speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Client {
    Npm,
    Cargo,
    /// Whose files have a quarantine of their own.
    Pypi,
}

/// The JSON form of a page of the simple API.
const SIMPLE_JSON: &str = "?format=application/vnd.pypi.simple.v1+json";

/// One version ready to be published.
#[derive(Debug, Clone)]
pub struct Upload {
    pub name: String,
    pub version: String,
    /// The archive as it will be served.
    pub bytes: Vec<u8>,
    body: Vec<u8>,
}

/// What the server said to a publish.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    pub retry_after: Option<u64>,
    pub body: String,
}

impl Answer {
    pub fn is_ok(&self) -> bool {
        matches!(self.status, 200 | 201)
    }

    /// A refusal for now, in the ecosystem's own form.
    #[track_caller]
    pub fn is_unavailable(&self, client: Client) {
        assert_eq!(self.status, 503, "{self:?}");
        assert!(self.retry_after.is_some(), "{self:?}");
        self.is_in_the_form_of(client);
    }

    #[track_caller]
    pub fn is_in_the_form_of(&self, client: Client) {
        if client == Client::Pypi {
            assert!(self.body.starts_with(&format!("{} ", self.status)), "{self:?}");
            return;
        }
        let json: Value = serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"));
        let text = if client == Client::Npm { &json["error"] } else { &json["errors"][0]["detail"] };
        assert!(text.as_str().is_some_and(|text| !text.is_empty()), "{self:?}");
    }
}

impl Client {
    /// Those that publish a release as a whole.
    pub const ALL: [Self; 2] = [Self::Npm, Self::Cargo];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Npm => "npm",
            Self::Cargo => "cargo",
            Self::Pypi => "pypi",
        }
    }

    /// A version whose archive is a little larger than `bytes` and differs with `seed`.
    pub fn upload(self, name: &str, version: &str, bytes: usize, seed: u64) -> Upload {
        let noise = noise(bytes, seed);
        let (archive, body) = match self {
            Self::Npm => {
                let archive = npm_upload::tarball(name, version, &noise);
                let document = npm_upload::document(name, version, &archive);
                (archive, document.to_string().into_bytes())
            }
            Self::Cargo => {
                let manifest = upload::manifest(name, version);
                let root = format!("{name}-{version}");
                let archive = publaryn_scan::corpus::targz(&[
                    (&format!("{root}/Cargo.toml"), manifest.as_bytes()),
                    (&format!("{root}/noise.bin"), &noise),
                ]);
                let body = upload::Upload::new(name, version).with_archive(archive.clone()).body();
                (archive, body)
            }
            Self::Pypi => {
                let wheel = pypi::Dist::new(name, version).payload(noise);
                (wheel.wheel(), wheel.upload_wheel().body())
            }
        };
        Upload { name: name.to_owned(), version: version.to_owned(), bytes: archive, body }
    }

    /// Sends it; an error when the connection broke before there was an answer.
    pub async fn try_publish(self, server: &Server, token: &str, upload: &Upload) -> Result<Answer, reqwest::Error> {
        let request = match self {
            Self::Npm => server
                .http
                .put(format!("{}/npm/{}", server.base_url(), upload.name))
                .header("content-type", "application/json")
                .bearer_auth(token),
            Self::Cargo => {
                server.http.put(format!("{}/cargo/api/v1/crates/new", server.base_url())).header("authorization", token)
            }
            Self::Pypi => server
                .http
                .post(format!("{}/pypi/legacy/", server.base_url()))
                .header("content-type", pypi::Upload::CONTENT_TYPE)
                .basic_auth("__token__", Some(token)),
        };
        let response = request.body(upload.body.clone()).send().await?;
        let retry_after = retry_after(&response);
        Ok(Answer { status: response.status().as_u16(), retry_after, body: response.text().await? })
    }

    /// Sends it and expects an answer.
    pub async fn publish(self, server: &Server, token: &str, upload: &Upload) -> Answer {
        self.try_publish(server, token, upload).await.expect("the server answers")
    }

    /// Where the listing of a package is.
    pub fn listing_path(self, name: &str) -> String {
        match self {
            Self::Npm => format!("/npm/{name}"),
            Self::Cargo => format!("/cargo/index/{}", publaryn_cargo::name::index_path(name)),
            Self::Pypi => format!("/pypi/simple/{name}/{SIMPLE_JSON}"),
        }
    }

    /// Where the archive of a version is.
    ///
    /// # Panics
    /// For PyPI, where only the listing says.
    pub fn download_path(self, name: &str, version: &str) -> String {
        match self {
            Self::Npm => format!("/npm/{name}/-/{name}-{version}.tgz"),
            Self::Cargo => format!("/cargo/api/v1/crates/{name}/{version}/download"),
            Self::Pypi => panic!("the address of a file of PyPI holds its id"),
        }
    }

    /// What clients are told to install: versions and the digests they will insist on.
    pub async fn listing(self, server: &Server, name: &str) -> BTreeMap<String, String> {
        self.listed(server, name).await.into_iter().map(|(version, (digest, _))| (version, digest)).collect()
    }

    /// Versions with their digests and addresses.
    async fn listed(self, server: &Server, name: &str) -> BTreeMap<String, (String, String)> {
        let path = self.listing_path(name);
        let (status, body) = server.get(&path, None).await;
        assert!(matches!(status, 200 | 404), "{path}: {status} {body}");
        if status == 404 {
            return BTreeMap::new();
        }
        let text = |value: &Value| value.as_str().expect("a text").to_owned();
        let at = |version: String, digest: String| {
            let path = self.download_path(name, &version);
            (version, (digest, path))
        };
        match self {
            Self::Npm => {
                let packument: Value = serde_json::from_str(&body).expect("a packument");
                let versions = packument["versions"].as_object().expect("versions");
                versions.iter().map(|(version, v)| at(version.clone(), text(&v["dist"]["integrity"]))).collect()
            }
            Self::Cargo => body
                .lines()
                .map(|line| serde_json::from_str::<Value>(line).expect("an index line"))
                .map(|line| at(text(&line["vers"]), text(&line["cksum"])))
                .collect(),
            Self::Pypi => {
                let page: Value = serde_json::from_str(&body).expect("a page of the simple API");
                let files = page["files"].as_array().expect("files").iter();
                files
                    .map(|file| {
                        let (filename, url) = (text(&file["filename"]), text(&file["url"]));
                        let version = filename.split('-').nth(1).expect("a version").to_owned();
                        let path = url.strip_prefix(&server.base_url()).expect("an address of this server").to_owned();
                        (version, (text(&file["hashes"]["sha256"]), path))
                    })
                    .collect()
            }
        }
    }

    /// The digest of an archive, as a listing gives it.
    pub fn digest(self, archive: &[u8]) -> String {
        match self {
            Self::Npm => format!("sha512-{}", STANDARD.encode(Sha512::digest(archive))),
            Self::Cargo | Self::Pypi => hex::encode(Sha256::digest(archive)),
        }
    }

    /// Everything a package lists can be fetched and is what the listing says.
    pub async fn check_listed(self, server: &Server, name: &str) -> BTreeMap<String, String> {
        let listed = self.listed(server, name).await;
        for (digest, path) in listed.values() {
            let url = format!("{}{path}", server.base_url());
            let response = server.http.get(url).send().await.expect("the server answers");
            assert_eq!(response.status().as_u16(), 200, "{path} is listed and cannot be fetched");
            let bytes = response.bytes().await.expect("the whole body");
            assert_eq!(self.digest(&bytes), *digest, "{path} is not what was listed");
        }
        listed.into_iter().map(|(version, (digest, _))| (version, digest)).collect()
    }

    /// Whether a search for the name finds the package.
    pub async fn is_found(self, server: &Server, name: &str) -> bool {
        let path = match self {
            Self::Npm => format!("/npm/-/v1/search?text={name}"),
            Self::Cargo => format!("/cargo/api/v1/crates?q={name}"),
            // It has no search of its own; what is indexed, the database says.
            Self::Pypi => {
                let db = server.database().await;
                let behind = db.packages_behind_index(Timestamp::now(), 100).await.expect("an answer");
                return behind.iter().all(|head| head.name != name);
            }
        };
        let (status, body) = server.get(&path, None).await;
        assert_eq!(status, 200, "{path}: {body}");
        let json: Value = serde_json::from_str(&body).expect("search results");
        let (hits, field) = match self {
            Self::Npm => (&json["objects"], "/package/name"),
            _ => (&json["crates"], "/name"),
        };
        hits.as_array().is_some_and(|hits| hits.iter().any(|hit| hit.pointer(field).is_some_and(|found| found == name)))
    }
}

pub fn retry_after(response: &reqwest::Response) -> Option<u64> {
    response.headers().get("retry-after")?.to_str().ok()?.parse().ok()
}

/// Bytes that do not compress, the same for the same seed.
pub fn noise(bytes: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let step = |_| {
        // xorshift64
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    (0..bytes).map(step).collect()
}

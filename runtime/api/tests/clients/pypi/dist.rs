//! Wheels and source distributions made on the spot, and uploads of them without a client.

use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine as _};
use publaryn_scan::corpus::{ZipBuilder, targz};
use sha2::{Digest as _, Sha256};

use crate::{Server, User};

/// Bytes that do not compress, the same every time (xorshift64).
pub fn noise(bytes: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    (0..bytes)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 32) as u8
        })
        .collect()
}

/// A distribution file under construction.
#[derive(Debug, Clone)]
pub struct Dist {
    pub name: String,
    pub version: String,
    pub summary: String,
    /// Further metadata fields, one per line.
    pub fields: String,
    /// Content of the one module, or of its data file.
    pub payload: Vec<u8>,
    /// A file that RECORD describes wrongly: accepted at upload, blocked by the scan.
    pub is_tampered: bool,
    pub tag: String,
}

impl Dist {
    pub fn new(name: &str, version: &str) -> Self {
        Self {
            name: name.to_owned(),
            version: version.to_owned(),
            summary: "a test".to_owned(),
            fields: String::new(),
            payload: format!("VERSION = {version:?}\n").into_bytes(),
            is_tampered: false,
            tag: "py3-none-any".to_owned(),
        }
    }

    /// Adds a metadata field.
    pub fn with(mut self, field: &str, value: &str) -> Self {
        self.fields.push_str(&format!("{field}: {value}\n"));
        self
    }
    pub fn summary(mut self, text: &str) -> Self {
        self.summary = text.to_owned();
        self
    }
    pub fn tagged(mut self, tag: &str) -> Self {
        self.tag = tag.to_owned();
        self
    }
    pub fn payload(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.payload = bytes.into();
        self
    }
    pub fn tampered(mut self) -> Self {
        self.is_tampered = true;
        self
    }

    /// The name as files and modules spell it.
    pub fn module(&self) -> String {
        self.name.replace(['-', '.'], "_").to_lowercase()
    }

    pub fn metadata(&self) -> String {
        format!(
            "Metadata-Version: 2.1\nName: {}\nVersion: {}\nSummary: {}\n{}\nA test.\n",
            self.name, self.version, self.summary, self.fields
        )
    }

    pub fn wheel_name(&self) -> String {
        format!("{}-{}-{}.whl", self.module(), self.version, self.tag)
    }
    pub fn sdist_name(&self) -> String {
        format!("{}-{}.tar.gz", self.module(), self.version)
    }

    /// The files of the wheel, RECORD included.
    pub fn wheel_files(&self) -> Vec<(String, Vec<u8>)> {
        let info = format!("{}-{}.dist-info", self.module(), self.version);
        let (python, rest) = self.tag.split_once('-').expect("a tag has three parts");
        let tags: String = python.split('.').map(|python| format!("Tag: {python}-{rest}\n")).collect();
        let wheel = format!("Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\n{tags}");
        let mut files = vec![
            (format!("{}/__init__.py", self.module()), self.payload.clone()),
            (format!("{info}/METADATA"), self.metadata().into_bytes()),
            (format!("{info}/WHEEL"), wheel.into_bytes()),
        ];
        let line = |(path, data): &(String, Vec<u8>)| {
            let hash = BASE64_URL_SAFE_NO_PAD.encode(Sha256::digest(data));
            format!("{path},sha256={hash},{}\n", data.len())
        };
        let record: String = files.iter().map(line).collect();
        files.push((format!("{info}/RECORD"), format!("{record}{info}/RECORD,,\n").into_bytes()));
        if self.is_tampered {
            files[0].1.push(b'\n');
        }
        files
    }

    pub fn wheel(&self) -> Vec<u8> {
        self.wheel_files().iter().fold(ZipBuilder::new(), |zip, (path, data)| zip.file(path, data)).finish()
    }

    /// A source distribution that builds without anything from elsewhere: its backend lies inside.
    pub fn sdist(&self) -> Vec<u8> {
        let root = format!("{}-{}", self.module(), self.version);
        let at = |path: &str| format!("{root}/{path}");
        let pyproject = "[build-system]\nrequires = []\nbuild-backend = \"backend\"\nbackend-path = [\".\"]\n";
        let backend = BACKEND
            .replace("@MODULE@", &self.module())
            .replace("@VERSION@", &self.version)
            .replace("@METADATA@", &self.metadata().replace('\\', "\\\\"));
        let files = [
            (at("PKG-INFO"), self.metadata().into_bytes()),
            (at("pyproject.toml"), pyproject.as_bytes().to_vec()),
            (at("backend.py"), backend.into_bytes()),
            (at(&format!("{}/__init__.py", self.module())), self.payload.clone()),
        ];
        targz(&files.iter().map(|(path, data)| (path.as_str(), data.as_slice())).collect::<Vec<_>>())
    }

    pub fn upload_wheel(&self) -> Upload {
        Upload::new(self, &self.wheel_name(), "bdist_wheel", self.wheel())
    }
    pub fn upload_sdist(&self) -> Upload {
        Upload::new(self, &self.sdist_name(), "sdist", self.sdist())
    }
}

/// Builds a wheel from the source tree it lies in.
const BACKEND: &str = r#"
import base64, hashlib, os, zipfile
METADATA = '''@METADATA@'''
WHEEL = "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"

def build_wheel(directory, config_settings=None, metadata_directory=None):
    info = "@MODULE@-@VERSION@.dist-info"
    with open(os.path.join("@MODULE@", "__init__.py"), "rb") as module:
        files = {"@MODULE@/__init__.py": module.read(), info + "/METADATA": METADATA.encode(), info + "/WHEEL": WHEEL.encode()}
    record = ""
    for path, data in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
        record += f"{path},sha256={digest},{len(data)}\n"
    files[info + "/RECORD"] = (record + info + "/RECORD,,\n").encode()
    name = "@MODULE@-@VERSION@-py3-none-any.whl"
    with zipfile.ZipFile(os.path.join(directory, name), "w") as wheel:
        for path, data in files.items():
            wheel.writestr(path, data)
    return name
"#;

/// An upload form, sent as it is.
#[derive(Debug, Clone)]
pub struct Upload {
    pub fields: Vec<(String, String)>,
    pub filename: String,
    pub content: Vec<u8>,
    /// How many fields come before the file; all of them unless said otherwise.
    pub file_at: usize,
    pub accept: &'static str,
    pub path: String,
}

impl Upload {
    pub const CONTENT_TYPE: &str = "multipart/form-data; boundary=XXboundaryXX";

    pub fn new(dist: &Dist, filename: &str, filetype: &str, content: Vec<u8>) -> Self {
        let pyversion = if filetype == "sdist" { "source" } else { "py3" };
        let fields = [
            (":action", "file_upload"),
            ("protocol_version", "1"),
            ("metadata_version", "2.1"),
            ("name", &dist.name),
            ("version", &dist.version),
            ("filetype", filetype),
            ("pyversion", pyversion),
            ("sha256_digest", &hex::encode(Sha256::digest(&content))),
        ];
        Self {
            fields: fields.map(|(k, v)| (k.to_owned(), v.to_owned())).into(),
            filename: filename.to_owned(),
            content,
            file_at: usize::MAX,
            accept: "*/*",
            path: "/pypi/legacy/".to_owned(),
        }
    }

    /// Sets a field, or adds it.
    pub fn set(mut self, field: &str, value: &str) -> Self {
        match self.fields.iter_mut().find(|(name, _)| name == field) {
            Some((_, known)) => *known = value.to_owned(),
            None => self.fields.push((field.to_owned(), value.to_owned())),
        }
        self
    }
    pub fn named(mut self, filename: &str) -> Self {
        self.filename = filename.to_owned();
        self
    }
    /// Other content, with its right digest.
    pub fn content(mut self, content: Vec<u8>) -> Self {
        self.content = content;
        let digest = hex::encode(Sha256::digest(&self.content));
        self.set("sha256_digest", &digest)
    }

    /// The form, as [`Upload::CONTENT_TYPE`] announces it.
    pub fn body(&self) -> Vec<u8> {
        let mut body = Vec::new();
        let file = |body: &mut Vec<u8>| {
            let head = format!(
                "--XXboundaryXX\r\nContent-Disposition: form-data; name=\"content\"; filename=\"{}\"\r\n\
                 Content-Type: application/octet-stream\r\n\r\n",
                self.filename
            );
            body.extend([head.as_bytes(), &self.content, b"\r\n"].concat());
        };
        for (at, (name, value)) in self.fields.iter().enumerate() {
            if at == self.file_at {
                file(&mut body);
            }
            body.extend(
                format!("--XXboundaryXX\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n").bytes(),
            );
        }
        if self.file_at >= self.fields.len() {
            file(&mut body);
        }
        body.extend(b"--XXboundaryXX--\r\n");
        body
    }

    /// Sends it; status and body.
    pub async fn send(&self, server: &Server, token: Option<&str>) -> (u16, String) {
        let mut request = server
            .http
            .post(format!("{}{}", server.base_url(), self.path))
            .header("content-type", Self::CONTENT_TYPE)
            .header("accept", self.accept)
            .body(self.body());
        if let Some(token) = token {
            request = request.basic_auth("__token__", Some(token));
        }
        let response = request.send().await.expect("the server answers");
        (response.status().as_u16(), response.text().await.expect("a body"))
    }

    /// Sends it and expects the file to be live.
    pub async fn live(&self, server: &Server, user: &User) {
        let answer = self.send(server, Some(&user.token)).await;
        assert_eq!(answer, (200, String::new()), "{}", self.filename);
    }
}

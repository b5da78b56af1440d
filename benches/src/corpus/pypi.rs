//! Wheels.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use reqwest::Method;
use sha2::{Digest, Sha256};

use super::{Upload, zip};
use crate::Error;

/// A wheel with one module and one data file.
#[derive(Debug, Clone)]
pub(crate) struct Wheel {
    name: String,
    version: String,
    pub filename: String,
    pub bytes: Vec<u8>,
}

impl Wheel {
    /// A wheel of `name` (in the spelling of file names) whose data file is `data`.
    pub(crate) fn new(name: &str, version: &str, data: Vec<u8>) -> Result<Self, Error> {
        let info = format!("{name}-{version}.dist-info");
        let mut files = vec![
            (format!("{name}/__init__.py"), format!("__version__ = '{version}'\n").into_bytes()),
            (format!("{name}/data.bin"), data),
            (format!("{info}/METADATA"), metadata(name, version).into_bytes()),
            (
                format!("{info}/WHEEL"),
                b"Wheel-Version: 1.0\nGenerator: bench\nRoot-Is-Purelib: true\nTag: py3-none-any\n".to_vec(),
            ),
        ];
        let line = |(path, data): &(String, Vec<u8>)| {
            format!("{path},sha256={},{}\n", URL_SAFE_NO_PAD.encode(Sha256::digest(data)), data.len())
        };
        let record: String = files.iter().map(line).collect();
        files.push((format!("{info}/RECORD"), format!("{record}{info}/RECORD,,\n").into_bytes()));
        let filename = format!("{name}-{version}-py3-none-any.whl");
        Ok(Self { name: name.to_owned(), version: version.to_owned(), filename, bytes: zip(&files)? })
    }
}

fn metadata(name: &str, version: &str) -> String {
    format!(
        "Metadata-Version: 2.1\nName: {name}\nVersion: {version}\nSummary: A project to be measured\n\
         Requires-Python: >=3.8\nLicense: MIT\n\nA project to be measured.\n"
    )
}

/// The form that twine POSTs.
pub(crate) fn wheel_upload(path: &str, wheel: &Wheel) -> Upload {
    const BOUNDARY: &str = "publaryn-bench-boundary";
    let digest: String = Sha256::digest(&wheel.bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    let fields = [
        (":action", "file_upload"),
        ("protocol_version", "1"),
        ("metadata_version", "2.1"),
        ("name", &wheel.name),
        ("version", &wheel.version),
        ("summary", "A project to be measured"),
        ("requires_python", ">=3.8"),
        ("filetype", "bdist_wheel"),
        ("pyversion", "py3"),
        ("sha256_digest", &digest),
    ];
    let mut body = Vec::new();
    for (name, value) in fields {
        let part = format!("--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n");
        body.extend_from_slice(part.as_bytes());
    }
    let head = format!(
        "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"content\"; filename=\"{}\"\r\n\
         Content-Type: application/octet-stream\r\n\r\n",
        wheel.filename
    );
    body.extend_from_slice(head.as_bytes());
    body.extend_from_slice(&wheel.bytes);
    body.extend_from_slice(format!("\r\n--{BOUNDARY}--\r\n").as_bytes());
    let content_type = "multipart/form-data; boundary=publaryn-bench-boundary";
    Upload { method: Method::POST, path: path.to_owned(), content_type, body: body.into() }
}

//! Gems.

use flate2::Compression;
use reqwest::Method;
use sha2::{Digest, Sha256};

use super::{Upload, gzip, tar, targz};
use crate::Error;

/// A gem with one file.
pub(crate) fn gem_upload(name: &str, version: &str) -> Result<Upload, Error> {
    let spec = format!(
        "--- !ruby/object:Gem::Specification\nname: {name}\nversion: !ruby/object:Gem::Version\n  version: {version}\n\
         platform: ruby\nauthors:\n- Ada Example\nbindir: bin\ndate: 2026-01-02 00:00:00.000000000 Z\ndependencies: []\n\
         email: ada@example.test\nexecutables: []\nextensions: []\nfiles:\n- lib/{name}.rb\nlicenses:\n- MIT\n\
         metadata: {{}}\nrequire_paths:\n- lib\nrubygems_version: 3.3.15\nspecification_version: 4\n\
         summary: A gem to be measured\n"
    );
    let level = Compression::default();
    let source = format!("VERSION = '{version}'\n").into_bytes();
    let (metadata, data) = (gzip(spec.as_bytes(), level)?, targz(&[(format!("lib/{name}.rb"), source)], level)?);
    let sum = |bytes: &[u8]| -> String { Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect() };
    let checksums = format!("---\nSHA256:\n  metadata.gz: {}\n  data.tar.gz: {}\n", sum(&metadata), sum(&data));
    let members = [
        ("metadata.gz".to_owned(), metadata),
        ("data.tar.gz".to_owned(), data),
        ("checksums.yaml.gz".to_owned(), gzip(checksums.as_bytes(), level)?),
    ];
    let path = "/api/v1/gems".to_owned();
    Ok(Upload { method: Method::POST, path, content_type: "application/octet-stream", body: tar(&members)?.into() })
}

//! What is published: packages of ordinary shape, every version with bytes of its own.

mod cargo;
mod composer;
mod maven;
mod npm;
mod nuget;
mod pypi;
mod rubygems;

pub(crate) use cargo::crate_upload;
pub(crate) use composer::composer_upload;
pub(crate) use maven::maven_uploads;
pub(crate) use npm::{npm_upload, npm_upload_of};
pub(crate) use nuget::nupkg_upload;
pub(crate) use pypi::{Wheel, wheel_upload};
pub(crate) use rubygems::gem_upload;

use std::io::Write;

use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use rand::{Rng, RngCore, SeedableRng, rngs::StdRng};
use reqwest::Method;
use zip::{CompressionMethod, ZipWriter, write::SimpleFileOptions};

use crate::Error;

/// One publish request.
#[derive(Debug, Clone)]
pub(crate) struct Upload {
    pub method: Method,
    /// Below the registry's address.
    pub path: String,
    pub content_type: &'static str,
    pub body: Bytes,
}

/// Bytes that do not compress, and that nobody has seen before.
pub(crate) fn noise(size: usize) -> Vec<u8> {
    let mut noise = vec![0; size];
    StdRng::from_os_rng().fill_bytes(&mut noise);
    noise
}

/// A layer of an image with one file of about `size` bytes.
pub(crate) fn layer(size: usize) -> Result<Bytes, Error> {
    Ok(tar(&[("data.bin".to_owned(), noise(size))])?.into())
}

fn targz(files: &[(String, Vec<u8>)], level: Compression) -> Result<Vec<u8>, Error> {
    gzip(&tar(files)?, level)
}

fn gzip(bytes: &[u8], level: Compression) -> Result<Vec<u8>, Error> {
    let mut out = GzEncoder::new(Vec::new(), level);
    out.write_all(bytes)?;
    Ok(out.finish()?)
}

fn tar(files: &[(String, Vec<u8>)]) -> Result<Vec<u8>, Error> {
    let mut tar = tar::Builder::new(Vec::new());
    for (path, content) in files {
        let mut header = tar::Header::new_ustar();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        header.set_cksum();
        tar.append_data(&mut header, path, content.as_slice())?;
    }
    Ok(tar.into_inner()?)
}

fn zip(files: &[(String, Vec<u8>)]) -> Result<Vec<u8>, Error> {
    let mut zip = ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default().compression_method(CompressionMethod::Deflated);
    for (path, content) in files {
        zip.start_file(path, options)?;
        zip.write_all(content)?;
    }
    Ok(zip.finish()?.into_inner())
}

/// About `size` bytes of something that compresses as source text does.
fn text(rng: &mut StdRng, size: usize) -> Vec<u8> {
    const WORDS: [&str; 24] = [
        "const", "function", "return", "value", "index", "await", "export", "if", "else", "module", "require",
        "length", "map", "filter", "object", "string", "number", "error", "throw", "new", "this", "for", "let", "key",
    ];
    let mut out = Vec::with_capacity(size + 32);
    while out.len() < size {
        let word = WORDS[rng.random_range(0..WORDS.len())];
        let end = if rng.random_ratio(1, 8) { ";\n" } else { " " };
        // Memory takes everything.
        let _ = write!(out, "{word}{:x}{end}", rng.random_range(0..4096_u32));
    }
    out
}

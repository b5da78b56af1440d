//! What is published: packages of ordinary shape, every version with bytes of its own.

use std::io::Write;

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use rand::{Rng, RngCore, SeedableRng, rngs::StdRng};
use serde_json::{Value, json};
use sha1::Sha1;
use sha2::{Digest, Sha512};

use crate::Error;

/// One publish request.
#[derive(Debug, Clone)]
pub(crate) struct Upload {
    pub path: String,
    pub body: Bytes,
}

/// A package of about 8 KB, as most of npm is: a manifest, a readme and some files of source text.
pub(crate) fn npm_upload(name: &str, version: &str) -> Result<Upload, Error> {
    let mut rng = StdRng::from_os_rng();
    let manifest = npm_manifest(name, version);
    let mut files = vec![
        ("package/package.json".to_owned(), serde_json::to_vec_pretty(&manifest)?),
        ("package/README.md".to_owned(), text(&mut rng, 2_000)),
    ];
    for n in 0..8 {
        files.push((format!("package/lib/module{n}.js"), text(&mut rng, 2_000)));
    }
    npm_body(name, version, manifest, &targz(&files, Compression::default())?)
}

/// A package whose archive has about `size` bytes, which do not compress.
pub(crate) fn npm_upload_of(name: &str, version: &str, size: usize) -> Result<Upload, Error> {
    let manifest = npm_manifest(name, version);
    let mut noise = vec![0; size];
    StdRng::from_os_rng().fill_bytes(&mut noise);
    let files =
        [("package/package.json".to_owned(), serde_json::to_vec(&manifest)?), ("package/data.bin".to_owned(), noise)];
    npm_body(name, version, manifest, &targz(&files, Compression::none())?)
}

/// A crate with a handful of dependencies and about `source_bytes` of source text.
pub(crate) fn crate_upload(name: &str, version: &str, source_bytes: usize) -> Result<Upload, Error> {
    let mut manifest = format!(
        "[package]\nname = \"{name}\"\nversion = \"{version}\"\nedition = \"2021\"\n\
         description = \"A crate to be measured\"\nlicense = \"MIT\"\n\n[dependencies]\n"
    );
    let mut deps = Vec::new();
    for dependency in ["serde", "thiserror", "tracing", "bytes", "itoa"] {
        manifest.push_str(&format!("{dependency} = \"1.0\"\n"));
        deps.push(json!({
            "name": dependency, "version_req": "^1.0", "features": [], "optional": false, "default_features": true,
            "target": null, "kind": "normal", "registry": "https://github.com/rust-lang/crates.io-index",
            "explicit_name_in_toml": null,
        }));
    }
    let files = [
        (format!("{name}-{version}/Cargo.toml"), manifest.into_bytes()),
        (format!("{name}-{version}/src/lib.rs"), text(&mut StdRng::from_os_rng(), source_bytes)),
    ];
    let archive = targz(&files, Compression::default())?;
    let metadata = json!({
        "name": name, "vers": version, "deps": deps, "features": {},
        "authors": [], "description": "A crate to be measured", "license": "MIT",
    });
    let metadata = serde_json::to_vec(&metadata)?;
    let mut body = Vec::new();
    for part in [metadata, archive] {
        body.extend_from_slice(&u32::try_from(part.len())?.to_le_bytes());
        body.extend_from_slice(&part);
    }
    Ok(Upload { path: "/api/v1/crates/new".to_owned(), body: body.into() })
}

fn npm_manifest(name: &str, version: &str) -> Value {
    json!({
        "name": name, "version": version, "description": "A package to be measured",
        "main": "lib/module0.js", "types": "lib/module0.d.ts", "license": "MIT", "sideEffects": false,
        "author": { "name": "Ada Example", "email": "ada@example.test" },
        "homepage": format!("https://example.test/{name}#readme"),
        "repository": { "type": "git", "url": format!("git+https://example.test/{name}.git") },
        "bugs": { "url": format!("https://example.test/{name}/issues") },
        "keywords": ["measure", "registry", "package", "example"],
        "files": ["lib"],
        "engines": { "node": ">=18" },
        "scripts": { "build": "tsc -p .", "test": "node --test", "lint": "eslint lib" },
        "dependencies": {
            "debug": "^4.3.4", "semver": "^7.5.4", "ms": "^2.1.3", "yallist": "^4.0.0", "lru-cache": "^10.2.0",
        },
        "devDependencies": {
            "typescript": "^5.4.5", "eslint": "^9.1.0", "@types/node": "^20.12.7", "prettier": "^3.2.5", "c8": "^9.1.0",
        },
    })
}

/// The document that `npm publish` PUTs.
fn npm_body(name: &str, version: &str, manifest: Value, tarball: &[u8]) -> Result<Upload, Error> {
    let shasum: String = Sha1::digest(tarball).iter().map(|byte| format!("{byte:02x}")).collect();
    let file = format!("{name}-{version}.tgz");
    let mut published = manifest;
    published["_id"] = json!(format!("{name}@{version}"));
    published["dist"] = json!({
        "integrity": format!("sha512-{}", STANDARD.encode(Sha512::digest(tarball))),
        "shasum": shasum, "tarball": format!("http://registry.test/{name}/-/{file}"),
    });
    let document = json!({
        "_id": name, "name": name, "description": "A package to be measured",
        "dist-tags": { "latest": version }, "versions": { version: published }, "access": null,
        "readme": "# Measure\n\nA package to be measured.\n",
        "_attachments": { file: {
            "content_type": "application/octet-stream", "data": STANDARD.encode(tarball), "length": tarball.len(),
        }},
    });
    Ok(Upload { path: format!("/{name}"), body: serde_json::to_vec(&document)?.into() })
}

fn targz(files: &[(String, Vec<u8>)], level: Compression) -> Result<Vec<u8>, Error> {
    let mut tar = tar::Builder::new(GzEncoder::new(Vec::new(), level));
    for (path, content) in files {
        let mut header = tar::Header::new_ustar();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        header.set_cksum();
        tar.append_data(&mut header, path, content.as_slice())?;
    }
    Ok(tar.into_inner()?.finish()?)
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

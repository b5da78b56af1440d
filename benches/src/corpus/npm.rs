//! npm packages.

use base64::{Engine, engine::general_purpose::STANDARD};
use flate2::Compression;
use rand::{SeedableRng, rngs::StdRng};
use reqwest::Method;
use serde_json::{Value, json};
use sha1::Sha1;
use sha2::{Digest, Sha512};

use super::{Upload, noise, targz, text};
use crate::Error;

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
    let files = [
        ("package/package.json".to_owned(), serde_json::to_vec(&manifest)?),
        ("package/data.bin".to_owned(), noise(size)),
    ];
    npm_body(name, version, manifest, &targz(&files, Compression::none())?)
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
    let body = serde_json::to_vec(&document)?.into();
    Ok(Upload { method: Method::PUT, path: format!("/{name}"), content_type: "application/json", body })
}

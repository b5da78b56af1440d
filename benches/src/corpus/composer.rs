//! Composer packages.

use reqwest::Method;
use serde_json::json;

use super::{Upload, zip};
use crate::Error;

/// A library with one class; `name` is `vendor/package`.
pub(crate) fn composer_upload(name: &str, version: &str) -> Result<Upload, Error> {
    let manifest = json!({
        "name": name, "version": version, "description": "A library to be measured", "license": "MIT",
        "require": { "php": ">=8.0", "psr/log": "^3.0" },
        "autoload": { "psr-4": { "Bench\\": "src/" } },
    });
    let class = format!("<?php\nnamespace Bench;\nclass Hello {{ const VERSION = '{version}'; }}\n");
    let files = [
        ("composer.json".to_owned(), serde_json::to_vec_pretty(&manifest)?),
        ("src/Hello.php".to_owned(), class.into_bytes()),
    ];
    let path = format!("/packages/{name}");
    Ok(Upload { method: Method::PUT, path, content_type: "application/zip", body: zip(&files)?.into() })
}

//! The document this adapter stores with each release, and the entry of `p2` made from it.

use publaryn_core::{
    ArtifactKind,
    publish::{PROVIDES, REQUIRES},
};
use publaryn_protocol::{KeptRelease, replacement};
use publaryn_registry::{LiveRelease, PackageRow};
use serde_json::{Map, Value, json};

use crate::{manifest::Manifest, name, version::Normalized};

/// Where the publisher says the source of a release lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// `git`, `hg`, `svn`, `fossil`
    pub kind: String,
    pub url: String,
    pub reference: String,
}

/// Builds the document of a release.
pub(crate) fn document(manifest: &Manifest, version: &Normalized, source: Option<&Source>) -> Value {
    let source = source.map(|s| json!({ "type": s.kind, "url": s.url, "reference": s.reference }));
    json!({
        "manifest": manifest.served,
        "normalized": version.text,
        "source": source,
        REQUIRES: manifest.links("require"),
        PROVIDES: manifest.links("provide"),
    })
}

/// How a zip is called in the store: the reference is part of it, so that an address is good for one content only.
pub(crate) fn dist_filename(name: &str, unique: &str, sha1: &str) -> String {
    format!("{}-{unique}-{sha1}.zip", name.replace('/', "-"))
}

/// The `dist` of a version; lock files keep it for years.
pub(crate) fn dist(base: &str, name: &str, version: &str, sha1: &str) -> Value {
    let version = percent_encoding::utf8_percent_encode(version, SEGMENT);
    json!({
        "type": "zip",
        "url": format!("{base}/dist/{name}/{version}/{sha1}.zip"),
        "reference": sha1,
        "shasum": sha1,
    })
}

/// What does not stand for itself in a segment of a path.
const SEGMENT: &percent_encoding::AsciiSet =
    &percent_encoding::NON_ALPHANUMERIC.remove(b'.').remove(b'-').remove(b'_').remove(b'~');

/// One version as clients read it; `None` when its zip is not to be had.
pub(crate) fn entry(package: &PackageRow, release: &LiveRelease, base: &str) -> Option<Map<String, Value>> {
    let name = package.name.as_str();
    let sha1 = release.file_of(ArtifactKind::ComposerZip)?.sha1.as_deref()?;
    let stored: Value = serde_json::from_str(&release.row.metadata).unwrap_or_default();
    let version = &release.row.version;
    let mut entry = Map::new();
    entry.insert("name".into(), name.into());
    entry.insert("version".into(), version.as_str().into());
    if let Some(normalized) = stored.get("normalized").filter(|text| text.is_string()) {
        entry.insert("version_normalized".into(), normalized.clone());
    }
    if let Some(Value::Object(manifest)) = stored.get("manifest") {
        entry.extend(manifest.iter().map(|(key, value)| (key.clone(), value.clone())));
    }
    let at = release.row.published_at.unwrap_or(release.row.created_at);
    entry.insert("time".into(), at.to_seconds_string().replace('Z', "+00:00").into());
    entry.insert("dist".into(), dist(base, name, version, sha1));
    if let Some(source) = stored.get("source").filter(|source| source.is_object()) {
        entry.insert("source".into(), source.clone());
    }
    entry.extend(abandonment(package, release).map(|said| ("abandoned".to_owned(), said)));
    Some(entry)
}

/// What is said of a version that is abandoned: about itself, or about its package as a whole.
pub(crate) fn abandonment(package: &PackageRow, release: &LiveRelease) -> Option<Value> {
    let message = release.row.deprecation_message.as_deref().or(package.deprecation_message.as_deref());
    message.map(abandoned)
}

/// What a deprecation says to clients: the package to use instead, where the message names one.
fn abandoned(message: &str) -> Value {
    let named = replacement::named_by(message).unwrap_or(message.trim());
    if name::is_name(named) { named.into() } else { true.into() }
}

/// The message that [`abandoned`] reads.
pub(crate) fn abandoned_message(replacement: Option<&str>) -> String {
    match replacement {
        Some(name) => replacement::message_naming(name),
        None => "This package is abandoned.".to_owned(),
    }
}

/// The manifest as the management API shows it, for a repository at `base`.
pub(crate) fn details(release: &KeptRelease<'_>, base: &str) -> Value {
    let manifest = |member: &str| release.document["manifest"].get(member).cloned();
    let links = |member: &str| manifest(member).unwrap_or_else(|| json!({}));
    let zip = release.files.iter().find(|file| file.kind == ArtifactKind::ComposerZip);
    let sha1 = zip.and_then(|zip| zip.sha1);
    json!({
        "require": links("require"),
        "require_dev": links("require-dev"),
        "autoload": manifest("autoload"),
        "type": manifest("type"),
        "dist": sha1.map(|sha1| dist(base, release.name, release.version, sha1)),
        "source": release.document.get("source").filter(|source| source.is_object()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deprecation_names_the_replacement_or_none() {
        assert_eq!(abandoned(&abandoned_message(Some("acme/new"))), json!("acme/new"));
        assert_eq!(abandoned(&abandoned_message(None)), json!(true));
        assert_eq!(abandoned("acme/new"), json!("acme/new"));
        assert_eq!(abandoned("Use something else."), json!(true));
    }

    #[test]
    fn dist_addresses_escape_what_a_version_may_hold() {
        let dist = dist("http://h/composer", "acme/lib", "v1.0+a/b", "ab");
        assert_eq!(dist["url"], "http://h/composer/dist/acme/lib/v1.0%2Ba%2Fb/ab.zip");
        assert_eq!(dist_filename("acme/lib", "1.0.0.0", "ab"), "acme-lib-1.0.0.0-ab.zip");
    }

    #[test]
    fn the_management_api_shows_links_and_where_the_zip_is() {
        let document = json!({"manifest": {"require": {"php": ">=8"}, "type": "library"}, "source": null});
        let file = |kind, filename, sha1| publaryn_protocol::KeptFile { kind, filename, sha1: Some(sha1), sha512: "" };
        let beside = file(ArtifactKind::Checksum, "a.txt", "cd");
        let zip = file(ArtifactKind::ComposerZip, "x.zip", "ab");
        let release = KeptRelease {
            name: "acme/lib",
            version: "1.0.0",
            is_yanked: false,
            document: &document,
            files: vec![beside, zip],
            base_url: "http://h",
        };
        let details = details(&release, "http://h/composer");
        assert_eq!((&details["require"], &details["require_dev"]), (&json!({"php": ">=8"}), &json!({})));
        assert_eq!(details["dist"]["url"], "http://h/composer/dist/acme/lib/1.0.0/ab.zip");
        assert_eq!((&details["type"], &details["source"]), (&json!("library"), &Value::Null));
    }
}

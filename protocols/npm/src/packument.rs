//! The per-package document that clients resolve from, in its two representations.
//!
//! Rendering is on the path of every install, so the stored pieces of each release are copied as they
//! are; only the manifest of `latest` is parsed, for what the top level repeats from it.
//! Format: <https://github.com/npm/registry/blob/main/docs/responses/package-metadata.md>.

use base64::{Engine, prelude::BASE64_STANDARD};
use publaryn_core::{ArtifactKind, Timestamp};
use publaryn_registry::{ArtifactRow, LiveRelease, PackageDocument};
use serde::Serialize;
use serde_json::{Map, Value, value::RawValue};
use sha2::{Digest, Sha256};

use crate::{
    release::{MAX_README_BYTES, Signature, Stored, cut},
    signature::RegistryKey,
};

/// Content type of the full document.
pub const FULL_TYPE: &str = "application/json";
/// Content type of the abbreviated document.
pub const ABBREVIATED_TYPE: &str = "application/vnd.npm.install-v1+json";

/// Renders the full document; `None` when no version is visible.
///
/// `base` is the address of this registry without a trailing slash, as the client wrote it.
pub fn render_full(doc: &PackageDocument, base: &str, key: Option<&RegistryKey>) -> Option<Vec<u8>> {
    let visible = Visible::of(doc)?;
    let name = &doc.package.name;
    let mut out = Writer::with_capacity(doc.releases.iter().map(|r| r.row.metadata.len() + 1024).sum());
    out.open();
    out.member("_id", name);
    out.member("_rev", &revision(doc));
    out.member("name", name);
    out.member("dist-tags", &visible.tags);
    out.key("versions");
    out.open();
    let maintainers = maintainers(doc);
    let maintainers_text = serde_json::to_string(&maintainers).unwrap_or_default();
    for release in &visible.releases {
        let stored = Stored::read(&release.row.metadata);
        out.key(&release.row.version);
        out.continue_object(stored.manifest, || identity(name, &release.row.version));
        out.member("_id", &format!("{name}@{}", release.row.version));
        if let Some(publisher) = &release.row.publisher {
            let email = release.row.publisher_email.as_deref().unwrap_or_default();
            out.member("_npmUser", &Person { name: publisher, email });
        }
        out.raw_member("maintainers", &maintainers_text);
        finish_version(&mut out, doc, release, &stored, base, key);
        out.close();
    }
    out.close();
    write_time(&mut out, doc, &visible);
    out.raw_member("maintainers", &maintainers_text);
    write_hoisted(&mut out, doc, &visible);
    if !doc.stargazers.is_empty() {
        let users: Map<String, Value> = doc.stargazers.iter().map(|u| (u.clone(), Value::Bool(true))).collect();
        out.member("users", &users);
    }
    out.close();
    Some(out.finish())
}

/// Renders the abbreviated document; `None` when no version is visible.
///
/// `time` goes beyond the documented format: it saves pnpm a second, full request per package.
pub fn render_abbreviated(doc: &PackageDocument, base: &str, key: Option<&RegistryKey>) -> Option<Vec<u8>> {
    let visible = Visible::of(doc)?;
    let mut out = Writer::with_capacity(visible.releases.len() * 1024);
    out.open();
    out.member("name", &doc.package.name);
    out.member("modified", &doc.package.updated_at.to_millis_string());
    out.member("dist-tags", &visible.tags);
    out.key("versions");
    out.open();
    for release in &visible.releases {
        let stored = Stored::read(&release.row.metadata);
        out.key(&release.row.version);
        out.continue_object(stored.abbreviated, || identity(&doc.package.name, &release.row.version));
        finish_version(&mut out, doc, release, &stored, base, key);
        out.close();
    }
    out.close();
    write_time(&mut out, doc, &visible);
    out.close();
    Some(out.finish())
}

/// Renders the tags alone; `None` when there is none.
pub fn render_dist_tags(doc: &PackageDocument) -> Option<Vec<u8>> {
    serde_json::to_vec(&Visible::of(doc)?.tags).ok()
}

/// The release that `latest` names, as clients see it; `None` when no version is visible.
pub fn latest(doc: &PackageDocument) -> Option<&LiveRelease> {
    Visible::of(doc).map(|visible| visible.latest)
}

/// The revision that clients send back with `-rev/`: changes whenever the document does.
pub fn revision(doc: &PackageDocument) -> String {
    revision_of(doc.package.id, doc.package.revision)
}

/// The revision text of a package at one number.
pub fn revision_of(id: publaryn_core::PackageId, revision: i64) -> String {
    let hash = Sha256::digest(format!("{id}:{revision}"));
    format!("{revision}-{}", hex::encode(&hash[..16]))
}

/// The number in a revision that a client sent back, if it is one of this package's.
pub fn parse_revision(id: publaryn_core::PackageId, text: &str) -> Option<i64> {
    let number = text.split_once('-')?.0.parse().ok()?;
    (revision_of(id, number) == text).then_some(number)
}

/// What clients may resolve: npm has no yank, so a yanked release keeps its tarball but is not listed.
struct Visible<'a> {
    releases: Vec<&'a LiveRelease>,
    /// Tag to version, sorted; `latest` is always there.
    tags: Map<String, Value>,
    latest: &'a LiveRelease,
}

impl<'a> Visible<'a> {
    fn of(doc: &'a PackageDocument) -> Option<Self> {
        let releases: Vec<&LiveRelease> = doc.releases.iter().filter(|r| !r.row.is_yanked).collect();
        let find = |version: &str| releases.iter().copied().find(|r| r.row.version == version);
        let tagged = doc.tags.iter().find(|(tag, _)| tag == "latest").and_then(|(_, version)| find(version));
        let latest = match tagged {
            Some(release) => release,
            None => releases.iter().copied().max_by_key(|r| (!r.row.is_prerelease, &r.row.sort_key))?,
        };
        let mut tags = Map::new();
        tags.insert("latest".to_owned(), latest.row.version.clone().into());
        for (tag, version) in doc.tags.iter().filter(|(tag, _)| tag != "latest") {
            if find(version).is_some() {
                tags.insert(tag.clone(), version.clone().into());
            }
        }
        Some(Self { releases, tags, latest })
    }
}

#[derive(Serialize)]
struct Person<'a> {
    name: &'a str,
    email: &'a str,
}

fn maintainers(doc: &PackageDocument) -> Vec<Person<'_>> {
    doc.owners.iter().map(|o| Person { name: &o.username, email: &o.email }).collect()
}

fn identity(name: &str, version: &str) -> Vec<(&'static str, Value)> {
    vec![("name", name.into()), ("version", version.into())]
}

/// The members that close every version object, in both forms.
fn finish_version(
    out: &mut Writer,
    doc: &PackageDocument,
    release: &LiveRelease,
    stored: &Stored<'_>,
    base: &str,
    key: Option<&RegistryKey>,
) {
    if stored.has_install_script {
        out.member("hasInstallScript", &true);
    }
    let message = release.row.deprecation_message.as_deref().or(doc.package.deprecation_message.as_deref());
    if let Some(message) = message.filter(|m| !m.is_empty()) {
        out.member("deprecated", message);
    }
    let Some(tarball) = release.artifacts.iter().find(|a| a.kind == ArtifactKind::Tarball) else { return };
    out.member("dist", &Dist::of(&doc.package.name, &release.row.version, tarball, stored, base, key));
}

#[derive(Serialize)]
struct Dist<'a> {
    #[serde(skip_serializing_if = "String::is_empty")]
    integrity: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    shasum: Option<&'a str>,
    tarball: String,
    #[serde(rename = "fileCount", skip_serializing_if = "Option::is_none")]
    file_count: Option<u64>,
    #[serde(rename = "unpackedSize", skip_serializing_if = "Option::is_none")]
    unpacked_size: Option<u64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    signatures: Vec<Signature>,
}

impl<'a> Dist<'a> {
    fn of(
        name: &str,
        version: &str,
        tarball: &'a ArtifactRow,
        stored: &Stored<'_>,
        base: &str,
        key: Option<&RegistryKey>,
    ) -> Self {
        let integrity = integrity(&tarball.sha512);
        let signatures = match key {
            None => Vec::new(),
            Some(key) => match stored.signatures.iter().find(|s| s.keyid == key.keyid()) {
                Some(signature) => vec![signature.clone()],
                // Published before the key existed, or through another door.
                None => vec![key.sign(name, version, &integrity)],
            },
        };
        Self {
            tarball: format!("{base}/{name}/-/{}", tarball.filename),
            shasum: tarball.sha1.as_deref(),
            file_count: stored.archive.map(|a| a.file_count),
            unpacked_size: stored.archive.map(|a| a.unpacked_size),
            integrity,
            signatures,
        }
    }
}

/// `sha512-` and the standard base64 of the raw digest (Subresource Integrity); hex in its place
/// fails in every client.
pub fn integrity(sha512_hex: &str) -> String {
    hex::decode(sha512_hex).map(|raw| format!("sha512-{}", BASE64_STANDARD.encode(raw))).unwrap_or_default()
}

fn write_time(out: &mut Writer, doc: &PackageDocument, visible: &Visible<'_>) {
    out.key("time");
    out.open();
    out.member("created", &doc.package.created_at.to_millis_string());
    out.member("modified", &doc.package.updated_at.to_millis_string());
    for release in &visible.releases {
        let at: Timestamp = release.row.published_at.unwrap_or(release.row.created_at);
        out.member(&release.row.version, &at.to_millis_string());
    }
    out.close();
}

/// What the top level repeats from `latest`.
fn write_hoisted(out: &mut Writer, doc: &PackageDocument, visible: &Visible<'_>) {
    let stored = Stored::read(&visible.latest.row.metadata);
    let manifest: Map<String, Value> =
        stored.manifest.and_then(|raw| serde_json::from_str(raw.get()).ok()).unwrap_or_default();
    for key in ["description", "homepage", "keywords", "repository", "author", "contributors", "license", "bugs"] {
        if let Some(value) = manifest.get(key) {
            out.member(key, value);
        }
    }
    out.member("readme", cut(doc.package.readme.as_deref().unwrap_or_default(), MAX_README_BYTES));
    out.member("readmeFilename", stored.readme_filename.as_deref().unwrap_or_default());
}

/// Writes JSON into one buffer, so that stored pieces are copied rather than parsed.
struct Writer {
    out: Vec<u8>,
    /// The next member is the first of its object.
    is_first: bool,
}

impl Writer {
    fn with_capacity(bytes: usize) -> Self {
        Self { out: Vec::with_capacity(bytes + 4096), is_first: true }
    }

    fn open(&mut self) {
        self.out.push(b'{');
        self.is_first = true;
    }

    fn close(&mut self) {
        self.out.push(b'}');
        self.is_first = false;
    }

    fn key(&mut self, key: &str) {
        if !std::mem::take(&mut self.is_first) {
            self.out.push(b',');
        }
        self.value(key);
        self.out.push(b':');
    }

    fn member<T: Serialize + ?Sized>(&mut self, key: &str, value: &T) {
        self.key(key);
        self.value(value);
    }

    fn raw_member(&mut self, key: &str, json: &str) {
        self.key(key);
        self.out.extend_from_slice(json.as_bytes());
    }

    /// Opens an object with the members of `raw`, or with `fallback` where nothing is stored.
    fn continue_object(&mut self, raw: Option<&RawValue>, fallback: impl FnOnce() -> Vec<(&'static str, Value)>) {
        let members = raw
            .map(|raw| raw.get().trim())
            .and_then(|text| text.strip_prefix('{')?.strip_suffix('}'))
            .map(str::trim)
            .filter(|members| !members.is_empty());
        self.open();
        match members {
            Some(members) => {
                self.out.extend_from_slice(members.as_bytes());
                self.is_first = false;
            }
            None => fallback().iter().for_each(|(key, value)| self.member(key, value)),
        }
    }

    fn value<T: Serialize + ?Sized>(&mut self, value: &T) {
        serde_json::to_writer(&mut self.out, value).expect("plain data into memory always serialises");
    }

    fn finish(self) -> Vec<u8> {
        self.out
    }
}

#[cfg(test)]
mod tests;

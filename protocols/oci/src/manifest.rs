//! Reading a manifest: which kind it is, what it refers to, what people are to be told of it.
//!
//! Lenient where the specification is open (unknown members, any artifact type, no layers), strict where
//! two readers could understand a document differently.

use publaryn_core::{
    ContentDigest, Version,
    manifest::{Manifest, Reference, ReferenceKind},
    publish::PackageFacts,
};
use serde_json::{Map, Value, json};

const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
/// Of a draft of the image specification; a few tools still push it.
const OCI_ARTIFACT: &str = "application/vnd.oci.artifact.manifest.v1+json";

/// Most descriptors in one manifest (scanning.md §4).
pub const MAX_DESCRIPTORS: usize = 512;
/// Longest text of a package fact, in characters.
const MAX_FACT_CHARS: usize = 2000;

/// What kind of document it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    Image,
    Index,
    Artifact,
}

/// A manifest that was read and found sound in itself.
#[derive(Debug, Clone, PartialEq)]
pub struct Parsed {
    /// Without parameters.
    pub media_type: String,
    /// The manifest it is about.
    pub subject: Option<String>,
    shape: Shape,
    artifact_type: Option<String>,
    config_type: Option<String>,
    annotations: Map<String, Value>,
    references: Vec<Reference>,
    /// What people are shown of the references.
    shown: Vec<Value>,
}

/// The release version of a manifest: its digest.
pub fn version(digest: ContentDigest) -> Version {
    let text = digest.to_string();
    Version::accepted(&text, &text, text.clone().into_bytes(), false)
}

/// Reads a manifest and checks it against the media type it was sent as.
///
/// # Errors
/// What is wrong with it, for its pusher.
pub fn parse(bytes: &[u8], content_type: Option<&str>) -> Result<Parsed, String> {
    let document: Value = serde_json::from_slice(bytes).map_err(|error| format!("not JSON: {error}"))?;
    let Value::Object(document) = document else { return Err("not a JSON object".into()) };
    let declared = match document.get("mediaType") {
        None => None,
        Some(Value::String(text)) => Some(text.as_str()),
        Some(_) => return Err("`mediaType` is not a text".into()),
    };
    let sent = content_type.map(without_parameters).filter(|text| !text.is_empty());
    if let (Some(sent), Some(declared)) = (sent, declared)
        && sent != declared
    {
        return Err(format!("sent as {sent}, but says it is {declared}"));
    }
    let media_type = sent.or(declared).map_or_else(|| by_shape(&document), |text| Ok(text.to_owned()))?;
    let shape = match media_type.as_str() {
        OCI_MANIFEST | DOCKER_MANIFEST => Shape::Image,
        OCI_INDEX | DOCKER_LIST => Shape::Index,
        OCI_ARTIFACT => Shape::Artifact,
        other if other.contains("docker.distribution.manifest.v1") => {
            return Err("Docker image manifest version 2, schema 1 is not supported".into());
        }
        other => return Err(format!("{} is not the media type of a manifest", shorten(other, 100))),
    };
    check_version(&document, shape)?;
    check_ambiguity(&document, shape)?;
    let mut parsed = Parsed {
        media_type,
        subject: subject(&document)?,
        shape,
        artifact_type: text_member(&document, "artifactType")?,
        config_type: None,
        annotations: match document.get("annotations") {
            None | Some(Value::Null) => Map::new(),
            Some(Value::Object(map)) => map.clone(),
            Some(_) => return Err("`annotations` is not an object".into()),
        },
        references: Vec::new(),
        shown: Vec::new(),
    };
    parsed.read_references(&document)?;
    Ok(parsed)
}

fn without_parameters(content_type: &str) -> &str {
    content_type.split(';').next().unwrap_or_default().trim()
}

/// The media type of a document that names none.
fn by_shape(document: &Map<String, Value>) -> Result<String, String> {
    let has = |key| document.contains_key(key);
    match (has("manifests"), has("layers") || has("config")) {
        (true, false) => Ok(OCI_INDEX.into()),
        (false, true) => Ok(OCI_MANIFEST.into()),
        _ => Err("neither `mediaType` nor `Content-Type` say what it is".into()),
    }
}

fn check_version(document: &Map<String, Value>, shape: Shape) -> Result<(), String> {
    match document.get("schemaVersion").and_then(Value::as_u64) {
        Some(2) => Ok(()),
        Some(1) => Err("schema 1 is not supported".into()),
        None if shape == Shape::Artifact && !document.contains_key("schemaVersion") => Ok(()),
        _ => Err("`schemaVersion` is not 2".into()),
    }
}

/// A document that is an index to one reader and an image to another hides what the other one runs
/// (CVE-2021-41190).
fn check_ambiguity(document: &Map<String, Value>, shape: Shape) -> Result<(), String> {
    let foreign: &[&str] = match shape {
        Shape::Image => &["manifests", "fsLayers", "blobs"],
        Shape::Index => &["config", "layers", "fsLayers", "blobs"],
        Shape::Artifact => &["config", "layers", "fsLayers", "manifests"],
    };
    match foreign.iter().find(|key| document.contains_key(**key)) {
        Some(key) => Err(format!("`{key}` does not belong into a manifest of this kind")),
        None => Ok(()),
    }
}

fn subject(document: &Map<String, Value>) -> Result<Option<String>, String> {
    match document.get("subject") {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Object(subject)) => {
            let digest = subject.get("digest").and_then(Value::as_str).ok_or("`subject` has no digest")?;
            match digest.parse::<ContentDigest>() {
                Err(publaryn_core::DigestProblem::Malformed) => Err("the digest of `subject` is malformed".into()),
                _ => Ok(Some(digest.to_owned())),
            }
        }
        Some(_) => Err("`subject` is not a descriptor".into()),
    }
}

fn text_member(document: &Map<String, Value>, key: &str) -> Result<Option<String>, String> {
    match document.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(plain(key, text)?.to_owned()).filter(|text| !text.is_empty())),
        Some(_) => Err(format!("`{key}` is not a text")),
    }
}

/// A text that can be stored and compared: PostgreSQL takes no NUL.
fn plain<'t>(key: &str, text: &'t str) -> Result<&'t str, String> {
    if text.contains('\0') { Err(format!("a NUL character in `{key}`")) } else { Ok(text) }
}

impl Parsed {
    fn read_references(&mut self, document: &Map<String, Value>) -> Result<(), String> {
        match self.shape {
            Shape::Image => {
                let config = document.get("config").ok_or("`config` is missing")?;
                self.config_type = config.get("mediaType").and_then(Value::as_str).map(str::to_owned);
                self.add(config, ReferenceKind::Config)?;
                self.add_all(document, "layers", ReferenceKind::Layer)
            }
            Shape::Index => self.add_all(document, "manifests", ReferenceKind::Manifest),
            Shape::Artifact => self.add_all(document, "blobs", ReferenceKind::Layer),
        }
    }

    fn add_all(&mut self, document: &Map<String, Value>, key: &str, kind: ReferenceKind) -> Result<(), String> {
        match document.get(key) {
            None | Some(Value::Null) => Ok(()),
            Some(Value::Array(list)) if list.len() > MAX_DESCRIPTORS => {
                Err(format!("more than {MAX_DESCRIPTORS} `{key}`"))
            }
            Some(Value::Array(list)) => list.iter().try_for_each(|descriptor| self.add(descriptor, kind)),
            Some(_) => Err(format!("`{key}` is not a list")),
        }
    }

    fn add(&mut self, descriptor: &Value, kind: ReferenceKind) -> Result<(), String> {
        let digest = descriptor.get("digest").and_then(Value::as_str).ok_or("a descriptor has no digest")?;
        let media_type = plain("mediaType", descriptor.get("mediaType").and_then(Value::as_str).unwrap_or_default())?;
        let size_bytes = descriptor.get("size").and_then(Value::as_u64).ok_or("a descriptor has no size")?;
        let is_foreign = kind == ReferenceKind::Layer
            && (media_type.contains("nondistributable") || media_type.contains("rootfs.foreign"));
        let digest: ContentDigest = digest.parse().map_err(|problem| format!("{}: {problem}", shorten(digest, 100)))?;
        self.shown.push(json!({
            "digest": digest,
            "kind": kind,
            "size": size_bytes,
            "media_type": shorten(media_type, 255),
            "platform": descriptor.get("platform").filter(|platform| platform.is_object()),
        }));
        match self.references.iter_mut().find(|known| known.digest == digest) {
            None => self.references.push(Reference { digest, kind, size_bytes, is_foreign }),
            Some(known) if known.size_bytes != size_bytes => {
                return Err(format!("{digest} is given two different sizes"));
            }
            // Needed here if any mention needs it.
            Some(known) => known.is_foreign &= is_foreign,
        }
        Ok(())
    }

    /// The type that the referrers listing shows and filters by.
    fn shown_type(&self) -> Option<&str> {
        match self.shape {
            Shape::Image => self.artifact_type.as_deref().or(self.config_type.as_deref()),
            Shape::Index | Shape::Artifact => self.artifact_type.as_deref(),
        }
    }

    fn annotation(&self, key: &str) -> Option<String> {
        let text = self.annotations.get(key)?.as_str()?.replace('\0', "");
        let text = text.trim();
        (!text.is_empty()).then(|| shorten(text, MAX_FACT_CHARS))
    }

    /// What the package page says, from the annotations of the image specification.
    pub fn facts(&self) -> PackageFacts {
        let named = |key: &str| self.annotation(&format!("org.opencontainers.image.{key}"));
        PackageFacts {
            description: named("description").or_else(|| named("title")),
            homepage: named("url").or_else(|| named("documentation")),
            repository_url: named("source"),
            license: named("licenses"),
            keywords: Vec::new(),
            readme: None,
        }
    }

    /// The release's own document: what its page shows without reading the manifest.
    pub fn metadata(&self) -> Value {
        json!({
            "media_type": self.media_type,
            "artifact_type": self.shown_type(),
            "subject_digest": self.subject,
            "references": self.shown,
        })
    }

    pub fn into_manifest(self, digest: ContentDigest, size_bytes: u64, tags: Vec<String>) -> Manifest {
        let mut descriptor = Map::new();
        descriptor.insert("mediaType".into(), json!(self.media_type));
        descriptor.insert("digest".into(), json!(digest));
        descriptor.insert("size".into(), json!(size_bytes));
        let artifact_type = self.shown_type().map(str::to_owned);
        if let Some(kind) = &artifact_type {
            descriptor.insert("artifactType".into(), json!(kind));
        }
        if !self.annotations.is_empty() {
            descriptor.insert("annotations".into(), Value::Object(self.annotations));
        }
        // Read for manifests that have a subject only.
        let descriptor = if self.subject.is_some() { Value::Object(descriptor).to_string() } else { "{}".into() };
        Manifest { digest, references: self.references, subject: self.subject, artifact_type, descriptor, tags }
    }
}

fn shorten(text: &str, max_chars: usize) -> String {
    text.chars().take(max_chars).collect()
}

#[cfg(test)]
mod tests;

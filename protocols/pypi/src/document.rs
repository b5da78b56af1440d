//! What is stored of a file and of a release: everything this index serves of them besides the bytes.

use publaryn_core::{
    CompanionRole,
    publish::{PackageFacts, ReleaseDocument},
};
use publaryn_registry::{Companion, trusted_publishing::AttestedBy};
use serde::{Deserialize, Serialize};
use serde_json::json;
use sha2::{Digest as _, Sha256};

use crate::{
    archive::Distribution,
    claims::{Claims, Differing},
    core_metadata::CoreMetadata,
    filename::{DistributionName, Format},
};

/// Longest readme kept of a package, in bytes (`PackageFacts::readme`).
const MAX_README_BYTES: usize = 512 << 10;

/// The document of one file, made from the archive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileDocument {
    /// Lower-case hex.
    pub blake2b_256: String,
    /// SHA-256 of the metadata file in lower-case hex, where clients may fetch that by itself: for wheels.
    pub core_metadata: Option<String>,
    pub metadata_version: String,
    /// Of this file's own metadata; files of one release may differ.
    pub requires_python: Option<String>,
    /// The Python tag of a wheel, `source` for an sdist.
    pub python_tag: String,
    /// Where the upload form said something else than the archive, for the scanner to judge. The words of the form
    /// are not kept: whatever is here is read for every page of the project.
    #[serde(default)]
    pub form_differs: Vec<Differing>,
    /// An attestation came along; it is kept, and shown only with `attested_by`.
    pub has_attestations: bool,
    /// The workflow whose signature was checked, and which the project trusts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attested_by: Option<AttestedBy>,
}

impl FileDocument {
    pub(crate) fn new(content: &Distribution, file: &DistributionName, blake2b_256: String, form: &Claims) -> Self {
        let metadata = &content.metadata;
        let is_wheel = file.format == Format::Wheel;
        Self {
            blake2b_256,
            core_metadata: is_wheel.then(|| hex::encode(Sha256::digest(&content.metadata_file))),
            metadata_version: metadata.metadata_version.clone(),
            requires_python: metadata.requires_python.clone(),
            python_tag: file.tags.as_ref().map_or_else(|| "source".to_owned(), |tags| tags.python.clone()),
            form_differs: form.differing(metadata),
            has_attestations: false,
            attested_by: None,
        }
    }
}

/// The metadata file of a wheel, which clients fetch by itself.
pub(crate) fn metadata_companion(content: &Distribution) -> Companion {
    Companion {
        role: CompanionRole::Manifest,
        content_type: "text/plain; charset=utf-8",
        bytes: content.metadata_file.clone(),
    }
}

/// What a release says of itself once a file with this metadata is cleared.
pub fn release_document(metadata: &CoreMetadata, project: &str) -> ReleaseDocument {
    let document = json!({
        "project_name": metadata.name,
        "normalized_name": project,
        "metadata_version": metadata.metadata_version,
        "requires_python": metadata.requires_python,
        "requires_dist": metadata.requires_dist,
        "requires_external": metadata.requires_external,
        "provides_extra": metadata.provides_extra,
        "classifiers": metadata.classifiers,
        "author": metadata.author,
        "author_email": metadata.author_email,
        "maintainer": metadata.maintainer,
        "maintainer_email": metadata.maintainer_email,
        "license": metadata.license,
        "license_expression": metadata.license_expression,
        "project_urls": metadata.project_urls,
        "description_content_type": metadata.description_content_type,
    });
    ReleaseDocument { metadata: document, facts: facts(metadata) }
}

fn facts(metadata: &CoreMetadata) -> PackageFacts {
    let labelled = |labels: &[&str]| {
        metadata.project_urls.iter().find(|(label, _)| {
            // PEP 753: labels are compared without case, spaces and punctuation.
            let label: String = label.chars().filter(char::is_ascii_alphanumeric).collect();
            labels.iter().any(|known| label.eq_ignore_ascii_case(known))
        })
    };
    let address = |labels: &[&str]| labelled(labels).map(|(_, address)| address.clone());
    PackageFacts {
        description: metadata.summary.clone(),
        homepage: metadata.home_page.clone().or_else(|| address(&["homepage", "home"])),
        repository_url: address(&["source", "repository", "sourcecode", "github", "code", "gitlab"]),
        license: metadata.license_expression.clone().or_else(|| short_license(metadata)),
        keywords: metadata.keywords.clone(),
        readme: metadata.description.as_deref().map(|text| cut(text, MAX_README_BYTES).to_owned()),
    }
}

/// The `License` field is free text, up to the whole licence; only a name is worth a line.
fn short_license(metadata: &CoreMetadata) -> Option<String> {
    let license = metadata.license.as_deref()?.lines().next()?.trim();
    (!license.is_empty() && license.len() <= 100).then(|| license.to_owned())
}

fn cut(text: &str, max_bytes: usize) -> &str {
    let mut end = text.len().min(max_bytes);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metadata(fields: &str) -> CoreMetadata {
        let text = format!("Metadata-Version: 2.4\nName: demo\nVersion: 1.0\n{fields}\n\nread me");
        CoreMetadata::parse(text.as_bytes(), true).unwrap()
    }

    #[test]
    fn the_facts_of_a_package_come_from_its_metadata() {
        let document = release_document(
            &metadata(
                "Summary: s\nLicense: BSD\nLicense-Expression: MIT\nKeywords: a, b\nProject-URL: Source Code, https://e/src\nProject-URL: Homepage, https://e/",
            ),
            "demo",
        );
        let facts = document.facts;
        assert_eq!(facts.description.as_deref(), Some("s"));
        assert_eq!(facts.license.as_deref(), Some("MIT"));
        assert_eq!(facts.keywords, ["a", "b"]);
        assert_eq!(facts.repository_url.as_deref(), Some("https://e/src"));
        assert_eq!(facts.homepage.as_deref(), Some("https://e/"));
        assert_eq!(facts.readme.as_deref(), Some("read me"));
        assert_eq!(document.metadata["normalized_name"], "demo");
    }

    #[test]
    fn a_licence_text_is_no_licence_name() {
        let long = format!("License: {}", "x".repeat(200));
        assert_eq!(release_document(&metadata(&long), "demo").facts.license, None);
        let first_line = metadata("License: BSD\n  Redistribution and use");
        assert_eq!(release_document(&first_line, "demo").facts.license.as_deref(), Some("BSD"));
    }

    #[test]
    fn texts_are_cut_between_characters() {
        assert_eq!((cut("aé", 2), cut("aé", 3), cut("aé", 9)), ("a", "aé", "aé"));
    }
}

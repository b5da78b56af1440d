//! What the registry needs to know of a manifest: its place in the graph of content.

use crate::ContentDigest;

text_enum! {
    /// What a manifest refers to.
    pub enum ReferenceKind { Config = "config", Layer = "layer", Manifest = "manifest" }
}

/// Something a manifest cannot be used without.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    pub digest: ContentDigest,
    pub kind: ReferenceKind,
    /// As the manifest says; has to be true.
    pub size_bytes: u64,
    /// Need not be here: the client fetches it from elsewhere (foreign layers).
    pub is_foreign: bool,
}

/// A manifest as its adapter read it; the bytes are staged beside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// The identity it was pushed under.
    pub digest: ContentDigest,
    /// Without doubles; the config first.
    pub references: Vec<Reference>,
    /// The manifest this one is about, as written; may not exist.
    pub subject: Option<String>,
    /// What the referrers listing filters by.
    pub artifact_type: Option<String>,
    /// Its descriptor in the referrers listing, as JSON text.
    pub descriptor: String,
    /// Names that shall point to it.
    pub tags: Vec<String>,
}

/// Tags that tools rewrite by design, even where tags are otherwise written once: cosign's, and the
/// fallback of the referrers listing.
///
/// `sha256-<64 hex>` with nothing, `.sig`, `.att` or `.sbom` behind it; the same for sha512.
pub fn is_rewritten_by_design(tag: &str) -> bool {
    let body = [".sig", ".att", ".sbom"].iter().find_map(|suffix| tag.strip_suffix(suffix)).unwrap_or(tag);
    let Some((algorithm, hex)) = body.split_once('-') else { return false };
    matches!(algorithm, "sha256" | "sha512")
        && (64..=128).contains(&hex.len())
        && hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_signature_and_fallback_tags_are_exempt() {
        let hex = "0a".repeat(32);
        for tag in [format!("sha256-{hex}"), format!("sha256-{hex}.sig"), format!("sha512-{}.sbom", hex.repeat(2))] {
            assert!(is_rewritten_by_design(&tag), "{tag}");
        }
        for tag in [
            "v1".to_owned(),
            format!("sha256-{hex}.txt"),
            format!("sha256-{}", &hex[1..]),
            format!("sha1-{hex}"),
            format!("x-sha256-{hex}"),
            format!("sha256-{}.sig", hex.to_uppercase()),
        ] {
            assert!(!is_rewritten_by_design(&tag), "{tag}");
        }
    }
}

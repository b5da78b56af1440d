//! What the registry keeps about a release: the facts of its index line, in the form of the line,
//! plus what describes the crate. Rendering and scanning need nothing else.

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

/// Feature name to the features and dependencies it switches on, in the order of the publish request.
pub type Features = IndexMap<String, Vec<String>>;

/// The index of the public registry, as cargo writes it into publish requests.
pub const PUBLIC_INDEX: &str = "https://github.com/rust-lang/crates.io-index";
/// The same registry under its sparse address.
pub const PUBLIC_SPARSE_INDEX: &str = "sparse+https://index.crates.io/";

/// The document of one release, stored as its metadata.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CrateRelease {
    pub name: String,
    /// As published, with build metadata.
    pub vers: String,
    pub deps: Vec<Dependency>,
    pub features: Features,
    pub links: Option<String>,
    /// Schema of the index line: 2 when a feature uses `dep:` or `pkg?/feature`.
    pub v: u8,
    pub rust_version: Option<String>,
    #[serde(default)]
    pub description: About,
    /// What the client said where the manifest has the last word; for the scanner to compare.
    #[serde(default)]
    pub sent: Sent,
    /// Base URLs under which this registry was known when the release came in, so that the scanner
    /// recognises self-references in the manifest.
    #[serde(default)]
    pub own_bases: Vec<String>,
}

/// Facts for people and tools, none of which resolution looks at.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct About {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub documentation: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub homepage: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repository: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub license: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub license_file: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub readme_file: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub edition: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub authors: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub keywords: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub categories: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub bin_names: Vec<String>,
    pub has_lib: bool,
    /// The commit the archive claims to be made from; unverified.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vcs_commit: Option<String>,
}

/// Values of the publish request that its manifest overrules.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Sent {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub links: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rust_version: Option<String>,
}

/// A dependency in the form of the index line; the order of the fields is the order on the wire.
/// Source: <https://doc.rust-lang.org/cargo/reference/registry-index.html#json-schema>
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Dependency {
    /// The name in the manifest's table: the alias of a renamed dependency.
    pub name: String,
    pub req: String,
    pub features: Vec<String>,
    pub optional: bool,
    pub default_features: bool,
    /// A target triple or `cfg(…)`.
    pub target: Option<String>,
    pub kind: DependencyKind,
    /// `None`: the index this line is in.
    pub registry: Option<String>,
    /// The crate's real name, when `name` is an alias.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub package: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bindep_target: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lib: Option<bool>,
}

impl Dependency {
    /// The name of the crate it resolves to.
    pub fn crate_name(&self) -> &str {
        self.package.as_deref().unwrap_or(&self.name)
    }
}

/// When a dependency is needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DependencyKind {
    Normal,
    Build,
    Dev,
}

impl DependencyKind {
    pub fn parse(word: &str) -> Option<Self> {
        match word {
            "normal" => Some(Self::Normal),
            "build" => Some(Self::Build),
            "dev" => Some(Self::Dev),
            _ => None,
        }
    }
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Normal => "normal",
            Self::Build => "build",
            Self::Dev => "dev",
        }
    }
}

/// Which schema a line with these features needs. Saying 2 without need would hide the crate from
/// cargo 1.51 to 1.59.
pub fn line_schema(features: &Features) -> u8 {
    let is_new = |value: &String| value.starts_with("dep:") || value.contains("?/");
    if features.values().flatten().any(is_new) { 2 } else { 1 }
}

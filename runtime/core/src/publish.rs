//! What an adapter hands to the publish pipeline once it has parsed and staged an upload.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{ArtifactKind, Digests, Ecosystem, PackageName, ReleaseId, Version, Visibility, finding::Finding};

/// Package-level facts taken from the newest release (description, links, …).
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct PackageFacts {
    pub description: Option<String>,
    pub homepage: Option<String>,
    pub repository_url: Option<String>,
    pub license: Option<String>,
    pub keywords: Vec<String>,
    /// At most 512 KiB.
    pub readme: Option<String>,
}

/// A file that lies staged in the blob store, not yet part of a release.
#[derive(Debug, Clone)]
pub struct NewArtifact {
    pub kind: ArtifactKind,
    pub filename: String,
    pub content_type: String,
    pub size_bytes: u64,
    pub digests: Digests,
}

/// One release to create: types and digests, never bytes.
#[derive(Debug, Clone)]
pub struct PublishCommand {
    pub ecosystem: Ecosystem,
    pub name: PackageName,
    pub version: Version,
    pub artifacts: Vec<NewArtifact>,
    /// The adapter's own normalised document for this release; what it renders reads from.
    pub metadata: Value,
    pub facts: PackageFacts,
    /// Take effect when the release goes live, ordered by publish sequence.
    pub tags: Vec<String>,
    /// A client's wish (npm `access`): may narrow a new package's visibility, never widen it.
    pub access_hint: Option<Visibility>,
}

/// One file for a release that may exist already, even live. The file has a quarantine of its own: until
/// its own scan has passed it is hidden, and the rest of the release does not notice.
#[derive(Debug, Clone)]
pub struct AppendCommand {
    pub ecosystem: Ecosystem,
    pub name: PackageName,
    pub version: Version,
    /// Slug of the repository for a first publication, where the client names one.
    pub repository: Option<String>,
    /// The adapter's own document of this file; what it renders of the file reads from it.
    pub metadata: Value,
    /// Takes effect when the file is cleared, unless the release is live by then.
    pub release: Option<ReleaseDocument>,
    /// Whether a missing package or release is created; symbols, say, only join what is there.
    pub creates_release: bool,
    /// Names of files without which the release does not go live, besides those named before. A release that
    /// names none goes live with its first cleared file.
    pub required_files: Vec<String>,
    /// The release may hold no other file of this kind.
    pub is_only_of_its_kind: bool,
    /// For ecosystems in which nobody says how many files a release has.
    pub open: Option<StaysOpen>,
    /// Keys by which clients ask for what is inside without naming the package; unique within the file.
    pub lookup_keys: Vec<String>,
}

/// How long a release takes files; after that it is sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StaysOpen {
    /// After each file, unless its client says that this was all.
    pub idle: Duration,
    /// How long after the end this very file may still be added, if it is one that only accompanies others.
    pub late: Option<Duration>,
}

/// What a release says of itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ReleaseDocument {
    /// The adapter's own normalised document, as in [`PublishCommand::metadata`].
    pub metadata: Value,
    pub facts: PackageFacts,
}

/// Member of a release document that lists normalised names of dependencies. While the release is live, they are
/// not unpublished under it.
pub const REQUIRES: &str = "requires";
/// Member of a release document that lists normalised names which the package stands in for.
pub const PROVIDES: &str = "provides";

/// The names that a member of a release document lists.
pub fn named_in<'a>(document: &'a Value, member: &str) -> impl Iterator<Item = &'a str> + use<'a> {
    document.get(member).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
}

/// How a publish ended within the time the client waited.
#[derive(Debug, Clone)]
pub enum PublishOutcome {
    /// Installable now.
    Live { release: ReleaseId },
    /// Accepted; not decided within `publish.wait_seconds`.
    Pending { release: ReleaseId },
    /// Refused by policy; the version number, or the name of the appended file, stays taken.
    Blocked { release: ReleaseId, findings: Vec<Finding> },
}

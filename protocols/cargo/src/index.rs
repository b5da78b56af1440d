//! The sparse index file of a crate: one JSON line per live release, built from rows each time it
//! changes, never edited in place (cargo.md §5).

use publaryn_core::{BoxError, ReleaseState};
use publaryn_metadata::documents::{LiveRelease, PackageDocument};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// A stored release that cannot be rendered; the file is then not served at all, because a short
/// index file makes clients pick other versions.
#[derive(Debug, thiserror::Error)]
#[error("the stored document of `{name}` {version} is not readable")]
pub struct Unrenderable {
    name: String,
    version: String,
    #[source]
    source: BoxError,
}

/// One line; the order of the fields is the order on the wire.
#[derive(Serialize)]
struct Line<'a> {
    name: &'a str,
    vers: &'a str,
    deps: &'a RawValue,
    cksum: String,
    features: &'a RawValue,
    yanked: bool,
    links: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    v: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rust_version: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pubtime: Option<String>,
}

/// The part of a stored release document that its line repeats; `deps` and `features` verbatim.
#[derive(Deserialize)]
struct Stored<'a> {
    #[serde(borrow)]
    deps: &'a RawValue,
    #[serde(borrow)]
    features: &'a RawValue,
    #[serde(default)]
    links: Option<String>,
    #[serde(default)]
    v: Option<u8>,
    #[serde(default)]
    rust_version: Option<String>,
}

/// The whole file, or `None` when nothing is live.
///
/// # Errors
/// [`Unrenderable`]: all lines or nothing.
pub fn render_index(document: &PackageDocument) -> Result<Option<Vec<u8>>, Unrenderable> {
    let mut file = Vec::with_capacity(document.releases.len() * 512);
    for release in &document.releases {
        push_line(&mut file, &document.package.name, release).map_err(|source| Unrenderable {
            name: document.package.name.clone(),
            version: release.row.version.clone(),
            source,
        })?;
    }
    Ok((!file.is_empty()).then_some(file))
}

fn push_line(file: &mut Vec<u8>, name: &str, release: &LiveRelease) -> Result<(), BoxError> {
    let row = &release.row;
    let stored: Stored<'_> = serde_json::from_str(&row.metadata)?;
    let artifact = release.artifacts.first().ok_or("it has no archive")?;
    let line = Line {
        name,
        vers: &row.version,
        deps: stored.deps,
        cksum: artifact.sha256.hex(),
        features: stored.features,
        yanked: row.is_yanked || row.status == ReleaseState::Yanked,
        links: stored.links.as_deref(),
        v: stored.v.filter(|v| *v > 1),
        rust_version: stored.rust_version.as_deref(),
        pubtime: row.published_at.map(|at| at.to_seconds_string()),
    };
    serde_json::to_writer(&mut *file, &line)?;
    file.push(b'\n');
    Ok(())
}

#[cfg(test)]
mod tests;

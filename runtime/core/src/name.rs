//! Package names in the canonical form of their ecosystem.

use std::{
    fmt,
    hash::{Hash, Hasher},
};

use smol_str::SmolStr;

/// A package name that its ecosystem's adapter accepted.
///
/// Keeps the publisher's spelling for display; equality and hashing use the canonical form
/// (access.md §7). Only an adapter's `parse_name` builds one, so code behind it never re-checks.
#[derive(Debug, Clone)]
pub struct PackageName {
    display: SmolStr,
    canonical: SmolStr,
    collision: SmolStr,
    lookalike: Option<SmolStr>,
    keeps_spelling: bool,
}

impl PackageName {
    /// For adapters: `display` as published, `canonical` the normalised identity and
    /// `collision` the key under which two names may not both exist.
    pub fn accepted(display: &str, canonical: &str, collision: &str) -> Self {
        Self {
            display: display.into(),
            canonical: canonical.into(),
            collision: collision.into(),
            lookalike: None,
            keeps_spelling: false,
        }
    }
    /// For ecosystems whose clients look a package up by its published spelling: every release must repeat it.
    pub fn keeping_spelling(self) -> Self {
        Self { keeps_spelling: true, ..self }
    }
    /// For ecosystems in which more names look alike than everywhere ([`crate::similar::lookalike_key`]).
    pub fn looking_like(self, key: &str) -> Self {
        Self { lookalike: Some(key.into()), ..self }
    }
    /// Equal for names that are taken for each other (access.md §8).
    pub fn lookalike_key(&self) -> SmolStr {
        self.lookalike.clone().unwrap_or_else(|| crate::similar::lookalike_key(&self.canonical))
    }
    /// Whether this is another spelling of a package published as `published`, where that matters.
    pub fn respells(&self, published: &str) -> bool {
        self.keeps_spelling && self.display != published
    }
    /// The spelling of the publisher.
    pub fn display(&self) -> &str {
        &self.display
    }
    /// The normalised form: identity on the whole instance, together with the ecosystem.
    pub fn canonical(&self) -> &str {
        &self.canonical
    }
    /// Names with equal collision keys may not both be created.
    pub fn collision_key(&self) -> &str {
        &self.collision
    }
}

impl fmt::Display for PackageName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.display)
    }
}
impl PartialEq for PackageName {
    fn eq(&self, other: &Self) -> bool {
        self.canonical == other.canonical
    }
}
impl Eq for PackageName {}
impl Hash for PackageName {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.canonical.hash(state);
    }
}

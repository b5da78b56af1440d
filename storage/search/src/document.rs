//! What the index keeps about a package, and the order in which changes win.

use std::collections::{BTreeSet, HashMap};

use publaryn_core::{Ecosystem, PackageId, RepositoryId, Timestamp, access::Owner};

use crate::audience::AudienceTag;

/// A change of the index.
#[derive(Debug, Clone)]
pub enum IndexOp {
    /// Writes the document unless the index holds a newer revision of it.
    Upsert(Box<PackageDocument>),
    /// Forgets the package; one that is not there is fine.
    Remove(PackageId),
}

/// A package as it is searched. Holds ids instead of names of owners and repositories, so renaming
/// one of those touches no document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackageDocument {
    pub id: PackageId,
    /// `packages.revision` of the row this was read from.
    pub revision: i64,
    /// When the row was read; [`crate::SearchIndex::sweep`] forgets what was not read since.
    pub read_at: Timestamp,
    pub ecosystem: Ecosystem,
    /// The publisher's spelling.
    pub name: String,
    /// The canonical form; what `sort=name` orders by.
    pub normalized_name: String,
    /// npm scope, Composer vendor, Maven group: without `@`.
    pub scope: Option<String>,
    pub description: Option<String>,
    pub keywords: Vec<String>,
    /// An SPDX expression or whatever the publisher wrote.
    pub license: Option<String>,
    pub owner: Owner,
    pub repository: RepositoryId,
    /// Never empty: what nobody may find is removed, see [`crate::Discoverability::audience`].
    pub audience: BTreeSet<AudienceTag>,
    pub downloads: u64,
    pub is_deprecated: bool,
    pub is_archived: bool,
    pub has_live_release: bool,
    pub updated_at: Timestamp,
}

/// What became of a batch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Applied {
    /// Packages whose document was refused because the index holds a newer revision.
    pub superseded: Vec<PackageId>,
}

/// The last word on every package of a batch.
#[derive(Debug, Default)]
pub(crate) struct Resolved {
    pub upserts: Vec<PackageDocument>,
    pub removals: Vec<PackageId>,
    pub superseded: Vec<PackageId>,
}

/// Plays `ops` in order against the revisions the index holds now.
pub(crate) fn resolve(ops: Vec<IndexOp>, mut held: HashMap<PackageId, i64>) -> Resolved {
    let mut order: Vec<PackageId> = Vec::with_capacity(ops.len());
    let mut last: HashMap<PackageId, Option<PackageDocument>> = HashMap::with_capacity(ops.len());
    let mut superseded = Vec::new();
    for op in ops {
        let (id, outcome) = match op {
            IndexOp::Remove(id) => {
                held.remove(&id);
                (id, None)
            }
            IndexOp::Upsert(document) => {
                if held.get(&document.id).is_some_and(|held| *held > document.revision) {
                    superseded.push(document.id);
                    continue;
                }
                held.insert(document.id, document.revision);
                (document.id, Some(*document))
            }
        };
        if last.insert(id, outcome).is_none() {
            order.push(id);
        }
    }
    let mut resolved = Resolved { superseded, ..Resolved::default() };
    for id in order {
        match last.remove(&id).flatten() {
            Some(document) => resolved.upserts.push(document),
            None => resolved.removals.push(id),
        }
    }
    resolved
}

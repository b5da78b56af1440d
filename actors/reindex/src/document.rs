//! From a package's row to its search document.

use publaryn_core::{Ecosystem, Timestamp};
use publaryn_metadata::search_documents::SearchRow;
use publaryn_search::{Discoverability, IndexOp, PackageDocument};

/// What the index should hold of `row`, read at `read_at`: its document, or nothing.
pub(crate) fn index_op(row: &SearchRow, read_at: Timestamp) -> IndexOp {
    let facts = Discoverability {
        package: row.id,
        owner: row.owner,
        co_owners: &row.co_owners,
        repository: row.repository,
        repository_owner: row.repository_owner,
        repository_kind: row.repository_kind,
        visibility: row.effective,
        has_live_release: row.has_live_release,
    };
    let Some(audience) = facts.audience().filter(|_| !row.is_deleted) else {
        return IndexOp::Remove(row.id);
    };
    IndexOp::Upsert(Box::new(PackageDocument {
        id: row.id,
        revision: row.revision,
        read_at,
        ecosystem: row.ecosystem,
        name: row.name.clone(),
        normalized_name: row.normalized_name.clone(),
        scope: scope(row.ecosystem, &row.normalized_name).map(str::to_owned),
        description: row.description.clone(),
        keywords: row.keywords.clone(),
        license: row.license.clone(),
        owner: row.owner,
        repository: row.repository,
        audience,
        downloads: row.download_count.unsigned_abs(),
        is_deprecated: row.is_deprecated,
        is_archived: row.is_archived,
        has_live_release: row.has_live_release,
        updated_at: row.updated_at,
    }))
}

/// The part of a name that several packages share by design: npm scope, Composer vendor, Maven group.
fn scope(ecosystem: Ecosystem, name: &str) -> Option<&str> {
    match ecosystem {
        Ecosystem::Npm => name.strip_prefix('@')?.split_once('/').map(|(scope, _)| scope),
        Ecosystem::Composer => name.split_once('/').map(|(vendor, _)| vendor),
        Ecosystem::Maven => name.split_once(':').map(|(group, _)| group),
        Ecosystem::Pypi | Ecosystem::Cargo | Ecosystem::Nuget | Ecosystem::Rubygems | Ecosystem::Oci => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_are_what_the_ecosystem_calls_so() {
        assert_eq!(scope(Ecosystem::Npm, "@acme/foo"), Some("acme"));
        assert_eq!(scope(Ecosystem::Npm, "foo"), None);
        assert_eq!(scope(Ecosystem::Composer, "acme/foo"), Some("acme"));
        assert_eq!(scope(Ecosystem::Maven, "org.acme:foo"), Some("org.acme"));
        assert_eq!(scope(Ecosystem::Oci, "acme/foo"), None);
    }
}

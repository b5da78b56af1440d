//! Search of the management API: the index proposes, current rows and rights decide (control-plane.md §9).

use std::collections::HashMap;

use publaryn_core::{
    Operation, PackageId, Principal, RegistryError, ReleaseState, RepositoryKind, Timestamp, Visibility,
    access::{PackageAccess, Resource, permits},
};
use publaryn_metadata::package_views::PackageDetails;
use publaryn_search::{SearchQuery, Total};

use crate::{Registry, governance::SeverityCounts};

/// What to search for, with filters by name; unknown names find nothing.
#[derive(Debug, Clone)]
pub struct SearchRequest {
    pub query: SearchQuery,
    pub org: Option<String>,
    pub owner: Option<String>,
    pub repository: Option<String>,
}

/// One found package as it stands now.
#[derive(Debug, Clone)]
pub struct ControlHit {
    pub details: PackageDetails,
    /// Unresolved findings of live releases, by severity.
    pub findings: SeverityCounts,
    pub trusted_publishers: i64,
    pub latest: Option<(ReleaseState, Option<Timestamp>)>,
}

/// A page of hits, best first.
#[derive(Debug, Clone)]
pub struct ControlSearch {
    pub total: usize,
    pub is_exact: bool,
    /// As far as the index knows; rights may have emptied this page and leave the next one.
    pub has_more: bool,
    pub hits: Vec<ControlHit>,
}

impl ControlSearch {
    const NOTHING: Self = Self { total: 0, is_exact: true, has_more: false, hits: Vec::new() };
}

impl Registry {
    /// Searches what `who` may discover now.
    pub async fn search_packages(
        &self,
        who: &Principal,
        request: SearchRequest,
    ) -> Result<ControlSearch, RegistryError> {
        let Some(query) = self.resolve_filters(who, request).await? else { return Ok(ControlSearch::NOTHING) };
        let standings = self.0.db.standings(who).await?;
        let audience = self.audience(who, &standings).await?;
        let page = self.0.search.query(&query, &audience).await;
        let page = page.map_err(|error| RegistryError::unavailable("search", error))?;
        let ids: Vec<PackageId> = page.hits.iter().map(|hit| hit.id).collect();
        let mut rows = self.0.db.packages_details(&ids).await?;
        rows.sort_by_key(|row| ids.iter().position(|id| *id == row.id));
        let standings = self.0.db.package_standings(who, &standings, &ids).await?;
        rows.retain(|details| {
            let relation = standings.to(details.id, details.owner(), details.repository_id, details.repository_owner());
            let access = PackageAccess {
                id: details.id,
                repository: details.repository_id,
                owner: details.owner(),
                effective: details.effective(),
                relation,
            };
            is_found(who, details, &access)
        });
        let hits = self.hits(rows).await?;
        // What the index believed and rights refused was not found.
        let refused = ids.len() - hits.len();
        let total = page.total.count().saturating_sub(refused);
        let is_exact = matches!(page.total, Total::Exactly(_));
        let has_more = match page.total {
            Total::Exactly(total) => total > query.offset.saturating_add(query.limit),
            // Beyond what the index counts, a page that is not full is the last one.
            Total::AtLeast(_) => ids.len() >= query.limit,
        };
        Ok(ControlSearch { total, is_exact, has_more, hits })
    }

    /// Names to ids. `None` when one of them names nobody, or nothing the caller may know of.
    async fn resolve_filters(
        &self,
        who: &Principal,
        request: SearchRequest,
    ) -> Result<Option<SearchQuery>, RegistryError> {
        let mut query = request.query;
        if let Some(slug) = &request.org {
            let Some(org) = self.0.db.organization_by_slug(slug).await? else { return Ok(None) };
            query.owner = Some(publaryn_core::access::Owner::Org(org.id));
        }
        if let Some(name) = &request.owner {
            let Some(user) = self.0.db.user_by_name(&name.to_ascii_lowercase()).await? else { return Ok(None) };
            if query.owner.is_some() {
                return Ok(None);
            }
            query.owner = Some(publaryn_core::access::Owner::User(user.id));
        }
        if let Some(slug) = &request.repository {
            match self.readable_repository(who, slug).await {
                Ok((row, _)) => query.repository = Some(row.id),
                Err(RegistryError::NotFound) => return Ok(None),
                Err(other) => return Err(other),
            }
        }
        Ok(Some(query))
    }

    /// What a page tells beside its packages; the number of questions does not grow with the page.
    async fn hits(&self, rows: Vec<PackageDetails>) -> Result<Vec<ControlHit>, RegistryError> {
        let db = &self.0.db;
        let ids: Vec<PackageId> = rows.iter().map(|details| details.id).collect();
        let mut findings: HashMap<PackageId, SeverityCounts> = HashMap::new();
        for (package, severity, count) in db.open_findings(&ids).await? {
            findings.entry(package).or_default().insert(severity, count);
        }
        let publishers: HashMap<_, _> = db.counts_of_trusted_publishers(&ids).await?.into_iter().collect();
        let versions: Vec<(PackageId, &str)> =
            rows.iter().filter_map(|details| Some((details.id, details.latest_version.as_deref()?))).collect();
        let latest = db.latest_releases(&versions).await?.into_iter();
        let latest: HashMap<_, _> = latest.map(|row| (row.package_id, (row.status, row.published_at))).collect();
        let hit = |details: PackageDetails| ControlHit {
            findings: findings.remove(&details.id).unwrap_or_default(),
            trusted_publishers: publishers.get(&details.id).copied().unwrap_or(0),
            latest: latest.get(&details.id).copied(),
            details,
        };
        Ok(rows.into_iter().map(hit).collect())
    }
}

/// Whether a package is found by this caller now.
fn is_found(who: &Principal, details: &PackageDetails, access: &PackageAccess) -> bool {
    if details.repository_kind == RepositoryKind::Staging
        || matches!(access.effective, Visibility::Unlisted | Visibility::Quarantined)
        || !permits(who, Operation::Discover, Resource::Package(access))
    {
        return false;
    }
    // Without anything live it is found by its own people only.
    details.has_live_release || {
        let closed = PackageAccess { effective: access.effective.max(Visibility::InternalOrg), ..access.clone() };
        permits(who, Operation::Discover, Resource::Package(&closed))
    }
}

//! Search for native clients: the index proposes, current rights decide.

use std::collections::HashSet;

use publaryn_core::{OrgRole, PackageId, Principal, RegistryError, principal::Who};
use publaryn_search::{Audience, AudienceTag, SearchQuery};

use crate::{PackageDocument, PackageView, Registry};

/// One page of search results, best first, with the document of each package.
#[derive(Debug)]
pub struct SearchResults {
    /// Matches the index knows of for this audience; an upper bound after rights are re-checked.
    pub total: u64,
    pub hits: Vec<SearchHit>,
}

/// A package found, as it stands now.
#[derive(Debug)]
pub struct SearchHit {
    pub view: PackageView,
    pub document: PackageDocument,
    pub score: f32,
}

impl Registry {
    /// Which of these packages of one ecosystem lie in a namespace of their owner's that the operator verified.
    pub async fn verified(&self, views: &[&PackageView]) -> Result<HashSet<PackageId>, RegistryError> {
        let Some(first) = views.first() else { return Ok(HashSet::new()) };
        let names: Vec<&str> = views.iter().map(|view| view.head.normalized_name.as_str()).collect();
        let claims = self.0.db.governing_claims(first.ecosystem(), &names).await?;
        let is_verified = |view: &PackageView| {
            let claim = claims.get(view.head.normalized_name.as_str());
            claim.is_some_and(|claim| claim.is_verified && claim.owner() == view.head.owner)
        };
        Ok(views.iter().filter(|view| is_verified(view)).map(|view| view.id()).collect())
    }

    /// Searches what `who` may discover.
    pub async fn search(&self, who: &Principal, query: &SearchQuery) -> Result<SearchResults, RegistryError> {
        let audience = self.audience(who).await?;
        let started = std::time::Instant::now();
        let page =
            self.0.search.query(query, &audience).await.map_err(|error| RegistryError::unavailable("search", error))?;
        let backend = self.0.search.backend();
        metrics::counter!("publaryn_search_queries_total", "backend" => backend).increment(1);
        metrics::histogram!("publaryn_search_duration_seconds", "backend" => backend).record(started.elapsed());
        let ids: Vec<_> = page.hits.iter().map(|hit| hit.id).collect();
        let mut hits = Vec::with_capacity(ids.len());
        for view in self.views_by_id(who, &ids).await? {
            let score = page.hits.iter().find(|hit| hit.id == view.id()).map_or(0.0, |hit| hit.score);
            if let Some(document) = self.0.db.package_document(view.id()).await? {
                hits.push(SearchHit { view, document, score });
            }
        }
        Ok(SearchResults { total: page.total.count() as u64, hits })
    }

    /// The tags under which the caller may find something; every hit is decided again.
    pub(crate) async fn audience(&self, who: &Principal) -> Result<Audience, RegistryError> {
        if !who.allows(publaryn_core::Scope::PackagesRead) {
            return Ok(Audience::public());
        }
        let standings = match &who.who {
            Who::User(_) | Who::Automation { .. } => self.0.db.standings(who).await?,
            Who::Anonymous | Who::TrustedPublisher { .. } => return Ok(Audience::public()),
        };
        let mut tags: Vec<AudienceTag> = match &who.who {
            Who::User(user) => vec![AudienceTag::User(user.id)],
            Who::Automation { org, .. } => vec![AudienceTag::Org(*org), AudienceTag::OrgPrivate(*org)],
            _ => Vec::new(),
        };
        for (org, rules, role) in standings.organizations() {
            tags.push(AudienceTag::Org(org));
            let is_shut_out = matches!(role, OrgRole::Viewer | OrgRole::BillingManager);
            if !(rules.restrict_private_reads && is_shut_out) {
                tags.push(AudienceTag::OrgPrivate(org));
            }
        }
        tags.extend(standings.granted_packages().map(AudienceTag::Package));
        tags.extend(standings.granted_repositories().map(AudienceTag::Repository));
        Ok(Audience::of(tags))
    }
}

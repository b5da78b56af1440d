//! Search for native clients: the index proposes, current rights decide.

use std::collections::{HashMap, HashSet};

use publaryn_core::{
    OrgId, OrgRole, PackageId, Principal, RegistryError, RepositoryKind, Scope, Visibility,
    access::{OrgRules, Owner},
    principal::Who,
};
use publaryn_metadata::{documents::Releases, standing::Standings};
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

    /// The account of that name, a person's or an organization's; names are public.
    pub async fn owner_named(&self, name: &str) -> Result<Option<Owner>, RegistryError> {
        let name = name.to_lowercase();
        if let Some(user) = self.0.db.user_by_name(&name).await? {
            return Ok(Some(Owner::User(user.id)));
        }
        Ok(self.0.db.organization_by_slug(&name).await?.map(|org| Owner::Org(org.id)))
    }

    /// The names of the organizations that own these packages.
    pub async fn owning_organizations(
        &self,
        views: &[&PackageView],
    ) -> Result<HashMap<PackageId, String>, RegistryError> {
        let orgs: Vec<(PackageId, OrgId)> =
            views.iter().filter_map(|view| Some((view.id(), view.head.owner.org()?))).collect();
        let ids: Vec<OrgId> = orgs.iter().map(|(_, org)| *org).collect();
        let slugs = self.0.db.organization_slugs(&ids).await?;
        Ok(orgs.into_iter().filter_map(|(id, org)| Some((id, slugs.get(&org)?.clone()))).collect())
    }

    /// Searches what `who` may discover. Hits come with documents of these releases.
    pub async fn search(
        &self,
        who: &Principal,
        query: &SearchQuery,
        releases: Releases,
    ) -> Result<SearchResults, RegistryError> {
        let standings = self.0.db.standings(who).await?;
        let audience = self.audience(who, &standings).await?;
        let page =
            self.0.search.query(query, &audience).await.map_err(|error| RegistryError::unavailable("search", error))?;
        let scores: HashMap<PackageId, f32> = page.hits.iter().map(|hit| (hit.id, hit.score)).collect();
        let ids: Vec<PackageId> = page.hits.iter().map(|hit| hit.id).collect();
        let views = self.views_by_id(who, &standings, &ids).await?;
        let ids: Vec<PackageId> = views.iter().map(PackageView::id).collect();
        let documents = self.0.db.package_documents(&ids, releases).await?;
        let mut documents: HashMap<PackageId, PackageDocument> =
            documents.into_iter().map(|document| (document.package.id, document)).collect();
        let hit = |view: PackageView| {
            let document = documents.remove(&view.id()).filter(is_found)?;
            Some(SearchHit { score: scores.get(&view.id()).copied().unwrap_or(0.0), view, document })
        };
        let hits = views.into_iter().filter_map(hit).collect();
        Ok(SearchResults { total: page.total.count() as u64, hits })
    }

    /// The tags under which the caller may find something; every hit is decided again.
    pub(crate) async fn audience(&self, who: &Principal, standings: &Standings) -> Result<Audience, RegistryError> {
        if !who.allows(Scope::PackagesRead) {
            return Ok(Audience::public());
        }
        let (user, mut tags) = match &who.who {
            Who::User(user) => (Some(user.id), vec![AudienceTag::User(user.id)]),
            Who::Automation { org, role } => {
                let mut tags = vec![AudienceTag::Org(*org)];
                if standings.rules_of(*org).is_some_and(|rules| !is_shut_out(rules, *role)) {
                    tags.push(AudienceTag::OrgPrivate(*org));
                }
                (None, tags)
            }
            Who::Anonymous | Who::TrustedPublisher { .. } => return Ok(Audience::public()),
        };
        let mut shut_out = HashSet::new();
        for (org, rules, role) in standings.organizations() {
            tags.push(AudienceTag::Org(org));
            if is_shut_out(rules, role) {
                shut_out.insert(org);
            } else {
                tags.push(AudienceTag::OrgPrivate(org));
            }
        }
        // Grants count in the organization that made them; who finds all that is its own finds no more by them.
        // There may be thousands, and each is a term to look for.
        if let Some(user) = user {
            for org in &shut_out {
                let packages = self.0.db.granted_packages(*org, user).await?;
                tags.extend(packages.into_iter().map(AudienceTag::Package));
            }
        }
        let repositories = standings.granted_repositories().filter(|(_, org)| shut_out.contains(org));
        tags.extend(repositories.map(|(id, _)| AudienceTag::Repository(id)));
        Ok(Audience::of(tags))
    }
}

/// Whether that role does not see private packages without a grant (`restrict_private_reads`).
fn is_shut_out(rules: &OrgRules, role: OrgRole) -> bool {
    rules.restrict_private_reads && matches!(role, OrgRole::Viewer | OrgRole::BillingManager)
}

/// Whether a package that may be read is one to be found, too: the index may not know yet.
fn is_found(document: &PackageDocument) -> bool {
    document.package.repository_kind != RepositoryKind::Staging
        && !matches!(document.package.effective(), Visibility::Unlisted | Visibility::Quarantined)
}

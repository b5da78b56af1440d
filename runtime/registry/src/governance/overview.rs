//! An organization at a glance: open findings of its packages, what lies in its repositories, and everything
//! that a page about it shows (control-plane.md §5.3). Each is made of a fixed number of questions.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use publaryn_core::{
    Ecosystem, Operation, PackageId, Principal, RegistryError, Timestamp, Visibility,
    access::{OrganizationAccess, Resource, permits},
    finding::Severity,
};
use publaryn_metadata::{
    claims::ClaimFilter,
    organizations::{InvitationRow, Slice},
    overview::{OpenFindingsFilter, ReviewerRow},
    package_views::PackagesOf,
    repositories::RepositoryFilter,
    standing::Standings,
    teams::{Grant, GrantedClaim, GrantedPackage, GrantedRepository, TeamMemberRow, TeamRow},
};

use super::{ClaimView, OrgView, RepositoryView};
use crate::{Registry, control::SummaryView};

/// Open findings by severity.
pub type SeverityCounts = BTreeMap<Severity, i64>;

/// A package with open findings that the caller may see.
#[derive(Debug, Clone)]
pub struct PackageRisk {
    pub package_id: PackageId,
    pub ecosystem: Ecosystem,
    pub name: String,
    pub description: Option<String>,
    pub visibility: Visibility,
    /// Only severities of which there is something.
    pub severities: SeverityCounts,
    pub latest_detected_at: Timestamp,
    /// Teams that may triage by a grant; for those who may see the organization's teams.
    pub reviewers: Vec<ReviewerRow>,
    pub can_manage_security: bool,
}

impl PackageRisk {
    pub fn open_findings(&self) -> i64 {
        self.severities.values().sum()
    }
    pub fn worst(&self) -> Option<Severity> {
        self.severities.keys().max().copied()
    }
}

/// What lies in one repository, of what the caller may be told of.
#[derive(Debug, Clone)]
pub struct Coverage {
    pub repository_slug: String,
    pub packages: Vec<Arc<SummaryView>>,
}

/// Everything a page about an organization shows; what the caller may not see is empty.
#[derive(Debug, Clone)]
pub struct Workspace {
    pub org: OrgView,
    pub teams: Vec<TeamRow>,
    pub repositories: Vec<RepositoryView>,
    pub coverage: Vec<Coverage>,
    /// Those that the organization owns.
    pub packages: Vec<Arc<SummaryView>>,
    pub claims: Vec<ClaimView>,
    pub invitations: Vec<InvitationRow>,
    pub team_management: Option<TeamManagement>,
    pub security: Vec<PackageRisk>,
}

/// Who is in which team and what the teams are granted, each with the team's slug.
#[derive(Debug, Clone)]
pub struct TeamManagement {
    pub members: Vec<(String, TeamMemberRow)>,
    pub packages: Vec<(String, Grant<GrantedPackage>)>,
    pub repositories: Vec<(String, Grant<GrantedRepository>)>,
    pub claims: Vec<(String, Grant<GrantedClaim>)>,
}

impl Registry {
    /// Packages of an organization with open findings, worst first. Findings of staged releases count for those
    /// who may see these.
    pub async fn security_overview(
        &self,
        who: &Principal,
        slug: &str,
        filter: &OpenFindingsFilter,
    ) -> Result<Vec<PackageRisk>, RegistryError> {
        let org = self.organization(slug).await?;
        let access = self.org_access(org.id, who).await?;
        let standings = self.0.db.standings(who).await?;
        self.risks(who, &standings, &access, filter).await
    }

    async fn risks(
        &self,
        who: &Principal,
        standings: &Standings,
        org: &OrganizationAccess,
        filter: &OpenFindingsFilter,
    ) -> Result<Vec<PackageRisk>, RegistryError> {
        let rows = self.0.db.open_findings_of_org(org.id, filter).await?;
        let mut ids: Vec<PackageId> = rows.iter().map(|row| row.package.id).collect();
        ids.sort();
        ids.dedup();
        let standings = self.0.db.package_standings(who, standings, &ids).await?;
        let mut risks: HashMap<PackageId, PackageRisk> = HashMap::new();
        for row in rows {
            let facts = &row.package;
            let access =
                facts.access(standings.to(facts.id, facts.owner(), facts.repository_id, facts.repository_owner()));
            let may = |operation| permits(who, operation, Resource::Package(&access));
            if !may(Operation::Discover) || row.is_staged && !may(Operation::ReadStaged) {
                continue;
            }
            let risk = risks.entry(facts.id).or_insert_with(|| PackageRisk {
                package_id: facts.id,
                ecosystem: row.ecosystem,
                name: row.name.clone(),
                description: row.description.clone(),
                visibility: facts.visibility,
                severities: SeverityCounts::new(),
                latest_detected_at: row.latest_detected_at,
                reviewers: Vec::new(),
                can_manage_security: may(Operation::Triage),
            });
            *risk.severities.entry(row.severity).or_default() += row.open_findings;
            risk.latest_detected_at = risk.latest_detected_at.max(row.latest_detected_at);
        }
        if permits(who, Operation::ReadDirectory, Resource::Organization(org)) {
            let ids: Vec<PackageId> = risks.keys().copied().collect();
            for reviewer in self.0.db.package_reviewers(&ids).await? {
                if reviewer.is_reviewer()?
                    && let Some(risk) = risks.get_mut(&reviewer.package_id)
                {
                    risk.reviewers.push(reviewer);
                }
            }
        }
        let mut risks: Vec<PackageRisk> = risks.into_values().collect();
        // Worst first: more of the worst severity before more of the next.
        let badness = |risk: &PackageRisk| {
            let counts = Severity::ALL.iter().rev().map(|severity| risk.severities.get(severity).copied().unwrap_or(0));
            counts.collect::<Vec<_>>()
        };
        risks.sort_by(|a, b| {
            badness(b).cmp(&badness(a)).then_with(|| (a.ecosystem, &a.name).cmp(&(b.ecosystem, &b.name)))
        });
        Ok(risks)
    }

    /// What lies where: the repositories of an organization with their packages, and wherever else it has any.
    pub async fn repository_coverage(&self, who: &Principal, slug: &str) -> Result<Vec<Coverage>, RegistryError> {
        let org = self.organization(slug).await?;
        let filter = RepositoryFilter { owner_org: Some(org.id), ..RepositoryFilter::default() };
        let standings = self.0.db.standings(who).await?;
        let (repositories, _) = self.repositories_to(who, &standings, &filter, Slice::ALL).await?;
        let (packages, _) = self.packages_to(who, &standings, PackagesOf::Around(org.id), None, Slice::ALL).await?;
        let packages: Vec<Arc<SummaryView>> = packages.into_iter().map(Arc::new).collect();
        Ok(coverage(&repositories, &packages))
    }

    /// Everything a page about an organization shows.
    pub async fn workspace(
        &self,
        who: &Principal,
        slug: &str,
        filter: &OpenFindingsFilter,
    ) -> Result<Workspace, RegistryError> {
        let db = &self.0.db;
        let org = self.organization_view(who, slug).await?;
        let id = org.org.id;
        let access = self.org_access(id, who).await?;
        let may = |operation| permits(who, operation, Resource::Organization(&access));
        let teams = if may(Operation::ReadDirectory) { db.teams(id, Slice::ALL).await?.0 } else { Vec::new() };
        let invitations = if may(Operation::ReadInvitations) {
            self.invitations(who, slug, false, Slice::ALL).await?.0
        } else {
            Vec::new()
        };
        let team_management = if may(Operation::ReadGrants) {
            let shows_members = may(Operation::ReadDirectory);
            Some(TeamManagement {
                members: if shows_members { db.team_members_of_org(id).await? } else { Vec::new() },
                packages: db.grants_of_org(id).await?,
                repositories: db.grants_of_org(id).await?,
                claims: db.grants_of_org(id).await?,
            })
        } else {
            None
        };
        let filter_repositories = RepositoryFilter { owner_org: Some(id), ..RepositoryFilter::default() };
        let standings = db.standings(who).await?;
        let (repositories, _) = self.repositories_to(who, &standings, &filter_repositories, Slice::ALL).await?;
        let (packages, _) = self.packages_to(who, &standings, PackagesOf::Around(id), None, Slice::ALL).await?;
        let mut packages: Vec<Arc<SummaryView>> = packages.into_iter().map(Arc::new).collect();
        let coverage = coverage(&repositories, &packages);
        packages.retain(|package| package.details.owner_org_id == Some(id));
        let claims = ClaimFilter { owner_org: Some(id), ..ClaimFilter::default() };
        let (claims, _) = self.claims_to(who, &standings, &claims, Slice::ALL).await?;
        let security = self.risks(who, &standings, &access, filter).await?;
        Ok(Workspace { org, teams, repositories, coverage, packages, claims, invitations, team_management, security })
    }
}

/// Packages by repository, by slug; repositories without any are there, too.
fn coverage(repositories: &[RepositoryView], packages: &[Arc<SummaryView>]) -> Vec<Coverage> {
    let mut all: BTreeMap<&str, Vec<Arc<SummaryView>>> =
        repositories.iter().map(|view| (view.details.row.slug.as_str(), Vec::new())).collect();
    for package in packages {
        all.entry(package.details.repository_slug.as_str()).or_default().push(package.clone());
    }
    all.into_iter().map(|(slug, packages)| Coverage { repository_slug: slug.to_owned(), packages }).collect()
}

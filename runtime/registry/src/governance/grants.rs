//! What teams are granted on packages, repositories and namespace claims.

use publaryn_core::{
    ClaimId, Ecosystem, Operation, Principal, RegistryError, TeamPermission,
    access::Owner,
    audit::{AuditAction, AuditEntry, ClientOrigin},
};
use publaryn_metadata::{
    organizations::Slice,
    teams::{Grant, GrantTarget, Grantable, GrantedClaim, GrantedPackage, GrantedRepository, TeamRow},
};
use serde_json::json;

use super::OrgChange;
use crate::Registry;

/// What a grant is on, as a route names it.
#[derive(Debug, Clone)]
pub enum GrantOn {
    /// By ecosystem and normalised name.
    Package(Ecosystem, String),
    /// By slug.
    Repository(String),
    Claim(ClaimId),
}

/// What a grant is on, found.
#[derive(Debug, Clone)]
pub enum GrantedResource {
    Package(GrantedPackage),
    Repository(GrantedRepository),
    Claim(GrantedClaim),
}

/// A grant as it is now.
#[derive(Debug, Clone)]
pub struct GrantChange {
    pub on: GrantedResource,
    pub permissions: Vec<TeamPermission>,
}

impl GrantedResource {
    fn target(&self) -> GrantTarget {
        match self {
            Self::Package(package) => GrantTarget::Package(package.id),
            Self::Repository(repository) => GrantTarget::Repository(repository.id),
            Self::Claim(claim) => GrantTarget::Claim(claim.id),
        }
    }

    /// The audit action of a change, with the coordinates of the resource.
    fn describe(&self, entry: impl FnOnce(AuditAction) -> AuditEntry) -> AuditEntry {
        match self {
            Self::Package(package) => entry(AuditAction::TeamPackageAccessUpdate)
                .package(package.id)
                .with("package_id", package.id.to_string())
                .with("ecosystem", package.ecosystem.as_str())
                .with("name", package.name.as_str())
                .with("normalized_name", package.normalized_name.as_str()),
            Self::Repository(repository) => entry(AuditAction::TeamRepositoryAccessUpdate)
                .with("repository_id", repository.id.to_string())
                .with("repository_slug", repository.slug.as_str())
                .with("repository_name", repository.name.as_str()),
            Self::Claim(claim) => entry(AuditAction::TeamNamespaceAccessUpdate)
                .with("namespace_claim_id", claim.id.to_string())
                .with("ecosystem", claim.ecosystem.as_str())
                .with("namespace", claim.namespace.as_str()),
        }
    }
}

impl OrgChange<'_> {
    /// The resource, if this organization owns it.
    async fn granted_resource(&mut self, on: &GrantOn) -> Result<GrantedResource, RegistryError> {
        let owner = Owner::Org(self.org.id);
        let found = match on {
            GrantOn::Package(ecosystem, normalized) => {
                let head = self.tx.lock_package(*ecosystem, normalized).await?;
                head.filter(|head| head.owner == owner && !head.is_deleted).map(|head| {
                    GrantedResource::Package(GrantedPackage {
                        id: head.id,
                        ecosystem: head.ecosystem,
                        name: head.name.into(),
                        normalized_name: head.normalized_name.into(),
                    })
                })
            }
            GrantOn::Repository(slug) => {
                let row = self.tx.lock_repository(slug).await?;
                row.filter(|row| row.owner() == owner).map(|row| {
                    GrantedResource::Repository(GrantedRepository {
                        id: row.id,
                        name: row.name,
                        slug: row.slug,
                        kind: row.kind,
                        visibility: row.visibility,
                    })
                })
            }
            GrantOn::Claim(id) => {
                let row = self.tx.lock_claim(*id).await?;
                row.filter(|row| row.owner() == owner).map(|row| {
                    GrantedResource::Claim(GrantedClaim {
                        id: row.id,
                        ecosystem: row.ecosystem,
                        namespace: row.namespace,
                        is_verified: row.is_verified,
                    })
                })
            }
        };
        found.ok_or(RegistryError::NotFound)
    }
}

impl Registry {
    /// What a team is granted on things of one kind, and how many there are.
    pub async fn grants<T: Grantable>(
        &self,
        who: &Principal,
        slug: &str,
        team: &str,
        slice: Slice,
    ) -> Result<(TeamRow, Vec<Grant<T>>, i64), RegistryError> {
        let team = self.team(who, slug, team, Operation::ReadGrants).await?;
        let (rows, total) = self.0.db.grants(team.id, slice).await?;
        Ok((team, rows, total))
    }

    /// Replaces what a team is granted on something its organization owns. Granting what is granted already
    /// changes and records nothing.
    ///
    /// # Errors
    /// `NotFound` for a team or resource of somebody else.
    pub async fn grant(
        &self,
        who: &Principal,
        slug: &str,
        team: &str,
        on: &GrantOn,
        mut permissions: Vec<TeamPermission>,
        origin: &ClientOrigin,
    ) -> Result<GrantChange, RegistryError> {
        permissions.sort_by_key(|permission| permission.as_str());
        permissions.dedup();
        self.set_grant(who, slug, team, on, permissions, false, origin).await
    }

    /// Ends a grant.
    ///
    /// # Errors
    /// `NotFound` when there is none.
    pub async fn end_grant(
        &self,
        who: &Principal,
        slug: &str,
        team: &str,
        on: &GrantOn,
        origin: &ClientOrigin,
    ) -> Result<(), RegistryError> {
        self.set_grant(who, slug, team, on, Vec::new(), true, origin).await.map(drop)
    }

    #[allow(clippy::too_many_arguments, reason = "who, where, what, from where: each is one thing")]
    async fn set_grant(
        &self,
        who: &Principal,
        slug: &str,
        team: &str,
        on: &GrantOn,
        permissions: Vec<TeamPermission>,
        must_exist: bool,
        origin: &ClientOrigin,
    ) -> Result<GrantChange, RegistryError> {
        let mut change = self.change_org(who, slug, Operation::Govern, origin).await?;
        let team = change.team(team).await?;
        let on = change.granted_resource(on).await?;
        let previous = change.tx.granted(team.id, on.target()).await?;
        if previous.is_empty() && must_exist {
            return Err(RegistryError::NotFound);
        }
        if previous == permissions {
            return Ok(GrantChange { on, permissions });
        }
        change.tx.set_granted(team.id, on.target(), &permissions, change.now).await?;
        let entry = on
            .describe(|action| change.audit_team(action, &team))
            .with("previous_permissions", json!(previous))
            .with("permissions", json!(permissions));
        change.commit(entry).await?;
        Ok(GrantChange { on, permissions })
    }
}

//! Governance: organizations with their people and teams, what teams are granted, namespace claims and
//! repositories (control-plane.md §5–§7).
//!
//! Reads decide and answer rows; every change runs in one transaction that locks what it is about,
//! decides again, and commits with its audit entry.

mod claims;
mod grants;
mod invitations;
mod members;
mod organizations;
mod overview;
mod repositories;
mod teams;

use publaryn_core::{
    Decision, Operation, OrgId, Principal, RegistryError, Timestamp,
    access::{OrganizationAccess, Owner, Resource},
    audit::{AuditAction, AuditEntry, ClientOrigin},
    decide,
};
use publaryn_metadata::{Tx, organizations::OrgRow, users::UserRow};

pub use claims::{ClaimView, NewClaim};
pub use grants::{GrantChange, GrantOn, GrantedResource};
pub use invitations::NewInvite;
pub use members::MemberChange;
pub use organizations::{NewOrganization, OrgCapabilities, OrgPatch, OrgView};
pub use overview::{Coverage, PackageRisk, SeverityCounts, TeamManagement, Workspace};
pub use repositories::{NewRepository, RepositoryPatch, RepositoryView};
pub use teams::{NewTeam, TeamPatch};

use crate::{Registry, identity::require_user};

/// An allowed change of an organization in progress; the organization is locked.
struct OrgChange<'a> {
    who: &'a Principal,
    origin: &'a ClientOrigin,
    tx: Tx,
    org: OrgRow,
    now: Timestamp,
}

impl OrgChange<'_> {
    fn audit(&self, action: AuditAction) -> AuditEntry {
        AuditEntry::by(self.who, action).org(Some(self.org.id)).from_client(self.origin)
    }
    async fn commit(self, entry: AuditEntry) -> Result<(), RegistryError> {
        Ok(self.tx.commit_audited(&entry, self.now).await?)
    }
}

impl Registry {
    /// An organization by slug; its existence and profile are public.
    pub async fn organization(&self, slug: &str) -> Result<OrgRow, RegistryError> {
        self.0.db.organization_by_slug(slug).await?.ok_or(RegistryError::NotFound)
    }

    /// The same, for whoever may do `operation` to it.
    pub async fn organization_for(
        &self,
        who: &Principal,
        slug: &str,
        operation: Operation,
    ) -> Result<OrgRow, RegistryError> {
        let org = self.organization(slug).await?;
        let access = self.org_access(org.id, who).await?;
        self.allow(who, decide(who, operation, Resource::Organization(&access)))?;
        Ok(org)
    }

    /// Decides about the platform as a whole.
    pub fn decide_platform(&self, who: &Principal, operation: Operation) -> Result<(), RegistryError> {
        self.allow(who, decide(who, operation, Resource::Platform))
    }

    pub(crate) async fn org_access(&self, id: OrgId, who: &Principal) -> Result<OrganizationAccess, RegistryError> {
        self.0.db.organization_access(id, who).await?.ok_or(RegistryError::NotFound)
    }

    async fn change_org<'a>(
        &self,
        who: &'a Principal,
        slug: &str,
        operation: Operation,
        origin: &'a ClientOrigin,
    ) -> Result<OrgChange<'a>, RegistryError> {
        let now = Timestamp::now();
        let mut tx = self.0.db.begin().await?;
        let org = tx.lock_organization(slug).await?.ok_or(RegistryError::NotFound)?;
        let access = tx.organization_access(org.id, who).await?.ok_or(RegistryError::NotFound)?;
        self.allow(who, decide(who, operation, Resource::Organization(&access)))?;
        Ok(OrgChange { who, origin, tx, org, now })
    }

    /// The organization that takes something over from a caller who governs it too.
    ///
    /// # Errors
    /// `NotFound` without such an organization, `Denied` when the caller is not owner or admin there.
    pub(crate) async fn receiver(&self, who: &Principal, slug: &str, tx: &mut Tx) -> Result<OrgRow, RegistryError> {
        let org = tx.lock_organization(slug).await?.ok_or(RegistryError::NotFound)?;
        let access = tx.organization_access(org.id, who).await?.ok_or(RegistryError::NotFound)?;
        self.allow(who, decide(who, Operation::Receive, Resource::Organization(&access)))?;
        Ok(org)
    }

    /// The owner of something `who` may create: the one asked for, or the caller.
    async fn owner_for(
        &self,
        who: &Principal,
        operation: Operation,
        owner: Option<Owner>,
    ) -> Result<Owner, RegistryError> {
        let owner = match owner {
            Some(owner) => owner,
            None => Owner::User(require_user(who)?.id),
        };
        let decision = match owner {
            Owner::User(id) => decide(who, operation, Resource::Account(id)),
            Owner::Org(id) => match self.0.db.organization_access(id, who).await? {
                Some(access) => decide(who, operation, Resource::Organization(&access)),
                None => Decision::Hidden,
            },
        };
        self.allow(who, decision)?;
        Ok(owner)
    }

    /// [`Registry::owner_for`] once more, inside the transaction that creates.
    async fn may_create_for(
        &self,
        who: &Principal,
        operation: Operation,
        owner: Owner,
        tx: &mut Tx,
    ) -> Result<(), RegistryError> {
        let decision = match owner {
            Owner::User(id) => decide(who, operation, Resource::Account(id)),
            Owner::Org(id) => match tx.organization_access(id, who).await? {
                Some(access) => decide(who, operation, Resource::Organization(&access)),
                None => Decision::Hidden,
            },
        };
        self.allow(who, decision)
    }

    /// An active account by user name, ignoring case.
    pub(crate) async fn active_user(&self, username: &str) -> Result<UserRow, RegistryError> {
        self.identity().user_by_name(username).await
    }
}

//! Handing a package to an organization (access.md §9).

use publaryn_core::{
    Ecosystem, Operation, PackageId, Principal, RegistryError,
    access::Owner,
    audit::{AuditAction, ClientOrigin},
};
use publaryn_metadata::{organizations::OrgRow, teams::GrantTarget};
use publaryn_publish::check_visibility;

use crate::Registry;

/// A package with its new owner.
#[derive(Debug, Clone)]
pub struct TransferredPackage {
    pub id: PackageId,
    pub ecosystem: Ecosystem,
    pub name: String,
    pub normalized_name: String,
    pub owner: OrgRow,
    pub repository_slug: String,
}

impl Registry {
    /// Hands a package to an organization the caller governs, maybe into one of its repositories. Grants on
    /// the package end, and so do tokens bound to it whose holders lose it.
    ///
    /// # Errors
    /// `already_owner`, `visibility_too_broad`; those of [`Registry::receiver`].
    pub async fn transfer_package(
        &self,
        who: &Principal,
        ecosystem: Ecosystem,
        normalized: &str,
        target: &str,
        repository: Option<&str>,
        origin: &ClientOrigin,
    ) -> Result<TransferredPackage, RegistryError> {
        let mut change = self.change_package(who, ecosystem, normalized, Operation::Transfer, origin).await?;
        let receiver = self.receiver(who, target, &mut change.tx).await?;
        let details = change.tx.package_details(change.head.id).await?.ok_or(RegistryError::NotFound)?;
        if details.owner() == Owner::Org(receiver.id) {
            return Err(RegistryError::conflict("already_owner", "that organization owns it already"));
        }
        let destination = match repository {
            None => None,
            Some(slug) => {
                let row = change.tx.repository_by_slug(slug).await?;
                let row = row.filter(|row| row.owner_org_id == Some(receiver.id)).ok_or(RegistryError::NotFound)?;
                check_visibility(details.visibility, row.visibility, row.owner())?;
                Some(row)
            }
        };
        let (id, now) = (change.head.id, change.now);
        change.tx.transfer_package(id, receiver.id, destination.as_ref().map(|row| row.id)).await?;
        let revoked = change.tx.revoke_grants_on(GrantTarget::Package(id)).await?;
        let tokens = change.tx.revoke_foreign_package_tokens(id, receiver.id, now).await?;
        let repository_slug = destination.map_or_else(|| details.repository_slug.clone(), |row| row.slug);
        let entry = change
            .audit(AuditAction::PackageTransfer)
            .with("name", details.name.as_str())
            .with("previous_owner_user_id", details.owner_user_id.map(|id| id.to_string()))
            .with("previous_owner_org_id", details.owner_org_id.map(|id| id.to_string()))
            .with("previous_owner_username", details.owner_username.as_deref())
            .with("previous_owner_org_slug", details.owner_org_slug.as_deref())
            .with("new_owner_org_id", receiver.id.to_string())
            .with("new_owner_org_slug", receiver.slug.as_str())
            .with("repository_slug", repository_slug.as_str())
            .with("revoked_team_grants", revoked)
            .with("revoked_tokens", tokens);
        if details.owner_org_id.is_some() {
            // Once in the log of each organization.
            change.tx.append_audit(&entry, now).await?;
        }
        change.head.owner = Owner::Org(receiver.id);
        change.commit(entry.org(Some(receiver.id))).await?;
        Ok(TransferredPackage {
            id,
            ecosystem,
            name: details.name,
            normalized_name: details.normalized_name,
            owner: receiver,
            repository_slug,
        })
    }
}

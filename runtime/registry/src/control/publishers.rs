//! Trusted publishers of a package.

use publaryn_core::{
    Ecosystem, Operation, Principal, RegistryError, TrustedPublisherId,
    audit::{AuditAction, ClientOrigin},
};
use publaryn_metadata::{organizations::Slice, trusted_publishers::TrustedPublisherRow};

use super::PackageAccessed;
use crate::{Registry, identity::require_user, trusted_publishing::stored_subject};

/// A workload to be trusted; the values passed their rules.
#[derive(Debug, Clone)]
pub struct NewTrustedPublisher {
    pub issuer: String,
    pub subject: String,
    pub repository: Option<String>,
    pub workflow_ref: Option<String>,
    pub environment: Option<String>,
}

impl Registry {
    /// Trusted publishers of a package, oldest first.
    pub async fn trusted_publishers(
        &self,
        package: &PackageAccessed,
        slice: Slice,
    ) -> Result<(Vec<TrustedPublisherRow>, i64), RegistryError> {
        Ok(self.0.db.trusted_publishers(package.id(), slice).await?)
    }

    /// # Errors
    /// `issuer_not_allowed`, `already_exists`.
    pub async fn add_trusted_publisher(
        &self,
        who: &Principal,
        ecosystem: Ecosystem,
        normalized: &str,
        new: NewTrustedPublisher,
        origin: &ClientOrigin,
    ) -> Result<TrustedPublisherRow, RegistryError> {
        let mut change = self.change_package(who, ecosystem, normalized, Operation::Administer, origin).await?;
        // Tokens minted through it act for a person.
        let creator = require_user(who)
            .map_err(|_| RegistryError::Denied(publaryn_core::access::Denial::CredentialNotAccepted))?;
        self.check_issuer(&new.issuer)?;
        let row = TrustedPublisherRow {
            id: TrustedPublisherId::new(),
            package_id: change.head.id,
            issuer: new.issuer,
            subject: stored_subject(&new.subject),
            repository: new.repository,
            workflow_ref: new.workflow_ref,
            environment: new.environment.unwrap_or_default(),
            created_by: creator.id,
            created_at: change.now,
            last_used_at: None,
            source_owner_id: None,
        };
        if !change.tx.insert_trusted_publisher(&row).await? {
            return Err(RegistryError::already_exists("subject"));
        }
        let entry = change
            .audit(AuditAction::TrustedPublisherCreate)
            .with("trusted_publisher_id", row.id.to_string())
            .with("issuer", row.issuer.as_str())
            .with("subject", row.subject.as_str())
            .with("environment", row.environment.as_str());
        change.commit_quietly(entry).await?;
        Ok(row)
    }

    /// # Errors
    /// `issuer_not_allowed`.
    pub(crate) fn check_issuer(&self, issuer: &str) -> Result<(), RegistryError> {
        if self.0.settings.oidc.issuers.iter().any(|known| known.issuer == issuer) {
            return Ok(());
        }
        let message = "is not an issuer this server trusts";
        Err(RegistryError::invalid_member("issuer", "issuer_not_allowed", message))
    }

    /// Ends the trust, and every token minted through it.
    ///
    /// # Errors
    /// `NotFound`, also for one of another package.
    pub async fn remove_trusted_publisher(
        &self,
        who: &Principal,
        ecosystem: Ecosystem,
        normalized: &str,
        id: TrustedPublisherId,
        origin: &ClientOrigin,
    ) -> Result<(), RegistryError> {
        let mut change = self.change_package(who, ecosystem, normalized, Operation::Administer, origin).await?;
        let row = change.tx.delete_trusted_publisher(change.head.id, id, change.now).await?;
        let row = row.ok_or(RegistryError::NotFound)?;
        let entry = change
            .audit(AuditAction::TrustedPublisherDelete)
            .with("trusted_publisher_id", id.to_string())
            .with("issuer", row.issuer)
            .with("subject", row.subject);
        change.commit_quietly(entry).await
    }
}

//! Packages, releases and what hangs on them as the management API reads and changes them
//! (control-plane.md §8).
//!
//! [`PackageAccessed`] is the proof of a passed gate for reads; changes lock the package, decide again and
//! commit with their audit entry, in turn with native writers of the same package.

mod artifacts;
mod findings;
mod packages;
mod publishers;
mod releases;
mod search;
mod tags;
mod transfer;

use publaryn_core::{
    Decision, Ecosystem, Operation, PackageId, Principal, RegistryError, Timestamp,
    access::{PackageAccess, Resource, ResourceKind, permits, refuse_early},
    audit::{AuditAction, AuditEntry, ClientOrigin},
    decide,
};
use publaryn_metadata::{Tx, package_views::PackageDetails, packages::PackageHead};

pub use artifacts::{ArtifactUpload, Described, Description, Uploaded};
pub use packages::{NewPackageRequest, PackagePatch, PackageView as PackagePage, SummaryView};
pub use publishers::NewTrustedPublisher;
pub use releases::{NewDraft, Pipeline, PublishAnswer, ReleaseChange, ReleaseView, Stage, StageState};
pub use search::{ControlHit, ControlSearch, SearchRequest};
pub use transfer::TransferredPackage;

use crate::{Registry, change::Turn};

/// A package that the caller may do something to, as the database says now.
#[derive(Debug, Clone)]
pub struct PackageAccessed {
    pub details: PackageDetails,
    pub(crate) access: PackageAccess,
}

impl PackageAccessed {
    pub fn id(&self) -> PackageId {
        self.details.id
    }
    /// Whether the caller may also do this.
    pub fn permits(&self, who: &Principal, operation: Operation) -> bool {
        permits(who, operation, Resource::Package(&self.access))
    }
    /// Whether staged releases may be told of.
    pub fn shows_staged(&self, who: &Principal) -> bool {
        self.permits(who, Operation::ReadStaged)
    }
}

/// An allowed change of a package in progress; the package is locked.
pub(crate) struct PackageChange<'a> {
    pub who: &'a Principal,
    pub origin: &'a ClientOrigin,
    pub tx: Tx,
    pub head: PackageHead,
    pub access: PackageAccess,
    pub now: Timestamp,
    _turn: Turn,
}

impl PackageChange<'_> {
    pub fn audit(&self, action: AuditAction) -> AuditEntry {
        AuditEntry::by(self.who, action).package(self.head.id).org(self.head.owner.org()).from_client(self.origin)
    }

    /// Commits a change that readers can see: caches and search documents follow.
    pub async fn commit(mut self, entry: AuditEntry) -> Result<(), RegistryError> {
        self.tx.bump_revision(&self.head, self.now).await?;
        self.tx.enqueue(&publaryn_publish::index_job(self.head.id, self.head.owner)).await?;
        Ok(self.tx.commit_audited(&entry, self.now).await?)
    }

    /// Commits a change that no document of the package shows.
    pub async fn commit_quietly(self, entry: AuditEntry) -> Result<(), RegistryError> {
        Ok(self.tx.commit_audited(&entry, self.now).await?)
    }

    /// # Errors
    /// `package_archived`.
    pub fn require_active(&self) -> Result<(), RegistryError> {
        if self.head.is_archived {
            return Err(RegistryError::conflict("package_archived", "the package is archived"));
        }
        Ok(())
    }

    /// A manifest names what it is made of, which nothing but its own push checks.
    ///
    /// # Errors
    /// `validation_failed` in OCI.
    pub fn require_drafts(&self) -> Result<(), RegistryError> {
        if self.head.ecosystem == Ecosystem::Oci {
            let message = "images are pushed with their own clients, not put together as drafts";
            return Err(RegistryError::invalid("validation_failed", message));
        }
        Ok(())
    }

    /// # Errors
    /// `state_conflict` while the package is in quarantine.
    pub fn require_no_quarantine(&self) -> Result<(), RegistryError> {
        if self.head.effective == publaryn_core::Visibility::Quarantined {
            return Err(RegistryError::conflict_with(
                "state_conflict",
                "the package is quarantined",
                [("state", "quarantined".into())],
            ));
        }
        Ok(())
    }
}

impl Registry {
    /// The package of that normalised name, for whoever may do `operation` to it.
    ///
    /// # Errors
    /// `NotFound` for hidden and missing alike.
    pub async fn package_for(
        &self,
        who: &Principal,
        ecosystem: Ecosystem,
        normalized: &str,
        operation: Operation,
    ) -> Result<PackageAccessed, RegistryError> {
        if let Some(refusal) = refuse_early(who, operation, ResourceKind::Package) {
            self.allow(who, refusal)?;
        }
        let head = self.0.db.package_head(ecosystem, normalized).await?.filter(|head| !head.is_deleted);
        let Some(head) = head else {
            self.0.db.relation_to_nothing(who).await?;
            return Err(RegistryError::NotFound);
        };
        let relation = self.0.db.relation(&head, who).await?;
        let access = head.access(relation);
        self.allow(who, decide(who, operation, Resource::Package(&access)))?;
        let details = self.0.db.package_details(head.id).await?.ok_or(RegistryError::NotFound)?;
        Ok(PackageAccessed { details, access })
    }

    pub(crate) async fn change_package<'a>(
        &self,
        who: &'a Principal,
        ecosystem: Ecosystem,
        normalized: &str,
        operation: Operation,
        origin: &'a ClientOrigin,
    ) -> Result<PackageChange<'a>, RegistryError> {
        self.change_package_if(who, ecosystem, normalized, origin, |access| {
            decide(who, operation, Resource::Package(access))
        })
        .await
    }

    /// The same, where more than one operation may allow it.
    pub(crate) async fn change_package_if<'a>(
        &self,
        who: &'a Principal,
        ecosystem: Ecosystem,
        normalized: &str,
        origin: &'a ClientOrigin,
        judge: impl Fn(&PackageAccess) -> Decision,
    ) -> Result<PackageChange<'a>, RegistryError> {
        let turn = self.0.turns.take(ecosystem, normalized).await?;
        let mut tx = self.0.db.begin().await?;
        let head = tx.lock_package(ecosystem, normalized).await?.filter(|head| !head.is_deleted);
        let Some(head) = head else {
            tx.relation_to_nothing(who).await?;
            return Err(RegistryError::NotFound);
        };
        let relation = tx.relation(&head, who).await?;
        let access = head.access(relation);
        self.allow(who, judge(&access))?;
        Ok(PackageChange { who, origin, tx, head, access, now: Timestamp::now(), _turn: turn })
    }
}

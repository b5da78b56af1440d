//! Namespace claims.

use publaryn_core::{
    ClaimId, Namespace, Operation, Principal, RegistryError, Timestamp,
    access::{Denial, Owner, Resource, ResourceKind, permits, refuse_early},
    audit::{AuditAction, AuditEntry, ClientOrigin},
    decide,
};
use publaryn_metadata::{
    Tx,
    claims::{ClaimFilter, ClaimRow},
    organizations::{OrgRow, Slice},
    standing::Standings,
    teams::GrantTarget,
};
use publaryn_publish::fold_name;

use crate::Registry;

/// A claim as a caller sees it.
#[derive(Debug, Clone)]
pub struct ClaimView {
    pub row: ClaimRow,
    pub can_manage: bool,
    pub can_transfer: bool,
}

/// A claim about to be made; without an owner it is the caller's.
#[derive(Debug, Clone)]
pub struct NewClaim {
    pub namespace: Namespace,
    pub owner: Option<Owner>,
}

impl ClaimView {
    fn of(who: &Principal, row: ClaimRow, standings: &Standings) -> Self {
        let access = row.access(standings.to_claim(row.id, row.owner()));
        let may = |operation| permits(who, operation, Resource::Claim(&access));
        Self { can_manage: may(Operation::Administer), can_transfer: may(Operation::Transfer), row }
    }
}

impl Registry {
    /// Claims, newest first.
    pub async fn claims(
        &self,
        who: &Principal,
        filter: &ClaimFilter,
        slice: Slice,
    ) -> Result<(Vec<ClaimView>, i64), RegistryError> {
        let standings = self.0.db.standings(who).await?;
        self.claims_to(who, &standings, filter, slice).await
    }

    /// The same, where it is known what the caller has anywhere.
    pub(super) async fn claims_to(
        &self,
        who: &Principal,
        standings: &Standings,
        filter: &ClaimFilter,
        slice: Slice,
    ) -> Result<(Vec<ClaimView>, i64), RegistryError> {
        let (rows, total) = self.0.db.claims(filter, slice).await?;
        Ok((rows.into_iter().map(|row| ClaimView::of(who, row, standings)).collect(), total))
    }

    /// The claim that governs a namespace: itself or the narrowest around it.
    pub async fn governing_claim(&self, who: &Principal, namespace: &Namespace) -> Result<ClaimView, RegistryError> {
        let row = self.0.db.claim_around(namespace).await?.ok_or(RegistryError::NotFound)?;
        self.claim_view(who, row).await
    }

    async fn claim_view(&self, who: &Principal, row: ClaimRow) -> Result<ClaimView, RegistryError> {
        let relation = self.0.db.claim_relation(row.id, row.owner(), who).await?;
        let access = row.access(relation);
        let may = |operation| permits(who, operation, Resource::Claim(&access));
        Ok(ClaimView { can_manage: may(Operation::Administer), can_transfer: may(Operation::Transfer), row })
    }

    /// Whether the caller may claim for that owner, before anything is said about the value.
    pub async fn may_claim(&self, who: &Principal, owner: Option<Owner>) -> Result<(), RegistryError> {
        self.claim_owner(who, owner).await.map(drop)
    }

    async fn claim_owner(&self, who: &Principal, owner: Option<Owner>) -> Result<Owner, RegistryError> {
        let owner = self.owner_for(who, Operation::CreateClaim, owner).await?;
        let is_admin = who.user().is_some_and(|user| user.is_admin);
        if self.0.settings.claims_by_admins_only && !is_admin {
            return Err(RegistryError::Denied(Denial::PlatformAdminRequired));
        }
        Ok(owner)
    }

    /// # Errors
    /// `reserved_name`, `already_exists`, `namespace_in_use`.
    pub async fn create_claim(
        &self,
        who: &Principal,
        new: NewClaim,
        origin: &ClientOrigin,
    ) -> Result<ClaimView, RegistryError> {
        let namespace = new.namespace;
        let now = Timestamp::now();
        let owner = self.claim_owner(who, new.owner).await?;
        let mut tx = self.0.db.begin().await?;
        self.may_create_for(who, Operation::CreateClaim, owner, &mut tx).await?;
        if self.0.settings.publishing.reserved_names.contains(&fold_name(namespace.bare())) {
            let message = format!("`{}` is a reserved name", namespace.display());
            return Err(RegistryError::invalid_member("namespace", "reserved_name", message));
        }
        tx.lock_claim_creation().await?;
        let in_use = |message| Err(RegistryError::conflict("namespace_in_use", message));
        if tx.overlapping_claim(&namespace, owner).await?.is_some() {
            return in_use("a claim of somebody else overlaps with it");
        }
        let (owner_user_id, owner_org_id) = match owner {
            Owner::User(id) => (Some(id), None),
            Owner::Org(id) => (None, Some(id)),
        };
        let row = ClaimRow {
            id: ClaimId::new(),
            ecosystem: namespace.ecosystem(),
            namespace: namespace.display().to_owned(),
            namespace_key: namespace.key().to_owned(),
            owner_user_id,
            owner_org_id,
            owner_username: None,
            owner_org_slug: None,
            is_verified: false,
            created_at: now,
        };
        if !tx.insert_claim(&row).await? {
            return Err(RegistryError::already_exists("namespace"));
        }
        if tx.covers_foreign_package(&namespace, owner).await? {
            return in_use("packages of somebody else lie in it");
        }
        let row = tx.lock_claim(row.id).await?.ok_or(RegistryError::NotFound)?;
        let entry = claim_entry(who, AuditAction::NamespaceClaimCreate, &row, origin);
        tx.commit_audited(&entry, now).await?;
        self.claim_view(who, row).await
    }

    async fn change_claim(
        &self,
        who: &Principal,
        id: ClaimId,
        operation: Operation,
    ) -> Result<(Tx, ClaimRow), RegistryError> {
        if let Some(refusal) = refuse_early(who, operation, ResourceKind::Claim) {
            self.allow(who, refusal)?;
        }
        let mut tx = self.0.db.begin().await?;
        let row = tx.lock_claim(id).await?.ok_or(RegistryError::NotFound)?;
        let relation = tx.claim_relation(id, row.owner(), who).await?;
        self.allow(who, decide(who, operation, Resource::Claim(&row.access(relation))))?;
        Ok((tx, row))
    }

    /// Deletes a claim with the grants on it. Packages stay where they are.
    pub async fn delete_claim(&self, who: &Principal, id: ClaimId, origin: &ClientOrigin) -> Result<(), RegistryError> {
        let (mut tx, row) = self.change_claim(who, id, Operation::Administer).await?;
        tx.delete_claim(id).await?;
        let entry = claim_entry(who, AuditAction::NamespaceClaimDelete, &row, origin);
        Ok(tx.commit_audited(&entry, Timestamp::now()).await?)
    }

    /// Whether the caller may transfer a claim, before anything is said about the target.
    pub async fn may_transfer_claim(&self, who: &Principal, id: ClaimId) -> Result<(), RegistryError> {
        if let Some(refusal) = refuse_early(who, Operation::Transfer, ResourceKind::Claim) {
            self.allow(who, refusal)?;
        }
        let row = self.0.db.claim(id).await?.ok_or(RegistryError::NotFound)?;
        let relation = self.0.db.claim_relation(id, row.owner(), who).await?;
        self.allow(who, decide(who, Operation::Transfer, Resource::Claim(&row.access(relation))))
    }

    /// Hands a claim to an organization the caller governs; every grant on it ends.
    ///
    /// # Errors
    /// `already_owner`; those of [`Registry::receiver`].
    pub async fn transfer_claim(
        &self,
        who: &Principal,
        id: ClaimId,
        target: &str,
        origin: &ClientOrigin,
    ) -> Result<(ClaimRow, OrgRow), RegistryError> {
        let (mut tx, row) = self.change_claim(who, id, Operation::Transfer).await?;
        let receiver = self.receiver(who, target, &mut tx).await?;
        if row.owner() == Owner::Org(receiver.id) {
            return Err(RegistryError::conflict("already_owner", "that organization owns it already"));
        }
        tx.set_claim_owner(id, receiver.id).await?;
        let revoked = tx.revoke_grants_on(GrantTarget::Claim(id)).await?;
        let entry = claim_entry(who, AuditAction::NamespaceClaimTransfer, &row, origin)
            .with("previous_owner_user_id", row.owner_user_id.map(|id| id.to_string()))
            .with("previous_owner_org_id", row.owner_org_id.map(|id| id.to_string()))
            .with("new_owner_org_id", receiver.id.to_string())
            .with("new_owner_org_slug", receiver.slug.as_str())
            .with("revoked_team_grants", revoked);
        let now = Timestamp::now();
        if let Some(previous) = row.owner_org_id {
            tx.append_audit(&entry.clone().org(Some(previous)), now).await?;
        }
        tx.commit_audited(&entry.org(Some(receiver.id)), now).await?;
        Ok((row, receiver))
    }

    /// Notes whether a claim was checked; for platform administrators.
    pub async fn verify_claim(
        &self,
        who: &Principal,
        id: ClaimId,
        is_verified: bool,
        note: Option<&str>,
        origin: &ClientOrigin,
    ) -> Result<ClaimView, RegistryError> {
        self.allow(who, decide(who, Operation::PlatformWrite, Resource::Platform))?;
        let mut tx = self.0.db.begin().await?;
        let mut row = tx.lock_claim(id).await?.ok_or(RegistryError::NotFound)?;
        tx.set_claim_verified(id, is_verified).await?;
        row.is_verified = is_verified;
        let entry = claim_entry(who, AuditAction::NamespaceClaimVerify, &row, origin)
            .with("is_verified", is_verified)
            .with("note", note);
        tx.commit_audited(&entry, Timestamp::now()).await?;
        self.claim_view(who, row).await
    }
}

fn claim_entry(who: &Principal, action: AuditAction, row: &ClaimRow, origin: &ClientOrigin) -> AuditEntry {
    AuditEntry::by(who, action)
        .org(row.owner().org())
        .from_client(origin)
        .with("namespace_claim_id", row.id.to_string())
        .with("ecosystem", row.ecosystem.as_str())
        .with("namespace", row.namespace.as_str())
}

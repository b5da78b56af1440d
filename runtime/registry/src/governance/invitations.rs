//! Invitations into organizations.

use std::time::Duration;

use publaryn_core::{
    InvitationId, InvitationState, Operation, OrgRole, Principal, RegistryError, Timestamp,
    audit::{AuditAction, AuditEntry, ClientOrigin},
};
use publaryn_metadata::{
    Tx,
    organizations::{InvitationRow, NewInvitation, Slice},
};
use serde_json::json;

use crate::{Registry, identity::require_user};

/// Whom to invite, and as what.
#[derive(Debug, Clone)]
pub struct NewInvite {
    pub username_or_email: String,
    pub role: OrgRole,
    pub valid_for: Duration,
}

impl Registry {
    /// Invitations of an organization, newest first.
    pub async fn invitations(
        &self,
        who: &Principal,
        slug: &str,
        inactive: bool,
        slice: Slice,
    ) -> Result<(Vec<InvitationRow>, i64), RegistryError> {
        let org = self.organization_for(who, slug, Operation::ReadInvitations).await?;
        Ok(self.0.db.invitations_of_org(org.id, inactive, Timestamp::now(), slice).await?)
    }

    /// # Errors
    /// `NotFound` for no such active account, `already_member`, `invitation_exists`.
    pub async fn invite(
        &self,
        who: &Principal,
        slug: &str,
        new: NewInvite,
        origin: &ClientOrigin,
    ) -> Result<InvitationRow, RegistryError> {
        self.organization_for(who, slug, Operation::Govern).await?;
        let address = new.username_or_email.trim().to_lowercase();
        let found = self.0.db.user_for_login(&address).await?.filter(|found| found.user.is_active);
        let user = found.ok_or(RegistryError::NotFound)?.user;
        let mut change = self.change_org(who, slug, Operation::Govern, origin).await?;
        let (org, now) = (change.org.id, change.now);
        if change.tx.member(org, user.id).await?.is_some() {
            return Err(RegistryError::conflict("already_member", "that account is a member already"));
        }
        let invitation = NewInvitation {
            id: InvitationId::new(),
            org,
            user: user.id,
            email: address.contains('@').then(|| user.email.clone()),
            role: new.role,
            invited_by: who.acting_user(),
            expires_at: now + new.valid_for,
        };
        if !change.tx.insert_invitation(&invitation, now).await? {
            return Err(RegistryError::conflict("invitation_exists", "that account has an open invitation already"));
        }
        let row = change.tx.invitation(invitation.id).await?.ok_or(RegistryError::NotFound)?;
        let entry = change
            .audit(AuditAction::OrgInvitationCreate)
            .user(user.id)
            .with("invitation_id", invitation.id.to_string())
            .with("role", new.role.as_str());
        change.commit(entry).await?;
        Ok(row)
    }

    /// # Errors
    /// `NotFound` unless the invitation is open.
    pub async fn revoke_invitation(
        &self,
        who: &Principal,
        slug: &str,
        id: InvitationId,
        origin: &ClientOrigin,
    ) -> Result<InvitationRow, RegistryError> {
        let mut change = self.change_org(who, slug, Operation::Govern, origin).await?;
        let now = change.now;
        let row = change.tx.invitation(id).await?.filter(|row| row.org_id == change.org.id);
        let row = row.filter(|row| row.state(now) == InvitationState::Pending).ok_or(RegistryError::NotFound)?;
        change.tx.end_invitation(id, InvitationState::Revoked, now).await?;
        let entry = change
            .audit(AuditAction::OrgInvitationRevoke)
            .user(row.user_id)
            .with("invitation_id", id.to_string())
            .with("role", row.role.as_str());
        change.commit(entry).await?;
        Ok(InvitationRow { status: InvitationState::Revoked, ended_at: Some(now), ..row })
    }

    /// The caller's own invitations, newest first.
    pub async fn own_invitations(
        &self,
        who: &Principal,
        inactive: bool,
        slice: Slice,
    ) -> Result<(Vec<InvitationRow>, i64), RegistryError> {
        let user = require_user(who)?;
        Ok(self.0.db.invitations_of_user(user.id, inactive, Timestamp::now(), slice).await?)
    }

    /// # Errors
    /// `NotFound` for somebody else's, `invitation_not_actionable`, `already_member`.
    pub async fn accept_invitation(
        &self,
        who: &Principal,
        id: InvitationId,
        origin: &ClientOrigin,
    ) -> Result<InvitationRow, RegistryError> {
        self.answer_invitation(who, id, InvitationState::Accepted, origin).await
    }

    /// # Errors
    /// Those of [`Registry::accept_invitation`].
    pub async fn decline_invitation(
        &self,
        who: &Principal,
        id: InvitationId,
        origin: &ClientOrigin,
    ) -> Result<InvitationRow, RegistryError> {
        self.answer_invitation(who, id, InvitationState::Declined, origin).await
    }

    async fn answer_invitation(
        &self,
        who: &Principal,
        id: InvitationId,
        answer: InvitationState,
        origin: &ClientOrigin,
    ) -> Result<InvitationRow, RegistryError> {
        let user = require_user(who)?.id;
        let now = Timestamp::now();
        let mut tx: Tx = self.0.db.begin().await?;
        // The organization first, as whoever changes its people does: two orders would be a deadlock.
        let org = tx.inviting_organization(id, user).await?.ok_or(RegistryError::NotFound)?;
        tx.lock_organization(&org).await?.ok_or(RegistryError::NotFound)?;
        let row = tx.invitation(id).await?.filter(|row| row.user_id == user).ok_or(RegistryError::NotFound)?;
        let state = row.state(now);
        if state != InvitationState::Pending {
            return Err(RegistryError::conflict_with(
                "invitation_not_actionable",
                format!("the invitation is {state}"),
                [("state", json!(state))],
            ));
        }
        let action = if answer == InvitationState::Accepted {
            if tx.member(row.org_id, user).await?.is_some() {
                return Err(RegistryError::conflict("already_member", "you are a member already"));
            }
            tx.set_member(row.org_id, user, row.role, now).await?;
            AuditAction::OrgInvitationAccept
        } else {
            AuditAction::OrgInvitationDecline
        };
        tx.end_invitation(id, answer, now).await?;
        let entry = AuditEntry::by(who, action)
            .org(Some(row.org_id))
            .user(user)
            .from_client(origin)
            .with("invitation_id", id.to_string())
            .with("role", row.role.as_str());
        tx.commit_audited(&entry, now).await?;
        Ok(InvitationRow { status: answer, ended_at: Some(now), ..row })
    }
}

//! Members of organizations and their roles.

use publaryn_core::{
    Operation, OrgRole, Principal, RegistryError, Scope,
    access::owner_protected,
    audit::{AuditAction, ClientOrigin},
};
use publaryn_metadata::organizations::{MemberRow, Slice};

use crate::Registry;

/// What became of a request to have somebody as a member.
#[derive(Debug, Clone)]
pub struct MemberChange {
    pub member: MemberRow,
    pub is_new: bool,
}

impl Registry {
    /// The members of an organization and how many there are. The flag says whether the caller may know who
    /// of them has a second factor.
    pub async fn members(
        &self,
        who: &Principal,
        slug: &str,
        role: Option<OrgRole>,
        query: Option<&str>,
        slice: Slice,
    ) -> Result<(Vec<MemberRow>, i64, bool), RegistryError> {
        let org = self.organization_for(who, slug, Operation::ReadDirectory).await?;
        let (rows, total) = self.0.db.members(org.id, role, query, slice).await?;
        let access = self.org_access(org.id, who).await?;
        Ok((rows, total, access.role.is_some_and(OrgRole::governs)))
    }

    /// Adds a member or changes the role of one; `must_exist` refuses to add.
    ///
    /// # Errors
    /// `NotFound` for no such active account (or member), `owner_protected` for owners.
    pub async fn set_member(
        &self,
        who: &Principal,
        slug: &str,
        username: &str,
        role: OrgRole,
        must_exist: bool,
        origin: &ClientOrigin,
    ) -> Result<MemberChange, RegistryError> {
        self.organization_for(who, slug, Operation::Govern).await?;
        let target = self.active_user(username).await?;
        let mut change = self.change_org(who, slug, Operation::Govern, origin).await?;
        let (org, now) = (change.org.id, change.now);
        let before = change.tx.member(org, target.id).await?;
        let entry = match &before {
            None if must_exist => return Err(RegistryError::NotFound),
            None => change.audit(AuditAction::OrgMemberAdd).with("role", role.as_str()),
            Some(member) if member.role == OrgRole::Owner => return Err(RegistryError::Denied(owner_protected())),
            Some(member) if member.role == role => {
                return Ok(MemberChange { member: member.clone(), is_new: false });
            }
            Some(member) => change
                .audit(AuditAction::OrgRoleChange)
                .with("previous_role", member.role.as_str())
                .with("role", role.as_str()),
        };
        change.tx.set_member(org, target.id, role, now).await?;
        change.tx.settle_invitations(org, target.id, now).await?;
        let member = change.tx.member(org, target.id).await?.ok_or(RegistryError::NotFound)?;
        let entry = entry.user(target.id).with("username", target.username.as_str());
        change.commit(entry).await?;
        Ok(MemberChange { member, is_new: before.is_none() })
    }

    /// Removes a member, or lets the caller leave.
    ///
    /// # Errors
    /// `owner_protected` for owners, `NotFound` for anybody who is no member.
    pub async fn remove_member(
        &self,
        who: &Principal,
        slug: &str,
        username: &str,
        origin: &ClientOrigin,
    ) -> Result<(), RegistryError> {
        let is_self = who.user().is_some_and(|user| user.username.eq_ignore_ascii_case(username));
        let operation = if is_self && who.allows(Scope::OrgsJoin) { Operation::Leave } else { Operation::Govern };
        self.organization_for(who, slug, operation).await?;
        // A disabled account may be removed, too.
        let target = self.0.db.user_by_name(&username.to_ascii_lowercase()).await?.ok_or(RegistryError::NotFound)?;
        let mut change = self.change_org(who, slug, operation, origin).await?;
        let org = change.org.id;
        let member = change.tx.member(org, target.id).await?.ok_or(RegistryError::NotFound)?;
        if member.role == OrgRole::Owner {
            return Err(RegistryError::Denied(owner_protected()));
        }
        change.tx.remove_member(org, target.id).await?;
        let entry = change
            .audit(AuditAction::OrgMemberRemove)
            .user(target.id)
            .with("username", target.username.as_str())
            .with("role", member.role.as_str())
            .with("left", is_self);
        change.commit(entry).await
    }
}

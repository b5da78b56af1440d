//! Organizations themselves.

use publaryn_core::{
    Operation, OrgId, OrgRole, Principal, RegistryError, Timestamp,
    access::{OrganizationAccess, Resource, permits},
    audit::{AuditAction, AuditEntry, ClientOrigin},
};
use publaryn_metadata::{
    organizations::{MemberRow, OrgRow, OrgSummaryRow, Slice},
    reach::Reach,
    users::UserRow,
};
use serde_json::{Map, Value, json};

use crate::{Registry, identity::require_user};

/// An organization about to be made; the values passed their rules.
#[derive(Debug, Clone)]
pub struct NewOrganization {
    pub slug: String,
    pub name: String,
    pub description: Option<String>,
    pub website: Option<String>,
    pub email: Option<String>,
}

/// Changes to an organization: absent = leave, `Some(None)` = clear.
#[derive(Debug, Clone, Default)]
pub struct OrgPatch {
    pub name: Option<String>,
    pub description: Option<Option<String>>,
    pub website: Option<Option<String>>,
    pub email: Option<Option<String>>,
    pub avatar_url: Option<Option<String>>,
    pub mfa_required: Option<bool>,
    pub member_directory_is_private: Option<bool>,
    pub restrict_private_reads: Option<bool>,
    pub default_repository_slug: Option<Option<String>>,
}

/// An organization as a caller sees it.
#[derive(Debug, Clone)]
pub struct OrgView {
    pub org: OrgRow,
    /// Settings are for members.
    pub is_member: bool,
    pub capabilities: OrgCapabilities,
}

/// What the calling credential may do with an organization.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct OrgCapabilities {
    pub govern: bool,
    pub create_repositories: bool,
    pub create_claims: bool,
    pub view_directory: bool,
    pub view_audit_log: bool,
    pub transfer: bool,
    pub manage_tokens: bool,
}

impl OrgCapabilities {
    fn of(who: &Principal, access: &OrganizationAccess) -> Self {
        let may = |operation| permits(who, operation, Resource::Organization(access));
        Self {
            govern: may(Operation::Govern),
            create_repositories: may(Operation::CreateRepository),
            create_claims: may(Operation::CreateClaim),
            view_directory: may(Operation::ReadDirectory),
            view_audit_log: may(Operation::ReadOrgAudit),
            transfer: may(Operation::TransferOrganization),
            manage_tokens: may(Operation::ManageOrgTokens),
        }
    }
}

impl Registry {
    /// The profile of an organization, with what the caller may do there.
    pub async fn organization_view(&self, who: &Principal, slug: &str) -> Result<OrgView, RegistryError> {
        let org = self.organization(slug).await?;
        self.view_of_org(who, org).await
    }

    async fn view_of_org(&self, who: &Principal, org: OrgRow) -> Result<OrgView, RegistryError> {
        let access = self.org_access(org.id, who).await?;
        let capabilities = OrgCapabilities::of(who, &access);
        Ok(OrgView { org, is_member: access.role.is_some(), capabilities })
    }

    /// The organizations of the caller, by name, with what they may do there.
    pub async fn own_organizations(
        &self,
        who: &Principal,
        slice: Slice,
    ) -> Result<(Vec<(OrgSummaryRow, OrgCapabilities)>, i64), RegistryError> {
        let user = require_user(who)?;
        let (rows, total) = self.0.db.organizations_of(user.id, &Reach::of(who), slice).await?;
        let with_capabilities = |row: OrgSummaryRow| {
            let access = OrganizationAccess {
                id: row.org.id,
                rules: publaryn_core::access::OrgRules {
                    slug: row.org.slug.as_str().into(),
                    restrict_private_reads: row.org.restrict_private_reads,
                    mfa_required: row.org.mfa_required,
                },
                directory_is_private: row.org.member_directory_is_private,
                role: Some(row.role),
            };
            (row, OrgCapabilities::of(who, &access))
        };
        Ok((rows.into_iter().map(with_capabilities).collect(), total))
    }

    /// Makes an organization; the caller becomes its owner.
    ///
    /// # Errors
    /// `already_exists` when the slug is taken.
    pub async fn create_organization(
        &self,
        who: &Principal,
        new: NewOrganization,
        origin: &ClientOrigin,
    ) -> Result<OrgView, RegistryError> {
        let user = require_user(who)?;
        let now = Timestamp::now();
        let row = OrgRow {
            id: OrgId::new(),
            slug: new.slug,
            name: new.name,
            description: new.description,
            website: new.website,
            email: new.email,
            avatar_url: None,
            is_verified: false,
            mfa_required: false,
            member_directory_is_private: false,
            restrict_private_reads: false,
            default_repository_id: None,
            default_repository_slug: None,
            created_at: now,
            updated_at: now,
        };
        let mut tx = self.0.db.begin().await?;
        if !tx.insert_organization(&row).await? {
            return Err(RegistryError::already_exists("slug"));
        }
        tx.set_member(row.id, user.id, OrgRole::Owner, now).await?;
        let entry = AuditEntry::by(who, AuditAction::OrgCreate)
            .org(Some(row.id))
            .from_client(origin)
            .with("slug", row.slug.as_str())
            .with("name", row.name.as_str());
        tx.commit_audited(&entry, now).await?;
        self.view_of_org(who, row).await
    }

    /// Changes the profile and the rules of an organization.
    ///
    /// # Errors
    /// `mfa_not_enabled` when the caller demands a second factor without having one.
    pub async fn update_organization(
        &self,
        who: &Principal,
        slug: &str,
        patch: OrgPatch,
        precondition: impl Fn(&OrgRow) -> Result<(), RegistryError>,
        origin: &ClientOrigin,
    ) -> Result<OrgView, RegistryError> {
        let mut change = self.change_org(who, slug, Operation::Govern, origin).await?;
        precondition(&change.org)?;
        let before = change.org.clone();
        let mut after = before.clone();
        fn set<T>(field: &mut T, value: Option<T>) {
            if let Some(value) = value {
                *field = value;
            }
        }
        set(&mut after.name, patch.name);
        set(&mut after.description, patch.description);
        set(&mut after.website, patch.website);
        set(&mut after.email, patch.email);
        set(&mut after.avatar_url, patch.avatar_url);
        set(&mut after.mfa_required, patch.mfa_required);
        set(&mut after.member_directory_is_private, patch.member_directory_is_private);
        set(&mut after.restrict_private_reads, patch.restrict_private_reads);
        match patch.default_repository_slug {
            None => {}
            Some(None) => (after.default_repository_id, after.default_repository_slug) = (None, None),
            Some(Some(slug)) => {
                let own = change.tx.repository_by_slug(&slug).await?.filter(|r| r.owner_org_id == Some(before.id));
                let own = own.ok_or_else(|| {
                    let message = "is not a repository of this organization";
                    RegistryError::invalid_member("default_repository_slug", "validation_failed", message)
                })?;
                (after.default_repository_id, after.default_repository_slug) = (Some(own.id), Some(own.slug));
            }
        }
        if after.mfa_required && !before.mfa_required && !who.user().is_some_and(|user| user.has_mfa) {
            return Err(RegistryError::conflict(
                "mfa_not_enabled",
                "switch on your own second factor before you demand one of others",
            ));
        }
        let changes = changes(&before, &after);
        if changes.is_empty() {
            return self.view_of_org(who, before).await;
        }
        change.tx.update_organization(&after, change.now).await?;
        after.updated_at = change.now;
        let entry = change.audit(AuditAction::OrgUpdate).with("changes", changes);
        change.commit(entry).await?;
        self.view_of_org(who, after).await
    }

    /// Deletes an organization that owns nothing any more but names of unpublished packages, which become nobody's.
    ///
    /// # Errors
    /// `organization_not_empty`.
    pub async fn delete_organization(
        &self,
        who: &Principal,
        slug: &str,
        precondition: impl Fn(&OrgRow) -> Result<(), RegistryError>,
        origin: &ClientOrigin,
    ) -> Result<(), RegistryError> {
        let mut change = self.change_org(who, slug, Operation::DeleteOrganization, origin).await?;
        precondition(&change.org)?;
        let retired = change.tx.retire_names_of(change.org.id, change.now).await?;
        if change.tx.count_owned_by_org(change.org.id).await? > 0 {
            return Err(RegistryError::conflict(
                "organization_not_empty",
                "the organization still owns packages, repositories or namespace claims",
            ));
        }
        change.tx.delete_organization(change.org.id).await?;
        let entry = change
            .audit(AuditAction::OrgDelete)
            .with("slug", slug)
            .with("name", change.org.name.as_str())
            .with("retired_names", retired);
        change.commit(entry).await
    }

    /// Hands an organization to another member; the caller stays as admin.
    ///
    /// # Errors
    /// `NotFound` for anybody who is no active member, `already_owner`, `Invalid` for oneself.
    pub async fn transfer_organization(
        &self,
        who: &Principal,
        slug: &str,
        username: &str,
        origin: &ClientOrigin,
    ) -> Result<(OrgRow, MemberRow), RegistryError> {
        let own = require_user(who)?.id;
        self.organization_for(who, slug, Operation::TransferOrganization).await?;
        let target: UserRow = self.active_user(username).await?;
        if target.id == own {
            let message = "must be somebody else";
            return Err(RegistryError::invalid_member("username", "validation_failed", message));
        }
        let mut change = self.change_org(who, slug, Operation::TransferOrganization, origin).await?;
        let (org, now) = (change.org.id, change.now);
        let member = change.tx.member(org, target.id).await?.ok_or(RegistryError::NotFound)?;
        if member.role == OrgRole::Owner {
            return Err(RegistryError::conflict("already_owner", "that member is an owner already"));
        }
        change.tx.set_member(org, target.id, OrgRole::Owner, now).await?;
        change.tx.set_member(org, own, OrgRole::Admin, now).await?;
        let entry = change
            .audit(AuditAction::OrgOwnershipTransfer)
            .user(target.id)
            .with("previous_owner_user_id", own.to_string())
            .with("new_owner_user_id", target.id.to_string())
            .with("previous_role", member.role.as_str());
        let row = change.org.clone();
        change.commit(entry).await?;
        Ok((row, MemberRow { role: OrgRole::Owner, ..member }))
    }
}

/// What differs, as the audit log shows it.
fn changes(before: &OrgRow, after: &OrgRow) -> Map<String, Value> {
    let fields = |org: &OrgRow| {
        [
            ("name", json!(org.name)),
            ("description", json!(org.description)),
            ("website", json!(org.website)),
            ("email", json!(org.email)),
            ("avatar_url", json!(org.avatar_url)),
            ("mfa_required", json!(org.mfa_required)),
            ("member_directory_is_private", json!(org.member_directory_is_private)),
            ("restrict_private_reads", json!(org.restrict_private_reads)),
            ("default_repository_slug", json!(org.default_repository_slug)),
        ]
    };
    let pairs = fields(before).into_iter().zip(fields(after));
    pairs
        .filter(|((_, before), (_, after))| before != after)
        .map(|((name, before), (_, after))| (name.to_owned(), json!({"before": before, "after": after})))
        .collect()
}

//! Permissions, and which role or grant carries which (access.md §3.1, §3.2).

use crate::{OrgRole, TeamPermission};

/// The permissions of access.md §3, as bits of a [`Permissions`] set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Permission {
    Read = 1,
    ManageView = 2,
    Metadata = 4,
    Publish = 8,
    Admin = 16,
    Triage = 32,
    Quarantine = 64,
    Transfer = 128,
    CreatePackage = 256,
    /// Change or delete a repository or claim.
    Own = 512,
    // What follows is asked of organizations and accounts only; no role or grant of a package carries it.
    OrgAdmin = 1 << 10,
    OrgDirectory = 1 << 11,
    OrgAudit = 1 << 12,
    OrgOwner = 1 << 13,
}

impl Permission {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::ManageView => "manage_view",
            Self::Metadata => "metadata",
            Self::Publish => "publish",
            Self::Admin => "admin",
            Self::Triage => "triage",
            Self::Quarantine => "quarantine",
            Self::Transfer => "transfer",
            Self::CreatePackage => "repo.create_package",
            Self::Own => "repo.admin",
            Self::OrgAdmin => "org.admin",
            Self::OrgDirectory => "org.directory",
            Self::OrgAudit => "org.audit",
            Self::OrgOwner => "org.owner",
        }
    }
}

/// A set of [`Permission`]s.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Permissions(u32);

impl Permissions {
    pub const NONE: Self = Self(0);
    pub const ALL: Self = Self(0x3ff);

    const fn of(list: &[Permission]) -> Self {
        let (mut bits, mut i) = (0, 0);
        while i < list.len() {
            bits |= list[i] as u32;
            i += 1;
        }
        Self(bits)
    }
    pub const fn has(self, permission: Permission) -> bool {
        self.0 & permission as u32 != 0
    }
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The row of a role in access.md §3.1 (packages) joined with §3.2 (repositories).
    pub const fn of_role(role: OrgRole) -> Self {
        use Permission::*;
        match role {
            OrgRole::Owner | OrgRole::Admin => Self::ALL,
            OrgRole::Maintainer => Self::of(&[Read, ManageView, Metadata, Publish, CreatePackage]),
            OrgRole::Publisher => Self::of(&[Read, ManageView, Publish]),
            OrgRole::SecurityManager => Self::of(&[Read, ManageView, Triage, Quarantine]),
            OrgRole::Auditor | OrgRole::BillingManager | OrgRole::Viewer => Self::of(&[Read]),
        }
    }

    /// The row of a team grant in access.md §3.1 joined with §3.2.
    pub const fn of_grant(grant: TeamPermission) -> Self {
        use Permission::*;
        match grant {
            TeamPermission::Admin => Self::ALL,
            TeamPermission::Publish => Self::of(&[Read, ManageView, Publish, CreatePackage]),
            TeamPermission::WriteMetadata => Self::of(&[Read, ManageView, Metadata, CreatePackage]),
            TeamPermission::ReadPrivate => Self::of(&[Read]),
            TeamPermission::SecurityReview => Self::of(&[Read, ManageView, Triage, Quarantine]),
            TeamPermission::TransferOwnership => Self::of(&[Read, ManageView, Transfer]),
        }
    }
}

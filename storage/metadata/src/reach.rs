//! What a caller may be told of, as a condition of a list's query (access.md §2).
//!
//! It only saves the database from handing over what would be thrown away, and lets it count: every row
//! that comes back is decided again, so a mistake here hides something and never shows it.

use publaryn_core::{
    OrgId, OrgRole, PackageId, Principal, RepositoryId, Scope, UserId,
    principal::{Binding, Who},
};

/// The facts about a caller that such a condition needs.
#[derive(Debug, Clone, Copy, Default)]
pub struct Reach {
    pub(crate) user: Option<UserId>,
    /// Of an automation token.
    pub(crate) org: Option<OrgId>,
    /// Its role is one of the two that may be shut out of private things.
    pub(crate) has_low_role: bool,
    /// What a bound token is bound to.
    pub(crate) package: Option<PackageId>,
    pub(crate) repository: Option<RepositoryId>,
}

impl Reach {
    pub fn of(who: &Principal) -> Self {
        // Without the scope, everybody reads like an anonymous caller.
        if !who.allows(Scope::PackagesRead) {
            return Self::default();
        }
        let bound = Self {
            package: who.binding.and_then(|binding| match binding {
                Binding::Package(id) => Some(id),
                Binding::Repository(_) => None,
            }),
            repository: who.binding.and_then(|binding| match binding {
                Binding::Repository(id) => Some(id),
                Binding::Package(_) => None,
            }),
            ..Self::default()
        };
        match &who.who {
            Who::User(user) => Self { user: Some(user.id), ..bound },
            Who::Automation { org, role } => Self {
                org: Some(*org),
                has_low_role: matches!(role, OrgRole::Viewer | OrgRole::BillingManager),
                ..bound
            },
            Who::Anonymous | Who::TrustedPublisher { .. } => Self::default(),
        }
    }
}

/// Binds `$1` to `$5` of [`discoverable_package`] and [`discoverable_repository`].
macro_rules! bind_reach {
    ($query:expr, $reach:expr) => {
        $query.bind($reach.user).bind($reach.org).bind($reach.has_low_role).bind($reach.package).bind($reach.repository)
    };
}

/// People, and automation of the owning organization, to whom a thing of `$owner` is not private: the rule
/// of `restrict_private_reads`, with `$private` saying whether the thing is private.
macro_rules! member_of {
    ($owner:literal, $private:literal) => {
        concat!(
            "(",
            $owner,
            " IS NOT NULL AND EXISTS (SELECT 1 FROM organizations o ",
            "LEFT JOIN memberships m ON m.org_id = o.id AND m.user_id = $1 WHERE o.id = ",
            $owner,
            " AND ((m.role IS NOT NULL AND NOT (",
            $private,
            " AND o.restrict_private_reads AND m.role IN ('viewer', 'billing_manager'))) ",
            "OR (o.id = $2 AND NOT (",
            $private,
            " AND o.restrict_private_reads AND $3)))))"
        )
    };
}

/// Whether the caller may be told of package `p` in repository `r`.
macro_rules! discoverable_package {
    () => {
        concat!(
            "((p.visibility = 'public' AND r.visibility = 'public' AND NOT p.is_quarantined) ",
            "OR (($4 IS NULL OR p.id = $4) AND ($5 IS NULL OR p.repository_id = $5) AND (p.owner_user_id = $1 ",
            "OR (p.owner_user_id IS NOT NULL AND EXISTS (SELECT 1 FROM package_owners c WHERE c.package_id = p.id ",
            "AND c.user_id = $1)) OR ",
            member_of!(
                "p.owner_org_id",
                "NOT p.is_quarantined AND 'private' IN (p.visibility, r.visibility) \
                 AND 'quarantined' NOT IN (p.visibility, r.visibility)"
            ),
            " OR EXISTS (SELECT 1 FROM team_members m JOIN team_package_grants g ON g.team_id = m.team_id ",
            "WHERE g.resource_id = p.id AND m.org_id = p.owner_org_id AND m.user_id = $1) ",
            "OR EXISTS (SELECT 1 FROM team_members m JOIN team_repository_grants g ON g.team_id = m.team_id ",
            "WHERE g.resource_id = p.repository_id AND r.owner_org_id = p.owner_org_id ",
            "AND m.org_id = p.owner_org_id AND m.user_id = $1))))"
        )
    };
}

/// Whether the caller may be told of repository `r`.
macro_rules! discoverable_repository {
    () => {
        concat!(
            "(r.visibility = 'public' OR ($4 IS NULL AND ($5 IS NULL OR r.id = $5) AND (r.owner_user_id = $1 OR ",
            member_of!("r.owner_org_id", "r.visibility = 'private'"),
            " OR EXISTS (SELECT 1 FROM team_members m JOIN team_repository_grants g ON g.team_id = m.team_id ",
            "WHERE g.resource_id = r.id AND m.org_id = r.owner_org_id AND m.user_id = $1))))"
        )
    };
}

//! `decide(actor, operation, resource)`: the only place where access is decided.
//!
//! Depends on nothing but its arguments. The storage layer loads the facts about a resource and the caller's relation to it
//! ([`PackageAccess`], [`RepositoryAccess`], …); this module turns them into a decision by the tables
//! of access.md §2–§5. Every surface calls it, none decides by itself.

mod denial;
mod organization;
mod permission;

use std::sync::LazyLock;

use metrics::Counter;
use smol_str::SmolStr;

use crate::{
    ClaimId, OrgId, OrgRole, PackageId, Principal, RepositoryId, Scope, TeamPermission, TokenKind, UserId, Visibility,
    principal::{Binding, Credential, Who},
};

pub use denial::Denial;
pub use organization::{OrganizationAccess, owner_protected};
pub use permission::{Permission, Permissions};

/// What somebody wants to do with a resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operation {
    /// Metadata of live releases through the control plane.
    Read,
    /// Be told of it by a list or a search.
    Discover,
    /// Bytes of live releases through the control plane.
    Download,
    /// Metadata and bytes of live releases through a native protocol.
    NativeRead,
    /// Staged releases, their artifacts and findings (control plane only).
    ReadStaged,
    EditMetadata,
    /// Packages: visibility, archive, delete, owners, trusted publishers. Repositories: change, delete. Claims: delete.
    Administer,
    Publish,
    /// Yank, unyank, deprecate, undeprecate.
    ManageReleases,
    ManageTags,
    DeleteStaged,
    DeleteLive,
    Triage,
    Quarantine,
    Transfer,
    /// Create a package in a repository; only on [`Resource::Repository`].
    CreatePackage,
    /// Create a repository for an account or organization.
    CreateRepository,
    /// Claim a namespace for an account or organization.
    CreateClaim,
    /// Members and teams of an organization.
    ReadDirectory,
    /// Grants of an organization's teams.
    ReadGrants,
    /// Audit log and access history of an organization.
    ReadOrgAudit,
    /// Open invitations of an organization.
    ReadInvitations,
    /// The organization's automation tokens, without their secrets.
    ReadOrgTokens,
    /// Profile, members, invitations, teams and grants of an organization.
    Govern,
    /// Leave an organization.
    Leave,
    /// Create and revoke the organization's automation tokens.
    ManageOrgTokens,
    TransferOrganization,
    DeleteOrganization,
    /// Take over something that somebody transfers; the scope is asked for at its source.
    Receive,
    /// Operator views; only on [`Resource::Platform`].
    PlatformRead,
    /// Operator actions; only on [`Resource::Platform`].
    PlatformWrite,
}

/// What kind of thing an operation is aimed at: it decides the scope.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResourceKind {
    Package,
    Repository,
    Claim,
    Organization,
}

impl Operation {
    const fn is_read(self) -> bool {
        matches!(self, Self::Read | Self::Discover | Self::Download | Self::NativeRead | Self::ReadStaged)
    }

    /// The scope a credential needs (access.md §4, §10).
    pub const fn scope(self, on: ResourceKind) -> Scope {
        use ResourceKind::{Claim, Repository};
        match (self, on) {
            (Self::Read | Self::Discover | Self::Download | Self::NativeRead | Self::ReadStaged, _) => {
                Scope::PackagesRead
            }
            (Self::Administer, Repository) | (Self::CreateRepository, _) => Scope::RepositoriesWrite,
            (Self::Administer, Claim) | (Self::CreateClaim, _) => Scope::NamespacesWrite,
            (Self::Transfer, Repository) => Scope::RepositoriesTransfer,
            (Self::Transfer, Claim) => Scope::NamespacesTransfer,
            (Self::Transfer, _) => Scope::PackagesTransfer,
            (Self::EditMetadata | Self::Administer | Self::ManageReleases | Self::DeleteLive, _) => {
                Scope::PackagesWrite
            }
            (Self::Publish | Self::ManageTags | Self::DeleteStaged | Self::CreatePackage, _) => Scope::PackagesPublish,
            (Self::Triage | Self::Quarantine, _) => Scope::SecurityWrite,
            (Self::ReadDirectory | Self::ReadGrants | Self::ReadOrgAudit | Self::ReadInvitations, _) => Scope::OrgsRead,
            (Self::Govern | Self::DeleteOrganization | Self::Receive, _) => Scope::OrgsWrite,
            (Self::Leave, _) => Scope::OrgsJoin,
            (Self::ReadOrgTokens, _) => Scope::TokensRead,
            (Self::ManageOrgTokens, _) => Scope::TokensWrite,
            (Self::TransferOrganization, _) => Scope::OrgsTransfer,
            (Self::PlatformRead, _) => Scope::AuditRead,
            (Self::PlatformWrite, _) => Scope::AdminWrite,
        }
    }

    /// Platform administrators may do it to anybody's package with `admin:write` (access.md §3.4).
    const fn is_platform_power(self) -> bool {
        matches!(self, Self::Quarantine | Self::DeleteStaged | Self::DeleteLive)
    }

    /// What a caller must hold on an owned resource. Never asked for operations on organizations.
    const fn permission(self, on: ResourceKind) -> Permission {
        match self {
            Self::Read | Self::Discover | Self::Download | Self::NativeRead => Permission::Read,
            Self::ReadStaged => Permission::ManageView,
            Self::EditMetadata => Permission::Metadata,
            Self::Publish | Self::ManageReleases | Self::ManageTags | Self::DeleteStaged => Permission::Publish,
            Self::Administer if !matches!(on, ResourceKind::Package) => Permission::Own,
            Self::Triage => Permission::Triage,
            Self::Quarantine => Permission::Quarantine,
            Self::Transfer => Permission::Transfer,
            Self::CreatePackage => Permission::CreatePackage,
            _ => Permission::Admin,
        }
    }
}

/// Exactly one user or one organization owns each resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Owner {
    User(UserId),
    Org(OrgId),
}

impl Owner {
    /// The partition of jobs about what it owns: one owner's backlog never starves another's.
    pub fn partition(self) -> String {
        match self {
            Self::User(id) => id.to_string(),
            Self::Org(id) => id.to_string(),
        }
    }
    /// The organization, if one owns it: its audit log holds what happens to the resource.
    pub const fn org(self) -> Option<OrgId> {
        match self {
            Self::Org(id) => Some(id),
            Self::User(_) => None,
        }
    }
}

/// Settings of the owning organization that change decisions.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OrgRules {
    /// Names the organization where its rules refuse.
    pub slug: SmolStr,
    pub restrict_private_reads: bool,
    pub mfa_required: bool,
}

/// How the caller stands to a resource, as the database says now.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Relation {
    /// Of the owning organization, if one owns it.
    pub org: OrgRules,
    /// Role in the owning organization.
    pub role: Option<OrgRole>,
    /// Counting team grants (access.md §1, grant).
    pub grants: Vec<TeamPermission>,
    /// Co-owner of a user-owned package (docs/adr/0006-co-owners.md).
    pub is_co_owner: bool,
}

/// The facts about a package that a decision needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackageAccess {
    pub id: PackageId,
    pub repository: RepositoryId,
    pub owner: Owner,
    pub effective: Visibility,
    pub relation: Relation,
}

/// The facts about a repository that a decision needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RepositoryAccess {
    pub id: RepositoryId,
    pub owner: Owner,
    pub visibility: Visibility,
    pub relation: Relation,
}

/// The facts about a namespace claim that a decision needs. Claims are public.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimAccess {
    pub id: ClaimId,
    pub owner: Owner,
    pub relation: Relation,
}

/// What an operation is aimed at.
#[derive(Debug, Clone, Copy)]
pub enum Resource<'a> {
    Package(&'a PackageAccess),
    Repository(&'a RepositoryAccess),
    Claim(&'a ClaimAccess),
    Organization(&'a OrganizationAccess),
    /// A person's account, as the owner of what is to be created.
    Account(UserId),
    Platform,
}

/// The outcome: `allow | 401 | 403 | 404`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    Allow,
    /// 401: a credential is needed.
    Unauthenticated,
    /// 403: known to the caller, but not theirs to do.
    Denied(Denial),
    /// 404: hidden, and therefore the same as missing.
    Hidden,
}

impl Decision {
    /// The handle is looked up once: decisions are on every request's way.
    fn counter(&self) -> &'static Counter {
        static COUNTERS: LazyLock<[Counter; 4]> = LazyLock::new(|| {
            ["allow", "401", "403", "404"]
                .map(|outcome| metrics::counter!("publaryn_authz_decisions_total", "outcome" => outcome))
        });
        &COUNTERS[match self {
            Self::Allow => 0,
            Self::Unauthenticated => 1,
            Self::Denied(_) => 2,
            Self::Hidden => 3,
        }]
    }
}

/// Decides whether `actor` may do `operation` on `resource`, and counts the outcome
/// (`publaryn_authz_decisions_total`).
pub fn decide(actor: &Principal, operation: Operation, resource: Resource<'_>) -> Decision {
    let decision = judge(actor, operation, resource);
    decision.counter().increment(1);
    decision
}

/// Whether `actor` may, for telling what could be done; nothing is counted and nothing done on its word.
pub fn permits(actor: &Principal, operation: Operation, resource: Resource<'_>) -> bool {
    judge(actor, operation, resource) == Decision::Allow
}

fn judge(actor: &Principal, operation: Operation, resource: Resource<'_>) -> Decision {
    match resource {
        Resource::Platform => decide_platform(actor, operation),
        Resource::Organization(organization) => organization::decide_organization(actor, operation, organization),
        Resource::Account(account) => organization::decide_account(actor, operation, account),
        Resource::Package(package) => {
            let bound = match actor.binding {
                None => true,
                Some(Binding::Package(id)) => id == package.id,
                Some(Binding::Repository(id)) => id == package.repository,
            };
            let facts = Facts {
                kind: ResourceKind::Package,
                owner: package.owner,
                visibility: package.effective,
                relation: &package.relation,
                package: Some(package.id),
            };
            decide_owned(actor, operation, bound, &facts)
        }
        Resource::Repository(repository) => {
            let bound = actor.binding.is_none_or(|b| b == Binding::Repository(repository.id));
            let facts = Facts {
                kind: ResourceKind::Repository,
                owner: repository.owner,
                visibility: repository.visibility,
                relation: &repository.relation,
                package: None,
            };
            decide_owned(actor, operation, bound, &facts)
        }
        Resource::Claim(claim) => {
            let facts = Facts {
                kind: ResourceKind::Claim,
                owner: claim.owner,
                visibility: Visibility::Public,
                relation: &claim.relation,
                package: None,
            };
            decide_owned(actor, operation, actor.binding.is_none(), &facts)
        }
    }
}

/// Refuses early, before the resource is looked up: no credential, or one without the scope
/// (access.md §10 R6). `None` means the resource decides.
pub fn refuse_before_lookup(actor: &Principal, operation: Operation, on_repository: bool) -> Option<Decision> {
    refuse_early(actor, operation, if on_repository { ResourceKind::Repository } else { ResourceKind::Package })
}

/// [`refuse_before_lookup`] for any kind of resource.
pub fn refuse_early(actor: &Principal, operation: Operation, on: ResourceKind) -> Option<Decision> {
    if operation.is_read() {
        return None;
    }
    if actor.is_anonymous() {
        return Some(Decision::Unauthenticated);
    }
    let scope = operation.scope(on);
    let by_platform = operation.is_platform_power() && actor.is_platform_admin();
    (!actor.allows(scope) && !by_platform).then_some(Decision::Denied(Denial::InsufficientScope(scope)))
}

struct Facts<'a> {
    kind: ResourceKind,
    owner: Owner,
    visibility: Visibility,
    relation: &'a Relation,
    /// The package, if it is one.
    package: Option<PackageId>,
}

fn decide_owned(actor: &Principal, operation: Operation, bound: bool, facts: &Facts<'_>) -> Decision {
    if let Who::TrustedPublisher { package, .. } = actor.who {
        return decide_trusted_publisher(operation, facts, package);
    }
    if let Some(refusal) = refuse_early(actor, operation, facts.kind) {
        return refusal;
    }
    if operation == Operation::NativeRead && facts.visibility == Visibility::Quarantined {
        return Decision::Hidden;
    }
    let held = permissions(actor, facts);
    // A credential without `packages:read` reads like an anonymous caller.
    let entitled = bound && held.has(Permission::Read) && actor.allows(Scope::PackagesRead);
    let is_open = match operation {
        Operation::Discover => facts.visibility == Visibility::Public,
        _ => facts.visibility.is_open(),
    };
    let readable = is_open || entitled;
    if operation.is_platform_power() && actor.is_platform_admin() {
        return Decision::Allow;
    }
    if !readable {
        return Decision::Hidden;
    }
    let needed = operation.permission(facts.kind);
    match operation {
        Operation::Read | Operation::Discover | Operation::NativeRead => return Decision::Allow,
        // Quarantined bytes are for those who judge them.
        Operation::Download if facts.visibility == Visibility::Quarantined && !held.has(Permission::ManageView) => {
            return Decision::Denied(Denial::InsufficientPermission(Permission::ManageView));
        }
        Operation::Download => return Decision::Allow,
        Operation::ReadStaged => {
            let allowed = held.has(needed) && bound && actor.allows(Scope::PackagesRead);
            return if allowed { Decision::Allow } else { Decision::Hidden };
        }
        _ => {}
    }
    if !bound {
        return Decision::Denied(Denial::TokenNotBound);
    }
    if !held.has(needed) {
        // Whoever cannot see the staged release may not learn of it by deleting it.
        if operation == Operation::DeleteStaged && !held.has(Permission::ManageView) {
            return Decision::Hidden;
        }
        return Decision::Denied(Denial::InsufficientPermission(needed));
    }
    refuse_without_mfa(actor, &facts.relation.org).unwrap_or(Decision::Allow)
}

/// Publishes of its own package and the reads that go with them, nothing else (access.md §5).
fn decide_trusted_publisher(operation: Operation, facts: &Facts<'_>, package: PackageId) -> Decision {
    let is_own = facts.package == Some(package);
    match operation {
        Operation::NativeRead if is_own && facts.visibility == Visibility::Quarantined => Decision::Hidden,
        Operation::Publish | Operation::ManageTags | Operation::NativeRead if is_own => Decision::Allow,
        _ => Decision::Denied(Denial::CredentialNotAccepted),
    }
}

/// The refusal of a write that rests on a role or grant where the organization wants a second factor
/// (access.md §3.3). Resources of people have no such rule.
fn refuse_without_mfa(actor: &Principal, org: &OrgRules) -> Option<Decision> {
    let lacks = org.mfa_required && matches!(&actor.who, Who::User(user) if !user.has_mfa);
    lacks.then(|| Decision::Denied(Denial::MfaRequiredByOrganization(org.slug.clone())))
}

/// The union over role, grants and ownership (access.md §3.1).
fn permissions(actor: &Principal, facts: &Facts<'_>) -> Permissions {
    let by_owner = match (&actor.who, facts.owner) {
        (Who::User(user), Owner::User(owner)) if user.id == owner => Permissions::ALL,
        (Who::User(_), Owner::User(_)) if facts.relation.is_co_owner => Permissions::ALL,
        (Who::Automation { org, role }, Owner::Org(owner)) if *org == owner => Permissions::of_role(*role),
        (Who::User(_), Owner::Org(_)) => facts.relation.role.map_or(Permissions::NONE, Permissions::of_role),
        _ => Permissions::NONE,
    };
    let by_grants = match actor.who {
        Who::User(_) => facts.relation.grants.iter().fold(Permissions::NONE, |p, g| p.union(Permissions::of_grant(*g))),
        _ => Permissions::NONE,
    };
    // Two roles lose `read` on private things where the organization says so, unless a grant gives it.
    let role = match actor.who {
        Who::Automation { role, .. } => Some(role),
        _ => facts.relation.role,
    };
    let restricted = facts.relation.org.restrict_private_reads
        && facts.visibility == Visibility::Private
        && matches!(role, Some(OrgRole::Viewer | OrgRole::BillingManager));
    if restricted { by_grants } else { by_owner.union(by_grants) }
}

fn decide_platform(actor: &Principal, operation: Operation) -> Decision {
    if actor.is_anonymous() {
        return Decision::Unauthenticated;
    }
    if matches!(actor.credential, Credential::Token(_, TokenKind::OidcDerived)) {
        return Decision::Denied(Denial::CredentialNotAccepted);
    }
    let scope = operation.scope(ResourceKind::Package);
    if !actor.allows(scope) {
        return Decision::Denied(Denial::InsufficientScope(scope));
    }
    match &actor.who {
        Who::User(user) if user.is_admin => Decision::Allow,
        _ => Decision::Denied(Denial::PlatformAdminRequired),
    }
}

#[cfg(test)]
mod tests;

//! `decide(actor, operation, resource)`: the only place where access is decided.
//!
//! Depends on nothing but its arguments. The storage layer loads the facts about a resource and the caller's relation to it
//! ([`PackageAccess`], [`RepositoryAccess`]); this module turns them into a decision by the tables
//! of access.md §2–§5. Every surface calls it, none decides by itself.

use std::{fmt, sync::LazyLock};

use metrics::Counter;

use crate::{
    OrgId, OrgRole, PackageId, Principal, RepositoryId, Scope, TeamPermission, TokenKind, UserId, Visibility,
    principal::{Binding, Credential, Who},
};

/// What somebody wants to do with a resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operation {
    /// Metadata and bytes of live releases through the control plane.
    Read,
    /// Metadata and bytes of live releases through a native protocol.
    NativeRead,
    /// Staged releases, their artifacts and findings (control plane only).
    ReadStaged,
    EditMetadata,
    /// Visibility, archive, delete, owners, trusted publishers.
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
    /// Operator views; only on [`Resource::Platform`].
    PlatformRead,
    /// Operator actions; only on [`Resource::Platform`].
    PlatformWrite,
}

impl Operation {
    const fn is_read(self) -> bool {
        matches!(self, Self::Read | Self::NativeRead | Self::ReadStaged)
    }

    /// The scope a credential needs, in a repository's case the repository scope (access.md §10).
    const fn scope(self, on_repository: bool) -> Scope {
        match self {
            Self::Read | Self::NativeRead | Self::ReadStaged => Scope::PackagesRead,
            Self::Administer if on_repository => Scope::RepositoriesWrite,
            Self::Transfer if on_repository => Scope::RepositoriesTransfer,
            Self::EditMetadata | Self::Administer | Self::ManageReleases | Self::DeleteLive => Scope::PackagesWrite,
            Self::Publish | Self::ManageTags | Self::DeleteStaged | Self::CreatePackage => Scope::PackagesPublish,
            Self::Triage | Self::Quarantine => Scope::SecurityWrite,
            Self::Transfer => Scope::PackagesTransfer,
            Self::PlatformRead => Scope::AuditRead,
            Self::PlatformWrite => Scope::AdminWrite,
        }
    }

    /// Platform administrators may do it to anybody's package with `admin:write` (access.md §3.4).
    const fn is_platform_power(self) -> bool {
        matches!(self, Self::Quarantine | Self::DeleteStaged | Self::DeleteLive)
    }

    const fn permission(self) -> Permission {
        match self {
            Self::Read | Self::NativeRead => Permission::Read,
            Self::ReadStaged => Permission::ManageView,
            Self::EditMetadata => Permission::Metadata,
            Self::Publish | Self::ManageReleases | Self::ManageTags | Self::DeleteStaged => Permission::Publish,
            Self::Administer | Self::DeleteLive | Self::PlatformRead | Self::PlatformWrite => Permission::Admin,
            Self::Triage => Permission::Triage,
            Self::Quarantine => Permission::Quarantine,
            Self::Transfer => Permission::Transfer,
            Self::CreatePackage => Permission::CreatePackage,
        }
    }
}

/// The permissions of access.md §3, as bits of a [`Permissions`] set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u16)]
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
            Self::CreatePackage => "create_package",
        }
    }
}

/// A set of [`Permission`]s.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Permissions(u16);

impl Permissions {
    pub const NONE: Self = Self(0);
    pub const ALL: Self = Self(0x1ff);

    const fn of(list: &[Permission]) -> Self {
        let (mut bits, mut i) = (0, 0);
        while i < list.len() {
            bits |= list[i] as u16;
            i += 1;
        }
        Self(bits)
    }
    pub const fn has(self, permission: Permission) -> bool {
        self.0 & permission as u16 != 0
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

/// Exactly one user or one organization owns each resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Owner {
    User(UserId),
    Org(OrgId),
}

/// Settings of the owning organization that change decisions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct OrgRules {
    pub restrict_private_reads: bool,
    pub mfa_required: bool,
}

/// How the caller stands to a resource, as the database says now.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Relation {
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
    pub org: OrgRules,
    pub relation: Relation,
}

/// The facts about a repository that a decision needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RepositoryAccess {
    pub id: RepositoryId,
    pub owner: Owner,
    pub visibility: Visibility,
    pub org: OrgRules,
    pub relation: Relation,
}

/// What an operation is aimed at.
#[derive(Debug, Clone, Copy)]
pub enum Resource<'a> {
    Package(&'a PackageAccess),
    Repository(&'a RepositoryAccess),
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

/// Why an authenticated caller was refused (control-plane.md §1.3, 403 codes).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Denial {
    InsufficientScope(Scope),
    InsufficientPermission(Permission),
    TokenNotBound,
    CredentialNotAccepted,
    SessionRequired,
    MfaRequiredByOrganization,
    ScopeNotGrantable,
    PlatformAdminRequired,
    RegistrationClosed,
    /// A rule with its own words: the reason, a stable code and the text.
    Rule {
        code: &'static str,
        message: String,
    },
}

impl Denial {
    pub const fn code(&self) -> &'static str {
        match self {
            Self::InsufficientScope(_) => "insufficient_scope",
            Self::InsufficientPermission(_) => "insufficient_permission",
            Self::TokenNotBound => "token_not_bound",
            Self::CredentialNotAccepted => "credential_not_accepted",
            Self::SessionRequired => "session_required",
            Self::MfaRequiredByOrganization => "mfa_required_by_organization",
            Self::ScopeNotGrantable => "scope_not_grantable",
            Self::PlatformAdminRequired => "platform_admin_required",
            Self::RegistrationClosed => "registration_closed",
            Self::Rule { code, .. } => code,
        }
    }
}

impl fmt::Display for Denial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InsufficientScope(scope) => write!(f, "this credential lacks the scope `{scope}`"),
            Self::InsufficientPermission(p) => write!(f, "you lack the permission `{}` here", p.as_str()),
            Self::TokenNotBound => f.write_str("this token is bound to another resource"),
            Self::CredentialNotAccepted => f.write_str("this credential is not accepted here"),
            Self::SessionRequired => f.write_str("this needs a signed-in session, not an API token"),
            Self::MfaRequiredByOrganization => f.write_str("the organization requires a second factor for this"),
            Self::ScopeNotGrantable => f.write_str("a requested scope may not be granted with this credential"),
            Self::PlatformAdminRequired => f.write_str("this needs a platform administrator"),
            Self::RegistrationClosed => f.write_str("registration is closed on this server"),
            Self::Rule { message, .. } => f.write_str(message),
        }
    }
}

/// Decides whether `actor` may do `operation` on `resource`, and counts the outcome
/// (`publaryn_authz_decisions_total`).
pub fn decide(actor: &Principal, operation: Operation, resource: Resource<'_>) -> Decision {
    let decision = judge(actor, operation, resource);
    decision.counter().increment(1);
    decision
}

fn judge(actor: &Principal, operation: Operation, resource: Resource<'_>) -> Decision {
    match resource {
        Resource::Platform => decide_platform(actor, operation),
        Resource::Package(package) => {
            let bound = match actor.binding {
                None => true,
                Some(Binding::Package(id)) => id == package.id,
                Some(Binding::Repository(id)) => id == package.repository,
            };
            decide_owned(
                actor,
                operation,
                bound,
                &Facts {
                    owner: package.owner,
                    visibility: package.effective,
                    org: package.org,
                    relation: &package.relation,
                    package: Some(package.id),
                },
            )
        }
        Resource::Repository(repository) => {
            let bound = actor.binding.is_none_or(|b| b == Binding::Repository(repository.id));
            decide_owned(
                actor,
                operation,
                bound,
                &Facts {
                    owner: repository.owner,
                    visibility: repository.visibility,
                    org: repository.org,
                    relation: &repository.relation,
                    package: None,
                },
            )
        }
    }
}

/// Refuses early, before the resource is looked up: no credential, or one without the scope
/// (access.md §10 R6). `None` means the resource decides.
pub fn refuse_before_lookup(actor: &Principal, operation: Operation, on_repository: bool) -> Option<Decision> {
    if operation.is_read() {
        return None;
    }
    if actor.is_anonymous() {
        return Some(Decision::Unauthenticated);
    }
    let scope = operation.scope(on_repository);
    let by_platform = operation.is_platform_power() && is_platform_admin(actor);
    (!actor.allows(scope) && !by_platform).then_some(Decision::Denied(Denial::InsufficientScope(scope)))
}

struct Facts<'a> {
    owner: Owner,
    visibility: Visibility,
    org: OrgRules,
    relation: &'a Relation,
    /// The package, if it is one.
    package: Option<PackageId>,
}

fn decide_owned(actor: &Principal, operation: Operation, bound: bool, facts: &Facts<'_>) -> Decision {
    if let Some(refusal) = refuse_before_lookup(actor, operation, facts.package.is_none()) {
        return refusal;
    }
    if operation == Operation::NativeRead && facts.visibility == Visibility::Quarantined {
        return Decision::Hidden;
    }
    let held = permissions(actor, facts);
    // A credential without `packages:read` reads like an anonymous caller.
    let entitled = bound && held.has(Permission::Read) && actor.allows(Scope::PackagesRead);
    let readable = facts.visibility.is_open() || entitled;

    if let Who::TrustedPublisher { package, .. } = actor.who {
        return match operation {
            Operation::Publish | Operation::ManageTags | Operation::NativeRead if facts.package == Some(package) => {
                Decision::Allow
            }
            _ if operation == Operation::NativeRead && readable => Decision::Allow,
            _ => Decision::Denied(Denial::CredentialNotAccepted),
        };
    }
    if operation.is_platform_power() && is_platform_admin(actor) {
        return Decision::Allow;
    }
    if !readable {
        return Decision::Hidden;
    }
    if operation.is_read() && operation != Operation::ReadStaged {
        return Decision::Allow;
    }
    let allowed = held.has(operation.permission());
    if operation == Operation::ReadStaged {
        return if allowed && bound && actor.allows(Scope::PackagesRead) { Decision::Allow } else { Decision::Hidden };
    }
    if !bound {
        return Decision::Denied(Denial::TokenNotBound);
    }
    if !allowed {
        // Whoever cannot see the staged release may not learn of it by deleting it.
        if operation == Operation::DeleteStaged && !held.has(Permission::ManageView) {
            return Decision::Hidden;
        }
        return Decision::Denied(Denial::InsufficientPermission(operation.permission()));
    }
    if facts.org.mfa_required && matches!(actor.who, Who::User(ref user) if !user.has_mfa) {
        return Decision::Denied(Denial::MfaRequiredByOrganization);
    }
    Decision::Allow
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
    let restricted = facts.org.restrict_private_reads
        && facts.visibility == Visibility::Private
        && matches!(facts.relation.role, Some(OrgRole::Viewer | OrgRole::BillingManager));
    if restricted { by_grants } else { by_owner.union(by_grants) }
}

fn is_platform_admin(actor: &Principal) -> bool {
    matches!(&actor.who, Who::User(user) if user.is_admin) && actor.allows(Scope::AdminWrite)
}

fn decide_platform(actor: &Principal, operation: Operation) -> Decision {
    if actor.is_anonymous() {
        return Decision::Unauthenticated;
    }
    if matches!(actor.credential, Credential::Token(_, TokenKind::OidcDerived)) {
        return Decision::Denied(Denial::CredentialNotAccepted);
    }
    let scope = operation.scope(false);
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

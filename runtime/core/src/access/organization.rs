//! Decisions about organizations and about what people create for themselves (access.md §3.3, §10).

use super::{Decision, Denial, Operation, OrgRules, Permission, ResourceKind, refuse_without_mfa};
use crate::{
    OrgId, OrgRole, Principal, TokenKind, UserId,
    principal::{Credential, Who},
};

/// The facts about an organization that a decision needs. Its existence and profile are public.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrganizationAccess {
    pub id: OrgId,
    pub rules: OrgRules,
    /// Only owners and admins see members and teams.
    pub directory_is_private: bool,
    /// The caller's role in it.
    pub role: Option<OrgRole>,
}

pub(super) fn decide_organization(actor: &Principal, operation: Operation, org: &OrganizationAccess) -> Decision {
    if let Some(refusal) = refuse_credential(actor, operation) {
        return refusal;
    }
    let is_read = matches!(
        operation,
        Operation::ReadDirectory
            | Operation::ReadGrants
            | Operation::ReadOrgAudit
            | Operation::ReadInvitations
            | Operation::ReadOrgTokens
    );
    let role = match actor.who {
        Who::User(_) => org.role,
        // Automation tokens read with their role and govern nothing.
        Who::Automation { org: own, role } if own == org.id && is_read => Some(role),
        _ => None,
    };
    use OrgRole::{Admin, Auditor, Owner};
    let governs = matches!(role, Some(Owner | Admin));
    let (allowed, needed) = match operation {
        Operation::Leave => {
            return match role {
                Some(Owner) => Decision::Denied(owner_protected()),
                Some(_) => Decision::Allow,
                None => Decision::Hidden,
            };
        }
        Operation::ReadDirectory if org.directory_is_private => (governs, Permission::OrgDirectory),
        Operation::ReadDirectory => (role.is_some(), Permission::OrgDirectory),
        Operation::ReadGrants | Operation::ReadOrgAudit => {
            (matches!(role, Some(Owner | Admin | Auditor)), Permission::OrgAudit)
        }
        Operation::ReadInvitations
        | Operation::ReadOrgTokens
        | Operation::Govern
        | Operation::CreateRepository
        | Operation::CreateClaim
        | Operation::ManageOrgTokens
        | Operation::Receive => (governs, Permission::OrgAdmin),
        Operation::TransferOrganization | Operation::DeleteOrganization => (role == Some(Owner), Permission::OrgOwner),
        // Nothing else can be done to an organization.
        _ => (false, Permission::OrgOwner),
    };
    if !allowed {
        return Decision::Denied(Denial::InsufficientPermission(needed));
    }
    if is_read {
        return Decision::Allow;
    }
    refuse_without_mfa(actor, &org.rules).unwrap_or(Decision::Allow)
}

/// Creating something that the person `account` shall own: only for oneself.
pub(super) fn decide_account(actor: &Principal, operation: Operation, account: UserId) -> Decision {
    if let Some(refusal) = refuse_credential(actor, operation) {
        return refusal;
    }
    let is_creation = matches!(operation, Operation::CreateRepository | Operation::CreateClaim);
    match &actor.who {
        Who::User(user) if user.id == account && is_creation => Decision::Allow,
        _ => Decision::Denied(Denial::InsufficientPermission(Permission::Own)),
    }
}

fn refuse_credential(actor: &Principal, operation: Operation) -> Option<Decision> {
    if actor.is_anonymous() {
        return Some(Decision::Unauthenticated);
    }
    if matches!(actor.credential, Credential::Token(_, TokenKind::OidcDerived)) {
        return Some(Decision::Denied(Denial::CredentialNotAccepted));
    }
    let scope = operation.scope(ResourceKind::Organization);
    // The scope of taking something over is asked for where it is given away.
    if operation != Operation::Receive && !actor.allows(scope) {
        return Some(Decision::Denied(Denial::InsufficientScope(scope)));
    }
    if operation == Operation::DeleteOrganization && !matches!(actor.credential, Credential::Session(_)) {
        return Some(Decision::Denied(Denial::SessionRequired));
    }
    actor.binding.is_some().then_some(Decision::Denied(Denial::TokenNotBound))
}

/// Owners are changed by handing the organization over, never by member routes.
pub fn owner_protected() -> Denial {
    Denial::Rule {
        code: "owner_protected",
        message: "owners are not changed or removed here; transfer the ownership first".into(),
    }
}

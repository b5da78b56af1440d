//! Why an authenticated caller was refused.

use std::fmt;

use smol_str::SmolStr;

use super::Permission;
use crate::Scope;

/// Why an authenticated caller was refused (control-plane.md §1.3, 403 codes).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Denial {
    InsufficientScope(Scope),
    InsufficientPermission(Permission),
    TokenNotBound,
    CredentialNotAccepted,
    SessionRequired,
    /// The organization whose rule it is, by slug.
    MfaRequiredByOrganization(SmolStr),
    ScopeNotGrantable,
    PlatformAdminRequired,
    RegistrationClosed,
    /// Somebody else has claimed the namespace.
    NamespaceClaimed(SmolStr),
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
            Self::MfaRequiredByOrganization(_) => "mfa_required_by_organization",
            Self::ScopeNotGrantable => "scope_not_grantable",
            Self::PlatformAdminRequired => "platform_admin_required",
            Self::RegistrationClosed => "registration_closed",
            Self::NamespaceClaimed(_) => "namespace_claimed",
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
            Self::MfaRequiredByOrganization(org) => {
                write!(f, "the organization `{org}` requires a second factor for this")
            }
            Self::ScopeNotGrantable => f.write_str("a requested scope may not be granted with this credential"),
            Self::PlatformAdminRequired => f.write_str("this needs a platform administrator"),
            Self::RegistrationClosed => f.write_str("registration is closed on this server"),
            Self::NamespaceClaimed(namespace) => write!(f, "the namespace `{namespace}` is claimed by somebody else"),
            Self::Rule { message, .. } => f.write_str(message),
        }
    }
}

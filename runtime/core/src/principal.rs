//! Who is asking: the identity a request was authenticated as, and what its credential allows.

use smol_str::SmolStr;

use crate::{
    OrgId, OrgRole, PackageId, RepositoryId, Scope, ScopeSet, SessionId, Timestamp, TokenId, TokenKind,
    TrustedPublisherId, UserId,
};

/// The caller of an operation.
///
/// Made by `Registry::authenticate` only; adapters pass it on and cannot widen it.
#[derive(Debug, Clone)]
pub struct Principal {
    pub who: Who,
    pub scopes: ScopeSet,
    pub credential: Credential,
    pub binding: Option<Binding>,
    /// When the database said so.
    pub as_of: Timestamp,
}

/// The identity behind a credential.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Who {
    Anonymous,
    User(UserIdentity),
    /// An `org_automation` token: the organization itself with a fixed role.
    Automation {
        org: OrgId,
        role: OrgRole,
    },
    /// An OIDC-derived token: acts for its publisher's creator on one package.
    TrustedPublisher {
        package: PackageId,
        creator: UserId,
        /// Absent for one that was deleted since.
        publisher: Option<TrustedPublisherId>,
    },
}

/// A signed-in person, as of this request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserIdentity {
    pub id: UserId,
    pub username: SmolStr,
    pub is_admin: bool,
    pub has_mfa: bool,
}

/// What the caller presented.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Credential {
    None,
    /// A native client sent a credential that is malformed, unknown, expired or revoked.
    /// Reads are served as anonymous, everything else is refused (shared/README.md).
    Invalid,
    Session(SessionId),
    Token(TokenId, TokenKind),
}

/// The one resource a bound token works on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Binding {
    Package(PackageId),
    Repository(RepositoryId),
}

impl Principal {
    pub fn anonymous() -> Self {
        Self {
            who: Who::Anonymous,
            scopes: ScopeSet::EMPTY,
            credential: Credential::None,
            binding: None,
            as_of: Timestamp::now(),
        }
    }
    /// Anonymous, but remembering that a broken credential was presented.
    pub fn invalid() -> Self {
        Self { credential: Credential::Invalid, ..Self::anonymous() }
    }
    pub fn is_anonymous(&self) -> bool {
        self.who == Who::Anonymous
    }
    /// A credential was presented and did not hold.
    pub fn is_invalid(&self) -> bool {
        self.credential == Credential::Invalid
    }
    pub fn user(&self) -> Option<&UserIdentity> {
        match &self.who {
            Who::User(user) => Some(user),
            _ => None,
        }
    }
    /// The account that actions are booked on, if a person stands behind the credential.
    pub fn acting_user(&self) -> Option<UserId> {
        match &self.who {
            Who::User(user) => Some(user.id),
            Who::TrustedPublisher { creator, .. } => Some(*creator),
            _ => None,
        }
    }
    pub fn token(&self) -> Option<TokenId> {
        match self.credential {
            Credential::Token(id, _) => Some(id),
            _ => None,
        }
    }
    /// A platform administrator whose credential may act as one (access.md §3.4).
    pub fn is_platform_admin(&self) -> bool {
        self.user().is_some_and(|user| user.is_admin) && self.allows(Scope::AdminWrite)
    }
    pub fn allows(&self, scope: Scope) -> bool {
        self.scopes.allows(scope)
    }
}

//! Who may come in: accounts, sessions and tokens on top of the database.
//!
//! [`Identity`] is the only maker of a [`Principal`](publaryn_core::Principal) with rights. Every
//! change commits together with its audit entry, and nothing is cached: a revoked credential
//! stops with the commit that revoked it, on every replica.

mod accounts;
mod administration;
mod authenticate;
mod error;
mod issue;
mod last_use;
mod login;
mod mfa;
mod oci;
mod sessions;
mod tokens;
mod web_login;

use std::{sync::Arc, time::Duration};

use publaryn_auth::{
    AccountRules, HashCost, LoginThrottle, PasswordError, PasswordHasher, RefreshKeys, RegistryTokenKeys, SessionKeys,
    SigningSecret, ThrottleLimits,
};
use publaryn_core::{
    Principal, RegistryError, Scope, SessionId, Timestamp,
    access::Denial,
    clock::SharedClock,
    principal::{Credential, UserIdentity, Who},
};
use publaryn_metadata::Db;

pub use accounts::{NewAccount, ProfilePatch};
pub use administration::AccountChange;
pub use authenticate::Surface;
pub use error::IdentityError;
pub use issue::{
    IssuedToken, Lifetime, RequestedBinding, RequestedOrganization, TokenRequest, UnknownScopes, parse_scopes,
};
pub use login::{LoginOutcome, PasswordProof, PendingLogin, SessionGrant};
pub use mfa::{MfaOffer, MfaStatus};
pub use oci::{OciCaller, OciTokenGrant};
pub use tokens::CurrentCredential;
pub use web_login::WebLoginProgress;

/// Accounts, sessions and tokens; cheap to clone.
#[derive(Clone)]
pub struct Identity(Arc<Inner>);

struct Inner {
    db: Db,
    clock: SharedClock,
    settings: IdentitySettings,
    hasher: PasswordHasher,
    session_keys: SessionKeys,
    refresh_keys: RefreshKeys,
    /// What recovery codes are hashed with: the current key first.
    recovery_keys: Vec<[u8; 32]>,
    /// What authenticator apps show as the origin of a code.
    issuer: String,
    registry_keys: RegistryTokenKeys,
    passwords: oci::KnownPasswords,
    throttle: LoginThrottle,
    last_use: last_use::LastUse,
}

/// The `auth.*` settings (configuration.md §4).
#[derive(Debug, Clone)]
pub struct IdentitySettings {
    pub registration_is_open: bool,
    pub rules: AccountRules,
    pub hash_cost: HashCost,
    /// `auth.jwt_ttl_seconds`.
    pub access_ttl: Duration,
    /// `auth.session_ttl_seconds`, from each refresh on.
    pub session_ttl: Duration,
    /// `auth.session_max_ttl_seconds`, from the login on.
    pub session_max_ttl: Duration,
    /// `auth.token_default_ttl_days`; `None` = never.
    pub token_default_ttl: Option<Duration>,
    /// `auth.token_max_ttl_days`; `None` = unlimited.
    pub token_max_ttl: Option<Duration>,
    pub throttle: ThrottleLimits,
}

impl Default for IdentitySettings {
    fn default() -> Self {
        Self {
            registration_is_open: true,
            rules: AccountRules::default(),
            hash_cost: HashCost::default(),
            access_ttl: Duration::from_secs(3600),
            session_ttl: Duration::from_secs(86_400),
            session_max_ttl: Duration::from_secs(2_592_000),
            token_default_ttl: Some(90 * DAY),
            token_max_ttl: None,
            throttle: ThrottleLimits::default(),
        }
    }
}

/// What sessions are signed with.
#[derive(Debug, Clone)]
pub struct IdentityKeys {
    /// `auth.issuer`.
    pub issuer: String,
    pub current: SigningSecret,
    pub previous: Option<SigningSecret>,
}

pub(crate) const DAY: Duration = Duration::from_secs(86_400);

impl Identity {
    /// Prepares the service; takes the time of one password hash.
    ///
    /// # Errors
    /// When the hashing cost is outside what Argon2 allows.
    pub fn new(
        db: Db,
        clock: SharedClock,
        settings: IdentitySettings,
        keys: &IdentityKeys,
    ) -> Result<Self, PasswordError> {
        Ok(Self(Arc::new(Inner {
            hasher: PasswordHasher::new(settings.hash_cost)?,
            session_keys: SessionKeys::new(keys.issuer.as_str(), &keys.current, keys.previous.as_ref()),
            refresh_keys: RefreshKeys::new(&keys.current, keys.previous.as_ref()),
            recovery_keys: std::iter::once(&keys.current)
                .chain(keys.previous.as_ref())
                .map(|key| key.derive("recovery codes"))
                .collect(),
            issuer: keys.issuer.clone(),
            registry_keys: RegistryTokenKeys::new(keys.issuer.as_str(), &keys.current, keys.previous.as_ref()),
            passwords: oci::KnownPasswords::default(),
            throttle: LoginThrottle::new(settings.throttle),
            last_use: last_use::LastUse::default(),
            db,
            clock,
            settings,
        })))
    }

    /// The rules for names and passwords, for parsing input at the edge.
    pub fn rules(&self) -> &AccountRules {
        &self.0.settings.rules
    }

    /// The database behind it, for what the surfaces keep of requests.
    pub fn db(&self) -> &Db {
        &self.0.db
    }

    fn now(&self) -> Timestamp {
        self.0.clock.now()
    }
}

/// The signed-in person, whatever credential they came with.
///
/// # Errors
/// `Unauthenticated` for nobody, `NotFound` for credentials no person stands behind.
pub fn require_user(who: &Principal) -> Result<&UserIdentity, RegistryError> {
    match &who.who {
        Who::User(user) => Ok(user),
        Who::Anonymous => Err(RegistryError::Unauthenticated),
        Who::Automation { .. } | Who::TrustedPublisher { .. } => Err(RegistryError::NotFound),
    }
}

/// The session behind the request.
///
/// # Errors
/// `SessionRequired` for API tokens.
pub fn require_session(who: &Principal) -> Result<(&UserIdentity, SessionId), RegistryError> {
    match (&who.who, who.credential) {
        (Who::Anonymous, _) => Err(RegistryError::Unauthenticated),
        (Who::User(user), Credential::Session(id)) => Ok((user, id)),
        _ => Err(RegistryError::Denied(Denial::SessionRequired)),
    }
}

/// # Errors
/// `Unauthenticated` for nobody, `InsufficientScope` for a credential without it.
pub fn require_scope(who: &Principal, scope: Scope) -> Result<(), RegistryError> {
    if who.is_anonymous() {
        return Err(RegistryError::Unauthenticated);
    }
    if !who.allows(scope) {
        return Err(RegistryError::Denied(Denial::InsufficientScope(scope)));
    }
    Ok(())
}

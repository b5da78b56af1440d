//! From a presented credential to a principal: one indexed query, every time.

use std::{borrow::Cow, time::Duration};

use publaryn_auth::{Offered, Presented, Secret, SessionProblem, Token};
use publaryn_core::{
    Principal, RegistryError, Scope, ScopeSet, Timestamp, TokenKind,
    access::Denial,
    error::CredentialProblem,
    principal::{Credential, Who},
};
use publaryn_metadata::{sessions::SessionIdentity, tokens::TokenIdentity, users::UserRow};

use super::Identity;

/// Where a request came in: it decides which dialects are read and what a broken credential means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Surface {
    /// `/v1`: `Bearer` only, and a broken credential is a 401 everywhere.
    Control,
    /// Native protocols: any dialect; a broken credential reads like an anonymous caller, and
    /// whatever is not a public read is refused by [`Principal::is_invalid`].
    Native,
    /// OCI: any dialect, and a broken credential is a 401 everywhere.
    Oci,
}

/// A decision never rests on what was known longer ago (access.md §1).
const MAX_AGE: Duration = Duration::from_secs(5);

impl Identity {
    /// `who` as the database says now, where that was asked a while ago: an upload may end long after its credential
    /// was read.
    ///
    /// # Errors
    /// `BadCredential` when the credential does not hold any more.
    pub async fn renewed<'a>(&self, who: &'a Principal) -> Result<Cow<'a, Principal>, RegistryError> {
        let now = self.now();
        if now.since(who.as_of) < MAX_AGE {
            return Ok(Cow::Borrowed(who));
        }
        let fresh = match who.credential {
            Credential::Token(id, _) => {
                let found = self.0.db.token_identity_by_id(id).await?.ok_or_else(invalid)?;
                principal_of_token(&found, now)?
            }
            Credential::Session(id) => {
                let gone = || RegistryError::BadCredential(CredentialProblem::SessionRevoked);
                principal_of_session(&self.0.db.session_identity(id).await?.ok_or_else(gone)?, now)?
            }
            Credential::None | Credential::Invalid => return Ok(Cow::Borrowed(who)),
        };
        // What the request was narrowed to stays.
        let scopes = fresh.scopes.iter().filter(|scope| who.scopes.contains(*scope)).collect();
        Ok(Cow::Owned(Principal { scopes, ..fresh }))
    }

    /// Finds out who presents this credential and what it allows.
    ///
    /// # Errors
    /// `BadCredential` when it does not hold (not on [`Surface::Native`]); `Denied` for an
    /// OIDC-derived token on the control plane; `Unavailable` when the database cannot be asked.
    pub async fn authenticate(&self, presented: &Presented, surface: Surface) -> Result<Principal, RegistryError> {
        match self.identify(presented, surface).await {
            Err(RegistryError::BadCredential(problem)) if surface == Surface::Native => {
                tracing::debug!(%problem, "serving a broken credential as anonymous");
                Ok(Principal::invalid())
            }
            outcome => outcome,
        }
    }

    pub(super) async fn identify(&self, presented: &Presented, surface: Surface) -> Result<Principal, RegistryError> {
        let outcome = self.recognise(presented, surface).await;
        if presented.offered().is_some() {
            let label = if outcome.is_ok() { "success" } else { "failure" };
            metrics::counter!("publaryn_auth_attempts_total", "method" => "token", "outcome" => label).increment(1);
        }
        outcome
    }

    /// [`Self::identify`], where it is no attempt of its own.
    pub(super) async fn recognise(&self, presented: &Presented, surface: Surface) -> Result<Principal, RegistryError> {
        let offered = match (presented, surface) {
            (Presented::None, _) => return Ok(Principal::anonymous()),
            (Presented::Bearer(offered), _) => offered,
            (Presented::Basic { secret: offered, .. } | Presented::Raw(offered), Surface::Native | Surface::Oci) => {
                offered
            }
            (Presented::Malformed | Presented::Basic { .. } | Presented::Raw(_), _) => return Err(invalid()),
        };
        match offered {
            Offered::ApiToken(token) => self.identify_token(token, surface).await,
            Offered::Jwt(jwt) => self.identify_session(jwt).await,
            // Passwords are for logging in: checking one per request would cost a hash each time
            // and step around the second factor.
            Offered::BadToken | Offered::Other(_) => Err(invalid()),
        }
    }

    async fn identify_token(&self, token: &Token, surface: Surface) -> Result<Principal, RegistryError> {
        let now = self.now();
        let found = self.0.db.token_identity(token.hash().as_bytes()).await?.ok_or_else(invalid)?;
        let principal = principal_of_token(&found, now)?;
        if surface == Surface::Control && found.token.kind == TokenKind::OidcDerived {
            return Err(RegistryError::Denied(Denial::CredentialNotAccepted));
        }
        self.note_token_use(&found.token, now);
        Ok(principal)
    }

    async fn identify_session(&self, jwt: &Secret) -> Result<Principal, RegistryError> {
        let now = self.now();
        let claims = self.0.session_keys.verify(jwt, now).map_err(|problem| {
            RegistryError::BadCredential(match problem {
                SessionProblem::Invalid => CredentialProblem::Invalid,
                SessionProblem::Expired => CredentialProblem::Expired,
            })
        })?;
        let found = self.0.db.session_identity(claims.session).await?;
        let found = found.ok_or(RegistryError::BadCredential(CredentialProblem::SessionRevoked))?;
        if found.user.id != claims.user {
            return Err(invalid());
        }
        let principal = principal_of_session(&found, now)?;
        self.note_session_use(&found.session, now);
        Ok(principal)
    }
}

/// What a session of this account may do now.
pub(super) fn session_scopes(user: &UserRow) -> ScopeSet {
    if user.is_admin { ScopeSet::admin_session() } else { ScopeSet::user_session() }
}

/// `granted`, less what only administrators may hold when the account is none (any more).
pub(super) fn scopes_of_account(granted: ScopeSet, user: &UserRow) -> ScopeSet {
    if user.is_admin { granted } else { granted.iter().filter(|scope: &Scope| !scope.is_admin_only()).collect() }
}

pub(super) fn principal_of_session(found: &SessionIdentity, now: Timestamp) -> Result<Principal, RegistryError> {
    if !found.user.is_active {
        return Err(RegistryError::BadCredential(CredentialProblem::AccountDisabled));
    }
    if !found.session.is_live(now) {
        return Err(RegistryError::BadCredential(CredentialProblem::SessionRevoked));
    }
    Ok(Principal {
        who: Who::User(found.user.identity()),
        scopes: session_scopes(&found.user),
        credential: Credential::Session(found.session.id),
        binding: None,
        as_of: now,
    })
}

pub(super) fn principal_of_token(found: &TokenIdentity, now: Timestamp) -> Result<Principal, RegistryError> {
    let token = &found.token;
    if token.is_revoked() {
        return Err(RegistryError::BadCredential(CredentialProblem::Revoked));
    }
    if token.is_expired(now) {
        return Err(RegistryError::BadCredential(CredentialProblem::Expired));
    }
    let credential = Credential::Token(token.id, token.kind);
    let binding = token.binding();
    let bare = |who, scopes| Principal { who, scopes, credential, binding, as_of: now };
    if token.kind == TokenKind::OrgAutomation {
        // Survives its creator; no account is asked.
        let (org, role) = token.org_id.zip(token.role).ok_or_else(|| incomplete("organization or role"))?;
        return Ok(bare(Who::Automation { org, role }, token.scopes));
    }
    let user = found.user.as_ref().ok_or_else(|| incomplete("account"))?;
    if !user.is_active {
        return Err(RegistryError::BadCredential(CredentialProblem::AccountDisabled));
    }
    let who = match token.kind {
        TokenKind::OidcDerived => {
            let package = token.package_id.ok_or_else(|| incomplete("package"))?;
            Who::TrustedPublisher { package, creator: user.id, publisher: found.trusted_publisher_id }
        }
        // A binding that went missing must never widen what the token may do.
        TokenKind::Package if token.package_id.is_none() => return Err(incomplete("package")),
        TokenKind::Repository if token.repository_id.is_none() => return Err(incomplete("repository")),
        _ => Who::User(user.identity()),
    };
    Ok(bare(who, scopes_of_account(token.scopes, user)))
}

pub(super) fn invalid() -> RegistryError {
    RegistryError::BadCredential(CredentialProblem::Invalid)
}

fn incomplete(what: &str) -> RegistryError {
    RegistryError::internal(format!("a stored token has no {what}"))
}

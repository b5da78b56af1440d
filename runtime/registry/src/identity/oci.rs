//! The OCI token flow: who asks for a registry token, and whom one stands for when it comes back.

use std::time::Duration;

use publaryn_auth::{Offered, Presented, RegistryClaims, ResourceAccess, Secret, TokenSubject};
use publaryn_core::{
    Principal, RegistryError, Timestamp, TokenId,
    audit::ClientOrigin,
    error::CredentialProblem,
    principal::{Credential, Who},
};
use publaryn_metadata::users::LoginRow;

use super::{
    Identity, Surface,
    authenticate::{invalid, principal_of_session, principal_of_token, session_scopes},
};

/// For how long a right password need not be checked again; a push presents it many times.
const REMEMBERED: Duration = Duration::from_secs(60);
/// Logins remembered at once; each takes about 150 bytes.
const KEPT: u64 = 10_000;

/// Right passwords of the last minute, by a keyed digest of what was typed.
pub(super) struct KnownPasswords(moka::sync::Cache<[u8; 32], TokenSubject>);

impl Default for KnownPasswords {
    fn default() -> Self {
        Self(moka::sync::Cache::builder().max_capacity(KEPT).time_to_live(REMEMBERED).build())
    }
}

/// Who calls the OCI surface, and how far their bearer token reaches.
#[derive(Debug, Clone)]
pub struct OciCaller {
    pub who: Principal,
    /// What a registry token names; `None` for credentials that reach as far as their holder's rights.
    pub access: Option<Vec<ResourceAccess>>,
    /// The registry token has ended. It is good for nothing but the upload it began.
    pub is_expired: bool,
    /// Some credential was presented, if only an anonymous token.
    pub is_known: bool,
    subject: TokenSubject,
}

/// A registry token as the token endpoint hands it out.
#[derive(Debug, Clone)]
pub struct OciTokenGrant {
    pub token: Secret,
    pub expires_in: Duration,
    pub issued_at: Timestamp,
}

impl Identity {
    /// Finds out who calls the OCI surface.
    ///
    /// # Errors
    /// `BadCredential` for whatever does not hold, on open repositories too; `RateLimited` when too many
    /// wrong passwords came from there.
    pub async fn oci_caller(&self, presented: &Presented, origin: &ClientOrigin) -> Result<OciCaller, RegistryError> {
        match presented {
            Presented::None => Ok(OciCaller {
                who: Principal::anonymous(),
                access: None,
                is_expired: false,
                is_known: false,
                subject: TokenSubject::Anonymous,
            }),
            Presented::Bearer(Offered::Jwt(token)) => match self.0.registry_keys.verify(token, self.now()) {
                Some(claims) => self.holder_of(claims).await,
                None => self.holder_of_credential(presented).await,
            },
            Presented::Basic { username, secret: Offered::Other(password) } => {
                self.oci_login(username, password, origin).await
            }
            _ => self.holder_of_credential(presented).await,
        }
    }

    /// Checks a user name and password, or the token that stands in for the password.
    ///
    /// # Errors
    /// As [`Self::oci_caller`]; `BadCredential(OtpRequired)` for accounts with a second factor.
    pub async fn oci_login(
        &self,
        username: &str,
        password: &Secret,
        origin: &ClientOrigin,
    ) -> Result<OciCaller, RegistryError> {
        if !matches!(Offered::read(password.expose()), Offered::Other(_)) {
            let presented =
                Presented::Basic { username: username.to_owned(), secret: Offered::read(password.expose()) };
            return self.holder_of_credential(&presented).await;
        }
        let stamp = self.0.registry_keys.login_stamp(username, password);
        if let Some(subject) = self.0.passwords.0.get(&stamp) {
            match self.principal_of(&subject).await {
                Ok(who) => return Ok(unlimited(who, subject)),
                // The password was changed, or the account disabled: find out which.
                Err(RegistryError::BadCredential(_)) => self.0.passwords.0.invalidate(&stamp),
                Err(other) => return Err(other),
            }
        }
        let proven = self.verify_password(username, password.into(), origin).await?;
        let subject = self.password_subject(&proven.stored);
        self.0.passwords.0.insert(stamp, subject.clone());
        let who = principal_of_login(&proven.stored);
        Ok(unlimited(who, subject))
    }

    /// Whom a credential stands for on native surfaces, for whoever does not decide about access by it. Passwords
    /// are not checked.
    ///
    /// # Errors
    /// As [`Self::oci_caller`].
    pub async fn holder(&self, presented: &Presented) -> Result<Principal, RegistryError> {
        let registry_token = match presented {
            Presented::Bearer(Offered::Jwt(token)) => self.0.registry_keys.verify(token, self.now()),
            _ => None,
        };
        match registry_token {
            Some(claims) => self.principal_of(&claims.subject).await,
            None => self.recognise(presented, Surface::Oci).await,
        }
    }

    /// A token for this caller that reaches as far as `access`.
    pub fn oci_token(&self, caller: &OciCaller, access: &[ResourceAccess], ttl: Duration) -> OciTokenGrant {
        let now = self.now();
        let token = self.0.registry_keys.sign(&caller.subject, access, TokenId::new(), now, ttl);
        OciTokenGrant { token, expires_in: ttl, issued_at: now }
    }

    async fn holder_of(&self, claims: RegistryClaims) -> Result<OciCaller, RegistryError> {
        let who = self.principal_of(&claims.subject).await?;
        let RegistryClaims { subject, access, is_expired } = claims;
        Ok(OciCaller { who, access: Some(access), is_expired, is_known: true, subject })
    }

    /// API tokens and sessions, in whatever dialect.
    async fn holder_of_credential(&self, presented: &Presented) -> Result<OciCaller, RegistryError> {
        let who = self.identify(presented, Surface::Oci).await?;
        let subject = match who.credential {
            Credential::Token(id, _) => TokenSubject::Token(id),
            Credential::Session(id) => TokenSubject::Session(id),
            Credential::None | Credential::Invalid => return Err(invalid()),
        };
        Ok(unlimited(who, subject))
    }

    /// Whom a token stands for, with the rights of this moment.
    async fn principal_of(&self, subject: &TokenSubject) -> Result<Principal, RegistryError> {
        let now = self.now();
        match subject {
            TokenSubject::Anonymous => Ok(Principal::anonymous()),
            TokenSubject::Token(id) => {
                let found = self.0.db.token_identity_by_id(*id).await?.ok_or_else(invalid)?;
                let principal = principal_of_token(&found, now)?;
                self.note_token_use(&found.token, now);
                Ok(principal)
            }
            TokenSubject::Session(id) => {
                let gone = || RegistryError::BadCredential(CredentialProblem::SessionRevoked);
                let found = self.0.db.session_identity(*id).await?.ok_or_else(gone)?;
                principal_of_session(&found, now)
            }
            TokenSubject::Password { user, .. } => {
                let found = self.0.db.login_of(*user).await?.ok_or_else(invalid)?;
                if !found.user.is_active {
                    return Err(RegistryError::BadCredential(CredentialProblem::AccountDisabled));
                }
                if self.password_subject(&found) != *subject {
                    return Err(invalid());
                }
                Ok(principal_of_login(&found))
            }
        }
    }

    fn password_subject(&self, stored: &LoginRow) -> TokenSubject {
        let user = stored.user.id;
        TokenSubject::Password { user, stamp: self.0.registry_keys.password_stamp(user, stored.password_hash.as_str()) }
    }
}

fn unlimited(who: Principal, subject: TokenSubject) -> OciCaller {
    OciCaller { who, access: None, is_expired: false, is_known: true, subject }
}

/// Somebody who proved their password may do what a session of theirs may.
fn principal_of_login(stored: &LoginRow) -> Principal {
    Principal {
        who: Who::User(stored.user.identity()),
        scopes: session_scopes(&stored.user),
        credential: Credential::None,
        binding: None,
        as_of: Timestamp::now(),
    }
}

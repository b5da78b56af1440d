//! Login of a command-line client that a person confirms in a browser.
//!
//! The client gets an unguessable id and polls with it; whoever opens the page with that id and proves their
//! password hands the client a token. Only the id's hash is stored, and it works once.

use std::time::Duration;

use publaryn_core::{
    RegistryError, ScopeSet,
    audit::{AuditAction, AuditEntry, ClientOrigin},
};
use publaryn_metadata::web_logins::WebLogin;
use rand::distr::{Alphanumeric, SampleString};
use sha2::{Digest, Sha256};

use super::{
    Identity, IdentityError, IssuedToken, Lifetime, PasswordProof,
    issue::{TokenOwner, personal},
};

/// How long a client waits at most; npm itself gives up after five minutes.
const WAITS_FOR: Duration = Duration::from_secs(10 * 60);
/// 240 bits.
const ID_CHARS: usize = 40;

/// What a polling client is told.
#[derive(Debug)]
pub enum WebLoginProgress {
    Waiting,
    Done(Box<IssuedToken>),
}

impl Identity {
    /// Starts a login; returns its id.
    pub async fn start_web_login(&self) -> Result<String, RegistryError> {
        let id = Alphanumeric.sample_string(&mut rand::rng(), ID_CHARS);
        let now = self.now();
        let mut tx = self.0.db.begin().await?;
        tx.insert_web_login(&hash(&id), now, now + WAITS_FOR).await?;
        tx.commit().await?;
        Ok(id)
    }

    /// Whether a client waits for this login.
    pub async fn web_login_waits(&self, id: &str) -> Result<bool, RegistryError> {
        Ok(self.0.db.web_login_waits(&hash(id), self.now()).await?)
    }

    /// Confirms a login with a password, and a code where the account has a second factor.
    ///
    /// # Errors
    /// Those of [`Identity::login`]; `NotFound` when nobody waits for it any more.
    pub async fn confirm_web_login(
        &self,
        id: &str,
        login: &str,
        proof: PasswordProof<'_>,
        origin: &ClientOrigin,
    ) -> Result<(), IdentityError> {
        if !self.web_login_waits(id).await? {
            return Err(RegistryError::NotFound.into());
        }
        let account = self.verify_password(login, proof, origin).await?;
        let now = self.now();
        let mut tx = self.0.db.begin().await?;
        self.require_still_proven(&mut tx, &account).await?;
        if !tx.confirm_web_login(&hash(id), account.user.id, now).await? {
            return Err(RegistryError::NotFound.into());
        }
        let mut entry = AuditEntry::system(AuditAction::UserLogin)
            .user(account.user.id)
            .with("method", "web_login")
            .from_client(origin);
        entry.actor_user = Some(account.user.id);
        tx.commit_audited(&entry, now).await?;
        Ok(())
    }

    /// What the polling client gets: a token, once, when the login was confirmed.
    ///
    /// # Errors
    /// `NotFound` for logins that are unknown, expired or already taken.
    pub async fn finish_web_login(
        &self,
        id: &str,
        name: &str,
        scopes: ScopeSet,
        origin: &ClientOrigin,
    ) -> Result<WebLoginProgress, IdentityError> {
        let now = self.now();
        let mut tx = self.0.db.begin().await?;
        let user = match tx.take_web_login(&hash(id), now).await? {
            WebLogin::Gone => return Err(RegistryError::NotFound.into()),
            WebLogin::Waiting => return Ok(WebLoginProgress::Waiting),
            WebLogin::Confirmed(user) => user,
        };
        tx.commit().await?;
        let user = self.0.db.user(user).await?.filter(|user| user.is_active).ok_or(RegistryError::NotFound)?;
        let request = personal(name, scopes, Lifetime::Default);
        self.require_grantable(&request, &user, None)?;
        let expires_at = self.expiry(&request, None, now)?;
        let mut entry = AuditEntry::system(AuditAction::TokenCreate).with("source", "web_login").from_client(origin);
        entry.actor_user = Some(user.id);
        Ok(WebLoginProgress::Done(Box::new(
            self.insert_token(TokenOwner::User(user.id), request, None, expires_at, entry, now).await?,
        )))
    }
}

fn hash(id: &str) -> [u8; 32] {
    Sha256::digest(id).into()
}

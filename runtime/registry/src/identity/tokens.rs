//! Looking at and revoking tokens.

use publaryn_core::{
    Operation, Principal, RegistryError, Scope, TokenId,
    access::Denial,
    audit::{AuditAction, AuditEntry, ClientOrigin},
    principal::Credential,
};
use publaryn_metadata::{
    sessions::SessionRow,
    tokens::{ListedToken, TokenPage},
};

use super::{Identity, IdentityError, require_scope, require_user};

/// The credential of the present request.
#[derive(Debug, Clone)]
pub enum CurrentCredential {
    Session(SessionRow),
    Token(Box<ListedToken>),
}

impl Identity {
    /// The caller's tokens that were not revoked, newest first, and how many there are.
    pub async fn tokens(
        &self,
        who: &Principal,
        include_expired: bool,
        limit: u32,
        offset: u64,
    ) -> Result<(Vec<ListedToken>, i64), RegistryError> {
        require_scope(who, Scope::TokensRead)?;
        let user = require_user(who)?;
        let offset = i64::try_from(offset).unwrap_or(i64::MAX);
        let page = TokenPage { include_expired, limit: i64::from(limit), offset };
        Ok(self.0.db.tokens_of_user(user.id, page, self.now()).await?)
    }

    /// The automation tokens of an organization, newest first, and how many there are.
    ///
    /// # Errors
    /// `NotFound`; `Denied` for everybody but its owners and admins.
    pub async fn tokens_of_org(
        &self,
        who: &Principal,
        slug: &str,
        include_expired: bool,
        limit: u32,
        offset: u64,
    ) -> Result<(Vec<ListedToken>, i64), RegistryError> {
        require_scope(who, Scope::TokensRead)?;
        let org = self.organization_for_tokens(who, Operation::ReadOrgTokens, slug).await?;
        let offset = i64::try_from(offset).unwrap_or(i64::MAX);
        let page = TokenPage { include_expired, limit: i64::from(limit), offset };
        Ok(self.0.db.tokens_of_org(org, page, self.now()).await?)
    }

    /// What the caller came with.
    pub async fn current_credential(&self, who: &Principal) -> Result<CurrentCredential, RegistryError> {
        match who.credential {
            Credential::None | Credential::Invalid => Err(RegistryError::Unauthenticated),
            Credential::Session(id) => {
                let found = self.0.db.session_identity(id).await?.ok_or(RegistryError::NotFound)?;
                Ok(CurrentCredential::Session(found.session))
            }
            Credential::Token(id, _) => {
                let found = self.0.db.token(id).await?.ok_or(RegistryError::NotFound)?;
                Ok(CurrentCredential::Token(Box::new(found)))
            }
        }
    }

    /// Revokes one of the caller's tokens, or one of an organization whose tokens they manage.
    ///
    /// # Errors
    /// `NotFound` when it is somebody else's or was revoked before.
    pub async fn revoke_token(&self, who: &Principal, id: TokenId, origin: &ClientOrigin) -> Result<(), IdentityError> {
        require_scope(who, Scope::TokensWrite)?;
        let user = require_user(who)?;
        let now = self.now();
        let org = match self.0.db.token(id).await? {
            Some(ListedToken { token, org_slug: Some(slug), .. }) => {
                // Whose token it is, is nobody else's business.
                self.organization_for_tokens(who, Operation::ManageOrgTokens, &slug).await.map_err(hidden)?;
                token.org_id
            }
            _ => None,
        };
        let mut tx = self.0.db.begin().await?;
        let is_revoked = match org {
            Some(_) => tx.revoke_own_token(id, now).await?,
            None => tx.revoke_token(id, user.id, now).await?,
        };
        if !is_revoked {
            return Err(RegistryError::NotFound.into());
        }
        let mut entry = revocation(who, id, origin).org(org);
        if org.is_some() {
            entry.target_user = None;
        }
        tx.commit_audited(&entry, now).await?;
        Ok(())
    }

    /// Revokes the token the request came with; every token may end itself.
    ///
    /// # Errors
    /// `CredentialNotAccepted` for sessions, which end by logout.
    pub async fn revoke_current_token(&self, who: &Principal, origin: &ClientOrigin) -> Result<(), IdentityError> {
        let Credential::Token(id, _) = who.credential else {
            return Err(if who.is_anonymous() {
                RegistryError::Unauthenticated.into()
            } else {
                Denial::CredentialNotAccepted.into()
            });
        };
        let now = self.now();
        let mut tx = self.0.db.begin().await?;
        if !tx.revoke_own_token(id, now).await? {
            return Err(RegistryError::NotFound.into());
        }
        tx.commit_audited(&revocation(who, id, origin), now).await?;
        Ok(())
    }
}

fn hidden(error: RegistryError) -> RegistryError {
    match error {
        RegistryError::Denied(_) => RegistryError::NotFound,
        other => other,
    }
}

fn revocation(who: &Principal, id: TokenId, origin: &ClientOrigin) -> AuditEntry {
    let mut entry = AuditEntry::by(who, AuditAction::TokenRevoke).with("token_id", id.to_string()).from_client(origin);
    entry.target_user = who.acting_user();
    entry
}

//! Ending sessions: logout, password change, and the list a person checks for strangers.

use publaryn_auth::{NewPassword, Secret, Verdict};
use publaryn_core::{
    Principal, RegistryError, Scope, SessionId, UserId,
    audit::{AuditAction, AuditEntry, ClientOrigin},
    error::CredentialProblem,
};
use publaryn_metadata::{sessions::SessionRow, users::StoredPassword};

use super::{Identity, IdentityError, PasswordProof, require_scope, require_session, require_user};

impl Identity {
    /// Ends the presented session, or all of the account's; without a credential nothing happens.
    ///
    /// # Errors
    /// `SessionRequired` for API tokens.
    pub async fn logout(&self, who: &Principal, all: bool, origin: &ClientOrigin) -> Result<(), IdentityError> {
        if who.is_anonymous() {
            return Ok(());
        }
        let (user, session) = require_session(who)?;
        let now = self.now();
        let mut tx = self.0.db.begin().await?;
        if all {
            tx.revoke_sessions(user.id, None, now).await?;
        } else {
            tx.revoke_session(session, user.id, now).await?;
        }
        let entry = AuditEntry::by(who, AuditAction::UserLogout)
            .user(user.id)
            .with("session_id", session.to_string())
            .with("all", all)
            .from_client(origin);
        tx.commit_audited(&entry, now).await?;
        Ok(())
    }

    /// Ends the session that a refresh token belongs to, or all of its account's, if it still has one.
    pub async fn logout_by_refresh(
        &self,
        token: &Secret,
        all: bool,
        origin: &ClientOrigin,
    ) -> Result<(), IdentityError> {
        let Some(token) = self.0.refresh_keys.parse(token.expose()) else { return Ok(()) };
        let now = self.now();
        let mut tx = self.0.db.begin().await?;
        let Some(state) = tx.lock_session_for_refresh(token.session()).await? else { return Ok(()) };
        if !tx.revoke_session(state.session.id, state.user.id, now).await? {
            return Ok(());
        }
        if all {
            tx.revoke_sessions(state.user.id, None, now).await?;
        }
        let mut entry = AuditEntry::system(AuditAction::UserLogout)
            .user(state.user.id)
            .with("session_id", state.session.id.to_string())
            .with("all", all)
            .from_client(origin);
        entry.actor_user = Some(state.user.id);
        tx.commit_audited(&entry, now).await?;
        Ok(())
    }

    /// Changes the caller's password and ends all other sessions.
    ///
    /// # Errors
    /// `WrongPassword`, `Throttled`, `SessionRequired`.
    pub async fn change_password(
        &self,
        who: &Principal,
        current: &Secret,
        new: &NewPassword,
        origin: &ClientOrigin,
    ) -> Result<(), IdentityError> {
        let (user, session) = require_session(who)?;
        let row = self.0.db.login_of(user.id).await?.ok_or(RegistryError::NotFound)?;
        // A stolen session must not be a way to guess the password without limit.
        let key = user.id.to_string();
        self.0.throttle.attempt(&key, origin.ip, self.now())?;
        match self.0.hasher.verify(current, Some(row.password_hash.as_str())).await? {
            Verdict::Match { .. } => self.0.throttle.forgive(&key, origin.ip),
            Verdict::Mismatch => return Err(CredentialProblem::WrongPassword.into()),
        }
        self.replace_password(who, user.id, &row.password_hash, new, Some(session), origin).await
    }

    /// Sets a new password for a client that has a token and no session: it proves the old one, and the second
    /// factor where there is one, as a login does. All sessions end.
    ///
    /// # Errors
    /// Those of [`Identity::login`]; `InsufficientScope` without `profile:write`.
    pub async fn change_password_by_login(
        &self,
        who: &Principal,
        proof: PasswordProof<'_>,
        new: &NewPassword,
        origin: &ClientOrigin,
    ) -> Result<(), IdentityError> {
        require_scope(who, Scope::ProfileWrite)?;
        let user = require_user(who)?;
        let account = self.verify_password(&user.username, proof, origin).await?;
        self.replace_password(who, user.id, &account.stored.password_hash, new, None, origin).await
    }

    /// Replaces the password that was proven, and no other that was set since.
    async fn replace_password(
        &self,
        who: &Principal,
        user: UserId,
        proven: &StoredPassword,
        new: &NewPassword,
        keep: Option<SessionId>,
        origin: &ClientOrigin,
    ) -> Result<(), IdentityError> {
        let hash = self.0.hasher.hash(new).await?;
        let now = self.now();
        let mut tx = self.0.db.begin().await?;
        if tx.lock_login(user).await?.is_none_or(|stored| stored.password_hash != *proven) {
            return Err(CredentialProblem::WrongPassword.into());
        }
        tx.set_password(user, &hash, now).await?;
        let ended = tx.revoke_sessions(user, keep, now).await?;
        let entry = AuditEntry::by(who, AuditAction::UserPasswordChange)
            .user(user)
            .with("sessions_ended", ended)
            .from_client(origin);
        tx.commit_audited(&entry, now).await?;
        Ok(())
    }

    /// Live sessions of the caller, newest first, and how many there are.
    pub async fn sessions(
        &self,
        who: &Principal,
        limit: u32,
        offset: u64,
    ) -> Result<(Vec<SessionRow>, i64), RegistryError> {
        let (user, _) = require_session(who)?;
        let offset = i64::try_from(offset).unwrap_or(i64::MAX);
        Ok(self.0.db.live_sessions(user.id, self.now(), i64::from(limit), offset).await?)
    }

    /// Ends one of the caller's sessions.
    ///
    /// # Errors
    /// `NotFound` when it is somebody else's or has ended.
    pub async fn revoke_session(
        &self,
        who: &Principal,
        id: SessionId,
        origin: &ClientOrigin,
    ) -> Result<(), IdentityError> {
        let (user, _) = require_session(who)?;
        let now = self.now();
        let mut tx = self.0.db.begin().await?;
        if !tx.revoke_session(id, user.id, now).await? {
            return Err(RegistryError::NotFound.into());
        }
        let entry = AuditEntry::by(who, AuditAction::SessionRevoke)
            .user(user.id)
            .with("session_id", id.to_string())
            .from_client(origin);
        tx.commit_audited(&entry, now).await?;
        Ok(())
    }
}

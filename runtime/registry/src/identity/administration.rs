//! What platform administrators, and operators at the command line, do to other people's accounts.

use publaryn_core::{
    Principal, RegistryError, UserId,
    access::{Decision, Operation, Resource, decide},
    audit::{AuditAction, AuditEntry, ClientOrigin},
};
use publaryn_metadata::{
    Tx,
    users::{UserFilter, UserRow},
};

use super::{Identity, IdentityError};

/// Changes to an account: absent = leave.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AccountChange {
    pub is_active: Option<bool>,
    pub is_admin: Option<bool>,
    /// Takes the second factor away from somebody who lost it.
    pub reset_mfa: bool,
}

impl Identity {
    /// A page of accounts by name, and how many there are.
    pub async fn accounts(
        &self,
        who: &Principal,
        filter: &UserFilter,
        limit: u32,
        offset: u64,
    ) -> Result<(Vec<UserRow>, i64), RegistryError> {
        allow_platform(who, Operation::PlatformRead)?;
        let offset = i64::try_from(offset).unwrap_or(i64::MAX);
        Ok(self.0.db.users(filter, i64::from(limit), offset).await?)
    }

    /// Whether there is an account of that name, disabled or not.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn any_account(&self, who: &Principal, username: &str) -> Result<UserRow, RegistryError> {
        allow_platform(who, Operation::PlatformRead).or_else(|_| allow_platform(who, Operation::PlatformWrite))?;
        self.any_user(username).await
    }

    /// Changes an account, all or nothing; disabling ends its sessions, and its tokens stop with it.
    ///
    /// # Errors
    /// `NotFound`; `Conflict` when it would leave no active administrator.
    pub async fn administer(
        &self,
        who: &Principal,
        username: &str,
        change: AccountChange,
        origin: &ClientOrigin,
    ) -> Result<UserRow, IdentityError> {
        allow_platform(who, Operation::PlatformWrite)?;
        self.change_account(Some(who), username, change, origin).await
    }

    /// Gives or takes the platform-administrator flag at the command line.
    ///
    /// # Errors
    /// Those of [`Identity::administer`].
    pub async fn set_admin(&self, username: &str, is_admin: bool) -> Result<UserRow, IdentityError> {
        let change = AccountChange { is_admin: Some(is_admin), ..AccountChange::default() };
        self.change_account(None, username, change, &ClientOrigin::default()).await
    }

    /// Disables or enables an account at the command line.
    ///
    /// # Errors
    /// Those of [`Identity::administer`].
    pub async fn set_active(&self, username: &str, is_active: bool) -> Result<UserRow, IdentityError> {
        let change = AccountChange { is_active: Some(is_active), ..AccountChange::default() };
        self.change_account(None, username, change, &ClientOrigin::default()).await
    }

    /// Removes the second factor of somebody who lost it, at the command line.
    pub async fn reset_mfa(&self, username: &str) -> Result<(), IdentityError> {
        let change = AccountChange { reset_mfa: true, ..AccountChange::default() };
        self.change_account(None, username, change, &ClientOrigin::default()).await.map(drop)
    }

    async fn change_account(
        &self,
        who: Option<&Principal>,
        username: &str,
        change: AccountChange,
        origin: &ClientOrigin,
    ) -> Result<UserRow, IdentityError> {
        let now = self.now();
        let mut tx = self.0.db.begin().await?;
        // Administrators before the account: two changes that lock both never wait for each other.
        let admins = tx.active_admins().await?;
        let key = username.trim().to_ascii_lowercase();
        let user = tx.lock_user_by_name(&key).await?.ok_or(RegistryError::NotFound)?;
        let mut actions = Vec::new();
        if let Some(is_admin) = change.is_admin.filter(|wanted| *wanted != user.is_admin) {
            tx.set_admin(user.id, is_admin, now).await?;
            actions.push(if is_admin { AuditAction::UserAdminGrant } else { AuditAction::UserAdminRevoke });
        }
        if let Some(is_active) = change.is_active.filter(|wanted| *wanted != user.is_active) {
            if !is_active {
                tx.revoke_sessions(user.id, None, now).await?;
            }
            tx.set_active(user.id, is_active, now).await?;
            actions.push(if is_active { AuditAction::UserEnable } else { AuditAction::UserDisable });
        }
        if change.reset_mfa && user.has_mfa() {
            tx.clear_mfa(user.id, now).await?;
            actions.push(AuditAction::MfaDisable);
        }
        let loses_admin = change.is_admin == Some(false) || change.is_active == Some(false);
        if loses_admin && admins == [user.id] {
            return Err(RegistryError::conflict("state_conflict", "this is the last active administrator").into());
        }
        if actions.is_empty() {
            tx.rollback().await?;
            return Ok(user);
        }
        self.commit_changes(tx, who, user.id, &actions, origin).await
    }

    async fn commit_changes(
        &self,
        mut tx: Tx,
        who: Option<&Principal>,
        user: UserId,
        actions: &[AuditAction],
        origin: &ClientOrigin,
    ) -> Result<UserRow, IdentityError> {
        let now = self.now();
        for action in actions {
            let entry = who.map_or_else(
                || AuditEntry::system(*action).with("source", "cli"),
                |who| AuditEntry::by(who, *action).from_client(origin),
            );
            tx.append_audit(&entry.user(user), now).await?;
        }
        let after = tx.user(user).await?.ok_or(RegistryError::NotFound)?;
        tx.commit().await?;
        Ok(after)
    }
}

fn allow_platform(who: &Principal, operation: Operation) -> Result<(), RegistryError> {
    allow(who, operation, Resource::Platform)
}

/// A decision as an outcome.
pub(super) fn allow(who: &Principal, operation: Operation, resource: Resource<'_>) -> Result<(), RegistryError> {
    match decide(who, operation, resource) {
        Decision::Allow => Ok(()),
        Decision::Unauthenticated => Err(RegistryError::Unauthenticated),
        Decision::Denied(denial) => Err(RegistryError::Denied(denial)),
        Decision::Hidden => Err(RegistryError::NotFound),
    }
}

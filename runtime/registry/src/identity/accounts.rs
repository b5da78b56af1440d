//! Accounts: made by registration, by the first start or by an operator; changed by their owner.

use publaryn_auth::{EmailAddress, NewPassword, RuleBreak, Username, profile};
use publaryn_core::{
    Principal, RegistryError, Scope, UserId,
    access::{Denial, Permission},
    audit::{AuditAction, AuditEntry, ClientOrigin},
};
use publaryn_metadata::users::{NewUser, Profile, UserInserted, UserRow};

use super::{Identity, IdentityError, require_scope, require_user};

/// An account about to be made; the values passed their rules.
#[derive(Debug, Clone)]
pub struct NewAccount {
    pub username: Username,
    pub email: EmailAddress,
    pub password: NewPassword,
}

/// Changes to a profile: absent = leave, `Some(None)` = clear.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProfilePatch {
    pub display_name: Option<Option<String>>,
    pub bio: Option<Option<String>>,
    pub website: Option<Option<String>>,
    pub avatar_url: Option<Option<String>>,
}

impl ProfilePatch {
    /// Applies the rules to every member and lists all that break one.
    pub fn checked(self) -> Result<Self, Vec<RuleBreak>> {
        type Rule = fn(&'static str, &str) -> Result<Option<String>, RuleBreak>;
        let mut problems = Vec::new();
        let mut check = |field: &'static str, rule: Rule, member: Option<Option<String>>| {
            member.map(|value| {
                value.and_then(|text| {
                    rule(field, &text).unwrap_or_else(|problem| {
                        problems.push(problem);
                        None
                    })
                })
            })
        };
        let checked = Self {
            display_name: check("display_name", profile::name, self.display_name),
            bio: check("bio", profile::bio, self.bio),
            website: check("website", profile::web_address, self.website),
            avatar_url: check("avatar_url", profile::web_address, self.avatar_url),
        };
        if problems.is_empty() { Ok(checked) } else { Err(problems) }
    }

    fn apply(self, user: &UserRow) -> Profile {
        Profile {
            display_name: self.display_name.unwrap_or_else(|| user.display_name.clone()),
            bio: self.bio.unwrap_or_else(|| user.bio.clone()),
            website: self.website.unwrap_or_else(|| user.website.clone()),
            avatar_url: self.avatar_url.unwrap_or_else(|| user.avatar_url.clone()),
        }
    }
}

impl Identity {
    /// # Errors
    /// `RegistrationClosed` when only operators may make accounts.
    pub fn require_open_registration(&self) -> Result<(), RegistryError> {
        if self.0.settings.registration_is_open {
            return Ok(());
        }
        Err(RegistryError::Denied(Denial::RegistrationClosed))
    }

    /// Makes an account through the public door; it never is an administrator.
    pub async fn register(&self, new: NewAccount, origin: &ClientOrigin) -> Result<UserRow, IdentityError> {
        self.require_open_registration()?;
        self.insert_account(new, false, |user| {
            let mut entry = AuditEntry::system(AuditAction::UserRegister).user(user).from_client(origin);
            // Whoever registers is the one who acts.
            entry.actor_user = Some(user);
            entry
        })
        .await
    }

    /// Makes an account for an operator at the command line.
    pub async fn create_user(&self, new: NewAccount, is_admin: bool) -> Result<UserRow, IdentityError> {
        self.insert_account(new, is_admin, |user| {
            AuditEntry::system(AuditAction::UserRegister).user(user).with("source", "cli").with("is_admin", is_admin)
        })
        .await
    }

    /// Makes the first administrator, if there is no account at all yet.
    pub async fn bootstrap_admin(&self, new: NewAccount) -> Result<Option<UserRow>, IdentityError> {
        if self.has_accounts().await? {
            return Ok(None);
        }
        let hash = self.0.hasher.hash(&new.password).await?;
        let now = self.now();
        let mut tx = self.0.db.begin().await?;
        tx.lock_user_creation().await?;
        if tx.has_users().await? {
            return Ok(None);
        }
        let id = UserId::new();
        self.insert(&mut tx, id, &new, &hash, true).await?;
        let user = tx.user(id).await?.ok_or(RegistryError::NotFound)?;
        let entry =
            AuditEntry::system(AuditAction::UserRegister).user(id).with("source", "bootstrap").with("is_admin", true);
        tx.commit_audited(&entry, now).await?;
        Ok(Some(user))
    }

    /// Whether anybody has an account; if not, the log says how to make the first.
    pub async fn has_accounts(&self) -> Result<bool, RegistryError> {
        Ok(self.0.db.has_users().await?)
    }

    /// An active account by name, ignoring case.
    ///
    /// # Errors
    /// `NotFound` also for disabled accounts.
    pub async fn user_by_name(&self, name: &str) -> Result<UserRow, RegistryError> {
        let user = self.0.db.user_by_name(&name.to_ascii_lowercase()).await?;
        user.filter(|user| user.is_active).ok_or(RegistryError::NotFound)
    }

    /// The account of the caller.
    pub async fn own_account(&self, who: &Principal) -> Result<UserRow, RegistryError> {
        let id = require_user(who)?.id;
        self.0.db.user(id).await?.ok_or(RegistryError::NotFound)
    }

    /// Whether the caller may change this account's profile.
    ///
    /// # Errors
    /// `NotFound` for an unknown name, `InsufficientPermission` for somebody else's.
    pub async fn require_own_profile(&self, who: &Principal, name: &str) -> Result<(), RegistryError> {
        require_scope(who, Scope::ProfileWrite)?;
        let target = self.user_by_name(name).await?;
        if require_user(who)?.id != target.id {
            return Err(RegistryError::Denied(Denial::InsufficientPermission(Permission::Admin)));
        }
        Ok(())
    }

    /// Changes the caller's profile; without a change nothing is written.
    pub async fn update_profile(
        &self,
        who: &Principal,
        patch: ProfilePatch,
        origin: &ClientOrigin,
    ) -> Result<UserRow, IdentityError> {
        require_scope(who, Scope::ProfileWrite)?;
        let id = require_user(who)?.id;
        let patch = patch.checked().map_err(IdentityError::Invalid)?;
        let now = self.now();
        let mut tx = self.0.db.begin().await?;
        let before = tx.user(id).await?.ok_or(RegistryError::NotFound)?;
        let profile = patch.apply(&before);
        let changed = changed_fields(&before, &profile);
        if changed.is_empty() {
            tx.rollback().await?;
            return Ok(before);
        }
        tx.update_profile(id, &profile, now).await?;
        let after = tx.user(id).await?.ok_or(RegistryError::NotFound)?;
        let entry = AuditEntry::by(who, AuditAction::UserUpdate).user(id).with("fields", changed).from_client(origin);
        tx.commit_audited(&entry, now).await?;
        Ok(after)
    }

    /// Sets a password for an operator and ends all sessions.
    pub async fn set_password(&self, username: &str, password: &NewPassword) -> Result<(), IdentityError> {
        let user = self.any_user(username).await?;
        let hash = self.0.hasher.hash(password).await?;
        let now = self.now();
        let mut tx = self.0.db.begin().await?;
        tx.set_password(user.id, &hash, now).await?;
        let ended = tx.revoke_sessions(user.id, None, now).await?;
        let entry = AuditEntry::system(AuditAction::UserPasswordChange)
            .user(user.id)
            .with("source", "cli")
            .with("sessions_ended", ended);
        tx.commit_audited(&entry, now).await?;
        Ok(())
    }

    /// An account by name, disabled or not.
    pub(super) async fn any_user(&self, username: &str) -> Result<UserRow, RegistryError> {
        self.0.db.user_by_name(&username.trim().to_ascii_lowercase()).await?.ok_or(RegistryError::NotFound)
    }

    async fn insert_account(
        &self,
        new: NewAccount,
        is_admin: bool,
        entry: impl FnOnce(UserId) -> AuditEntry,
    ) -> Result<UserRow, IdentityError> {
        let hash = self.0.hasher.hash(&new.password).await?;
        let now = self.now();
        let id = UserId::new();
        let mut tx = self.0.db.begin().await?;
        tx.lock_user_creation().await?;
        self.insert(&mut tx, id, &new, &hash, is_admin).await?;
        let user = tx.user(id).await?.ok_or(RegistryError::NotFound)?;
        tx.commit_audited(&entry(id), now).await?;
        Ok(user)
    }

    async fn insert(
        &self,
        tx: &mut publaryn_metadata::Tx,
        id: UserId,
        new: &NewAccount,
        password_hash: &str,
        is_admin: bool,
    ) -> Result<(), IdentityError> {
        let (username_key, email_key) = (new.username.key(), new.email.key());
        let row = NewUser {
            id,
            username: new.username.as_str(),
            username_key: &username_key,
            email: new.email.as_str(),
            email_key: &email_key,
            password_hash,
            is_admin,
        };
        match tx.insert_user(&row, self.now()).await? {
            UserInserted::Yes => Ok(()),
            UserInserted::UsernameTaken => Err(IdentityError::AlreadyExists { field: "username" }),
            UserInserted::EmailTaken => Err(IdentityError::AlreadyExists { field: "email" }),
        }
    }
}

fn changed_fields(before: &UserRow, after: &Profile) -> Vec<&'static str> {
    [
        ("display_name", before.display_name == after.display_name),
        ("bio", before.bio == after.bio),
        ("website", before.website == after.website),
        ("avatar_url", before.avatar_url == after.avatar_url),
    ]
    .into_iter()
    .filter_map(|(field, same)| (!same).then_some(field))
    .collect()
}

//! The second factor of an account: switching it on and off, and logins that wait for its code.

use std::time::Duration;

use publaryn_auth::{
    Secret,
    recovery::RecoveryCode,
    totp::{TotpSecret, TotpStep},
};
use publaryn_core::{
    Principal, RegistryError, Timestamp, UserId,
    audit::{AuditAction, AuditEntry, ClientOrigin},
    error::CredentialProblem,
};
use publaryn_metadata::{Tx, mfa::MfaSetup, users::UserRow};
use rand::distr::{Alphanumeric, SampleString};
use sha2::{Digest, Sha256};

use super::{Identity, IdentityError, PendingLogin, SessionGrant, require_session};

/// How long a set-up can be confirmed.
const SETUP_LIVES: Duration = Duration::from_secs(15 * 60);
/// How long a login waits for its code.
const CHALLENGE_LIVES: Duration = Duration::from_secs(300);
/// Wrong codes that void a login.
const MAX_FAILURES: i64 = 5;
/// Shown before the 238 random bits, so that a leaked token is recognised.
const CHALLENGE_PREFIX: &str = "mfa_";
const CHALLENGE_CHARS: usize = 40;

/// How an account stands with its second factor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MfaStatus {
    pub enabled_at: Option<Timestamp>,
    pub recovery_codes_remaining: i64,
    pub setup_pending: bool,
}

/// What an authenticator app is set up with; shown this once.
#[derive(Debug, Clone)]
pub struct MfaOffer {
    /// Base32.
    pub secret: Secret,
    /// `otpauth://totp/…`.
    pub provisioning_uri: Secret,
    pub recovery_codes: Vec<RecoveryCode>,
}

/// What a person typed where a code was asked for.
enum Accepted {
    Totp,
    /// A recovery code, used up by this.
    Recovery,
}

impl Identity {
    pub async fn mfa_status(&self, who: &Principal) -> Result<MfaStatus, RegistryError> {
        let (user, _) = require_session(who)?;
        let row = self.0.db.user(user.id).await?.ok_or(RegistryError::NotFound)?;
        Ok(MfaStatus {
            enabled_at: row.totp_enabled_at,
            recovery_codes_remaining: self.0.db.recovery_codes_left(user.id).await?,
            setup_pending: !row.has_mfa() && self.0.db.has_mfa_setup(user.id, self.now()).await?,
        })
    }

    /// Offers a second factor, in the place of an offer that was not confirmed.
    ///
    /// # Errors
    /// `Conflict` when one is switched on.
    pub async fn set_up_mfa(&self, who: &Principal) -> Result<MfaOffer, IdentityError> {
        let (user, _) = require_session(who)?;
        let secret = TotpSecret::generate();
        let recovery_codes = RecoveryCode::generate_set();
        let now = self.now();
        let mut tx = self.0.db.begin().await?;
        refuse_enabled(&locked(&mut tx, user.id).await?)?;
        let setup = MfaSetup {
            totp_secret: secret.to_base32(),
            recovery_codes: self.digests(user.id, &recovery_codes),
            expires_at: now + SETUP_LIVES,
        };
        tx.put_mfa_setup(user.id, &setup, now).await?;
        tx.commit().await?;
        Ok(MfaOffer {
            secret: Secret::new(secret.to_base32()),
            provisioning_uri: Secret::new(secret.provisioning_uri(&self.0.issuer, &user.username)),
            recovery_codes,
        })
    }

    /// Switches the offered factor on with a first code of it; other sessions end.
    ///
    /// # Errors
    /// `Conflict` without an offer or when one is on, `Invalid` for a wrong code.
    pub async fn confirm_mfa(&self, who: &Principal, code: &str, origin: &ClientOrigin) -> Result<(), IdentityError> {
        let (user, session) = require_session(who)?;
        let now = self.now();
        let mut tx = self.0.db.begin().await?;
        refuse_enabled(&locked(&mut tx, user.id).await?)?;
        let setup = tx.mfa_setup(user.id).await?.filter(|setup| setup.expires_at > now);
        let setup =
            setup.ok_or_else(|| RegistryError::conflict("mfa_setup_missing", "there is no set-up to confirm"))?;
        let TotpStep(step) = secret_of(&setup.totp_secret)?.check(code, now, None).ok_or_else(wrong_code)?;
        tx.enable_mfa(user.id, &setup, stored(step)?, now).await?;
        tx.mark_session_mfa(session).await?;
        let ended = tx.revoke_sessions(user.id, Some(session), now).await?;
        let entry =
            AuditEntry::by(who, AuditAction::MfaEnable).user(user.id).with("sessions_ended", ended).from_client(origin);
        tx.commit_audited(&entry, now).await?;
        Ok(())
    }

    /// Switches the factor off, proven by a code of it or a recovery code.
    ///
    /// # Errors
    /// `Conflict` when none is on, `Invalid` for a wrong code, `Throttled`.
    pub async fn disable_mfa(&self, who: &Principal, code: &str, origin: &ClientOrigin) -> Result<(), IdentityError> {
        let (user, _) = require_session(who)?;
        self.proven(user.id, code, true, origin, async |tx, accepted, now| {
            tx.clear_mfa(user.id, now).await?;
            let method = if matches!(accepted, Accepted::Recovery) { "recovery_code" } else { "totp" };
            Ok(((), AuditEntry::by(who, AuditAction::MfaDisable).user(user.id).with("method", method)))
        })
        .await
    }

    /// Replaces the recovery codes, proven by a code of the app.
    ///
    /// # Errors
    /// Those of [`Identity::disable_mfa`].
    pub async fn renew_recovery_codes(
        &self,
        who: &Principal,
        code: &str,
        origin: &ClientOrigin,
    ) -> Result<Vec<RecoveryCode>, IdentityError> {
        let (user, _) = require_session(who)?;
        self.proven(user.id, code, false, origin, async |tx, _, now| {
            let codes = RecoveryCode::generate_set();
            tx.replace_recovery_codes(user.id, &self.digests(user.id, &codes), now).await?;
            Ok((codes, AuditEntry::by(who, AuditAction::MfaRecoveryCodesRegenerate).user(user.id)))
        })
        .await
    }

    /// Makes a change that needs a right code, with the code used up by it.
    async fn proven<T>(
        &self,
        user: UserId,
        code: &str,
        takes_recovery_codes: bool,
        origin: &ClientOrigin,
        change: impl AsyncFnOnce(&mut Tx, Accepted, Timestamp) -> Result<(T, AuditEntry), IdentityError>,
    ) -> Result<T, IdentityError> {
        // A stolen session must not be a way to guess codes without limit.
        let key = user.to_string();
        self.0.throttle.attempt(&key, origin.ip, self.now())?;
        let now = self.now();
        let mut tx = self.0.db.begin().await?;
        if !locked(&mut tx, user).await?.has_mfa() {
            return Err(RegistryError::conflict("mfa_not_enabled", "no second factor is switched on").into());
        }
        let accepted = self.take_code(&mut tx, user, code, takes_recovery_codes, now).await?.ok_or_else(wrong_code)?;
        let (outcome, entry) = change(&mut tx, accepted, now).await?;
        tx.commit_audited(&entry.from_client(origin), now).await?;
        self.0.throttle.forgive(&key, origin.ip);
        Ok(outcome)
    }

    /// Begins to wait for the code of a login.
    pub(super) async fn challenge(
        &self,
        tx: &mut Tx,
        user: UserId,
        now: Timestamp,
    ) -> Result<PendingLogin, RegistryError> {
        let secret = Alphanumeric.sample_string(&mut rand::rng(), CHALLENGE_CHARS);
        let token = format!("{CHALLENGE_PREFIX}{secret}");
        tx.insert_mfa_challenge(&hash(&token), user, now, now + CHALLENGE_LIVES).await?;
        Ok(PendingLogin { token: Secret::new(token), expires_in: CHALLENGE_LIVES })
    }

    /// Ends a login that waits for a code: with a session, and how many recovery codes are left if one was used.
    ///
    /// # Errors
    /// `WrongCode`, `ChallengeExpired`, `ChallengeExhausted`, `AccountDisabled`.
    pub async fn answer_challenge(
        &self,
        token: &Secret,
        code: &str,
        origin: &ClientOrigin,
    ) -> Result<(SessionGrant, Option<i64>), IdentityError> {
        self.counted("mfa", self.end_challenge(token, code, origin)).await
    }

    async fn end_challenge(
        &self,
        token: &Secret,
        code: &str,
        origin: &ClientOrigin,
    ) -> Result<(SessionGrant, Option<i64>), IdentityError> {
        let id = hash(token.expose());
        let mut tx = self.0.db.begin().await?;
        let user = tx.mfa_challenge_user(&id).await?.ok_or(CredentialProblem::ChallengeExpired)?;
        let user = locked(&mut tx, user).await?;
        let challenge = tx.lock_mfa_challenge(&id).await?.ok_or(CredentialProblem::ChallengeExpired)?;
        // Read the clock after the lock: another answer may have taken its time.
        let now = self.now();
        if challenge.expires_at <= now {
            return Err(CredentialProblem::ChallengeExpired.into());
        }
        if challenge.failures >= MAX_FAILURES {
            return Err(CredentialProblem::ChallengeExhausted.into());
        }
        if !user.is_active {
            return Err(CredentialProblem::AccountDisabled.into());
        }
        if !user.has_mfa() {
            // Switched off meanwhile: the password alone would have been enough, but this login asked for more.
            return Err(CredentialProblem::ChallengeExpired.into());
        }
        let Some(accepted) = self.take_code(&mut tx, user.id, code, true, now).await? else {
            tx.count_mfa_failure(&id).await?;
            let mut entry =
                AuditEntry::system(AuditAction::UserLoginFailed).with("reason", "wrong_code").from_client(origin);
            entry.target_user = Some(user.id);
            tx.commit_audited(&entry, now).await?;
            return Err(CredentialProblem::WrongCode.into());
        };
        tx.delete_mfa_challenge(&id).await?;
        let used_recovery = matches!(accepted, Accepted::Recovery);
        if used_recovery {
            let mut entry = AuditEntry::system(AuditAction::MfaRecoveryCodeUse).user(user.id).from_client(origin);
            entry.actor_user = Some(user.id);
            tx.append_audit(&entry, now).await?;
        }
        let id = user.id;
        let grant = self.open_session(tx, user, true, origin, now).await?;
        self.0.throttle.forgive(&id.to_string(), origin.ip);
        let left = if used_recovery { Some(self.0.db.recovery_codes_left(id).await?) } else { None };
        Ok((grant, left))
    }

    /// Uses up a right code; `None` for a wrong one.
    async fn take_code(
        &self,
        tx: &mut Tx,
        user: UserId,
        code: &str,
        takes_recovery_codes: bool,
        now: Timestamp,
    ) -> Result<Option<Accepted>, RegistryError> {
        let Some((secret, last)) = tx.lock_totp(user).await? else { return Ok(None) };
        let last = last.and_then(|step| u64::try_from(step).ok()).map(TotpStep);
        if let Some(TotpStep(step)) = secret_of(&secret)?.check(code, now, last) {
            tx.set_totp_step(user, stored(step)?).await?;
            return Ok(Some(Accepted::Totp));
        }
        let Some(code) = RecoveryCode::parse(code).filter(|_| takes_recovery_codes) else { return Ok(None) };
        let digests: Vec<[u8; 32]> = self.0.recovery_keys.iter().map(|key| *code.hash(key, user).as_bytes()).collect();
        Ok(tx.take_recovery_code(user, &digests).await?.then_some(Accepted::Recovery))
    }

    /// Whether the code is right now; a right one is used up with this call, on every replica.
    pub(super) async fn accept_code(&self, user: UserId, code: &str) -> Result<bool, RegistryError> {
        let mut tx = self.0.db.begin().await?;
        let accepted = self.take_code(&mut tx, user, code, false, self.now()).await?.is_some();
        if accepted {
            tx.commit().await?;
        }
        Ok(accepted)
    }

    /// What is stored of recovery codes.
    fn digests(&self, user: UserId, codes: &[RecoveryCode]) -> Vec<[u8; 32]> {
        codes.iter().map(|code| *code.hash(&self.0.recovery_keys[0], user).as_bytes()).collect()
    }
}

async fn locked(tx: &mut Tx, user: UserId) -> Result<UserRow, RegistryError> {
    tx.lock_user(user).await?.ok_or(RegistryError::NotFound)
}

fn refuse_enabled(user: &UserRow) -> Result<(), RegistryError> {
    if user.has_mfa() {
        return Err(RegistryError::conflict("mfa_already_enabled", "a second factor is already switched on"));
    }
    Ok(())
}

fn secret_of(base32: &str) -> Result<TotpSecret, RegistryError> {
    TotpSecret::from_base32(base32).ok_or_else(|| RegistryError::internal("a stored second factor cannot be read"))
}

fn stored(step: u64) -> Result<i64, RegistryError> {
    i64::try_from(step).map_err(RegistryError::internal)
}

/// For somebody who is signed in; at a login it is a 401.
fn wrong_code() -> RegistryError {
    RegistryError::invalid("mfa_code_invalid", "the code is not valid")
}

fn hash(token: &str) -> [u8; 32] {
    Sha256::digest(token).into()
}

//! Logging in and staying in: passwords become sessions, refresh tokens keep them alive.

use std::time::Duration;

use publaryn_auth::{AttemptNote, RefreshToken, Secret, TokenHash, Verdict};
use publaryn_core::{
    ScopeSet, SessionId, Timestamp,
    audit::{AuditAction, AuditEntry, ClientOrigin},
    error::CredentialProblem,
};
use publaryn_metadata::{
    Tx,
    sessions::{RefreshState, SessionRow},
    users::{LoginRow, UserRow},
};
use tokio::sync::broadcast;

use super::{Identity, IdentityError, authenticate::session_scopes};

/// For how long a rotated refresh token gets the same answer again (shared/README.md, portal session).
const REFRESH_GRACE: Duration = Duration::from_secs(10);

/// A session with the tokens to use and to prolong it: `LoginOk` of the contract.
#[derive(Debug, Clone)]
pub struct SessionGrant {
    pub session: SessionId,
    /// A JSON web token.
    pub access_token: Secret,
    pub expires_in: Duration,
    pub refresh_token: Secret,
    pub refresh_expires_in: Duration,
    pub scopes: ScopeSet,
    pub user: UserRow,
}

/// A password and, once the client was told that one is needed, the code of the second factor: what
/// clients send in one request, as npm does with `--otp`.
#[derive(Debug, Clone, Copy)]
pub struct PasswordProof<'a> {
    pub password: &'a Secret,
    pub code: Option<&'a str>,
}

impl<'a> From<&'a Secret> for PasswordProof<'a> {
    fn from(password: &'a Secret) -> Self {
        Self { password, code: None }
    }
}

/// What a right password leads to.
#[derive(Debug, Clone)]
pub enum LoginOutcome {
    Granted(Box<SessionGrant>),
    SecondFactor(PendingLogin),
}

/// A login that waits for a code of the second factor.
#[derive(Debug, Clone)]
pub struct PendingLogin {
    /// Good for nothing but [`Identity::answer_challenge`].
    pub token: Secret,
    pub expires_in: Duration,
}

impl Identity {
    /// Turns a user name or e-mail address and a password into a session.
    ///
    /// Unknown accounts and wrong passwords are alike in answer, time and trace.
    ///
    /// # Errors
    /// `WrongPassword`; `AccountDisabled` after a right password only; `Throttled`.
    pub async fn login(
        &self,
        login: &str,
        password: &Secret,
        origin: &ClientOrigin,
    ) -> Result<LoginOutcome, IdentityError> {
        self.counted("password", async {
            let mut account = self.prove_account(login, password, origin).await?;
            loop {
                match self.let_in(&account, password, origin).await? {
                    LetIn::Through(outcome) => return Ok(outcome),
                    LetIn::StaleProof => account = self.prove_account(login, password, origin).await?,
                }
            }
        })
        .await
    }

    /// Acts on a proof, unless the password changed since: another login may have hashed it anew, or its owner
    /// replaced it.
    async fn let_in(
        &self,
        account: &VerifiedLogin,
        password: &Secret,
        origin: &ClientOrigin,
    ) -> Result<LetIn, IdentityError> {
        let rehashed = self.rehash(account, password).await?;
        let now = self.now();
        let mut tx = self.0.db.begin().await?;
        let stored = tx.lock_login(account.user.id).await?.ok_or(CredentialProblem::WrongPassword)?;
        if stored.password_hash != account.stored.password_hash {
            return Ok(LetIn::StaleProof);
        }
        if let Some(hash) = rehashed {
            tx.rehash_password(account.user.id, &account.stored.password_hash, &hash).await?;
        }
        // As it is under the lock: the factor may have been switched on since the proof.
        if stored.user.has_mfa() {
            // Not forgiven yet: who knows the password must not guess codes without end.
            let pending = self.challenge(&mut tx, stored.user.id, now).await?;
            tx.commit().await?;
            return Ok(LetIn::Through(LoginOutcome::SecondFactor(pending)));
        }
        self.forgive(account, origin);
        let grant = self.open_session(tx, stored.user, false, origin, now).await?;
        Ok(LetIn::Through(LoginOutcome::Granted(Box::new(grant))))
    }

    /// Locks the account for a change that rests on a proof of its password, in that change's transaction.
    ///
    /// # Errors
    /// `WrongPassword` when password or second factor changed since the proof; `AccountDisabled`.
    pub(super) async fn require_still_proven(&self, tx: &mut Tx, account: &VerifiedLogin) -> Result<(), IdentityError> {
        let stored = tx.lock_login(account.user.id).await?.ok_or(CredentialProblem::WrongPassword)?;
        let needs_code = stored.user.has_mfa() && !account.user.has_mfa();
        if needs_code || stored.password_hash != account.stored.password_hash {
            return Err(CredentialProblem::WrongPassword.into());
        }
        if !stored.user.is_active {
            return Err(CredentialProblem::AccountDisabled.into());
        }
        Ok(())
    }

    /// Commits a new session of an account that proved itself.
    pub(super) async fn open_session(
        &self,
        mut tx: Tx,
        user: UserRow,
        has_mfa: bool,
        origin: &ClientOrigin,
        now: Timestamp,
    ) -> Result<SessionGrant, IdentityError> {
        let (session, refresh) = self.new_session(&user, has_mfa, origin, now);
        // Checked again under the transaction: a login must not outrun a disabling.
        if !tx.lock_user(user.id).await?.is_some_and(|user| user.is_active) {
            return Err(CredentialProblem::AccountDisabled.into());
        }
        tx.insert_session(&session, refresh.hash().as_bytes()).await?;
        tx.record_login(user.id, now).await?;
        let mut entry = AuditEntry::system(AuditAction::UserLogin)
            .user(user.id)
            .with("session_id", session.id.to_string())
            .with("mfa", has_mfa)
            .from_client(origin);
        entry.actor_user = Some(user.id);
        tx.commit_audited(&entry, now).await?;
        Ok(self.grant(user, &session, &refresh, now))
    }

    /// Exchanges a refresh token for a new one and a fresh access token.
    ///
    /// # Errors
    /// `RefreshInvalid`; `RefreshReused` for a token that was exchanged before, which ends the session.
    pub async fn refresh(&self, token: &Secret, origin: &ClientOrigin) -> Result<SessionGrant, IdentityError> {
        self.counted("refresh", self.refresh_session(token, origin)).await
    }

    /// Counts how an attempt to get in ended.
    pub(super) async fn counted<T>(
        &self,
        method: &'static str,
        attempt: impl Future<Output = Result<T, IdentityError>>,
    ) -> Result<T, IdentityError> {
        let outcome = attempt.await;
        let label = if outcome.is_ok() { "success" } else { "failure" };
        metrics::counter!("publaryn_auth_attempts_total", "method" => method, "outcome" => label).increment(1);
        outcome
    }

    async fn refresh_session(&self, token: &Secret, origin: &ClientOrigin) -> Result<SessionGrant, IdentityError> {
        let token = self.0.refresh_keys.parse(token.expose()).ok_or(CredentialProblem::RefreshInvalid)?;
        let mut tx = self.0.db.begin().await?;
        let state = tx.lock_session_for_refresh(token.session()).await?.ok_or(CredentialProblem::RefreshInvalid)?;
        // Read the clock after the lock: whoever held it may have rotated a moment ago.
        let now = self.now();
        if !state.user.is_active {
            return Err(CredentialProblem::AccountDisabled.into());
        }
        if !state.session.is_live(now) {
            return Err(CredentialProblem::RefreshInvalid.into());
        }
        match standing(&token, &state, now) {
            Standing::Current => {
                let next = self.0.refresh_keys.successor(&token);
                let expires_at = (now + self.0.settings.session_ttl).min(state.session.absolute_expires_at);
                tx.rotate_session(state.session.id, next.hash().as_bytes(), now, expires_at).await?;
                tx.commit().await?;
                let session = SessionRow { expires_at, ..state.session };
                Ok(self.grant(state.user, &session, &next, now))
            }
            Standing::JustRotated { at } => {
                let current = TokenHash::from_bytes(state.refresh_hash);
                let next = self.0.refresh_keys.successor_matching(&token, current);
                tx.rollback().await?;
                let next = next.ok_or(CredentialProblem::RefreshInvalid)?;
                Ok(self.grant(state.user, &state.session, &next, at))
            }
            Standing::Reused => {
                // Two holders of one token: nobody can tell which is the thief, so both are out.
                tx.revoke_session(state.session.id, state.user.id, now).await?;
                let entry = AuditEntry::system(AuditAction::SessionRevoke)
                    .user(state.user.id)
                    .with("reason", "refresh_token_reused")
                    .with("session_id", state.session.id.to_string())
                    .from_client(origin);
                tx.commit_audited(&entry, now).await?;
                Err(CredentialProblem::RefreshReused.into())
            }
        }
    }

    /// Checks a password, slowly and at most so often, and that the account may log in.
    pub(super) async fn verify_password(
        &self,
        login: &str,
        proof: PasswordProof<'_>,
        origin: &ClientOrigin,
    ) -> Result<VerifiedLogin, IdentityError> {
        self.counted("password", self.check_password(login, proof, origin)).await
    }

    /// Password and, where the account has one, the second factor in one request.
    async fn check_password(
        &self,
        login: &str,
        proof: PasswordProof<'_>,
        origin: &ClientOrigin,
    ) -> Result<VerifiedLogin, IdentityError> {
        let account = self.prove_account(login, proof.password, origin).await?;
        if account.user.has_mfa() {
            let accepted = match proof.code {
                Some(code) => self.accept_code(account.user.id, code).await?,
                None => false,
            };
            if !accepted {
                // Not forgiven: who knows the password must not guess codes without end.
                let reason = if proof.code.is_some() { "wrong_code" } else { "second_factor_required" };
                self.record_failed_login(Some(&account.stored), reason, origin).await?;
                return Err(CredentialProblem::OtpRequired.into());
            }
        }
        self.forgive(&account, origin);
        Ok(account)
    }

    /// The account behind name and password, active; its failures are not forgiven yet.
    async fn prove_account(
        &self,
        login: &str,
        password: &Secret,
        origin: &ClientOrigin,
    ) -> Result<VerifiedLogin, IdentityError> {
        let typed = login.trim().to_lowercase();
        let known = self.0.db.user_for_login(&typed).await?;
        // Name and address of one account share their failures.
        let key = known.as_ref().map_or_else(|| typed.chars().take(254).collect(), |row| row.user.id.to_string());
        self.0.throttle.attempt(&key, origin.ip, self.now())?;
        let stored = known.as_ref().map(|row| row.password_hash.as_str());
        let verdict = self.0.hasher.verify(password, stored).await?;
        let (Verdict::Match { needs_rehash }, Some(row)) = (verdict, known.as_ref()) else {
            self.record_failed_login(known.as_ref(), "wrong_password", origin).await?;
            return Err(CredentialProblem::WrongPassword.into());
        };
        if !row.user.is_active {
            self.0.throttle.forgive(&key, origin.ip);
            self.record_failed_login(Some(row), "account_disabled", origin).await?;
            return Err(CredentialProblem::AccountDisabled.into());
        }
        Ok(VerifiedLogin { user: row.user.clone(), stored: row.clone(), needs_rehash })
    }

    /// Attempts to log in here from now on, for the other replicas to count them.
    pub fn login_attempts(&self) -> broadcast::Receiver<AttemptNote> {
        self.0.throttle.notes()
    }

    /// Counts an attempt on another replica.
    pub fn hear_login_attempt(&self, note: &AttemptNote) {
        self.0.throttle.hear(note, self.now());
    }

    /// The person proved everything there is to prove.
    fn forgive(&self, account: &VerifiedLogin, origin: &ClientOrigin) {
        self.0.throttle.forgive(&account.user.id.to_string(), origin.ip);
    }

    async fn record_failed_login(
        &self,
        row: Option<&LoginRow>,
        reason: &str,
        origin: &ClientOrigin,
    ) -> Result<(), IdentityError> {
        // What was typed is not recorded: people type passwords into the name field.
        let mut entry = AuditEntry::system(AuditAction::UserLoginFailed).with("reason", reason).from_client(origin);
        entry.target_user = row.map(|row| row.user.id);
        let tx = self.0.db.begin().await?;
        tx.commit_audited(&entry, self.now()).await?;
        Ok(())
    }

    /// A fresh hash when the stored one was made at another cost.
    async fn rehash(&self, account: &VerifiedLogin, password: &Secret) -> Result<Option<String>, IdentityError> {
        if !account.needs_rehash {
            return Ok(None);
        }
        // The password is right, though it may be shorter than today's rule: keep it.
        Ok(Some(self.0.hasher.rehash(password).await?))
    }

    fn new_session(
        &self,
        user: &UserRow,
        has_mfa: bool,
        origin: &ClientOrigin,
        now: Timestamp,
    ) -> (SessionRow, RefreshToken) {
        let settings = &self.0.settings;
        let id = SessionId::new();
        let absolute_expires_at = now + settings.session_max_ttl;
        let session = SessionRow {
            id,
            user_id: user.id,
            has_mfa,
            ip_address: origin.ip.map(|ip| ip.to_string()),
            user_agent: origin.user_agent.as_ref().map(ToString::to_string),
            created_at: now,
            last_seen_at: now,
            expires_at: (now + settings.session_ttl).min(absolute_expires_at),
            absolute_expires_at,
            revoked_at: None,
        };
        (session, self.0.refresh_keys.mint(id))
    }

    /// The answer to a login or refresh of the instant `at`; the same input gives the same answer.
    fn grant(&self, user: UserRow, session: &SessionRow, refresh: &RefreshToken, at: Timestamp) -> SessionGrant {
        let left = session.expires_at.since(at);
        let expires_in = self.0.settings.access_ttl.min(left);
        SessionGrant {
            session: session.id,
            access_token: self.0.session_keys.sign(user.id, session.id, at, expires_in),
            expires_in,
            refresh_token: Secret::new(refresh.expose()),
            refresh_expires_in: left,
            scopes: session_scopes(&user),
            user,
        }
    }
}

/// What became of a proof.
enum LetIn {
    Through(LoginOutcome),
    /// The password it was made of is no longer the stored one.
    StaleProof,
}

/// An account whose password was just proven.
pub(super) struct VerifiedLogin {
    pub user: UserRow,
    pub(super) stored: LoginRow,
    needs_rehash: bool,
}

/// How a genuine refresh token stands to its live session.
enum Standing {
    Current,
    /// Replaced so recently that its holder may not have got the answer.
    JustRotated {
        at: Timestamp,
    },
    Reused,
}

fn standing(token: &RefreshToken, state: &RefreshState, now: Timestamp) -> Standing {
    let presented = token.hash();
    if presented == TokenHash::from_bytes(state.refresh_hash) {
        return Standing::Current;
    }
    match state.previous {
        Some((previous, at)) if presented == TokenHash::from_bytes(previous) && now.since(at) < REFRESH_GRACE => {
            Standing::JustRotated { at }
        }
        // The seal shows that we issued it, so whatever is not current was exchanged before.
        _ => Standing::Reused,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use publaryn_auth::{HashCost, SigningSecret};
    use publaryn_core::SystemClock;
    use publaryn_metadata::{mfa::MfaSetup, testing};

    use super::*;
    use crate::identity::{IdentityKeys, IdentitySettings, NewAccount};

    const OLD: &str = "correct horse battery";
    const NEW: &str = "another good password";

    fn origin() -> ClientOrigin {
        ClientOrigin::new(None, None)
    }

    /// Each engine's registry with one account, whose password was just proven.
    async fn proven() -> Vec<(Identity, VerifiedLogin, testing::TestDb)> {
        let mut all = Vec::new();
        for scratch in testing::each().await {
            let hash_cost = HashCost { memory_kib: 64, iterations: 1, parallelism: 1 };
            let settings = IdentitySettings { hash_cost, ..IdentitySettings::default() };
            let current = SigningSecret::from_bytes(&std::array::from_fn::<u8, 32, _>(|at| at as u8)).unwrap();
            let keys = IdentityKeys { issuer: "http://localhost".into(), current, previous: None };
            let identity = Identity::new(scratch.db.clone(), Arc::new(SystemClock), settings, &keys).unwrap();
            let rules = identity.rules();
            let account = NewAccount {
                username: rules.username("ada").unwrap(),
                email: publaryn_auth::EmailAddress::parse("ada@example.com").unwrap(),
                password: rules.password(Secret::new(OLD)).unwrap(),
            };
            identity.register(account, &origin()).await.unwrap();
            let login = identity.prove_account("ada", &Secret::new(OLD), &origin()).await.unwrap();
            all.push((identity, login, scratch));
        }
        all
    }

    async fn change_password(identity: &Identity) {
        let new = identity.rules().password(Secret::new(NEW)).unwrap();
        identity.set_password("ada", &new).await.unwrap();
    }

    #[tokio::test]
    async fn a_login_under_way_does_not_outlive_the_password_it_proved() {
        for (identity, login, scratch) in proven().await {
            change_password(&identity).await;
            let let_in = identity.let_in(&login, &Secret::new(OLD), &origin()).await.unwrap();
            assert!(matches!(let_in, LetIn::StaleProof));
            let mut tx = scratch.db.begin().await.unwrap();
            assert!(identity.require_still_proven(&mut tx, &login).await.is_err());
        }
    }

    #[tokio::test]
    async fn a_login_under_way_is_asked_for_the_factor_switched_on_meanwhile() {
        for (identity, login, scratch) in proven().await {
            let mut tx = scratch.db.begin().await.unwrap();
            let now = identity.now();
            let setup =
                MfaSetup { totp_secret: "JBSWY3DPEHPK3PXP".into(), recovery_codes: Vec::new(), expires_at: now };
            tx.enable_mfa(login.user.id, &setup, 0, now).await.unwrap();
            tx.commit().await.unwrap();
            let let_in = identity.let_in(&login, &Secret::new(OLD), &origin()).await.unwrap();
            assert!(matches!(let_in, LetIn::Through(LoginOutcome::SecondFactor(_))));
            let mut tx = scratch.db.begin().await.unwrap();
            assert!(identity.require_still_proven(&mut tx, &login).await.is_err());
            tx.rollback().await.unwrap();
            // A new password voids what waits for a code.
            assert_eq!(scratch.db.count_rows("mfa_challenges").await.unwrap(), 1);
            change_password(&identity).await;
            assert_eq!(scratch.db.count_rows("mfa_challenges").await.unwrap(), 0);
        }
    }
}

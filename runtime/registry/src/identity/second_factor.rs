//! The second factor of clients that send password and code in one request, as npm does with `--otp`.

use publaryn_auth::{
    Secret,
    totp::{TotpSecret, TotpStep},
};
use publaryn_core::{RegistryError, UserId};

use super::Identity;

/// A password and, once the client was told that one is needed, the code of the second factor.
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

impl Identity {
    /// Whether the code is right now; a right one is used up with this call, on every replica.
    pub(super) async fn accept_code(&self, user: UserId, code: &str) -> Result<bool, RegistryError> {
        let now = self.now();
        let mut tx = self.0.db.begin().await?;
        let Some((secret, last)) = tx.lock_totp(user).await? else { return Ok(false) };
        let secret = TotpSecret::from_base32(&secret)
            .ok_or_else(|| RegistryError::internal("a stored second factor cannot be read"))?;
        let last = last.and_then(|step| u64::try_from(step).ok()).map(TotpStep);
        let Some(TotpStep(step)) = secret.check(code, now, last) else { return Ok(false) };
        tx.set_totp_step(user, i64::try_from(step).map_err(RegistryError::internal)?).await?;
        tx.commit().await?;
        Ok(true)
    }
}

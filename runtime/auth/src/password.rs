//! Password hashing with Argon2id, off the async threads and bounded in memory.
//!
//! A hash needs megabytes and tens of milliseconds, so only a few run at once and only so many
//! wait; whoever comes after that is told to come back (RFC 9106; configuration.md `auth.argon2_*`).

use std::{sync::Arc, thread::available_parallelism};

use argon2::{
    Algorithm, Argon2, Params, PasswordHash, PasswordVerifier, Version,
    password_hash::{PasswordHasher as _, SaltString},
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::{
    account::{MAX_PASSWORD_BYTES, NewPassword},
    secret::{Secret, random_bytes},
};

/// The cost of one hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HashCost {
    /// KiB of memory; at least 8 per lane.
    pub memory_kib: u32,
    pub iterations: u32,
    pub parallelism: u32,
}

impl Default for HashCost {
    /// The OWASP minimum: 19 MiB, two passes, one lane.
    fn default() -> Self {
        Self { memory_kib: 19_456, iterations: 2, parallelism: 1 }
    }
}

/// What verifying a password found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Match {
        /// The stored hash was made with other costs; hash the password again.
        needs_rehash: bool,
    },
    Mismatch,
}

/// Why a password could not be hashed or checked.
#[derive(Debug, thiserror::Error)]
pub enum PasswordError {
    #[error("too many passwords are being checked")]
    Busy,
    #[error("argon2 cost is out of range: {0}")]
    Cost(argon2::Error),
    #[error("password hashing failed: {0}")]
    Hash(argon2::password_hash::Error),
    #[error("the hashing thread did not finish")]
    Interrupted(#[source] tokio::task::JoinError),
}

/// Hashes and verifies passwords; cheap to clone, shared by the whole process.
#[derive(Clone)]
pub struct PasswordHasher {
    argon: Argon2<'static>,
    cost: HashCost,
    /// A hash of nobody's password: unknown accounts take as long as known ones.
    dummy: Arc<str>,
    running: Arc<Semaphore>,
    admitted: Arc<Semaphore>,
}

/// Callers that may wait per running hash: at 30 ms each the last one waits about a second.
const WAITING_PER_SLOT: usize = 32;

impl PasswordHasher {
    /// Prepares a hasher that runs at most one hash per CPU, eight at the most.
    ///
    /// Takes the time of one hash.
    ///
    /// # Errors
    /// `Cost` when the numbers are outside what Argon2 allows.
    pub fn new(cost: HashCost) -> Result<Self, PasswordError> {
        let slots = available_parallelism().map_or(2, usize::from).min(8);
        Self::with_slots(cost, slots)
    }

    fn with_slots(cost: HashCost, slots: usize) -> Result<Self, PasswordError> {
        let params =
            Params::new(cost.memory_kib, cost.iterations, cost.parallelism, None).map_err(PasswordError::Cost)?;
        let argon = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        let dummy = hash_now(&argon, &random_bytes::<32>())?.into();
        Ok(Self {
            argon,
            cost,
            dummy,
            running: Arc::new(Semaphore::new(slots)),
            admitted: Arc::new(Semaphore::new(slots * (1 + WAITING_PER_SLOT))),
        })
    }

    /// Hashes a new password into the PHC string to store.
    ///
    /// # Errors
    /// `Busy` when too many callers are waiting already.
    pub async fn hash(&self, password: &NewPassword) -> Result<String, PasswordError> {
        let (argon, text) = (self.argon.clone(), Secret::new(password.expose()));
        self.run(move || hash_now(&argon, text.expose().as_bytes())).await?
    }

    /// Hashes a password that was just verified, at today's cost; it may be older than today's rules.
    ///
    /// # Errors
    /// `Busy` when too many callers are waiting already.
    pub async fn rehash(&self, verified: &Secret) -> Result<String, PasswordError> {
        let (argon, text) = (self.argon.clone(), verified.clone());
        self.run(move || hash_now(&argon, text.expose().as_bytes())).await?
    }

    /// Compares a password with a stored hash; `None` stands for an unknown account and takes as long.
    ///
    /// # Errors
    /// `Busy` when too many callers are waiting already; `Hash` when the stored text is no hash.
    pub async fn verify(&self, password: &Secret, stored: Option<&str>) -> Result<Verdict, PasswordError> {
        // What is too long was never accepted; the dummy keeps the time the same.
        let stored = stored.filter(|_| password.expose().len() <= MAX_PASSWORD_BYTES);
        let known = stored.is_some();
        let expected = stored.map_or_else(|| Arc::clone(&self.dummy), Arc::from);
        let (argon, text, cost) = (self.argon.clone(), password.clone(), self.cost);
        self.run(move || {
            let hash = PasswordHash::new(&expected).map_err(PasswordError::Hash)?;
            let candidate = text.expose().as_bytes();
            match argon.verify_password(&candidate[..candidate.len().min(MAX_PASSWORD_BYTES)], &hash) {
                Ok(()) if known => Ok(Verdict::Match { needs_rehash: cost_of(&hash) != Some(cost) }),
                Ok(()) | Err(argon2::password_hash::Error::Password) => Ok(Verdict::Mismatch),
                Err(error) => Err(PasswordError::Hash(error)),
            }
        })
        .await?
    }

    async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, PasswordError> {
        let _admitted = Arc::clone(&self.admitted).try_acquire_owned().map_err(|_| PasswordError::Busy)?;
        let slot: OwnedSemaphorePermit =
            Arc::clone(&self.running).acquire_owned().await.map_err(|_| PasswordError::Busy)?;
        // The slot travels with the work: a caller that goes away does not free it early.
        tokio::task::spawn_blocking(move || {
            let _slot = slot;
            work()
        })
        .await
        .map_err(PasswordError::Interrupted)
    }
}

fn hash_now(argon: &Argon2<'static>, password: &[u8]) -> Result<String, PasswordError> {
    let salt = SaltString::encode_b64(&random_bytes::<16>()).map_err(PasswordError::Hash)?;
    Ok(argon.hash_password(password, &salt).map_err(PasswordError::Hash)?.to_string())
}

/// The cost a stored hash was made with; `None` when it is not Argon2id version 19.
fn cost_of(hash: &PasswordHash<'_>) -> Option<HashCost> {
    if hash.algorithm != Algorithm::Argon2id.ident() || hash.version != Some(Version::V0x13.into()) {
        return None;
    }
    let params = Params::try_from(hash).ok()?;
    Some(HashCost { memory_kib: params.m_cost(), iterations: params.t_cost(), parallelism: params.p_cost() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::account::AccountRules;

    const CHEAP: HashCost = HashCost { memory_kib: 64, iterations: 1, parallelism: 1 };

    fn password(text: &str) -> NewPassword {
        AccountRules::default().password(Secret::new(text)).unwrap()
    }

    #[tokio::test]
    async fn a_password_matches_its_own_hash_only() {
        let hasher = PasswordHasher::new(CHEAP).unwrap();
        let hash = hasher.hash(&password("correct horse battery")).await.unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=64,t=1,p=1$"), "{hash}");
        assert_ne!(hash, hasher.hash(&password("correct horse battery")).await.unwrap(), "salted");
        let right = hasher.verify(&Secret::new("correct horse battery"), Some(&hash)).await.unwrap();
        assert_eq!(right, Verdict::Match { needs_rehash: false });
        let wrong = hasher.verify(&Secret::new("correct horse batterz"), Some(&hash)).await.unwrap();
        assert_eq!(wrong, Verdict::Mismatch);
    }

    #[tokio::test]
    async fn a_hash_of_other_cost_matches_and_asks_to_be_renewed() {
        let old = PasswordHasher::new(CHEAP).unwrap();
        let new = PasswordHasher::new(HashCost { iterations: 2, ..CHEAP }).unwrap();
        let hash = old.hash(&password("correct horse battery")).await.unwrap();
        let verdict = new.verify(&Secret::new("correct horse battery"), Some(&hash)).await.unwrap();
        assert_eq!(verdict, Verdict::Match { needs_rehash: true });
    }

    #[tokio::test]
    async fn nobody_and_overlong_passwords_never_match() {
        let hasher = PasswordHasher::new(CHEAP).unwrap();
        assert_eq!(hasher.verify(&Secret::new("anything"), None).await.unwrap(), Verdict::Mismatch);
        let hash = hasher.hash(&password(&"x".repeat(1024))).await.unwrap();
        let overlong = Secret::new("x".repeat(1025));
        assert_eq!(hasher.verify(&overlong, Some(&hash)).await.unwrap(), Verdict::Mismatch);
    }

    #[tokio::test]
    async fn the_queue_is_bounded() {
        let hasher = PasswordHasher::with_slots(CHEAP, 1).unwrap();
        let _running = Arc::clone(&hasher.running).acquire_owned().await.unwrap();
        let secret = Secret::new("anything");
        let mut waiting: Vec<_> = (0..1 + WAITING_PER_SLOT).map(|_| Box::pin(hasher.verify(&secret, None))).collect();
        for call in &mut waiting {
            assert!(futures_poll(call).is_none());
        }
        assert!(matches!(hasher.verify(&secret, None).await, Err(PasswordError::Busy)));
    }

    fn futures_poll<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        match std::pin::Pin::new(future).poll(&mut context) {
            std::task::Poll::Ready(output) => Some(output),
            std::task::Poll::Pending => None,
        }
    }

    #[test]
    fn impossible_costs_are_refused() {
        assert!(matches!(PasswordHasher::new(HashCost { memory_kib: 1, ..CHEAP }), Err(PasswordError::Cost(_))));
    }
}

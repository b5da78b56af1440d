//! Answers of the database that are kept until a commit says that what they are about has changed.

use std::{
    hash::{BuildHasher, RandomState},
    sync::atomic::{AtomicU64, Ordering},
};

use publaryn_core::{Ecosystem, RegistryError};
use smol_str::SmolStr;

/// Expiry is tracked per slot, so a change expires its own answer and 1/4096 of the others.
const SLOTS: usize = 4096;

/// Answers by ecosystem and name, for the one process that writes the database: the hook of its commits calls
/// [`Self::expire`] before a writer is answered, so a question asked after that never gets the older answer.
pub(crate) struct Kept<V> {
    answers: moka::sync::Cache<(Ecosystem, SmolStr), (u64, V)>,
    /// An answer is valid while its slot still has the number it had before the database was asked.
    slots: Box<[AtomicU64]>,
    hasher: RandomState,
}

impl<V: Clone + Send + Sync + 'static> Kept<V> {
    /// Keeps so many; those asked for least go first.
    pub(crate) fn new(capacity: u64) -> Self {
        Self {
            answers: moka::sync::Cache::new(capacity),
            slots: (0..SLOTS).map(|_| AtomicU64::new(0)).collect(),
            hasher: RandomState::new(),
        }
    }

    /// The kept answer, or that of `ask`.
    pub(crate) async fn get(
        &self,
        ecosystem: Ecosystem,
        name: &str,
        ask: impl Future<Output = Result<V, RegistryError>>,
    ) -> Result<V, RegistryError> {
        let key = (ecosystem, SmolStr::new(name));
        let number = self.slot(ecosystem, name).load(Ordering::Acquire);
        if let Some((kept_at, answer)) = self.answers.get(&key)
            && kept_at == number
        {
            return Ok(answer);
        }
        let answer = ask.await?;
        self.answers.insert(key, (number, answer.clone()));
        Ok(answer)
    }

    pub(crate) fn expire(&self, ecosystem: Ecosystem, name: &str) {
        self.slot(ecosystem, name).fetch_add(1, Ordering::AcqRel);
    }

    pub(crate) fn expire_all(&self) {
        for slot in &self.slots {
            slot.fetch_add(1, Ordering::AcqRel);
        }
    }

    fn slot(&self, ecosystem: Ecosystem, name: &str) -> &AtomicU64 {
        let hash = self.hasher.hash_one((ecosystem, name));
        &self.slots[hash as usize % SLOTS]
    }
}

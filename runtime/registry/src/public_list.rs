//! What is made of an ecosystem's public list as a whole: indexes over all of its packages.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use publaryn_core::{Ecosystem, RegistryError};
use publaryn_metadata::{Db, Engine};
use tokio::sync::Mutex;

use crate::Registry;

/// How long a change of another replica may stay unseen. Changes of this process are seen at once.
const UNSEEN_FOR: Duration = Duration::from_secs(1);

/// Counts changes of packages, by ecosystem.
pub(crate) struct Changes {
    counts: Arc<[AtomicU64]>,
    /// Others write the database, too, and tell nobody.
    is_shared: bool,
}

impl Changes {
    pub(crate) fn new(db: &Db) -> Self {
        let counts: Arc<[AtomicU64]> = Ecosystem::ALL.iter().map(|_| AtomicU64::new(0)).collect();
        let hook = counts.clone();
        db.on_commit(move |notice| {
            for touched in &notice.packages {
                hook[touched.ecosystem as usize].fetch_add(1, Ordering::AcqRel);
            }
        });
        Self { counts, is_shared: db.engine() == Engine::Postgres }
    }

    pub(crate) fn expire_all(&self) {
        for count in &*self.counts {
            count.fetch_add(1, Ordering::AcqRel);
        }
    }

    fn now(&self, ecosystem: Ecosystem) -> Moment {
        Moment { changes: self.counts[ecosystem as usize].load(Ordering::Acquire), at: Instant::now() }
    }
}

/// Before a question was asked.
struct Moment {
    changes: u64,
    at: Instant,
}

impl Moment {
    /// Whether an answer from `self` on is new enough for who asks at `other`.
    fn is_good_for(&self, other: &Self, is_shared: bool) -> bool {
        self.changes >= other.changes && (!is_shared || self.at + UNSEEN_FOR >= other.at)
    }
}

/// Something made of the public list of one ecosystem, made once for all who ask while the list stays as it is.
pub struct OfPublicList<V> {
    ecosystem: Ecosystem,
    kept: Mutex<Option<(Moment, V)>>,
}

impl<V: Clone> OfPublicList<V> {
    pub fn new(ecosystem: Ecosystem) -> Self {
        Self { ecosystem, kept: Mutex::new(None) }
    }

    /// What is kept, or what `make` makes; whoever asks meanwhile waits for that.
    ///
    /// # Errors
    /// Those of `make`; the next one tries again.
    pub async fn get(
        &self,
        registry: &Registry,
        make: impl Future<Output = Result<V, RegistryError>>,
    ) -> Result<V, RegistryError> {
        let changes = &registry.0.list_changes;
        let asked = changes.now(self.ecosystem);
        let mut kept = self.kept.lock().await;
        if let Some((moment, value)) = &*kept
            && moment.is_good_for(&asked, changes.is_shared)
        {
            return Ok(value.clone());
        }
        let moment = changes.now(self.ecosystem);
        let value = make.await?;
        *kept = Some((moment, value.clone()));
        Ok(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_good_until_something_changes_and_for_a_moment_where_others_write() {
        let start = Instant::now();
        let moment = |changes, after_ms| Moment { changes, at: start + Duration::from_millis(after_ms) };
        let kept = moment(3, 0);
        assert!(kept.is_good_for(&moment(3, 1000), true) && !kept.is_good_for(&moment(3, 1001), true));
        assert!(kept.is_good_for(&moment(3, 1_000_000), false));
        assert!(!kept.is_good_for(&moment(4, 0), false) && !kept.is_good_for(&moment(4, 0), true));
    }

    #[test]
    fn every_ecosystem_has_its_own_count() {
        for (at, ecosystem) in Ecosystem::ALL.iter().enumerate() {
            assert_eq!(*ecosystem as usize, at);
        }
    }
}

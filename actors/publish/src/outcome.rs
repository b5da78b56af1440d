//! Publishers waiting for the fate of their release.

use std::{sync::Arc, time::Duration};

use dashmap::DashMap;
use publaryn_core::{RegistryError, ReleaseId, ReleaseState, finding::Finding, publish::PublishOutcome};
use publaryn_metadata::Db;
use tokio::{sync::Notify, time::Instant};

/// Wakes publishers when the state of their release changes.
///
/// A hint only: other replicas finish releases too, so waiters also look at the database.
pub struct Outcomes {
    db: Db,
    waiting: Arc<DashMap<ReleaseId, Arc<Notify>>>,
}

/// How often a waiter looks by itself: bounds the latency when another replica ran the scan.
const LOOK_EVERY: Duration = Duration::from_millis(200);

impl Outcomes {
    pub fn new(db: Db) -> Self {
        let waiting: Arc<DashMap<ReleaseId, Arc<Notify>>> = Arc::default();
        let woken = waiting.clone();
        db.on_commit(move |notice| {
            for release in &notice.releases {
                if let Some(waiter) = woken.get(release) {
                    waiter.notify_one();
                }
            }
        });
        Self { db, waiting }
    }

    /// Registers interest in a release before it is committed, so that no wake-up is missed.
    pub fn expect(&self, release: ReleaseId) -> Waiter<'_> {
        let notify = Arc::new(Notify::new());
        self.waiting.insert(release, notify.clone());
        Waiter { outcomes: self, release, notify }
    }

    /// Publishers waiting right now.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }
}

/// One publisher's place in line; leaving gives it up.
pub struct Waiter<'a> {
    outcomes: &'a Outcomes,
    release: ReleaseId,
    notify: Arc<Notify>,
}

impl Waiter<'_> {
    /// The outcome, or `Pending` once `patience` is over.
    pub async fn outcome(self, patience: Duration) -> Result<PublishOutcome, RegistryError> {
        let deadline = Instant::now() + patience;
        let release = self.release;
        loop {
            let step = deadline.min(Instant::now() + LOOK_EVERY);
            // A timeout only means that it is time to look without having been woken.
            let _ = tokio::time::timeout_at(step, self.notify.notified()).await;
            let progress = match self.outcomes.db.release_progress(release).await {
                Ok(progress) => progress.ok_or(RegistryError::NotFound)?,
                // The release is committed: losing the database now only means not knowing its fate yet.
                Err(error) if error.is_unavailable() => return Ok(PublishOutcome::Pending { release }),
                Err(error) => return Err(error.into()),
            };
            match progress.status {
                state if state.is_live() => return Ok(PublishOutcome::Live { release }),
                ReleaseState::Scanning if Instant::now() < deadline => continue,
                ReleaseState::Scanning => return Ok(PublishOutcome::Pending { release }),
                ReleaseState::Quarantine => {
                    let findings = self.findings().await?;
                    return Ok(PublishOutcome::Blocked { release, findings });
                }
                _ => return Err(RegistryError::NotFound),
            }
        }
    }

    async fn findings(&self) -> Result<Vec<Finding>, RegistryError> {
        let rows = self.outcomes.db.findings_of(self.release).await?;
        Ok(rows.iter().filter(|f| f.resolved_at.is_none()).map(|f| f.as_finding()).collect())
    }
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        self.outcomes.waiting.remove(&self.release);
    }
}

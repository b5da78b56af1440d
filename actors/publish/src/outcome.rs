//! Publishers waiting for the fate of their release or file.

use std::{sync::Arc, time::Duration};

use dashmap::DashMap;
use publaryn_core::{
    ArtifactId, ArtifactState, RegistryError, ReleaseId, ReleaseState, finding::Finding, publish::PublishOutcome,
};
use publaryn_metadata::{Db, findings::FindingRow};
use tokio::{sync::Notify, time::Instant};

/// What somebody waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Subject {
    Release(ReleaseId),
    /// A file with a quarantine of its own.
    File(ArtifactId),
}

/// Wakes publishers when the state of what they published changes.
///
/// A hint only: other replicas finish scans too, so waiters also look at the database.
pub struct Outcomes {
    db: Db,
    waiting: Arc<DashMap<Subject, Arc<Notify>>>,
}

/// How often a waiter looks by itself: bounds the latency when another replica ran the scan.
const LOOK_EVERY: Duration = Duration::from_millis(200);

impl Outcomes {
    pub fn new(db: Db) -> Self {
        let waiting: Arc<DashMap<Subject, Arc<Notify>>> = Arc::default();
        let woken = waiting.clone();
        db.on_commit(move |notice| {
            let releases = notice.releases.iter().copied().map(Subject::Release);
            for subject in releases.chain(notice.artifacts.iter().copied().map(Subject::File)) {
                if let Some(waiter) = woken.get(&subject) {
                    waiter.notify_one();
                }
            }
        });
        Self { db, waiting }
    }

    /// Registers interest in something before it is committed, so that no wake-up is missed.
    pub fn expect(&self, subject: Subject) -> Waiter<'_> {
        let notify = Arc::new(Notify::new());
        self.waiting.insert(subject, notify.clone());
        Waiter { outcomes: self, subject, notify }
    }

    /// Publishers waiting right now.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }
}

/// One publisher's place in line; leaving gives it up.
pub struct Waiter<'a> {
    outcomes: &'a Outcomes,
    subject: Subject,
    notify: Arc<Notify>,
}

impl Waiter<'_> {
    /// The outcome, or `Pending` once `patience` is over. `release` is the one waited for, or that of the file.
    pub async fn outcome(self, release: ReleaseId, patience: Duration) -> Result<PublishOutcome, RegistryError> {
        let deadline = Instant::now() + patience;
        loop {
            let step = deadline.min(Instant::now() + LOOK_EVERY);
            // A timeout only means that it is time to look without having been woken.
            let _ = tokio::time::timeout_at(step, self.notify.notified()).await;
            match self.outcomes.look(self.subject, release).await {
                Ok(Some(outcome)) => return Ok(outcome),
                Ok(None) if Instant::now() < deadline => {}
                Ok(None) => return Ok(PublishOutcome::Pending { release }),
                // It is committed: losing the database now only means not knowing its fate yet.
                Err(error) if error.is_unavailable() => return Ok(PublishOutcome::Pending { release }),
                Err(error) => return Err(error),
            }
        }
    }
}

impl Outcomes {
    /// What became of the subject, if that is decided.
    ///
    /// # Errors
    /// `NotFound` when it was deleted meanwhile.
    pub async fn look(&self, subject: Subject, release: ReleaseId) -> Result<Option<PublishOutcome>, RegistryError> {
        let status = match subject {
            Subject::Release(id) => self.db.release_progress(id).await?.ok_or(RegistryError::NotFound)?.status,
            Subject::File(id) => {
                let file = self.db.file_progress(id).await?.ok_or(RegistryError::NotFound)?;
                match file.state {
                    ArtifactState::Scanning => return Ok(None),
                    ArtifactState::Held => {
                        let findings = findings(&self.db.findings_of_file(id).await?);
                        return Ok(Some(PublishOutcome::Blocked { release, findings }));
                    }
                    // Cleared, and the release waits for other files.
                    ArtifactState::Live if file.release_status.is_staged() => {
                        return Ok(Some(PublishOutcome::Pending { release }));
                    }
                    ArtifactState::Live | ArtifactState::Joint => file.release_status,
                }
            }
        };
        match status {
            state if state.is_live() => Ok(Some(PublishOutcome::Live { release })),
            ReleaseState::Scanning => Ok(None),
            ReleaseState::Quarantine => {
                let findings = findings(&self.db.findings_of(release).await?);
                Ok(Some(PublishOutcome::Blocked { release, findings }))
            }
            _ => Err(RegistryError::NotFound),
        }
    }
}

fn findings(rows: &[FindingRow]) -> Vec<Finding> {
    rows.iter().filter(|f| f.resolved_at.is_none()).map(FindingRow::as_finding).collect()
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        self.outcomes.waiting.remove(&self.subject);
    }
}

//! Publishing, as adapters ask for it.

use std::{sync::Arc, time::Duration};

use publaryn_blobs::BlobKey;
use publaryn_core::{
    Decision, Digest, Ecosystem, Operation, PackageName, Principal, RegistryError, ReleaseId, ReleaseState, Version,
    access::{Resource, refuse_before_lookup},
    crash::{self, CrashPoint},
    decide,
    publish::{PublishCommand, PublishOutcome},
};
use publaryn_metadata::{artifacts::FileProgress, until_won};
use publaryn_publish::{Committed, ScanSubject, Scanned, StagedFile, Subject, Verdict, commit, stage_took};

use crate::{
    Registry, StagedArtifact,
    meters::{Direction, count_bytes},
};

/// A release that was accepted, and what became of it while the client waited.
#[derive(Debug)]
pub struct Published {
    pub outcome: PublishOutcome,
    pub is_open: bool,
    /// The very same file was there before; nothing was stored.
    pub is_repeat: bool,
    /// Slug of the repository that this publish created for its user.
    pub new_repository: Option<String>,
}

/// Whether the transaction lost to another one.
pub(crate) const fn is_lost(error: &RegistryError) -> bool {
    matches!(error, RegistryError::Overloaded { .. })
}

/// A publish on its way into the database.
struct Upload {
    who: Principal,
    command: PublishCommand,
    files: Vec<StagedFile>,
    scanned: Option<Vec<Scanned>>,
}

fn subject_of(command: &PublishCommand) -> ScanSubject<'_> {
    let PublishCommand { ecosystem, name, version, metadata, .. } = command;
    ScanSubject { ecosystem: *ecosystem, name, version, metadata }
}

impl Upload {
    async fn commit(self: Arc<Self>, registry: Registry, release: ReleaseId) -> Result<Committed, RegistryError> {
        let (db, settings) = (&registry.0.db, &registry.0.settings.publishing);
        commit(db, settings, &self.who, release, &self.command, &self.files, self.scanned.as_deref()).await
    }
}

impl Registry {
    /// Whether `who` may publish under that name, as far as can be said before the body is read.
    /// The publish itself decides again, against the locked row.
    pub async fn may_publish(
        &self,
        who: &Principal,
        ecosystem: Ecosystem,
        name: &PackageName,
    ) -> Result<(), RegistryError> {
        let head = self.0.heads.get(ecosystem, name.canonical()).await?;
        let decision = match head {
            Some(head) => {
                let relation = self.full_relation(who, &head).await?;
                let decision = decide(who, Operation::Publish, Resource::Package(&head.access(relation)));
                if decision == Decision::Allow && head.is_archived {
                    return Err(RegistryError::conflict("package_archived", "the package is archived"));
                }
                decision
            }
            None => refuse_before_lookup(who, Operation::CreatePackage, true).unwrap_or(Decision::Allow),
        };
        self.allow(who, decision)
    }

    /// Whether `who` could make a package of that name, where there is none: what only the publish would say
    /// otherwise, after the body was read.
    ///
    /// # Errors
    /// Those of [`publaryn_publish::commit`] for a name without a package.
    pub async fn may_create(
        &self,
        who: &Principal,
        ecosystem: Ecosystem,
        name: &PackageName,
    ) -> Result<(), RegistryError> {
        if self.0.heads.get(ecosystem, name.canonical()).await?.is_some() {
            return Ok(());
        }
        let settings = &self.0.settings.publishing;
        publaryn_publish::may_create(&self.0.db, settings, who, ecosystem, name).await
    }

    /// Publishes a release: promotes its bytes, commits it with its scan jobs, and waits for the
    /// verdict up to `publish.wait_seconds`.
    ///
    /// # Errors
    /// Whatever the commit refuses; staged bytes are then given up and nothing is stored.
    pub async fn publish(
        &self,
        who: &Principal,
        command: PublishCommand,
        artifacts: Vec<StagedArtifact>,
    ) -> Result<Published, RegistryError> {
        self.publish_within(who, command, artifacts, self.0.settings.publish_wait).await
    }

    /// [`Self::publish`], for clients that lose patience: waits for the verdict no longer than this.
    pub async fn publish_within(
        &self,
        who: &Principal,
        command: PublishCommand,
        artifacts: Vec<StagedArtifact>,
        patience: Duration,
    ) -> Result<Published, RegistryError> {
        let started = std::time::Instant::now();
        let mut files = Vec::with_capacity(artifacts.len());
        for artifact in &artifacts {
            count_bytes(Direction::In, command.ecosystem, artifact.size_bytes());
            files.push(artifact.promote(self).await?);
        }
        crash::reached(CrashPoint::UploadPromoted);
        stage_took("store", started);
        let release = ReleaseId::new();
        let waiter = self.0.outcomes.expect(Subject::Release(release));
        let patience = patience.min(self.0.settings.publish_wait);
        let scanned = self.scanned_ahead(&subject_of(&command), &files, patience).await;
        let handed_over = std::time::Instant::now();
        let turn = self.0.turns.take(command.ecosystem, command.name.canonical()).await?;
        let renewed = self.0.identity.renewed(who).await;
        let holder = renewed.as_deref().unwrap_or(who).clone();
        let upload = Arc::new(Upload { who: holder, command, files, scanned });
        let committed = match renewed {
            Ok(_) => self.committed(|| upload.clone().commit(self.clone(), release)).await,
            Err(error) => Err(error),
        };
        drop(turn);
        let committed = match committed {
            Ok(committed) => committed,
            Err(error) => {
                publaryn_publish::count_outcome(upload.command.ecosystem, "rejected");
                if error.is_final() {
                    self.forget_bytes(upload.files.iter().map(|file| file.location.clone()));
                }
                return Err(error);
            }
        };
        self.forget_bytes(committed.unused);
        crash::reached(CrashPoint::ReleaseCommitted);
        // A publish decided by its own commit never stood in a queue.
        let stage = if committed.verdict == Verdict::Unchanged { "queue" } else { "finalize" };
        stage_took(stage, handed_over);
        for scanned in upload.scanned.iter().flatten() {
            crash::reached(CrashPoint::ScanCommitted);
            scanned.committed();
        }
        let outcome = match committed.verdict {
            Verdict::Live => PublishOutcome::Live { release },
            _ => waiter.outcome(release, patience).await?,
        };
        crash::reached(CrashPoint::AnswerReady);
        let is_open = committed.visibility.is_open();
        Ok(Published { outcome, is_open, is_repeat: false, new_repository: committed.repository_slug })
    }

    /// The answer to a publish that is repeated before the first was decided, as clients do after an error on the
    /// way: the same file from the same user, while it is scanned. `None` in every other case.
    pub async fn joined(
        &self,
        who: &Principal,
        ecosystem: Ecosystem,
        (name, version): (&PackageName, &Version),
        (filename, sha256): (&str, Digest),
        patience: Duration,
    ) -> Result<Option<Published>, RegistryError> {
        let Some(head) = self.0.heads.get(ecosystem, name.canonical()).await? else { return Ok(None) };
        let known = self.0.db.file_by_name(head.id, version.unique_key(), filename).await?;
        let is_same = |known: &FileProgress| {
            known.sha256 == sha256
                && known.release_status == ReleaseState::Scanning
                && known.published_by == who.acting_user()
        };
        let Some(known) = known.filter(is_same) else { return Ok(None) };
        let patience = patience.min(self.0.settings.publish_wait);
        let outcome = self.outcome_of(Subject::Release(known.release_id), known.release_id, patience).await?;
        Ok(Some(Published { outcome, is_open: head.effective.is_open(), is_repeat: true, new_repository: None }))
    }

    /// What the scanners say of files about to be committed; `None` leaves them to the queue.
    pub(crate) async fn scanned_ahead(
        &self,
        of: &ScanSubject<'_>,
        files: &[StagedFile],
        patience: Duration,
    ) -> Option<Vec<Scanned>> {
        match self.0.scan_ahead.get() {
            // Whoever does not wait for the verdict does not wait for a scan either.
            Some(scanner) if !patience.is_zero() => scanner.scan(of, files).await,
            _ => None,
        }
    }

    /// Runs a publish transaction beside the database's writer. One that lost a deadlock left nothing behind, so
    /// it may simply run again.
    pub(crate) async fn committed<T, F>(&self, run: impl Fn() -> F) -> Result<T, RegistryError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, RegistryError>> + Send + 'static,
    {
        until_won(|| self.0.db.beside_writer(run()), is_lost).await
    }

    /// Deletes bytes that were promoted and that no row will ever name. In the background and as well as
    /// it goes: what is left, the collector finds.
    pub(crate) fn forget_bytes(&self, keys: impl IntoIterator<Item = BlobKey>) {
        let keys: Vec<_> = keys.into_iter().collect();
        if keys.is_empty() {
            return;
        }
        let blobs = self.0.blobs.clone();
        tokio::spawn(async move {
            for key in keys {
                if let Err(error) = blobs.delete(&key).await {
                    tracing::debug!(%error, "unused bytes are left to the collector");
                }
            }
        });
    }
}

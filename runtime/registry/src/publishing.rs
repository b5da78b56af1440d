//! Publishing, as adapters ask for it.

use std::time::Duration;

use publaryn_blobs::BlobKey;
use publaryn_core::{
    Decision, Ecosystem, Operation, PackageName, Principal, RegistryError, ReleaseId,
    access::{Resource, refuse_before_lookup},
    crash::{self, CrashPoint},
    decide,
    publish::{PublishCommand, PublishOutcome},
};

use crate::{
    Registry, StagedArtifact,
    meters::{Direction, count_bytes},
};

/// A release that was accepted, and what became of it while the client waited.
#[derive(Debug)]
pub struct Published {
    pub outcome: PublishOutcome,
    pub is_open: bool,
    /// Slug of the repository that this publish created for its user.
    pub new_repository: Option<String>,
}

/// How often a publish that loses a deadlock is tried before its client is told to come back.
const MAX_ATTEMPTS: u32 = 5;

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
                decide(who, Operation::Publish, Resource::Package(&head.access(relation)))
            }
            None => refuse_before_lookup(who, Operation::CreatePackage, true).unwrap_or(Decision::Allow),
        };
        self.allow(who, decision)
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
        metrics::histogram!("publaryn_publish_stage_seconds", "stage" => "store").record(started.elapsed());
        let release = ReleaseId::new();
        let waiter = self.0.outcomes.expect(release);
        let turn = self.0.turns.take(command.ecosystem, command.name.canonical()).await?;
        // A lost deadlock left nothing behind, so the same transaction may simply run again.
        let mut attempts = 0;
        let committed = loop {
            attempts += 1;
            let settings = &self.0.settings.publishing;
            match publaryn_publish::commit(&self.0.db, settings, who, release, &command, &files).await {
                Err(RegistryError::Overloaded { .. }) if attempts < MAX_ATTEMPTS => {}
                outcome => break outcome,
            }
        };
        drop(turn);
        let committed = match committed {
            Ok(committed) => committed,
            Err(error) => {
                publaryn_publish::count_outcome(command.ecosystem, "rejected");
                if error.is_final() {
                    self.forget_bytes(files.into_iter().map(|file| file.location));
                }
                return Err(error);
            }
        };
        self.forget_bytes(committed.unused);
        crash::reached(CrashPoint::ReleaseCommitted);
        metrics::histogram!("publaryn_publish_stage_seconds", "stage" => "queue").record(started.elapsed());
        let outcome = waiter.outcome(patience.min(self.0.settings.publish_wait)).await?;
        crash::reached(CrashPoint::AnswerReady);
        Ok(Published { outcome, is_open: committed.visibility.is_open(), new_repository: committed.repository_slug })
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

//! Publishing, as adapters ask for it.

use publaryn_core::{
    Decision, Ecosystem, Operation, PackageName, Principal, RegistryError, ReleaseId,
    access::{Resource, refuse_before_lookup},
    decide,
    publish::{PublishCommand, PublishOutcome},
};
use publaryn_publish::Subject;

use crate::{Registry, StagedArtifact};

/// A release that was accepted, and what became of it while the client waited.
#[derive(Debug)]
pub struct Published {
    pub outcome: PublishOutcome,
    pub is_open: bool,
    /// Slug of the repository that this publish created for its user.
    pub new_repository: Option<String>,
}

/// How often a publish that loses a deadlock is tried before its client is told to come back.
pub(crate) const MAX_ATTEMPTS: u32 = 5;

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
        let started = std::time::Instant::now();
        let mut files = Vec::with_capacity(artifacts.len());
        for artifact in &artifacts {
            files.push(artifact.promote(self).await?);
        }
        metrics::histogram!("publaryn_publish_stage_seconds", "stage" => "store").record(started.elapsed());
        let release = ReleaseId::new();
        let waiter = self.0.outcomes.expect(Subject::Release(release));
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
        let committed = committed.inspect_err(|_| {
            metrics::counter!("publaryn_publishes_total", "outcome" => "rejected").increment(1);
        })?;
        metrics::histogram!("publaryn_publish_stage_seconds", "stage" => "queue").record(started.elapsed());
        let outcome = waiter.outcome(release, self.0.settings.publish_wait).await?;
        Ok(Published { outcome, is_open: committed.visibility.is_open(), new_repository: committed.repository_slug })
    }
}

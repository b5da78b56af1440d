//! Adding single files to releases, for ecosystems that upload a release file by file.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use publaryn_blobs::StagePlan;
use publaryn_core::{
    ArtifactId, ArtifactState, CompanionRole, Ecosystem, PackageName, Principal, RegistryError, ReleaseId,
    ReleaseState, Timestamp,
    crash::{self, CrashPoint},
    publish::{AppendCommand, PublishOutcome},
};
use publaryn_metadata::artifacts::FileProgress;
use publaryn_publish::{Appended, ScanSubject, Scanned, StagedCompanion, StagedFile, Subject, Verdict, append};

use crate::{
    Published, Registry, StagedArtifact,
    meters::{Direction, count_bytes},
    read::blob_error,
};

/// Something small to keep beside a file.
#[derive(Debug, Clone)]
pub struct Companion {
    pub role: CompanionRole,
    pub content_type: &'static str,
    pub bytes: Bytes,
}

/// A file on its way into the database.
struct Upload {
    who: Principal,
    command: AppendCommand,
    file: StagedFile,
    beside: Vec<StagedCompanion>,
    scanned: Option<Vec<Scanned>>,
}

impl Upload {
    fn scanned(&self) -> Option<&Scanned> {
        self.scanned.as_ref()?.first()
    }

    async fn commit(self: Arc<Self>, registry: Registry, id: ArtifactId) -> Result<Appended, RegistryError> {
        let (db, settings) = (&registry.0.db, &registry.0.settings.publishing);
        append(db, settings, &self.who, id, &self.command, &self.file, &self.beside, self.scanned()).await
    }
}

/// Whether a file is one that its uploader may meet again: not blocked, not deleted, and in no draft, which the commit
/// refuses to touch.
fn is_there(known: &FileProgress) -> bool {
    known.state != ArtifactState::Held && known.release_status != ReleaseState::Deleted && !known.is_of_draft()
}

fn subject_of(command: &AppendCommand) -> ScanSubject<'_> {
    let AppendCommand { ecosystem, name, version, metadata, .. } = command;
    ScanSubject { ecosystem: *ecosystem, name, version, metadata }
}

impl Registry {
    /// Adds a file to a release that may be live: promotes its bytes, commits it with its scan job, and waits for
    /// the verdict up to `publish.wait_seconds`. Until then it is hidden and the rest of the release is not.
    ///
    /// Repeating an upload with the same bytes changes nothing and tells the verdict of the first one.
    ///
    /// # Errors
    /// Whatever the commit refuses ([`publaryn_publish::append`]); staged bytes are then given up and nothing is
    /// stored.
    pub async fn append(
        &self,
        who: &Principal,
        command: AppendCommand,
        file: StagedArtifact,
        companions: Vec<Companion>,
    ) -> Result<Published, RegistryError> {
        self.may_publish(who, command.ecosystem, &command.name).await?;
        let patience = self.0.settings.publish_wait;
        if let Some(published) = self.repeated(&command, &file).await? {
            return Ok(published);
        }
        let id = ArtifactId::new();
        count_bytes(Direction::In, command.ecosystem, file.size_bytes());
        let file = file.promote(self).await?;
        let mut beside = Vec::with_capacity(companions.len());
        for companion in companions {
            beside.push(self.promote_companion(companion).await?);
        }
        crash::reached(CrashPoint::UploadPromoted);
        let waiter = self.0.outcomes.expect(Subject::File(id));
        let scanned = self.scanned_ahead(&subject_of(&command), std::slice::from_ref(&file), patience).await;
        let turn = self.0.turns.take(command.ecosystem, command.name.canonical()).await;
        let turn = turn.inspect_err(|_| self.forget_upload(&file, &beside))?;
        let renewed = self.0.identity.renewed(who).await;
        let holder = renewed.as_deref().unwrap_or(who).clone();
        let upload = Arc::new(Upload { who: holder, command, file, beside, scanned });
        let committed = match renewed {
            Ok(_) => self.committed(|| upload.clone().commit(self.clone(), id)).await,
            Err(error) => Err(error),
        };
        drop(turn);
        let committed = match committed {
            Ok(committed) => committed,
            Err(error) => {
                publaryn_publish::count_outcome(upload.command.ecosystem, "rejected");
                if error.is_final() {
                    self.forget_upload(&upload.file, &upload.beside);
                }
                return Err(error);
            }
        };
        self.forget_bytes(committed.unused);
        crash::reached(CrashPoint::ReleaseCommitted);
        if let Some(scanned) = upload.scanned().filter(|_| !committed.is_repeat) {
            crash::reached(CrashPoint::ScanCommitted);
            scanned.committed();
        }
        let release = committed.release;
        let outcome = match committed.verdict {
            _ if committed.is_repeat => self.outcome_of(Subject::File(committed.artifact), release, patience).await?,
            Verdict::Live => PublishOutcome::Live { release },
            _ => waiter.outcome(release, patience).await?,
        };
        crash::reached(CrashPoint::AnswerReady);
        let is_open = committed.visibility.is_open();
        let is_repeat = committed.is_repeat;
        Ok(Published { outcome, is_open, is_repeat, new_repository: committed.repository_slug })
    }

    fn forget_upload(&self, file: &StagedFile, beside: &[StagedCompanion]) {
        let beside = beside.iter().map(|companion| &companion.location);
        self.forget_bytes(beside.chain([&file.location]).cloned());
    }

    /// What became of the very same file, if it is part of the release already: such an upload stores nothing.
    async fn repeated(
        &self,
        command: &AppendCommand,
        file: &StagedArtifact,
    ) -> Result<Option<Published>, RegistryError> {
        let Some(head) = self.0.heads.get(command.ecosystem, command.name.canonical()).await? else { return Ok(None) };
        let key = command.version.unique_key();
        let known = self.0.db.file_by_name(head.id, key, &file.request.filename).await?;
        let now = Timestamp::now();
        let is_same = |known: &FileProgress| {
            known.sha256 == file.digests().sha256
                && is_there(known)
                // The commit says what becomes of files for a sealed release.
                && (command.open.is_none() || known.release_open.sealed_since(now).is_none())
        };
        let Some(known) = known.filter(is_same) else { return Ok(None) };
        let patience = self.0.settings.publish_wait;
        let outcome = self.outcome_of(Subject::File(known.id), known.release_id, patience).await?;
        let is_open = head.effective.is_open();
        Ok(Some(Published { outcome, is_open, is_repeat: true, new_repository: None }))
    }

    /// What became of something that another upload brought; waits like that one.
    pub(crate) async fn outcome_of(
        &self,
        subject: Subject,
        release: ReleaseId,
        patience: Duration,
    ) -> Result<PublishOutcome, RegistryError> {
        match self.0.outcomes.look(subject, release).await? {
            Some(outcome) => Ok(outcome),
            None => self.0.outcomes.expect(subject).outcome(release, patience).await,
        }
    }

    /// Whether a release has a file of that name with other content than `sha256`, as far as can be said before
    /// anything is stored: a clash is told before faults of the content. Names that are spent are the commit's to
    /// tell: their files are not there, and clients that skip what exists must not skip these.
    ///
    /// # Errors
    /// `FileExists`.
    pub async fn check_file_name(
        &self,
        ecosystem: Ecosystem,
        name: &PackageName,
        version_key: &str,
        file: &StagedArtifact,
    ) -> Result<(), RegistryError> {
        let Some(head) = self.0.heads.get(ecosystem, name.canonical()).await? else { return Ok(()) };
        let filename = file.request.filename.as_str();
        let known = self.0.db.file_by_name(head.id, version_key, filename).await?;
        match known {
            Some(known) if is_there(&known) && known.sha256 != file.digests().sha256 => {
                Err(RegistryError::FileExists { filename: filename.to_owned(), sha256: known.sha256 })
            }
            _ => Ok(()),
        }
    }

    pub(crate) async fn promote_companion(&self, companion: Companion) -> Result<StagedCompanion, RegistryError> {
        let plan = StagePlan::new(companion.bytes.len() as u64, companion.role.as_str());
        let staged = self.0.blobs.stage_bytes(companion.bytes, plan).await.map_err(blob_error)?;
        let location = self.0.blobs.promote(&staged).await.map_err(blob_error)?;
        Ok(StagedCompanion {
            role: companion.role,
            content_type: companion.content_type.to_owned(),
            sha256: staged.sha256(),
            size_bytes: staged.size_bytes(),
            location,
        })
    }
}

//! Manifests: reading them, and the push that is OCI's publish.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use publaryn_blobs::{BlobKey, StagePlan};
use publaryn_core::{
    ArtifactKind, ContentDigest, Digest, Ecosystem, Principal, RegistryError, ReleaseId, ReleaseState,
    crash::{self, CrashPoint},
    finding::Finding,
    manifest::Manifest,
    publish::{NewArtifact, PublishCommand, PublishOutcome},
};
use publaryn_metadata::{oci::ManifestRow, until_won};
use publaryn_publish::{ManifestCommit, ManifestRefusal, StagedFile, Subject, commit_manifest};
use smol_str::SmolStr;

use super::OciRepository;
use crate::{
    Registry,
    meters::{Direction, count_bytes},
    publishing::is_lost,
    read::blob_error,
};

/// A live manifest that the caller may have.
#[derive(Debug, Clone)]
pub struct ServableManifest {
    release: ReleaseId,
    digest: String,
    media_type: String,
    size_bytes: u64,
    sha256: Digest,
    location: BlobKey,
    deprecation: Option<String>,
    /// Why it was yanked, if it was.
    yank: Option<String>,
    is_open: bool,
}

impl ServableManifest {
    /// The digest it was pushed with.
    pub fn digest(&self) -> &str {
        &self.digest
    }
    pub fn media_type(&self) -> &str {
        &self.media_type
    }
    pub fn size_bytes(&self) -> u64 {
        self.size_bytes
    }
    /// What clients are to be told about it.
    pub fn warning(&self) -> Option<&str> {
        self.yank.as_deref().or(self.deprecation.as_deref())
    }
    pub fn is_open(&self) -> bool {
        self.is_open
    }

    fn of(row: ManifestRow, is_open: bool) -> Result<Self, RegistryError> {
        let yank = row.is_yanked.then(|| row.yank_reason.unwrap_or_else(|| "this manifest was withdrawn".into()));
        Ok(Self {
            release: row.release_id,
            digest: row.version,
            media_type: row.content_type,
            size_bytes: row.size_bytes.unsigned_abs(),
            sha256: row.sha256,
            location: row.location.parse().map_err(RegistryError::internal)?,
            deprecation: row.deprecation_message.filter(|_| row.status == ReleaseState::Deprecated),
            yank,
            is_open,
        })
    }
}

/// A manifest to push.
#[derive(Debug)]
pub struct ManifestPush {
    pub command: PublishCommand,
    pub manifest: Manifest,
    pub media_type: String,
    pub bytes: Bytes,
}

/// An accepted manifest.
#[derive(Debug)]
pub struct Pushed {
    pub outcome: PushOutcome,
    /// Slug of the repository that this push created for its user.
    pub new_repository: Option<String>,
}

#[derive(Debug)]
pub enum PushOutcome {
    Live,
    /// Accepted, not decided yet.
    Held,
    /// Refused by policy.
    Blocked(Vec<Finding>),
}

/// Longest wait for the verdict: containerd-based clients give up on an answer after 30 s (oci.md §1).
const MAX_PATIENCE: Duration = Duration::from_secs(20);
/// How often the bytes of one push are stored again.
const MAX_RESTAGED: u32 = 8;

impl Registry {
    /// The live manifest that a tag or digest leads to.
    pub async fn oci_manifest_tagged(
        &self,
        repository: &OciRepository,
        tag: &str,
    ) -> Result<Option<Arc<ServableManifest>>, RegistryError> {
        self.known_manifest(repository, tag, async |head| self.0.db.tagged_manifest(head, tag).await).await
    }

    pub async fn oci_manifest(
        &self,
        repository: &OciRepository,
        digest: ContentDigest,
    ) -> Result<Option<Arc<ServableManifest>>, RegistryError> {
        let text = digest.to_string();
        self.known_manifest(repository, &text, async |head| self.0.db.manifest(head, digest).await).await
    }

    async fn known_manifest(
        &self,
        repository: &OciRepository,
        reference: &str,
        look: impl AsyncFnOnce(publaryn_core::PackageId) -> publaryn_metadata::DbResult<Option<ManifestRow>>,
    ) -> Result<Option<Arc<ServableManifest>>, RegistryError> {
        let Some(head) = repository.head.as_ref().filter(|_| repository.may_read()) else { return Ok(None) };
        let key = (head.id, head.revision, SmolStr::new(reference));
        if let Some(known) = self.0.oci.manifests.get(&key) {
            return Ok(Some(known));
        }
        let Some(row) = look(head.id).await? else { return Ok(None) };
        let manifest = Arc::new(ServableManifest::of(row, head.effective.is_open())?);
        self.0.oci.manifests.insert(key, manifest.clone());
        Ok(Some(manifest))
    }

    /// The bytes of a manifest, as they were pushed.
    pub async fn oci_manifest_bytes(
        &self,
        repository: &OciRepository,
        manifest: &ServableManifest,
    ) -> Result<Bytes, RegistryError> {
        let body = self.open_content(&manifest.location, manifest.sha256, None).await?;
        let bytes = body.into_bytes(manifest.size_bytes).await.map_err(blob_error)?;
        count_bytes(Direction::Out, Ecosystem::Oci, bytes.len() as u64);
        if let Some(head) = &repository.head {
            self.0.downloads.count(Ecosystem::Oci, head.id, manifest.release);
        }
        Ok(bytes)
    }

    /// Pushes a manifest and waits for its verdict, up to `publish.wait_seconds`.
    ///
    /// # Errors
    /// Whatever the commit refuses; nothing is stored then.
    pub async fn oci_push(&self, who: &Principal, push: ManifestPush) -> Result<Pushed, ManifestRefusal> {
        let name = push.command.name.canonical().to_owned();
        let release = ReleaseId::new();
        let waiter = self.0.outcomes.expect(Subject::Release(release));
        let mut file = self.stage_manifest(&push).await?;
        let turn = self.0.turns.take(Ecosystem::Oci, &name).await?;
        let settings = &self.0.settings.publishing;
        let (command, manifest) = (&push.command, &push.manifest);
        let has_lost =
            |refusal: &ManifestRefusal| matches!(refusal, ManifestRefusal::Registry(error) if is_lost(error));
        let mut restaged = 0;
        let committed = loop {
            let commit = || commit_manifest(&self.0.db, settings, who, release, command, manifest, &file);
            match until_won(commit, has_lost).await {
                // The collector took the bytes from under us, which needs no grace to happen: they are still here.
                Err(ManifestRefusal::Registry(RegistryError::Unavailable { .. })) if restaged < MAX_RESTAGED => {
                    restaged += 1;
                    file = self.stage_manifest(&push).await?;
                }
                outcome => break outcome,
            }
        };
        drop(turn);
        let committed = match committed {
            Ok(committed) => committed,
            Err(refusal) => {
                publaryn_publish::count_outcome(Ecosystem::Oci, "rejected");
                let is_final = !matches!(&refusal, ManifestRefusal::Registry(error) if !error.is_final());
                if is_final {
                    self.forget_bytes([file.location]);
                }
                return Err(refusal);
            }
        };
        crash::reached(CrashPoint::ReleaseCommitted);
        let patience = self.0.settings.publish_wait.min(MAX_PATIENCE);
        let ManifestCommit { release: judged, is_live, repository_slug, unused } = committed;
        self.forget_bytes(unused);
        let outcome = if is_live {
            PublishOutcome::Live { release: judged }
        } else if judged == release {
            waiter.outcome(judged, patience).await?
        } else {
            self.0.outcomes.expect(Subject::Release(judged)).outcome(judged, patience).await?
        };
        Ok(Pushed { outcome: outcome_of(outcome), new_repository: repository_slug })
    }

    async fn stage_manifest(&self, push: &ManifestPush) -> Result<StagedFile, RegistryError> {
        let plan = StagePlan::new(self.0.settings.oci.manifest_limit_bytes, "limits.artifact.oci_manifest");
        let staged = self.0.blobs.stage_bytes(push.bytes.clone(), plan).await.map_err(blob_error)?;
        count_bytes(Direction::In, Ecosystem::Oci, staged.size_bytes());
        let location = self.0.blobs.promote(&staged).await.map_err(blob_error)?;
        let artifact = NewArtifact {
            kind: ArtifactKind::OciManifest,
            filename: push.manifest.digest.to_string(),
            content_type: push.media_type.clone(),
            size_bytes: staged.size_bytes(),
            digests: staged.digests().clone(),
        };
        Ok(StagedFile { artifact, location })
    }
}

fn outcome_of(outcome: PublishOutcome) -> PushOutcome {
    match outcome {
        PublishOutcome::Live { .. } => PushOutcome::Live,
        PublishOutcome::Pending { .. } => PushOutcome::Held,
        PublishOutcome::Blocked { findings, .. } => PushOutcome::Blocked(findings),
    }
}

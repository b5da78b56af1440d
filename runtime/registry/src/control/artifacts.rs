//! Files of releases through the management API.

use std::sync::Arc;

use publaryn_blobs::ByteStream;
use publaryn_core::{
    ArtifactKind, Digest, Ecosystem, Operation, Principal, RegistryError, ReleaseState,
    access::{Denial, Permission},
    audit::{AuditAction, ClientOrigin},
    publish::{PackageFacts, ReleaseDocument},
};
use publaryn_metadata::release_views::ArtifactViewRow;
use publaryn_publish::require_file_room;

use super::PackageAccessed;
use crate::{Companion, Inspector, Registry, ServableArtifact, StageRequest};

/// A file to be stored; the values passed their rules.
#[derive(Debug, Clone)]
pub struct ArtifactUpload {
    pub kind: ArtifactKind,
    pub filename: String,
    pub content_type: String,
    pub limit_bytes: u64,
    /// What the client says it sends.
    pub sha256: Option<Digest>,
    pub is_signed: bool,
    pub signature_key_id: Option<String>,
}

/// What a file says about its release; `None` when it says nothing.
pub type Described = Option<Description>;

/// What clients need to know of a release, read out of one of its files.
#[derive(Debug, Clone)]
pub struct Description {
    pub release: ReleaseDocument,
    /// The adapter's own document of the file, where the release's is not enough.
    pub file: Option<serde_json::Value>,
    pub companions: Vec<Companion>,
    /// Refuse it where the release has a file of its kind already.
    pub is_only_of_its_kind: bool,
}

impl From<ReleaseDocument> for Description {
    fn from(release: ReleaseDocument) -> Self {
        Self { release, file: None, companions: Vec::new(), is_only_of_its_kind: false }
    }
}

/// A stored file.
#[derive(Debug, Clone)]
pub struct Uploaded {
    pub artifact: ArtifactViewRow,
    pub is_new: bool,
}

impl Registry {
    /// Files of a release the caller may see, by name.
    pub async fn artifacts(
        &self,
        who: &Principal,
        package: &PackageAccessed,
        version_key: &str,
    ) -> Result<Vec<ArtifactViewRow>, RegistryError> {
        let (_, files, _) = self.seen_release(who, package, version_key).await?;
        Ok(files)
    }

    /// A file to download: of a live release for readers, of a staged one for those who may see it.
    pub async fn artifact_bytes(
        &self,
        who: &Principal,
        ecosystem: Ecosystem,
        normalized: &str,
        version_key: &str,
        filename: &str,
    ) -> Result<ServableArtifact, RegistryError> {
        let package = self.package_for(who, ecosystem, normalized, Operation::Read).await?;
        let files = self.artifacts(who, &package, version_key).await?;
        let file = files.iter().find(|file| file.filename == filename).ok_or(RegistryError::NotFound)?;
        let location = self.0.db.artifact_location(file.release_id, filename).await?;
        let location = location.ok_or(RegistryError::NotFound)?;
        if !package.permits(who, Operation::Download) {
            // Quarantined, and not the caller's to judge.
            return Err(RegistryError::Denied(Denial::InsufficientPermission(Permission::ManageView)));
        }
        let head = self.0.db.package_head_by_id(package.id()).await?.ok_or(RegistryError::NotFound)?;
        // Looking at staged bytes is no download.
        let counts = location.status.is_live() && file.is_cleared();
        let (location, package) = (Arc::new(location), Arc::new(head));
        Ok(ServableArtifact { location, package, role: None, known_as: None, counts })
    }

    /// Whether a release takes files from the caller, before a body is read.
    ///
    /// # Errors
    /// `state_conflict` once it was published.
    pub async fn may_upload(
        &self,
        who: &Principal,
        ecosystem: Ecosystem,
        normalized: &str,
        version_key: &str,
    ) -> Result<PackageAccessed, RegistryError> {
        let package = self.package_for(who, ecosystem, normalized, Operation::Publish).await?;
        let release = self.release(who, &package, version_key).await?;
        let status = release.details.summary.status;
        if status != ReleaseState::Quarantine {
            return Err(RegistryError::conflict_with(
                "state_conflict",
                format!("the release is {status}"),
                [("state", serde_json::json!(status)), ("allowed", serde_json::json!(["quarantine"]))],
            ));
        }
        Ok(package)
    }

    /// Stores a file of a staged release. The same content under the same name is stored once.
    ///
    /// # Errors
    /// `checksum_mismatch`, `artifact_content_mismatch`, `TooLarge`, `Archive` when `inspect` refuses.
    #[allow(clippy::too_many_arguments, reason = "who, where, what, from where: each is one thing")]
    pub async fn upload_artifact(
        &self,
        who: &Principal,
        ecosystem: Ecosystem,
        normalized: &str,
        version_key: &str,
        upload: ArtifactUpload,
        body: ByteStream,
        inspect: Inspector<Described>,
        origin: &ClientOrigin,
    ) -> Result<Uploaded, RegistryError> {
        let request = StageRequest {
            kind: upload.kind,
            filename: upload.filename.clone(),
            content_type: upload.content_type.clone(),
            limit_bytes: upload.limit_bytes,
            sha1: true,
            md5: true,
        };
        let (staged, mut described) = self.stage(body, request, inspect).await?;
        if staged.size_bytes() == 0 {
            self.discard(staged).await;
            return Err(RegistryError::invalid("validation_failed", "the file is empty"));
        }
        if upload.sha256.is_some_and(|wanted| wanted != staged.digests().sha256) {
            self.discard(staged).await;
            return Err(RegistryError::invalid("checksum_mismatch", "the file is not what `sha256` says"));
        }
        let file = staged.promote(self).await?;
        let mut beside = Vec::new();
        for companion in described.iter_mut().flat_map(|described| described.companions.drain(..)) {
            beside.push(self.promote_companion(companion).await?);
        }
        let who = self.0.identity.renewed(who).await?;
        let mut change = self.change_package(&who, ecosystem, normalized, Operation::Publish, origin).await?;
        change.require_drafts()?;
        change.require_no_quarantine()?;
        change.require_active()?;
        let release = change.draft(version_key).await?;
        let (id, package, now) = (release.summary.id, change.head.id, change.now);
        let known = change.tx.artifact_of(id, &upload.filename).await?;
        let is_alone = described.as_ref().is_some_and(|described| described.is_only_of_its_kind);
        let is_second = is_alone && change.tx.files_of(id).await?.iter().any(|other| other.kind == upload.kind);
        if known.is_some() || is_second {
            drop(change);
            self.forget_bytes(beside.into_iter().map(|companion| companion.location).chain([file.location]));
            let Some(known) = known else {
                let message = format!("a release may have only one {}", upload.kind);
                return Err(RegistryError::invalid("validation_failed", message));
            };
            if known.sha256 == file.artifact.digests.sha256 {
                return Ok(Uploaded { artifact: known, is_new: false });
            }
            return Err(RegistryError::conflict(
                "artifact_content_mismatch",
                "a file of that name with other content is there already",
            ));
        }
        let files = change.tx.count_artifacts(id).await?;
        require_file_room(&self.0.settings.publishing, files + 1)?;
        let digest = file.artifact.digests.sha256;
        let kept = change.tx.upsert_blob(digest, file.location.as_str(), file.artifact.size_bytes, now).await?;
        let artifact = change.tx.insert_artifact(id, &file.artifact, None, now).await?;
        if upload.is_signed {
            change.tx.mark_artifact_signed(artifact, upload.signature_key_id.as_deref()).await?;
        }
        if let Some(Description { release, file, .. }) = described {
            change.tx.describe_artifact(artifact, file.as_ref(), &release).await?;
            change.tx.set_release_document(id, &release).await?;
            change.tx.record_relations(package, &release.metadata).await?;
        }
        let mut unused = Vec::new();
        for companion in &beside {
            let (sha256, location) = (companion.sha256, companion.location.as_str());
            if change.tx.upsert_blob(sha256, location, companion.size_bytes, now).await? != location {
                unused.push(companion.location.clone());
            }
            change.tx.insert_companion(artifact, companion.role, &companion.content_type, sha256).await?;
        }
        let row = change.tx.artifact_of(id, &upload.filename).await?.ok_or(RegistryError::NotFound)?;
        let entry = change
            .audit(AuditAction::ReleaseUpdate)
            .release(id)
            .with("version", release.summary.version.as_str())
            .with("artifact", upload.filename.as_str())
            .with("sha256", digest.to_string());
        change.commit_quietly(entry).await?;
        if kept != file.location.as_str() {
            unused.push(file.location);
        }
        self.forget_bytes(unused);
        Ok(Uploaded { artifact: row, is_new: true })
    }

    /// Takes a file out of a staged release.
    ///
    /// # Errors
    /// `state_conflict` once it was published.
    pub async fn delete_artifact(
        &self,
        who: &Principal,
        ecosystem: Ecosystem,
        normalized: &str,
        version_key: &str,
        filename: &str,
        origin: &ClientOrigin,
    ) -> Result<(), RegistryError> {
        let mut change = self.change_package(who, ecosystem, normalized, Operation::Publish, origin).await?;
        change.require_drafts()?;
        let release = change.draft(version_key).await?;
        let id = release.summary.id;
        let artifact = change.tx.artifact_of(id, filename).await?.ok_or(RegistryError::NotFound)?;
        change.tx.delete_artifact(artifact.id).await?;
        // Another file may say the same.
        let rest = change.tx.files_of(id).await?;
        let said = rest.iter().find_map(|file| file.pending().transpose()).transpose()?;
        let nothing = || ReleaseDocument { metadata: serde_json::json!({}), facts: PackageFacts::default() };
        change.tx.set_release_document(id, &said.unwrap_or_else(nothing)).await?;
        let entry = change
            .audit(AuditAction::ReleaseUpdate)
            .release(id)
            .with("version", release.summary.version.as_str())
            .with("removed_artifact", filename);
        change.commit_quietly(entry).await
    }
}

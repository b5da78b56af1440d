//! Deletes (oci.md §8): tags, manifests, and a repository's hold on a blob.

use publaryn_core::{
    ContentDigest, Ecosystem, Operation, PackageId, PackageName, Principal, RegistryError, ReleaseId, ReleaseState,
    RepositoryKind, Timestamp,
    audit::{AuditAction, AuditEntry},
    job::JobKind,
};
use publaryn_metadata::{Tx, jobs::NewJob, packages::PackageHead};
use publaryn_publish::settle_tags;
use serde_json::json;

use super::OciRepository;
use crate::Registry;

/// The code of a refusal that no permission lifts: the content is in use, or must stay.
pub const STAYS: &str = "content_stays";

fn stays(message: String) -> RegistryError {
    RegistryError::conflict(STAYS, message)
}

/// What has been let go of is looked for at once; its age still decides.
pub(crate) fn cleanup_oci() -> NewJob {
    NewJob::new(JobKind::CleanupOciBlobs, &json!({})).unique("all".to_owned())
}

/// An index, live or about to be, that cannot do without this manifest.
pub(crate) async fn needing_index(
    tx: &mut Tx,
    package: PackageId,
    digest: &str,
) -> Result<Option<String>, RegistryError> {
    let waiting = [ReleaseState::Published, ReleaseState::Deprecated, ReleaseState::Yanked, ReleaseState::Scanning];
    Ok(tx.parents_of(package, digest, &waiting).await?.pop().map(|(_, index)| index))
}

/// Deletes a manifest with its tags and lets go of what it referred to. The caller has locked the package.
pub(crate) async fn take_manifest_out(
    tx: &mut Tx,
    head: &PackageHead,
    release: ReleaseId,
    now: Timestamp,
) -> Result<(), RegistryError> {
    tx.set_release_state(release, ReleaseState::Deleted, now).await?;
    settle_tags(tx, head, release, now).await?;
    tx.forget_manifest(release).await?;
    tx.enqueue(&cleanup_oci()).await?;
    Ok(())
}

impl Registry {
    /// Deletes a tag; the manifest stays.
    ///
    /// # Errors
    /// `NotFound` when there is none; `Conflict` with code [`STAYS`] in a repository of kind `release`.
    pub async fn oci_delete_tag(&self, who: &Principal, name: &PackageName, tag: &str) -> Result<(), RegistryError> {
        let mut change = self.change(who, Ecosystem::Oci, name.canonical(), Operation::ManageTags).await?;
        let facts = change.tx.policy_facts(change.head.id).await?;
        if facts.repository_kind == RepositoryKind::Release {
            return Err(stays("tags of a release repository cannot be deleted".into()));
        }
        let tags = [tag.to_owned()];
        let before = change.tx.tag_targets(change.head.id, &tags).await?.pop().map(|(_, digest)| digest);
        if !change.tx.delete_tag(change.head.id, tag).await? {
            return Err(RegistryError::NotFound);
        }
        change.tx.unstage_tag(change.head.id, tag).await?;
        let entry = change.audit(AuditAction::TagDelete).with("tag", tag).with("before", before);
        change.commit(entry).await
    }

    /// Deletes a manifest with all its tags. It may be pushed again.
    ///
    /// # Errors
    /// `NotFound`; `Conflict` with code [`STAYS`] while an index needs it and in repositories of kind `release`.
    pub async fn oci_delete_manifest(
        &self,
        who: &Principal,
        name: &PackageName,
        digest: ContentDigest,
    ) -> Result<(), RegistryError> {
        let mut change = self.change(who, Ecosystem::Oci, name.canonical(), Operation::Administer).await?;
        let text = digest.to_string();
        let release = change.tx.lock_release_by_version(change.head.id, &text).await?;
        let can_go = |status: ReleaseState| status.is_live() || status == ReleaseState::Quarantine;
        let release = release.filter(|release| can_go(release.status)).ok_or(RegistryError::NotFound)?;
        let facts = change.tx.policy_facts(change.head.id).await?;
        if facts.repository_kind == RepositoryKind::Release && !who.is_platform_admin() {
            return Err(stays("manifests of a release repository cannot be deleted".into()));
        }
        if let Some(index) = needing_index(&mut change.tx, change.head.id, &text).await? {
            return Err(stays(format!("the manifest is part of the index {index}; delete that first")));
        }
        take_manifest_out(&mut change.tx, &change.head, release.id, change.now).await?;
        let entry = change.audit(AuditAction::ReleaseDelete).release(release.id).with("version", text);
        change.commit(entry).await
    }

    /// Takes a blob out of a repository.
    ///
    /// # Errors
    /// `NotFound`; `Conflict` with code [`STAYS`] while a manifest of the repository needs it.
    pub async fn oci_delete_blob(
        &self,
        who: &Principal,
        repository: &OciRepository,
        digest: ContentDigest,
    ) -> Result<(), RegistryError> {
        let name = &repository.name;
        if repository.head.as_ref().is_none_or(|head| head.is_deleted) {
            return self.take_back(who, repository, digest).await;
        }
        let mut change = self.change(who, Ecosystem::Oci, name.canonical(), Operation::Administer).await?;
        let package = change.head.id;
        if change.tx.held_blob(package.0, name.canonical(), digest).await?.is_none() {
            return Err(RegistryError::NotFound);
        }
        if change.tx.needs_blob(package, digest).await? {
            return Err(stays("a manifest of this repository refers to the blob".into()));
        }
        change.tx.unlink_blob(package.0, name.canonical(), digest).await?;
        change.tx.enqueue(&cleanup_oci()).await?;
        let entry = change.audit(AuditAction::PackageUpdate).with("deleted_blob", digest.to_string());
        change.commit(entry).await
    }

    /// Takes back what was uploaded before there is a package, by whom it belongs to.
    async fn take_back(
        &self,
        who: &Principal,
        repository: &OciRepository,
        digest: ContentDigest,
    ) -> Result<(), RegistryError> {
        let holder = repository.holder().filter(|_| repository.may_push()).ok_or(RegistryError::NotFound)?;
        let mut tx = self.0.db.begin().await?;
        if !tx.unlink_blob(holder, repository.name(), digest).await? {
            return Err(RegistryError::NotFound);
        }
        tx.enqueue(&cleanup_oci()).await?;
        let entry = AuditEntry::by(who, AuditAction::PackageUpdate).with("source", Ecosystem::Oci.as_str());
        let entry = entry.with("name", repository.name()).with("deleted_blob", digest.to_string());
        Ok(tx.commit_audited(&entry, Timestamp::now()).await?)
    }
}

//! Mounting: a repository takes a blob that another one has.

use std::sync::Arc;

use publaryn_core::{
    ContentDigest, Decision, Digest, Operation, PackageId, Principal, RegistryError, Timestamp, access::Resource,
    decide,
};
use publaryn_metadata::{oci::MountSource, reach::Reach};
use publaryn_publish::{actor_of, content_job};
use uuid::Uuid;

use super::{BlobUse, OciRepository, blobs::is_live};
use crate::Registry;

/// Repositories looked through for a mount that names none. All of them are looked at, found or not:
/// the time must not tell whether somebody else has the blob.
const MAX_SOURCES: i64 = 100;

impl Registry {
    /// Lets a repository hold a blob that it has already, that `from` shows the caller, or that some
    /// repository shows them. `false` when the client has to upload it.
    pub async fn oci_mount(
        &self,
        who: &Principal,
        target: &OciRepository,
        digest: ContentDigest,
        from: Option<&OciRepository>,
    ) -> Result<bool, RegistryError> {
        let Some(holder) = target.holder() else { return Ok(false) };
        if let Some((holder, held)) = self.held_in(target, digest).await? {
            return Ok(held.is_kept && self.touch_link(holder, target.name(), digest, &held).await?);
        }
        let found = match from {
            Some(source) => self.oci_blob(source, digest, BlobUse::Head).await?.map(|blob| blob.sha256()),
            None => self.find_blob(who, digest).await?,
        };
        match found {
            Some(sha256) => self.link(target, holder, digest, sha256).await,
            None => Ok(false),
        }
    }

    /// The blob in any repository that shows it to the caller.
    async fn find_blob(&self, who: &Principal, digest: ContentDigest) -> Result<Option<Digest>, RegistryError> {
        let mut found = None;
        for source in self.0.db.holders_of_blob(&Reach::of(who), actor_of(who), digest, MAX_SOURCES).await? {
            let shown = self.shown_by(who, &source, digest).await?;
            found = found.or(shown);
        }
        Ok(found)
    }

    async fn shown_by(
        &self,
        who: &Principal,
        source: &MountSource,
        digest: ContentDigest,
    ) -> Result<Option<Digest>, RegistryError> {
        let held = self.0.db.held_blob(source.holder_id, &source.name, digest).await?;
        let head = self.0.db.package_head_by_id(PackageId(source.holder_id)).await?;
        let Some(held) = held.filter(|held| held.is_kept) else { return Ok(None) };
        let is_shown = match head.map(Arc::new) {
            // No package: somebody's uploads, shown to nobody else.
            None => actor_of(who) == Some(source.holder_id),
            Some(head) if head.is_deleted => false,
            Some(head) => {
                let access = head.access(self.full_relation(who, &head).await?);
                let may = |operation| decide(who, operation, Resource::Package(&access)) == Decision::Allow;
                may(Operation::NativeRead) && (is_live(&held)? || may(Operation::Publish))
            }
        };
        Ok(is_shown.then_some(held.sha256))
    }

    async fn link(
        &self,
        target: &OciRepository,
        holder: Uuid,
        digest: ContentDigest,
        sha256: Digest,
    ) -> Result<bool, RegistryError> {
        let now = Timestamp::now();
        let mut tx = self.0.db.begin().await?;
        if tx.touch_blob(sha256, now).await?.is_none() {
            // Collected since we looked.
            return Ok(false);
        }
        tx.link_blob(holder, target.name(), digest, sha256, now).await?;
        if !tx.is_content_scanned(sha256).await? {
            tx.enqueue(&content_job(sha256, holder)).await?;
        }
        tx.commit().await?;
        Ok(true)
    }
}

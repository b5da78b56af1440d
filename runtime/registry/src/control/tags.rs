//! Tags as the management API sets them.

use publaryn_core::{
    Ecosystem, Operation, Principal, RegistryError, RepositoryKind, Timestamp,
    audit::{AuditAction, ClientOrigin},
    manifest::is_rewritten_by_design,
};
use publaryn_metadata::organizations::Slice;

use super::{PackageAccessed, PackageChange};
use crate::Registry;

impl PackageChange<'_> {
    /// In a repository of kind `release` the tags of images are written once.
    ///
    /// # Errors
    /// `tag_protected` when the tag is, or is about to be, on something else than `wanted`.
    async fn require_movable(&mut self, tag: &str, wanted: Option<&str>) -> Result<(), RegistryError> {
        if self.head.ecosystem != Ecosystem::Oci || is_rewritten_by_design(tag) {
            return Ok(());
        }
        if self.tx.policy_facts(self.head.id).await?.repository_kind != RepositoryKind::Release {
            return Ok(());
        }
        let tags = [tag.to_owned()];
        let mut targets = self.tx.tag_targets(self.head.id, &tags).await?;
        targets.extend(self.tx.awaited_tag_targets(self.head.id, &tags).await?);
        if targets.iter().any(|(_, target)| Some(target.as_str()) != wanted) {
            return Err(RegistryError::conflict("tag_protected", "the tags of a release repository stay as they are"));
        }
        Ok(())
    }
}

impl Registry {
    /// Tags of live releases with version and time, by name, and how many there are.
    pub async fn tags_of(
        &self,
        package: &PackageAccessed,
        slice: Slice,
    ) -> Result<(Vec<(String, String, Timestamp)>, i64), RegistryError> {
        Ok(self.0.db.tags_of(package.id(), slice).await?)
    }

    /// Points a tag at a live release.
    ///
    /// # Errors
    /// `NotFound` without such a release, `release_not_published` for a staged one, `tag_protected` for one that is
    /// written once.
    pub async fn put_tag(
        &self,
        who: &Principal,
        ecosystem: Ecosystem,
        normalized: &str,
        tag: &str,
        version_key: &str,
        origin: &ClientOrigin,
    ) -> Result<String, RegistryError> {
        let mut change = self.change_package(who, ecosystem, normalized, Operation::ManageTags, origin).await?;
        let release = change.release(version_key).await?;
        change.require_no_quarantine()?;
        if !release.summary.status.is_live() {
            return Err(RegistryError::conflict("release_not_published", "the release is not published"));
        }
        change.require_movable(tag, Some(&release.summary.version)).await?;
        let sequence = change.tx.next_sequence(change.head.id).await?;
        change.tx.set_tag(change.head.id, tag, release.summary.id, sequence, change.now).await?;
        let version = release.summary.version;
        let entry = change
            .audit(AuditAction::TagUpdate)
            .release(release.summary.id)
            .with("tag", tag)
            .with("version", version.as_str());
        change.commit(entry).await?;
        Ok(version)
    }

    /// # Errors
    /// `NotFound` when there is no such tag, `tag_protected` for npm's `latest` and for one that is written once.
    pub async fn remove_tag(
        &self,
        who: &Principal,
        ecosystem: Ecosystem,
        normalized: &str,
        tag: &str,
        origin: &ClientOrigin,
    ) -> Result<(), RegistryError> {
        let mut change = self.change_package(who, ecosystem, normalized, Operation::ManageTags, origin).await?;
        if !change.tx.tag_exists(change.head.id, tag).await? {
            return Err(RegistryError::NotFound);
        }
        change.require_no_quarantine()?;
        if ecosystem == Ecosystem::Npm && tag == "latest" {
            return Err(RegistryError::conflict("tag_protected", "npm packages always have a `latest`"));
        }
        change.require_movable(tag, None).await?;
        change.tx.delete_tag(change.head.id, tag).await?;
        // Earlier pushes that still wait for their scans must not bring it back.
        change.tx.unstage_tag(change.head.id, tag).await?;
        let entry = change.audit(AuditAction::TagDelete).with("tag", tag);
        change.commit(entry).await
    }
}

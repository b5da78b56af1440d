//! Tags as the management API sets them.

use publaryn_core::{
    Ecosystem, Operation, Principal, RegistryError, Timestamp,
    audit::{AuditAction, ClientOrigin},
};
use publaryn_metadata::organizations::Slice;

use super::PackageAccessed;
use crate::Registry;

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
    /// `NotFound` without such a release, `release_not_published` for a staged one.
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
    /// `NotFound` when there is no such tag, `tag_protected` for npm's `latest`.
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
        change.tx.delete_tag(change.head.id, tag).await?;
        let entry = change.audit(AuditAction::TagDelete).with("tag", tag);
        change.commit(entry).await
    }
}

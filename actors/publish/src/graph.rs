//! Releases that depend on content and on each other: OCI manifests (docs/adr/0020-oci-storage.md).

use publaryn_core::{
    Ecosystem, RegistryError, ReleaseState, RepositoryKind, Timestamp,
    audit::{AuditAction, AuditEntry},
    finding::{Category, Severity},
    manifest::is_rewritten_by_design,
};
use publaryn_metadata::{Tx, packages::PackageHead, releases::ReleaseProgress};
use publaryn_scan::finding;

use crate::reconcile::FinalizeRelease;

/// A manifest of this one is held back.
pub(crate) const BLOCKED_CHILD: &str = "OCI-CHILD";

/// Takes over what was found in the release's content; `false` while a scan of it or the verdict on
/// a child is still to come. Whoever ends that wait finalizes the release again.
pub(crate) async fn settle_content(
    tx: &mut Tx,
    release: &ReleaseProgress,
    now: Timestamp,
) -> Result<bool, RegistryError> {
    if !tx.unscanned_content(release.id).await?.is_empty() {
        return Ok(false);
    }
    let children = tx.children_of(release.id).await?;
    if children.iter().any(|child| child.status == ReleaseState::Scanning) {
        return Ok(false);
    }
    for (content, findings) in tx.content_findings(release.id).await? {
        for found in &findings {
            tx.upsert_content_finding(release.id, content, found, now).await?;
        }
    }
    // Judged anew each time: what is said of a child follows from the child.
    tx.delete_findings_of_rule(release.id, BLOCKED_CHILD).await?;
    for child in children.iter().filter(|child| !child.status.is_live()) {
        let title = format!("its manifest {} is held back", child.digest);
        let mut blocked = finding(BLOCKED_CHILD, Category::ScannerFailure, Severity::High, title);
        blocked.location = child.digest.clone();
        tx.upsert_finding(release.id, None, &blocked, now).await?;
    }
    Ok(true)
}

/// Has the manifests judged that were waiting for this one, or held back because of it.
pub(crate) async fn wake_parents(tx: &mut Tx, release: &ReleaseProgress, now: Timestamp) -> Result<(), RegistryError> {
    let waiting = [ReleaseState::Scanning, ReleaseState::Quarantine];
    for (parent, _) in tx.parents_of(release.package_id, &release.version, &waiting).await? {
        let Some(held) = tx.lock_release(parent).await? else { continue };
        if held.status == ReleaseState::Quarantine {
            if !tx.has_finding(parent, BLOCKED_CHILD).await? {
                continue;
            }
            tx.set_release_state(parent, ReleaseState::Scanning, now).await?;
        }
        tx.enqueue(&FinalizeRelease::job(parent)).await?;
    }
    Ok(())
}

/// Points the tags that waited for this release to it, unless a later request was faster. Whether
/// one of them is a name for people, so that the release may speak for its package.
pub(crate) async fn set_staged_tags(
    tx: &mut Tx,
    head: &PackageHead,
    release: &ReleaseProgress,
    now: Timestamp,
) -> Result<bool, RegistryError> {
    debug_assert_eq!(head.ecosystem, Ecosystem::Oci);
    let kind = tx.policy_facts(head.id).await?.repository_kind;
    let mut is_named = false;
    for (tag, sequence) in tx.take_staged_tags(release.id).await? {
        is_named |= !is_rewritten_by_design(&tag);
        let is_written_once = kind == RepositoryKind::Release && !is_rewritten_by_design(&tag);
        let before = tx.tag_targets(head.id, std::slice::from_ref(&tag)).await?.pop().map(|(_, digest)| digest);
        if tx.tag_was_set(head.id, &tag, release.id, sequence, is_written_once, now).await? {
            let entry =
                AuditEntry::system(AuditAction::TagUpdate).package(head.id).org(head.owner.org()).release(release.id);
            let entry = entry.with("tag", tag).with("version", release.version.as_str()).with("before", before);
            tx.append_audit(&entry, now).await?;
        }
    }
    Ok(is_named)
}

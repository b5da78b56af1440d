//! The end of a scan: live or held, decided from stored findings inside one transaction.

use publaryn_core::{
    ArtifactState, Ecosystem, PackageId, RegistryError, ReleaseId, ReleaseState, RepositoryKind, Timestamp, Visibility,
    audit::{AuditAction, AuditEntry},
};
use publaryn_metadata::{Tx, packages::PackageHead, releases::ReleaseProgress};
use publaryn_scan::policy::{PolicyLevel, blocks};

use crate::{graph, index_job};

/// What became of a release.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Live,
    Blocked,
    /// Not in `scanning` (any more), or scans are still running.
    Unchanged,
}

/// Decides a release whose scans have all ended. Any number of callers may race: the row lock and
/// the state make exactly one of them act.
pub async fn finalize(tx: &mut Tx, release: &ReleaseProgress, now: Timestamp) -> Result<Verdict, RegistryError> {
    let head = tx.lock_package_by_id(release.package_id).await?;
    let head = head.ok_or_else(|| RegistryError::internal("a release without its package"))?;
    finalize_in(tx, &head, release, now).await
}

/// [`finalize`] for who has locked the package already.
pub(crate) async fn finalize_in(
    tx: &mut Tx,
    head: &PackageHead,
    release: &ReleaseProgress,
    now: Timestamp,
) -> Result<Verdict, RegistryError> {
    let is_due = release.status == ReleaseState::Scanning && release.scans_done >= release.scans_total;
    // Releases made of files go live with them (`settle_file`).
    if !is_due || release.is_made_of_files() {
        return Ok(Verdict::Unchanged);
    }
    if head.ecosystem == Ecosystem::Oci && !graph::settle_content(tx, release, now).await? {
        return Ok(Verdict::Unchanged);
    }
    let blocking = blocking_findings(tx, release).await?;
    if blocking.is_empty() {
        go_live(tx, head, release, now).await?;
        if head.ecosystem == Ecosystem::Oci {
            graph::wake_parents(tx, release, now).await?;
        }
        return Ok(Verdict::Live);
    }
    tx.set_release_state(release.id, ReleaseState::Quarantine, now).await?;
    let blocked_by = serde_json::Value::from(blocking).to_string();
    tx.set_blocked_by(release.id, &blocked_by).await?;
    tx.append_audit(&by_system(AuditAction::ReleaseScanBlock, head, release), now).await?;
    count_outcome(head.ecosystem, "blocked");
    if head.ecosystem == Ecosystem::Oci {
        graph::wake_parents(tx, release, now).await?;
    }
    Ok(Verdict::Blocked)
}

/// What this server did to a release, for the log of the package's owner.
pub(crate) fn by_system(action: AuditAction, head: &PackageHead, release: &ReleaseProgress) -> AuditEntry {
    let entry = AuditEntry::system(action).package(head.id).org(head.owner.org()).release(release.id);
    entry.with("version", release.version.as_str())
}

/// The open findings that keep a release from going live. What was found in a file with a quarantine of its own is
/// that file's matter.
async fn blocking_findings(tx: &mut Tx, release: &ReleaseProgress) -> Result<Vec<String>, RegistryError> {
    let findings = tx.unresolved_findings(release.id).await?;
    if findings.is_empty() {
        return Ok(Vec::new());
    }
    let level = policy_level(tx, release.package_id).await?;
    let files = tx.files_of(release.id).await?;
    let is_joint = |id| files.iter().any(|file| file.id == id && file.state == ArtifactState::Joint);
    let blocking = findings.iter().filter(|f| f.artifact_id.is_none_or(is_joint) && blocks(&f.as_finding(), level));
    Ok(blocking.map(|f| f.id.to_string()).collect())
}

/// The column of the policy table that a package falls under now.
pub(crate) async fn policy_level(tx: &mut Tx, package: PackageId) -> Result<PolicyLevel, RegistryError> {
    let facts = tx.policy_facts(package).await?;
    Ok(level(facts.repository_kind, facts.visibility.max(facts.repository_visibility)))
}

fn level(kind: RepositoryKind, effective: Visibility) -> PolicyLevel {
    match kind {
        RepositoryKind::Staging => PolicyLevel::Staging,
        RepositoryKind::Private => PolicyLevel::Private,
        _ if !effective.is_open() => PolicyLevel::Private,
        RepositoryKind::Release => PolicyLevel::Release,
        RepositoryKind::Public => PolicyLevel::Public,
    }
}

/// Exposes a release: its state, tags, what it says of the package, caches and search.
pub(crate) async fn go_live(
    tx: &mut Tx,
    head: &PackageHead,
    release: &ReleaseProgress,
    now: Timestamp,
) -> Result<(), RegistryError> {
    let next = match (release.is_yanked, &release.deprecation_message) {
        (true, _) => ReleaseState::Yanked,
        (false, Some(_)) => ReleaseState::Deprecated,
        (false, None) => ReleaseState::Published,
    };
    tx.set_release_state(release.id, next, now).await?;
    let tags = release.tags()?;
    for tag in &tags {
        tx.set_tag(head.id, tag, release.id, release.sequence, now).await?;
    }
    if let Some(default) = default_tag(head.ecosystem).filter(|default| !tags.iter().any(|tag| tag == default)) {
        tx.set_tag_if_absent(head.id, default, release.id, release.sequence, now).await?;
    }
    let speaks_for_package = match head.ecosystem {
        Ecosystem::Oci => graph::set_staged_tags(tx, head, release, now).await?,
        _ => true,
    };
    if speaks_for_package {
        tx.set_package_facts(head.id, release.sequence, &release.facts()?).await?;
    }
    tx.bump_revision(head, now).await?;
    tx.enqueue(&index_job(head.id, head.owner)).await?;
    tx.append_audit(&by_system(AuditAction::ReleaseScanPass, head, release), now).await?;
    count_outcome(head.ecosystem, "live");
    Ok(())
}

/// Measures one stage of a publish.
pub fn stage_took(stage: &'static str, since: std::time::Instant) {
    metrics::histogram!("publaryn_publish_stage_seconds", "stage" => stage).record(since.elapsed());
}

/// Counts how a publish ended.
pub fn count_outcome(ecosystem: Ecosystem, outcome: &'static str) {
    metrics::counter!("publaryn_publishes_total", "ecosystem" => ecosystem.as_str(), "outcome" => outcome).increment(1);
}

/// The tag that always points somewhere while anything is live.
fn default_tag(ecosystem: Ecosystem) -> Option<&'static str> {
    (ecosystem == Ecosystem::Npm).then_some("latest")
}

/// After a yank: as [`settle_tags`], except in OCI, where nobody is led to a yanked manifest by its tags and they are
/// there again when the yank is taken back.
pub async fn settle_yanked_tags(
    tx: &mut Tx,
    head: &PackageHead,
    yanked: ReleaseId,
    now: Timestamp,
) -> Result<(), RegistryError> {
    if head.ecosystem == Ecosystem::Oci { Ok(()) } else { settle_tags(tx, head, yanked, now).await }
}

/// After a release went away (unpublished, blocked): drops its tags and lets the default
/// tag fall back to the highest remaining stable version, else the highest pre-release.
pub async fn settle_tags(
    tx: &mut Tx,
    head: &PackageHead,
    gone: ReleaseId,
    now: Timestamp,
) -> Result<(), RegistryError> {
    tx.delete_tags_of(gone).await?;
    let Some(default) = default_tag(head.ecosystem) else { return Ok(()) };
    if let Some(next) = tx.highest_release(head.id).await? {
        let sequence = tx.next_sequence(head.id).await?;
        tx.set_tag_if_absent(head.id, default, next, sequence, now).await?;
    }
    Ok(())
}

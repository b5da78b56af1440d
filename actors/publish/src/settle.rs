//! The end of a file's own quarantine: served or held, decided from stored findings inside one transaction.

use publaryn_core::{
    ArtifactId, ArtifactState, Ecosystem, RegistryError, ReleaseId, ReleaseState, Timestamp, audit::AuditAction,
};
use publaryn_metadata::{Tx, artifacts::FileProgress, packages::PackageHead, releases::ReleaseProgress};
use publaryn_scan::policy::blocks;

use crate::{
    finalize::{Verdict, by_system, go_live, policy_level},
    index_job,
    scan_job::{ScanArtifact, scan_failed},
};

/// Decides a file whose scan has ended. The caller has locked the package, so of any number of callers one acts.
///
/// A cleared file is served with its release. If the release consists of such files and is not live yet, it goes
/// live once every file it requires (else any one) is cleared. A blocked file changes nothing for the others, except
/// in Maven, where the files of a version are one thing.
pub async fn settle_file(
    tx: &mut Tx,
    head: &PackageHead,
    id: ArtifactId,
    now: Timestamp,
) -> Result<Verdict, RegistryError> {
    let Some((release, files)) = standing(tx, id).await? else { return Ok(Verdict::Unchanged) };
    let Some(file) = files.iter().find(|f| f.id == id && f.state == ArtifactState::Scanning) else {
        return Ok(Verdict::Unchanged);
    };
    let level = policy_level(tx, release.package_id).await?;
    let findings = tx.unresolved_findings(release.id).await?;
    let own = findings.iter().filter(|f| f.artifact_id == Some(id));
    let blocking: Vec<String> = own.filter(|f| blocks(&f.as_finding(), level)).map(|f| f.id.to_string()).collect();
    if blocking.is_empty() {
        clear(tx, head, &release, file, &files, now).await?;
        return Ok(Verdict::Live);
    }
    hold(tx, head, &release, file, &files, &blocking, now).await?;
    Ok(Verdict::Blocked)
}

/// Judges the files of a release that were held once more, by the findings that are open now. Bytes that were
/// scanned are not scanned again; those whose scan could not be made are. The caller has locked the package.
///
/// Returns the files whose scan is to come.
pub async fn reconsider_files(
    tx: &mut Tx,
    head: &PackageHead,
    release: ReleaseId,
    now: Timestamp,
) -> Result<Vec<ArtifactId>, RegistryError> {
    let Some(release) = tx.lock_release(release).await? else { return Ok(Vec::new()) };
    let files = tx.files_of(release.id).await?;
    let held: Vec<&FileProgress> = files.iter().filter(|file| file.state == ArtifactState::Held).collect();
    let has_joint_files = files.iter().any(|file| file.state == ArtifactState::Joint);
    if !held.is_empty() && release.status == ReleaseState::Quarantine && !has_joint_files {
        tx.set_release_state(release.id, ReleaseState::Scanning, now).await?;
    }
    // All of them first: the release is given up when its last file is held.
    for file in &held {
        tx.set_artifact_state(file.id, ArtifactState::Scanning).await?;
    }
    let mut to_scan = Vec::new();
    for file in held {
        if file.is_scanned {
            settle_file(tx, head, file.id, now).await?;
        } else {
            tx.enqueue(&ScanArtifact::job(file.id, head.owner)).await?;
            to_scan.push(file.id);
        }
    }
    Ok(to_scan)
}

/// The release of a file with all its files.
async fn standing(tx: &mut Tx, id: ArtifactId) -> Result<Option<(ReleaseProgress, Vec<FileProgress>)>, RegistryError> {
    let Some(release) = tx.release_of_artifact(id).await? else { return Ok(None) };
    let Some(release) = tx.lock_release(release).await? else { return Ok(None) };
    let files = tx.files_of(release.id).await?;
    Ok(Some((release, files)))
}

async fn clear(
    tx: &mut Tx,
    head: &PackageHead,
    release: &ReleaseProgress,
    file: &FileProgress,
    files: &[FileProgress],
    now: Timestamp,
) -> Result<(), RegistryError> {
    tx.set_artifact_state(file.id, ArtifactState::Live).await?;
    metrics::counter!("publaryn_files_total", "outcome" => "live").increment(1);
    if let Some(document) = file.pending()?.filter(|_| !release.status.is_live() || release.is_blank) {
        tx.set_release_document(release.id, &document).await?;
        if release.status.is_live() {
            tx.set_package_facts(head.id, release.sequence, &document.facts).await?;
        }
    }
    let entry = by_system(AuditAction::ReleaseScanPass, head, release).with("filename", file.filename.as_str());
    if release.status.is_live() {
        tx.bump_revision(head, now).await?;
        tx.enqueue(&index_job(head.id, head.owner)).await?;
        return Ok(tx.append_audit(&entry, now).await?);
    }
    tx.append_audit(&entry, now).await?;
    let is_cleared =
        |name: &str| files.iter().any(|f| f.filename == name && (f.id == file.id || f.state == ArtifactState::Live));
    // Files that are judged with the release must not come along unscanned.
    let exposes = release.is_made_of_files()
        && files.iter().all(|f| f.state != ArtifactState::Joint)
        && release.status == ReleaseState::Scanning
        && release.required_files()?.iter().all(|name| is_cleared(name));
    if exposes {
        // What it says of itself may have changed just now.
        let current = tx.lock_release(release.id).await?;
        go_live(tx, head, &current.ok_or_else(|| RegistryError::internal("a locked release is gone"))?, now).await?;
    }
    Ok(())
}

async fn hold(
    tx: &mut Tx,
    head: &PackageHead,
    release: &ReleaseProgress,
    file: &FileProgress,
    files: &[FileProgress],
    blocking: &[String],
    now: Timestamp,
) -> Result<(), RegistryError> {
    tx.set_artifact_state(file.id, ArtifactState::Held).await?;
    metrics::counter!("publaryn_files_total", "outcome" => "blocked").increment(1);
    let entry = by_system(AuditAction::ReleaseScanBlock, head, release).with("filename", file.filename.as_str());
    tx.append_audit(&entry, now).await?;
    if !release.is_made_of_files() {
        return Ok(());
    }
    let is_hopeless = files.iter().all(|f| f.id == file.id || f.state == ArtifactState::Held);
    let falls = match release.status {
        ReleaseState::Scanning => is_hopeless || stands_and_falls(head),
        status => status.is_live() && stands_and_falls(head),
    };
    if !falls {
        return Ok(());
    }
    if let Some(document) = file.pending()?.filter(|_| release.is_blank) {
        // For who judges the findings, and for what the release says if they let it pass.
        tx.set_release_document(release.id, &document).await?;
    }
    tx.set_release_state(release.id, ReleaseState::Quarantine, now).await?;
    let blocked_by = serde_json::Value::from(blocking.to_vec()).to_string();
    tx.set_blocked_by(release.id, &blocked_by).await?;
    if release.status.is_live() {
        tx.bump_revision(head, now).await?;
        tx.enqueue(&index_job(head.id, head.owner)).await?;
    }
    Ok(())
}

/// Whether one blocked file takes its whole release down. In Maven the files of a version are fetched by their names,
/// each for itself, so half a version would be served.
fn stands_and_falls(head: &PackageHead) -> bool {
    head.ecosystem == Ecosystem::Maven
}

/// Holds a file whose scan could not be made, for good (fail closed). The caller holds the package's lock.
pub(crate) async fn hold_unscanned(
    tx: &mut Tx,
    head: &PackageHead,
    id: ArtifactId,
    reason: &str,
    now: Timestamp,
) -> Result<(), RegistryError> {
    let Some((release, files)) = standing(tx, id).await? else { return Ok(()) };
    let Some(file) = files.iter().find(|f| f.id == id && f.state == ArtifactState::Scanning) else { return Ok(()) };
    tx.upsert_finding(release.id, Some((id, file.sha256)), &scan_failed(reason), now).await?;
    let findings = tx.unresolved_findings(release.id).await?;
    let own = findings.iter().filter(|finding| finding.artifact_id == Some(id));
    let blocking: Vec<String> = own.map(|finding| finding.id.to_string()).collect();
    hold(tx, head, &release, file, &files, &blocking, now).await
}

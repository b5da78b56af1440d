//! The transaction of a publish: package, release, artifacts, audit and scan jobs, or nothing.

use std::collections::HashSet;

use publaryn_blobs::BlobKey;
use publaryn_core::{
    ArtifactState, Ecosystem, PackageId, Principal, RegistryError, ReleaseId, ReleaseState, Timestamp, Version,
    Visibility,
    audit::{AuditAction, AuditEntry},
    crash::{self, CrashPoint},
    publish::{NewArtifact, PublishCommand},
};
use publaryn_metadata::{Db, Tx, releases::NewRelease};

use crate::{
    ahead::Scanned,
    finalize::Verdict,
    landing::note_similar_name,
    place::{Place, TokenUse, Wanted, use_token},
    room::{require_file_room, require_release_room},
    scan_job::{Scan, ScanArtifact, note_first_scan},
};

/// What the operator decided about publishing.
#[derive(Debug, Clone)]
pub struct PublishSettings {
    /// Visibility of a repository made on the spot for a first publish.
    pub personal_repository_visibility: Visibility,
    /// Names no unscoped package may have, folded by [`fold_name`].
    pub reserved_names: HashSet<String>,
    /// Live and staged releases a package may have.
    pub releases_per_package: i64,
    /// Files a release may have.
    pub artifacts_per_release: usize,
    /// What happens to new open packages whose names look like existing ones.
    pub name_similarity: NameSimilarity,
    /// Ecosystems in which names must lie in a claimed namespace.
    pub require_claim: HashSet<Ecosystem>,
}

/// `policy.name_similarity`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NameSimilarity {
    Enforce,
    /// A finding on the first release.
    Warn,
    Off,
}

/// A file whose bytes are durable in the blob store but which no release refers to yet.
#[derive(Debug, Clone)]
pub struct StagedFile {
    pub artifact: NewArtifact,
    pub location: BlobKey,
}

/// A release that is now scanning.
#[derive(Debug, Clone)]
pub struct Committed {
    pub release: ReleaseId,
    pub package: PackageId,
    /// `Unchanged` while its scans are still to come.
    pub verdict: Verdict,
    /// This publish created the package.
    pub is_first: bool,
    pub visibility: Visibility,
    pub repository_slug: Option<String>,
    /// Keys of uploads whose content was in the store already: nothing will ever refer to them.
    pub unused: Vec<BlobKey>,
}

/// Case and separators do not make a reserved name another one.
pub fn fold_name(name: &str) -> String {
    name.chars().filter(|c| !matches!(c, '-' | '_' | '.')).flat_map(char::to_lowercase).collect()
}

/// Refuses a version whose number another release of the package has in another spelling, whatever has become of that
/// one: `1.0` and `1.0.0` for another platform are equal to resolvers, so which of them is meant would be left to chance.
///
/// # Errors
/// `VersionExists` with the other version.
pub async fn refuse_respelled_number(tx: &mut Tx, package: PackageId, version: &Version) -> Result<(), RegistryError> {
    let Some(number) = version.shared_number() else { return Ok(()) };
    match tx.number_spelled_otherwise(package, number).await? {
        Some(other) => Err(RegistryError::VersionExists(other)),
        None => Ok(()),
    }
}

/// Commits a release: in `scanning` with its scan jobs, or decided, when its files were `scanned` ahead.
///
/// # Errors
/// `Denied`/`NotFound` by `decide` against the locked row, `VersionExists`, `NameTaken`,
/// `Conflict` for archived or quarantined packages. Nothing is stored on any error.
pub async fn commit(
    db: &Db,
    settings: &PublishSettings,
    who: &Principal,
    id: ReleaseId,
    command: &PublishCommand,
    files: &[StagedFile],
    scanned: Option<&[Scanned]>,
) -> Result<Committed, RegistryError> {
    require_file_room(settings, files.len())?;
    let now = Timestamp::now();
    let wanted = Wanted {
        ecosystem: command.ecosystem,
        name: &command.name,
        access_hint: command.access_hint,
        repository: None,
    };
    let mut tx = db.begin().await?;
    let place = Place::find(&mut tx, settings, who, &wanted, now).await?;
    crash::reached(CrashPoint::PackageLocked);
    let package = place.head.id;
    refuse_respelled_number(&mut tx, package, &command.version).await?;
    let sequence = tx.next_sequence(package).await?;
    let metadata = command.metadata.to_string();
    let release = NewRelease {
        id,
        package,
        version: &command.version,
        status: ReleaseState::Scanning,
        metadata: &metadata,
        facts: &command.facts,
        tags: &command.tags,
        sequence,
        scans_total: files.len() as i64,
        published_by: who.acting_user(),
    };
    if !tx.insert_release(&release, now).await? {
        return Err(RegistryError::VersionExists(command.version.to_string()));
    }
    require_release_room(&mut tx, settings, package, sequence).await?;
    let (mut unused, mut artifacts) = (Vec::new(), Vec::with_capacity(files.len()));
    for file in files {
        let NewArtifact { digests, size_bytes, .. } = &file.artifact;
        let kept = tx.upsert_blob(digests.sha256, file.location.as_str(), *size_bytes, now).await?;
        if kept != file.location.as_str() {
            unused.push(file.location.clone());
        }
        artifacts.push((tx.insert_artifact(id, &file.artifact, None, now).await?, digests.sha256));
    }
    note_similar_name(&mut tx, settings, &place.head, sequence, id, now).await?;
    tx.record_relations(package, &command.metadata).await?;
    use_token(&mut tx, who, TokenUse::Release, now).await?;
    place.record(&mut tx, who, &wanted, now).await?;
    let entry = AuditEntry::by(who, AuditAction::ReleasePublish)
        .package(package)
        .org(place.head.owner.org())
        .release(id)
        .with("version", command.version.as_str())
        .with("source", command.ecosystem.as_str());
    tx.append_audit(&entry, now).await?;
    crash::reached(CrashPoint::ReleaseWritten);
    let mut verdict = Verdict::Unchanged;
    for (n, (artifact, sha256)) in artifacts.into_iter().enumerate() {
        let job = ScanArtifact::job(artifact, place.head.owner);
        match scanned.and_then(|scanned| scanned.get(n)) {
            Some(Scanned { report, ahead }) => {
                ahead.enqueue_in(&mut tx, &job).await?;
                let scan = Scan { release: id, artifact, sha256, state: ArtifactState::Joint, report };
                verdict = note_first_scan(&mut tx, &place.head, &scan, now).await?;
            }
            None => drop(tx.enqueue(&job).await?),
        }
    }
    tx.commit().await?;
    Ok(Committed {
        verdict,
        release: id,
        package,
        is_first: place.is_first,
        visibility: place.head.effective,
        repository_slug: place.new_repository.map(|r| r.slug),
        unused,
    })
}

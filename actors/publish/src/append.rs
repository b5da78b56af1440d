//! The transaction that adds one file to a release, live or not: package, release, file, audit and scan job, or nothing.

use publaryn_blobs::BlobKey;
use publaryn_core::{
    ArtifactId, ArtifactState, CompanionRole, Digest, PackageId, Principal, RegistryError, ReleaseId, ReleaseState,
    Timestamp, Visibility,
    audit::{AuditAction, AuditEntry},
    crash::{self, CrashPoint},
    publish::{AppendCommand, NewArtifact, PackageFacts, StaysOpen},
};
use publaryn_metadata::{
    Db, Tx,
    artifacts::{FileProgress, OwnQuarantine},
    releases::{NewRelease, ReleaseProgress},
};

use crate::{
    ahead::Scanned,
    commit::{PublishSettings, StagedFile},
    finalize::Verdict,
    landing::note_similar_name,
    place::{Place, TokenUse, Wanted, use_token},
    room::require_release_room,
    scan_job::{Scan, ScanArtifact, note_first_scan},
};

/// Something durable in the blob store that is kept beside a file.
#[derive(Debug, Clone)]
pub struct StagedCompanion {
    pub role: CompanionRole,
    pub content_type: String,
    pub sha256: Digest,
    pub size_bytes: u64,
    pub location: BlobKey,
}

/// A file that is part of its release, in a quarantine of its own.
#[derive(Debug, Clone)]
pub struct Appended {
    pub package: PackageId,
    pub release: ReleaseId,
    /// The id asked for, or that of the same file, if it was there before.
    pub artifact: ArtifactId,
    /// `Unchanged` while its scan is still to come, or was another's.
    pub verdict: Verdict,
    /// The very file was part of the release before; nothing was stored.
    pub is_repeat: bool,
    pub visibility: Visibility,
    pub repository_slug: Option<String>,
    /// Keys of uploads whose content was in the store already: nothing will ever refer to them.
    pub unused: Vec<BlobKey>,
}

/// Adds a file: in `scanning` with its scan job, or decided, when it was `scanned` ahead. The release is created
/// in `scanning` where there is none.
///
/// Repeating it with the same bytes changes nothing.
///
/// # Errors
/// As [`crate::commit`]; `FileExists`; `Conflict` with `filename_spent` for names of files that were blocked or
/// deleted, `kind_taken` for a second file of a kind that may occur once, `too_many_files`, `release_blocked`;
/// `VersionNotFound` where the release had to exist; `VersionExists` once it was sealed. Nothing is stored on any error.
#[allow(clippy::too_many_arguments, reason = "who, where, what, with what: each is one thing")]
pub async fn append(
    db: &Db,
    settings: &PublishSettings,
    who: &Principal,
    id: ArtifactId,
    command: &AppendCommand,
    file: &StagedFile,
    companions: &[StagedCompanion],
    scanned: Option<&Scanned>,
) -> Result<Appended, RegistryError> {
    let now = Timestamp::now();
    let wanted = Wanted {
        ecosystem: command.ecosystem,
        name: &command.name,
        access_hint: None,
        repository: command.repository.as_deref(),
    };
    let mut tx = db.begin().await?;
    let place = Place::find(&mut tx, settings, who, &wanted, now).await?;
    crash::reached(CrashPoint::PackageLocked);
    let (release, is_new) = release_of(&mut tx, settings, who, command, &place, now).await?;
    let done = |artifact, is_repeat, unused, verdict| Appended {
        verdict,
        package: place.head.id,
        release: release.id,
        artifact,
        is_repeat,
        visibility: place.head.effective,
        repository_slug: place.new_repository.as_ref().map(|r| r.slug.clone()),
        unused,
    };
    let files = tx.files_of(release.id).await?;
    if let Some(open) = command.open.filter(|_| !is_new) {
        check_open(open, command, &release, &files, &file.artifact, now)?;
    }
    if files.iter().any(FileProgress::is_of_draft) {
        // Its files were never scanned, or did not pass: they must not go live with this one.
        let message =
            format!("release {} is a draft of the management API: publish or delete it first", release.version);
        return Err(RegistryError::conflict("state_conflict", message));
    }
    if let Some(repeated) = repeated(&release, &files, &file.artifact)? {
        let keys = companions.iter().map(|c| &c.location).chain([&file.location]);
        return Ok(done(repeated, true, keys.cloned().collect(), Verdict::Unchanged));
    }
    check_room(settings, command, &files, &file.artifact)?;
    if release.status == ReleaseState::Quarantine && release.is_made_of_files() {
        // All its files were blocked; this one gives it another chance.
        tx.set_release_state(release.id, ReleaseState::Scanning, now).await?;
    }
    let unused = store(&mut tx, id, &release, command, file, companions, now).await?;
    if let Some(open) = command.open.filter(|_| is_new || release.open.sealed_since(now).is_none()) {
        tx.keep_open(release.id, now + open.idle).await?;
    }
    use_token(&mut tx, who, TokenUse::FileOf(release.id), now).await?;
    place.record(&mut tx, who, &wanted, now).await?;
    let entry = AuditEntry::by(who, AuditAction::ReleasePublish)
        .org(place.head.owner.org())
        .package(place.head.id)
        .release(release.id)
        .with("version", release.version.as_str())
        .with("filename", file.artifact.filename.as_str())
        .with("source", command.ecosystem.as_str());
    tx.append_audit(&entry, now).await?;
    crash::reached(CrashPoint::ReleaseWritten);
    let job = ScanArtifact::job(id, place.head.owner);
    let mut verdict = Verdict::Unchanged;
    if let Some(Scanned { report, ahead }) = scanned {
        ahead.enqueue_in(&mut tx, &job).await?;
        let (sha256, state) = (file.artifact.digests.sha256, ArtifactState::Scanning);
        let scan = Scan { release: release.id, artifact: id, sha256, state, report };
        verdict = note_first_scan(&mut tx, &place.head, &scan, now).await?;
    } else {
        tx.enqueue(&job).await?;
    }
    tx.commit().await?;
    Ok(done(id, false, unused, verdict))
}

/// Whether a release of which nobody knows how many files it has takes this one.
fn check_open(
    open: StaysOpen,
    command: &AppendCommand,
    release: &ReleaseProgress,
    files: &[FileProgress],
    new: &NewArtifact,
    now: Timestamp,
) -> Result<(), RegistryError> {
    let exists = || RegistryError::VersionExists(release.version.clone());
    // Another spelling of the same number is another address, which nobody would find.
    if release.version != command.version.as_str() || release.status == ReleaseState::Deleted {
        return Err(exists());
    }
    if release.is_blocked() || files.iter().any(|file| file.state == ArtifactState::Held) {
        return Err(RegistryError::conflict("release_blocked", "the version was blocked by a scan"));
    }
    let Some(sealed) = release.open.sealed_since(now) else { return Ok(()) };
    let is_there = files.iter().any(|file| file.filename == new.filename);
    let may_follow = release.open.open_until.is_some() && open.late.is_some_and(|late| now < sealed + late);
    if may_follow && !is_there { Ok(()) } else { Err(exists()) }
}

/// The release of that version, and whether it was made just now.
async fn release_of(
    tx: &mut Tx,
    settings: &PublishSettings,
    who: &Principal,
    command: &AppendCommand,
    place: &Place,
    now: Timestamp,
) -> Result<(ReleaseProgress, bool), RegistryError> {
    let package = place.head.id;
    if let Some(release) = tx.lock_release_by_version(package, command.version.unique_key()).await? {
        return Ok((release, false));
    }
    if !command.creates_release {
        return Err(RegistryError::VersionNotFound(command.version.to_string()));
    }
    let sequence = tx.next_sequence(package).await?;
    // What the release says of itself waits for a file that is cleared.
    let new = NewRelease {
        id: ReleaseId::new(),
        package,
        version: &command.version,
        status: ReleaseState::Scanning,
        metadata: "{}",
        facts: &PackageFacts::default(),
        tags: &[],
        sequence,
        scans_total: 0,
        published_by: who.acting_user(),
    };
    tx.insert_release(&new, now).await?;
    require_release_room(tx, settings, package, sequence).await?;
    note_similar_name(tx, settings, &place.head, sequence, new.id, now).await?;
    let made = tx.lock_release(new.id).await?;
    // The package is locked, so nobody else can have made it meanwhile.
    Ok((made.ok_or_else(|| RegistryError::internal("a release just inserted"))?, true))
}

/// The same file, if it was uploaded before and nothing speaks against it.
fn repeated(
    release: &ReleaseProgress,
    files: &[FileProgress],
    new: &NewArtifact,
) -> Result<Option<ArtifactId>, RegistryError> {
    let spent = |why: &str| {
        let message = format!("the file name `{}` was used by a file that was {why}", new.filename);
        Err(RegistryError::conflict("filename_spent", message))
    };
    if release.status == ReleaseState::Deleted {
        return spent("deleted");
    }
    let Some(known) = files.iter().find(|file| file.filename == new.filename) else { return Ok(None) };
    match known.state {
        ArtifactState::Held => spent("blocked"),
        _ if known.sha256 == new.digests.sha256 => Ok(Some(known.id)),
        _ => Err(RegistryError::FileExists { filename: new.filename.clone(), sha256: known.sha256 }),
    }
}

fn check_room(
    settings: &PublishSettings,
    command: &AppendCommand,
    files: &[FileProgress],
    new: &NewArtifact,
) -> Result<(), RegistryError> {
    let is_taken = |file: &FileProgress| file.kind == new.kind && file.state != ArtifactState::Held;
    if command.is_only_of_its_kind && files.iter().any(is_taken) {
        let message = format!("the release has a file of the kind {} already", new.kind);
        return Err(RegistryError::conflict("kind_taken", message));
    }
    if files.len() >= settings.artifacts_per_release {
        let message = format!("a release may have at most {} files", settings.artifacts_per_release);
        return Err(RegistryError::conflict("too_many_files", message));
    }
    Ok(())
}

/// Writes the rows; returns keys of bytes that were in the store already.
async fn store(
    tx: &mut Tx,
    id: ArtifactId,
    release: &ReleaseProgress,
    command: &AppendCommand,
    file: &StagedFile,
    companions: &[StagedCompanion],
    now: Timestamp,
) -> Result<Vec<BlobKey>, RegistryError> {
    let mut unused = Vec::new();
    let NewArtifact { digests, size_bytes, .. } = &file.artifact;
    if tx.upsert_blob(digests.sha256, file.location.as_str(), *size_bytes, now).await? != file.location.as_str() {
        unused.push(file.location.clone());
    }
    let metadata = command.metadata.to_string();
    let own = OwnQuarantine { id, metadata: &metadata, pending: command.release.as_ref() };
    tx.insert_artifact(release.id, &file.artifact, Some(&own), now).await?;
    for companion in companions {
        let StagedCompanion { sha256, size_bytes, location, .. } = companion;
        if tx.upsert_blob(*sha256, location.as_str(), *size_bytes, now).await? != location.as_str() {
            unused.push(location.clone());
        }
        tx.insert_companion(id, companion.role, &companion.content_type, companion.sha256).await?;
    }
    tx.insert_lookup_keys(command.ecosystem, id, &command.lookup_keys).await?;
    let mut required = release.required_files()?;
    let known = required.len();
    for name in &command.required_files {
        if !required.contains(name) {
            required.push(name.clone());
        }
    }
    if required.len() > known {
        tx.set_required_files(release.id, &required).await?;
    }
    Ok(unused)
}

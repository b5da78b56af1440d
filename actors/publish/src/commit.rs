//! The transaction of a publish: package, release, artifacts, audit and scan jobs, or nothing.

use std::{collections::HashSet, time::Duration};

use publaryn_blobs::BlobKey;
use publaryn_core::{
    Decision, Ecosystem, Operation, PackageId, PackageName, Principal, RegistryError, ReleaseId, ReleaseState,
    RepositoryId, RepositoryKind, Timestamp, TokenKind, UserId, Visibility,
    access::{Denial, Owner, Relation, Resource},
    audit::{AuditAction, AuditEntry},
    crash::{self, CrashPoint},
    decide,
    principal::{Binding, Credential, Who},
    publish::{NewArtifact, PublishCommand},
};
use publaryn_metadata::{
    Db, Tx,
    packages::{NewPackage, PackageHead},
    releases::NewRelease,
    repositories::RepositoryRow,
};

use crate::{
    ahead::Scanned,
    finalize::Verdict,
    scan_job::{ScanArtifact, note_scan},
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

/// How long the name of an unpublished package stays closed even to its owner.
const RECREATE_AFTER: Duration = Duration::from_secs(24 * 60 * 60);

/// Dependencies remembered of one release; the largest honest packages have some hundred.
const MAX_DEPENDENCIES: usize = 2_000;

/// Case and separators do not make a reserved name another one.
pub fn fold_name(name: &str) -> String {
    name.chars().filter(|c| !matches!(c, '-' | '_' | '.')).flat_map(char::to_lowercase).collect()
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
    let now = Timestamp::now();
    let mut tx = db.begin().await?;
    let place = place(&mut tx, settings, who, command, now).await?;
    let package = place.head.id;
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
    let (mut unused, mut artifacts) = (Vec::new(), Vec::with_capacity(files.len()));
    for file in files {
        let NewArtifact { digests, size_bytes, .. } = &file.artifact;
        let kept = tx.upsert_blob(digests.sha256, file.location.as_str(), *size_bytes, now).await?;
        if kept != file.location.as_str() {
            unused.push(file.location.clone());
        }
        artifacts.push((tx.insert_artifact(id, &file.artifact, now).await?, digests.sha256));
    }
    let dependencies: Vec<&str> = command.dependencies().take(MAX_DEPENDENCIES).collect();
    tx.record_dependencies(package, &dependencies).await?;
    use_up(&mut tx, who, now).await?;
    place.audit_creation(&mut tx, who, command, now).await?;
    let entry = AuditEntry::by(who, AuditAction::ReleasePublish)
        .package(package)
        .release(id)
        .with("version", command.version.as_str())
        .with("source", command.ecosystem.as_str());
    tx.append_audit(&entry, now).await?;
    crash::reached(CrashPoint::ReleaseWritten);
    let mut verdict = Verdict::Unchanged;
    for (n, artifact) in artifacts.into_iter().enumerate() {
        let job = ScanArtifact::job(artifact.0, place.head.owner);
        match scanned.and_then(|scanned| scanned.get(n)) {
            Some(Scanned { report, ahead }) => {
                ahead.enqueue_in(&mut tx, &job).await?;
                verdict = note_scan(&mut tx, &place.head, id, artifact, report, now).await?;
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

/// A `publish` token dies with its first publication.
pub(crate) async fn use_up(tx: &mut Tx, who: &Principal, now: Timestamp) -> Result<(), RegistryError> {
    if let Credential::Token(token, TokenKind::Publish) = who.credential {
        tx.use_up_token(token, now).await?;
    }
    Ok(())
}

/// Where a release is going to live.
pub(crate) struct Place {
    pub head: PackageHead,
    pub is_first: bool,
    pub new_repository: Option<RepositoryRow>,
}

impl Place {
    /// Records what this publish created on its way.
    pub(crate) async fn audit_creation(
        &self,
        tx: &mut Tx,
        who: &Principal,
        command: &PublishCommand,
        now: Timestamp,
    ) -> Result<(), RegistryError> {
        let source = command.ecosystem.as_str();
        if let Some(repository) = &self.new_repository {
            let entry = AuditEntry::by(who, AuditAction::RepositoryCreate).with("slug", repository.slug.as_str());
            tx.append_audit(&entry.with("source", source), now).await?;
        }
        if self.is_first {
            let entry = AuditEntry::by(who, AuditAction::PackageCreate).package(self.head.id);
            tx.append_audit(&entry.with("name", command.name.display()).with("source", source), now).await?;
            // Reads of the name were misses until now.
            let touched = self.head.touched();
            tx.notice().packages.push(touched);
        }
        Ok(())
    }
}

/// The package that the command names, locked and open to the publisher; made if there is none.
pub(crate) async fn place(
    tx: &mut Tx,
    settings: &PublishSettings,
    who: &Principal,
    command: &PublishCommand,
    now: Timestamp,
) -> Result<Place, RegistryError> {
    let place = match tx.lock_package(command.ecosystem, command.name.canonical()).await? {
        Some(head) => existing(tx, who, head, now).await?,
        None => create(tx, settings, who, command, now).await?,
    };
    crash::reached(CrashPoint::PackageLocked);
    if command.name.respells(&place.head.name) {
        return Err(RegistryError::NameTaken { existing: Some(place.head.name.to_string()) });
    }
    Ok(place)
}

async fn existing(tx: &mut Tx, who: &Principal, head: PackageHead, now: Timestamp) -> Result<Place, RegistryError> {
    let relation = match &who.who {
        // The owner has every right there is; being a co-owner beside adds nothing.
        Who::User(user) if head.owner != Owner::User(user.id) => tx.relation(head.id, user.id).await?,
        _ => Relation::default(),
    };
    allow(decide(who, Operation::Publish, Resource::Package(&head.access(relation))))?;
    if head.effective == Visibility::Quarantined {
        return Err(RegistryError::conflict("state_conflict", "the package is quarantined"));
    }
    if head.is_archived {
        return Err(RegistryError::conflict("package_archived", "the package is archived"));
    }
    if head.is_deleted {
        let deleted = tx.package_deleted_at(head.id).await?.unwrap_or(now);
        if now.since(deleted) < RECREATE_AFTER {
            return Err(RegistryError::Denied(Denial::Rule {
                code: "package_recently_deleted",
                message: format!("`{}` was unpublished; it may be published again after 24 hours", head.name),
            }));
        }
        tx.set_package_deleted(head.id, None).await?;
    }
    Ok(Place { head, is_first: false, new_repository: None })
}

async fn create(
    tx: &mut Tx,
    settings: &PublishSettings,
    who: &Principal,
    command: &PublishCommand,
    now: Timestamp,
) -> Result<Place, RegistryError> {
    let name = &command.name;
    if let Some(holder) = tx.package_with_collision_key(command.ecosystem, name.collision_key()).await?
        && holder.normalized_name == name.canonical()
    {
        return created_meanwhile(tx, who, command, now).await;
    }
    let (repository, is_new) = creation(tx, settings, who, command.ecosystem, name, now).await?;
    // A client's wish may narrow, never widen.
    let visibility = command.access_hint.map_or(repository.visibility, |hint| hint.max(repository.visibility));
    let new = NewPackage {
        id: PackageId::new(),
        ecosystem: command.ecosystem,
        name,
        repository: repository.id,
        owner: repository.owner(),
        visibility,
    };
    if !tx.insert_package(&new, now).await? {
        return created_meanwhile(tx, who, command, now).await;
    }
    let head =
        tx.lock_package_by_id(new.id).await?.ok_or_else(|| RegistryError::internal("a package just inserted"))?;
    Ok(Place { head, is_first: true, new_repository: is_new.then_some(repository) })
}

/// The repository in which a package of that name would be made, after every rule about its name.
async fn creation(
    tx: &mut Tx,
    settings: &PublishSettings,
    who: &Principal,
    ecosystem: Ecosystem,
    name: &PackageName,
    now: Timestamp,
) -> Result<(RepositoryRow, bool), RegistryError> {
    if let Some(holder) = tx.package_with_collision_key(ecosystem, name.collision_key()).await? {
        let visible = holder.effective.is_open();
        return Err(RegistryError::NameTaken { existing: visible.then(|| holder.name.to_string()) });
    }
    let is_scoped = name.canonical().contains('/');
    if !is_scoped && settings.reserved_names.contains(&fold_name(name.canonical())) {
        return Err(RegistryError::invalid("reserved_name", format!("the name `{name}` is reserved")));
    }
    let (repository, is_new) = landing(tx, settings, who, now).await?;
    if !is_new {
        let access = repository.access(Relation::default());
        allow(decide(who, Operation::CreatePackage, Resource::Repository(&access)))?;
    }
    Ok((repository, is_new))
}

/// Whether a first publish under a name would be let in, for protocols whose uploads come before it.
/// Changes nothing; the publish itself decides again.
///
/// # Errors
/// Those of [`commit`] for a name without a package.
pub async fn may_create(
    db: &Db,
    settings: &PublishSettings,
    who: &Principal,
    ecosystem: Ecosystem,
    name: &PackageName,
) -> Result<(), RegistryError> {
    let mut tx = db.begin().await?;
    let outcome = creation(&mut tx, settings, who, ecosystem, name, Timestamp::now()).await;
    tx.rollback().await?;
    outcome.map(drop)
}

/// Another replica created the package since we looked; its row decides.
async fn created_meanwhile(
    tx: &mut Tx,
    who: &Principal,
    command: &PublishCommand,
    now: Timestamp,
) -> Result<Place, RegistryError> {
    match tx.lock_package(command.ecosystem, command.name.canonical()).await? {
        Some(head) => existing(tx, who, head, now).await,
        None => Err(RegistryError::NameTaken { existing: None }),
    }
}

/// The repository in which a first publish lands (access.md §6), and whether it was made just now.
async fn landing(
    tx: &mut Tx,
    settings: &PublishSettings,
    who: &Principal,
    now: Timestamp,
) -> Result<(RepositoryRow, bool), RegistryError> {
    match who.binding {
        Some(Binding::Repository(id)) => {
            return tx.repository(id).await?.map(|r| (r, false)).ok_or(RegistryError::NotFound);
        }
        Some(Binding::Package(_)) => return Err(RegistryError::Denied(Denial::TokenNotBound)),
        None => {}
    }
    let Some(user) = who.user() else {
        return Err(RegistryError::Denied(Denial::CredentialNotAccepted));
    };
    if let Some(oldest) = tx.oldest_repository_of(user.id).await? {
        return Ok((oldest, false));
    }
    if let Some(refusal) = publaryn_core::access::refuse_before_lookup(who, Operation::CreatePackage, true) {
        allow(refusal)?;
    }
    Ok((personal_repository(tx, settings, user.id, &user.username, now).await?, true))
}

/// Makes a personal repository named after the user, or `-2`, `-3`… if the slug is taken.
async fn personal_repository(
    tx: &mut Tx,
    settings: &PublishSettings,
    owner: UserId,
    username: &str,
    now: Timestamp,
) -> Result<RepositoryRow, RegistryError> {
    let base = username.to_lowercase();
    for n in 1..100 {
        let slug = if n == 1 { base.clone() } else { format!("{base}-{n}") };
        let row = RepositoryRow {
            id: RepositoryId::new(),
            name: slug.clone(),
            slug,
            description: None,
            kind: RepositoryKind::Public,
            visibility: settings.personal_repository_visibility,
            owner_user_id: Some(owner),
            owner_org_id: None,
            created_at: now,
            updated_at: now,
        };
        if tx.insert_repository(&row).await? {
            return Ok(row);
        }
    }
    Err(RegistryError::conflict("already_exists", "no free slug for a personal repository"))
}

fn allow(decision: Decision) -> Result<(), RegistryError> {
    match decision {
        Decision::Allow => Ok(()),
        Decision::Unauthenticated => Err(RegistryError::Unauthenticated),
        Decision::Denied(denial) => Err(RegistryError::Denied(denial)),
        Decision::Hidden => Err(RegistryError::NotFound),
    }
}

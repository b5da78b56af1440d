//! The transaction of a publish: package, release, artifacts, audit and scan jobs, or nothing.

use std::{collections::HashSet, time::Duration};

use publaryn_blobs::BlobKey;
use publaryn_core::{
    Decision, Ecosystem, Operation, PackageId, Principal, RegistryError, ReleaseId, ReleaseState, Timestamp, TokenKind,
    Visibility,
    access::{Denial, Resource},
    audit::{AuditAction, AuditEntry},
    crash::{self, CrashPoint},
    decide,
    finding::Finding,
    principal::Credential,
    publish::{NewArtifact, PublishCommand},
};
use publaryn_metadata::{Db, Tx, packages::PackageHead, releases::NewRelease, repositories::RepositoryRow};

use crate::{
    landing::{Created, Creation, Wish, create_package},
    scan_job::ScanArtifact,
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

/// Commits a release in `scanning` with its scan jobs.
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
) -> Result<Committed, RegistryError> {
    let now = Timestamp::now();
    let mut tx = db.begin().await?;
    let place = match tx.lock_package(command.ecosystem, command.name.canonical()).await? {
        Some(head) => existing(&mut tx, who, head, now).await?,
        None => create(&mut tx, settings, who, command, now).await?,
    };
    crash::reached(CrashPoint::PackageLocked);
    if command.name.respells(&place.head.name) {
        return Err(RegistryError::NameTaken { existing: Some(place.head.name.to_string()) });
    }
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
    let mut unused = Vec::new();
    for file in files {
        let NewArtifact { digests, size_bytes, .. } = &file.artifact;
        let kept = tx.upsert_blob(digests.sha256, file.location.as_str(), *size_bytes, now).await?;
        if kept != file.location.as_str() {
            unused.push(file.location.clone());
        }
        let artifact = tx.insert_artifact(id, &file.artifact, now).await?;
        tx.enqueue(&ScanArtifact::job(artifact, place.head.owner)).await?;
    }
    if let Some(similar) = &place.similar {
        tx.upsert_finding(id, None, similar, now).await?;
    }
    let dependencies: Vec<&str> = command.dependencies().take(MAX_DEPENDENCIES).collect();
    tx.record_dependencies(package, &dependencies).await?;
    if let Credential::Token(token, TokenKind::Publish) = who.credential {
        tx.use_up_token(token, now).await?;
    }
    if let Some(repository) = &place.new_repository {
        let entry = AuditEntry::by(who, AuditAction::RepositoryCreate)
            .org(place.head.owner.org())
            .with("slug", repository.slug.as_str());
        tx.append_audit(&entry.with("source", command.ecosystem.as_str()), now).await?;
    }
    if place.is_first {
        let entry = AuditEntry::by(who, AuditAction::PackageCreate).package(package).org(place.head.owner.org());
        tx.append_audit(&entry.with("name", command.name.display()).with("source", command.ecosystem.as_str()), now)
            .await?;
    }
    let entry = AuditEntry::by(who, AuditAction::ReleasePublish)
        .package(package)
        .org(place.head.owner.org())
        .release(id)
        .with("version", command.version.as_str())
        .with("source", command.ecosystem.as_str());
    if place.is_first {
        // Reads of the name were misses until now.
        let touched = place.head.touched();
        tx.notice().packages.push(touched);
    }
    crash::reached(CrashPoint::ReleaseWritten);
    tx.commit_audited(&entry, now).await?;
    Ok(Committed {
        release: id,
        package,
        is_first: place.is_first,
        visibility: place.head.effective,
        repository_slug: place.new_repository.map(|r| r.slug),
        unused,
    })
}

/// Where a release is going to live.
struct Place {
    head: PackageHead,
    is_first: bool,
    new_repository: Option<RepositoryRow>,
    /// About the name of a new package.
    similar: Option<Finding>,
}

async fn existing(tx: &mut Tx, who: &Principal, head: PackageHead, now: Timestamp) -> Result<Place, RegistryError> {
    let relation = tx.relation(&head, who).await?;
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
    Ok(Place { head, is_first: false, new_repository: None, similar: None })
}

async fn create(
    tx: &mut Tx,
    settings: &PublishSettings,
    who: &Principal,
    command: &PublishCommand,
    now: Timestamp,
) -> Result<Place, RegistryError> {
    let creation = Creation {
        ecosystem: command.ecosystem,
        name: &command.name,
        repository: None,
        visibility: command.access_hint.map_or(Wish::AsRepository, Wish::AtMost),
    };
    match create_package(tx, settings, who, &creation, now).await? {
        Some(Created { head, new_repository, similar }) => Ok(Place { head, is_first: true, new_repository, similar }),
        None => created_meanwhile(tx, who, command, now).await,
    }
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

pub(crate) fn allow(decision: Decision) -> Result<(), RegistryError> {
    match decision {
        Decision::Allow => Ok(()),
        Decision::Unauthenticated => Err(RegistryError::Unauthenticated),
        Decision::Denied(denial) => Err(RegistryError::Denied(denial)),
        Decision::Hidden => Err(RegistryError::NotFound),
    }
}

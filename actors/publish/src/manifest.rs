//! The transaction of a manifest push: a publish whose release names content that is already here.

use std::collections::HashMap;

use publaryn_blobs::BlobKey;
use publaryn_core::{
    ContentDigest, Digest, PackageId, Principal, RegistryError, ReleaseId, ReleaseState, RepositoryKind, Timestamp,
    access::Denial,
    audit::{AuditAction, AuditEntry},
    crash::{self, CrashPoint},
    manifest::{Manifest, ReferenceKind, is_rewritten_by_design},
    principal::Who,
    publish::PublishCommand,
};
use publaryn_metadata::{
    Db, Tx,
    oci::{NewManifest, NewReference},
    releases::{NewRelease, ReleaseProgress},
};
use uuid::Uuid;

use crate::{
    PublishSettings, ScanArtifact, StagedFile, Verdict, finalize, index_job, note_similar_name,
    place::{Place, TokenUse, Wanted, use_token},
    room::require_release_room,
    scan_content::content_job,
    scan_job::SCAN_FAILED,
};

/// What a manifest push came to.
#[derive(Debug, Clone)]
pub struct ManifestCommit {
    /// The new one, or the one that has the digest already.
    pub release: ReleaseId,
    /// It was live before; its tags point to it now. Any other waits for its scans, or was judged by what is known.
    pub is_live: bool,
    /// Slug of the repository that was made for it.
    pub repository_slug: Option<String>,
    /// The manifest's bytes were here already, under another key.
    pub unused: Option<BlobKey>,
}

/// Why a manifest was refused.
#[derive(Debug, thiserror::Error)]
pub enum ManifestRefusal {
    /// Blobs or manifests that the repository does not hold.
    #[error("{} of the manifest's references are unknown to this repository", .0.len())]
    UnknownReferences(Vec<ContentDigest>),
    #[error("{digest} has {actual} bytes, not {declared} as the manifest says")]
    WrongSize { digest: ContentDigest, declared: u64, actual: u64 },
    #[error(transparent)]
    Registry(#[from] RegistryError),
}

impl From<publaryn_metadata::DbError> for ManifestRefusal {
    fn from(error: publaryn_metadata::DbError) -> Self {
        Self::Registry(error.into())
    }
}

/// The identity that uploads belong to before their package exists.
pub fn actor_of(who: &Principal) -> Option<Uuid> {
    match &who.who {
        Who::User(user) => Some(user.id.0),
        Who::Automation { org, .. } => Some(org.0),
        Who::TrustedPublisher { creator, .. } => Some(creator.0),
        Who::Anonymous => None,
    }
}

/// Commits a manifest: as a new release in `scanning`, or as what its digest already is.
///
/// # Errors
/// Those of [`crate::commit`]; [`ManifestRefusal`] for what it names; `Denied` with code
/// `tag_immutable`. Nothing is stored on any error.
pub async fn commit_manifest(
    db: &Db,
    settings: &PublishSettings,
    who: &Principal,
    id: ReleaseId,
    command: &PublishCommand,
    manifest: &Manifest,
    file: &StagedFile,
) -> Result<ManifestCommit, ManifestRefusal> {
    let now = Timestamp::now();
    let mut tx = db.begin().await?;
    let wanted = Wanted { ecosystem: command.ecosystem, name: &command.name, access_hint: None, repository: None };
    let place = Place::find(&mut tx, settings, who, &wanted, now).await?;
    crash::reached(CrashPoint::PackageLocked);
    let package = place.head.id;
    let known = tx.lock_release_by_version(package, command.version.unique_key()).await?;
    let facts = tx.policy_facts(package).await?;
    let push = Push { settings, who, wanted, command, manifest, place: &place, kind: facts.repository_kind, now };
    let known = match known {
        None => return push.stage(tx, id, file).await,
        Some(old) if old.status == ReleaseState::Deleted => {
            tx.erase_release(old.id).await?;
            return push.stage(tx, id, file).await;
        }
        Some(known) => known,
    };
    // Where the bytes that are here were lost or damaged, these take their place.
    let unused = push.keep_bytes(&mut tx, file).await?;
    let (release, is_live) = (known.id, known.status.is_live());
    let is_committed = match known.status {
        _ if is_live => push.retag(tx, &known).await?,
        ReleaseState::Scanning => push.join(tx, &known).await?,
        _ => push.reconsider(tx, known).await?,
    };
    let unused = if is_committed { unused } else { Some(file.location.clone()) };
    Ok(ManifestCommit { release, is_live, repository_slug: None, unused })
}

struct Push<'a> {
    settings: &'a PublishSettings,
    who: &'a Principal,
    wanted: Wanted<'a>,
    command: &'a PublishCommand,
    manifest: &'a Manifest,
    place: &'a Place,
    kind: RepositoryKind,
    now: Timestamp,
}

impl Push<'_> {
    fn package(&self) -> PackageId {
        self.place.head.id
    }

    fn audit(&self, action: AuditAction, release: ReleaseId) -> AuditEntry {
        AuditEntry::by(self.who, action)
            .package(self.package())
            .org(self.place.head.owner.org())
            .release(release)
            .with("version", self.command.version.as_str())
            .with("source", self.command.ecosystem.as_str())
    }

    /// A new release of this digest.
    async fn stage(self, mut tx: Tx, id: ReleaseId, file: &StagedFile) -> Result<ManifestCommit, ManifestRefusal> {
        let (package, now, manifest) = (self.package(), self.now, self.manifest);
        let content = self.claim_content(&mut tx).await?;
        self.check_children(&mut tx).await?;
        self.check_tags(&mut tx).await?;
        let sequence = tx.next_sequence(package).await?;
        let metadata = self.command.metadata.to_string();
        let release = NewRelease {
            id,
            package,
            version: &self.command.version,
            status: ReleaseState::Scanning,
            metadata: &metadata,
            facts: &self.command.facts,
            tags: &[],
            sequence,
            scans_total: 1,
            published_by: self.who.acting_user(),
        };
        if !tx.insert_release(&release, now).await? {
            // The row is locked by us or absent; only an engine fault leads here.
            return Err(RegistryError::VersionExists(self.command.version.to_string()).into());
        }
        require_release_room(&mut tx, self.settings, package, sequence).await?;
        note_similar_name(&mut tx, self.settings, &self.place.head, sequence, id, now).await?;
        let unused = self.keep_bytes(&mut tx, file).await?;
        let artifact = tx.insert_artifact(id, &file.artifact, None, now).await?;
        tx.enqueue(&ScanArtifact::job(artifact, self.place.head.owner)).await?;
        tx.insert_manifest(&NewManifest {
            release: id,
            package,
            digest: manifest.digest,
            subject: manifest.subject.as_deref(),
            artifact_type: manifest.artifact_type.as_deref(),
            descriptor: &manifest.descriptor,
        })
        .await?;
        self.refer(&mut tx, id, &content).await?;
        if !manifest.tags.is_empty() {
            tx.stage_tags(id, &manifest.tags, sequence).await?;
            use_token(&mut tx, self.who, TokenUse::Release, now).await?;
        }
        self.place.record(&mut tx, self.who, &self.wanted, now).await?;
        crash::reached(CrashPoint::ReleaseWritten);
        let entry = self.audit(AuditAction::ReleasePublish, id).with("tags", manifest.tags.clone());
        tx.commit_audited(&entry, now).await?;
        let repository_slug = self.place.new_repository.as_ref().map(|repository| repository.slug.clone());
        Ok(ManifestCommit { release: id, is_live: false, repository_slug, unused })
    }

    /// Stores the manifest's bytes; the key that nothing will ever refer to, when they were here already.
    async fn keep_bytes(&self, tx: &mut Tx, file: &StagedFile) -> Result<Option<BlobKey>, ManifestRefusal> {
        let (sha256, size_bytes) = (file.artifact.digests.sha256, file.artifact.size_bytes);
        let kept = tx.upsert_blob(sha256, file.location.as_str(), size_bytes, self.now).await?;
        Ok((kept != file.location.as_str()).then(|| file.location.clone()))
    }

    /// Notes what the manifest refers to and has what was never scanned of it scanned; whether there is any.
    async fn refer(
        &self,
        tx: &mut Tx,
        release: ReleaseId,
        content: &HashMap<ContentDigest, Digest>,
    ) -> Result<bool, ManifestRefusal> {
        let references = self.manifest.references.iter();
        let references: Vec<_> =
            references.map(|r| NewReference { reference: r, sha256: content.get(&r.digest).copied() }).collect();
        tx.insert_references(release, self.package(), &references).await?;
        let unscanned = tx.unscanned_content(release).await?;
        for content in &unscanned {
            tx.enqueue(&content_job(*content, self.package())).await?;
        }
        Ok(!unscanned.is_empty())
    }

    /// Finds the manifest's blobs in the repository and keeps them there: their rows are locked, and
    /// count as used now.
    async fn claim_content(&self, tx: &mut Tx) -> Result<HashMap<ContentDigest, Digest>, ManifestRefusal> {
        let (package, name) = (self.package(), self.place.head.normalized_name.as_str());
        let blobs = self.manifest.references.iter().filter(|r| r.kind != ReferenceKind::Manifest);
        let wanted: Vec<ContentDigest> = blobs.clone().map(|r| r.digest).collect();
        if wanted.is_empty() {
            return Ok(HashMap::new());
        }
        let mut links = tx.links(package.0, name, &wanted).await?;
        if links.len() < wanted.len()
            && let Some(actor) = actor_of(self.who)
        {
            // Uploaded before there was a package to hold them.
            tx.adopt_links(actor, name, package.0, self.now).await?;
            links = tx.links(package.0, name, &wanted).await?;
        }
        let mut rows: Vec<Digest> = links.iter().map(|link| link.sha256).collect();
        rows.sort_unstable();
        rows.dedup();
        tx.lock_blobs(&rows).await?;
        let found: Vec<ContentDigest> = links.iter().map(|link| link.digest).collect();
        if tx.touch_links(package.0, name, &found, self.now).await? < found.len() as u64 {
            // The collector was between our look and our lock.
            links = tx.links(package.0, name, &wanted).await?;
        }
        let held: HashMap<ContentDigest, (Digest, u64)> =
            links.iter().map(|link| (link.digest, (link.sha256, link.size_bytes.unsigned_abs()))).collect();
        let missing: Vec<ContentDigest> =
            blobs.clone().filter(|r| !r.is_foreign && !held.contains_key(&r.digest)).map(|r| r.digest).collect();
        if !missing.is_empty() && !tx.allows_missing_references(package).await? {
            return Err(ManifestRefusal::UnknownReferences(missing));
        }
        for reference in blobs {
            match held.get(&reference.digest) {
                Some((_, actual)) if *actual != reference.size_bytes => {
                    let (digest, declared) = (reference.digest, reference.size_bytes);
                    return Err(ManifestRefusal::WrongSize { digest, declared, actual: *actual });
                }
                _ => {}
            }
        }
        Ok(held.into_iter().map(|(digest, (sha256, _))| (digest, sha256)).collect())
    }

    /// Every manifest of an index has to be here, live or staged.
    async fn check_children(&self, tx: &mut Tx) -> Result<(), ManifestRefusal> {
        let children = self.manifest.references.iter().filter(|r| r.kind == ReferenceKind::Manifest);
        let wanted: Vec<ContentDigest> = children.filter(|r| !r.is_foreign).map(|r| r.digest).collect();
        if wanted.is_empty() {
            return Ok(());
        }
        let known = tx.child_states(self.package(), &wanted).await?;
        let is_known = |digest: &ContentDigest| known.iter().any(|child| child.digest == digest.to_string());
        let missing: Vec<ContentDigest> = wanted.into_iter().filter(|digest| !is_known(digest)).collect();
        if missing.is_empty() || tx.allows_missing_references(self.package()).await? {
            Ok(())
        } else {
            Err(ManifestRefusal::UnknownReferences(missing))
        }
    }

    /// In a repository of kind `release` a tag is written once.
    async fn check_tags(&self, tx: &mut Tx) -> Result<(), ManifestRefusal> {
        if self.kind != RepositoryKind::Release || self.manifest.tags.is_empty() {
            return Ok(());
        }
        let mut targets = tx.tag_targets(self.package(), &self.manifest.tags).await?;
        // Promised to a manifest that is being scanned.
        targets.extend(tx.awaited_tag_targets(self.package(), &self.manifest.tags).await?);
        let digest = self.manifest.digest.to_string();
        match targets.into_iter().find(|(tag, target)| *target != digest && !is_rewritten_by_design(tag)) {
            None => Ok(()),
            Some((tag, _)) => Err(RegistryError::Denied(Denial::Rule {
                code: "tag_immutable",
                message: format!("tag {tag} is immutable"),
            })
            .into()),
        }
    }

    /// The digest is live: only tags move.
    async fn retag(self, mut tx: Tx, known: &ReleaseProgress) -> Result<bool, ManifestRefusal> {
        self.check_tags(&mut tx).await?;
        let (package, digest) = (self.package(), known.version.as_str());
        let before: HashMap<String, String> = tx.tag_targets(package, &self.manifest.tags).await?.into_iter().collect();
        let moving: Vec<&String> =
            self.manifest.tags.iter().filter(|tag| before.get(*tag).is_none_or(|target| target != digest)).collect();
        if !self.manifest.tags.is_empty() {
            use_token(&mut tx, self.who, TokenUse::Release, self.now).await?;
            // Earlier pushes that still wait for their scans must not take the tags back.
            for tag in &self.manifest.tags {
                tx.unstage_tag(package, tag).await?;
            }
        }
        let sequence = tx.next_sequence(package).await?;
        for tag in &moving {
            tx.set_tag(package, tag, known.id, sequence, self.now).await?;
            let entry = self.audit(AuditAction::TagUpdate, known.id).with("tag", tag.as_str());
            tx.append_audit(&entry.with("before", before.get(*tag).cloned()), self.now).await?;
        }
        if !moving.is_empty() {
            tx.bump_revision(&self.place.head, self.now).await?;
            tx.enqueue(&index_job(package, self.place.head.owner)).await?;
        }
        tx.commit().await?;
        Ok(true)
    }

    /// The digest is being scanned: its tags wait with it.
    async fn join(self, mut tx: Tx, known: &ReleaseProgress) -> Result<bool, ManifestRefusal> {
        let content = self.claim_content(&mut tx).await?;
        self.check_children(&mut tx).await?;
        self.check_tags(&mut tx).await?;
        self.refer(&mut tx, known.id, &content).await?;
        if !self.manifest.tags.is_empty() {
            let sequence = tx.next_sequence(self.package()).await?;
            tx.stage_tags(known.id, &self.manifest.tags, sequence).await?;
            use_token(&mut tx, self.who, TokenUse::Release, self.now).await?;
            let entry = self.audit(AuditAction::ReleaseUpdate, known.id).with("tags", self.manifest.tags.clone());
            tx.append_audit(&entry, self.now).await?;
        }
        tx.commit().await?;
        Ok(true)
    }

    /// The digest was held back: it goes live if what was found has been resolved since, or after the scans that could
    /// not be made then. `false` when nothing has changed, and nothing was stored.
    async fn reconsider(self, mut tx: Tx, known: ReleaseProgress) -> Result<bool, ManifestRefusal> {
        let content = self.claim_content(&mut tx).await?;
        self.check_children(&mut tx).await?;
        self.check_tags(&mut tx).await?;
        if !self.manifest.tags.is_empty() {
            let sequence = tx.next_sequence(self.package()).await?;
            tx.stage_tags(known.id, &self.manifest.tags, sequence).await?;
        }
        tx.set_release_state(known.id, ReleaseState::Scanning, self.now).await?;
        let mut is_unscanned = self.refer(&mut tx, known.id, &content).await?;
        for file in tx.files_of(known.id).await?.iter().filter(|file| !file.is_scanned) {
            tx.enqueue(&ScanArtifact::job(file.id, self.place.head.owner)).await?;
            is_unscanned = true;
        }
        if is_unscanned {
            // It told of the scans that are made now.
            tx.delete_findings_of_rule(known.id, SCAN_FAILED).await?;
        }
        let scanning = ReleaseProgress { status: ReleaseState::Scanning, ..known };
        if finalize(&mut tx, &scanning, self.now).await? == Verdict::Blocked {
            return Ok(false);
        }
        if !self.manifest.tags.is_empty() {
            use_token(&mut tx, self.who, TokenUse::Release, self.now).await?;
        }
        let entry = self.audit(AuditAction::ReleasePublish, scanning.id);
        tx.commit_audited(&entry.with("tags", self.manifest.tags.clone()), self.now).await?;
        Ok(true)
    }
}

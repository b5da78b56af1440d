//! Releases that take files until they are sealed, for ecosystems in which nobody says how many there are: what may
//! still come, checksums that come apart from their files, the end of a deploy.

use std::time::Duration;

use publaryn_core::{
    Ecosystem, Operation, PackageName, Principal, RegistryError, ReleaseState, Timestamp,
    audit::AuditAction,
    publish::{PackageFacts, ReleaseDocument, StaysOpen},
};
use publaryn_metadata::{artifacts::FileDigests, open_releases::OpenVersion};
use publaryn_publish::actor_of;

use crate::{PackageView, Registry};

/// How long a checksum waits for its file.
const CHECKSUM_KEPT: Duration = Duration::from_secs(3600);
/// How often the end of scans is looked for.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// What a checksum was compared with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Checksummed {
    /// The file is not there yet: it will be compared when it comes.
    Kept,
    Matches,
    Differs,
}

/// A file that should not have come.
#[derive(Debug, Clone, Copy)]
pub struct Withdrawal<'a> {
    pub filename: &'a str,
    /// What the version says of itself came from it.
    pub spoke: bool,
    /// For the audit log.
    pub reason: &'static str,
}

/// The files of a version that were uploaded so far.
#[derive(Debug, Clone, Default)]
pub struct StagedFiles {
    pub names: Vec<String>,
    /// What the version says of itself, or will once the file that says so is cleared.
    pub document: Option<serde_json::Value>,
}

impl Registry {
    /// Whether a version takes a file at all, as far as can be said before its bytes are read. For who may publish.
    ///
    /// # Errors
    /// `VersionExists` once it is sealed.
    pub async fn takes_files(
        &self,
        ecosystem: Ecosystem,
        name: &PackageName,
        version_key: &str,
        open: StaysOpen,
    ) -> Result<(), RegistryError> {
        let Some(head) = self.0.heads.get(ecosystem, name.canonical()).await? else { return Ok(()) };
        let Some(known) = self.0.db.open_version(head.id, version_key).await? else { return Ok(()) };
        let now = Timestamp::now();
        let may_follow = |sealed| known.open.open_until.is_some() && open.late.is_some_and(|late| now < sealed + late);
        match known.open.sealed_since(now) {
            Some(sealed) if !may_follow(sealed) => Err(RegistryError::VersionExists(known.version)),
            Some(_) => Ok(()),
            None => self.extend(&known, open.idle, now).await,
        }
    }

    /// Notes that something of an open version was uploaded: it ends once nothing comes any more. For who may publish.
    pub async fn keep_open(
        &self,
        ecosystem: Ecosystem,
        name: &PackageName,
        version_key: &str,
        open: StaysOpen,
    ) -> Result<(), RegistryError> {
        let Some(head) = self.0.heads.get(ecosystem, name.canonical()).await? else { return Ok(()) };
        let now = Timestamp::now();
        match self.0.db.open_version(head.id, version_key).await? {
            Some(known) if known.open.sealed_since(now).is_none() => self.extend(&known, open.idle, now).await,
            _ => Ok(()),
        }
    }

    /// Only in the second half of the time that is left: a deploy is many uploads, and each would be a write.
    async fn extend(&self, known: &OpenVersion, idle: Duration, now: Timestamp) -> Result<(), RegistryError> {
        if known.open.open_until.is_none_or(|until| until > now + idle / 2) {
            return Ok(());
        }
        let mut tx = self.0.db.begin().await?;
        tx.keep_open(known.id, now + idle).await?;
        Ok(tx.commit().await?)
    }

    /// What is kept with each file of a version, by its name, in whatever state it is. For who may publish.
    pub async fn file_documents(
        &self,
        ecosystem: Ecosystem,
        name: &PackageName,
        version_key: &str,
    ) -> Result<Vec<(String, serde_json::Value)>, RegistryError> {
        match self.0.heads.get(ecosystem, name.canonical()).await? {
            Some(head) => Ok(self.0.db.file_documents(head.id, version_key).await?),
            None => Ok(Vec::new()),
        }
    }

    /// Whether the version is one that takes files still.
    pub async fn is_open(&self, view: &PackageView, version_key: &str) -> Result<bool, RegistryError> {
        let known = self.0.db.open_version(view.id(), version_key).await?;
        Ok(known.is_some_and(|known| known.open.sealed_since(Timestamp::now()).is_none()))
    }

    /// What a version has already, in whatever state. For who may publish.
    pub async fn staged_files(
        &self,
        ecosystem: Ecosystem,
        name: &PackageName,
        version_key: &str,
    ) -> Result<StagedFiles, RegistryError> {
        let Some(head) = self.0.heads.get(ecosystem, name.canonical()).await? else {
            return Ok(StagedFiles::default());
        };
        let files = self.0.db.files_of_version(head.id, version_key).await?;
        let pending = files.iter().find_map(|file| file.pending().transpose()).transpose()?;
        let document = match pending {
            Some(pending) => Some(pending.metadata),
            None => self.0.db.release_metadata(head.id, version_key).await?,
        };
        Ok(StagedFiles { names: files.into_iter().map(|file| file.filename).collect(), document })
    }

    /// Keeps the checksum of a file and compares it with the file, if that is there. `path` names the file among all
    /// of the ecosystem; `digest` is lower-case hex. For who may publish.
    #[allow(clippy::too_many_arguments, reason = "who, which file, which checksum: each is one thing")]
    pub async fn note_checksum(
        &self,
        who: &Principal,
        ecosystem: Ecosystem,
        name: &PackageName,
        version_key: &str,
        filename: &str,
        path: &str,
        algorithm: &'static str,
        digest: &str,
    ) -> Result<Checksummed, RegistryError> {
        let Some(actor) = actor_of(who) else { return Err(self.broken_credential(who)) };
        // Kept first: a file that comes at this moment looks for checksums once it is stored.
        let now = Timestamp::now();
        let mut tx = self.0.db.begin().await?;
        tx.note_checksum(actor, path, algorithm, digest, now, now - CHECKSUM_KEPT).await?;
        tx.commit().await?;
        let Some(head) = self.0.heads.get(ecosystem, name.canonical()).await? else { return Ok(Checksummed::Kept) };
        let Some(file) = self.0.db.file_digests(head.id, version_key, filename).await? else {
            return Ok(Checksummed::Kept);
        };
        Ok(if is_digest_of(&file, algorithm, digest) { Checksummed::Matches } else { Checksummed::Differs })
    }

    /// The checksums that the caller uploaded for a file lately: algorithm and lower-case hex.
    pub async fn noted_checksums(&self, who: &Principal, path: &str) -> Result<Vec<(String, String)>, RegistryError> {
        let Some(actor) = actor_of(who) else { return Ok(Vec::new()) };
        Ok(self.0.db.uploaded_checksums(actor, path, Timestamp::now() - CHECKSUM_KEPT).await?)
    }

    /// Whether the caller uploaded that checksum of a file lately; of one who did not say who they are, whether
    /// anybody did.
    pub async fn is_checksum_noted(&self, who: &Principal, path: &str, algorithm: &str) -> Result<bool, RegistryError> {
        if actor_of(who).is_none() {
            return Ok(self.0.db.is_checksum_uploaded(path, algorithm, Timestamp::now() - CHECKSUM_KEPT).await?);
        }
        Ok(self.noted_checksums(who, path).await?.iter().any(|(known, _)| known == algorithm))
    }

    /// Forgets those checksums: they were wrong, and the client is going to send others.
    pub async fn forget_checksums(&self, who: &Principal, path: &str) -> Result<(), RegistryError> {
        let Some(actor) = actor_of(who) else { return Ok(()) };
        let mut tx = self.0.db.begin().await?;
        tx.forget_checksums(actor, path).await?;
        Ok(tx.commit().await?)
    }

    /// Takes a file out of a version that still takes files. `false` when the version is sealed or has no such file.
    pub async fn withdraw_file(
        &self,
        who: &Principal,
        ecosystem: Ecosystem,
        name: &PackageName,
        version_key: &str,
        Withdrawal { filename, spoke, reason }: Withdrawal<'_>,
    ) -> Result<bool, RegistryError> {
        let mut change = self.change(who, ecosystem, name.canonical(), Operation::Publish).await?;
        let release = change.release(version_key).await?;
        if release.open.sealed_since(change.now).is_some() || release.is_blocked() {
            return Ok(false);
        }
        let files = change.tx.files_of(release.id).await?;
        let Some(file) = files.iter().find(|file| file.filename == filename) else { return Ok(false) };
        change.tx.delete_artifact(file.id).await?;
        if spoke {
            let nothing = ReleaseDocument { metadata: serde_json::json!({}), facts: PackageFacts::default() };
            change.tx.set_release_document(release.id, &nothing).await?;
        }
        if files.len() == 1 {
            // Nothing is left to be served; the next file brings it back.
            change.tx.set_release_state(release.id, ReleaseState::Quarantine, change.now).await?;
        }
        let entry = change.audit(AuditAction::ReleaseUpdate).release(release.id);
        let entry = entry.with("version", release.version.as_str()).with("removed_artifact", filename);
        change.commit(entry.with("reason", reason)).await?;
        Ok(true)
    }

    /// Ends the deploy of a version, if the caller began it, and waits up to `patience` for scans of its files.
    pub async fn seal(
        &self,
        who: &Principal,
        ecosystem: Ecosystem,
        name: &PackageName,
        version_key: &str,
        patience: Duration,
    ) -> Result<(), RegistryError> {
        let mut change = self.change(who, ecosystem, name.canonical(), Operation::Publish).await?;
        let package = change.head.id;
        let release = match change.release(version_key).await {
            Ok(release) => release,
            Err(RegistryError::VersionNotFound(_)) => return Ok(()),
            Err(other) => return Err(other),
        };
        let publisher = change.tx.publisher_of(release.id).await?;
        if publisher == who.acting_user() && change.tx.seal(release.id, change.now).await? {
            let entry = change.audit(AuditAction::ReleaseUpdate).release(release.id);
            change.commit(entry.with("version", release.version.as_str()).with("sealed", true)).await?;
        } else {
            drop(change);
        }
        let deadline = tokio::time::Instant::now() + patience;
        while self.0.db.scanning_files(package, version_key).await? > 0 && tokio::time::Instant::now() < deadline {
            tokio::time::sleep(LOOK_EVERY).await;
        }
        Ok(())
    }
}

fn is_digest_of(file: &FileDigests, algorithm: &str, digest: &str) -> bool {
    match algorithm {
        "sha256" => file.sha256.hex() == digest,
        "sha512" => file.sha512 == digest,
        "sha1" => file.sha1.as_deref() == Some(digest),
        "md5" => file.md5.as_deref() == Some(digest),
        _ => false,
    }
}

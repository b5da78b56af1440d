//! OCI repositories as one caller sees them (docs/adr/0020-oci-storage.md).
//!
//! [`Registry::oci_repository`] is the gate: it decides reads and writes of a name once, and everything
//! else here asks what it decided. Bytes leave only as [`ServableBlob`] and [`ServableManifest`].

mod blobs;
mod listings;
mod manifests;
mod mount;
mod removal;
mod uploads;

use std::{sync::Arc, time::Duration};

use publaryn_core::{
    ContentDigest, Decision, Ecosystem, Operation, PackageId, PackageName, Principal, RegistryError,
    access::{Denial, Resource, refuse_before_lookup},
    decide,
    principal::{Binding, Who},
};
use publaryn_metadata::packages::PackageHead;
use publaryn_publish::actor_of;
use smol_str::SmolStr;
use uuid::Uuid;

use crate::Registry;

pub use blobs::{BlobUse, ServableBlob};
pub use listings::{Names, Referrers, Tags};
pub use manifests::{ManifestPush, PushOutcome, Pushed, ServableManifest};
pub use publaryn_publish::ManifestRefusal;
pub use removal::STAYS;
pub use uploads::{Placement, UploadRefusal, UploadStatus};

/// What the operator configured for OCI.
#[derive(Debug, Clone, Copy)]
pub struct OciSettings {
    /// `limits.artifact.oci_layer`.
    pub layer_limit_bytes: u64,
    /// `limits.artifact.oci_manifest`.
    pub manifest_limit_bytes: u64,
    /// `oci.identity_tokens`.
    pub identity_tokens: bool,
    /// `oci.token_ttl_seconds`.
    pub token_ttl: Duration,
}

/// How a caller stands to a repository's content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    Allowed,
    /// There is none of that name; the caller could make it.
    Missing,
    /// `Hidden` stands for missing as well.
    Refused(Decision),
}

/// A repository name as one caller sees it: the proof that the gate was passed.
#[derive(Debug, Clone)]
pub struct OciRepository {
    pub(crate) name: PackageName,
    /// `None` also for a package that was unpublished as a whole.
    pub(crate) head: Option<Arc<PackageHead>>,
    reads: Standing,
    writes: Standing,
    /// How the caller would stand to the name if there were no package.
    creation: Standing,
    /// Whom uploads belong to while there is no package.
    actor: Option<Uuid>,
}

impl OciRepository {
    pub fn name(&self) -> &str {
        self.name.canonical()
    }
    pub fn reads(&self) -> &Standing {
        &self.reads
    }
    pub fn writes(&self) -> &Standing {
        &self.writes
    }
    /// Whether a token may name it for reading. One that is hidden gets what a missing one would, or tokens would tell
    /// them apart; rights are asked again at each use.
    pub fn may_ask_to_read(&self) -> bool {
        match self.reads {
            Standing::Allowed | Standing::Missing => true,
            Standing::Refused(Decision::Hidden) => self.creation == Standing::Missing,
            Standing::Refused(_) => false,
        }
    }
    pub fn exists(&self) -> bool {
        self.head.is_some()
    }

    fn may_read(&self) -> bool {
        self.reads == Standing::Allowed
    }
    fn may_push(&self) -> bool {
        matches!(self.writes, Standing::Allowed | Standing::Missing)
    }

    /// Under whom the repository's blobs are filed.
    fn holder(&self) -> Option<Uuid> {
        self.head.as_ref().map_or(self.actor, |head| Some(head.id.0))
    }
}

/// What was found out about live content, under the revision it was found at.
pub(crate) struct OciCaches {
    blobs: moka::sync::Cache<(PackageId, i64, ContentDigest), Arc<ServableBlob>>,
    manifests: moka::sync::Cache<(PackageId, i64, SmolStr), Arc<ServableManifest>>,
}

/// Entries of each; some hundred bytes apiece.
const KEPT: u64 = 20_000;

impl Default for OciCaches {
    fn default() -> Self {
        Self { blobs: moka::sync::Cache::new(KEPT), manifests: moka::sync::Cache::new(KEPT) }
    }
}

impl Registry {
    /// Opens a repository name to a caller, as far as they may.
    pub async fn oci_repository(&self, who: &Principal, name: &PackageName) -> Result<OciRepository, RegistryError> {
        let head = self.0.heads.get(Ecosystem::Oci, name.canonical()).await?;
        self.judge_repository(who, name, head).await
    }

    async fn judge_repository(
        &self,
        who: &Principal,
        name: &PackageName,
        head: Option<Arc<PackageHead>>,
    ) -> Result<OciRepository, RegistryError> {
        let actor = actor_of(who);
        let Some(head) = head else {
            self.0.db.relation_to_nothing(who).await?;
            let writes = creation(who);
            let creation = writes.clone();
            let reads = match writes {
                Standing::Refused(_) => Standing::Refused(Decision::Hidden),
                _ => Standing::Missing,
            };
            return Ok(OciRepository { name: name.clone(), head: None, reads, writes, creation, actor });
        };
        let access = head.access(self.full_relation(who, &head).await?);
        let judge = |operation| match decide(who, operation, Resource::Package(&access)) {
            Decision::Allow => Standing::Allowed,
            refused => Standing::Refused(refused),
        };
        let writes = judge(Operation::Publish);
        let (head, reads) = if head.is_deleted {
            // Only its name is left; whoever may publish finds it empty.
            let reads =
                if writes == Standing::Allowed { Standing::Missing } else { Standing::Refused(Decision::Hidden) };
            (Some(head), reads)
        } else {
            (Some(head), judge(Operation::NativeRead))
        };
        Ok(OciRepository { name: name.clone(), head, reads, writes, creation: creation(who), actor })
    }

    /// Whether the repository could be made under that name, by every rule for names.
    ///
    /// # Errors
    /// The refusal that the first manifest would meet.
    pub async fn oci_may_create(&self, who: &Principal, repository: &OciRepository) -> Result<(), RegistryError> {
        if repository.head.is_some() {
            return Ok(());
        }
        self.may_create(who, Ecosystem::Oci, &repository.name).await
    }

    pub fn oci_settings(&self) -> &OciSettings {
        &self.0.settings.oci
    }
}

/// What a caller may do under a name without a package.
fn creation(who: &Principal) -> Standing {
    match refuse_before_lookup(who, Operation::CreatePackage, true) {
        Some(refusal) => Standing::Refused(refusal),
        None => match (&who.who, who.binding) {
            (Who::TrustedPublisher { .. }, _) => Standing::Refused(Decision::Denied(Denial::CredentialNotAccepted)),
            (_, Some(Binding::Package(_))) => Standing::Refused(Decision::Denied(Denial::TokenNotBound)),
            _ => Standing::Missing,
        },
    }
}

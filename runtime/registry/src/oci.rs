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
    access::{Denial, Owner, Resource, refuse_before_lookup},
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
pub(crate) use removal::{cleanup_oci, needing_index, take_manifest_out};
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
    /// Whether a token may name it for reading; rights are asked again at each use.
    pub fn may_ask_to_read(&self) -> bool {
        !matches!(self.reads, Standing::Refused(_))
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
    /// Under whom a blob may be found: what somebody uploaded while the package was being made is theirs until their
    /// own manifest comes.
    fn holders(&self) -> impl Iterator<Item = Uuid> {
        let early = self.actor.filter(|_| self.head.is_some() && self.may_push());
        self.holder().into_iter().chain(early)
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
            let writes = self.creation(who, name).await?;
            let reads = match writes {
                Standing::Refused(_) => Standing::Refused(Decision::Hidden),
                _ => Standing::Missing,
            };
            return Ok(OciRepository { name: name.clone(), head: None, reads, writes, actor });
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
        let hidden = Standing::Refused(Decision::Hidden);
        if reads == hidden && writes == hidden && self.creation(who, name).await? == Standing::Missing {
            // Reads as a name that is free would (docs/adr/0040-oci-hidden-names.md).
            return Ok(OciRepository { name: name.clone(), head: None, reads: Standing::Missing, writes, actor });
        }
        Ok(OciRepository { name: name.clone(), head, reads, writes, actor })
    }

    /// What a caller may do under a name without a package. A name that another's claim covers is not theirs to make,
    /// so it is as unknown to them as one that is hidden below the same claim.
    async fn creation(&self, who: &Principal, name: &PackageName) -> Result<Standing, RegistryError> {
        let standing = creation(who);
        if standing != Standing::Missing {
            return Ok(standing);
        }
        let claims = self.0.db.governing_claims(Ecosystem::Oci, &[name.canonical()]).await?;
        let Some(claim) = claims.get(name.canonical()) else { return Ok(standing) };
        let hidden = Standing::Refused(Decision::Hidden);
        match (claim.owner(), who.user()) {
            (Owner::User(owner), user) => Ok(if user.is_some_and(|user| user.id == owner) { standing } else { hidden }),
            (Owner::Org(_), _) => {
                let settings = &self.0.settings.publishing;
                match publaryn_publish::may_create(&self.0.db, settings, who, Ecosystem::Oci, name).await {
                    Err(RegistryError::Denied(_) | RegistryError::NotFound) => Ok(hidden),
                    Err(error) if !error.is_final() => Err(error),
                    // What else speaks against the name is said where it is made.
                    Ok(()) | Err(_) => Ok(standing),
                }
            }
        }
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

/// What a caller may do under a name that is nobody's.
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

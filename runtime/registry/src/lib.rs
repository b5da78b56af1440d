//! The application layer: what the surfaces (native adapters, `/v1`, background work) can ask for.
//!
//! [`Registry`] authenticates, decides, reads, stages and publishes. It hands out proofs
//! ([`PackageView`], [`ServableArtifact`]) instead of rows, so an adapter cannot serve what did not
//! pass the gate; and every change commits together with its audit entry.

use std::{
    collections::BTreeMap,
    sync::{Arc, OnceLock},
    time::Duration,
};

use publaryn_auth::{Presented, sigstore::TrustRoot};
use publaryn_blobs::BlobStore;
use publaryn_cluster::Cluster;
use publaryn_core::{
    ArtifactId, ArtifactKind, Ecosystem, PackageId, Principal, RegistryError, Visibility, error::CredentialProblem,
};
use publaryn_metadata::{Db, documents::ArtifactLocation};
use publaryn_publish::{Outcomes, PublishSettings, ScanAhead};
use publaryn_search::SearchIndex;
use smol_str::SmolStr;

mod advisories;
mod appending;
mod change;
pub mod control;
mod downloads;
mod gossip;
pub mod governance;
mod heads;
pub mod identity;
mod instance;
mod job_news;
mod kept;
mod listing;
mod login_attempts;
mod lookup;
mod meters;
mod name_lists;
pub mod oci;
mod open_releases;
mod operations;
mod plugins;
mod public_list;
mod publishing;
mod queues;
mod read;
mod rendered;
mod staging;
pub mod trusted_publishing;
mod view;

pub use advisories::Advisory;
pub use appending::Companion;
pub use change::{OwnerChange, Turns, Unpublished, package_turns};
pub use downloads::Downloads;
pub use identity::Identity;
pub use job_news::JobNews;
pub use lookup::{SearchHit, SearchResults};
pub use open_releases::{Checksummed, StagedFiles, Withdrawal};
pub use operations::{AuditSlice, AuditStart, AuditStep, AuditedLog, JobQuestion, Retry};
pub use plugins::{Plugin, PluginName};
pub use publaryn_blobs::{BlobBody, ByteStream};
pub use publaryn_metadata::documents::{ArtifactRow, LiveRelease, PackageDocument, ReleaseRow, Releases};
pub use publaryn_metadata::{
    packages::{ListedName, OwnerRow, PackageRow},
    teams::PublishingTeam,
};
pub use publaryn_search::{SearchQuery, SearchText};
pub use public_list::OfPublicList;
pub use publishing::Published;
pub use queues::Cancelled;
pub use rendered::Rendered;
pub use staging::{Inspector, StageRequest, StagedArtifact};
pub use view::{PackageView, ServableArtifact};

/// The application; cheap to clone.
#[derive(Clone)]
pub struct Registry(Arc<Inner>);

struct Inner {
    db: Db,
    blobs: Arc<dyn BlobStore>,
    search: Arc<dyn SearchIndex>,
    cluster: Arc<dyn Cluster>,
    identity: Identity,
    outcomes: Outcomes,
    turns: Turns,
    heads: heads::Heads,
    prefixes: plugins::Prefixes,
    list_changes: public_list::Changes,
    rendered: rendered::Documents<rendered::Key>,
    name_lists: name_lists::NameLists,
    artifacts: moka::sync::Cache<(PackageId, i64, SmolStr), Arc<ArtifactLocation>>,
    /// Which package a file belongs to: the one thing about it that never changes.
    packages_of_files: moka::sync::Cache<ArtifactId, (Ecosystem, SmolStr)>,
    /// Whether an ecosystem holds packages that not everybody may see.
    hides: moka::sync::Cache<Ecosystem, bool>,
    downloads: Downloads,
    oci: oci::OciCaches,
    /// Set where this process scans.
    scan_ahead: OnceLock<ScanAhead>,
    numbers: operations::LastNumbers,
    trusted_publishing: trusted_publishing::TrustedPublishing,
    settings: Settings,
}

/// What the operator configured, as far as this layer cares.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The public URL without trailing slash.
    pub base_url: String,
    /// `base_url` was set by the operator; otherwise links follow the request's host.
    pub base_url_is_explicit: bool,
    /// How long a native publish waits for its verdict; zero never waits.
    pub publish_wait: Duration,
    pub publishing: PublishSettings,
    /// Live releases of open packages may be deleted this long after publication; `None` = always.
    pub delete_window: Option<Duration>,
    /// Answer downloads with signed addresses that live this long.
    pub redirect_downloads: Option<Duration>,
    /// Size limits of uploads, in bytes.
    pub limits: Limits,
    /// Cargo's plain index entry point demands a token, too.
    pub cargo_auth_required: bool,
    pub oci: oci::OciSettings,
    pub maven: MavenSettings,
    /// `access.require_login`: anonymous native reads are refused.
    pub require_login: bool,
    /// What an anonymous caller gets for what it may not see.
    pub anonymous_miss: AnonymousMiss,
    /// `jobs.node_timeout_seconds`: a node that is silent for longer is dead.
    pub node_timeout: Duration,
    pub oidc: trusted_publishing::OidcSettings,
    /// `attestations.trusted_root`: whose signatures count; without it nobody's do.
    pub attestations: Option<Arc<TrustRoot>>,
    /// `namespaces.claim_policy = admin`.
    pub claims_by_admins_only: bool,
}

/// How long Maven releases take files.
#[derive(Debug, Clone, Copy)]
pub struct MavenSettings {
    /// After the last file, unless the client says that it was the last.
    pub idle: Duration,
    /// After that, for signatures and classified files.
    pub attachments: Duration,
}

/// `access.anonymous_miss` (access.md §11).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AnonymousMiss {
    /// As the ecosystem does it.
    Auto,
    /// Always asked for a credential.
    Challenge,
    /// Always told that there is nothing.
    NotFound,
}

/// Upload limits, in bytes (configuration.md §4, limits).
#[derive(Debug, Clone)]
pub struct Limits {
    /// The largest file of each kind; a kind that is missing may not be uploaded.
    pub artifacts: BTreeMap<ArtifactKind, u64>,
    pub json_body: u64,
    /// Files and bytes an archive may unpack to.
    pub max_entries: u64,
    pub max_unpacked: u64,
    pub max_ratio: u64,
}

impl Limits {
    /// The largest file of a kind.
    pub fn of(&self, kind: ArtifactKind) -> u64 {
        self.artifacts.get(&kind).copied().unwrap_or(0)
    }
}

/// The services a registry stands on.
pub struct Services {
    pub db: Db,
    pub blobs: Arc<dyn BlobStore>,
    pub search: Arc<dyn SearchIndex>,
    pub cluster: Arc<dyn Cluster>,
    pub identity: Identity,
    /// Orders the writers of each package.
    pub turns: Turns,
    /// Bytes of rendered documents kept in memory.
    pub rendered_cache_bytes: u64,
}

/// Where artifacts lie is remembered for this many files; the key holds the revision, so entries
/// of a changed package are simply never asked for again.
const KEPT_LOCATIONS: u64 = 50_000;

impl Registry {
    pub fn new(services: Services, settings: Settings) -> Self {
        let Services { db, blobs, search, cluster, identity, turns, rendered_cache_bytes } = services;
        Self(Arc::new(Inner {
            outcomes: Outcomes::new(db.clone()),
            turns,
            heads: heads::Heads::new(&db),
            prefixes: plugins::Prefixes::new(&db),
            list_changes: public_list::Changes::new(&db),
            rendered: rendered::Documents::new(rendered_cache_bytes),
            name_lists: name_lists::NameLists::new(),
            artifacts: moka::sync::Cache::new(KEPT_LOCATIONS),
            packages_of_files: moka::sync::Cache::new(KEPT_LOCATIONS),
            hides: moka::sync::Cache::builder().time_to_live(listing::HIDES_TTL).max_capacity(64).build(),
            downloads: Downloads::default(),
            oci: oci::OciCaches::default(),
            db,
            blobs,
            search,
            cluster,
            identity,
            scan_ahead: OnceLock::new(),
            numbers: operations::LastNumbers::default(),
            trusted_publishing: trusted_publishing::TrustedPublishing::new(&settings.oidc),
            settings,
        }))
    }

    pub fn settings(&self) -> &Settings {
        &self.0.settings
    }

    pub fn identity(&self) -> &Identity {
        &self.0.identity
    }

    pub fn downloads(&self) -> &Downloads {
        &self.0.downloads
    }

    /// For composition and operator surfaces; adapters never see it.
    pub fn db(&self) -> &Db {
        &self.0.db
    }

    pub fn blobs(&self) -> &Arc<dyn BlobStore> {
        &self.0.blobs
    }

    pub fn search_index(&self) -> &Arc<dyn SearchIndex> {
        &self.0.search
    }

    pub fn cluster(&self) -> &Arc<dyn Cluster> {
        &self.0.cluster
    }

    /// Lets this process scan small uploads before they are committed. The first call counts.
    pub fn scan_ahead_with(&self, scanner: ScanAhead) {
        let _ = self.0.scan_ahead.set(scanner);
    }

    /// Publishers waiting for a verdict right now.
    pub fn waiting_publishers(&self) -> usize {
        self.0.outcomes.waiting()
    }

    /// Another process changed the database: forget what was known of packages.
    pub fn expire_heads(&self) {
        self.0.heads.expire_all();
        self.0.prefixes.expire_all();
        self.0.list_changes.expire_all();
    }

    /// Who is calling, by the `Authorization` header of a native client.
    ///
    /// A broken credential is not an error here: reads are still served what anonymous callers may
    /// see, and everything else answers [`Registry::broken_credential`].
    pub async fn caller(&self, authorization: Option<&[u8]>) -> Result<Principal, RegistryError> {
        match Presented::from_header(authorization) {
            Presented::None => Ok(Principal::anonymous()),
            presented => match self.0.identity.authenticate(&presented, identity::Surface::Native).await {
                Ok(principal) => Ok(principal),
                Err(RegistryError::BadCredential(_)) => Ok(Principal::invalid()),
                Err(other) => Err(other),
            },
        }
    }

    /// The refusal of a caller that had to be somebody: 401 in each ecosystem's words.
    pub fn broken_credential(&self, who: &Principal) -> RegistryError {
        if who.is_invalid() {
            RegistryError::BadCredential(CredentialProblem::Invalid)
        } else {
            RegistryError::Unauthenticated
        }
    }

    /// The visibility of a personal repository made by a first publish.
    pub fn personal_visibility(&self) -> Visibility {
        self.0.settings.publishing.personal_repository_visibility
    }
}

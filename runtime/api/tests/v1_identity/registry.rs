//! A whole registry over a scratch database: blobs and index in a scratch directory, and of the actors only the one that
//! orders the writers of a package.

use std::{collections::HashSet, sync::Arc, time::Duration};

use publaryn_actors::{SupervisorSpec, Tree, TreeOptions};
use publaryn_blobs::{DiskConfig, StoreConfig};
use publaryn_cluster::InProcess;
use publaryn_core::{ArtifactKind, Visibility};
use publaryn_metadata::Db;
use publaryn_publish::{NameSimilarity, PublishSettings};
use publaryn_registry::{
    AnonymousMiss, Identity, Limits, Registry, Services, Settings, oci::OciSettings, package_turns,
};
use publaryn_search::EmbeddedIndex;

/// What a registry stands on; to be kept as long as it.
pub struct Ground {
    _dir: tempfile::TempDir,
    _tree: Tree,
}

pub async fn over(db: &Db, identity: Identity) -> (Registry, Ground) {
    let dir = tempfile::tempdir().unwrap();
    let blobs = StoreConfig::Disk(DiskConfig { path: dir.path().join("blobs") });
    let (child, turns) = package_turns(db.engine());
    let tree = Tree::start(SupervisorSpec::root(&[]).child(child), TreeOptions::default()).await;
    let services = Services {
        db: db.clone(),
        blobs: publaryn_blobs::open(blobs, 0).await.unwrap(),
        search: Arc::new(EmbeddedIndex::open(dir.path().join("search")).await.unwrap()),
        cluster: Arc::new(InProcess::new()),
        identity,
        turns,
        rendered_cache_bytes: 1 << 20,
    };
    (Registry::new(services, settings()), Ground { _dir: dir, _tree: tree })
}

fn settings() -> Settings {
    Settings {
        base_url: "http://127.0.0.1:3000".into(),
        base_url_is_explicit: false,
        publish_wait: Duration::ZERO,
        publishing: PublishSettings {
            personal_repository_visibility: Visibility::Private,
            reserved_names: HashSet::new(),
            releases_per_package: 100,
            artifacts_per_release: 100,
            name_similarity: NameSimilarity::Enforce,
            require_claim: HashSet::new(),
        },
        delete_window: None,
        redirect_downloads: None,
        limits: Limits {
            artifacts: ArtifactKind::ALL.iter().map(|kind| (*kind, 1 << 20)).collect(),
            json_body: 1 << 20,
            max_entries: 1_000,
            max_unpacked: 1 << 20,
            max_ratio: 100,
        },
        cargo_auth_required: false,
        maven: publaryn_registry::MavenSettings { idle: Duration::from_secs(900), attachments: Duration::ZERO },
        oci: OciSettings {
            layer_limit_bytes: 1 << 20,
            manifest_limit_bytes: 1 << 20,
            identity_tokens: true,
            token_ttl: Duration::from_secs(900),
        },
        require_login: false,
        anonymous_miss: AnonymousMiss::Auto,
        node_timeout: Duration::from_secs(15),
        oidc: publaryn_registry::trusted_publishing::OidcSettings::default(),
        attestations: None,
        claims_by_admins_only: false,
    }
}

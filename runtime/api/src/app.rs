//! The composition root: one value that is the running server.

use std::{
    collections::HashSet,
    net::SocketAddr,
    path::PathBuf,
    sync::{Arc, OnceLock},
    time::Duration,
};

use publaryn_actors::Tree;
use publaryn_auth::{AccountRules, EmailAddress, HashCost, RuleBreak, SigningSecret, sigstore::TrustRoot};
use publaryn_config::{
    AnonymousMiss, Config, CorsOrigin, DataDir, DataDirError, DataDirLock, DeleteWindow, Origin, PersonalVisibility,
    Registration, Role,
};
use publaryn_core::{ArtifactKind, BoxError, SystemClock, Visibility};
use publaryn_jobs::Jobs;
use publaryn_protocol::Adapter;
use publaryn_publish::{NameSimilarity, PublishSettings, fold_name};
use publaryn_ratelimit::{Limiter, Limits};
use publaryn_registry::{
    Identity, Registry, Services, Settings,
    identity::{IdentityKeys, IdentitySettings, NewAccount},
    oci::OciSettings,
    trusted_publishing::{OidcIssuer, OidcSettings},
};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::{
    backends,
    http::{
        Edge, HttpLimits, MetricsPage, Probes, RateLimits, Surfaces, TrustedProxies, bind,
        cors::{self, AllowedOrigins},
        with_templates,
    },
    protocols,
    supervision::{self, Parts, Standing},
    v1::{self, ApiSettings, ApiState, problem::Problem, stream_log::EventLog},
};

/// How this process differs from what the configuration says.
#[derive(Debug, Clone, Default)]
pub struct AppOptions {
    /// The program to run scanner processes with; without it artifacts are scanned in this process (tests only).
    pub scanner_program: Option<PathBuf>,
}

/// Why the server did not start; the binary turns it into its exit code.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    #[error("{key}: the service cannot be reached: {source}")]
    Unreachable {
        key: &'static str,
        #[source]
        source: BoxError,
    },
    #[error("{0} migrations are pending and database.auto_migrate is off; run `publaryn migrate`")]
    PendingMigrations(usize),
    #[error("cannot listen on {address}: {source}")]
    Listen {
        address: SocketAddr,
        #[source]
        source: std::io::Error,
    },
    #[error("{0}")]
    Internal(#[source] BoxError),
}

impl StartError {
    pub(crate) fn internal(source: impl Into<BoxError>) -> Self {
        Self::Internal(source.into())
    }
}

/// A running server.
pub struct App {
    address: SocketAddr,
    config: Config,
    registry: Registry,
    tree: Tree,
    jobs: Jobs,
    probes: Probes,
    stop_http: CancellationToken,
    /// A vital part of the tree gave up; the process should end with exit code 70.
    exhausted: CancellationToken,
    _lock: DataDirLock,
}

impl App {
    /// Puts everything together, migrates, and serves.
    pub async fn start(mut config: Config, options: AppOptions) -> Result<Self, StartError> {
        publaryn_actors::install_panic_hook();
        if let Some(at) = config.debug.crash_at {
            tracing::warn!(%at, "armed to crash (debug.crash_at)");
            publaryn_core::crash::arm(at);
        }
        let data_dir = DataDir::create(&config.data_dir)?;
        let lock = data_dir.lock()?;
        let listening = bind(config.server.listen)
            .await
            .map_err(|source| StartError::Listen { address: config.server.listen, source })?;
        config.bound_to(listening.address);
        let db = backends::database(&config).await?;
        backends::migrate(&config, &db).await?;
        let blobs = backends::blobs(&config).await?;
        let search = backends::search(&config).await?;
        let cluster = backends::cluster(&config)?;
        let identity = identity(&config, &data_dir, &db)?;
        bootstrap(&config, &identity).await?;
        let (turns_child, turns) = publaryn_registry::package_turns(db.engine());
        let services = Services {
            db: db.clone(),
            blobs: blobs.clone(),
            search: search.clone(),
            cluster: cluster.clone(),
            identity,
            turns,
            rendered_cache_bytes: RENDERED_CACHE_BYTES,
        };
        let registry = Registry::new(services, settings(&config, trust_root(&config)?));
        registry.note_policy(policy(&config)).await.map_err(StartError::internal)?;
        let mode = if config.is_embedded() { "embedded" } else { "external" };
        let page = if config.metrics.enabled { MetricsPage::install(mode) } else { None };
        let probes = Probes::new(
            registry.clone(),
            config.redis.url.is_some(),
            mode,
            page,
            config.metrics.token.as_ref().map(|t| t.expose().to_owned()),
        );
        let rate_limits = rate_limits(&config, &registry);
        let (standing_tree, event_log) = (Arc::new(OnceLock::new()), EventLog::default());
        // A worker serves probes and metrics only.
        let probing = probes.router(config.metrics.listen.is_none());
        let (adapters, routes) = if config.server.role == Role::Worker {
            (Vec::new(), probing)
        } else {
            let adapters: Vec<Arc<dyn Adapter>> = protocols::all().into_iter().map(Arc::from).collect();
            let state =
                management_state(&config, &registry, &adapters, rate_limits.as_ref(), &standing_tree, &event_log);
            let management = v1::router(state);
            let origins = AllowedOrigins::new(config.server.cors_allowed_origins.iter().map(CorsOrigin::as_str));
            let management = match origins {
                Some(origins) => management.layer(axum::middleware::from_fn_with_state(origins, cors::around)),
                None => management,
            };
            (adapters, with_templates(management.merge(probing)))
        };
        let edge = Edge::new(
            routes.fallback(async || Problem::route_not_found()),
            Surfaces::new(adapters, &registry),
            rate_limits.clone(),
            config.log.access,
            config.server.idle_timeout_seconds.duration(),
            TrustedProxies(config.server.trusted_proxies.clone()),
        );
        let metrics_listener = match config.metrics.listen.filter(|_| config.metrics.enabled) {
            Some(address) => {
                let listener = tokio::net::TcpListener::bind(address).await;
                let listener = listener.map_err(|source| StartError::Listen { address, source })?;
                Some(probes.metrics_listener(listener))
            }
            None => None,
        };
        let (stop_http, exhausted) = (CancellationToken::new(), CancellationToken::new());
        let limits = HttpLimits {
            max_connections: config.server.max_connections.as_usize(),
            idle: config.server.idle_timeout_seconds.duration(),
            grace: config.server.shutdown_grace_seconds.duration(),
        };
        let address = listening.address;
        let Standing { tree, jobs } = supervision::start(Parts {
            config: &config,
            options,
            registry: registry.clone(),
            stored: backends::stored_blobs(&config).await?,
            listening: Arc::new(listening),
            edge,
            limits,
            rate_limits,
            stop_http: stop_http.clone(),
            exhausted: exhausted.clone(),
            turns: turns_child,
            event_log,
            standing_tree: standing_tree.clone(),
            metrics_listener,
        })
        .await?;
        probes.watch(tree.clone());
        // Set once, at start.
        let _ = standing_tree.set(tree.clone());
        Ok(Self { address, config, registry, tree, jobs, probes, stop_http, exhausted, _lock: lock })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
    /// The URL clients use.
    pub fn base_url(&self) -> &str {
        self.config.server.base_url.as_str()
    }
    pub fn registry(&self) -> &Registry {
        &self.registry
    }
    pub fn tree(&self) -> &Tree {
        &self.tree
    }

    /// Ends when a vital subtree gave up.
    pub async fn exhausted(&self) {
        self.exhausted.cancelled().await;
    }

    /// Drains and stops (configuration.md §7): readiness first, then new connections, then work.
    pub async fn shutdown(self) {
        self.shutdown_unless(std::future::pending()).await;
    }

    /// [`App::shutdown`], with what is left cancelled at once when `hurry` ends (a second signal).
    pub async fn shutdown_unless(self, hurry: impl Future<Output = ()>) {
        self.probes.drain();
        let drain = async {
            tokio::time::sleep(Duration::from_millis(500)).await;
            self.stop_http.cancel();
            let grace = self.config.server.shutdown_grace_seconds.duration();
            self.jobs.begin_drain(grace.saturating_sub(GIVE_BACK));
            self.tree.stop(grace).await;
        };
        let is_hurried = tokio::select! {
            () = drain => false,
            () = hurry => true,
        };
        if is_hurried {
            self.stop_http.cancel();
            self.jobs.drain(Duration::ZERO).await;
            self.tree.stop(Duration::ZERO).await;
        }
        if let Err(error) = self.registry.downloads().flush(self.registry.db()).await {
            tracing::warn!(%error, "download counts of the last seconds are lost");
        }
        if let Err(error) = self.registry.identity().flush_last_use().await {
            tracing::warn!(%error, "last-use times of the last seconds are lost");
        }
        self.registry.db().close().await;
    }
}

/// Kept of the shutdown's grace for storing what running jobs give back.
const GIVE_BACK: Duration = Duration::from_secs(3);

/// Documents kept in memory: enough for thousands of packages in use, small beside what an operating
/// system's page cache takes.
const RENDERED_CACHE_BYTES: u64 = 128 << 20;

/// The identity service as the configuration wants it; commands beside the server use the same.
///
/// # Errors
/// When there is no usable signing key.
pub fn identity(config: &Config, data_dir: &DataDir, db: &publaryn_metadata::Db) -> Result<Identity, StartError> {
    let secret = |text: &str| SigningSecret::from_bytes(text.as_bytes()).map_err(StartError::internal);
    let current = match &config.auth.jwt_secret {
        Some(configured) => secret(configured.expose())?,
        None => secret(data_dir.signing_key()?.expose())?,
    };
    let previous = config.auth.jwt_secret_previous.as_ref().map(|s| secret(s.expose())).transpose()?;
    let unless_zero = |ttl: Duration| (!ttl.is_zero()).then_some(ttl);
    let auth = &config.auth;
    let settings = IdentitySettings {
        registration_is_open: auth.registration == Registration::Open,
        rules: account_rules(config),
        hash_cost: HashCost {
            memory_kib: auth.argon2_memory_kib.as_u32(),
            iterations: auth.argon2_iterations.as_u32(),
            parallelism: auth.argon2_parallelism.as_u32(),
        },
        access_ttl: auth.jwt_ttl_seconds.duration(),
        session_ttl: auth.session_ttl_seconds.duration(),
        session_max_ttl: auth.session_max_ttl_seconds.duration(),
        token_default_ttl: unless_zero(auth.token_default_ttl_days.duration()),
        token_max_ttl: unless_zero(auth.token_max_ttl_days.duration()),
        ..IdentitySettings::default()
    };
    let keys = IdentityKeys { issuer: auth.issuer.clone(), current, previous };
    Identity::new(db.clone(), Arc::new(SystemClock), settings, &keys).map_err(StartError::internal)
}

/// The configured rules for names and passwords.
pub fn account_rules(config: &Config) -> AccountRules {
    AccountRules {
        password_min_chars: config.auth.password_min_length.as_usize(),
        extra_reserved: config.policy.extra_reserved_names.clone(),
    }
}

/// Creates the configured first administrator, or says how to make one.
async fn bootstrap(config: &Config, identity: &Identity) -> Result<(), StartError> {
    if identity.has_accounts().await.map_err(StartError::internal)? {
        return Ok(());
    }
    let settings = &config.bootstrap;
    let (Some(name), Some(email), Some(password)) =
        (&settings.admin_username, &settings.admin_email, &settings.admin_password)
    else {
        tracing::info!(
            "no accounts yet; create the first administrator with: publaryn admin create-user --username NAME --email ADDRESS --admin"
        );
        return Ok(());
    };
    let rules = identity.rules();
    let broken = |problem: RuleBreak| StartError::internal(format!("bootstrap administrator: {}", problem.message));
    let account = NewAccount {
        username: rules.operator_username(name).map_err(broken)?,
        email: EmailAddress::parse(email).map_err(broken)?,
        password: rules.password(publaryn_auth::Secret::new(password.expose())).map_err(broken)?,
    };
    identity.bootstrap_admin(account).await.map_err(StartError::internal)?;
    Ok(())
}

/// Whose signatures count, as the configuration says.
fn trust_root(config: &Config) -> Result<Option<Arc<TrustRoot>>, StartError> {
    let Some(path) = &config.attestations.trusted_root else { return Ok(None) };
    let unusable = |reason: &dyn std::fmt::Display| {
        StartError::internal(format!("attestations.trusted_root: {} cannot be used: {reason}", path.display()))
    };
    let document = std::fs::read(path).map_err(|error| unusable(&error))?;
    Ok(Some(Arc::new(TrustRoot::parse(&document).map_err(|reason| unusable(&reason))?)))
}

fn settings(config: &Config, attestations: Option<Arc<TrustRoot>>) -> Settings {
    let reserved = publaryn_auth::account::RESERVED_EVERYWHERE.iter().map(|name| fold_name(name));
    let extra = config.policy.extra_reserved_names.iter().map(|name| fold_name(name));
    Settings {
        base_url: config.server.base_url.as_str().trim_end_matches('/').to_owned(),
        base_url_is_explicit: *config.origin_of("server.base_url") != Origin::Derived,
        publish_wait: config.publish.wait_seconds.duration(),
        publishing: PublishSettings {
            personal_repository_visibility: match config.packages.personal_repository_visibility {
                PersonalVisibility::Private => Visibility::Private,
                PersonalVisibility::Public => Visibility::Public,
                PersonalVisibility::Unlisted => Visibility::Unlisted,
            },
            reserved_names: reserved.chain(extra).collect::<HashSet<_>>(),
            releases_per_package: i64::from(config.limits.releases_per_package.as_u32()),
            artifacts_per_release: config.limits.artifacts_per_release.as_usize(),
            name_similarity: match config.policy.name_similarity {
                publaryn_config::NameSimilarity::Enforce => NameSimilarity::Enforce,
                publaryn_config::NameSimilarity::Warn => NameSimilarity::Warn,
                publaryn_config::NameSimilarity::Off => NameSimilarity::Off,
            },
            require_claim: config.namespaces.require_claim.iter().copied().collect(),
        },
        delete_window: match config.packages.delete_window_hours {
            DeleteWindow::Always => None,
            DeleteWindow::Never => Some(Duration::ZERO),
            DeleteWindow::Within(window) => Some(window),
        },
        redirect_downloads: config
            .storage
            .s3
            .redirect_downloads
            .then(|| config.storage.s3.presign_ttl_seconds.duration()),
        limits: publaryn_registry::Limits {
            artifacts: ArtifactKind::ALL.iter().map(|kind| (*kind, config.limits.artifact.of(*kind).bytes())).collect(),
            json_body: config.limits.json_body_bytes.bytes(),
            max_entries: u64::from(config.scan.max_entries.as_u32()),
            max_unpacked: config.scan.max_unpacked_bytes.bytes(),
            max_ratio: u64::from(config.scan.max_ratio.as_u32()),
        },
        cargo_auth_required: config.cargo.auth_required,
        maven: publaryn_registry::MavenSettings {
            idle: config.maven.open_seconds.duration(),
            attachments: Duration::from_secs(3600 * u64::from(config.maven.attachment_hours.as_u32())),
        },
        oci: OciSettings {
            layer_limit_bytes: config.limits.artifact.of(ArtifactKind::OciLayer).bytes(),
            manifest_limit_bytes: config.limits.artifact.of(ArtifactKind::OciManifest).bytes(),
            identity_tokens: config.oci.identity_tokens,
            token_ttl: config.oci.token_ttl_seconds.duration(),
        },
        require_login: config.access.require_login,
        anonymous_miss: match config.access.anonymous_miss {
            AnonymousMiss::Auto => publaryn_registry::AnonymousMiss::Auto,
            AnonymousMiss::Challenge => publaryn_registry::AnonymousMiss::Challenge,
            AnonymousMiss::NotFound => publaryn_registry::AnonymousMiss::NotFound,
        },
        node_timeout: config.jobs.node_timeout_seconds.duration(),
        attestations,
        oidc: OidcSettings {
            issuers: config
                .oidc
                .issuers
                .iter()
                .map(|one| OidcIssuer {
                    issuer: one.issuer.clone(),
                    jwks_url: one.jwks_url.as_ref().map(|keys| keys.url().as_str().to_owned()),
                })
                .collect(),
            audience: config.oidc.audience.clone(),
            host: config.server.base_url.host().to_owned(),
            token_ttl: config.oidc.token_ttl_seconds.duration(),
        },
        claims_by_admins_only: config.namespaces.claim_policy == publaryn_config::ClaimPolicy::Admin,
    }
}

/// `rate_limit.*`; shared with other replicas where there is a Redis.
fn rate_limits(config: &Config, registry: &Registry) -> Option<RateLimits> {
    let settings = config.rate_limit.enabled.then_some(&config.rate_limit)?;
    let limits = Limits {
        auth: settings.auth_per_minute.get(),
        write: settings.write_per_minute.get(),
        read: settings.read_per_minute.get(),
        protocol_read: settings.protocol_read_per_minute.get(),
        protocol_write: settings.protocol_write_per_minute.get(),
    };
    Some(RateLimits::new(Limiter::new(limits, registry.cluster().clone()), registry.identity().clone()))
}

/// Settings that decide what is let in and who sees it: a change of theirs stands in the audit log.
const POLICY: [&str; 6] = ["policy.", "namespaces.", "packages.", "scan.", "access.", "auth.registration"];

fn policy(config: &Config) -> serde_json::Map<String, serde_json::Value> {
    let all = config.effective().iter();
    let those = all.filter(|one| POLICY.iter().any(|part| one.key.starts_with(part)));
    those.map(|one| (one.key.to_owned(), one.value.clone().into())).collect()
}

/// What the management API works on.
fn management_state(
    config: &Config,
    registry: &Registry,
    adapters: &[Arc<dyn Adapter>],
    limits: Option<&RateLimits>,
    tree: &Arc<OnceLock<Tree>>,
    events: &EventLog,
) -> ApiState {
    let names: Arc<[Arc<dyn Adapter>]> = adapters.into();
    ApiState {
        identity: registry.identity().clone(),
        registry: registry.clone(),
        adapters: adapters.into(),
        parse_name: Arc::new(move |ecosystem, raw| match names.iter().find(|a| a.ecosystem() == ecosystem) {
            Some(adapter) => adapter.parse_name(raw),
            None => Err(publaryn_core::RegistryError::Unsupported(format!("the ecosystem {ecosystem}"))),
        }),
        settings: Arc::new(ApiSettings {
            base_url: config.server.base_url.as_str().to_owned(),
            json_body_bytes: config.limits.json_body_bytes.as_usize(),
            require_login: config.access.require_login,
            artifact_bytes: ArtifactKind::ALL
                .iter()
                .map(|kind| (*kind, config.limits.artifact.of(*kind).bytes()))
                .collect(),
        }),
        limits: limits.cloned(),
        tree: tree.clone(),
        streams: Arc::new(Semaphore::new(config.limits.sse_streams.as_usize())),
        events: events.clone(),
    }
}

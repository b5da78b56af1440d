//! Every setting of the server, one line each (contract/configuration.md §4).

use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf};

use ipnet::IpNet;
use publaryn_core::{ArtifactKind, Ecosystem, crash::CrashAt};

use crate::{
    BaseUrl, ByteSize, CorsOrigin, Count, DatabaseUrl, Days, DeleteWindow, HostPort, Hours, HttpUrl, LogFilter, Millis,
    Minutes, OidcIssuer, PerMinute, RedisUrl, Seconds, Secret, derive,
    loader::Loader,
    table::{DefaultValue, Key, Section, join},
    words::*,
};

settings! {
    /// All settings; the path of a field is its TOML path.
    Settings {
        /// Directory of the embedded database, blobs, search index and secrets.
        data_dir: PathBuf = "./data";
    } with {
        /// HTTP server.
        server: Server,
        /// Start-up.
        startup: Startup,
        /// Metadata database.
        database: Database,
        /// Shared limits and invalidation.
        redis: Redis,
        /// Blob store.
        storage: Storage,
        /// Search index.
        search: Search,
        /// Passwords, sessions and API tokens.
        auth: Auth,
        /// Trusted publishing.
        oidc: Oidc,
        /// First administrator.
        bootstrap: Bootstrap,
        /// Who may read.
        access: Access,
        /// Package rules.
        packages: Packages,
        /// Namespace claims.
        namespaces: Namespaces,
        /// Name policy.
        policy: Policy,
        /// Publishing.
        publish: Publish,
        /// Scanners.
        scan: Scan,
        /// OCI protocol.
        oci: Oci,
        /// Signatures of build workflows.
        attestations: Attestations,
        /// Maven protocol.
        maven: Maven,
        /// Cargo protocol.
        cargo: Cargo,
        /// Web portal.
        portal: Portal,
        /// Sizes and counts.
        limits: Limits,
        /// Requests per minute.
        rate_limit: RateLimit,
        /// Background jobs.
        jobs: Jobs,
        /// How long records are kept.
        retention: Retention,
        /// Garbage collection.
        gc: Gc,
        /// Logs.
        log: Log,
        /// Metrics.
        metrics: Metrics,
        /// Debugging aids; all off.
        debug: Debugging,
    }

    /// The HTTP server.
    Server {
        /// Address to listen on; port 0 picks a free one.
        listen: SocketAddr = "127.0.0.1:3000";
        /// Public URL; every absolute URL is built from it, never from the Host header. May carry a path prefix.
        base_url: BaseUrl = derived "http://<listen>" derive::base_url;
        /// Networks whose Forwarded and X-Forwarded-* headers are believed; the right-most untrusted hop is the client.
        trusted_proxies: Vec<IpNet> = "";
        /// Browser origins that may read answers, exactly http(s)://host[:port]; empty sends no CORS headers.
        cors_allowed_origins: Vec<CorsOrigin> = "";
        /// What this process does: everything, HTTP without workers, or workers only.
        role: Role = "all";
        /// Number of replicas announced, for validation.
        replicas: Count = "1";
        /// Serve the web portal.
        portal: bool = "true";
        /// Portal files from disk instead of the built-in ones.
        static_dir: Option<PathBuf> = unset;
        /// Time limit of a JSON request.
        request_timeout_seconds: Seconds<1> = "30";
        /// Longest pause without byte progress on uploads, downloads and streams.
        idle_timeout_seconds: Seconds<1> = "60";
        /// Connections served at once.
        max_connections: Count<1, 1_000_000> = "10000";
        /// Time that requests and jobs in flight get at shutdown.
        shutdown_grace_seconds: Seconds<0, 3600> = "25";
    }

    /// Start-up.
    Startup {
        /// How long an unreachable required service is retried before exit 69.
        wait_seconds: Seconds<0, 86_400> = "30";
    }

    /// The metadata database.
    Database {
        /// sqlite://PATH or postgres://… (14 or later).
        url: DatabaseUrl = derived "sqlite://<data_dir>/publaryn.db" derive::database_url;
        /// Connections in the pool.
        max_connections: Count<1, 10_000> = "20";
        /// How long a request waits for a connection before 503.
        acquire_timeout_seconds: Seconds<1, 300> = "5";
        /// Apply pending migrations at start; false refuses to start while some are pending.
        auto_migrate: bool = "true";
    }

    /// Redis.
    Redis {
        /// When set: rate limits are shared and changes reach other replicas at once.
        url: Option<RedisUrl> = unset;
    }

    /// The blob store.
    Storage {
        /// Where blobs live: a directory or an S3 bucket.
        backend: StorageBackend = "fs";
    } with {
        /// Settings of the directory.
        fs: StorageFs,
        /// Settings of the bucket.
        s3: StorageS3,
    }

    /// Blobs in a directory.
    StorageFs {
        /// Directory of the blobs.
        path: PathBuf = derived "<data_dir>/blobs" derive::blob_directory;
    }

    /// Blobs in an S3 bucket.
    StorageS3 {
        /// Endpoint of an S3-compatible store; unset = AWS.
        endpoint: Option<HttpUrl> = unset;
        /// Region of the bucket.
        region: String = "us-east-1";
        /// Name of the bucket.
        bucket: Option<String> = unset;
        /// Access key; unset = instance credentials.
        access_key: Option<Secret> = unset;
        /// Secret key; unset = instance credentials.
        secret_key: Option<Secret> = unset;
        /// Put the bucket into the path instead of the host name.
        path_style: bool = derived "true when storage.s3.endpoint is set" derive::path_style;
        /// Prefix of every object key.
        prefix: String = "";
        /// Answer downloads with a redirect to a presigned URL.
        redirect_downloads: bool = "false";
        /// Lifetime of a presigned URL.
        presign_ttl_seconds: Seconds<1, 604_800> = "300";
    }

    /// The search index.
    Search {
        /// Index in the data directory, or a Meilisearch server.
        backend: SearchBackend = derived "embedded, or meilisearch when search.url is set" derive::search_backend;
        /// Address of Meilisearch.
        url: Option<HttpUrl> = unset;
        /// Its API key.
        api_key: Option<Secret> = unset;
        /// Prefix of the index names.
        index_prefix: String = "publaryn";
    }

    /// Passwords, sessions and API tokens.
    Auth {
        /// Signs access tokens, at least 32 bytes and equal on all replicas; unset = <data_dir>/secrets/jwt.key.
        jwt_secret: Option<Secret> = unset;
        /// Still accepted for verification while the secret is being replaced.
        jwt_secret_previous: Option<Secret> = unset;
        /// Issuer named in access tokens.
        issuer: String = derived "<server.base_url>" derive::issuer;
        /// Lifetime of an access token.
        jwt_ttl_seconds: Seconds<60, 86_400> = "3600";
        /// Lifetime of a session after its last refresh.
        session_ttl_seconds: Seconds<60> = "86400";
        /// Lifetime of a session, however often it is refreshed.
        session_max_ttl_seconds: Seconds<60> = "2592000";
        /// Who may create an account: anyone, or administrators only.
        registration: Registration = "open";
        /// Shortest password accepted, in characters.
        password_min_length: Count<8, 256> = "12";
        /// Lifetime of an API token made without one; 0 = never expires.
        token_default_ttl_days: Days = "90";
        /// Longest lifetime of an API token; 0 = unlimited.
        token_max_ttl_days: Days = "0";
        /// Memory of the password hash; passwords are rehashed on login when it changes.
        argon2_memory_kib: Count<8, 4_194_304> = "19456";
        /// Passes of the password hash.
        argon2_iterations: Count<1, 1000> = "2";
        /// Lanes of the password hash.
        argon2_parallelism: Count<1, 64> = "1";
    }

    /// Trusted publishing.
    Oidc {
        /// Issuers whose tokens may be exchanged, matched exactly.
        issuers: Vec<OidcIssuer> = "https://token.actions.githubusercontent.com,https://gitlab.com";
        /// Audience that a foreign token must name.
        audience: String = derived "authority of <server.base_url>" derive::audience;
        /// Lifetime of a minted token.
        token_ttl_seconds: Seconds<60, 3600> = "900";
    }

    /// The first administrator, created on start while no account exists.
    Bootstrap {
        /// User name.
        admin_username: Option<String> = unset;
        /// Mail address.
        admin_email: Option<String> = unset;
        /// Password.
        admin_password: Option<Secret> = unset;
    }

    /// Who may read.
    Access {
        /// Refuse every anonymous read.
        require_login: bool = "false";
        /// What an anonymous caller gets for what it may not see.
        anonymous_miss: AnonymousMiss = "auto";
    }

    /// Package rules.
    Packages {
        /// Visibility of a personal repository made by a first publish.
        personal_repository_visibility: PersonalVisibility = "private";
        /// How long a release may be deleted; 0 = never, -1 = always.
        delete_window_hours: DeleteWindow = "72";
    }

    /// Namespace claims.
    Namespaces {
        /// Who may claim a namespace.
        claim_policy: ClaimPolicy = "open";
        /// Ecosystems in which a namespace must be claimed before publishing.
        require_claim: Vec<Ecosystem> = "";
    }

    /// Name policy.
    Policy {
        /// What happens to names that look like existing ones.
        name_similarity: NameSimilarity = "enforce";
        /// Names nobody may take, besides the built-in ones.
        extra_reserved_names: Vec<String> = "";
    }

    /// Publishing.
    Publish {
        /// How long a native publish waits for the release to go live; 0 = never.
        wait_seconds: Seconds<0, 3600> = "15";
    }

    /// Scanners.
    Scan {
        /// Unpacked size of an archive.
        max_unpacked_bytes: ByteSize = "4GiB";
        /// Entries of an archive.
        max_entries: Count<1, 10_000_000> = "200000";
        /// Compression ratio of an archive.
        max_ratio: Count<1, 100_000> = "200";
        /// Archives within archives.
        max_depth: Count<1, 16> = "3";
        /// Look for secrets.
        secrets: bool = "true";
        /// Look at install hooks.
        install_hooks: bool = "true";
        /// Look for files of unexpected types.
        file_types: bool = "true";
        /// Compare with a snapshot of known vulnerabilities.
        advisories: bool = "false";
        /// The OSV snapshot.
        osv_path: Option<PathBuf> = unset;
        /// clamd, as host:port; when it fails, the scan fails.
        clamav: Option<HostPort> = unset;
    }

    /// OCI protocol.
    Oci {
        /// Hand out identity tokens (refresh tokens); podman and skopeo refuse logins that carry one.
        identity_tokens: bool = "false";
        /// Life of a registry token; rights are asked again at each use.
        token_ttl_seconds: Seconds<60, 3600> = "900";
    }

    /// Signatures of build workflows.
    Attestations {
        /// A Sigstore `trusted_root.json`: without one no attestation is vouched for.
        trusted_root: Option<PathBuf> = unset;
    }

    /// Maven protocol.
    Maven {
        /// How long a version takes further files after the last one, unless its client ends the deploy.
        open_seconds: Seconds<1, 86400> = "900";
        /// How long after that signatures and classified files may still be added; 0 = never.
        attachment_hours: Count<0, 8760> = "72";
    }

    /// Cargo protocol.
    Cargo {
        /// Demand a token for the plain index too, which then shows private crates.
        auth_required: bool = "false";
    }

    /// Web portal.
    Portal {
        /// Images of other hosts in a README: ask the reader, load, or never load.
        readme_images: ReadmeImages = "ask";
        /// Let search engines index the portal.
        allow_indexing: bool = "false";
    }

    /// Sizes and counts.
    Limits {
        /// JSON request body.
        json_body_bytes: ByteSize = "1MiB";
        /// Files of a release.
        artifacts_per_release: Count = "1000";
        /// Releases of a package.
        releases_per_package: Count = "100000";
        /// Uploads at once.
        concurrent_uploads: Count<1, 100_000> = "256";
        /// Event streams at once.
        sse_streams: Count<1, 100_000> = "64";
    } with {
        /// Size of one file, by kind.
        artifact: ArtifactLimits,
    }

    /// Requests per minute; a burst of one minute's worth is allowed.
    RateLimit {
        /// Limit at all.
        enabled: bool = "true";
        /// Logins and token exchanges, per client address.
        auth_per_minute: PerMinute = "20";
        /// Other changes through /v1, per credential or address.
        write_per_minute: PerMinute = "300";
        /// Other reads through /v1.
        read_per_minute: PerMinute = "1200";
        /// Reads by package clients.
        protocol_read_per_minute: PerMinute = "30000";
        /// Uploads by package clients; every chunk and file counts.
        protocol_write_per_minute: PerMinute = "6000";
    }

    /// Background jobs.
    Jobs {
        /// Jobs running at once in this process.
        concurrency: Count<1, 4096> = derived "CPU count, at least 4" derive::job_concurrency;
        /// How often the queue is asked when no wake-up arrives.
        poll_interval_ms: Millis<10, 3_600_000> = derived "1000 (PostgreSQL), 200 (SQLite)" derive::poll_interval;
        /// A node that is silent for so long is considered dead; nodes report every 5 s.
        node_timeout_seconds: Seconds<6, 3600> = "15";
        /// A job whose worker is silent for so long is given to another; workers report every 15 s.
        lease_seconds: Seconds<20, 86_400> = "60";
    } with {
        /// Values of one kind of job.
        kinds: JobKinds,
    }

    /// How long records are kept.
    Retention {
        /// Completed jobs.
        jobs_completed_hours: Hours<1> = "24";
        /// Dead jobs.
        jobs_dead_days: Days<1> = "30";
        /// Audit entries; 0 = for ever.
        audit_days: Days = "0";
        /// Ended sessions.
        sessions_days: Days<1> = "30";
    }

    /// Garbage collection.
    Gc {
        /// Time between runs.
        interval_minutes: Minutes<1> = "60";
        /// Nothing younger is deleted.
        grace_hours: Hours = "24";
        /// Lifetime of an unfinished upload.
        upload_ttl_hours: Hours<1> = "24";
    }

    /// Logs, on stderr.
    Log {
        /// One JSON object per line, or text for people.
        format: LogFormat = derived "pretty on a terminal, else json" derive::log_format;
        /// Level, or a filter such as info,publaryn_jobs=debug; RUST_LOG is read too.
        level: LogFilter = "info";
        /// One line per request.
        access: bool = "true";
    }

    /// Metrics.
    Metrics {
        /// Serve /metrics.
        enabled: bool = "true";
        /// Serve them on this address only, without authentication.
        listen: Option<SocketAddr> = unset;
        /// Bearer token that may read them.
        token: Option<Secret> = unset;
    }

    /// Debugging aids.
    Debugging {
        /// Let administrators kill actors and inject faults; refused when server.base_url is not loopback.
        fault_injection: bool = "false";
        /// End the process without warning at this place of a publish, as place or place:passing; needs debug.fault_injection.
        crash_at: Option<CrashAt> = unset;
    }
}

/// `limits.artifact.<kind>`: the largest file of each kind.
#[derive(Debug, Clone)]
pub struct ArtifactLimits(BTreeMap<ArtifactKind, ByteSize>);

impl ArtifactLimits {
    pub fn of(&self, kind: ArtifactKind) -> ByteSize {
        self.0[&kind]
    }

    fn default_of(kind: ArtifactKind) -> &'static str {
        match kind {
            ArtifactKind::OciLayer => "10GiB",
            ArtifactKind::Jar => "512MiB",
            ArtifactKind::Tarball
            | ArtifactKind::Wheel
            | ArtifactKind::Sdist
            | ArtifactKind::Crate
            | ArtifactKind::Nupkg
            | ArtifactKind::Snupkg
            | ArtifactKind::Gem
            | ArtifactKind::ComposerZip
            | ArtifactKind::SourceZip => "256MiB",
            ArtifactKind::Sbom => "64MiB",
            ArtifactKind::Pom | ArtifactKind::OciManifest => "4MiB",
            ArtifactKind::Checksum | ArtifactKind::Signature => "1MiB",
        }
    }
}

impl Section for ArtifactLimits {
    fn keys(section: &str, out: &mut Vec<Key>) {
        out.extend(ArtifactKind::ALL.iter().map(|kind| {
            let default = DefaultValue::Text(Self::default_of(*kind));
            Key::new::<ByteSize>(section, kind.as_str(), "Largest file of this kind.", default)
        }));
    }

    fn load(section: &str, loader: &mut Loader) -> Self {
        Self(ArtifactKind::ALL.iter().map(|kind| (*kind, loader.value(&join(section, kind.as_str())))).collect())
    }
}

/// The kinds of background jobs (contract/jobs.md §2).
pub const JOB_KINDS: &[&str] = &[
    "scan_artifact",
    "finalize_release",
    "index_package",
    "reindex_search",
    "cleanup_oci_blobs",
    "cleanup_blobs",
    "cleanup_expired_tokens",
    "prune_jobs",
    "flush_downloads",
    "analyze_release",
    "reconcile_releases",
    "verify_blobs",
    "rescan",
];

settings! {
    /// What an operator changed about one kind of job; the defaults are in the job's own definition.
    JobKindOverride {
        /// Jobs of this kind running at once in this process.
        concurrency: Option<Count<1, 4096>> = unset;
        /// Attempts before a job is dead.
        max_attempts: Option<Count<1, 1000>> = unset;
        /// Time limit of one attempt.
        timeout_seconds: Option<Seconds<1, 604_800>> = unset;
    }
}

/// `jobs.kinds.<kind>`.
#[derive(Debug, Clone)]
pub struct JobKinds(BTreeMap<&'static str, JobKindOverride>);

impl JobKinds {
    /// What was changed about a kind; `None` for one that is not in [`JOB_KINDS`].
    pub fn of(&self, kind: &str) -> Option<&JobKindOverride> {
        self.0.get(kind)
    }
}

impl Section for JobKinds {
    fn keys(section: &str, out: &mut Vec<Key>) {
        for kind in JOB_KINDS {
            JobKindOverride::keys(&join(section, kind), out);
        }
    }

    fn load(section: &str, loader: &mut Loader) -> Self {
        Self(JOB_KINDS.iter().map(|kind| (*kind, Section::load(&join(section, kind), loader))).collect())
    }
}

//! The supervision tree (jobs.md §7): what runs, under which name, restarted how.

use std::{
    path::PathBuf,
    sync::{Arc, OnceLock},
    time::Duration,
};

use publaryn_actors::{ChildSpec, Context, Strategy, SupervisorSpec, Tree, TreeOptions};
use publaryn_blobs::BlobStore;
use publaryn_config::{Config, Role};
use publaryn_core::{BoxError, finding::Severity, job::JobKind};
use publaryn_gc::{
    CleanupBlobs, CleanupExpiredTokens, CleanupOciBlobs, Collector, FlushDownloads, OciLetGo, VerifyBlobs,
};
use publaryn_jobs::{Handler, Jobs, JobsOptions, KindOverride, PruneJobs, default_schedules};
use publaryn_publish::{FinalizeRelease, ReconcileReleases, ScanAhead, ScanArtifact};
use publaryn_registry::Registry;
use publaryn_reindex::{IndexPackage, ReindexSearch};
use publaryn_scan::{ScanLimits, ScanMode, ScannerPool};
use tokio_util::sync::CancellationToken;

use crate::{
    AppOptions, StartError,
    http::{Edge, HttpLimits, Listening, RateLimits, fold_samples, serve},
    protocols,
    v1::stream_log::EventLog,
};

pub(crate) struct Parts<'a> {
    pub config: &'a Config,
    pub options: AppOptions,
    pub registry: Registry,
    /// The store without anything of it in memory.
    pub stored: Arc<dyn BlobStore>,
    pub listening: Arc<Listening>,
    pub edge: Edge,
    pub limits: HttpLimits,
    pub rate_limits: Option<RateLimits>,
    pub stop_http: CancellationToken,
    pub exhausted: CancellationToken,
    pub turns: ChildSpec,
    /// What event streams tell, of this tree once it stands.
    pub event_log: EventLog,
    pub standing_tree: Arc<OnceLock<Tree>>,
    /// `metrics.listen`.
    pub metrics_listener: Option<ChildSpec>,
}

/// How often sums kept in memory are written.
const FLUSH_EVERY: Duration = Duration::from_secs(5);
/// How often the samples of histograms are folded: 16 bytes each until then.
const FOLD_METRICS: Duration = Duration::from_secs(1);
/// How often the embedded server looks whether another process wrote to its database.
const LOOK_FOR_STRANGERS: Duration = Duration::from_secs(1);
/// How long one run of `verify_blobs` reads, of the hour its kind may take.
const VERIFY_FOR: Duration = Duration::from_secs(45 * 60);
/// How often the store's size is reported, and how much rarer than a report takes.
const REPORT_USAGE_EVERY: Duration = Duration::from_secs(60);
const USAGE_SHARE: u32 = 200;

/// The running tree, and what must be told before it stops.
pub(crate) struct Standing {
    pub tree: Tree,
    pub jobs: Jobs,
}

pub(crate) async fn start(parts: Parts<'_>) -> Result<Standing, StartError> {
    let registry = parts.registry.clone();
    let scanners = scanner_pool(parts.options.scanner_program.clone(), cpus());
    let jobs = jobs(&parts, scanners.clone()).await?;
    let (scanners_ahead, blobs) = (scanners.clone(), registry.blobs().clone());
    registry.scan_ahead_with(ScanAhead { jobs: jobs.clone(), scanners: scanners_ahead, blobs });
    let root = SupervisorSpec::root(&["http", "auth"])
        .child(auth(&registry, parts.rate_limits.as_ref()))
        .child(parts.turns.clone())
        .child(storage(&registry))
        .child(search(&registry))
        .child(events(&parts));
    let root = jobs.children().into_iter().fold(root, SupervisorSpec::child).child(http(&parts));
    let exhausted = parts.exhausted.clone();
    let options = TreeOptions { on_exhausted: Some(Box::new(move |_| exhausted.cancel())) };
    if parts.config.server.role != Role::Api
        && let Err(error) = scanners.warm().await
    {
        tracing::warn!(%error, "scanner processes do not start; releases wait in `scanning`");
    }
    Ok(Standing { tree: Tree::start(root, options).await, jobs })
}

fn cpus() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// The job engine with every kind this server can run, and the schedules of jobs.md §4. A node of role
/// `api` runs no jobs, but may lead: it then enqueues what others run.
async fn jobs(parts: &Parts<'_>, scanners: ScannerPool) -> Result<Jobs, StartError> {
    let config = parts.config;
    let handlers = match config.server.role {
        Role::Api => Vec::new(),
        Role::All | Role::Worker => handlers(parts, scanners),
    };
    let overrides = JobKind::ALL.iter().filter_map(|kind| {
        let own = config.jobs.kinds.of(kind.as_str())?;
        Some((
            *kind,
            KindOverride {
                concurrency: own.concurrency.map(|n| n.as_usize()),
                max_attempts: own.max_attempts.map(|n| i64::from(n.as_u32())),
                timeout: own.timeout_seconds.map(|seconds| seconds.duration()),
            },
        ))
    });
    let options = JobsOptions {
        role: config.server.role.as_str().to_owned(),
        lease: config.jobs.lease_seconds.duration(),
        node_timeout: config.jobs.node_timeout_seconds.duration(),
        poll_interval: config.jobs.poll_interval_ms.duration(),
        concurrency: config.jobs.concurrency.as_usize(),
        drain_grace: config.server.shutdown_grace_seconds.duration(),
        kinds: overrides.collect(),
        schedules: default_schedules(config.gc.interval_minutes.duration()),
        ..JobsOptions::new(node_id(config))
    };
    Jobs::start(parts.registry.db().clone(), options, handlers).await.map_err(StartError::internal)
}

fn handlers(parts: &Parts<'_>, scanners: ScannerPool) -> Vec<Arc<dyn Handler>> {
    let (config, registry) = (parts.config, &parts.registry);
    let (db, blobs, index) = (registry.db(), registry.blobs(), registry.search_index());
    let (grace, upload_ttl) = (config.gc.grace_hours.duration(), config.gc.upload_ttl_hours.duration());
    vec![
        Arc::new(ScanArtifact { db: db.clone(), blobs: blobs.clone(), scanners }),
        Arc::new(FinalizeRelease { db: db.clone() }),
        Arc::new(ReconcileReleases { db: db.clone(), upload_ttl }),
        Arc::new(IndexPackage::new(db.clone(), index.clone())),
        Arc::new(ReindexSearch { db: db.clone(), index: index.clone() }),
        Arc::new(PruneJobs {
            db: db.clone(),
            keep_completed: config.retention.jobs_completed_hours.duration(),
            keep_dead: config.retention.jobs_dead_days.duration(),
        }),
        Arc::new(CleanupBlobs { collector: Collector { db: db.clone(), blobs: blobs.clone() }, grace, upload_ttl }),
        Arc::new(CleanupOciBlobs {
            db: db.clone(),
            grace,
            parts: vec![Arc::new(OciLetGo { db: db.clone(), blobs: blobs.clone(), upload_ttl })],
        }),
        Arc::new(VerifyBlobs { db: db.clone(), blobs: parts.stored.clone(), read_for: VERIFY_FOR }),
        Arc::new(CleanupExpiredTokens {
            db: db.clone(),
            keep: config.retention.sessions_days.duration(),
            keep_audit: Some(config.retention.audit_days.duration()).filter(|keep| !keep.is_zero()),
        }),
        Arc::new(FlushDownloads { db: db.clone() }),
    ]
}

/// A name that is stable across restarts: the data directory is locked to one process, so the
/// directory names the node.
fn node_id(config: &Config) -> String {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let mut hash = DefaultHasher::new();
    let host = std::fs::read_to_string("/etc/hostname").unwrap_or_default();
    (host.trim(), std::path::absolute(&config.data_dir).unwrap_or_default()).hash(&mut hash);
    format!("node-{:08x}", hash.finish() as u32)
}

/// The index owner, and the watch over a lost or outdated index.
fn search(registry: &Registry) -> SupervisorSpec {
    let (owner, watching) = (registry.search_index().clone(), registry.clone());
    SupervisorSpec::new("search", Strategy::RestForOne)
        .child(until_stopped("index", move || {
            let index = owner.clone();
            async move { index.run().await }
        }))
        .child(every("rebuild", FLUSH_EVERY, move || {
            let registry = watching.clone();
            async move {
                if registry.search_index().needs_rebuild().await? {
                    let mut tx = registry.db().begin().await?;
                    tx.enqueue(&ReindexSearch::job(None)).await?;
                    tx.commit().await?;
                }
                let now = publaryn_core::Timestamp::now();
                publaryn_reindex::report_lag(registry.db(), &**registry.search_index(), now).await?;
                Ok(())
            }
        }))
}

fn http(parts: &Parts<'_>) -> SupervisorSpec {
    let (listening, edge, limits, stop) =
        (parts.listening.clone(), parts.edge.clone(), parts.limits, parts.stop_http.clone());
    let listener = ChildSpec::service("listener", move |context| {
        let (listening, edge, stop) = (listening.clone(), edge.clone(), stop.clone());
        async move {
            let both = stop.child_token();
            tokio::select! {
                () = serve(listening, edge, limits, both.clone()) => {}
                () = async { context.stopping().await; both.cancel(); std::future::pending::<()>().await } => {}
            }
            Ok(())
        }
    });
    let metrics = every("metrics", FOLD_METRICS, || async {
        fold_samples();
        Ok(())
    });
    let http = SupervisorSpec::new("http", Strategy::OneForOne).child(listener).child(metrics);
    match &parts.metrics_listener {
        Some(own) => http.child(own.clone()),
        None => http,
    }
}

fn auth(registry: &Registry, limits: Option<&RateLimits>) -> SupervisorSpec {
    let (flushing, sharing) = (registry.clone(), registry.clone());
    let mut auth = SupervisorSpec::new("auth", Strategy::OneForOne).child(every("last_use", FLUSH_EVERY, move || {
        let registry = flushing.clone();
        async move { Ok(registry.identity().flush_last_use().await?) }
    }));
    if let Some(limits) = limits {
        auth = auth.child(limits.upkeep());
    }
    if registry.cluster().is_alone() {
        return auth;
    }
    auth.child(until_stopped("login_attempts", move || {
        let registry = sharing.clone();
        async move { registry.share_login_attempts().await }
    }))
}

fn storage(registry: &Registry) -> SupervisorSpec {
    let (registry, measured, naming) = (registry.clone(), registry.clone(), registry.clone());
    SupervisorSpec::new("storage", Strategy::OneForOne)
        .child(every("downloads", FLUSH_EVERY, move || {
            let registry = registry.clone();
            async move { Ok(registry.downloads().flush(registry.db()).await.map(drop)?) }
        }))
        .child(every("names", FLUSH_EVERY, move || {
            let registry = naming.clone();
            async move { Ok(registry.db().read_new_names().await.map(drop)?) }
        }))
        .child(ChildSpec::service("usage", move |context| report_usage(measured.clone(), context)))
}

/// Keeps the store's size on the metrics page. The sum reads a whole table, so the longer it takes, the
/// rarer it is made.
async fn report_usage(registry: Registry, context: Context) -> Result<(), BoxError> {
    // Shown as zero from the start: a metric that appears with its first event cannot be alerted on.
    metrics::counter!("publaryn_gc_deleted_objects_total").increment(0);
    metrics::counter!("publaryn_gc_freed_bytes_total").increment(0);
    while !context.is_stopping() {
        let started = std::time::Instant::now();
        match registry.db().blob_usage().await {
            Ok(usage) => {
                metrics::gauge!("publaryn_storage_objects").set(usage.objects as f64);
                metrics::gauge!("publaryn_storage_bytes").set(usage.bytes as f64);
            }
            Err(error) => tracing::warn!(%error, "the size of the store could not be told"),
        }
        match registry.db().unresolved_by_severity().await {
            Ok(found) => {
                for severity in Severity::ALL {
                    let count = found.iter().find(|(of, _)| of == severity).map_or(0, |(_, count)| *count);
                    metrics::gauge!("publaryn_findings_unresolved", "severity" => severity.as_str()).set(count as f64);
                }
            }
            Err(error) => tracing::warn!(%error, "unresolved findings could not be counted"),
        }
        context.worked(started);
        tokio::select! {
            () = tokio::time::sleep(REPORT_USAGE_EVERY.max(started.elapsed() * USAGE_SHARE)) => {}
            () = context.stopping() => break,
        }
    }
    Ok(())
}

fn events(parts: &Parts<'_>) -> SupervisorSpec {
    let registry = &parts.registry;
    let (log, told, tree) = (parts.event_log.clone(), registry.clone(), parts.standing_tree.clone());
    let (watching, cluster) = (registry.clone(), registry.cluster().clone());
    let seen = Arc::new(std::sync::atomic::AtomicI64::new(-1));
    let telling = (!cluster.is_alone()).then(|| registry.clone());
    let events = SupervisorSpec::new("events", Strategy::OneForOne)
        .child(until_stopped("cluster", move || {
            let cluster = cluster.clone();
            async move { cluster.run().await }
        }))
        .child(until_stopped("log", move || {
            let (log, registry, tree) = (log.clone(), told.clone(), tree.clone());
            async move { log.write(&registry, &tree).await }
        }))
        .child(every("strangers", LOOK_FOR_STRANGERS, move || {
            let (registry, seen) = (watching.clone(), seen.clone());
            async move {
                let version = registry.db().data_version().await?;
                if seen.swap(version, std::sync::atomic::Ordering::AcqRel) != version {
                    registry.expire_heads();
                }
                Ok(())
            }
        }));
    match telling {
        Some(registry) => events.child(until_stopped("job_news", move || {
            let registry = registry.clone();
            async move { registry.tell_job_news().await }
        })),
        None => events,
    }
}

/// A service that goes on for as long as the server.
fn until_stopped<F, Fut>(name: &'static str, work: F) -> ChildSpec
where
    F: Fn() -> Fut + Send + Sync + 'static,
    Fut: Future<Output = ()> + Send + 'static,
{
    ChildSpec::service(name, move |context| {
        let work = work();
        async move {
            tokio::select! {
                () = work => {}
                () = context.stopping() => {}
            }
            Ok(())
        }
    })
}

/// A service that does something every so often; a failure is logged and tried again next time.
fn every<F, Fut>(name: &'static str, period: Duration, work: F) -> ChildSpec
where
    F: Fn() -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = Result<(), BoxError>> + Send + 'static,
{
    ChildSpec::service(name, move |context| {
        let work = work.clone();
        async move {
            while !context.is_stopping() {
                tokio::select! {
                    () = tokio::time::sleep(period) => {}
                    () = context.stopping() => break,
                }
                let started = std::time::Instant::now();
                if let Err(error) = work().await {
                    tracing::warn!(actor = name, %error, "periodic work failed, trying again");
                }
                context.worked(started);
            }
            Ok(())
        }
    })
}

/// The pool of scanner processes; in this process where no program is named (tests).
pub(crate) fn scanner_pool(program: Option<PathBuf>, cpus: usize) -> ScannerPool {
    let mode = match program {
        Some(exe) => ScanMode::Child { exe, workers: (cpus / 2).max(1) },
        None => ScanMode::InProcess { scanners: protocols::scanners() },
    };
    ScannerPool::new(mode, ScanLimits::default())
}

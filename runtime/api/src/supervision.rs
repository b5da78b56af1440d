//! The supervision tree (jobs.md §7): what runs, under which name, restarted how.

use std::{path::PathBuf, sync::Arc, time::Duration};

use publaryn_actors::{ChildSpec, Strategy, SupervisorSpec, Tree, TreeOptions};
use publaryn_config::Config;
use publaryn_publish::{FinalizeRelease, ReconcileReleases, ScanArtifact};
use publaryn_registry::Registry;
use publaryn_scan::{ScanLimits, ScanMode, ScannerPool};
use tokio_util::sync::CancellationToken;

use crate::{
    AppOptions, StartError,
    http::{Edge, HttpLimits, Listening, serve},
    protocols,
};

pub(crate) struct Parts<'a> {
    pub config: &'a Config,
    pub options: AppOptions,
    pub registry: Registry,
    pub listening: Arc<Listening>,
    pub edge: Edge,
    pub limits: HttpLimits,
    pub stop_http: CancellationToken,
    pub exhausted: CancellationToken,
    pub turns: ChildSpec,
}

/// How often sums kept in memory are written.
const FLUSH_EVERY: Duration = Duration::from_secs(5);
/// How often the embedded server looks whether another process wrote to its database.
const LOOK_FOR_STRANGERS: Duration = Duration::from_secs(1);

pub(crate) async fn start(parts: Parts<'_>) -> Result<Tree, StartError> {
    let registry = parts.registry.clone();
    let root = SupervisorSpec::root(&["http", "auth"])
        .child(http(&parts))
        .child(auth(&registry))
        .child(parts.turns.clone())
        .child(storage(&registry))
        .child(events(&registry));
    let exhausted = parts.exhausted.clone();
    Ok(Tree::start(root, TreeOptions { on_exhausted: Some(Box::new(move |_| exhausted.cancel())) }).await)
}

fn http(parts: &Parts<'_>) -> SupervisorSpec {
    let (listening, edge, limits, stop) =
        (parts.listening.clone(), parts.edge.clone(), parts.limits, parts.stop_http.clone());
    SupervisorSpec::new("http", Strategy::OneForOne).child(ChildSpec::service("listener", move |context| {
        let (listening, edge, stop) = (listening.clone(), edge.clone(), stop.clone());
        async move {
            let both = stop.child_token();
            tokio::select! {
                () = serve(listening, edge, limits, both.clone()) => {}
                () = async { context.stopping().await; both.cancel(); std::future::pending::<()>().await } => {}
            }
            Ok(())
        }
    }))
}

fn auth(registry: &Registry) -> SupervisorSpec {
    let registry = registry.clone();
    SupervisorSpec::new("auth", Strategy::OneForOne)
        .child(every("last_use", FLUSH_EVERY, move || {
            let registry = registry.clone();
            async move { Ok(registry.identity().flush_last_use().await?) }
        }))
}

fn storage(registry: &Registry) -> SupervisorSpec {
    let registry = registry.clone();
    SupervisorSpec::new("storage", Strategy::OneForOne)
        .child(every("downloads", FLUSH_EVERY, move || {
            let registry = registry.clone();
            async move { Ok(registry.downloads().flush(registry.db()).await.map(drop)?) }
        }))
}

fn events(registry: &Registry) -> SupervisorSpec {
    let (watching, cluster) = (registry.clone(), registry.cluster().clone());
    let seen = Arc::new(std::sync::atomic::AtomicI64::new(-1));
    SupervisorSpec::new("events", Strategy::OneForOne)
        .child(ChildSpec::service("cluster", move |context| {
            let cluster = cluster.clone();
            async move {
                tokio::select! {
                    () = cluster.run() => {}
                    () = context.stopping() => {}
                }
                Ok(())
            }
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
        }))
}

/// A service that does something every so often; a failure is logged and tried again next time.
fn every<F, Fut>(name: &'static str, period: Duration, work: F) -> ChildSpec
where
    F: Fn() -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = Result<(), publaryn_core::BoxError>> + Send + 'static,
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

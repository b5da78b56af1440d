//! Putting the engine together for the supervision tree.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use dashmap::{DashMap, DashSet};
use publaryn_actors::{ChildSpec, Strategy, SupervisorSpec};
use publaryn_core::{JobId, job::{Concurrency, JobKind}};
use publaryn_metadata::{Db, DbResult, jobs::NodeInfo};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::{Handler, Schedule, acks::Acks, queue, upkeep};

/// How the engine runs in this process (configuration.md §4, jobs).
#[derive(Debug, Clone)]
pub struct EngineOptions {
    /// Stable across restarts of this installation, different for every node.
    pub node_id: String,
    pub role: String,
    pub version: String,
    pub lease: Duration,
    pub node_timeout: Duration,
    /// Fallback when no wake-up arrives.
    pub poll_interval: Duration,
    /// Jobs of a CPU-bound kind that run at once.
    pub cpu_concurrency: usize,
    /// `jobs.kinds.<kind>.*`.
    pub overrides: HashMap<JobKind, KindOverride>,
}

/// Settings of one kind that differ from its defaults.
#[derive(Debug, Clone, Copy, Default)]
pub struct KindOverride {
    pub concurrency: Option<usize>,
    pub max_attempts: Option<i64>,
    pub timeout: Option<Duration>,
}

/// What one kind may use in this process.
#[derive(Debug, Clone, Copy)]
pub struct KindLimits {
    pub concurrency: usize,
    pub max_attempts: Option<i64>,
    pub timeout: Duration,
}

/// The engine of one node. Entered in the node table by [`Engine::register`]; its actors are the
/// children that [`Engine::jobs`] and [`Engine::maintenance`] give to the tree.
pub struct Engine {
    shared: Arc<Shared>,
    handlers: Vec<Arc<dyn Handler>>,
    schedules: Arc<Vec<Schedule>>,
}

pub(crate) struct Shared {
    pub(crate) db: Db,
    pub(crate) node: Arc<str>,
    pub(crate) options: EngineOptions,
    pub(crate) acks: Acks,
    incarnation: AtomicI64,
    wakes: HashMap<JobKind, Arc<Notify>>,
    pub(crate) paused: DashSet<String>,
    pub(crate) running: DashMap<JobId, CancellationToken>,
    pub(crate) stopping: CancellationToken,
}

impl Shared {
    pub(crate) fn incarnation(&self) -> i64 {
        self.incarnation.load(Ordering::Acquire)
    }
    pub(crate) fn wake(&self, kind: JobKind) -> Arc<Notify> {
        self.wakes.get(&kind).cloned().unwrap_or_default()
    }
    pub(crate) fn wake_word(&self, kind: &str) {
        if let Some(wake) = kind.parse::<JobKind>().ok().and_then(|kind| self.wakes.get(&kind)) {
            wake.notify_one();
        }
    }
    pub(crate) fn is_paused(&self, kind: JobKind) -> bool {
        self.paused.contains(kind.as_str())
    }
}

impl Engine {
    /// Enters this node, takes back what its former incarnation left running (J5), and wires the
    /// wake-up of every commit that enqueues a job.
    pub async fn register(
        db: Db,
        options: EngineOptions,
        handlers: Vec<Arc<dyn Handler>>,
        schedules: Vec<Schedule>,
    ) -> DbResult<Self> {
        let kinds = handlers.iter().map(|handler| handler.kind().as_str().to_owned()).collect();
        let cpus = std::thread::available_parallelism().map_or(1, usize::from);
        let info = NodeInfo {
            node_id: options.node_id.clone(),
            version: options.version.clone(),
            role: options.role.clone(),
            kinds,
            cpu_count: i64::try_from(cpus).unwrap_or(1),
        };
        let mut tx = db.begin().await?;
        let incarnation = tx.register_node(&info).await?;
        let recovered = tx.recover_former_runs(&options.node_id, incarnation).await?;
        tx.commit().await?;
        if !recovered.is_empty() {
            tracing::info!(jobs = recovered.len(), "jobs that ran when this node ended are taken up again");
            metrics::counter!("publaryn_jobs_recovered_total", "cause" => "restart").increment(recovered.len() as u64);
        }
        let wakes = handlers.iter().map(|handler| (handler.kind(), Arc::default())).collect();
        let shared = Arc::new(Shared {
            db: db.clone(),
            node: options.node_id.as_str().into(),
            options,
            acks: Acks::new(),
            incarnation: AtomicI64::new(incarnation),
            wakes,
            paused: DashSet::new(),
            running: DashMap::new(),
            stopping: CancellationToken::new(),
        });
        let hook = shared.clone();
        db.on_commit(move |notice| notice.job_kinds.iter().for_each(|kind| hook.wake_word(kind)));
        Ok(Self { shared, handlers, schedules: Arc::new(schedules) })
    }

    /// `root/jobs`: acks first, so that it stops last.
    pub fn jobs(&self) -> SupervisorSpec {
        let shared = self.shared.clone();
        let mut spec = SupervisorSpec::new("jobs", Strategy::OneForOne).child(ChildSpec::service("acks", move |context| {
            let shared = shared.clone();
            async move { shared.acks.serve(&shared.db, &context).await }
        }));
        for handler in &self.handlers {
            let (shared, handler) = (self.shared.clone(), handler.clone());
            let limits = self.limits(handler.kind());
            spec = spec.child(ChildSpec::pool(format!("queue.{}", handler.kind()), move |context| {
                let (shared, handler) = (shared.clone(), handler.clone());
                async move { queue::serve(shared, handler, limits, context).await }
            }));
        }
        let (node, dispatcher) = (self.shared.clone(), self.shared.clone());
        spec.child(ChildSpec::service("node", move |context| upkeep::node(node.clone(), context)))
            .child(ChildSpec::service("dispatcher", move |context| upkeep::dispatcher(dispatcher.clone(), context)))
    }

    /// `root/maintenance`: leader, sweeper, scheduler, as one loop under the leader's lease.
    pub fn maintenance(&self) -> SupervisorSpec {
        let (shared, schedules) = (self.shared.clone(), self.schedules.clone());
        SupervisorSpec::new("maintenance", Strategy::RestForOne)
            .child(ChildSpec::service("leader", move |context| upkeep::leader(shared.clone(), schedules.clone(), context)))
    }

    /// Tells running handlers to stop; to be called before the tree stops.
    pub fn drain(&self) {
        self.shared.stopping.cancel();
    }

    fn limits(&self, kind: JobKind) -> KindLimits {
        let (defaults, options) = (kind.defaults(), &self.shared.options);
        let own = options.overrides.get(&kind).copied().unwrap_or_default();
        let concurrency = match defaults.concurrency {
            Concurrency::Cpu => options.cpu_concurrency,
            Concurrency::Fixed(n) => n as usize,
        };
        KindLimits {
            concurrency: own.concurrency.unwrap_or(concurrency).max(1),
            max_attempts: own.max_attempts,
            timeout: own.timeout.unwrap_or(defaults.timeout),
        }
    }
}

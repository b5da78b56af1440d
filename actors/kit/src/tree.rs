//! A whole supervision tree: starting, watching, breaking and stopping it.

use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use publaryn_core::Timestamp;
use ractor::{Actor, ActorRef};
use serde::Serialize;
use tokio::sync::{broadcast, oneshot};

use crate::{
    ActorSnapshot, FailureRecord, Limits, NodeKind, Strategy, SupervisorSpec, TreeSnapshot,
    mailbox::MailboxGauge,
    node::Node,
    supervisor::{Command, Supervisor, SupervisorArgs},
};

/// Failures remembered for introspection (jobs.md §7).
const FAILURES_KEPT: usize = 100;
/// After its deadline a stop only waits this long for killed actors to unwind.
const UNWIND: Duration = Duration::from_secs(2);

/// Called with the name of a subtree that is beyond restarting.
pub type OnExhausted = Box<dyn Fn(&str) + Send + Sync>;

/// What the process does when a vital subtree is beyond restarting.
#[derive(Default)]
pub struct TreeOptions {
    /// Called once; the binary answers with an orderly exit 70.
    pub on_exhausted: Option<OnExhausted>,
}

/// A running tree. Trees are independent of each other; many live in one process. Cheap to clone.
#[derive(Clone)]
pub struct Tree(Arc<Shared>);

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no running actor is named `{0}`")]
pub struct NoSuchActor(pub String);

/// One event of the live stream (jobs.md §6).
#[derive(Debug, Clone, Serialize)]
pub struct ActorEvent {
    pub name: String,
    pub event: ActorEventKind,
    pub restarts_total: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    pub at: Timestamp,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ActorEventKind {
    Started,
    Restarted,
    Failed,
    Escalated,
    Degraded,
    Recovered,
}

pub(crate) struct Shared {
    nodes: Mutex<HashMap<String, Arc<Node>>>,
    root: Mutex<Option<ActorRef<Command>>>,
    failures: Mutex<VecDeque<FailureRecord>>,
    degraded: Mutex<BTreeSet<String>>,
    events: broadcast::Sender<ActorEvent>,
    options: TreeOptions,
    exhausted: AtomicBool,
    stopping: AtomicBool,
}

impl Tree {
    /// Starts `root` and everything below it, in order; returns when all are started.
    pub async fn start(root: SupervisorSpec, options: TreeOptions) -> Self {
        let shared = Arc::new(Shared {
            nodes: Mutex::default(),
            root: Mutex::default(),
            failures: Mutex::default(),
            degraded: Mutex::default(),
            events: broadcast::channel(256).0,
            options,
            exhausted: AtomicBool::new(false),
            stopping: AtomicBool::new(false),
        });
        let (started, is_up) = oneshot::channel();
        tokio::spawn(shared.clone().keep_root(Arc::new(root), started));
        // The keeper answers or is gone; a root that never came up shows as exhausted.
        let _ = is_up.await;
        Self(shared)
    }

    /// The tree below `name` (default `root`) with `depth` levels of children.
    pub fn snapshot(&self, name: Option<&str>, depth: usize) -> Result<TreeSnapshot, NoSuchActor> {
        let name = name.unwrap_or("root");
        let node = self.0.find(name).ok_or_else(|| NoSuchActor(name.to_owned()))?;
        let nodes = self.0.nodes();
        let (actors_total, restarts_total) = (
            nodes.len(),
            nodes
                .values()
                .filter(|node| node.kind != NodeKind::Worker)
                .map(|node| node.restarts.load(std::sync::atomic::Ordering::Relaxed))
                .sum(),
        );
        drop(nodes);
        Ok(TreeSnapshot {
            generated_at: Timestamp::now(),
            actors_total,
            restarts_total,
            degraded: self.degraded(),
            tree: ActorSnapshot::of(&node, depth),
            recent_failures: self.recent_failures(),
        })
    }

    /// The last 100 failures, newest first.
    pub fn recent_failures(&self) -> Vec<FailureRecord> {
        lock(&self.0.failures).iter().rev().cloned().collect()
    }

    /// Subtrees that are down and tried again every 10 s.
    pub fn degraded(&self) -> Vec<String> {
        lock(&self.0.degraded).iter().cloned().collect()
    }

    /// Starts, failures, restarts and degradations as they happen; slow listeners miss some.
    pub fn events(&self) -> broadcast::Receiver<ActorEvent> {
        self.0.events.subscribe()
    }

    /// Panics the actor `name`, for fault injection.
    pub fn kill(&self, name: &str) -> Result<(), NoSuchActor> {
        let killer = self.0.find(name).and_then(|node| node.killer()).ok_or_else(|| NoSuchActor(name.to_owned()))?;
        killer();
        Ok(())
    }

    /// True until it was stopped or a vital subtree was exhausted.
    pub fn is_up(&self) -> bool {
        !self.0.exhausted.load(SeqCst) && !self.0.stopping.load(SeqCst)
    }

    /// Writes mailbox gauges to the `metrics` recorder; call when metrics are read.
    pub fn export_metrics(&self) {
        let nodes: Vec<_> = self.0.nodes().values().cloned().collect();
        let mut depths: HashMap<&str, (usize, usize)> = HashMap::new();
        for node in &nodes {
            let entry = depths.entry(&node.label).or_default();
            entry.0 += node.gauge.depth();
            entry.1 += node.gauge.take_refusals();
        }
        for (label, (depth, refused)) in depths {
            metrics::gauge!("publaryn_actor_mailbox_depth", "actor" => label.to_owned()).set(depth as f64);
            metrics::counter!("publaryn_actor_mailbox_refused_total", "actor" => label.to_owned())
                .increment(refused as u64);
        }
    }

    /// Stops one subtree of the root (`"http"`) in order; it is not restarted.
    pub async fn stop_subtree(&self, child: &str, within: Duration) {
        let child = child.to_owned();
        self.ask_root(within, |deadline, done| Command::StopChild { child, deadline, done }).await;
    }

    /// Stops everything, last started first, and kills what has not ended `within` the deadline.
    pub async fn stop(&self, within: Duration) {
        self.0.stopping.store(true, SeqCst);
        self.ask_root(within, |deadline, done| Command::Stop { deadline, done }).await;
        let root = lock(&self.0.root).take();
        if let Some(root) = root {
            root.kill();
        }
        for node in self.0.nodes().values() {
            node.gauge.gone.cancel();
        }
    }

    async fn ask_root(&self, within: Duration, command: impl FnOnce(Instant, oneshot::Sender<()>) -> Command) {
        let root = lock(&self.0.root).clone();
        let Some(root) = root else { return };
        let (done, is_done) = oneshot::channel();
        if root.cast(command(Instant::now() + within, done)).is_err() {
            return;
        }
        if tokio::time::timeout(within + UNWIND, is_done).await.is_err() {
            tracing::warn!("the supervision tree did not stop within its deadline");
        }
    }
}

impl Shared {
    /// Keeps a root running: it has no supervisor of its own.
    async fn keep_root(self: Arc<Self>, spec: Arc<SupervisorSpec>, started: oneshot::Sender<()>) {
        let node = self.node("root".to_owned(), NodeKind::Supervisor, Some((spec.strategy, spec.limits)), None, None);
        let mut started = Some(started);
        let mut starts: VecDeque<Instant> = VecDeque::new();
        while !self.stopping.load(SeqCst) {
            starts.retain(|at| at.elapsed() < spec.limits.window);
            if starts.len() > spec.limits.max_restarts as usize {
                return self.exhausted("root");
            }
            starts.push_back(Instant::now());
            let args = SupervisorArgs { spec: spec.clone(), node: node.clone(), shared: self.clone() };
            let join = match Actor::spawn(None, Supervisor, args).await {
                Ok((actor, join)) => {
                    *lock(&self.root) = Some(actor);
                    join
                }
                Err(error) => {
                    self.failure(&node, &error.to_string(), "restarted", Duration::ZERO);
                    continue;
                }
            };
            if let Some(started) = started.take() {
                // Whoever started the tree may have gone away.
                let _ = started.send(());
            }
            // The actor's own panics are caught inside; joining cannot fail otherwise.
            let _ = join.await;
            if !self.stopping.load(SeqCst) {
                self.failure(&node, "root ended", "restarted", Duration::ZERO);
            }
        }
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.load(SeqCst)
    }

    fn nodes(&self) -> MutexGuard<'_, HashMap<String, Arc<Node>>> {
        lock(&self.nodes)
    }

    fn find(&self, name: &str) -> Option<Arc<Node>> {
        self.nodes().get(name).cloned()
    }

    /// The record of `name`, kept across restarts.
    pub(crate) fn node(
        &self,
        name: String,
        kind: NodeKind,
        strategy: Option<(Strategy, Limits)>,
        gauge: Option<Arc<MailboxGauge>>,
        parent: Option<&Arc<Node>>,
    ) -> Arc<Node> {
        let mut nodes = self.nodes();
        if let Some(node) = nodes.get(&name) {
            return node.clone();
        }
        let node = Node::new(name.clone(), kind, strategy, gauge);
        nodes.insert(name, node.clone());
        drop(nodes);
        if let Some(parent) = parent {
            lock(&parent.children).push(node.clone());
        }
        node
    }

    /// Logs, counts and remembers one failure.
    pub(crate) fn failure(&self, node: &Node, reason: &str, action: &'static str, delay: Duration) {
        let reason: String = reason.chars().take(2048).collect();
        let delay_ms = delay.as_millis() as u64;
        tracing::error!(actor = %node.name, error = %reason, action, delay_ms, "actor failed");
        metrics::counter!("publaryn_actor_failures_total", "actor" => node.label.clone()).increment(1);
        node.failed(&reason);
        let record = FailureRecord { name: node.name.clone(), at: Timestamp::now(), reason, action, delay_ms };
        let event = match action {
            "escalated" => ActorEventKind::Escalated,
            _ => ActorEventKind::Failed,
        };
        self.event(node, event, Some(record.reason.clone()));
        let mut failures = lock(&self.failures);
        if failures.len() == FAILURES_KEPT {
            failures.pop_front();
        }
        failures.push_back(record);
    }

    pub(crate) fn event(&self, node: &Node, event: ActorEventKind, reason: Option<String>) {
        let restarts_total = node.restarts.load(std::sync::atomic::Ordering::Relaxed);
        // Nobody listening is the normal case.
        let _ = self.events.send(ActorEvent {
            name: node.name.clone(),
            event,
            restarts_total,
            reason,
            at: Timestamp::now(),
        });
    }

    pub(crate) fn set_degraded(&self, node: &Node, degraded: bool) {
        let was = node.degraded.swap(degraded, SeqCst);
        match degraded {
            true => lock(&self.degraded).insert(node.name.clone()),
            false => lock(&self.degraded).remove(&node.name),
        };
        match (was, degraded) {
            (false, true) => self.event(node, ActorEventKind::Degraded, None),
            (true, false) => {
                tracing::info!(actor = %node.name, "degraded subtree recovered");
                self.event(node, ActorEventKind::Recovered, None);
            }
            _ => {}
        }
    }

    pub(crate) fn exhausted(&self, name: &str) {
        if self.exhausted.swap(true, SeqCst) {
            return;
        }
        tracing::error!(actor = name, "a vital subtree is exhausted");
        if let Some(callback) = &self.options.on_exhausted {
            callback(name);
        }
    }
}

/// No code panics while holding these locks; if it did, the data would still be whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

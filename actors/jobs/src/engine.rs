//! The shared heart of the engine: what runs here, what waits to be stored, who must be woken.
//!
//! Actors come and go; this lives as long as the process and holds only what can be rebuilt from the database.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use dashmap::DashMap;
use publaryn_actors::{ChildSpec, Strategy, SupervisorSpec};
use publaryn_core::{
    JobId, LeaseId, Timestamp,
    job::{JobKind, JobState},
};
use publaryn_metadata::{
    Db, DbResult,
    jobs::{NodeInfo, RunFacts, Transition},
};
use serde::{Deserialize, Serialize};
use smol_str::SmolStr;
use tokio::sync::{Notify, Semaphore, broadcast};
use tokio_util::sync::CancellationToken;

use crate::{Handler, HandlerFault, JobsOptions, acks, maintenance, node, queue, stats::KindRecorder};

/// One transition of a job, for the live stream (jobs.md §6).
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct JobEvent {
    pub id: JobId,
    pub kind: SmolStr,
    pub status: JobState,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub previous_status: Option<JobState>,
    pub attempts: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub partition: Option<SmolStr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub progress: Option<Progress>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
    pub at: Timestamp,
}

/// How far a running job says it is.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Progress {
    pub done: u64,
    pub total: Option<u64>,
}

/// The job engine of this process. Cheap to clone.
#[derive(Clone)]
pub struct Jobs(pub(crate) Arc<Engine>);

pub(crate) struct Engine {
    pub(crate) db: Db,
    pub(crate) options: JobsOptions,
    pub(crate) incarnation: i64,
    pub(crate) handlers: HashMap<JobKind, Arc<dyn Handler>>,
    pub(crate) queues: HashMap<JobKind, Arc<Queue>>,
    pub(crate) running: DashMap<JobId, Arc<Running>>,
    /// Jobs running in slots, over all kinds.
    pub(crate) busy: AtomicUsize,
    /// Claims under way: what they take is not in `running` yet.
    pub(crate) claims: AtomicUsize,
    ends: Mutex<Vec<PendingEnd>>,
    pub(crate) ends_ready: Notify,
    extensions: Mutex<Vec<(JobId, LeaseId)>>,
    announced: Mutex<BTreeSet<SmolStr>>,
    pub(crate) announce_ready: Notify,
    /// Wakes the dispatcher out of turn.
    pub(crate) poke: Notify,
    /// Counters changed since they were folded.
    pub(crate) counts_changed: AtomicBool,
    pub(crate) draining: CancellationToken,
    drain_deadline: Mutex<Option<Instant>>,
    /// Another process has taken this node's name.
    pub(crate) is_superseded: AtomicBool,
    pub(crate) has_neighbours: AtomicBool,
    outage: Mutex<Option<Instant>>,
    pub(crate) leadership: Leadership,
    pub(crate) events: broadcast::Sender<JobEvent>,
    pub(crate) faults: DashMap<JobKind, HandlerFault>,
}

/// One kind on this node.
pub(crate) struct Queue {
    pub(crate) kind: JobKind,
    pub(crate) concurrency: usize,
    pub(crate) timeout: Duration,
    /// There may be something to claim.
    pub(crate) wake: Notify,
    /// There may be room to start what is claimed, or to claim more.
    pub(crate) slot_freed: Notify,
    pub(crate) is_paused: AtomicBool,
    /// Jobs in slots.
    pub(crate) running: AtomicUsize,
    /// Moving average of the time a job takes, in microseconds.
    run_micros: AtomicU64,
    pub(crate) recorder: KindRecorder,
    /// Bounds the jobs done ahead of their commit.
    pub(crate) ahead: Arc<Semaphore>,
}

/// A job this node holds the lease of.
pub(crate) struct Running {
    pub(crate) kind: JobKind,
    pub(crate) partition: SmolStr,
    pub(crate) facts: RunFacts,
    /// Stop soon, please.
    pub(crate) told: CancellationToken,
    /// Stop now; the reason is in `stop`.
    pub(crate) abort: CancellationToken,
    pub(crate) stop: OnceLock<StopReason>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StopReason {
    Drained,
    LeaseLost,
}

/// The end of a run on its way to the database.
#[derive(Clone)]
pub(crate) struct PendingEnd {
    pub(crate) running: Arc<Running>,
    pub(crate) transition: Transition,
    pub(crate) outcome: &'static str,
    pub(crate) error: Option<String>,
}

#[derive(Default)]
pub(crate) struct Leadership {
    pub(crate) leads: AtomicBool,
    /// The database's clock minus ours, in microseconds, as of the last renewal.
    pub(crate) clock_offset: std::sync::atomic::AtomicI64,
    pub(crate) gained: Notify,
}

impl Jobs {
    /// Enters this node, gives back what its former incarnation was running (J5), and prepares the actors.
    ///
    /// # Errors
    /// `Unavailable` when the database cannot be reached.
    pub async fn start(db: Db, options: JobsOptions, handlers: Vec<Arc<dyn Handler>>) -> DbResult<Self> {
        let handlers: HashMap<_, _> = handlers.into_iter().map(|handler| (handler.kind(), handler)).collect();
        let info = NodeInfo {
            node_id: options.node_id.clone(),
            version: options.version.clone(),
            role: options.role.clone(),
            kinds: handlers.keys().map(|kind| kind.to_string()).collect(),
            cpu_count: std::thread::available_parallelism().map_or(1, |n| n.get() as i64),
        };
        let mut tx = db.begin().await?;
        let incarnation = tx.register_node(&info).await?;
        let recovered = tx.recover_former_runs(&options.node_id, incarnation).await?;
        tx.commit().await?;
        if !recovered.is_empty() {
            tracing::warn!(jobs = recovered.len(), "gave back jobs that ran when this node ended");
            metrics::counter!("publaryn_jobs_recovered_total", "cause" => "restart").increment(recovered.len() as u64);
        }
        // A pause holds from the first claim on, not from the first poll.
        let paused = db.paused_queues().await?;
        let queue = |kind: &JobKind| {
            let is_paused = paused.iter().any(|pause| pause.kind == kind.as_str());
            (*kind, Arc::new(Queue::new(*kind, &options, is_paused)))
        };
        let queues = handlers.keys().map(queue).collect();
        let engine = Arc::new(Engine {
            db: db.clone(),
            options,
            incarnation,
            handlers,
            queues,
            running: DashMap::new(),
            busy: AtomicUsize::new(0),
            claims: AtomicUsize::new(0),
            ends: Mutex::default(),
            ends_ready: Notify::new(),
            extensions: Mutex::default(),
            announced: Mutex::default(),
            announce_ready: Notify::new(),
            poke: Notify::new(),
            counts_changed: AtomicBool::new(true),
            draining: CancellationToken::new(),
            drain_deadline: Mutex::default(),
            is_superseded: AtomicBool::new(false),
            has_neighbours: AtomicBool::new(false),
            outage: Mutex::default(),
            leadership: Leadership::default(),
            events: broadcast::channel(1024).0,
            faults: DashMap::new(),
        });
        // The hook must not keep the engine alive: the database handle outlives it.
        let hooked = Arc::downgrade(&engine);
        db.on_commit(move |notice| {
            if let (false, Some(engine)) = (notice.job_kinds.is_empty(), hooked.upgrade()) {
                engine.became_runnable(&notice.job_kinds);
            }
        });
        Ok(Self(engine))
    }

    /// The subtrees `jobs` and `maintenance` for the root of the supervision tree, in start order.
    pub fn children(&self) -> Vec<ChildSpec> {
        let engine = &self.0;
        let mut jobs = SupervisorSpec::new("jobs", Strategy::OneForOne)
            .child(node::heartbeat(engine.clone()))
            .child(acks::service(engine.clone()))
            .child(node::dispatcher(engine.clone()))
            .child(node::announcer(engine.clone()));
        let mut queues: Vec<_> = engine.queues.values().cloned().collect();
        queues.sort_by_key(|queue| queue.kind);
        for queue in queues {
            jobs = jobs.child(queue::service(engine.clone(), queue));
        }
        let maintenance = SupervisorSpec::new("maintenance", Strategy::RestForOne)
            .child(maintenance::leader(engine.clone()))
            .child(maintenance::scheduler(engine.clone()))
            .child(maintenance::sweeper(engine.clone()));
        vec![jobs.into(), maintenance.into()]
    }

    /// Stops claiming and starts the time running jobs have left; stopping the tree does the rest.
    /// A later call can only shorten it.
    pub fn begin_drain(&self, grace: Duration) {
        self.0.drain_within(grace);
    }

    /// Stops claiming at once and gives running jobs `grace`; what is left goes back to `pending` (J7).
    /// Returns when nothing runs here any more. Stop the tree afterwards.
    pub async fn drain(&self, grace: Duration) {
        self.0.drain_within(grace);
        let limit = grace + Duration::from_secs(5);
        let empty = async {
            while self.0.claims.load(SeqCst) > 0 || !self.0.running.is_empty() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        if tokio::time::timeout(limit, empty).await.is_err() {
            tracing::warn!(jobs = self.0.running.len(), "jobs were still being given back when the drain ended");
        }
    }

    pub fn node_id(&self) -> &str {
        &self.0.options.node_id
    }
    pub fn incarnation(&self) -> i64 {
        self.0.incarnation
    }
    pub fn is_leader(&self) -> bool {
        self.0.leadership.leads.load(SeqCst)
    }
    pub fn is_draining(&self) -> bool {
        self.0.draining.is_cancelled()
    }
    /// Jobs running here now.
    pub fn running(&self) -> usize {
        self.0.busy.load(SeqCst)
    }
    /// Transitions of jobs on this node as they happen; slow listeners miss some.
    pub fn events(&self) -> broadcast::Receiver<JobEvent> {
        self.0.events.subscribe()
    }

    /// Replaces the injected faults of handlers.
    pub fn set_faults(&self, faults: HashMap<JobKind, HandlerFault>) {
        self.0.faults.clear();
        for (kind, fault) in faults {
            self.0.faults.insert(kind, fault);
        }
    }
    /// The injected faults with what is left of their counts.
    pub fn faults(&self) -> HashMap<JobKind, HandlerFault> {
        self.0.faults.iter().map(|entry| (*entry.key(), entry.value().clone())).collect()
    }

    /// Enqueues the job of a schedule now; `None` when there is no such schedule.
    pub async fn run_schedule(
        &self,
        name: &str,
        tx: &mut publaryn_metadata::Tx,
    ) -> DbResult<Option<publaryn_metadata::jobs::Enqueued>> {
        let Some(schedule) = self.0.options.schedules.iter().find(|s| s.name == name) else { return Ok(None) };
        Ok(Some(tx.run_schedule(name, &schedule.job()).await?))
    }
}

impl Queue {
    fn new(kind: JobKind, options: &JobsOptions, is_paused: bool) -> Self {
        Self {
            kind,
            concurrency: options.concurrency_of(kind),
            timeout: options.timeout_of(kind),
            wake: Notify::new(),
            slot_freed: Notify::new(),
            is_paused: AtomicBool::new(is_paused),
            running: AtomicUsize::new(0),
            run_micros: AtomicU64::new(SLOW_MICROS),
            recorder: KindRecorder::default(),
            ahead: Arc::new(Semaphore::new(options.concurrency_of(kind))),
        }
    }
}

/// Jobs that take longer are claimed only when there is a free slot.
const SLOW_MICROS: u64 = 5_000;
/// How much work may be claimed ahead of the slots.
const AHEAD_MICROS: u64 = 20_000;
const MAX_AHEAD: u64 = 250;

impl Queue {
    pub(crate) fn note_run(&self, ran: Duration) {
        let ran = u64::try_from(ran.as_micros()).unwrap_or(u64::MAX).min(1_000_000);
        // Lost updates of a race only slow the average down.
        let known = self.run_micros.load(SeqCst);
        self.run_micros.store((known * 7 + ran) / 8, SeqCst);
    }

    /// The jobs running now turned out to be slow.
    pub(crate) fn claim_no_more_ahead(&self) {
        self.run_micros.store(SLOW_MICROS, SeqCst);
    }

    /// How many jobs to hold claimed beyond the free slots: some milliseconds' worth when a commit per
    /// handful of jobs would cost more than the jobs themselves, else none.
    pub(crate) fn prefetch(&self) -> usize {
        let average = self.run_micros.load(SeqCst);
        if average >= SLOW_MICROS {
            return 0;
        }
        let per_slot = AHEAD_MICROS / average.max(1);
        usize::try_from(per_slot.saturating_mul(self.concurrency as u64).min(MAX_AHEAD)).unwrap_or(0)
    }
}

impl Running {
    /// Asks the handler to stop, or makes it.
    pub(crate) fn stop_now(&self, reason: StopReason) {
        // The first reason counts.
        let _ = self.stop.set(reason);
        self.told.cancel();
        self.abort.cancel();
    }
}

impl Engine {
    /// A commit here made jobs runnable: wake whoever runs them.
    fn became_runnable(&self, kinds: &[SmolStr]) {
        self.counts_changed.store(true, SeqCst);
        for kind in kinds {
            if let Some(queue) = kind.parse().ok().and_then(|kind: JobKind| self.queues.get(&kind)) {
                queue.wake.notify_one();
            }
        }
        if self.has_neighbours.load(SeqCst) {
            lock(&self.announced).extend(kinds.iter().cloned());
            self.announce_ready.notify_one();
        }
    }

    pub(crate) fn take_announced(&self) -> Vec<String> {
        std::mem::take(&mut *lock(&self.announced)).into_iter().map(String::from).collect()
    }

    /// Wakes the queues of `kinds` given as text; unknown ones belong to newer nodes.
    pub(crate) fn wake_kinds<'a>(&self, kinds: impl IntoIterator<Item = &'a String>) {
        for kind in kinds {
            if let Some(queue) = kind.parse().ok().and_then(|kind: JobKind| self.queues.get(&kind)) {
                queue.wake.notify_one();
            }
        }
    }

    /// Whether jobs of a kind given as text run here, now.
    pub(crate) fn may_claim(&self, kind: &str) -> bool {
        let queue = kind.parse().ok().and_then(|kind: JobKind| self.queues.get(&kind));
        queue.is_some_and(|queue| !queue.is_paused.load(SeqCst))
    }

    /// How many more jobs of this kind may start now: bounded by the kind and by the process, but never
    /// none for a kind that has nothing running, so that no other kind's backlog holds it up (J10).
    pub(crate) fn room(&self, queue: &Queue) -> usize {
        self.room_beside(queue, self.busy.load(SeqCst))
    }

    fn room_beside(&self, queue: &Queue, busy: usize) -> usize {
        let running = queue.running.load(SeqCst);
        let total = self.options.concurrency.saturating_sub(busy).max(usize::from(running == 0));
        queue.concurrency.saturating_sub(running).min(total)
    }

    /// Takes room for at most `limit` jobs.
    pub(crate) fn reserve(&self, queue: &Queue, limit: usize) -> usize {
        let mut room = 0;
        // The closure always returns `Some`, so there is nothing to handle.
        let _ = self.busy.fetch_update(SeqCst, SeqCst, |busy| {
            room = self.room_beside(queue, busy).min(limit);
            Some(busy + room)
        });
        queue.running.fetch_add(room, SeqCst);
        room
    }

    /// A slot is free again: any kind may use it.
    pub(crate) fn ended(&self, queue: &Queue) {
        queue.running.fetch_sub(1, SeqCst);
        self.busy.fetch_sub(1, SeqCst);
        for queue in self.queues.values() {
            queue.slot_freed.notify_one();
        }
    }

    pub(crate) fn push_end(&self, end: PendingEnd) {
        lock(&self.ends).push(end);
        self.ends_ready.notify_one();
    }

    /// The first ends that wait to be stored; they stay until [`forget_ends`](Self::forget_ends).
    pub(crate) fn first_ends(&self, limit: usize) -> Vec<PendingEnd> {
        lock(&self.ends).iter().take(limit).cloned().collect()
    }

    pub(crate) fn forget_ends(&self, count: usize) {
        let mut ends = lock(&self.ends);
        let count = count.min(ends.len());
        ends.drain(..count);
        drop(ends);
        // Queues that stopped claiming because too many ends waited go on.
        for queue in self.queues.values() {
            queue.slot_freed.notify_one();
        }
    }

    pub(crate) fn ends_waiting(&self) -> usize {
        lock(&self.ends).len()
    }

    pub(crate) fn want_extension(&self, job: JobId, lease: LeaseId) {
        lock(&self.extensions).push((job, lease));
        self.ends_ready.notify_one();
    }

    pub(crate) fn take_extensions(&self) -> Vec<(JobId, LeaseId)> {
        std::mem::take(&mut *lock(&self.extensions))
    }

    pub(crate) fn return_extensions(&self, extensions: Vec<(JobId, LeaseId)>) {
        lock(&self.extensions).extend(extensions);
    }

    pub(crate) fn has_extensions(&self) -> bool {
        !lock(&self.extensions).is_empty()
    }

    /// Tells a running job of this node that an operator cancelled it.
    pub(crate) fn cancel(&self, job: JobId) {
        if let Some(running) = self.running.get(&job) {
            running.told.cancel();
        }
    }

    pub(crate) fn drain_within(&self, grace: Duration) {
        let wanted = Instant::now() + grace;
        let mut deadline = lock(&self.drain_deadline);
        *deadline = Some(deadline.map_or(wanted, |known| known.min(wanted)));
        drop(deadline);
        self.draining.cancel();
        self.poke.notify_one();
    }

    /// True when running jobs have had their time.
    pub(crate) fn is_drain_over(&self) -> bool {
        lock(&self.drain_deadline).is_some_and(|deadline| Instant::now() >= deadline)
    }

    /// The database failed us: for a while, silent nodes prove nothing.
    pub(crate) fn note_outage(&self) {
        *lock(&self.outage) = Some(Instant::now());
    }

    pub(crate) fn had_outage_within(&self, span: Duration) -> bool {
        lock(&self.outage).is_some_and(|at| at.elapsed() < span)
    }

    pub(crate) fn event(&self, running: &Running, status: JobState, previous: Option<JobState>, error: Option<String>) {
        if self.events.receiver_count() == 0 {
            return;
        }
        // Listeners that fell behind learn it from their receiver.
        let _ = self.events.send(JobEvent {
            id: running.facts.id,
            kind: running.kind.as_str().into(),
            status,
            previous_status: previous,
            attempts: running.facts.attempts,
            partition: Some(running.partition.clone()),
            progress: None,
            last_error: error,
            at: Timestamp::now(),
        });
    }

    /// A job that was never anything but completed.
    pub(crate) fn event_done(&self, id: JobId, kind: JobKind, partition: SmolStr) {
        // Listeners that fell behind learn it from their receiver.
        let _ = self.events.send(JobEvent {
            id,
            kind: kind.as_str().into(),
            status: JobState::Completed,
            previous_status: None,
            attempts: 1,
            partition: Some(partition),
            progress: None,
            last_error: None,
            at: Timestamp::now(),
        });
    }

    pub(crate) fn event_progress(&self, running: &Running, done: u64, total: Option<u64>) {
        let _ = self.events.send(JobEvent {
            id: running.facts.id,
            kind: running.kind.as_str().into(),
            status: JobState::Running,
            previous_status: None,
            attempts: running.facts.attempts,
            partition: Some(running.partition.clone()),
            progress: Some(Progress { done, total }),
            last_error: None,
            at: Timestamp::now(),
        });
    }
}

/// Nothing panics while it holds one of these locks.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

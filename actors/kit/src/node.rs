//! The record of one named actor: what it did, how it is, how to break it.
//!
//! Records outlive the actors they describe, so introspection never has to ask anybody.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use publaryn_core::Timestamp;
use serde_json::Value;

use crate::{Limits, Strategy, mailbox::MailboxGauge, snapshot::LastFailure};

/// What kind of actor a node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NodeKind {
    Supervisor,
    Worker,
    Pool,
}

impl NodeKind {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Supervisor => "supervisor",
            Self::Worker => "worker",
            Self::Pool => "pool",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Status {
    Starting,
    Running,
    Restarting,
    Degraded,
    Stopping,
    Stopped,
}

impl Status {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Restarting => "restarting",
            Self::Degraded => "degraded",
            Self::Stopping => "stopping",
            Self::Stopped => "stopped",
        }
    }

    const fn from_u8(value: u8) -> Self {
        match value {
            0 => Self::Starting,
            1 => Self::Running,
            2 => Self::Restarting,
            3 => Self::Degraded,
            4 => Self::Stopping,
            _ => Self::Stopped,
        }
    }
}

pub(crate) type Killer = Arc<dyn Fn() + Send + Sync>;

pub(crate) struct Node {
    pub(crate) name: String,
    /// `name` with running numbers folded, for metric labels.
    pub(crate) label: String,
    pub(crate) kind: NodeKind,
    pub(crate) strategy: Option<(Strategy, Limits)>,
    status: AtomicU8,
    pub(crate) degraded: AtomicBool,
    pub(crate) restarts: AtomicU64,
    pub(crate) processed: AtomicU64,
    /// The mailbox; supervisors and loops have one that stays empty.
    pub(crate) gauge: Arc<MailboxGauge>,
    facts: Mutex<Facts>,
    pub(crate) children: Mutex<Vec<Arc<Node>>>,
    /// Held while an incarnation runs: two of one name never run at once, even when a dead
    /// supervisor's children are still unwinding.
    pub(crate) incarnation: Arc<tokio::sync::Mutex<()>>,
}

struct Facts {
    started_at: Timestamp,
    started: Instant,
    last_message_at: Option<Timestamp>,
    in_message_since: Option<Instant>,
    last_failure: Option<LastFailure>,
    state: Value,
    busy: BusyMeter,
    restart_times: VecDeque<Instant>,
    killer: Option<Killer>,
}

impl Node {
    pub(crate) fn new(
        name: String,
        kind: NodeKind,
        strategy: Option<(Strategy, Limits)>,
        gauge: Option<Arc<MailboxGauge>>,
    ) -> Arc<Self> {
        let facts = Facts {
            started_at: Timestamp::now(),
            started: Instant::now(),
            last_message_at: None,
            in_message_since: None,
            last_failure: None,
            state: Value::Object(serde_json::Map::new()),
            busy: BusyMeter::new(),
            restart_times: VecDeque::new(),
            killer: None,
        };
        Arc::new(Self {
            label: fold_numbers(&name),
            name,
            kind,
            strategy,
            status: AtomicU8::new(Status::Starting as u8),
            degraded: AtomicBool::new(false),
            restarts: AtomicU64::new(0),
            processed: AtomicU64::new(0),
            gauge: gauge.unwrap_or_else(|| Arc::new(MailboxGauge::new(1024))),
            facts: Mutex::new(facts),
            children: Mutex::new(Vec::new()),
            incarnation: Arc::default(),
        })
    }

    fn facts(&self) -> MutexGuard<'_, Facts> {
        self.facts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn status(&self) -> Status {
        match Status::from_u8(self.status.load(Relaxed)) {
            Status::Running | Status::Restarting if self.degraded.load(Relaxed) => Status::Degraded,
            status => status,
        }
    }

    pub(crate) fn set_status(&self, status: Status) {
        self.status.store(status as u8, Relaxed);
    }

    pub(crate) fn started(&self, killer: Killer) {
        let mut facts = self.facts();
        facts.started_at = Timestamp::now();
        facts.started = Instant::now();
        facts.in_message_since = None;
        facts.killer = Some(killer);
        drop(facts);
        self.set_status(Status::Running);
    }

    pub(crate) fn ended(&self) {
        let mut facts = self.facts();
        facts.killer = None;
        facts.in_message_since = None;
    }

    pub(crate) fn killer(&self) -> Option<Killer> {
        self.facts().killer.clone()
    }

    pub(crate) fn failed(&self, reason: &str) {
        self.facts().last_failure = Some(LastFailure { at: Timestamp::now(), reason: reason.to_owned() });
    }

    pub(crate) fn set_state(&self, state: Value) {
        self.facts().state = state;
    }

    /// Counts a restart performed by this supervisor and forgets those outside `window`.
    pub(crate) fn count_restart(&self, window: Duration) {
        self.restarts.fetch_add(1, Relaxed);
        let now = Instant::now();
        let mut facts = self.facts();
        facts.restart_times.push_back(now);
        facts.restart_times.retain(|at| now.duration_since(*at) < window);
    }

    pub(crate) fn begin_message(&self) -> Instant {
        let now = Instant::now();
        let mut facts = self.facts();
        facts.in_message_since = Some(now);
        facts.last_message_at = Some(Timestamp::now());
        now
    }

    pub(crate) fn end_message(&self, began: Instant) {
        self.processed.fetch_add(1, Relaxed);
        let elapsed = began.elapsed();
        metrics::histogram!("publaryn_actor_message_seconds", "actor" => self.label.clone())
            .record(elapsed.as_secs_f64());
        let mut facts = self.facts();
        facts.in_message_since = None;
        facts.busy.add(elapsed);
    }

    /// Time a loop spent inside `poll`.
    pub(crate) fn add_busy(&self, spent: Duration) {
        self.facts().busy.add(spent);
    }

    pub(crate) fn view(&self) -> View {
        let mut facts = self.facts();
        let now = Instant::now();
        let in_message = facts.in_message_since.map(|since| now.duration_since(since));
        let busy_ratio = facts.busy.ratio(in_message.unwrap_or_default());
        if let Some((_, limits)) = self.strategy {
            facts.restart_times.retain(|at| now.duration_since(*at) < limits.window);
        }
        View {
            started_at: facts.started_at,
            uptime: now.duration_since(facts.started),
            last_message_at: facts.last_message_at,
            last_failure: facts.last_failure.clone(),
            state: facts.state.clone(),
            busy_ratio,
            restarts_in_window: facts.restart_times.len(),
            in_message,
        }
    }
}

/// One consistent look at the changing facts of a node.
pub(crate) struct View {
    pub(crate) started_at: Timestamp,
    pub(crate) uptime: Duration,
    pub(crate) last_message_at: Option<Timestamp>,
    pub(crate) last_failure: Option<LastFailure>,
    pub(crate) state: Value,
    pub(crate) busy_ratio: f64,
    pub(crate) restarts_in_window: usize,
    pub(crate) in_message: Option<Duration>,
}

/// Busy time of the last minute in twelve five-second buckets.
struct BusyMeter {
    since: Instant,
    buckets: [Duration; 12],
    current: u64,
}

impl BusyMeter {
    const BUCKET: Duration = Duration::from_secs(5);

    fn new() -> Self {
        Self { since: Instant::now(), buckets: [Duration::ZERO; 12], current: 0 }
    }

    fn roll(&mut self) -> usize {
        let count = self.buckets.len() as u64;
        let index = self.since.elapsed().as_secs() / Self::BUCKET.as_secs();
        for skipped in (self.current + 1..=index).take(self.buckets.len()) {
            self.buckets[(skipped % count) as usize] = Duration::ZERO;
        }
        if index.saturating_sub(self.current) >= count {
            self.buckets = [Duration::ZERO; 12];
        }
        self.current = index;
        (index % count) as usize
    }

    fn add(&mut self, spent: Duration) {
        let bucket = self.roll();
        self.buckets[bucket] += spent;
    }

    fn ratio(&mut self, open: Duration) -> f64 {
        self.roll();
        let span = self.since.elapsed().min(Self::BUCKET * self.buckets.len() as u32).as_secs_f64();
        let busy: Duration = self.buckets.iter().sum::<Duration>() + open;
        if span <= 0.0 { 0.0 } else { (busy.as_secs_f64() / span).min(1.0) }
    }
}

/// `root/packages/worker.17` → `root/packages/worker`: labels must not grow with pool sizes.
fn fold_numbers(name: &str) -> String {
    match name.rsplit_once('.') {
        Some((stem, number)) if !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()) => stem.to_owned(),
        _ => name.to_owned(),
    }
}

//! Settings of the engine (configuration.md §4 `jobs`).

use std::{collections::HashMap, time::Duration};

use publaryn_core::job::{Concurrency, JobKind};

use crate::Schedule;

/// What an operator changed about one kind.
#[derive(Debug, Clone, Copy, Default)]
pub struct KindOverride {
    pub concurrency: Option<usize>,
    pub max_attempts: Option<i64>,
    pub timeout: Option<Duration>,
}

#[derive(Debug, Clone)]
pub struct JobsOptions {
    /// Stable across restarts of this installation, different for every node of it.
    pub node_id: String,
    pub version: String,
    /// `all`, `api` or `worker`, as shown to operators; which kinds run is decided by the handlers given.
    pub role: String,
    /// Jobs running at once in this process. A kind with nothing running may exceed it by one (J10).
    pub concurrency: usize,
    pub kinds: HashMap<JobKind, KindOverride>,
    /// How often the queue is asked when no wake-up arrives. Doubles up to 1 s while nothing happens.
    pub poll_interval: Duration,
    pub node_timeout: Duration,
    pub lease: Duration,
    /// How long running jobs may go on once the engine drains.
    pub drain_grace: Duration,
    /// Time between heartbeats, leadership renewals and sweeps.
    pub heartbeat: Duration,
    pub leader_ttl: Duration,
    /// A cancelled handler is dropped after this.
    pub cancel_grace: Duration,
    pub schedules: Vec<Schedule>,
}

impl JobsOptions {
    pub fn new(node_id: impl Into<String>) -> Self {
        let cpus = std::thread::available_parallelism().map_or(4, |n| n.get()).max(4);
        Self {
            node_id: node_id.into(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            role: "all".to_owned(),
            concurrency: cpus,
            kinds: HashMap::new(),
            poll_interval: Duration::from_secs(1),
            node_timeout: Duration::from_secs(15),
            lease: Duration::from_secs(60),
            drain_grace: Duration::from_secs(20),
            heartbeat: Duration::from_secs(5),
            leader_ttl: Duration::from_secs(15),
            cancel_grace: Duration::from_secs(10),
            schedules: Vec::new(),
        }
    }

    pub(crate) fn concurrency_of(&self, kind: JobKind) -> usize {
        let changed = self.kinds.get(&kind).and_then(|k| k.concurrency);
        match (changed, kind.defaults().concurrency) {
            (Some(n), _) => n.max(1),
            (None, Concurrency::Fixed(n)) => n as usize,
            (None, Concurrency::Cpu) => self.concurrency.max(1),
        }
    }

    pub(crate) fn timeout_of(&self, kind: JobKind) -> Duration {
        self.kinds.get(&kind).and_then(|k| k.timeout).unwrap_or(kind.defaults().timeout)
    }

    /// Only what was changed: jobs carry their own default.
    pub(crate) fn max_attempts_of(&self, kind: JobKind) -> Option<i64> {
        self.kinds.get(&kind).and_then(|k| k.max_attempts)
    }
}

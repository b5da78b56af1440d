//! What the tree consists of, as values: children, strategies and limits.

use std::{fmt, sync::Arc, time::Duration};

use futures::future::BoxFuture;
use publaryn_core::BoxError;

use crate::{Context, NodeKind, mailbox::MailboxGauge};

/// When a child that ended is started again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Restart {
    /// Always.
    Permanent,
    /// After a failure, not after a normal end.
    Transient,
    /// Never.
    Temporary,
}

/// Whom a failure takes along.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Strategy {
    /// Only the failed child is restarted.
    OneForOne,
    /// The failed child and those started after it are restarted.
    RestForOne,
}

impl Strategy {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::OneForOne => "one_for_one",
            Self::RestForOne => "rest_for_one",
        }
    }
}

/// How much failure a supervisor bears (jobs.md §7).
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Restarts within `window` before the supervisor itself fails.
    pub max_restarts: u32,
    pub window: Duration,
    /// Second delay before a restart (the first is zero); doubles up to `delay_cap`.
    pub delay_base: Duration,
    pub delay_cap: Duration,
    /// Running this long makes the next failure the first again.
    pub healthy_after: Duration,
    /// Root only: how often a degraded subtree is tried again, and how long it must last to have recovered.
    pub degraded_retry: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_restarts: 5,
            window: Duration::from_secs(10),
            delay_base: Duration::from_millis(100),
            delay_cap: Duration::from_secs(10),
            healthy_after: Duration::from_secs(60),
            degraded_retry: Duration::from_secs(10),
        }
    }
}

impl Limits {
    /// The root's: 10 restarts of one subtree in 60 s.
    pub fn root() -> Self {
        Self { max_restarts: 10, window: Duration::from_secs(60), ..Self::default() }
    }

    /// The pause before restart number `failures` (1 = first) in a row.
    pub(crate) fn delay(&self, failures: u32) -> Duration {
        match failures {
            0 | 1 => Duration::ZERO,
            n => self.delay_base.saturating_mul(1 << (n - 2).min(16)).min(self.delay_cap),
        }
    }
}

pub(crate) type Run = Arc<dyn Fn(Context) -> BoxFuture<'static, Result<(), BoxError>> + Send + Sync>;

/// One child of a supervisor; starting it again means calling its closure again.
#[derive(Clone)]
pub struct ChildSpec {
    pub(crate) name: String,
    pub(crate) restart: Restart,
    /// Longest wait for an orderly end before it is killed.
    pub(crate) shutdown: Duration,
    pub(crate) body: Body,
}

#[derive(Clone)]
pub(crate) enum Body {
    Supervisor(Arc<SupervisorSpec>),
    Service { run: Run, kind: NodeKind, gauge: Option<Arc<MailboxGauge>> },
}

impl ChildSpec {
    /// A loop that runs until its [`Context`] asks it to stop. Restarted whenever it ends.
    pub fn service<F, Fut>(name: impl Into<String>, run: F) -> Self
    where
        F: Fn(Context) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), BoxError>> + Send + 'static,
    {
        Self::from_run(name.into(), NodeKind::Worker, None, Arc::new(move |context| Box::pin(run(context))))
    }

    /// As [`service`](Self::service), for one that keeps [`Slots`](crate::Slots) of temporary workers.
    pub fn pool<F, Fut>(name: impl Into<String>, run: F) -> Self
    where
        F: Fn(Context) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), BoxError>> + Send + 'static,
    {
        Self::from_run(name.into(), NodeKind::Pool, None, Arc::new(move |context| Box::pin(run(context))))
    }

    pub(crate) fn from_run(name: String, kind: NodeKind, gauge: Option<Arc<MailboxGauge>>, run: Run) -> Self {
        assert!(!name.contains('/'), "a child's name is one path segment: {name}");
        let shutdown = Duration::from_secs(25);
        Self { name, restart: Restart::Permanent, shutdown, body: Body::Service { run, kind, gauge } }
    }

    pub fn restart(mut self, restart: Restart) -> Self {
        self.restart = restart;
        self
    }

    /// Longest wait for its orderly end (default 25 s; the tree's own deadline may be shorter).
    pub fn shutdown_within(mut self, limit: Duration) -> Self {
        self.shutdown = limit;
        self
    }

    pub fn name(&self) -> &str {
        &self.name
    }
}

impl fmt::Debug for ChildSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChildSpec").field("name", &self.name).field("restart", &self.restart).finish_non_exhaustive()
    }
}

/// A supervisor and its children, in start order; they stop in reverse.
#[derive(Debug, Clone)]
pub struct SupervisorSpec {
    pub(crate) name: String,
    pub(crate) strategy: Strategy,
    pub(crate) limits: Limits,
    pub(crate) children: Vec<ChildSpec>,
    /// At the root: subtrees whose exhaustion ends the process; others become degraded. `None` elsewhere.
    pub(crate) vital: Option<Vec<String>>,
}

impl SupervisorSpec {
    pub fn new(name: impl Into<String>, strategy: Strategy) -> Self {
        Self { name: name.into(), strategy, limits: Limits::default(), children: Vec::new(), vital: None }
    }

    /// The top of a tree. A `vital` subtree (`http`, `auth`) that is exhausted ends the process.
    pub fn root(vital: &[&str]) -> Self {
        Self {
            limits: Limits::root(),
            vital: Some(vital.iter().map(|name| (*name).to_owned()).collect()),
            ..Self::new("root", Strategy::OneForOne)
        }
    }

    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    pub fn child(mut self, child: impl Into<ChildSpec>) -> Self {
        let child = child.into();
        assert!(self.children.iter().all(|c| c.name != child.name), "two children named {}", child.name);
        self.children.push(child);
        self
    }
}

impl From<SupervisorSpec> for ChildSpec {
    fn from(spec: SupervisorSpec) -> Self {
        Self {
            name: spec.name.clone(),
            restart: Restart::Permanent,
            shutdown: Duration::from_secs(30),
            body: Body::Supervisor(Arc::new(spec)),
        }
    }
}

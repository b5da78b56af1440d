//! The supervisor: an actor that owns an ordered list of children and decides about their failures.
//!
//! It owns no data of the application. Its mailbox holds supervision events and timers, both bounded by
//! the number of its children; what survives its crash is the [`Node`] record of each child.

use std::{
    collections::VecDeque,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};

use ractor::{Actor, ActorCell, ActorProcessingErr, ActorRef, SupervisionEvent};
use tokio::sync::oneshot;

use crate::{
    ActorEventKind, ChildSpec, NodeKind, Restart, Strategy, SupervisorSpec, context,
    node::{Node, Status},
    panics,
    spec::Body,
    tree::Shared,
};

/// Longest wait for siblings that a failure takes along.
const SIBLING_STOP: Duration = Duration::from_secs(5);
/// Even when the deadline has passed, each child may react to its stop signal for this long.
const LEAST_GRACE: Duration = Duration::from_millis(100);

pub(crate) struct Supervisor;

pub(crate) struct SupervisorArgs {
    pub(crate) spec: Arc<SupervisorSpec>,
    pub(crate) node: Arc<Node>,
    pub(crate) shared: Arc<Shared>,
}

pub(crate) enum Command {
    /// A restart delay is over.
    Start {
        child: usize,
        generation: u64,
    },
    /// A degraded child has lasted long enough to count as recovered.
    Settled {
        child: usize,
        generation: u64,
    },
    Stop {
        deadline: Instant,
        done: oneshot::Sender<()>,
    },
    StopChild {
        child: String,
        deadline: Instant,
        done: oneshot::Sender<()>,
    },
    /// Fault injection.
    Crash,
}

pub(crate) struct State {
    spec: Arc<SupervisorSpec>,
    node: Arc<Node>,
    shared: Arc<Shared>,
    children: Vec<Child>,
    /// Restarts of any child within the window; the root counts per child instead.
    window: VecDeque<Instant>,
}

struct Child {
    spec: ChildSpec,
    node: Arc<Node>,
    live: Option<Live>,
    /// Failures in a row.
    failures: u32,
    started: Instant,
    /// Counts starts, so that a late timer knows it is late.
    generation: u64,
    window: VecDeque<Instant>,
    /// Ended for good.
    finished: bool,
}

struct Live {
    cell: ActorCell,
    join: tokio::task::JoinHandle<()>,
    stop: Stopper,
}

enum Stopper {
    Token(tokio_util::sync::CancellationToken),
    Supervisor(ActorRef<Command>),
}

impl Actor for Supervisor {
    type Msg = Command;
    type State = State;
    type Arguments = SupervisorArgs;

    async fn pre_start(&self, myself: ActorRef<Command>, args: SupervisorArgs) -> Result<State, ActorProcessingErr> {
        let SupervisorArgs { spec, node, shared } = args;
        let target = myself.clone();
        node.started(Arc::new(move || {
            // A supervisor that is already gone needs no killing.
            let _ = target.cast(Command::Crash);
        }));
        let children = spec.children.iter().map(|child| Child::new(child, &node, &shared)).collect();
        let mut state = State { spec, node, shared, children, window: VecDeque::new() };
        for index in 0..state.children.len() {
            state.start(index, &myself).await?;
        }
        Ok(state)
    }

    async fn handle(
        &self,
        myself: ActorRef<Command>,
        command: Command,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        let began = state.node.begin_message();
        let outcome = match command {
            Command::Start { child, generation } => state.restart(child, generation, &myself).await,
            Command::Settled { child, generation } => {
                state.settled(child, generation);
                Ok(())
            }
            Command::Stop { deadline, done } => {
                state.stop_from(0, deadline, true).await;
                state.node.set_status(Status::Stopped);
                myself.stop(None);
                let _ = done.send(());
                Ok(())
            }
            Command::StopChild { child, deadline, done } => {
                if let Some(child) = state.children.iter_mut().find(|c| c.spec.name == child) {
                    child.stop(deadline, true).await;
                }
                let _ = done.send(());
                Ok(())
            }
            Command::Crash => {
                let killed = panics::caught(&state.node.name, async { panic!("killed by fault injection") }).await;
                killed.map_err(Into::into)
            }
        };
        state.node.end_message(began);
        outcome
    }

    async fn handle_supervisor_evt(
        &self,
        myself: ActorRef<Command>,
        event: SupervisionEvent,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        let (who, end) = match event {
            SupervisionEvent::ActorFailed(who, error) => (who, End::Failed(error.to_string())),
            SupervisionEvent::ActorTerminated(who, _, Some(reason)) => (who, End::Failed(reason)),
            SupervisionEvent::ActorTerminated(who, _, None) => (who, End::Normal),
            _ => return Ok(()),
        };
        let id = who.get_id();
        let Some(index) =
            state.children.iter().position(|c| c.live.as_ref().is_some_and(|live| live.cell.get_id() == id))
        else {
            return Ok(()); // one we stopped ourselves
        };
        let began = state.node.begin_message();
        let outcome = state.ended(index, end, &myself).await;
        state.node.end_message(began);
        outcome
    }
}

enum End {
    Normal,
    Failed(String),
}

impl Child {
    fn new(spec: &ChildSpec, parent: &Arc<Node>, shared: &Arc<Shared>) -> Self {
        let name = format!("{}/{}", parent.name, spec.name);
        let node = match &spec.body {
            Body::Supervisor(below) => {
                shared.node(name, NodeKind::Supervisor, Some((below.strategy, below.limits)), None, Some(parent))
            }
            Body::Service { kind, gauge, .. } => shared.node(name, *kind, None, gauge.clone(), Some(parent)),
        };
        Self {
            spec: spec.clone(),
            node,
            live: None,
            failures: 0,
            started: Instant::now(),
            generation: 0,
            window: VecDeque::new(),
            finished: false,
        }
    }

    /// Ends it in order, or by force at the deadline. With `for_good` its callers are told at once.
    async fn stop(&mut self, deadline: Instant, for_good: bool) {
        self.generation += 1;
        self.finished |= for_good;
        if let Some(live) = self.live.take() {
            self.node.set_status(Status::Stopping);
            let grace = deadline.saturating_duration_since(Instant::now()).min(self.spec.shutdown).max(LEAST_GRACE);
            match &live.stop {
                Stopper::Token(token) => token.cancel(),
                Stopper::Supervisor(actor) => {
                    let (done, _) = oneshot::channel();
                    // Already gone is what we want.
                    let _ = actor.cast(Command::Stop { deadline: Instant::now() + grace, done });
                }
            }
            // A supervisor needs a little longer than its children to report their forced ends.
            let slack = if matches!(live.stop, Stopper::Supervisor(_)) { LEAST_GRACE * 5 } else { Duration::ZERO };
            let mut join = live.join;
            if tokio::time::timeout(grace + slack, &mut join).await.is_err() {
                tracing::warn!(actor = %self.node.name, "actor did not stop in time and is killed");
                live.cell.kill();
                // Bounded by the next await point of the actor.
                let _ = tokio::time::timeout(SIBLING_STOP, join).await;
            }
            self.node.ended();
        }
        self.node.set_status(Status::Stopped);
        if for_good {
            self.node.gauge.gone.cancel();
        }
    }
}

impl State {
    async fn start(&mut self, index: usize, myself: &ActorRef<Command>) -> Result<(), ActorProcessingErr> {
        let child = &mut self.children[index];
        child.generation += 1;
        child.started = Instant::now();
        child.node.set_status(Status::Starting);
        let live = match &child.spec.body {
            Body::Supervisor(spec) => {
                let args = SupervisorArgs { spec: spec.clone(), node: child.node.clone(), shared: self.shared.clone() };
                let (actor, join) = Box::pin(Actor::spawn_linked(None, Supervisor, args, myself.get_cell())).await?;
                Live { cell: actor.get_cell(), join, stop: Stopper::Supervisor(actor) }
            }
            Body::Service { run, .. } => {
                let started =
                    context::start(run.clone(), child.node.clone(), self.shared.clone(), myself.get_cell()).await?;
                Live { cell: started.cell, join: started.join, stop: Stopper::Token(started.stop) }
            }
        };
        child.live = Some(live);
        child.node.set_status(Status::Running);
        self.shared.event(&child.node, ActorEventKind::Started, None);
        Ok(())
    }

    /// Starts a child again and, with rest_for_one, those that were stopped along with it.
    async fn restart(
        &mut self,
        index: usize,
        generation: u64,
        myself: &ActorRef<Command>,
    ) -> Result<(), ActorProcessingErr> {
        if self.children[index].generation != generation || self.shared.is_stopping() {
            return Ok(());
        }
        let last = match self.spec.strategy {
            Strategy::OneForOne => index,
            Strategy::RestForOne => self.children.len() - 1,
        };
        for i in index..=last {
            if self.children[i].live.is_none() && !self.children[i].finished {
                self.start(i, myself).await?;
            }
        }
        let child = &self.children[index];
        self.node.count_restart(self.spec.limits.window);
        if child.node.kind == NodeKind::Worker {
            child.node.restarts.fetch_add(1, Relaxed);
        }
        metrics::counter!("publaryn_actor_restarts_total", "actor" => child.node.label.clone()).increment(1);
        self.shared.event(&child.node, ActorEventKind::Restarted, None);
        if child.node.degraded.load(Relaxed) {
            let generation = child.generation;
            myself.send_after(self.spec.limits.degraded_retry, move || Command::Settled { child: index, generation });
        }
        Ok(())
    }

    fn settled(&mut self, index: usize, generation: u64) {
        let child = &mut self.children[index];
        if child.generation == generation && child.live.is_some() {
            child.failures = 0;
            child.window.clear();
            self.shared.set_degraded(&child.node, false);
        }
    }

    /// Decides about a child that ended by itself.
    async fn ended(&mut self, index: usize, end: End, myself: &ActorRef<Command>) -> Result<(), ActorProcessingErr> {
        let limits = self.spec.limits;
        let child = &mut self.children[index];
        child.live = None;
        child.generation += 1;
        child.node.ended();
        let wanted = match (child.spec.restart, &end) {
            (Restart::Permanent, _) | (Restart::Transient, End::Failed(_)) => true,
            (Restart::Transient, End::Normal) | (Restart::Temporary, _) => false,
        };
        let reason = match end {
            End::Normal => "ended without being asked to".to_owned(),
            End::Failed(reason) => reason,
        };
        if !wanted {
            child.finished = true;
            child.node.set_status(Status::Stopped);
            child.node.gauge.gone.cancel();
            if child.spec.restart == Restart::Temporary {
                self.shared.failure(&child.node, &reason, "failed", Duration::ZERO);
            }
            return Ok(());
        }
        if child.started.elapsed() >= limits.healthy_after {
            child.failures = 0;
        }
        child.failures += 1;
        child.node.set_status(Status::Restarting);

        let is_degraded = child.node.degraded.load(Relaxed);
        let is_root = self.spec.vital.is_some();
        let window = if is_root { &mut child.window } else { &mut self.window };
        window.retain(|at| at.elapsed() < limits.window);
        let is_over = window.len() >= limits.max_restarts as usize;
        window.push_back(Instant::now());
        let generation = child.generation;
        let delay = if is_degraded {
            limits.degraded_retry
        } else if !is_over {
            limits.delay(child.failures)
        } else if let Some(vital) = &self.spec.vital {
            if vital.contains(&child.spec.name) {
                child.finished = true;
                child.node.set_status(Status::Stopped);
                self.shared.failure(&child.node, &reason, "exhausted", Duration::ZERO);
                self.shared.exhausted(&child.node.name);
                return Ok(());
            }
            limits.degraded_retry
        } else {
            self.shared.failure(&child.node, &reason, "escalated", Duration::ZERO);
            let name = child.node.name.clone();
            self.stop_from(0, Instant::now() + SIBLING_STOP, false).await;
            return Err(format!("restart limit reached; last `{name}`: {reason}").into());
        };
        let action = if is_degraded || is_over { "degraded" } else { "restarted" };
        self.shared.failure(&child.node, &reason, action, delay);
        if is_over && is_root {
            self.shared.set_degraded(&child.node, true);
        }
        if self.spec.strategy == Strategy::RestForOne {
            self.stop_from(index + 1, Instant::now() + SIBLING_STOP, false).await;
        }
        if delay.is_zero() {
            return self.restart(index, generation, myself).await;
        }
        myself.send_after(delay, move || Command::Start { child: index, generation });
        Ok(())
    }

    /// Stops the children from `first` on, the last one first.
    async fn stop_from(&mut self, first: usize, deadline: Instant, for_good: bool) {
        for child in self.children[first..].iter_mut().rev() {
            child.stop(deadline, for_good).await;
        }
    }
}

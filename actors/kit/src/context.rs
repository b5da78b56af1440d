//! What a running service knows about itself, and the ractor actor that carries it.

use std::{future::Future, pin::Pin, sync::Arc, task, time::Instant};

use futures::future::BoxFuture;
use publaryn_core::BoxError;
use ractor::{Actor, ActorCell, ActorProcessingErr, ActorRef, SpawnErr, SupervisionEvent};
use serde_json::Value;
use tokio_util::sync::{CancellationToken, WaitForCancellationFuture};

use crate::{Slots, node::Node, panics, spec::Run, tree::Shared};

/// Handed to every service when it starts: its name, its stop signal, its place in the tree.
#[derive(Clone)]
pub struct Context {
    pub(crate) node: Arc<Node>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) stop: CancellationToken,
    pub(crate) cell: ActorCell,
}

impl Context {
    /// Its path, such as `root/jobs/dispatcher`.
    pub fn name(&self) -> &str {
        &self.node.name
    }

    /// Completes when the service should finish what it has in hand and return.
    pub fn stopping(&self) -> WaitForCancellationFuture<'_> {
        self.stop.cancelled()
    }

    pub fn is_stopping(&self) -> bool {
        self.stop.is_cancelled()
    }

    /// The stop signal, for tasks the service starts.
    pub fn stop_token(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// Publishes small facts for introspection; shown until replaced.
    pub fn set_state(&self, state: Value) {
        self.node.set_state(state);
    }

    /// Notes that one unit of work (a message, a round of a loop) was done.
    pub fn worked(&self, since: Instant) {
        self.node.end_message(since);
    }

    /// Room for `capacity` temporary workers below this actor; they die with this incarnation.
    pub fn slots(&self, capacity: usize) -> Slots {
        Slots::new(self, capacity)
    }
}

/// A started service: how to stop it, and how to know that it ended.
pub(crate) struct Started {
    pub(crate) cell: ActorCell,
    pub(crate) join: tokio::task::JoinHandle<()>,
    pub(crate) stop: CancellationToken,
}

/// Starts `run` as an actor supervised by `parent`.
pub(crate) async fn start(
    run: Run,
    node: Arc<Node>,
    shared: Arc<Shared>,
    parent: ActorCell,
) -> Result<Started, SpawnErr> {
    let stop = CancellationToken::new();
    let args = ServiceState { run, node, shared, stop: stop.clone() };
    let (actor, join) = Actor::spawn_linked(None, Service, args, parent).await?;
    Ok(Started { cell: actor.get_cell(), join, stop })
}

/// The actor behind every service: its only message starts the loop.
struct Service;

struct Go;

struct ServiceState {
    run: Run,
    node: Arc<Node>,
    shared: Arc<Shared>,
    stop: CancellationToken,
}

impl Actor for Service {
    type Msg = Go;
    type State = ServiceState;
    type Arguments = ServiceState;

    async fn pre_start(&self, _: ActorRef<Go>, args: ServiceState) -> Result<ServiceState, ActorProcessingErr> {
        Ok(args)
    }

    async fn post_start(&self, myself: ActorRef<Go>, _: &mut ServiceState) -> Result<(), ActorProcessingErr> {
        Ok(myself.cast(Go)?)
    }

    async fn handle(&self, myself: ActorRef<Go>, _: Go, state: &mut ServiceState) -> Result<(), ActorProcessingErr> {
        // The former incarnation may still be unwinding after its supervisor died.
        let _only = state.node.incarnation.clone().lock_owned().await;
        let kill = CancellationToken::new();
        let trigger = kill.clone();
        state.node.started(Arc::new(move || trigger.cancel()));
        let context = Context {
            node: state.node.clone(),
            shared: state.shared.clone(),
            stop: state.stop.clone(),
            cell: myself.get_cell(),
        };
        let run = state.run.clone();
        let body = async {
            let work = Metered { node: state.node.clone(), future: run(context) };
            tokio::select! {
                outcome = work => outcome,
                () = kill.cancelled() => panic!("killed by fault injection"),
            }
        };
        match panics::caught(&state.node.name, body).await {
            Ok(Ok(())) => {
                myself.stop(None);
                Ok(())
            }
            Ok(Err(error)) => Err(chain(&error).into()),
            Err(panic) => Err(panic.into()),
        }
    }

    /// Children of a service (a factory) end with it; while it lives it watches them itself.
    async fn handle_supervisor_evt(
        &self,
        _: ActorRef<Go>,
        _: SupervisionEvent,
        _: &mut ServiceState,
    ) -> Result<(), ActorProcessingErr> {
        Ok(())
    }
}

/// An error with its causes on one line.
pub(crate) fn chain(error: &BoxError) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

/// Adds the time spent in `poll` to the node's busy time.
struct Metered {
    node: Arc<Node>,
    future: BoxFuture<'static, Result<(), BoxError>>,
}

impl Future for Metered {
    type Output = Result<(), BoxError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> task::Poll<Self::Output> {
        let began = Instant::now();
        let polled = self.future.as_mut().poll(cx);
        self.node.add_busy(began.elapsed());
        polled
    }
}

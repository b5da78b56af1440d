//! A pool that runs at most one job per key at a time, other keys in parallel.
//!
//! Behind it is a ractor factory with sticky routing: its queue survives the panic of a worker, so only
//! the caller of the job in hand learns of it. Its bound is kept at the door, where a refusal costs
//! nothing, because ractor's own mailboxes and a busy worker's private queue have none.

use std::{
    fmt::Debug,
    future::Future,
    hash::Hash,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use arc_swap::ArcSwapOption;
use futures::future::BoxFuture;
use publaryn_core::BoxError;
use ractor::{
    Actor, ActorProcessingErr, ActorRef, Message,
    factory::{
        DiscardMode, DiscardSettings, Factory, FactoryArguments, FactoryMessage, Job, WorkerBuilder, WorkerId,
        WorkerMessage, WorkerStartContext, queues::DefaultQueue, routing::StickyQueuerRouting,
    },
};
use serde_json::Value;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio_util::sync::CancellationToken;

use crate::{ChildSpec, Context, NodeKind, mailbox::MailboxGauge, node::Node, panics, tree::Shared};

/// What a key must be able to do.
pub trait PoolKey: Debug + Hash + Eq + Clone + Send + Sync + 'static {}
impl<K: Debug + Hash + Eq + Clone + Send + Sync + 'static> PoolKey for K {}

/// Size of a pool.
#[derive(Debug, Clone, Copy)]
pub struct PoolOptions {
    /// Jobs that run at the same time.
    pub workers: usize,
    /// Jobs that may wait beyond those; the next is refused.
    pub queue: usize,
    /// Longest a caller waits for its reply.
    pub timeout: Duration,
}

impl Default for PoolOptions {
    fn default() -> Self {
        Self { workers: 4, queue: 256, timeout: Duration::from_secs(30) }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// The job was not accepted; nothing happened.
    #[error("pool is full or down")]
    Refused,
    /// The worker died over the job; whether it took effect is unknown.
    #[error("pool worker crashed")]
    Crashed,
    /// The job was accepted and may still take effect.
    #[error("no reply in time")]
    Timeout,
}

/// The way to a pool; valid across restarts of workers and pool. Cheap to clone.
pub struct KeyedPool<K: PoolKey, J: Message, R: Send + 'static> {
    door: Arc<Door<K, J, R>>,
}

impl<K: PoolKey, J: Message, R: Send + 'static> Clone for KeyedPool<K, J, R> {
    fn clone(&self) -> Self {
        Self { door: self.door.clone() }
    }
}

struct Door<K: PoolKey, J: Message, R: Send + 'static> {
    factory: ArcSwapOption<ActorRef<FactoryMessage<K, Envelope<J, R>>>>,
    room: Arc<Semaphore>,
    gauge: Arc<MailboxGauge>,
    timeout: Duration,
}

/// A job on its way; the permit frees its place however it ends.
struct Envelope<J, R> {
    job: J,
    reply: oneshot::Sender<R>,
    _place: Place,
}

struct Place {
    _permit: OwnedSemaphorePermit,
    gauge: Arc<MailboxGauge>,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.gauge.left();
    }
}

type Handler<K, J, R> = Arc<dyn Fn(K, J) -> BoxFuture<'static, R> + Send + Sync>;
type Describe<K> = Arc<dyn Fn(&K) -> Value + Send + Sync>;

impl<K: PoolKey, J: Message, R: Send + 'static> KeyedPool<K, J, R> {
    /// A pool child and the handle to it. `describe` makes the facts introspection shows for a busy
    /// worker (ids, never names of private things).
    pub fn new<F, Fut>(
        name: impl Into<String>,
        options: PoolOptions,
        describe: impl Fn(&K) -> Value + Send + Sync + 'static,
        handler: F,
    ) -> (ChildSpec, Self)
    where
        F: Fn(K, J) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = R> + Send + 'static,
    {
        let bound = options.workers + options.queue;
        let gauge = Arc::new(MailboxGauge::new(bound));
        let door = Arc::new(Door {
            factory: ArcSwapOption::empty(),
            room: Arc::new(Semaphore::new(bound)),
            gauge: gauge.clone(),
            timeout: options.timeout,
        });
        let handler: Handler<K, J, R> = Arc::new(move |key, job| Box::pin(handler(key, job)));
        let describe: Describe<K> = Arc::new(describe);
        let inside = door.clone();
        let run = move |context: Context| -> BoxFuture<'static, Result<(), BoxError>> {
            Box::pin(serve(context, inside.clone(), options, handler.clone(), describe.clone()))
        };
        (ChildSpec::from_run(name.into(), NodeKind::Pool, Some(gauge), Arc::new(run)), Self { door })
    }

    /// Runs `job` after all earlier jobs of `key` and returns its reply.
    pub async fn call(&self, key: K, job: J) -> Result<R, CallError> {
        let door = &self.door;
        let factory = door.factory.load_full();
        let (Some(factory), Ok(permit)) = (factory, door.room.clone().try_acquire_owned()) else {
            door.gauge.refused();
            return Err(CallError::Refused);
        };
        door.gauge.entered();
        let place = Place { _permit: permit, gauge: door.gauge.clone() };
        let (reply, answer) = oneshot::channel();
        let job = Job::builder().key(key).msg(Envelope { job, reply, _place: place }).build();
        if factory.cast(FactoryMessage::Dispatch(job)).is_err() {
            return Err(CallError::Refused);
        }
        match tokio::time::timeout(door.timeout, answer).await {
            Ok(Ok(reply)) => Ok(reply),
            Ok(Err(_)) => Err(CallError::Crashed),
            Err(_) => Err(CallError::Timeout),
        }
    }

    /// True while the pool is down or draining and refuses every job.
    pub fn is_shut(&self) -> bool {
        self.door.factory.load().is_none()
    }

    /// Jobs waiting or running.
    pub fn depth(&self) -> usize {
        self.door.gauge.depth()
    }
}

async fn serve<K: PoolKey, J: Message, R: Send + 'static>(
    context: Context,
    door: Arc<Door<K, J, R>>,
    options: PoolOptions,
    handler: Handler<K, J, R>,
    describe: Describe<K>,
) -> Result<(), BoxError> {
    let builder =
        Builder { shared: context.shared.clone(), pool: context.node.clone(), handler, describe, built: Vec::new() };
    let arguments = FactoryArguments::builder()
        .worker_builder(Box::new(builder))
        .num_initial_workers(options.workers)
        .router(StickyQueuerRouting::default())
        .queue(DefaultQueue::default())
        .discard_settings(DiscardSettings::Static { limit: options.queue, mode: DiscardMode::Newest })
        .build();
    type PoolFactory<K, J, R> = Factory<
        K,
        Envelope<J, R>,
        (),
        PoolWorker<K, J, R>,
        StickyQueuerRouting<K, Envelope<J, R>>,
        DefaultQueue<K, Envelope<J, R>>,
    >;
    let (factory, mut join) =
        Actor::spawn_linked(None, PoolFactory::<K, J, R>::default(), arguments, context.cell.clone()).await?;
    let _closing = Closing(&door);
    door.factory.store(Some(Arc::new(factory.clone())));
    tokio::select! {
        _ = &mut join => return Err("the factory ended".into()),
        () = context.stopping() => {}
    }
    // Refuse newcomers, finish what was accepted; the supervisor's deadline bounds it.
    door.factory.store(None);
    factory.cast(FactoryMessage::DrainRequests)?;
    Ok(join.await?)
}

/// Takes the factory away from callers however its service ends.
struct Closing<'a, K: PoolKey, J: Message, R: Send + 'static>(&'a Door<K, J, R>);

impl<K: PoolKey, J: Message, R: Send + 'static> Drop for Closing<'_, K, J, R> {
    fn drop(&mut self) {
        self.0.factory.store(None);
    }
}

struct Builder<K: PoolKey, J: Message, R: Send + 'static> {
    shared: Arc<Shared>,
    pool: Arc<Node>,
    handler: Handler<K, J, R>,
    describe: Describe<K>,
    /// How often each worker was built.
    built: Vec<AtomicUsize>,
}

impl<K: PoolKey, J: Message, R: Send + 'static> WorkerBuilder<PoolWorker<K, J, R>, ()> for Builder<K, J, R> {
    fn build(&mut self, id: WorkerId) -> (PoolWorker<K, J, R>, ()) {
        let name = format!("{}/worker.{id}", self.pool.name);
        let node = self.shared.node(name, NodeKind::Worker, None, None, Some(&self.pool));
        if self.built.len() <= id {
            self.built.resize_with(id + 1, AtomicUsize::default);
        }
        if self.built[id].fetch_add(1, Relaxed) > 0 {
            node.restarts.fetch_add(1, Relaxed);
            self.pool.restarts.fetch_add(1, Relaxed);
            metrics::counter!("publaryn_actor_restarts_total", "actor" => node.label.clone()).increment(1);
        }
        let worker = PoolWorker {
            shared: self.shared.clone(),
            pool: self.pool.clone(),
            node,
            handler: self.handler.clone(),
            describe: self.describe.clone(),
        };
        (worker, ())
    }
}

struct PoolWorker<K: PoolKey, J: Message, R: Send + 'static> {
    shared: Arc<Shared>,
    pool: Arc<Node>,
    node: Arc<Node>,
    handler: Handler<K, J, R>,
    describe: Describe<K>,
}

/// Written as a plain actor, because ractor's `Worker` trait hides the worker's own cell, which
/// killing an idle one needs.
impl<K: PoolKey, J: Message, R: Send + 'static> Actor for PoolWorker<K, J, R> {
    type Msg = WorkerMessage<K, Envelope<J, R>>;
    type Arguments = WorkerStartContext<K, Envelope<J, R>, ()>;
    type State = (WorkerId, ActorRef<FactoryMessage<K, Envelope<J, R>>>);

    /// Does no I/O and cannot fail: a failing start would stop the whole factory.
    async fn pre_start(
        &self,
        myself: ActorRef<Self::Msg>,
        start: Self::Arguments,
    ) -> Result<Self::State, ActorProcessingErr> {
        self.rest(&myself);
        Ok((start.wid, start.factory))
    }

    async fn handle(
        &self,
        myself: ActorRef<Self::Msg>,
        message: Self::Msg,
        (id, factory): &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            WorkerMessage::FactoryPing(sent) => factory.cast(FactoryMessage::WorkerPong(*id, sent.elapsed()))?,
            WorkerMessage::Dispatch(job) => {
                let key = self.work(job).await?;
                self.rest(&myself);
                factory.cast(FactoryMessage::Finished(*id, key))?;
            }
        }
        Ok(())
    }
}

impl<K: PoolKey, J: Message, R: Send + 'static> PoolWorker<K, J, R> {
    /// While it has no job, there is no handler to panic in: killing it ends the actor itself.
    fn rest(&self, myself: &ActorRef<WorkerMessage<K, Envelope<J, R>>>) {
        let (cell, node, shared) = (myself.get_cell(), self.node.clone(), self.shared.clone());
        self.node.started(Arc::new(move || {
            shared.failure(&node, "killed by fault injection", "restarted", Duration::ZERO);
            cell.kill();
        }));
        self.node.set_state(Value::Object(serde_json::Map::new()));
    }

    async fn work(&self, job: Job<K, Envelope<J, R>>) -> Result<K, ActorProcessingErr> {
        let Job { key, msg: Envelope { job, reply, _place }, .. } = job;
        let kill = CancellationToken::new();
        let trigger = kill.clone();
        self.node.started(Arc::new(move || trigger.cancel()));
        self.node.set_state((self.describe)(&key));
        let began = self.node.begin_message();
        let work = (self.handler)(key.clone(), job);
        let outcome = panics::caught(&self.node.name, async {
            tokio::select! {
                value = work => value,
                () = kill.cancelled() => panic!("killed by fault injection"),
            }
        })
        .await;
        self.node.end_message(began);
        self.pool.processed.fetch_add(1, Relaxed);
        match outcome {
            Ok(value) => {
                // A caller that went away does not need its reply.
                let _ = reply.send(value);
                Ok(key)
            }
            Err(panic) => {
                self.node.ended();
                self.shared.failure(&self.node, &panic, "restarted", Duration::ZERO);
                Err("described in the failure of the worker".into())
            }
        }
    }
}

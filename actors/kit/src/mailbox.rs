//! One message-handling actor behind a bounded mailbox that outlives its restarts.
//!
//! The queue belongs to the [`Handle`], not to the actor: after a panic the next incarnation goes on
//! with the message behind the one that killed it, and whoever waited for that one learns at once.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use async_trait::async_trait;
use publaryn_core::BoxError;
use serde_json::Value;
use tokio::sync::{Mutex, mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::{ChildSpec, Context, NodeKind};

/// No question waits longer, whatever its caller asks for (jobs.md §7).
const LONGEST_ASK: Duration = Duration::from_secs(30);

/// How an actor handles its messages. Its state is rebuilt by the closure given to [`Handle::new`].
///
/// Await nothing slow in `receive` of an actor that others wait for.
#[async_trait]
pub trait Receive: Send + 'static {
    type Message: Send + 'static;

    /// Runs once per incarnation, before the first message: rebuild state here.
    async fn started(&mut self, _context: &Context) -> Result<(), BoxError> {
        Ok(())
    }

    /// Handles one message. An error ends this incarnation; the next one starts fresh.
    async fn receive(&mut self, message: Self::Message, context: &Context) -> Result<(), BoxError>;

    /// How often [`tick`](Self::tick) runs between messages; `None` = never.
    fn tick_every(&self) -> Option<Duration> {
        None
    }

    async fn tick(&mut self, _context: &Context) -> Result<(), BoxError> {
        Ok(())
    }

    /// Runs after the last message of an orderly stop.
    async fn stopped(&mut self, _context: &Context) {}

    /// Small facts for introspection.
    fn observe(&self) -> Value {
        Value::Object(serde_json::Map::new())
    }
}

/// Where the one who asked waits. Dropping it unanswered tells them that the actor crashed.
#[derive(Debug)]
pub struct Reply<T>(oneshot::Sender<T>);

impl<T> Reply<T> {
    /// Answers; someone who stopped waiting is no fault.
    pub fn send(self, value: T) {
        let _ = self.0.send(value);
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CastError {
    #[error("mailbox is full")]
    Refused,
    #[error("actor is stopped")]
    Stopped,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AskError {
    #[error("mailbox is full")]
    Refused,
    #[error("actor is stopped")]
    Stopped,
    /// The actor died over this message; whether it took effect is unknown.
    #[error("actor crashed over the message")]
    Crashed,
    #[error("no answer in time")]
    Timeout,
}

impl From<CastError> for AskError {
    fn from(error: CastError) -> Self {
        match error {
            CastError::Refused => Self::Refused,
            CastError::Stopped => Self::Stopped,
        }
    }
}

/// The way to an actor; valid across its restarts. Cheap to clone.
pub struct Handle<M> {
    sender: mpsc::Sender<M>,
    gauge: Arc<MailboxGauge>,
}

impl<M> Clone for Handle<M> {
    fn clone(&self) -> Self {
        Self { sender: self.sender.clone(), gauge: self.gauge.clone() }
    }
}

impl<M: Send + 'static> Handle<M> {
    /// A child whose every incarnation is made by `make`, and the handle to it.
    ///
    /// At most `capacity` messages wait; the next one is refused.
    pub fn new<R>(
        name: impl Into<String>,
        capacity: usize,
        make: impl Fn() -> R + Send + Sync + 'static,
    ) -> (ChildSpec, Self)
    where
        R: Receive<Message = M>,
    {
        let (sender, receiver) = mpsc::channel(capacity);
        let gauge = Arc::new(MailboxGauge::new(capacity));
        let queue = Arc::new(Mutex::new(receiver));
        let handle = Self { sender, gauge: gauge.clone() };
        let run = move |context: Context| -> futures::future::BoxFuture<'static, Result<(), BoxError>> {
            Box::pin(serve(make(), queue.clone(), context))
        };
        (ChildSpec::from_run(name.into(), NodeKind::Worker, Some(gauge), Arc::new(run)), handle)
    }

    /// Leaves a message and goes on.
    ///
    /// # Errors
    /// `Refused` when the mailbox is full, `Stopped` after the tree stopped.
    pub fn cast(&self, message: M) -> Result<(), CastError> {
        if self.gauge.gone.is_cancelled() {
            return Err(CastError::Stopped);
        }
        // Counted first: the receiver may be faster than the lines after the send.
        self.gauge.entered();
        self.sender.try_send(message).map_err(|error| {
            self.gauge.left();
            match error {
                mpsc::error::TrySendError::Full(_) => {
                    self.gauge.refused();
                    CastError::Refused
                }
                mpsc::error::TrySendError::Closed(_) => CastError::Stopped,
            }
        })
    }

    /// Sends the message `make` builds around a [`Reply`] and waits for the answer, at most `timeout` (≤ 30 s).
    pub async fn ask<T>(&self, timeout: Duration, make: impl FnOnce(Reply<T>) -> M) -> Result<T, AskError> {
        let (reply, answer) = oneshot::channel();
        self.cast(make(Reply(reply)))?;
        tokio::select! {
            biased;
            // A stopped tree drops its queues, which looks like a crash from here.
            answer = answer => answer.map_err(|_| match self.gauge.gone.is_cancelled() {
                true => AskError::Stopped,
                false => AskError::Crashed,
            }),
            () = self.gauge.gone.cancelled() => Err(AskError::Stopped),
            () = tokio::time::sleep(timeout.min(LONGEST_ASK)) => Err(AskError::Timeout),
        }
    }

    /// Messages waiting now.
    pub fn depth(&self) -> usize {
        self.gauge.depth()
    }
}

async fn serve<R: Receive>(
    mut actor: R,
    queue: Arc<Mutex<mpsc::Receiver<R::Message>>>,
    context: Context,
) -> Result<(), BoxError> {
    let mut queue = queue.lock().await;
    actor.started(&context).await?;
    context.set_state(actor.observe());
    let mut ticker = actor.tick_every().map(|period| {
        let mut ticker = tokio::time::interval(period);
        ticker.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        ticker
    });
    loop {
        let message = tokio::select! {
            biased;
            () = context.stopping() => break,
            message = queue.recv() => message,
            () = next_tick(&mut ticker) => {
                actor.tick(&context).await?;
                context.set_state(actor.observe());
                continue;
            }
        };
        let Some(message) = message else { break };
        handle(&mut actor, message, &context).await?;
    }
    // Orderly stop: what was accepted is done; the supervisor's deadline bounds it.
    while let Ok(message) = queue.try_recv() {
        handle(&mut actor, message, &context).await?;
    }
    actor.stopped(&context).await;
    Ok(())
}

async fn handle<R: Receive>(actor: &mut R, message: R::Message, context: &Context) -> Result<(), BoxError> {
    context.node.gauge.left();
    let began = context.node.begin_message();
    let outcome = actor.receive(message, context).await;
    context.node.end_message(began);
    context.set_state(actor.observe());
    outcome
}

async fn next_tick(ticker: &mut Option<tokio::time::Interval>) {
    match ticker {
        Some(ticker) => {
            ticker.tick().await;
        }
        None => std::future::pending().await,
    }
}

/// Depth, high water and bound of a mailbox, shared by those who fill it and those who look at it.
pub(crate) struct MailboxGauge {
    depth: AtomicUsize,
    high_water: AtomicUsize,
    refusals: AtomicUsize,
    capacity: usize,
    /// Cancelled when the actor will not come back.
    pub(crate) gone: CancellationToken,
}

impl MailboxGauge {
    pub(crate) fn new(capacity: usize) -> Self {
        Self {
            depth: AtomicUsize::new(0),
            high_water: AtomicUsize::new(0),
            refusals: AtomicUsize::new(0),
            capacity,
            gone: CancellationToken::new(),
        }
    }
    pub(crate) fn entered(&self) {
        let depth = self.depth.fetch_add(1, Relaxed) + 1;
        // Senders about to be refused are no high water.
        self.high_water.fetch_max(depth.min(self.capacity), Relaxed);
    }
    pub(crate) fn left(&self) {
        self.depth.fetch_sub(1, Relaxed);
    }
    pub(crate) fn refused(&self) {
        self.refusals.fetch_add(1, Relaxed);
    }
    /// Refusals since the last call.
    pub(crate) fn take_refusals(&self) -> usize {
        self.refusals.swap(0, Relaxed)
    }
    pub(crate) fn depth(&self) -> usize {
        self.depth.load(Relaxed)
    }
    pub(crate) fn high_water(&self) -> usize {
        self.high_water.load(Relaxed)
    }
    pub(crate) fn capacity(&self) -> usize {
        self.capacity
    }
}

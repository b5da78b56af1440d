//! The bounded queue in front of an index writer, with group commit.
//!
//! Callers wait for the commit that contains their change; whatever arrives during one commit
//! shares the next. The queue outlives its server, so a crashed writer is simply served again.

use std::{
    collections::HashSet,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use publaryn_core::{PackageId, Timestamp};
use tokio::sync::{mpsc, oneshot};

use crate::{Applied, IndexOp, MAX_BATCH, RebuildState, SearchError, SearchStatus, WRITE_DEADLINE};

/// Writes that may wait. The job workers are the only callers and far fewer.
const CAPACITY: usize = 256;

/// One thing for the writer to do, alone or as a group.
#[derive(Debug)]
pub(crate) enum Write {
    Apply(Vec<IndexOp>),
    Sweep(Timestamp),
    Clear,
    NoteRebuild(RebuildState),
}

type Answer = Result<Applied, SearchError>;

struct Waiting {
    write: Write,
    answer: oneshot::Sender<Answer>,
}

pub(crate) struct WriteQueue {
    sender: mpsc::Sender<Waiting>,
    /// Locked by the one server; a second one waits its turn.
    receiver: tokio::sync::Mutex<Receiver>,
    commits: AtomicU64,
    failures: AtomicU64,
    last_error: Mutex<Option<String>>,
}

struct Receiver {
    queue: mpsc::Receiver<Waiting>,
    /// Taken from the queue, but not groupable with what went before.
    held_back: Option<Waiting>,
}

/// What the server of the queue is told to do.
pub(crate) enum Turn {
    Write(Write),
    /// Nothing came for the idle time.
    Idle,
}

impl WriteQueue {
    pub fn new() -> Self {
        let (sender, queue) = mpsc::channel(CAPACITY);
        Self {
            sender,
            receiver: tokio::sync::Mutex::new(Receiver { queue, held_back: None }),
            commits: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            last_error: Mutex::new(None),
        }
    }

    /// Hands a write over and waits until it is committed.
    ///
    /// # Errors
    /// `Overloaded` when the queue is full or the deadline passes (the write may still happen),
    /// `Unavailable` when the writer failed or crashed.
    pub async fn submit(&self, write: Write) -> Answer {
        let (answer, committed) = oneshot::channel();
        self.sender.try_send(Waiting { write, answer }).map_err(|_| SearchError::Overloaded)?;
        match tokio::time::timeout(WRITE_DEADLINE, committed).await {
            Err(_) => Err(SearchError::Overloaded),
            Ok(Err(_)) => Err(SearchError::unavailable("the index writer stopped")),
            Ok(Ok(answer)) => answer,
        }
    }

    /// Serves writes in order, one group at a time, for ever.
    pub async fn serve<F>(&self, idle: Duration, act: impl Fn(Turn) -> F)
    where
        F: Future<Output = Answer>,
    {
        let mut receiver = self.receiver.lock().await;
        loop {
            let Some(first) = receiver.next(idle).await else {
                if let Err(error) = act(Turn::Idle).await {
                    self.note(&error);
                }
                continue;
            };
            let (write, waiters) = receiver.gather(first);
            let outcome = act(Turn::Write(write)).await;
            match &outcome {
                Ok(_) => {
                    self.commits.fetch_add(1, Ordering::Relaxed);
                    *self.last_error.lock().unwrap_or_else(PoisonError::into_inner) = None;
                }
                Err(error) => self.note(error),
            }
            for waiter in waiters {
                waiter.answer(&outcome);
            }
        }
    }

    fn note(&self, error: &SearchError) {
        self.failures.fetch_add(1, Ordering::Relaxed);
        let cause = std::error::Error::source(error).map_or_else(|| error.to_string(), ToString::to_string);
        tracing::warn!(error = %cause, "search index write failed");
        *self.last_error.lock().unwrap_or_else(PoisonError::into_inner) = Some(cause);
    }

    pub fn status(&self, backend: &'static str, documents: Option<u64>) -> SearchStatus {
        SearchStatus {
            backend,
            queue_depth: CAPACITY - self.sender.capacity(),
            queue_capacity: CAPACITY,
            commits_total: self.commits.load(Ordering::Relaxed),
            failed_commits_total: self.failures.load(Ordering::Relaxed),
            documents,
            last_error: self.last_error.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        }
    }
}

impl Receiver {
    async fn next(&mut self, idle: Duration) -> Option<Waiting> {
        if let Some(waiting) = self.held_back.take() {
            return Some(waiting);
        }
        // The queue lives as long as its sender, both in one struct: `None` is the timeout only.
        tokio::time::timeout(idle, self.queue.recv()).await.ok().flatten()
    }

    /// Joins `first` with what waits behind it, up to a full batch.
    fn gather(&mut self, first: Waiting) -> (Write, Vec<Waiter>) {
        let Waiting { write, answer } = first;
        let Write::Apply(mut ops) = write else {
            return (write, vec![Waiter { answer, packages: HashSet::new() }]);
        };
        let mut waiters = vec![Waiter { packages: packages(&ops), answer }];
        while ops.len() < MAX_BATCH {
            match self.queue.try_recv() {
                Ok(Waiting { write: Write::Apply(more), answer }) if ops.len() + more.len() <= MAX_BATCH => {
                    waiters.push(Waiter { packages: packages(&more), answer });
                    ops.extend(more);
                }
                Ok(other) => {
                    self.held_back = Some(other);
                    break;
                }
                Err(_) => break,
            }
        }
        (Write::Apply(ops), waiters)
    }
}

struct Waiter {
    answer: oneshot::Sender<Answer>,
    packages: HashSet<PackageId>,
}

impl Waiter {
    fn answer(self, outcome: &Answer) {
        let own = outcome.clone().map(|applied| Applied {
            superseded: applied.superseded.into_iter().filter(|id| self.packages.contains(id)).collect(),
        });
        // A caller that gave up waiting is not told.
        let _ = self.answer.send(own);
    }
}

fn packages(ops: &[IndexOp]) -> HashSet<PackageId> {
    ops.iter()
        .map(|op| match op {
            IndexOp::Upsert(document) => document.id,
            IndexOp::Remove(id) => *id,
        })
        .collect()
}

//! Temporary workers below a pool: each runs one piece of work, and its crash is a value.

use std::{
    future::Future,
    sync::{Arc, Mutex},
    time::Instant,
};

use serde_json::Value;
use tokio::task::AbortHandle;
use tokio_util::sync::CancellationToken;

use crate::{
    Context, NodeKind,
    node::{Node, Status},
    panics,
    tree::Shared,
};

/// Why a temporary worker ended without a result.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{0}")]
pub struct Crash(pub String);

/// A bounded set of temporary workers named `worker.0`, `worker.1`, … below their pool.
///
/// Dropping it ends them all, so they never outlive the incarnation that started them.
pub struct Slots {
    inner: Arc<Inner>,
}

struct Inner {
    shared: Arc<Shared>,
    pool: Arc<Node>,
    capacity: usize,
    slots: Mutex<SlotTable>,
}

#[derive(Default)]
struct SlotTable {
    nodes: Vec<Arc<Node>>,
    free: Vec<usize>,
    running: Vec<Option<AbortHandle>>,
    closed: bool,
}

impl Slots {
    pub(crate) fn new(context: &Context, capacity: usize) -> Self {
        let inner = Inner {
            shared: context.shared.clone(),
            pool: context.node.clone(),
            capacity: capacity.max(1),
            slots: Mutex::default(),
        };
        Self { inner: Arc::new(inner) }
    }

    /// Workers that could start now.
    pub fn free(&self) -> usize {
        let table = self.inner.table();
        table.free.len() + self.inner.capacity.saturating_sub(table.nodes.len())
    }

    /// Starts `work` in a free slot and passes its outcome to `done`; `false` when all are taken.
    ///
    /// `done` runs in the worker's task, after the slot is free again. Work that is aborted with the
    /// pool never reports.
    pub fn start<T, F, D>(&self, state: Value, work: F, done: D) -> bool
    where
        T: Send + 'static,
        F: Future<Output = T> + Send + 'static,
        D: FnOnce(Result<T, Crash>) + Send + 'static,
    {
        let mut table = self.inner.table();
        let Some(slot) = self.inner.take(&mut table) else { return false };
        let node = table.nodes[slot].clone();
        let inner = self.inner.clone();
        let task = tokio::spawn(async move {
            let outcome = inner.run(slot, &node, state, work).await;
            done(outcome);
        });
        // A worker cannot free its slot before this: the table is locked until here.
        table.running[slot] = Some(task.abort_handle());
        true
    }
}

impl Drop for Slots {
    fn drop(&mut self) {
        let mut table = self.inner.table();
        table.closed = true;
        for (slot, task) in table.running.iter_mut().enumerate().filter_map(|(i, t)| t.take().map(|t| (i, t))) {
            task.abort();
            tracing::debug!(actor = %self.inner.pool.name, slot, "a temporary worker ended with its pool");
        }
        for node in &table.nodes {
            node.ended();
            node.set_status(Status::Stopped);
        }
    }
}

impl Inner {
    fn table(&self) -> std::sync::MutexGuard<'_, SlotTable> {
        self.slots.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn take(&self, table: &mut SlotTable) -> Option<usize> {
        if table.closed {
            return None;
        }
        if let Some(slot) = table.free.pop() {
            return Some(slot);
        }
        if table.nodes.len() >= self.capacity {
            return None;
        }
        let slot = table.nodes.len();
        let name = format!("{}/worker.{slot}", self.pool.name);
        table.nodes.push(self.shared.node(name, NodeKind::Worker, None, None, Some(&self.pool)));
        table.running.push(None);
        Some(slot)
    }

    async fn run<T>(
        &self,
        slot: usize,
        node: &Arc<Node>,
        state: Value,
        work: impl Future<Output = T>,
    ) -> Result<T, Crash> {
        let kill = CancellationToken::new();
        let trigger = kill.clone();
        node.started(Arc::new(move || trigger.cancel()));
        node.set_state(state);
        let began = Instant::now();
        let body = async {
            tokio::select! {
                value = work => value,
                () = kill.cancelled() => panic!("killed by fault injection"),
            }
        };
        let outcome = panics::caught(&node.name, body).await;
        node.end_message(began);
        node.ended();
        node.set_state(Value::Object(serde_json::Map::new()));
        let mut table = self.table();
        table.running[slot] = None;
        table.free.push(slot);
        drop(table);
        self.pool.processed.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        outcome.map_err(|reason| {
            self.shared.failure(node, &reason, "failed", std::time::Duration::ZERO);
            Crash(reason)
        })
    }
}

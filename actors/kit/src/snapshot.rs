//! The tree as `GET /v1/admin/actors` shows it (jobs.md §7).

use std::{sync::atomic::Ordering::Relaxed, time::Duration};

use publaryn_core::Timestamp;
use serde::Serialize;
use serde_json::Value;

use crate::node::{Node, NodeKind};

/// An actor that has been inside one message for longer would not answer a question in time.
const STALE_AFTER: Duration = Duration::from_millis(200);

/// Everything but the answering node's identity, which the caller adds.
#[derive(Debug, Clone, Serialize)]
pub struct TreeSnapshot {
    pub generated_at: Timestamp,
    pub actors_total: usize,
    pub restarts_total: u64,
    /// Names of subtrees that are tried again every 10 s.
    pub degraded: Vec<String>,
    pub tree: ActorSnapshot,
    pub recent_failures: Vec<FailureRecord>,
}

#[derive(Debug, Clone, Serialize)]
pub struct ActorSnapshot {
    pub name: String,
    #[serde(rename = "type")]
    pub kind: &'static str,
    pub status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub strategy: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_restarts: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub window_seconds: Option<u64>,
    /// Supervisors and pools: restarts of their children. Others: how often they were restarted.
    pub restarts_total: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restarts_in_window: Option<usize>,
    pub started_at: Timestamp,
    pub uptime_seconds: u64,
    pub mailbox_depth: usize,
    pub mailbox_high_water: usize,
    pub mailbox_capacity: usize,
    pub messages_processed_total: u64,
    /// Share of the last minute spent working, 0 to 1.
    pub busy_ratio_1m: f64,
    pub last_message_at: Option<Timestamp>,
    pub last_failure: Option<LastFailure>,
    pub state: Value,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub stale: bool,
    pub children_total: usize,
    pub children: Vec<ActorSnapshot>,
}

#[derive(Debug, Clone, Serialize)]
pub struct LastFailure {
    pub at: Timestamp,
    pub reason: String,
}

/// One of the last 100 failures of a tree.
#[derive(Debug, Clone, Serialize)]
pub struct FailureRecord {
    pub name: String,
    pub at: Timestamp,
    pub reason: String,
    /// `restarted`, `escalated`, `degraded`, `exhausted` or `failed` (not restarted).
    pub action: &'static str,
    pub delay_ms: u64,
}

impl ActorSnapshot {
    /// `depth` levels of children; 0 shows none.
    pub(crate) fn of(node: &Node, depth: usize) -> Self {
        let view = node.view();
        let children = node.children.lock().expect("held for list operations only").clone();
        Self {
            name: node.name.clone(),
            kind: node.kind.as_str(),
            status: node.status().as_str(),
            strategy: node.strategy.map(|(strategy, _)| strategy.as_str()),
            max_restarts: node.strategy.map(|(_, limits)| limits.max_restarts),
            window_seconds: node.strategy.map(|(_, limits)| limits.window.as_secs()),
            restarts_total: node.restarts.load(Relaxed),
            restarts_in_window: node.strategy.map(|_| view.restarts_in_window),
            started_at: view.started_at,
            uptime_seconds: view.uptime.as_secs(),
            mailbox_depth: node.gauge.depth(),
            mailbox_high_water: node.gauge.high_water(),
            mailbox_capacity: node.gauge.capacity(),
            messages_processed_total: node.processed.load(Relaxed),
            busy_ratio_1m: (view.busy_ratio * 10_000.0).round() / 10_000.0,
            last_message_at: view.last_message_at,
            last_failure: view.last_failure,
            state: view.state,
            stale: node.kind == NodeKind::Worker && view.in_message.is_some_and(|d| d > STALE_AFTER),
            children_total: children.len(),
            children: match depth {
                0 => Vec::new(),
                _ => children.iter().map(|child| Self::of(child, depth - 1)).collect(),
            },
        }
    }
}

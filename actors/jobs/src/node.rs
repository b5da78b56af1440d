//! This node among others: its heartbeat, its polls, and the wake-ups it sends and hears.

use std::{
    sync::{Arc, atomic::Ordering::SeqCst},
    time::{Duration, Instant},
};

use publaryn_actors::{ChildSpec, Context};
use publaryn_core::BoxError;
use publaryn_metadata::{
    DbResult,
    jobs::{NodeBeat, Polled},
};
use serde_json::json;

use crate::engine::Engine;

/// At most one notification to other nodes in this time (jobs.md §3).
const ANNOUNCE_EVERY: Duration = Duration::from_millis(50);
/// An idle node asks no more often than this, however short the configured interval.
const IDLE_POLL: Duration = Duration::from_secs(1);
const IDLE_AFTER: u32 = 10;
const GAUGES_EVERY: u32 = 3;

pub(crate) fn heartbeat(engine: Arc<Engine>) -> ChildSpec {
    ChildSpec::service("node", move |context| beat_until_stopped(engine.clone(), context))
}

pub(crate) fn dispatcher(engine: Arc<Engine>) -> ChildSpec {
    ChildSpec::service("dispatcher", move |context| dispatch(engine.clone(), context))
}

pub(crate) fn announcer(engine: Arc<Engine>) -> ChildSpec {
    ChildSpec::service("announcer", move |context| announce(engine.clone(), context))
}

async fn beat_until_stopped(engine: Arc<Engine>, context: Context) -> Result<(), BoxError> {
    let mut ticker = tokio::time::interval(engine.options.heartbeat);
    ticker.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut beats = 0_u32;
    let mut told_drain = false;
    loop {
        tokio::select! {
            () = context.stopping() => break,
            () = engine.draining.cancelled(), if !told_drain => told_drain = true,
            _ = ticker.tick() => {}
        }
        let began = Instant::now();
        match beat(&engine).await {
            Ok(is_ours) => {
                if !is_ours && !engine.is_superseded.swap(true, SeqCst) {
                    tracing::error!(
                        node = engine.options.node_id,
                        "another process uses this node's name; claiming stops here"
                    );
                }
                if beats.is_multiple_of(GAUGES_EVERY) {
                    export_gauges(&engine).await;
                }
            }
            Err(error) => {
                engine.note_outage();
                tracing::warn!(%error, "heartbeat failed");
            }
        }
        beats = beats.wrapping_add(1);
        context.worked(began);
        context.set_state(json!({
            "node_id": engine.options.node_id, "incarnation": engine.incarnation,
            "running": engine.busy.load(SeqCst), "draining": engine.draining.is_cancelled(),
        }));
    }
    // Last to stop: from here on the node is gone, not dead.
    let leave = async {
        let mut tx = engine.db.begin().await?;
        tx.leave_node(&engine.options.node_id, engine.incarnation).await?;
        tx.commit().await
    };
    if let Err(error) = leave.await {
        tracing::warn!(%error, "leaving the cluster in order failed; others will notice by its silence");
    }
    Ok(())
}

async fn beat(engine: &Engine) -> DbResult<bool> {
    let beat = NodeBeat {
        is_draining: engine.draining.is_cancelled(),
        running_jobs: engine.busy.load(SeqCst) as i64,
        rss_bytes: resident_bytes(),
    };
    let mut tx = engine.db.begin().await?;
    let is_ours = tx.beat_node(&engine.options.node_id, engine.incarnation, beat).await?;
    for queue in engine.queues.values() {
        for (bucket, stats) in queue.recorder.take_changed() {
            tx.put_job_stats(&engine.options.node_id, bucket, queue.kind.as_str(), &stats).await?;
        }
    }
    tx.commit().await?;
    let nodes = engine.db.nodes(engine.options.node_timeout).await?;
    let alive = nodes.iter().filter(|node| node.is_alive).count();
    metrics::gauge!("publaryn_nodes_alive").set(alive as f64);
    engine.has_neighbours.store(alive > 1, SeqCst);
    Ok(is_ours)
}

async fn export_gauges(engine: &Engine) {
    let facts = async {
        let counts = engine.db.job_counts().await?;
        let oldest = engine.db.oldest_pending_seconds().await?;
        DbResult::Ok((counts, oldest))
    };
    // The next beat tries again.
    let Ok((counts, oldest)) = facts.await else { return };
    for (kind, state, n) in counts.iter() {
        metrics::gauge!("publaryn_jobs", "kind" => kind.to_owned(), "state" => state.as_str()).set(n as f64);
    }
    for queue in engine.queues.values() {
        let kind = queue.kind.as_str();
        let age = oldest.get(kind).copied().unwrap_or(0);
        metrics::gauge!("publaryn_jobs_oldest_pending_seconds", "kind" => kind).set(age as f64);
        let paused = f64::from(u8::from(queue.is_paused.load(SeqCst)));
        metrics::gauge!("publaryn_jobs_paused", "kind" => kind).set(paused);
    }
}

async fn dispatch(engine: Arc<Engine>, context: Context) -> Result<(), BoxError> {
    let mut wakeups = None;
    let mut idle_polls = 0_u32;
    let mut next_poll = tokio::time::Instant::now();
    loop {
        tokio::select! {
            () = context.stopping() => return Ok(()),
            () = engine.poke.notified() => {}
            () = tokio::time::sleep_until(next_poll) => {}
            heard = next_wakeup(&mut wakeups) => {
                match heard {
                    Ok(kinds) if !kinds.is_empty() => {
                        engine.wake_kinds(&kinds);
                        continue;
                    }
                    // Some may have been lost: look.
                    Ok(_) => {}
                    Err(_) => wakeups = None,
                }
            }
        }
        let began = Instant::now();
        let pause;
        match poll(&engine).await {
            Ok(polled) => {
                if wakeups.is_none() {
                    // Without it the polls below still find everything.
                    wakeups = engine.db.job_wakeups().await.unwrap_or_default();
                }
                // What is paused here, or is work for newer nodes, may be ready for days.
                let has_work = polled.ready.iter().any(|kind| engine.may_claim(kind));
                idle_polls = if has_work { 0 } else { idle_polls.saturating_add(1) };
                let usual = match idle_polls >= IDLE_AFTER {
                    true => engine.options.poll_interval.max(IDLE_POLL),
                    false => engine.options.poll_interval,
                };
                let due = polled.next_due.map_or(usual, |due| due.max(Duration::from_millis(5)));
                pause = usual.min(due);
            }
            Err(error) => {
                engine.note_outage();
                tracing::warn!(%error, "polling the queue failed");
                pause = engine.options.poll_interval.max(Duration::from_millis(500));
            }
        }
        next_poll = tokio::time::Instant::now() + pause;
        context.worked(began);
    }
}

async fn next_wakeup(wakeups: &mut Option<publaryn_metadata::jobs::JobWakeups>) -> DbResult<Vec<String>> {
    match wakeups {
        Some(wakeups) => wakeups.next().await,
        None => std::future::pending().await,
    }
}

async fn poll(engine: &Engine) -> DbResult<Polled> {
    let mut polled = engine.db.poll_jobs(&engine.options.node_id).await?;
    for queue in engine.queues.values() {
        let is_paused = polled.paused.contains(queue.kind.as_str());
        if queue.is_paused.swap(is_paused, SeqCst) && !is_paused {
            queue.wake.notify_one();
        }
    }
    if polled.next_due == Some(Duration::ZERO) {
        let mut tx = engine.db.begin().await?;
        // Committing wakes the queues concerned.
        let promoted = tx.promote_due_jobs().await?;
        tx.commit().await?;
        polled.next_due = (promoted >= 1000).then_some(Duration::ZERO);
    }
    for job in &polled.cancelled {
        engine.cancel(*job);
    }
    engine.wake_kinds(&polled.ready);
    Ok(polled)
}

async fn announce(engine: Arc<Engine>, context: Context) -> Result<(), BoxError> {
    loop {
        tokio::select! {
            () = context.stopping() => return Ok(()),
            () = engine.announce_ready.notified() => {}
        }
        let kinds = engine.take_announced();
        if kinds.is_empty() {
            continue;
        }
        if let Err(error) = engine.db.announce_jobs(&kinds).await {
            tracing::debug!(%error, "other nodes will find these jobs by polling");
        }
        tokio::time::sleep(ANNOUNCE_EVERY).await;
    }
}

/// Resident memory of this process in bytes; zero where it cannot be told.
fn resident_bytes() -> i64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<i64>().ok());
    kib.unwrap_or(0) * 1024
}

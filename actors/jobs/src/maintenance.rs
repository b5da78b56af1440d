//! What one node does for all: lead, tick schedules, sweep up after the dead (jobs.md §4).

use std::{
    sync::{Arc, atomic::Ordering::SeqCst},
    time::{Duration, Instant},
};

use publaryn_actors::{ChildSpec, Context};
use publaryn_core::{BoxError, Timestamp};
use publaryn_metadata::DbResult;

use crate::engine::Engine;

const TICK: Duration = Duration::from_secs(1);
/// After an outage of the database every node looks silent; give them two heartbeats.
const HEARTBEATS_AFTER_OUTAGE: u32 = 2;

pub(crate) fn leader(engine: Arc<Engine>) -> ChildSpec {
    ChildSpec::service("leader", move |context| lead(engine.clone(), context))
}

pub(crate) fn scheduler(engine: Arc<Engine>) -> ChildSpec {
    ChildSpec::service("scheduler", move |context| schedule(engine.clone(), context))
}

pub(crate) fn sweeper(engine: Arc<Engine>) -> ChildSpec {
    ChildSpec::service("sweeper", move |context| sweep(engine.clone(), context))
}

async fn lead(engine: Arc<Engine>, context: Context) -> Result<(), BoxError> {
    let mut ticker = tokio::time::interval(engine.options.heartbeat);
    ticker.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut renewed = Instant::now();
    loop {
        tokio::select! {
            () = context.stopping() => break,
            _ = ticker.tick() => {}
        }
        let began = Instant::now();
        let leads = match renew(&engine).await {
            Ok(leads) => {
                renewed = began;
                leads
            }
            Err(error) => {
                engine.note_outage();
                tracing::warn!(%error, "renewing leadership failed");
                // Others may lead once ours has run out.
                engine.leadership.leads.load(SeqCst) && renewed.elapsed() < engine.options.leader_ttl
            }
        };
        let led = engine.leadership.leads.swap(leads, SeqCst);
        metrics::gauge!("publaryn_node_leader").set(f64::from(u8::from(leads)));
        if leads && !led {
            tracing::info!(node = engine.options.node_id, "this node leads");
            engine.leadership.gained.notify_waiters();
        }
        context.worked(began);
        context.set_state(serde_json::json!({"leads": leads}));
    }
    if engine.leadership.leads.swap(false, SeqCst) {
        let resign = async {
            let mut tx = engine.db.begin().await?;
            tx.resign(&engine.options.node_id, engine.incarnation).await?;
            tx.commit().await
        };
        if let Err(error) = resign.await {
            tracing::debug!(%error, "resigning failed; leadership runs out by itself");
        }
    }
    Ok(())
}

async fn renew(engine: &Engine) -> DbResult<bool> {
    let mut tx = engine.db.begin().await?;
    let clock = tx.lead(&engine.options.node_id, engine.incarnation, engine.options.leader_ttl).await?;
    tx.commit().await?;
    if let Some(clock) = clock {
        let offset = clock.as_micros() - Timestamp::now().as_micros();
        engine.leadership.clock_offset.store(offset, SeqCst);
    }
    Ok(clock.is_some())
}

impl Engine {
    /// The database's present, from the offset seen at the last renewal.
    fn database_now(&self) -> Timestamp {
        Timestamp::from_micros(Timestamp::now().as_micros() + self.leadership.clock_offset.load(SeqCst))
    }
}

async fn schedule(engine: Arc<Engine>, context: Context) -> Result<(), BoxError> {
    let mut ticker = tokio::time::interval(TICK);
    ticker.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    // Which tick of each schedule was taken, as far as this node knows.
    let mut taken: Vec<Option<Timestamp>> = vec![None; engine.options.schedules.len()];
    let mut are_entered = false;
    loop {
        tokio::select! {
            () = context.stopping() => return Ok(()),
            _ = ticker.tick() => {}
            () = engine.leadership.gained.notified() => {}
        }
        if !engine.leadership.leads.load(SeqCst) {
            are_entered = false;
            continue;
        }
        let began = Instant::now();
        let ticked = async {
            if !are_entered {
                enter(&engine).await?;
            }
            take_due_ticks(&engine, &mut taken).await
        };
        match ticked.await {
            Ok(()) => are_entered = true,
            Err(error) => {
                engine.note_outage();
                tracing::warn!(%error, "scheduling failed; the tick is caught up with later");
            }
        }
        context.worked(began);
    }
}

async fn enter(engine: &Engine) -> DbResult<()> {
    let now = engine.database_now();
    let mut tx = engine.db.begin().await?;
    for schedule in &engine.options.schedules {
        let (Some(tick), Some(next)) = (schedule.cadence.latest(now), schedule.cadence.next(now)) else { continue };
        tx.put_schedule(&schedule.name, &schedule.cadence.to_string(), schedule.kind, tick, next).await?;
    }
    tx.commit().await
}

/// A schedule that missed several ticks takes only the latest one: exactly one run catches up.
async fn take_due_ticks(engine: &Engine, taken: &mut [Option<Timestamp>]) -> DbResult<()> {
    let now = engine.database_now();
    for (schedule, taken) in engine.options.schedules.iter().zip(taken) {
        let (Some(tick), Some(next)) = (schedule.cadence.latest(now), schedule.cadence.next(now)) else { continue };
        if taken.is_some_and(|last| last >= tick) {
            continue;
        }
        let mut tx = engine.db.begin().await?;
        let enqueued = tx.take_tick(&schedule.name, &schedule.job(), tick, next).await?;
        tx.commit().await?;
        *taken = Some(tick);
        if enqueued.is_some() {
            let seconds = now.as_micros() as f64 / 1e6;
            metrics::gauge!("publaryn_schedule_last_run_timestamp_seconds", "name" => schedule.name.clone())
                .set(seconds);
        }
    }
    Ok(())
}

async fn sweep(engine: Arc<Engine>, context: Context) -> Result<(), BoxError> {
    let mut ticker = tokio::time::interval(engine.options.heartbeat);
    ticker.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = context.stopping() => return Ok(()),
            _ = ticker.tick() => {}
            () = engine.leadership.gained.notified() => {}
        }
        if !engine.leadership.leads.load(SeqCst) {
            continue;
        }
        let began = Instant::now();
        if let Err(error) = sweep_once(&engine).await {
            engine.note_outage();
            tracing::warn!(%error, "sweeping failed");
        }
        context.worked(began);
    }
}

async fn sweep_once(engine: &Engine) -> DbResult<()> {
    let nodes_too = !engine.had_outage_within(engine.options.heartbeat * HEARTBEATS_AFTER_OUTAGE);
    if !engine.db.has_lost_runs(engine.options.node_timeout, nodes_too).await? {
        return Ok(());
    }
    let mut tx = engine.db.begin().await?;
    let (from_nodes, from_leases) = tx.sweep_runs(engine.options.node_timeout, nodes_too).await?;
    tx.commit().await?;
    for (cause, jobs) in [("node_dead", &from_nodes), ("lease_expired", &from_leases)] {
        if !jobs.is_empty() {
            tracing::warn!(cause, jobs = jobs.len(), "recovered jobs");
            metrics::counter!("publaryn_jobs_recovered_total", "cause" => cause).increment(jobs.len() as u64);
        }
        for job in jobs {
            if let Some(reason) = job.dead_reason {
                metrics::counter!("publaryn_jobs_dead_total", "kind" => job.kind.clone(), "reason" => reason.as_str())
                    .increment(1);
            }
        }
    }
    Ok(())
}

//! The queue of one kind: claims as many jobs as have room, runs each in a temporary worker.
//!
//! Owns its slots. Bounded by the kind's concurrency: the database is the queue, and only kinds whose jobs
//! take next to no time are claimed some milliseconds ahead. What it loses in a crash is given back by the
//! guard of each run.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, atomic::Ordering::SeqCst},
    time::{Duration, Instant},
};

use publaryn_actors::{ChildSpec, Context, Crash, Slots};
use publaryn_core::{
    BoxError, Timestamp,
    job::{DeadReason, JobState},
};
use publaryn_metadata::{
    DbResult,
    jobs::{ClaimRequest, ClaimedJob, JobEnd, RunFacts, Transition},
};
use rand::Rng;
use serde_json::json;
use smol_str::SmolStr;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::{
    JobContext, JobError, Outcome,
    engine::{Engine, PendingEnd, Queue, Running, StopReason},
};

/// Ends that wait for the database; above, nothing new is claimed.
const MAX_UNSTORED: usize = 2000;
/// Largest claim at once.
const MAX_CLAIM: usize = 500;
/// A claimed job that could not start for so long goes back: its fellows turned out to be slow.
const BACKLOG_PATIENCE: Duration = Duration::from_secs(1);
/// After the drain's deadline: time to store what was given back.
const GIVE_BACK: Duration = Duration::from_secs(3);

pub(crate) fn service(engine: Arc<Engine>, queue: Arc<Queue>) -> ChildSpec {
    let shutdown = engine.options.drain_grace + GIVE_BACK;
    let name = format!("queue.{}", queue.kind);
    ChildSpec::pool(name, move |context| serve(engine.clone(), queue.clone(), context)).shutdown_within(shutdown)
}

type Claiming = JoinHandle<(usize, DbResult<Vec<Guard>>)>;

async fn serve(engine: Arc<Engine>, queue: Arc<Queue>, context: Context) -> Result<(), BoxError> {
    let slots = context.slots(queue.concurrency);
    // What became due before this incarnation must not wait for a wake-up.
    queue.wake.notify_one();
    let mut claimer =
        Claimer { after: String::new(), may_have_work: false, was_woken: false, backlog: VecDeque::new() };
    let mut claiming: Option<Claiming> = None;
    loop {
        claimer.start_jobs(&engine, &slots);
        if claiming.is_none() {
            let wanted = claimer.wanted(&engine, &queue);
            if wanted > 0 {
                claimer.was_woken = false;
                // On its own: when this actor dies, what was claimed must be given back, not forgotten.
                engine.claims.fetch_add(1, SeqCst);
                let claim = claim(engine.clone(), queue.clone(), wanted, claimer.after.clone());
                claiming = Some(tokio::spawn(claim));
            }
        }
        let began = Instant::now();
        tokio::select! {
            () = context.stopping() => break,
            () = engine.draining.cancelled() => break,
            (wanted, claimed) = in_flight(&mut claiming) => {
                claiming = None;
                claimer.claimed(&engine, &queue, wanted, claimed);
                context.worked(began);
            }
            () = queue.wake.notified() => (claimer.may_have_work, claimer.was_woken) = (true, true),
            () = queue.slot_freed.notified() => {}
            () = tokio::time::sleep(BACKLOG_PATIENCE), if !claimer.backlog.is_empty() => {
                queue.claim_no_more_ahead();
                claimer.backlog.clear();
            }
        }
        context.set_state(json!({
            "running": queue.running.load(SeqCst),
            "concurrency": queue.concurrency,
            "claimed": claimer.backlog.len(),
            "paused": queue.is_paused.load(SeqCst),
        }));
    }
    // A claim under way is finished, so that its leases are known and can be given back.
    if let Some(claiming) = claiming {
        // Dropping its guards gives the jobs back; a failed claim claimed nothing.
        drop(claiming.await);
    }
    drop(claimer);
    give_back(&engine, &queue, &context).await;
    Ok(())
}

async fn in_flight(claiming: &mut Option<Claiming>) -> (usize, DbResult<Vec<Guard>>) {
    match claiming {
        Some(claiming) => claiming.await.expect("claiming does not panic, and nobody aborts it"),
        None => std::future::pending().await,
    }
}

/// What the queue knows between claims.
struct Claimer {
    /// The partition served last.
    after: String,
    /// The table may hold claimable jobs that this node has not seen.
    may_have_work: bool,
    /// A wake-up came after the claim under way began.
    was_woken: bool,
    /// Claimed, not started: only kinds whose jobs take next to no time have one. Dropping a guard gives
    /// its job back.
    backlog: VecDeque<Guard>,
}

impl Claimer {
    fn start_jobs(&mut self, engine: &Engine, slots: &Slots) {
        while let Some(guard) = self.backlog.pop_front() {
            match slots.free() > 0 && engine.reserve(guard.queue(), 1) == 1 {
                true => guard.start(slots),
                false => return self.backlog.push_front(guard),
            }
        }
    }

    /// How many jobs to ask for now.
    fn wanted(&self, engine: &Engine, queue: &Queue) -> usize {
        // Draining, too: what a job gives back must not be claimed again by the node that lets go of it.
        let is_held =
            queue.is_paused.load(SeqCst) || engine.is_superseded.load(SeqCst) || engine.draining.is_cancelled();
        if !self.may_have_work || is_held || engine.ends_waiting() > MAX_UNSTORED {
            return 0;
        }
        let ahead = queue.prefetch();
        let free = engine.room(queue);
        let wanted = match self.backlog.len() {
            0 => free + ahead,
            n if n * 2 < ahead => ahead - n,
            _ => 0,
        };
        wanted.min(MAX_CLAIM)
    }

    fn claimed(&mut self, engine: &Engine, queue: &Arc<Queue>, wanted: usize, claimed: DbResult<Vec<Guard>>) {
        let guards = match claimed {
            Ok(guards) => guards,
            Err(error) => {
                engine.note_outage();
                tracing::warn!(job.kind = %queue.kind, %error, "claiming failed");
                self.may_have_work = false;
                let (queue, pause) = (queue.clone(), Duration::from_millis(rand::rng().random_range(200..1000)));
                tokio::spawn(async move {
                    tokio::time::sleep(pause).await;
                    queue.wake.notify_one();
                });
                return;
            }
        };
        // Only a look at all partitions that finds nothing proves that there is nothing.
        if guards.is_empty() && self.after.is_empty() && !self.was_woken {
            self.may_have_work = false;
        }
        self.after = match guards.iter().filter_map(Guard::partition).max() {
            Some(last) if guards.len() == wanted => last.to_string(),
            _ => String::new(),
        };
        self.backlog.extend(in_turn(guards));
    }
}

/// Owners take turns within a claim, too: one claim of quick jobs may hold hundreds of one owner's.
fn in_turn(guards: Vec<Guard>) -> impl Iterator<Item = Guard> {
    let mut taken: HashMap<SmolStr, usize> = HashMap::new();
    let mut turns: Vec<(usize, Guard)> = guards
        .into_iter()
        .map(|guard| {
            let turn = guard.partition().map_or(0, |partition| {
                let turn = taken.entry(partition.clone()).or_default();
                *turn += 1;
                *turn
            });
            (turn, guard)
        })
        .collect();
    turns.sort_by_key(|(turn, _)| *turn);
    turns.into_iter().map(|(_, guard)| guard)
}

async fn claim(engine: Arc<Engine>, queue: Arc<Queue>, wanted: usize, after: String) -> (usize, DbResult<Vec<Guard>>) {
    let began = Instant::now();
    // The claim is counted already, so a drain that comes later waits for it.
    let claimed = match engine.draining.is_cancelled() {
        true => Ok(Vec::new()),
        false => engine.db.beside_writer(take(engine.clone(), queue.clone(), wanted, after)).await,
    };
    metrics::histogram!("publaryn_job_claim_seconds").record(began.elapsed().as_secs_f64());
    let claimed = claimed.map(|jobs| jobs.into_iter().map(|job| Guard::new(&engine, &queue, job)).collect());
    engine.claims.fetch_sub(1, SeqCst);
    (wanted, claimed)
}

async fn take(engine: Arc<Engine>, queue: Arc<Queue>, wanted: usize, after: String) -> DbResult<Vec<ClaimedJob>> {
    let request = ClaimRequest {
        kind: queue.kind,
        limit: wanted as i64,
        node_id: &engine.options.node_id,
        incarnation: engine.incarnation,
        lease: engine.options.lease,
        max_attempts: engine.options.max_attempts_of(queue.kind),
        after_partition: &after,
        partitions: (wanted + queue.concurrency.min(64) + 8) as i64,
    };
    let mut tx = engine.db.begin().await?;
    let jobs = tx.claim_jobs(&request).await?;
    if jobs.is_empty() {
        tx.rollback().await?;
    } else {
        tx.commit().await?;
        engine.counts_changed.store(true, SeqCst);
    }
    Ok(jobs)
}

/// One run: the job, its lease, and the engine it reports to.
pub(crate) struct Run {
    pub(crate) engine: Arc<Engine>,
    pub(crate) queue: Arc<Queue>,
    pub(crate) running: Arc<Running>,
    pub(crate) payload: String,
    pub(crate) request_id: Option<String>,
}

/// How a run ended.
enum Ended {
    As(JobEnd),
    /// Its completion is committed.
    Committed,
    /// Somebody else has the job.
    Lost,
}

async fn execute(run: Arc<Run>) -> Ended {
    let Run { engine, queue, running, .. } = &*run;
    let handler = engine.handlers[&queue.kind].clone();
    let context = JobContext::new(run.clone());
    let work = async {
        engine.suffer(queue.kind).await?;
        handler.run(&context).await
    };
    tokio::pin!(work);
    let timeout = tokio::time::sleep(queue.timeout);
    tokio::pin!(timeout);
    // Ticks only while this task is polled: a handler that blocks its thread stops extending its lease.
    let period = engine.options.lease / 4;
    let mut beat = tokio::time::interval_at(tokio::time::Instant::now() + period, period);
    beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let forced = async {
        running.told.cancelled().await;
        tokio::time::sleep(engine.options.cancel_grace).await;
    };
    tokio::pin!(forced);
    let outcome = loop {
        tokio::select! {
            biased;
            outcome = &mut work => break outcome,
            () = running.abort.cancelled() => break Err(JobError::retry("stopped by its node")),
            () = &mut forced => break Err(JobError::retry("did not stop when it was cancelled")),
            () = &mut timeout => break Err(JobError::retry(format!("timed out after {:?}", queue.timeout))),
            _ = beat.tick() => engine.want_extension(running.facts.id, running.facts.lease_id),
        }
    };
    let is_committed = context.is_committed.load(SeqCst);
    let stop = running.stop.get().copied();
    let is_cancelled = running.told.is_cancelled() && !matches!(stop, Some(StopReason::Drained));
    match outcome {
        Ok(Outcome::Committed) if is_committed => Ended::Committed,
        Err(JobError::LeaseLost) => Ended::Lost,
        _ if stop == Some(StopReason::LeaseLost) => Ended::Lost,
        Err(_) if stop == Some(StopReason::Drained) => Ended::As(JobEnd::Interrupted),
        other if is_cancelled => {
            let error = other.err().map_or_else(|| "cancelled".to_owned(), |error| format!("cancelled: {error}"));
            Ended::As(JobEnd::Dead { error, reason: DeadReason::Cancelled })
        }
        Ok(Outcome::Done | Outcome::Committed) => Ended::As(JobEnd::Completed),
        Ok(Outcome::Snooze(delay)) => Ended::As(JobEnd::Snoozed { delay }),
        Ok(Outcome::RetryAfter(delay)) => Ended::As(JobEnd::Failed { error: "asked to run later".into(), delay }),
        Err(JobError::Permanent(error)) => {
            Ended::As(JobEnd::Dead { error: chain(&error), reason: DeadReason::Permanent })
        }
        Err(JobError::Retry(error)) => {
            Ended::As(JobEnd::Failed { error: chain(&error), delay: backoff(running.facts.attempts) })
        }
    }
}

/// A claimed job on its way: whatever happens to it is reported, and when it is dropped (its worker ended
/// with its pool, it never started) the job is given back with its attempt.
struct Guard {
    run: Option<Arc<Run>>,
    queue: Arc<Queue>,
    /// When its handler started; until then it occupies no slot.
    began: Option<Instant>,
}

impl Guard {
    fn new(engine: &Arc<Engine>, queue: &Arc<Queue>, job: ClaimedJob) -> Self {
        let wait = job.started_at.since(job.scheduled_at);
        queue.recorder.waited(wait);
        metrics::histogram!("publaryn_jobs_wait_seconds", "kind" => queue.kind.as_str()).record(wait.as_secs_f64());
        let running = Arc::new(Running {
            kind: queue.kind,
            partition: job.partition.as_str().into(),
            facts: RunFacts {
                id: job.id,
                lease_id: job.lease_id,
                attempts: job.attempts,
                max_attempts: job.max_attempts,
                crashes: job.crashes,
                attempts_log: job.attempts_log,
                started_at: job.started_at,
                node_id: engine.options.node_id.clone(),
                cancel_requested: false,
            },
            told: CancellationToken::new(),
            abort: CancellationToken::new(),
            stop: std::sync::OnceLock::new(),
        });
        engine.running.insert(job.id, running.clone());
        engine.event(&running, JobState::Running, Some(job.previous_state), None);
        let run = Run {
            engine: engine.clone(),
            queue: queue.clone(),
            running,
            payload: job.payload,
            request_id: job.request_id,
        };
        Self { run: Some(Arc::new(run)), queue: queue.clone(), began: None }
    }

    fn queue(&self) -> &Queue {
        &self.queue
    }

    fn partition(&self) -> Option<&SmolStr> {
        self.run.as_ref().map(|run| &run.running.partition)
    }

    /// Starts the handler in a free slot; the caller has reserved room for it.
    fn start(mut self, slots: &Slots) {
        let Some(run) = self.run.clone() else { return };
        self.began = Some(Instant::now());
        let facts = &run.running.facts;
        let state = json!({"job_id": facts.id, "kind": run.queue.kind, "attempt": facts.attempts});
        slots.start(state, execute(run), move |outcome| self.report(outcome));
    }

    fn report(mut self, outcome: Result<Ended, Crash>) {
        let Some(run) = self.run.take() else { return };
        let end = outcome.unwrap_or_else(|Crash(error)| {
            Ended::As(JobEnd::Crashed { error, delay: backoff(run.running.facts.attempts) })
        });
        run.end(end, self.began);
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if let Some(run) = self.run.take() {
            run.end(Ended::As(JobEnd::Interrupted), self.began);
        }
    }
}

impl Run {
    /// `began` is `None` when the handler never started.
    fn end(&self, ended: Ended, began: Option<Instant>) {
        let Self { engine, queue, running, .. } = self;
        let kind = queue.kind.as_str();
        let is_error = match &ended {
            Ended::As(end) => !matches!(end, JobEnd::Completed | JobEnd::Snoozed { .. } | JobEnd::Interrupted),
            Ended::Committed | Ended::Lost => false,
        };
        if let Some(ran) = began.map(|began| began.elapsed()) {
            queue.recorder.ran(ran, is_error);
            queue.note_run(ran);
            metrics::histogram!("publaryn_jobs_run_seconds", "kind" => kind).record(ran.as_secs_f64());
        }
        match ended {
            Ended::As(end) => {
                let error = match &end {
                    JobEnd::Failed { error, .. } | JobEnd::Dead { error, .. } | JobEnd::Crashed { error, .. } => {
                        Some(error.clone())
                    }
                    _ => None,
                };
                let outcome = end.outcome();
                let transition = Transition::new(&running.facts, end, Timestamp::now());
                engine.push_end(PendingEnd { running: running.clone(), transition, outcome, error });
            }
            Ended::Committed => {
                metrics::counter!("publaryn_jobs_finished_total", "kind" => kind, "outcome" => "completed")
                    .increment(1);
                engine.event(running, JobState::Completed, Some(JobState::Running), None);
                engine.forget_run(running);
            }
            Ended::Lost => {
                tracing::warn!(job.id = %running.facts.id, job.kind = kind, "a run lost its lease; its result is void");
                metrics::counter!("publaryn_jobs_lease_lost_total", "kind" => kind).increment(1);
                engine.forget_run(running);
            }
        }
        if began.is_some() {
            engine.ended(queue);
        }
    }
}

impl Engine {
    /// Forgets a run, unless the job runs here again under another lease.
    pub(crate) fn forget_run(&self, running: &Running) {
        self.running.remove_if(&running.facts.id, |_, known| known.facts.lease_id == running.facts.lease_id);
    }
}

/// Lets running jobs end until the deadline, then takes them back and waits until that is stored.
async fn give_back(engine: &Engine, queue: &Queue, context: &Context) {
    engine.drain_within(engine.options.drain_grace);
    let step = Duration::from_millis(10);
    while queue.running.load(SeqCst) > 0 && !engine.is_drain_over() {
        tokio::time::sleep(step).await;
    }
    let here = |running: &Running| running.kind == queue.kind;
    for entry in engine.running.iter().filter(|entry| here(entry)) {
        entry.stop_now(StopReason::Drained);
    }
    let limit = tokio::time::Instant::now() + GIVE_BACK;
    while engine.running.iter().any(|entry| here(&entry)) && tokio::time::Instant::now() < limit {
        tokio::time::sleep(step).await;
    }
    // A drained queue stays up, idle, until the tree stops it.
    context.stopping().await;
}

/// 10 s, doubling per attempt up to an hour, ± 20 % (jobs.md §3).
fn backoff(attempt: i64) -> Duration {
    let doublings = u32::try_from(attempt.saturating_sub(1).clamp(0, 20)).unwrap_or(0);
    let seconds = (10 * 2_u64.pow(doublings)).min(3600) as f64;
    Duration::from_secs_f64(seconds * rand::rng().random_range(0.8..=1.2))
}

fn chain(error: &BoxError) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backoff_doubles_within_its_jitter() {
        for (attempt, seconds) in [(1, 10.0), (2, 20.0), (3, 40.0), (9, 2560.0), (10, 3600.0), (500, 3600.0)] {
            for _ in 0..100 {
                let delay = backoff(attempt).as_secs_f64();
                assert!((seconds * 0.8..=seconds * 1.2).contains(&delay), "attempt {attempt}: {delay}");
            }
        }
    }
}

//! What was told of jobs and actors a moment ago, for streams that were cut off (jobs.md §6).
//!
//! One writer reads the rings of the engine and the tree while somebody listens and for a minute after; streams read
//! what it wrote. What is kept is bounded, by number and by age: whoever missed more than that begins with a snapshot.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::{Duration, Instant},
};

use futures::StreamExt;
use publaryn_actors::{ActorEvent, Tree};
use publaryn_core::Timestamp;
use publaryn_jobs::JobEvent;
use publaryn_registry::{JobNews, Registry};
use tokio::sync::{Notify, broadcast, broadcast::error::RecvError, watch};

/// Longest gap that a stream goes on after.
const KEPT_FOR: Duration = Duration::from_secs(60);
/// Events kept at most, and events that a slow consumer may be behind (jobs.md §6).
const KEPT: usize = 256;
/// How often the time is noted when nothing happens: identifiers tell how old they are.
const TICK_EVERY: Duration = Duration::from_secs(5);
/// How long a stream waits for the writer to begin.
const PATIENCE: Duration = Duration::from_secs(5);

/// An identifier reads, from the highest bit: 42 bits of milliseconds since 1970, 6 bits of events within one, 8 bits
/// of the process, and 8 bits of what a stream says of its own after the event.
const MILLIS_SHIFT: u32 = 22;
const EVENT_SHIFT: u32 = 16;
const PROCESS_SHIFT: u32 = 8;
pub const OWN_MASK: u64 = 0xff;

/// One thing that happened.
#[derive(Debug)]
pub enum News {
    Job(Box<JobEvent>),
    Actor(ActorEvent),
    /// So many transitions of jobs were too many to be told one by one.
    Dropped(u64),
    /// Something was lost, and how much of it where that is known.
    Gap(Option<u64>),
    /// Nothing; the time goes on.
    Tick,
}

/// News with its place in the order of this process.
#[derive(Debug, Clone)]
pub struct Logged {
    pub id: u64,
    pub news: Arc<News>,
}

/// A stream's view of the log.
pub struct Opened {
    /// The latest event before the stream.
    pub at: u64,
    /// What came after the event that was seen last; `None` when that is not known any more.
    pub missed: Option<Vec<Logged>>,
    pub live: broadcast::Receiver<Logged>,
}

/// The log of this process; cheap to clone.
#[derive(Clone)]
pub struct EventLog(Arc<Inner>);

struct Inner {
    kept: Mutex<Kept>,
    live: broadcast::Sender<Logged>,
    /// A stream was opened.
    is_wanted: Notify,
    is_written: watch::Sender<bool>,
}

struct Kept {
    process: u8,
    /// The latest identifier.
    last: u64,
    /// Everything after this one is kept.
    floor: u64,
    events: VecDeque<Logged>,
}

impl Kept {
    fn next_id(&self, now: Timestamp) -> u64 {
        let by_time = millis(now) << MILLIS_SHIFT;
        let by_order = ((self.last >> EVENT_SHIFT) + 1) << EVENT_SHIFT;
        by_time.max(by_order) | u64::from(self.process) << PROCESS_SHIFT
    }

    fn add(&mut self, news: News, now: Timestamp) -> Logged {
        let logged = Logged { id: self.next_id(now), news: Arc::new(news) };
        self.last = logged.id;
        if matches!(*logged.news, News::Gap(_)) {
            // Whoever was not told of it must not go on as if nothing were missing.
            self.events.clear();
            self.floor = logged.id;
        } else {
            self.events.push_back(logged.clone());
        }
        while self.events.front().is_some_and(|first| self.events.len() > KEPT || is_old(first.id, now)) {
            self.floor = self.events.pop_front().map_or(self.floor, |first| first.id);
        }
        logged
    }

    fn since(&self, seen: u64, now: Timestamp) -> Option<Vec<Logged>> {
        let seen = seen & !OWN_MASK;
        let is_known = seen == self.floor || self.events.iter().any(|event| event.id == seen);
        let missed = || self.events.iter().filter(|event| event.id > seen).cloned().collect();
        (is_known && !is_old(seen, now)).then(missed)
    }
}

fn millis(now: Timestamp) -> u64 {
    u64::try_from(now.as_micros() / 1000).unwrap_or(0)
}

fn is_old(id: u64, now: Timestamp) -> bool {
    u128::from(millis(now).saturating_sub(id >> MILLIS_SHIFT)) >= KEPT_FOR.as_millis()
}

impl Default for EventLog {
    fn default() -> Self {
        let kept = Kept { process: uuid::Uuid::now_v7().as_bytes()[15], last: 0, floor: 0, events: VecDeque::new() };
        Self(Arc::new(Inner {
            kept: Mutex::new(kept),
            live: broadcast::channel(KEPT).0,
            is_wanted: Notify::new(),
            is_written: watch::Sender::new(false),
        }))
    }
}

impl EventLog {
    fn add(&self, news: News) {
        let mut kept = self.0.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let logged = kept.add(news, Timestamp::now());
        // Within the lock, so that a stream that opens gets it once: as missed, or live. Nobody may be listening.
        let _ = self.0.live.send(logged);
    }

    /// Begins to listen, after the event `seen` if there was one. `None` while nothing is written.
    pub async fn open(&self, seen: Option<u64>) -> Option<Opened> {
        // Counts as a listener from here on, so the writer goes on.
        let early = self.0.live.subscribe();
        self.0.is_wanted.notify_one();
        let mut is_written = self.0.is_written.subscribe();
        let written = tokio::time::timeout(PATIENCE, is_written.wait_for(|is| *is)).await;
        written.ok()?.ok()?;
        let kept = self.0.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let missed = seen.and_then(|seen| kept.since(seen, Timestamp::now()));
        let opened = Opened { at: kept.last, missed, live: self.0.live.subscribe() };
        drop(early);
        Some(opened)
    }

    /// Writes for as long as somebody listens, and a while longer; then waits for the next.
    pub async fn write(&self, registry: &Registry, tree: &OnceLock<Tree>) {
        loop {
            while self.0.live.receiver_count() == 0 {
                self.0.is_wanted.notified().await;
            }
            match (registry.job_news(), tree.get()) {
                (Ok(jobs), Some(tree)) => self.write_while_wanted(jobs, tree.events()).await,
                // They start a moment after this does.
                _ => tokio::time::sleep(Duration::from_millis(100)).await,
            }
        }
    }

    async fn write_while_wanted(
        &self,
        mut jobs: futures::stream::BoxStream<'static, JobNews>,
        mut actors: broadcast::Receiver<ActorEvent>,
    ) {
        // Nobody knows what happened before.
        self.add(News::Gap(None));
        let _written = Written::begin(&self.0.is_written);
        let mut tick = tokio::time::interval(TICK_EVERY);
        let mut heard = Instant::now();
        loop {
            let news = tokio::select! {
                news = jobs.next() => match news {
                    Some(JobNews::Event(event)) => News::Job(event),
                    Some(JobNews::Dropped(count)) => News::Dropped(count),
                    Some(JobNews::Lagged(missed)) => News::Gap(Some(missed)),
                    Some(JobNews::Missed) => News::Gap(None),
                    None => return,
                },
                event = actors.recv() => match event {
                    Ok(event) => News::Actor(event),
                    Err(RecvError::Lagged(missed)) => News::Gap(Some(missed)),
                    Err(RecvError::Closed) => return,
                },
                _ = tick.tick() => News::Tick,
            };
            if self.0.live.receiver_count() > 0 {
                heard = Instant::now();
            } else if heard.elapsed() > KEPT_FOR {
                return;
            }
            self.add(news);
        }
    }
}

/// Says that the log is written, until it is dropped, however that comes about.
struct Written<'a>(&'a watch::Sender<bool>);

impl<'a> Written<'a> {
    fn begin(is_written: &'a watch::Sender<bool>) -> Self {
        is_written.send_replace(true);
        Self(is_written)
    }
}

impl Drop for Written<'_> {
    fn drop(&mut self) {
        self.0.send_replace(false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_micros(1_800_000_000_000_000);

    fn log() -> Kept {
        let mut kept = Kept { process: 7, last: 0, floor: 0, events: VecDeque::new() };
        kept.add(News::Gap(None), NOW);
        kept
    }

    fn after(kept: &Kept, seen: u64, now: Timestamp) -> Option<Vec<u64>> {
        Some(kept.since(seen, now)?.iter().map(|event| event.id).collect())
    }

    #[test]
    fn a_stream_goes_on_after_what_it_saw() {
        let mut kept = log();
        let start = kept.last;
        let ids: Vec<u64> = (0..100).map(|n| kept.add(News::Dropped(n), NOW).id).collect();
        assert!(ids.is_sorted_by(|a, b| a < b) && ids[0] > start);
        assert_eq!(after(&kept, start, NOW).unwrap(), ids);
        // What a stream said of its own since does not matter.
        assert_eq!(after(&kept, ids[97] + 3, NOW).unwrap(), ids[98..]);
        assert_eq!(after(&kept, ids[99], NOW), Some(Vec::new()));
    }

    #[test]
    fn what_is_old_lost_or_foreign_is_not_gone_on_after() {
        let mut kept = log();
        let first = kept.add(News::Tick, NOW).id;
        let late = NOW + KEPT_FOR;
        assert_eq!(after(&kept, first, late), None);
        let ids: Vec<u64> = (0..KEPT as u64 + 1).map(|n| kept.add(News::Dropped(n), NOW).id).collect();
        assert_eq!(after(&kept, first, NOW), None, "more was missed than is kept");
        assert_eq!(after(&kept, ids[0], NOW).unwrap().len(), KEPT);
        assert_eq!(after(&kept, ids[5] ^ 1 << PROCESS_SHIFT, NOW), None, "another process said that");
        kept.add(News::Gap(Some(1)), NOW);
        assert_eq!(after(&kept, ids[50], NOW), None);
        assert_eq!(after(&kept, kept.last, NOW), Some(Vec::new()));
    }
}

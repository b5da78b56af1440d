//! `/v1/admin/jobs/stream`: what the queue and the actors do, as it happens (jobs.md §6).
//!
//! A stream holds no events of its own: it reads the log ([`super::stream_log`]) of what the engine, the tree and other
//! nodes tell. A consumer that falls behind is told how much it missed and gets a new snapshot; one that was cut off
//! goes on where it was.

use std::{
    collections::VecDeque,
    convert::Infallible,
    time::{Duration, Instant},
};

use axum::{
    body::Body,
    extract::State,
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use futures::{Stream, stream};
use http::{HeaderMap, header};
use publaryn_auth::Presented;
use publaryn_core::{Operation, RegistryError, Scope, job::JobKind};
use publaryn_jobs::JobEvent;
use publaryn_registry::identity::Surface;
use serde_json::{Map, Value, json};
use tokio::{
    sync::{OwnedSemaphorePermit, broadcast, broadcast::error::RecvError},
    time::{Interval, MissedTickBehavior, interval},
};

use super::{
    ApiState,
    extract::presented,
    input::unprocessable_parameter,
    page::Query,
    problem::Problem,
    queues::node,
    route::{Routes, platform},
    stream_log::{Logged, News, OWN_MASK},
};

const EVENTS: [&str; 6] = ["snapshot", "summary", "job", "node", "actor", "ping"];
const PING_EVERY: Duration = Duration::from_secs(15);
/// How often the whole queue is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// How often the caller's rights are asked for again.
const RIGHTS_EVERY: Duration = Duration::from_secs(60);
/// Transitions of jobs told per second; the rest is counted.
const JOBS_PER_SECOND: u32 = 200;

pub fn routes() -> Routes {
    Routes::new("operation").get(
        "/admin/jobs/stream",
        stream,
        platform(Scope::AuditRead, "What the queue and the actors do, as it happens")
            .notes(
                "Server-sent events: `snapshot` first, unless the stream goes on after `Last-Event-ID`, and after every gap, then `summary`, `job`, `node`, `actor`, `ping` \
                 and `bye`. `events` is a list with commas of those that are wanted. Jobs are those of all nodes, actors \
                 those of the answering one.",
            )
            .query("kind JobKind?, events s?")
            .header("Last-Event-ID", "the last event that was seen; up to a minute later the stream goes on after it")
            .media(200, "text/event-stream"),
    )
}

async fn stream(State(state): State<ApiState>, headers: HeaderMap, query: Query) -> Result<Response, Problem> {
    let kind: Option<JobKind> = query.word("kind")?;
    let wanted: Vec<&'static str> = match query.text("events") {
        None => EVENTS.to_vec(),
        Some(list) => list
            .split(',')
            .map(|word| EVENTS.into_iter().find(|known| *known == word.trim()))
            .collect::<Option<_>>()
            .ok_or_else(|| unprocessable_parameter("events", "is not a list of events of this stream"))?,
    };
    let permit = state.streams.clone().try_acquire_owned();
    let permit = permit.map_err(|_| RegistryError::unavailable("streams", "as many as may be are open"))?;
    let seen = headers.get("last-event-id").and_then(|id| id.to_str().ok()?.parse().ok());
    let opened = state.events.open(seen).await;
    let opened = opened.ok_or_else(|| RegistryError::unavailable("events", "nothing is told at the moment"))?;
    let mut feed = Feed {
        log: opened.live,
        id: opened.at,
        is_resumed: opened.missed.is_some(),
        look: every(LOOK_EVERY),
        ping: every(PING_EVERY),
        rights: every(RIGHTS_EVERY),
        presented: presented(&headers),
        kind,
        wanted,
        last: Value::Null,
        ready: VecDeque::new(),
        second: (Instant::now(), 0),
        dropped: 0,
        has_ended: false,
        state,
        _permit: permit,
    };
    for logged in opened.missed.unwrap_or_default() {
        feed.hear(&logged);
    }
    let headers = [(header::CONTENT_TYPE, "text/event-stream"), (header::CACHE_CONTROL, "no-store")];
    Ok((headers, Body::from_stream(feed.events())).into_response())
}

fn every(period: Duration) -> Interval {
    let mut interval = interval(period);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    interval
}

/// One open stream.
struct Feed {
    state: ApiState,
    log: broadcast::Receiver<Logged>,
    /// What was told last: an event of the log, and in the lowest bits what the stream said of its own since.
    id: u64,
    /// The consumer knows the queue as it was a moment ago.
    is_resumed: bool,
    look: Interval,
    ping: Interval,
    rights: Interval,
    presented: Presented,
    kind: Option<JobKind>,
    wanted: Vec<&'static str>,
    /// The queue as the consumer knows it; null before the first snapshot.
    last: Value,
    ready: VecDeque<Bytes>,
    /// The current second, and how many jobs it told of.
    second: (Instant, u32),
    dropped: u64,
    has_ended: bool,
    _permit: OwnedSemaphorePermit,
}

impl Feed {
    fn events(self) -> impl Stream<Item = Result<Bytes, Infallible>> {
        stream::unfold(self, async |mut feed| {
            while feed.ready.is_empty() {
                if feed.has_ended {
                    return None;
                }
                feed.step().await;
            }
            feed.ready.pop_front().map(|event| (Ok(event), feed))
        })
    }

    async fn step(&mut self) {
        tokio::select! {
            logged = self.log.recv() => match logged {
                Ok(logged) => self.hear(&logged),
                Err(RecvError::Lagged(missed)) => self.lag(missed),
                Err(RecvError::Closed) => self.has_ended = true,
            },
            _ = self.look.tick() => self.look().await,
            _ = self.ping.tick() => self.tell("ping", json!({})),
            _ = self.rights.tick() => self.check_rights().await,
        }
    }

    fn hear(&mut self, logged: &Logged) {
        // One less than the event itself, which counts as the next thing told.
        self.id = logged.id - 1;
        match &*logged.news {
            News::Job(event) => self.tell_job(event),
            News::Actor(event) => self.tell("actor", json!(event)),
            News::Dropped(count) => self.dropped += count,
            News::Gap(Some(missed)) => self.lag(*missed),
            News::Gap(None) => self.begin_anew(),
            News::Tick => {}
        }
        self.id = self.id.max(logged.id);
    }

    fn tell_job(&mut self, event: &JobEvent) {
        if self.kind.is_some_and(|kind| kind.as_str() != event.kind) {
            return;
        }
        if self.second.0.elapsed() >= Duration::from_secs(1) {
            self.second = (Instant::now(), 0);
        }
        self.second.1 += 1;
        if self.second.1 > JOBS_PER_SECOND {
            self.dropped += 1;
        } else {
            self.tell("job", json!(event));
        }
    }

    /// The consumer was too slow: it is told so, and starts anew.
    fn lag(&mut self, missed: u64) {
        self.push("lagged", &json!({ "missed": missed }));
        self.begin_anew();
    }

    /// After a gap: the next thing told is a snapshot.
    fn begin_anew(&mut self) {
        (self.last, self.is_resumed) = (Value::Null, false);
        self.look.reset_immediately();
    }

    /// Looks at the whole queue and tells what changed.
    async fn look(&mut self) {
        if self.state.registry.is_draining() {
            self.push("bye", &json!({}));
            self.has_ended = true;
            return;
        }
        // The database may be away for a while; the next look tells more.
        let Ok((summary, queues, nodes)) = self.state.registry.queue_overview().await else { return };
        let nodes: Vec<Value> = nodes.iter().map(node).collect();
        let now = json!({ "summary": summary, "queues": queues, "nodes": nodes });
        let before = std::mem::replace(&mut self.last, now.clone());
        if before.is_null() && !std::mem::take(&mut self.is_resumed) {
            self.tell("snapshot", now);
            return;
        }
        for (node, known) in now["nodes"].as_array().into_iter().flatten().map(|node| {
            let known = before["nodes"].as_array().into_iter().flatten().find(|old| old["node_id"] == node["node_id"]);
            (node, known)
        }) {
            let states = ["alive", "draining", "leader"];
            if known.is_none_or(|known| states.iter().any(|state| known[state] != node[state])) {
                let of = |name: &str| node[name].clone();
                let event = json!({
                    "node_id": of("node_id"), "alive": of("alive"), "draining": of("draining"), "leader": of("leader"),
                });
                self.tell("node", event);
            }
        }
        let mut changed = Map::new();
        if before["summary"] != now["summary"] {
            changed.insert("summary".into(), now["summary"].clone());
        }
        if before["queues"] != now["queues"] {
            let old = before["queues"].as_array().cloned().unwrap_or_default();
            let queues = now["queues"].as_array().into_iter().flatten().filter(|queue| !old.contains(queue));
            changed.insert("queues".into(), queues.cloned().collect());
        }
        if self.dropped > 0 {
            changed.insert("dropped".into(), std::mem::take(&mut self.dropped).into());
        }
        if !changed.is_empty() {
            self.tell("summary", Value::Object(changed));
        }
    }

    async fn check_rights(&mut self) {
        let who = self.state.identity.authenticate(&self.presented, Surface::Control).await;
        let may = who.is_ok_and(|who| self.state.registry.decide_platform(&who, Operation::PlatformRead).is_ok());
        self.has_ended |= !may;
    }

    /// Adds an event, if it is one that was asked for.
    fn tell(&mut self, event: &'static str, data: Value) {
        if self.wanted.contains(&event) {
            self.push(event, &data);
        }
    }

    fn push(&mut self, event: &str, data: &Value) {
        if self.id & OWN_MASK != OWN_MASK - 1 {
            self.id += 1;
        }
        self.ready.push_back(Bytes::from(format!("id: {}\nevent: {event}\ndata: {data}\n\n", self.id)));
    }
}

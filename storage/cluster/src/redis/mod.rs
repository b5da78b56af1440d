//! Replicas connected through Redis publish/subscribe.
//!
//! Two connections: one multiplexed for commands, one that listens. Both are made when first
//! needed and made again, with growing and jittered pauses, for as long as [`Cluster::run`] runs.

mod buckets;
mod publisher;
mod subscriber;

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use ::redis::{
    Client, IntoConnectionInfo, RedisError,
    aio::{ConnectionManager, ConnectionManagerConfig},
};
use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use uuid::Uuid;

use crate::{
    Cluster, ClusterError, ClusterStatus, Gossip, Invalidation, MAX_GOSSIP_BYTES, SharedBuckets,
    subscribers::Subscribers,
};

/// Messages that may wait for the publisher. At one per commit, more than a second's worth.
const QUEUE: usize = 1024;

/// The same of what is said in passing.
const GOSSIP_QUEUE: usize = 64;

/// How long one exchange with Redis may take; a healthy one takes well below a millisecond.
const EXCHANGE_DEADLINE: Duration = Duration::from_secs(2);
const PROBE_DEADLINE: Duration = Duration::from_secs(1);

/// A message as it travels.
#[derive(Debug, Serialize, Deserialize)]
struct Envelope {
    /// The process that sent it, so that it can ignore its own echo.
    from: Uuid,
    message: Invalidation,
}

/// The address is not one of a Redis server this build can reach. Says nothing of its password.
#[derive(Debug, thiserror::Error)]
#[error("`redis.url` must be a redis:// address")]
pub struct InvalidRedisUrl;

/// One replica of several.
pub struct RedisCluster {
    client: Client,
    commands: ConnectionManager,
    channel: String,
    gossip_channel: String,
    own_id: Uuid,
    subscribers: Subscribers<Invalidation>,
    listeners: Subscribers<Gossip>,
    outgoing: mpsc::Sender<Invalidation>,
    /// Locked by the one publisher; a second one waits its turn.
    queued: tokio::sync::Mutex<mpsc::Receiver<Invalidation>>,
    to_say: mpsc::Sender<Bytes>,
    said: tokio::sync::Mutex<mpsc::Receiver<Bytes>>,
    /// Messages to the others were dropped since the last delivery.
    owes_missed: AtomicBool,
    facts: Facts,
}

#[derive(Default)]
struct Facts {
    connected: AtomicBool,
    sent: AtomicU64,
    received: AtomicU64,
    dropped: AtomicU64,
    disconnects: AtomicU64,
    last_error: Mutex<Option<String>>,
}

impl RedisCluster {
    /// Prepares the connections without making them, so Redis may be away. Needs a tokio runtime.
    ///
    /// # Errors
    /// When the address cannot be right.
    pub fn new(url: &str) -> Result<Self, InvalidRedisUrl> {
        let address = url.into_connection_info().map_err(|_| InvalidRedisUrl)?;
        // Channels are not divided by database number, so the name has to be.
        let database = address.redis_settings().db();
        let channel = format!("publaryn:{database}:invalidations");
        let gossip_channel = format!("publaryn:{database}:gossip");
        let client = Client::open(address).map_err(|_| InvalidRedisUrl)?;
        let config = ConnectionManagerConfig::new()
            .set_connection_timeout(Some(EXCHANGE_DEADLINE))
            .set_response_timeout(Some(EXCHANGE_DEADLINE))
            .set_min_delay(Duration::from_millis(50))
            .set_max_delay(Duration::from_secs(2))
            .set_number_of_retries(2);
        let commands = client.get_connection_manager_lazy(config).map_err(|_| InvalidRedisUrl)?;
        let (outgoing, queued) = mpsc::channel(QUEUE);
        let (to_say, said) = mpsc::channel(GOSSIP_QUEUE);
        Ok(Self {
            client,
            commands,
            channel,
            gossip_channel,
            own_id: Uuid::now_v7(),
            subscribers: Subscribers::new(),
            listeners: Subscribers::new(),
            outgoing,
            queued: tokio::sync::Mutex::new(queued),
            to_say,
            said: tokio::sync::Mutex::new(said),
            owes_missed: AtomicBool::new(false),
            facts: Facts::default(),
        })
    }
}

#[async_trait]
impl Cluster for RedisCluster {
    fn broadcast(&self, message: Invalidation) {
        self.subscribers.tell(message.clone());
        if self.outgoing.try_send(message).is_err() {
            self.owes_missed.store(true, Ordering::Release);
            self.facts.dropped(1, "queue_full");
        }
    }

    fn subscribe(&self) -> BoxStream<'static, Invalidation> {
        self.subscribers.subscribe()
    }

    fn say(&self, words: Bytes) {
        if words.len() > MAX_GOSSIP_BYTES || self.to_say.try_send(words).is_err() {
            self.facts.dropped(1, "gossip");
        }
    }

    fn overhear(&self) -> BoxStream<'static, Gossip> {
        self.listeners.subscribe()
    }

    fn is_alone(&self) -> bool {
        false
    }

    fn buckets(&self) -> Option<&dyn SharedBuckets> {
        Some(self)
    }

    async fn probe(&self) -> Result<(), ClusterError> {
        let mut connection = self.commands.clone();
        let ping = async move { ::redis::cmd("PING").query_async::<String>(&mut connection).await };
        match tokio::time::timeout(PROBE_DEADLINE, ping).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(ClusterError::Unavailable(error.into())),
            Err(_) => Err(ClusterError::Timeout),
        }
    }

    async fn run(&self) {
        tokio::join!(publisher::run(self), publisher::gossip(self), subscriber::run(self));
    }

    fn status(&self) -> ClusterStatus {
        let facts = &self.facts;
        ClusterStatus {
            backend: "redis",
            connected: facts.connected.load(Ordering::Relaxed),
            queue_depth: QUEUE - self.outgoing.capacity(),
            queue_capacity: QUEUE,
            sent_total: facts.sent.load(Ordering::Relaxed),
            received_total: facts.received.load(Ordering::Relaxed),
            dropped_total: facts.dropped.load(Ordering::Relaxed),
            disconnects_total: facts.disconnects.load(Ordering::Relaxed),
            last_error: facts.last_error.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        }
    }
}

impl Facts {
    fn dropped(&self, count: u64, reason: &'static str) {
        self.dropped.fetch_add(count, Ordering::Relaxed);
        metrics::counter!("publaryn_cluster_dropped_total", "reason" => reason).increment(count);
    }

    fn failed(&self, error: &Failure) {
        *self.last_error.lock().unwrap_or_else(PoisonError::into_inner) = Some(error.to_string());
    }

    fn connected(&self, connected: bool) {
        let before = self.connected.swap(connected, Ordering::Relaxed);
        metrics::gauge!("publaryn_cluster_connected").set(if connected { 1.0 } else { 0.0 });
        if before && !connected {
            self.disconnects.fetch_add(1, Ordering::Relaxed);
        }
        if connected {
            *self.last_error.lock().unwrap_or_else(PoisonError::into_inner) = None;
        }
    }
}

/// Why one exchange with Redis did not happen.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("no answer in time")]
    Timeout,
    #[error("connection closed")]
    Closed,
    #[error(transparent)]
    Redis(#[from] RedisError),
}

/// Awaits one exchange with Redis, for a bounded time.
async fn exchange<T>(work: impl Future<Output = Result<T, RedisError>>) -> Result<T, Failure> {
    match tokio::time::timeout(EXCHANGE_DEADLINE, work).await {
        Ok(done) => Ok(done?),
        Err(_) => Err(Failure::Timeout),
    }
}

/// Growing, jittered pauses between attempts: 0.1 s to 5 s, ± half.
#[derive(Debug, Default)]
struct Backoff {
    failures: u32,
}

impl Backoff {
    async fn pause(&mut self) {
        let base = Duration::from_millis(100) * 2u32.pow(self.failures.min(6));
        self.failures = self.failures.saturating_add(1);
        let capped = base.min(Duration::from_secs(5));
        tokio::time::sleep(capped.mul_f64(rand::random_range(0.5..1.5))).await;
    }
    fn reset(&mut self) {
        self.failures = 0;
    }
}

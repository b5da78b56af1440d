//! Listens to what the other replicas have to tell.

use std::{sync::atomic::Ordering, time::Duration};

use ::redis::{Msg, aio::PubSubSink};
use bytes::Bytes;
use futures::StreamExt;
use tokio::time::MissedTickBehavior;

use super::{Backoff, Envelope, Facts, Failure, RedisCluster, exchange};
use crate::{Gossip, Invalidation, MAX_GOSSIP_BYTES};

/// How often a silent connection is asked whether it still lives; a peer that vanished without
/// closing it would otherwise go unnoticed for ever.
const CHECK_EVERY: Duration = Duration::from_secs(5);

/// Longest message read, in bytes; ours have about 150.
const MAX_MESSAGE_BYTES: usize = 4096;

/// Connects, listens, and does so again, for ever.
pub(super) async fn run(cluster: &RedisCluster) {
    let mut backoff = Backoff::default();
    loop {
        let error = match listen(cluster, &mut backoff).await {
            Ok(never) => match never {},
            Err(error) => error,
        };
        // Said once per outage, not once per attempt.
        if backoff.failures == 0 {
            tracing::warn!(%error, "no connection to redis, trying again");
        }
        cluster.facts.failed(&error);
        backoff.pause().await;
    }
}

async fn listen(cluster: &RedisCluster, backoff: &mut Backoff) -> Result<std::convert::Infallible, Failure> {
    let (mut sink, mut messages) = exchange(cluster.client.get_async_pubsub()).await?.split();
    exchange(sink.subscribe(&[&cluster.channel, &cluster.gossip_channel])).await?;
    // Whatever was said before this moment has not been heard.
    if cluster.facts.disconnects.load(Ordering::Relaxed) > 0 || backoff.failures > 0 {
        cluster.subscribers.tell(Invalidation::Missed);
        cluster.listeners.tell(Gossip::Missed);
        tracing::info!("connected to redis again");
    }
    let _connected = Connected::new(&cluster.facts);
    backoff.reset();
    let mut checks = tokio::time::interval(CHECK_EVERY);
    checks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            message = messages.next() => match message {
                Some(message) if message.get_channel_name() == cluster.gossip_channel => overhear(cluster, &message),
                Some(message) => hear(cluster, message.get_payload_bytes()),
                None => return Err(Failure::Closed),
            },
            _ = checks.tick() => check(&mut sink).await?,
        }
    }
}

/// Lasts as long as messages arrive; also ends when the listener is dropped or panics, so that the
/// next one knows it has missed something.
struct Connected<'a>(&'a Facts);

impl<'a> Connected<'a> {
    fn new(facts: &'a Facts) -> Self {
        facts.connected(true);
        Self(facts)
    }
}

impl Drop for Connected<'_> {
    fn drop(&mut self) {
        self.0.connected(false);
    }
}

async fn check(sink: &mut PubSubSink) -> Result<(), Failure> {
    exchange(sink.ping::<::redis::Value>()).await.map(drop)
}

/// Ours begins with who said it. Whoever else writes to the channel is heard by parsers that expect anything.
fn overhear(cluster: &RedisCluster, message: &Msg) {
    let payload = message.get_payload_bytes();
    let Some((from, words)) = payload.split_at_checked(size_of::<uuid::Bytes>()) else { return };
    if from != cluster.own_id.as_bytes() && words.len() <= MAX_GOSSIP_BYTES && cluster.listeners.is_any() {
        cluster.listeners.tell(Gossip::Said(Bytes::copy_from_slice(words)));
    }
}

fn hear(cluster: &RedisCluster, payload: &[u8]) {
    let envelope = (payload.len() <= MAX_MESSAGE_BYTES).then(|| serde_json::from_slice::<Envelope>(payload));
    // A newer version says something this one has no cache for, or a stranger uses the channel.
    let Some(Ok(envelope)) = envelope else {
        metrics::counter!("publaryn_cluster_dropped_total", "reason" => "unknown_message").increment(1);
        return;
    };
    if envelope.from == cluster.own_id {
        return;
    }
    cluster.facts.received.fetch_add(1, Ordering::Relaxed);
    metrics::counter!("publaryn_cluster_messages_total", "direction" => "received").increment(1);
    cluster.subscribers.tell(envelope.message);
}

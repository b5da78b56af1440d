//! Sends what this replica has to tell.

use std::sync::atomic::Ordering;

use super::{Backoff, Envelope, Failure, RedisCluster, exchange};
use crate::Invalidation;

/// Attempts per message before it is given up; then one `Missed` stands for all that follow.
const ATTEMPTS: u32 = 3;

/// Publishes queued messages in order, for ever.
pub(super) async fn run(cluster: &RedisCluster) {
    let mut queued = cluster.queued.lock().await;
    let mut backoff = Backoff::default();
    loop {
        if !cluster.owes_missed.load(Ordering::Acquire) {
            // The sender lives in the same struct: the queue never closes.
            let Some(message) = queued.recv().await else { return };
            let undelivered = Undelivered(cluster);
            if delivered(cluster, &message, &mut backoff).await {
                std::mem::forget(undelivered);
            }
            continue;
        }
        // Lowered before sending: a message dropped meanwhile raises it again.
        cluster.owes_missed.store(false, Ordering::Release);
        let mut covered = 0;
        while queued.try_recv().is_ok() {
            covered += 1;
        }
        if covered > 0 {
            cluster.facts.dropped(covered, "unreachable");
        }
        let undelivered = Undelivered(cluster);
        match publish(cluster, &Invalidation::Missed).await {
            Ok(()) => {
                std::mem::forget(undelivered);
                backoff.reset();
            }
            Err(error) => {
                drop(undelivered);
                cluster.facts.failed(&error);
                backoff.pause().await;
            }
        }
    }
}

/// A message on its way. Dropped before it arrived, also when the publisher is stopped or panics,
/// it leaves a `Missed` to be sent.
struct Undelivered<'a>(&'a RedisCluster);

impl Drop for Undelivered<'_> {
    fn drop(&mut self) {
        self.0.owes_missed.store(true, Ordering::Release);
        self.0.facts.dropped(1, "unreachable");
    }
}

async fn delivered(cluster: &RedisCluster, message: &Invalidation, backoff: &mut Backoff) -> bool {
    for _ in 0..ATTEMPTS {
        match publish(cluster, message).await {
            Ok(()) => {
                backoff.reset();
                return true;
            }
            Err(error) => {
                tracing::debug!(%error, "cannot publish to redis");
                cluster.facts.failed(&error);
                backoff.pause().await;
            }
        }
    }
    tracing::warn!("redis is unreachable, other replicas will be told to start over when it is back");
    false
}

/// Passes on what is said, for ever; what does not get through is forgotten.
pub(super) async fn gossip(cluster: &RedisCluster) {
    let mut said = cluster.said.lock().await;
    // The sender lives in the same struct: the queue never closes.
    while let Some(words) = said.recv().await {
        let payload = [&cluster.own_id.as_bytes()[..], &words[..]].concat();
        if let Err(error) = send(cluster, &cluster.gossip_channel, payload).await {
            tracing::debug!(%error, "cannot publish to redis");
            cluster.facts.dropped(1, "gossip");
        }
    }
}

async fn publish(cluster: &RedisCluster, message: &Invalidation) -> Result<(), Failure> {
    let envelope = Envelope { from: cluster.own_id, message: message.clone() };
    let payload = serde_json::to_vec(&envelope).expect("plain enums and ids always serialise");
    send(cluster, &cluster.channel, payload).await
}

async fn send(cluster: &RedisCluster, channel: &str, payload: Vec<u8>) -> Result<(), Failure> {
    let mut connection = cluster.commands.clone();
    let mut command = ::redis::cmd("PUBLISH");
    command.arg(channel).arg(payload);
    exchange(async { command.query_async::<()>(&mut connection).await }).await?;
    cluster.facts.sent.fetch_add(1, Ordering::Relaxed);
    metrics::counter!("publaryn_cluster_messages_total", "direction" => "sent").increment(1);
    Ok(())
}

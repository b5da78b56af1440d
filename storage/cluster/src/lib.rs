//! What replicas tell each other: hints that something has changed, what was used of shared limits, and what
//! operators look at.
//!
//! Nothing here is needed for a right answer. Caches are keyed by revision or expire within
//! seconds, workers poll; a message only makes it sooner (design.md §9). So a lost connection never
//! blocks or fails a caller.

mod buckets;
mod gossip;
mod in_process;
mod invalidation;
mod redis;
mod subscribers;
#[cfg(feature = "testing")]
pub mod testing;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use publaryn_core::BoxError;
use serde::Serialize;

pub use self::{
    buckets::{Charge, Charged, SharedBuckets},
    gossip::{Gossip, MAX_GOSSIP_BYTES},
    in_process::InProcess,
    invalidation::Invalidation,
    redis::{InvalidRedisUrl, RedisCluster},
};

/// The connection between replicas.
#[async_trait]
pub trait Cluster: Send + Sync + 'static {
    /// Tells every subscriber of this process at once and those of other replicas soon.
    ///
    /// To be called after the commit. Never blocks and never fails: what cannot be delivered is
    /// dropped, counted, and announced as [`Invalidation::Missed`] when delivery works again.
    fn broadcast(&self, message: Invalidation);

    /// Messages of this process and of all replicas from now on, each once, without end.
    ///
    /// A reader that falls behind, and everyone after a lost connection, gets
    /// [`Invalidation::Missed`] in place of what is gone.
    fn subscribe(&self) -> BoxStream<'static, Invalidation>;

    /// Says something to the other replicas that only matters to who is listening now. Never blocks and never fails:
    /// what cannot be delivered is dropped and counted.
    fn say(&self, words: Bytes);

    /// What other replicas say from now on, without end; own words are not among it.
    fn overhear(&self) -> BoxStream<'static, Gossip>;

    /// There are no other replicas, and never will be.
    fn is_alone(&self) -> bool;

    /// Token buckets that all replicas take from; a cluster of one has none.
    fn buckets(&self) -> Option<&dyn SharedBuckets>;

    /// Answers within a second whether other replicas can be reached.
    async fn probe(&self) -> Result<(), ClusterError>;

    /// Keeps the connection. Never returns; to be run under supervision, one at a time. It may be
    /// dropped or panic at any moment and simply run again.
    async fn run(&self);

    /// What the connection reports about itself.
    fn status(&self) -> ClusterStatus;
}

/// Why other replicas cannot be reached.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    #[error("redis did not answer in time")]
    Timeout,
    #[error("redis is unavailable")]
    Unavailable(#[source] BoxError),
}

/// The state of the connection for the operator surface.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct ClusterStatus {
    /// `local` or `redis`.
    pub backend: &'static str,
    /// Messages of other replicas arrive.
    pub connected: bool,
    /// Messages waiting to be sent, and how many may wait.
    pub queue_depth: usize,
    pub queue_capacity: usize,
    pub sent_total: u64,
    pub received_total: u64,
    pub dropped_total: u64,
    /// How often the subscription was lost.
    pub disconnects_total: u64,
    pub last_error: Option<String>,
}

//! A cluster of one: the messages stay in the process.

use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt, stream, stream::BoxStream};

use crate::{Cluster, ClusterError, ClusterStatus, Gossip, Invalidation, SharedBuckets, subscribers::Subscribers};

/// The embedded profile.
#[derive(Debug)]
pub struct InProcess(Subscribers<Invalidation>);

impl InProcess {
    #[allow(clippy::new_without_default, reason = "a cluster is joined on purpose")]
    pub fn new() -> Self {
        Self(Subscribers::new())
    }
}

#[async_trait]
impl Cluster for InProcess {
    fn broadcast(&self, message: Invalidation) {
        self.0.tell(message);
    }

    fn subscribe(&self) -> BoxStream<'static, Invalidation> {
        self.0.subscribe()
    }

    fn say(&self, _: Bytes) {}

    fn overhear(&self) -> BoxStream<'static, Gossip> {
        stream::pending().boxed()
    }

    fn is_alone(&self) -> bool {
        true
    }

    fn buckets(&self) -> Option<&dyn SharedBuckets> {
        None
    }

    async fn probe(&self) -> Result<(), ClusterError> {
        Ok(())
    }

    async fn run(&self) {
        std::future::pending().await
    }

    fn status(&self) -> ClusterStatus {
        ClusterStatus { backend: "local", connected: true, ..ClusterStatus::default() }
    }
}

//! A cluster of one: the messages stay in the process.

use async_trait::async_trait;
use futures::stream::BoxStream;

use crate::{Cluster, ClusterError, ClusterStatus, Invalidation, invalidation::Subscribers};

/// The embedded profile.
#[derive(Debug)]
pub struct InProcess(Subscribers);

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

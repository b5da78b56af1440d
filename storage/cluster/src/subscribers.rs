//! The way of messages to the subscribers of this process.

use futures::{StreamExt, stream, stream::BoxStream};
use tokio::sync::broadcast::{self, error::RecvError};

/// What can be told to subscribers.
pub(crate) trait Message: Clone + Send + 'static {
    /// Stands for messages that were lost.
    const MISSED: Self;
}

/// Messages a slow subscriber may lag behind before it is told to start over.
const LAG: usize = 1024;

/// The subscribers of this process.
#[derive(Debug, Clone)]
pub(crate) struct Subscribers<M>(broadcast::Sender<M>);

impl<M: Message> Subscribers<M> {
    pub fn new() -> Self {
        Self(broadcast::channel(LAG).0)
    }

    pub fn tell(&self, message: M) {
        // An error only says that nobody listens.
        let _ = self.0.send(message);
    }

    /// Whether anybody listens.
    pub fn is_any(&self) -> bool {
        self.0.receiver_count() > 0
    }

    pub fn subscribe(&self) -> BoxStream<'static, M> {
        stream::unfold(self.0.subscribe(), |mut receiver| async {
            match receiver.recv().await {
                Ok(message) => Some((message, receiver)),
                Err(RecvError::Lagged(_)) => Some((M::MISSED, receiver)),
                Err(RecvError::Closed) => None,
            }
        })
        .boxed()
    }
}

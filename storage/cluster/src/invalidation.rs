//! The messages, and their way to the subscribers of this process.

use futures::{StreamExt, stream, stream::BoxStream};
use publaryn_core::PackageId;
use serde::{Deserialize, Serialize};
use smol_str::SmolStr;
use tokio::sync::broadcast::{self, error::RecvError};

/// Something that others may have cached has changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Invalidation {
    /// Anything about a package: its row, releases, tags, rights.
    Package { id: PackageId },
    /// A token was revoked or changed.
    Token,
    /// A session ended.
    Session,
    /// Jobs of a kind are waiting.
    Jobs {
        #[serde(rename = "job")]
        kind: SmolStr,
    },
    /// Instance, organization or policy settings changed.
    Settings,
    /// Messages were lost: everything above may have happened.
    Missed,
}

/// Messages a slow subscriber may lag behind before it is told to start over.
const LAG: usize = 1024;

/// The subscribers of this process.
#[derive(Debug, Clone)]
pub(crate) struct Subscribers(broadcast::Sender<Invalidation>);

impl Subscribers {
    pub fn new() -> Self {
        Self(broadcast::channel(LAG).0)
    }

    pub fn tell(&self, message: Invalidation) {
        // An error only says that nobody listens.
        let _ = self.0.send(message);
    }

    pub fn subscribe(&self) -> BoxStream<'static, Invalidation> {
        stream::unfold(self.0.subscribe(), |mut receiver| async {
            match receiver.recv().await {
                Ok(message) => Some((message, receiver)),
                Err(RecvError::Lagged(_)) => Some((Invalidation::Missed, receiver)),
                Err(RecvError::Closed) => None,
            }
        })
        .boxed()
    }
}

//! What the replicas of an instance tell each other in passing (`publaryn_cluster::Cluster::say`).

use bytes::Bytes;
use publaryn_auth::AttemptNote;
use publaryn_cluster::Gossip;
use serde::{Deserialize, Serialize};

use crate::{Registry, job_news::Told};

/// One thing said.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Word {
    /// What jobs do, for operators who watch.
    Jobs(Told),
    /// Somebody tries to log in.
    Login(AttemptNote),
}

impl Word {
    /// What was overheard; `None` for what another version may have said.
    pub(crate) fn of(gossip: &Gossip) -> Option<Self> {
        match gossip {
            Gossip::Said(words) => serde_json::from_slice(words).ok(),
            Gossip::Missed => None,
        }
    }
}

impl Registry {
    pub(crate) fn say(&self, word: &Word) {
        match serde_json::to_vec(word) {
            Ok(words) => self.cluster().say(Bytes::from(words)),
            Err(error) => tracing::warn!(%error, "other replicas cannot be told"),
        }
    }
}

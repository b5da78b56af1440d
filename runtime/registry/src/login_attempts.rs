//! Attempts to log in, counted by all replicas together (control-plane.md §1.6, §3).

use futures::StreamExt;
use tokio::sync::broadcast::error::RecvError;

use crate::{Registry, gossip::Word};

impl Registry {
    /// Tells the other replicas of attempts here, and counts theirs, until it is dropped.
    pub async fn share_login_attempts(&self) {
        let (mut own, mut others) = (self.identity().login_attempts(), self.cluster().overhear());
        loop {
            tokio::select! {
                note = own.recv() => match note {
                    Ok(note) => self.say(&Word::Login(note)),
                    // More at once than can be told: the limit by address holds them off.
                    Err(RecvError::Lagged(missed)) => tracing::warn!(missed, "attempts to log in were not told"),
                    Err(RecvError::Closed) => return,
                },
                gossip = others.next() => match gossip {
                    Some(gossip) => if let Some(Word::Login(note)) = Word::of(&gossip) {
                        self.identity().hear_login_attempt(&note);
                    },
                    None => return,
                },
            }
        }
    }
}

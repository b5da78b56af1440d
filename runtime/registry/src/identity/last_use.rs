//! When credentials were last used, to the minute, written beside the requests that used them.
//!
//! A request only notes an identifier in memory. The first note after a quiet time starts one
//! task that waits for others and writes them all in one transaction; what a crash loses is
//! noted again by the next use.

use std::{
    collections::HashSet,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use publaryn_core::{SessionId, Timestamp, TokenId};
use publaryn_metadata::{DbResult, sessions::SessionRow, tokens::TokenRow};

use super::Identity;

/// The grain of `last_used_at` (control-plane.md §10).
const GRAIN: Duration = Duration::from_secs(60);
/// How long notes are collected before they are written.
const COLLECT: Duration = Duration::from_secs(2);
/// Notes kept; beyond it a use goes unrecorded until the next write.
const MAX_PENDING: usize = 20_000;

#[derive(Default)]
pub(super) struct LastUse(Mutex<Pending>);

#[derive(Default)]
struct Pending {
    tokens: HashSet<TokenId>,
    sessions: HashSet<SessionId>,
    has_writer: bool,
}

impl Identity {
    pub(super) fn note_token_use(&self, token: &TokenRow, now: Timestamp) {
        if token.last_used_at.is_none_or(|last| now.since(last) >= GRAIN) {
            self.note(|pending| pending.tokens.insert(token.id));
        }
    }

    pub(super) fn note_session_use(&self, session: &SessionRow, now: Timestamp) {
        if now.since(session.last_seen_at) >= GRAIN {
            self.note(|pending| pending.sessions.insert(session.id));
        }
    }

    /// Writes what was noted; the server calls it once more before it stops.
    ///
    /// # Errors
    /// When the database refuses; the notes are lost then, which costs nothing but precision.
    pub async fn flush_last_use(&self) -> DbResult<()> {
        let Pending { tokens, sessions, .. } = std::mem::take(&mut *self.pending());
        if tokens.is_empty() && sessions.is_empty() {
            return Ok(());
        }
        let now = self.now();
        let mut tx = self.0.db.begin().await?;
        if !tokens.is_empty() {
            tx.touch_tokens(&tokens.into_iter().collect::<Vec<_>>(), now).await?;
        }
        if !sessions.is_empty() {
            tx.touch_sessions(&sessions.into_iter().collect::<Vec<_>>(), now).await?;
        }
        tx.commit().await
    }

    fn note(&self, insert: impl FnOnce(&mut Pending) -> bool) {
        let mut pending = self.pending();
        if pending.tokens.len() + pending.sessions.len() >= MAX_PENDING {
            return;
        }
        if insert(&mut pending) && !std::mem::replace(&mut pending.has_writer, true) {
            let identity = self.clone();
            tokio::spawn(async move {
                tokio::time::sleep(COLLECT).await;
                if let Err(error) = identity.flush_last_use().await {
                    tracing::warn!(%error, "last use of credentials was not recorded");
                }
            });
        }
    }

    fn pending(&self) -> std::sync::MutexGuard<'_, Pending> {
        // Sets of identifiers are whole at every step, so a panic elsewhere does not spoil them.
        self.0.last_use.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

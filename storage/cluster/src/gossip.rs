//! What replicas say to whoever happens to listen.

use bytes::Bytes;

use crate::subscribers::Message;

/// Longest thing said, in bytes; longer ones are dropped.
pub const MAX_GOSSIP_BYTES: usize = 256 << 10;

/// Something that was overheard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Gossip {
    /// Another replica's words. They come from outside this process: to be parsed with care.
    Said(Bytes),
    /// Words were lost.
    Missed,
}

impl Message for Gossip {
    const MISSED: Self = Self::Missed;
}

//! How often one client may ask (control-plane.md §1.6, docs/adr/0032-rate-limits.md).
//!
//! Every payer has a token bucket per tier in this process, and one atomic word decides ([`bucket`]). Where
//! replicas share, they tell each other through Redis in the background what was used; only logins, which must not
//! be guessed at in parallel on many replicas, ask it first ([`limiter`]).

mod bucket;
mod buckets;
mod limiter;
mod tier;
mod upkeep;
mod verdict;

pub use limiter::{Limiter, Limits};
pub use tier::{Payer, Tier};
pub use verdict::Verdict;

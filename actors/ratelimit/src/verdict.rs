//! What a client is told about its limit.

use std::time::Duration;

use crate::bucket::{Nanos, Rate};

/// Whether a request may go on, and what its client has left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict {
    /// Requests per minute, and as many at once.
    pub limit: u32,
    /// Requests that could follow at once.
    pub remaining: u32,
    /// Until all of them could again, in whole seconds, rounded up.
    pub reset_seconds: u64,
    /// The request was one too many; another could follow after this time.
    pub retry_after: Option<Duration>,
}

impl Verdict {
    pub(crate) fn new(rate: Rate, is_allowed: bool, debt: Nanos) -> Self {
        let missing = (debt + rate.token).saturating_sub(rate.most());
        Self {
            limit: rate.limit,
            remaining: u32::try_from(rate.most().saturating_sub(debt) / rate.token).unwrap_or(rate.limit),
            reset_seconds: debt.div_ceil(1_000_000_000),
            retry_after: (!is_allowed).then(|| Duration::from_nanos(missing)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;

    #[test]
    fn seconds_are_rounded_up_so_that_who_obeys_is_not_early() {
        let rate = Rate::per_minute(NonZeroU32::new(20).unwrap());
        let full = Verdict::new(rate, true, 0);
        assert_eq!((full.limit, full.remaining, full.reset_seconds, full.retry_after), (20, 20, 0, None));
        let used = Verdict::new(rate, true, 3_000_000_001);
        assert_eq!((used.remaining, used.reset_seconds), (18, 4));
        let empty = Verdict::new(rate, false, rate.most());
        assert_eq!((empty.remaining, empty.retry_after), (0, Some(Duration::from_secs(3))));
        let beyond = Verdict::new(rate, false, rate.most() * 2);
        assert_eq!((beyond.remaining, beyond.retry_after), (0, Some(Duration::from_secs(63))));
    }
}

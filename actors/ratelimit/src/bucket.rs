//! One token bucket in one atomic word: the generic cell rate algorithm (ATM Forum TM 4.0, appendix I.1).
//!
//! Instead of tokens and the time they were counted at, a bucket holds the instant at which it will be full again.
//! What is missing then is its *debt*, told as the time that it takes to refill.

use std::{
    num::NonZeroU32,
    sync::atomic::{AtomicU32, AtomicU64, Ordering},
    time::Duration,
};

const MINUTE: u64 = 60_000_000_000;

/// Debt beyond this is forgiven: however much was let through, nobody is locked out for longer.
const LONGEST_DEBT: u64 = 60 * MINUTE;

/// Nanoseconds since the limiter began.
pub(crate) type Nanos = u64;

/// How fast a bucket fills; it holds one minute's worth.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rate {
    pub limit: u32,
    /// Between two tokens, and what one is worth.
    pub token: Nanos,
}

impl Rate {
    pub fn per_minute(limit: NonZeroU32) -> Self {
        // In whole microseconds, which is what replicas share.
        Self { limit: limit.get(), token: (MINUTE / u64::from(limit.get()) / 1000 * 1000).max(1000) }
    }
    /// The debt of an empty bucket.
    pub fn most(self) -> Nanos {
        self.token * u64::from(self.limit)
    }
    /// Whether one more token can be taken at this debt.
    pub fn allows(self, debt: Nanos) -> bool {
        debt + self.token <= self.most()
    }
}

/// A bucket; a new one is full.
#[derive(Debug, Default)]
pub(crate) struct Bucket {
    full_at: AtomicU64,
    /// Tokens taken since the other replicas were told.
    unreported: AtomicU32,
}

/// What came of asking for a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Taken {
    pub is_taken: bool,
    /// After it.
    pub debt: Nanos,
}

impl Bucket {
    pub fn debt(&self, now: Nanos) -> Nanos {
        self.full_at.load(Ordering::Relaxed).saturating_sub(now)
    }

    /// Takes one token, if there is one.
    pub fn take(&self, now: Nanos, rate: Rate) -> Taken {
        let mut full_at = self.full_at.load(Ordering::Relaxed);
        loop {
            let debt = full_at.saturating_sub(now);
            if !rate.allows(debt) {
                return Taken { is_taken: false, debt };
            }
            let debt = debt + rate.token;
            match self.full_at.compare_exchange_weak(full_at, now + debt, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return Taken { is_taken: true, debt },
                Err(changed) => full_at = changed,
            }
        }
    }

    /// Takes one token whether there is one or not.
    pub fn charge(&self, now: Nanos, rate: Rate) -> Nanos {
        let add = |full_at: u64| now + (full_at.saturating_sub(now) + rate.token).min(LONGEST_DEBT);
        let before = self.full_at.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |full_at| Some(add(full_at)));
        add(before.unwrap_or_else(|full_at| full_at)) - now
    }

    /// Learns the debt that all replicas made together.
    pub fn learn(&self, now: Nanos, debt: Nanos) {
        self.full_at.fetch_max(now + debt.min(LONGEST_DEBT), Ordering::Relaxed);
    }

    /// Notes a token that others have to be told of; whether it is the first since they were.
    pub fn owe_report(&self) -> bool {
        self.unreported.fetch_add(1, Ordering::Relaxed) == 0
    }
    pub fn unreported(&self) -> u32 {
        self.unreported.load(Ordering::Relaxed)
    }
    pub fn take_unreported(&self) -> u32 {
        self.unreported.swap(0, Ordering::Relaxed)
    }
}

/// The longest debt, for the shared buckets.
pub(crate) const fn longest_debt() -> Duration {
    Duration::from_nanos(LONGEST_DEBT)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn rate(limit: u32) -> Rate {
        Rate::per_minute(NonZeroU32::new(limit).unwrap())
    }

    #[test]
    fn a_minutes_worth_at_once_and_then_one_by_one() {
        let (bucket, rate) = (Bucket::default(), rate(20));
        for n in 1..=20 {
            assert_eq!(bucket.take(7, rate), Taken { is_taken: true, debt: n * 3 * SECOND });
        }
        assert!(!bucket.take(7, rate).is_taken);
        assert!(!bucket.take(6 + 3 * SECOND, rate).is_taken);
        assert!(bucket.take(7 + 3 * SECOND, rate).is_taken);
        assert!(!bucket.take(7 + 3 * SECOND, rate).is_taken);
    }

    #[test]
    fn one_a_minute_and_very_many_are_rates_too() {
        let (bucket, one) = (Bucket::default(), rate(1));
        assert!(bucket.take(0, one).is_taken);
        assert!(!bucket.take(59 * SECOND, one).is_taken);
        assert!(bucket.take(60 * SECOND, one).is_taken);
        let (bucket, many) = (Bucket::default(), rate(u32::MAX));
        assert!((0..1000).all(|_| bucket.take(0, many).is_taken));
    }

    #[test]
    fn what_was_charged_beyond_the_bucket_is_paid_back() {
        let (bucket, rate) = (Bucket::default(), rate(2));
        for _ in 0..4 {
            bucket.charge(0, rate);
        }
        assert!(!bucket.take(89 * SECOND, rate).is_taken);
        assert!(bucket.take(90 * SECOND, rate).is_taken);
        for _ in 0..1000 {
            bucket.charge(0, rate);
        }
        assert_eq!(bucket.debt(0), LONGEST_DEBT);
    }

    #[test]
    fn the_larger_of_two_debts_counts() {
        let (bucket, rate) = (Bucket::default(), rate(60));
        bucket.take(0, rate);
        bucket.learn(0, 10 * SECOND);
        assert_eq!(bucket.debt(0), 10 * SECOND);
        bucket.learn(0, 2 * SECOND);
        assert_eq!(bucket.debt(0), 10 * SECOND);
    }

    #[test]
    fn threads_together_take_no_more_than_there_is() {
        let (bucket, rate) = (Bucket::default(), rate(1000));
        let taken: usize = std::thread::scope(|scope| {
            let threads: Vec<_> =
                (0..4).map(|_| scope.spawn(|| (0..1000).filter(|_| bucket.take(0, rate).is_taken).count())).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!(taken, 1000);
    }

    proptest! {
        #[test]
        fn no_span_of_time_lets_more_through_than_a_bucket_and_its_refill(
            limit in 1u32..500, steps in prop::collection::vec(0u64..20 * SECOND, 1..200),
        ) {
            let (bucket, rate) = (Bucket::default(), rate(limit));
            let (mut now, mut taken) = (0, 0u64);
            for step in steps {
                now += step;
                taken += u64::from(bucket.take(now, rate).is_taken);
                prop_assert!(taken <= u64::from(limit) + now / rate.token);
            }
        }
    }
}

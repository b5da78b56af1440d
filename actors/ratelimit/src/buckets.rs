//! The buckets of all payers: a sharded map that never grows beyond a bound.

use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicU64, AtomicUsize, Ordering},
};

use dashmap::DashMap;

use crate::{
    bucket::{Bucket, Nanos},
    tier::{Key, Tier},
};

/// Payers with a bucket of their own, at about 64 bytes each. One lives no longer than it takes to refill, so this
/// many clients have to be busy within the same minute before the others share.
const MOST: usize = 1 << 18;

/// A map that has this much more room than it needs gives it back.
const ROOMY: usize = 8;

#[derive(Debug)]
pub(crate) struct Buckets {
    own: DashMap<Key, Bucket>,
    /// About how many there are; exact after each sweep.
    count: AtomicUsize,
    most: usize,
    /// One per tier, for payers that found no room: they are limited, together.
    crowd: [Bucket; Tier::ALL.len()],
    crowded: AtomicU64,
    /// Buckets whose use the other replicas do not know of yet.
    owing: Mutex<Vec<Key>>,
}

impl Default for Buckets {
    fn default() -> Self {
        Self::with_room_for(MOST)
    }
}

impl Buckets {
    fn with_room_for(most: usize) -> Self {
        Self {
            own: DashMap::new(),
            count: AtomicUsize::new(0),
            most,
            crowd: Default::default(),
            crowded: AtomicU64::new(0),
            owing: Mutex::default(),
        }
    }

    /// Does something with a payer's bucket; a payer without one has a full one.
    pub fn with<T>(&self, key: Key, act: impl FnOnce(&Bucket) -> T) -> T {
        if let Some(bucket) = self.own.get(&key) {
            return act(&bucket);
        }
        if self.count.load(Ordering::Relaxed) >= self.most {
            self.crowded.fetch_add(1, Ordering::Relaxed);
            return act(&self.crowd[key.tier as usize]);
        }
        let bucket = self.own.entry(key).or_insert_with(|| {
            self.count.fetch_add(1, Ordering::Relaxed);
            Bucket::default()
        });
        act(&bucket)
    }

    /// The same without making one.
    pub fn with_known<T>(&self, key: &Key, act: impl FnOnce(&Bucket) -> T) -> Option<T> {
        self.own.get(key).map(|bucket| act(&bucket))
    }

    /// Notes that the other replicas have to be told of one token more.
    pub fn owe_report(&self, key: Key) {
        if self.with_known(&key, Bucket::owe_report) == Some(true) {
            self.owing.lock().unwrap_or_else(PoisonError::into_inner).push(key);
        }
    }

    /// Payers, and how many tokens each of them took since this was last asked.
    pub fn take_unreported(&self) -> Vec<(Key, u32)> {
        let owing = std::mem::take(&mut *self.owing.lock().unwrap_or_else(PoisonError::into_inner));
        let used = |key: Key| Some((key, self.with_known(&key, Bucket::take_unreported)?));
        owing.into_iter().filter_map(used).collect()
    }

    /// Forgets full buckets: they are as good as none.
    pub fn sweep(&self, now: Nanos) {
        self.own.retain(|_, bucket| bucket.debt(now) > 0 || bucket.unreported() > 0);
        let left = self.own.len();
        self.count.store(left, Ordering::Relaxed);
        if self.own.capacity() > ROOMY * left.max(1024) {
            self.own.shrink_to_fit();
        }
    }

    pub fn len(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }
    pub fn most(&self) -> usize {
        self.most
    }
    /// Requests that were taken from a shared bucket for want of room.
    pub fn crowded(&self) -> u64 {
        self.crowded.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;
    use crate::{Payer, bucket::Rate};

    fn key(n: u32) -> Key {
        Key { tier: Tier::Read, payer: Payer::Address(std::net::Ipv4Addr::from_bits(n).into()) }
    }
    fn rate() -> Rate {
        Rate::per_minute(NonZeroU32::new(60).unwrap())
    }

    #[test]
    fn memory_is_bounded_and_whoever_finds_no_room_is_limited_with_the_others() {
        let buckets = Buckets::with_room_for(10);
        let taken = |n| buckets.with(key(n), |bucket| bucket.take(0, rate()).is_taken);
        assert!((0..10).all(taken));
        assert_eq!((10..100).filter(|n| taken(*n)).count(), 60);
        assert_eq!((buckets.len(), buckets.own.len(), buckets.crowded()), (10, 10, 90));
        assert!(taken(3), "who has a bucket keeps it");
    }

    #[test]
    fn full_buckets_are_forgotten_unless_something_is_owed() {
        let buckets = Buckets::with_room_for(10);
        for n in 0..3 {
            buckets.with(key(n), |bucket| bucket.take(0, rate()));
        }
        buckets.owe_report(key(2));
        buckets.sweep(999_999_999);
        assert_eq!(buckets.len(), 3);
        buckets.sweep(1_000_000_000);
        assert_eq!(buckets.len(), 1);
        assert_eq!(buckets.take_unreported(), [(key(2), 1)]);
        buckets.sweep(1_000_000_000);
        assert_eq!(buckets.len(), 0);
    }

    #[test]
    fn what_was_used_is_reported_once() {
        let buckets = Buckets::default();
        buckets.with(key(1), |_| ());
        (0..3).for_each(|_| buckets.owe_report(key(1)));
        assert_eq!(buckets.take_unreported(), [(key(1), 3)]);
        assert_eq!(buckets.take_unreported(), []);
        buckets.owe_report(key(1));
        assert_eq!(buckets.take_unreported(), [(key(1), 1)]);
    }
}

//! What this node did of one kind lately, in the buckets it shares with other nodes.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use publaryn_core::Timestamp;
use publaryn_metadata::jobs::{BUCKET_SECONDS, StatsRow};

#[derive(Default)]
pub(crate) struct KindRecorder(Mutex<BTreeMap<i64, (StatsRow, bool)>>);

impl KindRecorder {
    fn record(&self, note: impl FnOnce(&mut StatsRow)) {
        let bucket = Timestamp::now().as_micros() / 1_000_000 / BUCKET_SECONDS * BUCKET_SECONDS;
        let mut buckets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (row, is_new) = buckets.entry(bucket).or_default();
        note(row);
        *is_new = true;
    }

    pub(crate) fn waited(&self, wait: Duration) {
        self.record(|row| row.waits.record(wait));
    }

    pub(crate) fn ran(&self, run: Duration, is_error: bool) {
        self.record(|row| {
            row.runs.record(run);
            row.finished += 1;
            row.errors += i64::from(is_error);
        });
    }

    /// Buckets that changed since the last call; past ones are forgotten with it.
    pub(crate) fn take_changed(&self) -> Vec<(i64, StatsRow)> {
        let mut buckets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let changed = buckets
            .iter_mut()
            .filter_map(|(bucket, (row, is_new))| std::mem::take(is_new).then(|| (*bucket, row.clone())))
            .collect();
        let newest = buckets.keys().next_back().copied().unwrap_or(0);
        buckets.retain(|bucket, _| *bucket >= newest - BUCKET_SECONDS);
        changed
    }
}

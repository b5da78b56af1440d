//! The hot cache and the metrics in front of a store.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures::{StreamExt, stream};
use metrics::{
    Counter, CounterFn, Gauge, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder, SharedString, Unit,
};
use publaryn_blobs::{BlobError, BlobStore, DiskConfig, DiskStore, HotBlobs, Metered, StagePlan, disk::BLOCK_BYTES};
use publaryn_core::Digest;

fn plan() -> StagePlan {
    StagePlan::new(1 << 30, "limits.test")
}

#[tokio::test]
async fn hot_blobs_are_served_from_memory_until_deleted() {
    let directory = tempfile::tempdir().unwrap();
    let disk = DiskStore::open(DiskConfig { path: directory.path().to_owned() }).await.unwrap();
    let hot = HotBlobs::new(Arc::new(disk.clone()), 10 << 20);
    let staged = hot.stage_bytes("0123456789".into(), plan()).await.unwrap();
    let key = hot.promote(&staged).await.unwrap();
    assert_eq!(hot.open(&key, None).await.unwrap().into_bytes(10).await.unwrap(), "0123456789");
    // The file behind the cache's back shows where an answer comes from.
    std::fs::remove_file(disk.path(&key).unwrap()).unwrap();
    let part = hot.open(&key, Some(3..5)).await.unwrap();
    assert_eq!((part.size_bytes(), part.range()), (10, 3..5));
    assert_eq!(part.as_bytes().unwrap(), &Bytes::from("34"));
    let refused = hot.open(&key, Some(10..11)).await.unwrap_err();
    assert!(matches!(refused, BlobError::RangeNotSatisfiable { size_bytes: 10 }));
    hot.delete(&key).await.unwrap();
    assert!(matches!(hot.open(&key, None).await, Err(BlobError::Missing { .. })));
}

#[tokio::test]
async fn large_blobs_and_parts_do_not_enter_the_cache() {
    let directory = tempfile::tempdir().unwrap();
    let disk = DiskStore::open(DiskConfig { path: directory.path().to_owned() }).await.unwrap();
    let hot = HotBlobs::new(Arc::new(disk.clone()), 10 << 20);
    for (size, range) in [(BLOCK_BYTES + 1, None), (10, Some(0..10))] {
        let staged = hot.stage_bytes(vec![1; size].into(), plan()).await.unwrap();
        let key = hot.promote(&staged).await.unwrap();
        let read = hot.open(&key, range).await.unwrap().into_bytes(u64::MAX).await.unwrap();
        assert_eq!(read.len(), size);
        std::fs::remove_file(disk.path(&key).unwrap()).unwrap();
        assert!(matches!(hot.open(&key, None).await, Err(BlobError::Missing { .. })));
    }
}

#[test]
fn operations_are_counted_by_outcome() {
    let recorder = Seen::default();
    let seen = recorder.0.clone();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    metrics::with_local_recorder(&recorder, || {
        runtime.block_on(async {
            let directory = tempfile::tempdir().unwrap();
            let disk = DiskStore::open(DiskConfig { path: directory.path().to_owned() }).await.unwrap();
            let store = Metered::new(Arc::new(disk));
            let staged = store.stage_bytes("x".into(), plan()).await.unwrap();
            let key = store.promote(&staged).await.unwrap();
            store.open(&key, None).await.unwrap();
            store.delete(&key).await.unwrap();
            store.open(&key, None).await.unwrap_err();
            let other = Digest::from_bytes([0; 32]);
            let body = stream::iter([Ok(Bytes::from("y"))]).boxed();
            store.stage(body, plan().expecting(other)).await.unwrap_err();
        });
    });
    let seen = seen.lock().unwrap();
    let expected = ["stage ok", "promote ok", "open ok", "delete ok", "open missing", "stage digest_mismatch"];
    let of = |name: &str| -> Vec<String> {
        seen.iter().filter_map(|event| event.strip_prefix(name)?.strip_prefix(' ').map(str::to_owned)).collect()
    };
    assert_eq!(of("publaryn_storage_operations_total"), expected);
    assert_eq!(of("publaryn_storage_operation_seconds"), expected);
}

/// Writes down which instruments were used, with their label values.
#[derive(Default)]
struct Seen(Arc<Mutex<Vec<String>>>);

struct Instrument {
    description: String,
    seen: Arc<Mutex<Vec<String>>>,
}

impl Seen {
    fn instrument(&self, key: &Key) -> Arc<Instrument> {
        let labels: Vec<_> = key.labels().map(|label| label.value()).collect();
        Arc::new(Instrument { description: format!("{} {}", key.name(), labels.join(" ")), seen: self.0.clone() })
    }
}

impl CounterFn for Instrument {
    fn increment(&self, value: u64) {
        assert_eq!(value, 1);
        self.seen.lock().unwrap().push(self.description.clone());
    }
    fn absolute(&self, _: u64) {
        unreachable!("operations are incremented");
    }
}

impl HistogramFn for Instrument {
    fn record(&self, seconds: f64) {
        assert!(seconds > 0.0);
        self.seen.lock().unwrap().push(self.description.clone());
    }
}

impl Recorder for Seen {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(self.instrument(key))
    }
    fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::noop()
    }
    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::from_arc(self.instrument(key))
    }
}

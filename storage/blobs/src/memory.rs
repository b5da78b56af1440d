//! Accounting of the buffers a store holds, so that "constant memory" is a number and not a hope.

use std::{
    ops::Deref,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use bytes::Bytes;

/// Bytes of blob content a store holds in memory right now, and the most it ever did.
///
/// Counts upload blocks until they are written and download chunks until the reader drops them.
#[derive(Debug, Clone, Default)]
pub struct BufferGauge(Arc<Levels>);

#[derive(Debug, Default)]
struct Levels {
    current: AtomicUsize,
    peak: AtomicUsize,
}

impl BufferGauge {
    pub fn current_bytes(&self) -> usize {
        self.0.current.load(Ordering::Relaxed)
    }
    pub fn peak_bytes(&self) -> usize {
        self.0.peak.load(Ordering::Relaxed)
    }

    /// Counts nothing yet; see [`Charge::grow`].
    pub(crate) fn begin(&self) -> Charge {
        Charge { gauge: self.clone(), size: 0 }
    }

    /// Counts `bytes` until the last clone of the returned value is dropped.
    pub(crate) fn lend(&self, bytes: Vec<u8>) -> Bytes {
        let mut charge = self.begin();
        charge.grow(bytes.len());
        Bytes::from_owner(Lent { bytes, _charge: charge })
    }
}

/// A piece of an upload on its way to the store.
#[derive(Debug)]
pub(crate) struct Block {
    bytes: Bytes,
    _charge: Charge,
}

impl Block {
    /// Counts `bytes` with the charge that grew with them, until the block is dropped.
    pub(crate) fn new(bytes: Bytes, charge: Charge) -> Self {
        Self { bytes, _charge: charge }
    }
    /// The content as a shared handle, which the accounting does not follow.
    pub(crate) fn bytes(&self) -> Bytes {
        self.bytes.clone()
    }
}

impl Deref for Block {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

struct Lent {
    bytes: Vec<u8>,
    _charge: Charge,
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// A share of the gauge, given back on drop.
#[derive(Debug)]
pub(crate) struct Charge {
    gauge: BufferGauge,
    size: usize,
}

impl Charge {
    pub(crate) fn grow(&mut self, by: usize) {
        self.size += by;
        let levels = &self.gauge.0;
        let now = levels.current.fetch_add(by, Ordering::Relaxed) + by;
        levels.peak.fetch_max(now, Ordering::Relaxed);
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.gauge.0.current.fetch_sub(self.size, Ordering::Relaxed);
    }
}

//! Accounting of the buffers a store holds, so that "constant memory" is a number and not a hope.

use std::{
    ops::Deref,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use bytes::Bytes;

use crate::disk::BLOCK_BYTES;

/// Bytes of blob content a store holds in memory right now, and the most it ever did.
///
/// Counts upload blocks until they are written and download chunks until the reader drops them.
#[derive(Debug, Clone, Default)]
pub struct BufferGauge(Arc<Levels>);

#[derive(Debug, Default)]
struct Levels {
    current: AtomicUsize,
    peak: AtomicUsize,
    /// Whole blocks of ended reads, for the next ones: a fresh one costs as much as filling it, because the
    /// kernel clears its pages first.
    spare: Mutex<Vec<Vec<u8>>>,
}

/// Blocks kept when nothing is read: 4 MiB at 256 KiB each.
const MAX_SPARE: usize = 16;

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

    /// `size` bytes of any content, to be read into.
    pub(crate) fn block(&self, size: usize) -> Vec<u8> {
        let spare = if size == BLOCK_BYTES { self.spare().pop() } else { None };
        spare.unwrap_or_else(|| vec![0; size])
    }

    fn spare(&self) -> MutexGuard<'_, Vec<Vec<u8>>> {
        // Only pushes and pops happen under the lock: a poisoned list is still whole.
        self.0.spare.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts `bytes` until the last clone of the returned value is dropped.
    pub(crate) fn lend(&self, bytes: Vec<u8>) -> Bytes {
        let mut charge = self.begin();
        charge.grow(bytes.len());
        Bytes::from_owner(Lent { bytes, charge })
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
    charge: Charge,
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let mut spare = self.charge.gauge.spare();
        if self.bytes.len() == BLOCK_BYTES && spare.len() < MAX_SPARE {
            spare.push(std::mem::take(&mut self.bytes));
        }
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

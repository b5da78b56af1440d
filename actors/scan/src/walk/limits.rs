//! The shared budget of one archive and everything nested in it (scanning.md §3a B1).

use super::{ArchiveError, ArchiveRules};

/// The ratio rule starts here: below it, even a perfect bomb is harmless.
pub(super) const RATIO_FROM_BYTES: u64 = 64 << 20;

/// Counts what was actually produced and consumed; declared sizes never enter.
#[derive(Debug)]
pub(super) struct Budget {
    max_entries: u64,
    max_unpacked_bytes: u64,
    max_ratio: u64,
    entries: u64,
    produced_bytes: u64,
    compressed_bytes: u64,
}

impl Budget {
    pub(super) fn new(rules: &ArchiveRules) -> Self {
        Self {
            max_entries: rules.max_entries,
            max_unpacked_bytes: rules.max_unpacked_bytes,
            max_ratio: rules.max_ratio,
            entries: 0,
            produced_bytes: 0,
            compressed_bytes: 0,
        }
    }

    /// Counts one entry.
    pub(super) fn entry(&mut self) -> Result<(), ArchiveError> {
        self.entries += 1;
        if self.entries > self.max_entries {
            return Err(ArchiveError::limit(format!("the archive has more than {} entries", self.max_entries)));
        }
        Ok(())
    }

    /// Counts bytes read from the outermost input.
    pub(super) fn consumed(&mut self, bytes: usize) {
        self.compressed_bytes += bytes as u64;
    }

    /// Counts bytes that came out of a decompressor.
    pub(super) fn produced(&mut self, bytes: usize) -> Result<(), ArchiveError> {
        self.produced_bytes += bytes as u64;
        if self.produced_bytes > self.max_unpacked_bytes {
            return Err(ArchiveError::limit(format!(
                "the archive unpacks to more than {} bytes",
                self.max_unpacked_bytes
            )));
        }
        if self.produced_bytes > RATIO_FROM_BYTES
            && self.produced_bytes > self.compressed_bytes.saturating_mul(self.max_ratio)
        {
            return Err(ArchiveError::limit(format!(
                "the archive unpacks to more than {} times its size",
                self.max_ratio
            )));
        }
        Ok(())
    }

    pub(super) fn compressed_bytes(&self) -> u64 {
        self.compressed_bytes
    }
}

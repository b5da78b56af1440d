//! What is learnt of a distribution file while it streams into the store.

use std::io::{self, Read};

use blake2::{Blake2b, Digest, digest::consts::U32};
use publaryn_scan::ArchiveError;

use crate::{
    archive::{ArchiveLimits, Distribution, exhaust, read_distribution},
    filename::Format,
};

type Blake2b256 = Blake2b<U32>;

/// A file that was read to its end.
pub(crate) struct Inspected {
    /// What is wrong with the content is told after other faults of an upload.
    pub content: Result<Distribution, ArchiveError>,
    /// Lower-case hex.
    pub blake2b_256: String,
}

pub(crate) fn inspect(input: &mut dyn Read, format: Format, limits: ArchiveLimits) -> io::Result<Inspected> {
    let mut hashing = Hashing { input, hash: Blake2b256::new() };
    let content = read_distribution(&mut hashing, format, limits);
    // A refused archive is hashed to its end, too: its digests are compared first.
    exhaust(&mut hashing)?;
    Ok(Inspected { content, blake2b_256: hex::encode(hashing.hash.finalize()) })
}

/// Hashes what is read through it.
struct Hashing<'a> {
    input: &'a mut dyn Read,
    hash: Blake2b256,
}

impl Read for Hashing<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let read = self.input.read(out)?;
        self.hash.update(&out[..read]);
        Ok(read)
    }
}

//! All digests of one byte stream, computed in a single pass.

use md5::Md5;
use publaryn_core::{Digest, Digests};
use sha1::Sha1;
use sha2::{Digest as _, Sha256, Sha512};

use crate::{BlobError, StagePlan};

/// Incremental SHA-256 and SHA-512, plus the weak digests a protocol asked for.
pub(crate) struct Hasher {
    sha256: Sha256,
    sha512: Sha512,
    sha1: Option<Sha1>,
    md5: Option<Md5>,
    size_bytes: u64,
}

impl Hasher {
    pub(crate) fn new(plan: &StagePlan) -> Self {
        Self {
            sha256: Sha256::new(),
            sha512: Sha512::new(),
            sha1: plan.sha1.then(Sha1::new),
            md5: plan.md5.then(Md5::new),
            size_bytes: 0,
        }
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        // One slice through all digests while it is in the cache.
        for slice in bytes.chunks(16 * 1024) {
            self.sha256.update(slice);
            self.sha512.update(slice);
            if let Some(sha1) = &mut self.sha1 {
                sha1.update(slice);
            }
            if let Some(md5) = &mut self.md5 {
                md5.update(slice);
            }
        }
        self.size_bytes += bytes.len() as u64;
    }

    /// The digests and the size in bytes.
    ///
    /// # Errors
    /// [`BlobError::DigestMismatch`] when the plan announced another SHA-256.
    pub(crate) fn finish(self, plan: &StagePlan) -> Result<(Digests, u64), BlobError> {
        let actual = Digest::from_bytes(self.sha256.finalize().into());
        if let Some(expected) = plan.expected_sha256
            && expected != actual
        {
            return Err(BlobError::DigestMismatch { expected, actual });
        }
        let digests = Digests {
            sha256: actual,
            sha512: hex::encode(self.sha512.finalize()),
            sha1: self.sha1.map(|h| hex::encode(h.finalize())),
            md5: self.md5.map(|h| hex::encode(h.finalize())),
        };
        Ok((digests, self.size_bytes))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn known_answers() {
        // FIPS 180-4 / RFC 1321 test vectors for "abc".
        let plan = StagePlan::new(10, "test").with_sha1().with_md5();
        let mut hasher = Hasher::new(&plan);
        hasher.update(b"abc");
        let (digests, size) = hasher.finish(&plan).unwrap();
        assert_eq!(size, 3);
        assert_eq!(digests.sha256.hex(), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert!(digests.sha512.starts_with("ddaf35a193617abacc417349ae204131"));
        assert_eq!(digests.sha1.unwrap(), "a9993e364706816aba3e25717850c26c9cd0d89d");
        assert_eq!(digests.md5.unwrap(), "900150983cd24fb0d6963f7d28e17f72");
    }

    proptest! {
        #[test]
        fn chunking_does_not_change_the_digest(size in 0usize..70_000, seed in any::<u32>(), cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..20)) {
            let data: Vec<u8> = (0..size as u32).map(|i| ((i ^ seed).wrapping_mul(2_654_435_761) >> 24) as u8).collect();
            let plan = StagePlan::new(u64::MAX, "test").with_sha1().with_md5();
            let mut whole = Hasher::new(&plan);
            whole.update(&data);
            let mut cuts: Vec<usize> = cuts.iter().map(|c| c.index(data.len() + 1)).collect();
            cuts.sort_unstable();
            let mut pieces = Hasher::new(&plan);
            let mut from = 0;
            for cut in cuts {
                pieces.update(&data[from..cut]);
                from = cut;
            }
            pieces.update(&data[from..]);
            prop_assert_eq!(whole.finish(&plan).unwrap(), pieces.finish(&plan).unwrap());
        }
    }
}

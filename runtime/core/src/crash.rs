//! Named places on a publish's way at which a test can end the process, as `kill -9` would.
//!
//! All of them are listed here, so that the test which crashes at every one cannot miss a new one.
//! Armed by `debug.crash_at` (refused unless `debug.fault_injection` is on); otherwise passing a
//! place costs one relaxed load of a byte that nobody writes.

use std::{
    fmt,
    str::FromStr,
    sync::atomic::{AtomicU8, AtomicU32, Ordering},
};

text_enum! {
    /// A place to crash at, in the order in which a publish comes by.
    pub enum CrashPoint {
        /// A piece of the upload has arrived and is not in the blob store yet.
        UploadReceived = "upload_received",
        /// The bytes are durable, hashed and inspected, under a temporary name where the store has one.
        UploadStaged = "upload_staged",
        /// The bytes have their final key; no row refers to it.
        UploadPromoted = "upload_promoted",
        /// The publish transaction holds the (perhaps new) package's row.
        PackageLocked = "package_locked",
        /// The publish transaction has written everything but its last audit entry and the COMMIT.
        ReleaseWritten = "release_written",
        /// The release is committed in `scanning`; its publisher waits.
        ReleaseCommitted = "release_committed",
        /// The scan job has its lease and has read nothing.
        ScanStarted = "scan_started",
        /// The scanners are done; nothing of what they said is stored.
        ScanFinished = "scan_finished",
        /// The scan's transaction holds its findings; the release is not decided.
        FindingsStored = "findings_stored",
        /// The scan's transaction has decided the release; not committed.
        ReleaseDecided = "release_decided",
        /// The verdict is committed; the job engine does not know yet.
        ScanCommitted = "scan_committed",
        /// The publisher's answer is known and not sent.
        AnswerReady = "answer_ready",
        /// The index job has its lease and has written nothing.
        IndexStarted = "index_started",
        /// The search index has the package; the database does not know.
        IndexWritten = "index_written",
        /// The database knows that the package is indexed; the job is not completed.
        IndexNoted = "index_noted",
    }
}

/// Where to crash, and at which passing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CrashAt {
    pub point: CrashPoint,
    /// From 1: the passing that does it.
    pub hit: u32,
}

/// As an operator writes it: `release_committed`, or `upload_received:3` for the third passing.
impl FromStr for CrashAt {
    type Err = crate::error::UnknownWord;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (point, hit) = text.split_once(':').unwrap_or((text, "1"));
        let unknown = || Self::Err { what: "CrashAt", word: text.chars().take(64).collect() };
        let hit = hit.parse().ok().filter(|hit| *hit > 0).ok_or_else(unknown)?;
        Ok(Self { point: point.parse()?, hit })
    }
}

impl fmt::Display for CrashAt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.point, self.hit)
    }
}

/// Zero, or one more than the number of the armed point.
static ARMED: AtomicU8 = AtomicU8::new(0);
static PASSINGS_LEFT: AtomicU32 = AtomicU32::new(0);

/// Ends this process when it comes by there. Called once, before any work starts.
pub fn arm(at: CrashAt) {
    PASSINGS_LEFT.store(at.hit, Ordering::SeqCst);
    ARMED.store(at.point as u8 + 1, Ordering::SeqCst);
}

/// Marks the place in the code.
#[inline]
pub fn reached(point: CrashPoint) {
    if ARMED.load(Ordering::Relaxed) == point as u8 + 1 {
        pass();
    }
}

/// No unwinding, no destructors, no flushing: what is not durable now is lost.
#[cold]
fn pass() {
    if PASSINGS_LEFT.fetch_sub(1, Ordering::SeqCst) == 1 {
        std::process::abort();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_written_with_or_without_a_count() {
        let parsed = |text: &str| text.parse::<CrashAt>().map(|at| at.to_string());
        assert_eq!(parsed("scan_started").unwrap(), "scan_started:1");
        assert_eq!(parsed("Upload-Received:3").unwrap(), "upload_received:3");
        for bad in ["", "nowhere", "scan_started:", "scan_started:0", "scan_started:x", "scan_started:1:2"] {
            assert!(parsed(bad).is_err(), "{bad}");
        }
        let numbers: Vec<u8> = CrashPoint::ALL.iter().map(|point| *point as u8 + 1).collect();
        assert!(numbers.iter().all(|n| *n > 0) && numbers.is_sorted());
    }

    #[test]
    fn passing_an_unarmed_place_does_nothing() {
        CrashPoint::ALL.iter().for_each(|point| reached(*point));
    }
}

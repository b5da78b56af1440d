//! Group commit of directory changes: concurrent renames into one directory share an fsync.

use std::{
    fs::File,
    io,
    path::PathBuf,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

/// The gate through which everyone passes who needs a directory's entries on stable storage.
///
/// A caller draws a ticket after its change. Whoever holds the lock syncs on behalf of all tickets
/// drawn before the sync began; they then find their ticket covered and return without a sync.
#[derive(Debug)]
pub(super) struct DirSync {
    path: PathBuf,
    tickets: AtomicU64,
    synced: Mutex<Synced>,
}

#[derive(Debug, Default)]
struct Synced {
    /// Every ticket up to this one has been through an fsync, good or bad.
    upto: u64,
    /// Every ticket from here up to `upto` that shared the last fsync, when that one failed: after a
    /// failed fsync the kernel may report success on the next one although entries were lost.
    failed: Option<(u64, i32)>,
}

impl DirSync {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, tickets: AtomicU64::new(0), synced: Mutex::default() }
    }

    /// Returns once all changes made to the directory before this call are durable. Blocks.
    pub(super) fn sync(&self) -> io::Result<()> {
        let ticket = self.tickets.fetch_add(1, Ordering::AcqRel) + 1;
        let mut synced = self.synced.lock().unwrap_or_else(PoisonError::into_inner);
        if synced.upto < ticket {
            let covers = self.tickets.load(Ordering::Acquire);
            let outcome = File::open(&self.path).and_then(|directory| directory.sync_all());
            let first = synced.upto + 1;
            synced.upto = covers;
            synced.failed = outcome.as_ref().err().map(|e| (first, e.raw_os_error().unwrap_or(EIO)));
            return outcome;
        }
        match synced.failed {
            Some((first, errno)) if ticket >= first => Err(io::Error::from_raw_os_error(errno)),
            _ => Ok(()),
        }
    }
}

/// `EIO`, the same on every Linux and BSD.
const EIO: i32 = 5;

#[cfg(test)]
mod tests {
    use std::{sync::Arc, thread};

    use super::*;

    #[test]
    fn waiting_callers_share_one_sync_and_its_failure() {
        let gate = Arc::new(DirSync::new(PathBuf::from("/nonexistent/publaryn")));
        // The lock plays a sync in progress while four more callers queue up.
        let busy = gate.synced.lock().unwrap();
        let callers: Vec<_> = (0..4)
            .map(|_| {
                let gate = gate.clone();
                thread::spawn(move || gate.sync())
            })
            .collect();
        while gate.tickets.load(Ordering::Acquire) < 4 {
            thread::yield_now();
        }
        drop(busy);
        for caller in callers {
            assert_eq!(caller.join().unwrap().unwrap_err().kind(), io::ErrorKind::NotFound);
        }
        let synced = gate.synced.lock().unwrap();
        assert_eq!((synced.upto, synced.failed.unwrap().0), (4, 1), "one sync covered all four tickets");
    }

    #[test]
    fn a_later_success_serves_later_callers() {
        let directory = tempfile::tempdir().unwrap();
        let gate = DirSync::new(directory.path().join("shard"));
        assert!(gate.sync().is_err());
        std::fs::create_dir(directory.path().join("shard")).unwrap();
        gate.sync().unwrap();
        gate.sync().unwrap();
    }
}

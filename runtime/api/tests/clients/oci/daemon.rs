//! Programs that a client needs running beside it.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};

use super::desk::tools;

/// Starting one takes about a second on a quiet machine.
const START_WITHIN: Duration = Duration::from_secs(60);

/// A program of a test's own; ended when dropped.
pub struct Daemon {
    child: Child,
    /// Short: the path of a socket may have 107 bytes.
    place: tempfile::TempDir,
}

impl Daemon {
    /// Starts it in a folder of its own, and waits until its log says that it is `ready`.
    pub async fn start(ready: &str, command: impl FnOnce(&Path) -> Command) -> Self {
        let _ = tools();
        let place = tempfile::Builder::new().prefix("dk").tempdir_in("/tmp").expect("a scratch directory");
        let log = std::fs::File::create(place.path().join("log")).expect("the scratch directory is writable");
        let mut command = command(place.path());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let child = command.spawn().expect("the daemon starts");
        let daemon = Self { child, place };
        let deadline = tokio::time::Instant::now() + START_WITHIN;
        while !daemon.log().contains(ready) {
            assert!(tokio::time::Instant::now() < deadline, "the daemon did not start:\n{}", daemon.log());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        daemon
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.place.path().join(name)
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.path("log")).unwrap_or_default()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It ends what it started with itself, when it is asked and not killed.
        if let Some(pid) = self.child.id().and_then(|pid| Pid::from_raw(pid as i32)) {
            // Gone already is fine.
            let _ = kill_process(pid, Signal::TERM);
        }
        for _ in 0..200 {
            if self.child.try_wait().is_ok_and(|ended| ended.is_some()) {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        let _ = self.child.start_kill();
    }
}

//! A PostgreSQL server of a test's own, to be stopped and started.

use std::{path::Path, process::Stdio, time::Duration};

use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};

use super::state::eventually;

/// Stopped when dropped.
pub struct Postgres {
    dir: tempfile::TempDir,
    port: u16,
    child: Option<Child>,
}

const STARTS_WITHIN: Duration = Duration::from_secs(30);
const STOPS_WITHIN: Duration = Duration::from_secs(20);

impl Postgres {
    /// Starts one with nothing in it.
    pub async fn start() -> Self {
        let dir = tempfile::tempdir().expect("a scratch directory");
        let free = std::net::TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr());
        let mut postgres = Self { dir, port: free.expect("a free port").port(), child: None };
        let out = postgres.script(&["init"]).output().await.expect("the script runs");
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        postgres.resume().await;
        postgres
    }

    /// `postgres.sh WORDS… DIR`
    fn script(&self, words: &[&str]) -> Command {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../benches/services/postgres.sh");
        let mut command = Command::new("bash");
        command.arg(script).args(words).arg(self.dir.path());
        command
    }

    /// Starts the stopped server on the same data and port.
    pub async fn resume(&mut self) {
        assert!(self.child.is_none(), "it runs");
        let log = std::fs::OpenOptions::new().create(true).append(true).open(self.dir.path().join("test.log"));
        let log = log.expect("the scratch directory is writable");
        let mut command = self.script(&["start", &self.port.to_string()]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        self.child = Some(command.spawn().expect("the script runs"));
        eventually("PostgreSQL answers", STARTS_WITHIN, async || {
            // It listens before it lets anybody in.
            let mut ready = Command::new("pg_isready");
            ready.args(["--quiet", "--host=127.0.0.1", &format!("--port={}", self.port)]);
            ready.status().await.is_ok_and(|status| status.success())
        })
        .await;
    }

    /// Ends every session at once and stops, as an operator's restart does.
    pub async fn stop(&mut self) {
        self.end(Signal::INT).await;
    }

    /// Stops without a last checkpoint, as after a crash.
    pub async fn crash(&mut self) {
        self.end(Signal::QUIT).await;
    }

    async fn end(&mut self, signal: Signal) {
        let mut child = self.child.take().expect("it runs");
        let pid = child.id().and_then(|id| Pid::from_raw(id as i32)).expect("it runs");
        kill_process(pid, signal).expect("it runs");
        tokio::time::timeout(STOPS_WITHIN, child.wait()).await.expect("it stops").expect("a child can be waited for");
    }

    /// The URL of the administrative database.
    pub fn admin_url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/postgres", self.port)
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        let id = self.child.as_ref().and_then(Child::id);
        if let Some(pid) = id.and_then(|id| Pid::from_raw(id as i32)) {
            // Its data goes with it; there is nothing to shut down in order.
            let _ = kill_process(pid, Signal::QUIT);
        }
    }
}

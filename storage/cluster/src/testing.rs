//! A Redis server of a test's own.

use std::{
    net::TcpListener,
    process::{Child, Command, Stdio},
};

use tempfile::TempDir;

/// Killed by its process id when dropped.
pub struct Redis {
    port: u16,
    process: Option<Child>,
    dir: TempDir,
}

impl Redis {
    /// # Panics
    /// When `redis-server` is not installed.
    pub fn start() -> Self {
        let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
        let port = free.expect("loopback has free ports").port();
        let mut redis = Self { port, process: None, dir: TempDir::new().expect("a scratch directory") };
        redis.resume();
        redis
    }
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/3", self.port)
    }
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().expect("a child can be killed");
            process.wait().expect("a child can be waited for");
        }
    }
    /// Starts it again, empty.
    pub fn resume(&mut self) {
        let process = Command::new("redis-server")
            .args(["--port", &self.port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])
            .current_dir(self.dir.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("redis-server is installed");
        self.process = Some(process);
    }
    /// Sends a signal, such as `-STOP`.
    pub fn signal(&self, name: &str) {
        let pid = self.process.as_ref().expect("running").id().to_string();
        assert!(Command::new("kill").args([name, &pid]).status().expect("kill is there").success());
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.kill();
    }
}

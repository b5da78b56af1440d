//! Client programs as they run: what they print, how they end, and that they end at all.

use std::{
    process::Stdio,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncReadExt},
    process::{Child, Command},
    task::JoinHandle,
    time::{Instant, sleep, timeout_at},
};

use crate::process::Ran;

/// No client needs longer, even on a busy machine; one that does fails with what it said until then.
const LONGEST: Duration = Duration::from_secs(120);

/// A client that has been started.
pub struct Running {
    command: String,
    child: Child,
    stdout: Stream,
    stderr: Stream,
    deadline: Instant,
}

impl Running {
    /// Starts a command in a process group of its own, so that what it starts ends with it.
    pub fn start(mut command: Command, shown: String) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0).kill_on_drop(true);
        let mut child = command.spawn().unwrap_or_else(|error| panic!("`{shown}` cannot be started: {error}"));
        let stdout = Stream::of(child.stdout.take().expect("stdout is piped"));
        let stderr = Stream::of(child.stderr.take().expect("stderr is piped"));
        Self { command: shown, child, stdout, stderr, deadline: Instant::now() + LONGEST }
    }

    /// Waits until the client has printed `wanted`; gives the rest of that line.
    pub async fn prints(&mut self, wanted: &str) -> String {
        loop {
            let text = self.text();
            if let Some((_, rest)) = text.split_once(wanted)
                && let Some((line, _)) = rest.split_once('\n')
            {
                return line.trim().to_owned();
            }
            if Instant::now() > self.deadline || self.child.try_wait().is_ok_and(|ended| ended.is_some()) {
                panic!("`{}` never printed `{wanted}`:\n{text}", self.command);
            }
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits for the end.
    pub async fn ended(mut self) -> Ran {
        let ended = timeout_at(self.deadline, async {
            let status = self.child.wait().await.expect("a child that was started can be waited for");
            self.stdout.closed().await;
            self.stderr.closed().await;
            status
        })
        .await;
        let Ok(status) = ended else {
            self.kill().await;
            panic!("`{}` did not end within {LONGEST:?}; it said:\n{}", self.command, self.text());
        };
        Ran::new(status.code(), self.stdout.text(), &self.stderr.text(), self.command)
    }

    fn text(&self) -> String {
        format!("{}\n{}", self.stdout.text(), self.stderr.text())
    }

    /// Ends the client and whatever it started.
    async fn kill(&mut self) {
        if let Some(pid) = self.child.id() {
            let group = format!("-{pid}");
            // It may end by itself this very moment.
            let _ = Command::new("kill").args(["-KILL", "--", &group]).status().await;
        }
    }
}

/// One output of a client, read as it comes.
struct Stream {
    bytes: Arc<Mutex<Vec<u8>>>,
    reader: JoinHandle<()>,
}

impl Stream {
    fn of(mut pipe: impl AsyncRead + Unpin + Send + 'static) -> Self {
        let bytes = Arc::new(Mutex::new(Vec::new()));
        let kept = bytes.clone();
        let reader = tokio::spawn(async move {
            let mut chunk = [0; 8192];
            while let Ok(n @ 1..) = pipe.read(&mut chunk).await {
                kept.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(&chunk[..n]);
            }
        });
        Self { bytes, reader }
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
    }

    async fn closed(&mut self) {
        (&mut self.reader).await.expect("reading a pipe does not panic");
    }
}

//! Child processes of tests: none outlives its time limit, and one that reaches it fails the test with
//! everything it had said so far.

use std::{
    process::{ExitStatus, Stdio},
    sync::{Arc, Mutex},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt},
    process::Command,
    task::JoinHandle,
    time::timeout,
};

/// How a command ended, and what it said.
#[derive(Debug)]
pub struct Ended {
    pub status: ExitStatus,
    pub out: String,
    pub err: String,
}

impl Ended {
    /// What a client said, for a person to judge.
    pub fn said(self, shown: &str) -> Said {
        Said { shown: shown.to_owned(), ok: self.status.success(), out: self.out, err: self.err }
    }
}

/// What one run of a client said.
#[derive(Debug)]
pub struct Said {
    shown: String,
    pub ok: bool,
    pub out: String,
    pub err: String,
}

impl Said {
    #[track_caller]
    pub fn succeeds(self) -> Self {
        assert!(self.ok, "`{}` failed:\n{}\n{}", self.shown, self.out, self.err);
        self
    }
    #[track_caller]
    pub fn fails_with(self, text: &str) -> Self {
        assert!(!self.ok, "`{}` succeeded:\n{}\n{}", self.shown, self.out, self.err);
        self.says(text)
    }
    #[track_caller]
    pub fn says(self, text: &str) -> Self {
        assert!(self.has(text), "`{}`: no `{text}` in:\n{}\n{}", self.shown, self.out, self.err);
        self
    }
    #[track_caller]
    pub fn never_says(self, text: &str) -> Self {
        assert!(!self.has(text), "`{}`: `{text}` in:\n{}\n{}", self.shown, self.out, self.err);
        self
    }
    fn has(&self, text: &str) -> bool {
        self.err.contains(text) || self.out.contains(text)
    }
}

/// After the end of a process: grandchildren may still hold its pipes.
const LAST_WORDS_WITHIN: Duration = Duration::from_secs(5);

/// Runs a command with this input. `shown` names it in failures.
///
/// # Panics
/// When it cannot be started, or has not ended within `limit`; it and its descendants are killed then.
pub async fn run(mut command: Command, shown: &str, input: &str, limit: Duration) -> Ended {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    // A group of its own, so that compilers and other grandchildren die with it.
    command.process_group(0).kill_on_drop(true);
    let mut child = command.spawn().unwrap_or_else(|error| panic!("`{shown}` cannot be started: {error}"));
    let group = child.id().and_then(|id| Pid::from_raw(id as i32)).expect("a child just started has an id");
    let (out, reading_out) = collect(child.stdout.take().expect("piped"));
    let (err, reading_err) = collect(child.stderr.take().expect("piped"));
    let mut stdin = child.stdin.take().expect("piped");
    let input = input.as_bytes().to_vec();
    let writing = tokio::spawn(async move {
        // A program that reads nothing closes its end.
        let _ = stdin.write_all(&input).await;
    });
    let ended = timeout(limit, child.wait()).await;
    if ended.is_err() {
        // Gone already means that it ended this very moment.
        let _ = kill_process_group(group, Signal::KILL);
    }
    writing.abort();
    let _ = timeout(LAST_WORDS_WITHIN, async { (reading_out.await, reading_err.await) }).await;
    let text = |bytes: &Mutex<Vec<u8>>| String::from_utf8_lossy(&bytes.lock().unwrap()).into_owned();
    let (out, err) = (text(&out), text(&err));
    match ended {
        Ok(status) => Ended { status: status.expect("a child can be waited for"), out, err },
        Err(_) => panic!("`{shown}` did not end within {limit:?}:\n{out}\n{err}"),
    }
}

fn collect(mut from: impl AsyncRead + Unpin + Send + 'static) -> (Arc<Mutex<Vec<u8>>>, JoinHandle<()>) {
    let collected: Arc<Mutex<Vec<u8>>> = Arc::default();
    let into = collected.clone();
    let reading = tokio::spawn(async move {
        let mut block = [0; 8192];
        while let Ok(n @ 1..) = from.read(&mut block).await {
            into.lock().unwrap().extend_from_slice(&block[..n]);
        }
    });
    (collected, reading)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_command_that_hangs_fails_with_what_it_said() {
        let mut command = Command::new("sh");
        // The grandchild keeps the pipes open; it must die too.
        command.args(["-c", "echo before; sleep 1000 & wait"]);
        let task = tokio::spawn(async { run(command, "hang", "", Duration::from_millis(500)).await });
        let panic = task.await.expect_err("it hangs").into_panic();
        let text = panic.downcast_ref::<String>().expect("a message");
        assert!(text.contains("did not end within") && text.contains("before"), "{text}");
    }
}

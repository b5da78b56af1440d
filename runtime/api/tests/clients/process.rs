//! Child processes of tests: none outlives its time limit, and one that reaches it fails the test with
//! everything it had said so far.

use std::{
    fmt,
    process::{ExitStatus, Stdio},
    sync::{Arc, Mutex},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::Value;
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

    pub fn ran(self, shown: String) -> Ran {
        Ran::new(self.status.code(), self.out, &self.err, shown)
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
    pub fn has(&self, text: &str) -> bool {
        self.err.contains(text) || self.out.contains(text)
    }
}

/// How a client of a test's [desk](crate::pypi::Desk) ended, to be judged in a chain.
pub struct Ran {
    pub code: Option<i32>,
    /// Standard output, then standard error.
    pub text: String,
    pub stdout: String,
    command: String,
}

impl fmt::Debug for Ran {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` ended with {:?}:\n{}", self.command, self.code, self.text)
    }
}

impl Ran {
    pub fn new(code: Option<i32>, stdout: String, stderr: &str, command: String) -> Self {
        Self { code, text: format!("{stdout}\n{stderr}"), stdout, command }
    }
    #[track_caller]
    pub fn ok(self) -> Self {
        self.ends_with(0)
    }
    #[track_caller]
    pub fn ends_with(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{self:?}");
        self
    }
    #[track_caller]
    pub fn fails(self) -> Self {
        assert_ne!(self.code, Some(0), "{self:?}");
        self
    }
    #[track_caller]
    pub fn says(self, wanted: &str) -> Self {
        assert!(flowing(&self.text).contains(&flowing(wanted)), "no `{wanted}` in {self:?}");
        self
    }
    #[track_caller]
    pub fn never_says(self, unwanted: &str) -> Self {
        assert!(!flowing(&self.text).contains(&flowing(unwanted)), "`{unwanted}` in {self:?}");
        self
    }
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("no JSON ({error}) in {self:?}"))
    }
}

/// A text in lower case, without the frames and line breaks that some clients put into it.
fn flowing(text: &str) -> String {
    let words = text.split(|c: char| c.is_whitespace() || c == '│').filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join(" ").to_lowercase()
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

/// The same program and arguments at a terminal, where each prompt is answered as soon as it shows:
/// `("Username:", "ada")`. Its surroundings are to be set anew.
pub fn at_terminal(program: &Command, answers: &[(&str, &str)]) -> Command {
    let program = program.as_std();
    let mut command = Command::new("python3");
    command.args(["-c", TERMINAL]).arg(answers.len().to_string());
    for (prompt, answer) in answers {
        command.args([prompt, answer]);
    }
    command.arg(program.get_program()).args(program.get_args());
    command
}

/// Runs a program on a pseudo-terminal and types an answer whenever the next prompt has appeared.
/// Arguments: how many answers, then prompt and answer each, then the program and its arguments.
const TERMINAL: &str = r#"
import os, pty, sys, time
count = int(sys.argv[1])
words = sys.argv[2 : 2 + 2 * count]
pending = list(zip(words[::2], words[1::2]))
program = sys.argv[2 + 2 * count :]
pid, fd = pty.fork()
if pid == 0:
    os.execvp(program[0], program)
unread = b""
while True:
    try:
        data = os.read(fd, 65536)
    except OSError:
        break
    if not data:
        break
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()
    unread += data
    while pending and pending[0][0].encode() in unread:
        prompt, answer = pending.pop(0)
        unread = unread.split(prompt.encode(), 1)[1]
        # A program that has just prompted may still be switching the terminal over.
        time.sleep(0.15)
        os.write(fd, answer.encode() + b"\r")
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"#;

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

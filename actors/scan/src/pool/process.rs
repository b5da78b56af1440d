//! The parent's side of one scanner process: start, one job at a time, and what its end meant.

use std::{
    io,
    os::unix::process::ExitStatusExt,
    path::Path,
    process::{ExitStatus, Stdio},
    time::Duration,
};

use bytes::Bytes;
use futures::{Stream, StreamExt};
use publaryn_core::BoxError;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    process::{Child, ChildStderr, ChildStdin, ChildStdout, Command},
    task::JoinHandle,
    time::timeout,
};

use super::{ScanFailure, ScanLimits};
use crate::{
    run::ScanReport,
    scanner::ScanJob,
    wire::{self, ABORT, Answer, END, Hello, MAX_ANSWER_BYTES, MAX_CHUNK_BYTES, MAX_JOB_BYTES, Setup},
};

/// A process start takes milliseconds; this is for a machine in deep trouble.
const START_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a process may take to end by itself, after its pipes closed or its stdin did.
const EXIT_GRACE: Duration = Duration::from_secs(2);
/// The last bytes of stderr, kept to explain a crash.
const LAST_WORDS_BYTES: usize = 1024;

/// A warm process that waits for a job. Dropping it kills it.
pub(super) struct Process {
    child: Child,
    stdin: ChildStdin,
    stdout: ChildStdout,
    stderr: JoinHandle<String>,
    ruleset: String,
    timeout: Duration,
    served: u32,
    /// False while a job is under way and after anything that leaves the pipes in an unknown position.
    is_in_step: bool,
}

impl Process {
    pub(super) async fn start(exe: &Path, limits: &ScanLimits) -> Result<Self, ScanFailure> {
        let mut command = Command::new(exe);
        // The environment may hold secrets; hostile bytes are parsed in there.
        command.arg("scan-worker").env_clear().env("TMPDIR", std::env::temp_dir()).current_dir("/");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().map_err(ScanFailure::Unavailable)?;
        let pid = child.id();
        let (Some(stdin), Some(stdout), Some(stderr)) = (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            return Err(ScanFailure::Protocol("a pipe is missing"));
        };
        let stderr = tokio::spawn(forward(stderr, pid));
        let ruleset = String::new();
        let mut process =
            Self { child, stdin, stdout, stderr, ruleset, timeout: limits.timeout, served: 0, is_in_step: false };
        let setup = Setup { memory_bytes: limits.memory_bytes, cpu_seconds: limits.cpu_seconds };
        let setup = wire::encode(&setup).map_err(ScanFailure::Unavailable)?;
        let greeting = timeout(START_TIMEOUT, async {
            process.stdin.write_all(&setup).await?;
            process.document::<Hello>(MAX_JOB_BYTES).await
        });
        match greeting.await {
            Ok(Ok(hello)) => {
                process.ruleset = hello.ruleset;
                process.is_in_step = true;
                tracing::debug!(pid, "scanner process started");
                Ok(process)
            }
            Ok(Err(_)) => Err(process.autopsy().await),
            Err(_) => Err(ScanFailure::Unavailable(io::ErrorKind::TimedOut.into())),
        }
    }

    pub(super) fn ruleset(&self) -> &str {
        &self.ruleset
    }

    pub(super) fn served(&self) -> u32 {
        self.served
    }

    pub(super) fn is_reusable(&self) -> bool {
        self.is_in_step
    }

    pub(super) fn is_alive(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Sends one artifact and waits for the verdict.
    pub(super) async fn scan(
        &mut self,
        job: &ScanJob,
        bytes: impl Stream<Item = Result<Bytes, BoxError>> + Send + Unpin,
    ) -> Result<ScanReport, ScanFailure> {
        self.is_in_step = false;
        self.served += 1;
        let header = wire::encode(job).map_err(|e| ScanFailure::Input(e.into()))?;
        if header.len() > MAX_JOB_BYTES as usize {
            self.is_in_step = true;
            return Err(ScanFailure::Input("the release metadata is too large to scan".into()));
        }
        if let Err(trouble) = self.send(&header, bytes).await {
            return Err(self.explain(trouble).await);
        }
        let answer = match timeout(self.timeout, self.document::<Answer>(MAX_ANSWER_BYTES)).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(trouble)) => return Err(self.explain(Trouble::Pipe(trouble)).await),
            Err(_) => return Err(self.explain(Trouble::Slow).await),
        };
        self.is_in_step = true;
        match answer {
            Answer::Report(report) => Ok(report),
            Answer::Fault(fault) => Err(ScanFailure::Scanner(fault)),
            Answer::WrongBytes => Err(ScanFailure::WrongBytes),
            Answer::Spool(message) => Err(ScanFailure::Spool(message)),
        }
    }

    /// Lets an idle process end by itself, then makes sure.
    pub(super) async fn stop(mut self) {
        drop(self.stdin);
        if !self.is_in_step || timeout(EXIT_GRACE, self.child.wait()).await.is_err() {
            kill(&mut self.child).await;
        }
    }

    async fn send(
        &mut self,
        header: &[u8],
        mut bytes: impl Stream<Item = Result<Bytes, BoxError>> + Send + Unpin,
    ) -> Result<(), Trouble> {
        self.write(header).await?;
        loop {
            let next = timeout(self.timeout, bytes.next()).await;
            match next {
                Ok(None) => return self.write(&END.to_be_bytes()).await,
                Ok(Some(Ok(chunk))) => {
                    for part in chunk.chunks(MAX_CHUNK_BYTES) {
                        self.write(&(part.len() as u32).to_be_bytes()).await?;
                        self.write(part).await?;
                    }
                }
                Ok(Some(Err(cause))) => return self.abort(cause).await,
                Err(_) => return self.abort("the artifact stalled".into()).await,
            }
        }
    }

    /// Tells the child to forget the job, because the bytes failed and not the child.
    async fn abort(&mut self, cause: BoxError) -> Result<(), Trouble> {
        self.write(&ABORT.to_be_bytes()).await?;
        self.is_in_step = true;
        Err(Trouble::Input(cause))
    }

    async fn write(&mut self, bytes: &[u8]) -> Result<(), Trouble> {
        match timeout(self.timeout, self.stdin.write_all(bytes)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(Trouble::Pipe(error)),
            Err(_) => Err(Trouble::Slow),
        }
    }

    async fn document<T: serde::de::DeserializeOwned>(&mut self, max: u32) -> io::Result<T> {
        let length = self.stdout.read_u32().await?;
        if length > max {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let mut body = vec![0; length as usize];
        self.stdout.read_exact(&mut body).await?;
        Ok(serde_json::from_slice(&body)?)
    }

    async fn explain(&mut self, trouble: Trouble) -> ScanFailure {
        match trouble {
            Trouble::Input(cause) => ScanFailure::Input(cause),
            Trouble::Slow => {
                kill(&mut self.child).await;
                ScanFailure::TimedOut
            }
            Trouble::Pipe(error) if error.kind() == io::ErrorKind::InvalidData => {
                kill(&mut self.child).await;
                ScanFailure::Protocol("an answer is too long or malformed")
            }
            Trouble::Pipe(_) => self.autopsy().await,
        }
    }

    /// The process closed its pipes: waits for its end and reads from it what happened.
    async fn autopsy(&mut self) -> ScanFailure {
        let status = match timeout(EXIT_GRACE, self.child.wait()).await {
            Ok(Ok(status)) => status,
            Ok(Err(error)) => return ScanFailure::Unavailable(error),
            Err(_) => {
                kill(&mut self.child).await;
                return ScanFailure::Protocol("the process closed its pipes and went on");
            }
        };
        let last_words = match timeout(EXIT_GRACE, &mut self.stderr).await {
            Ok(Ok(text)) => text,
            Ok(Err(_)) | Err(_) => String::new(),
        };
        verdict(status, &last_words)
    }
}

/// What went wrong on the way to an answer.
enum Trouble {
    Input(BoxError),
    Slow,
    Pipe(io::Error),
}

fn verdict(status: ExitStatus, last_words: &str) -> ScanFailure {
    const SIGXCPU: i32 = 24;
    if status.signal() == Some(SIGXCPU) {
        return ScanFailure::CpuLimit;
    }
    // The Rust runtime's own sentence before it aborts.
    if last_words.contains("memory allocation of") {
        return ScanFailure::OutOfMemory;
    }
    let reason = last_words.lines().rev().find(|line| line.contains("panicked")).unwrap_or_default();
    let reason: String = reason.chars().filter(|c| !c.is_control()).take(200).collect();
    ScanFailure::Crashed(if reason.is_empty() { status.to_string() } else { format!("{status}, {reason}") })
}

async fn kill(child: &mut Child) {
    if let Err(error) = child.kill().await {
        tracing::error!(pid = child.id(), %error, "a scanner process could not be killed");
    }
}

/// Copies what a child says to the log, and returns the end of it.
async fn forward(mut stderr: ChildStderr, pid: Option<u32>) -> String {
    let mut last_words = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        let read = match stderr.read(&mut chunk).await {
            Ok(0) | Err(_) => break,
            Ok(read) => read,
        };
        // Debug-formatted: a panic message may quote hostile bytes.
        tracing::warn!(pid, text = ?String::from_utf8_lossy(&chunk[..read]), "scanner process wrote to stderr");
        last_words.extend_from_slice(&chunk[..read]);
        let excess = last_words.len().saturating_sub(LAST_WORDS_BYTES);
        last_words.drain(..excess);
    }
    String::from_utf8_lossy(&last_words).into_owned()
}

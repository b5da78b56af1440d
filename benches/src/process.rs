//! Child processes: started with a log of their own, stopped by id, and how much memory they hold.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};

use crate::Error;

/// A server of ours. Dropping it kills it.
pub(crate) struct Process {
    child: Child,
    log: PathBuf,
}

/// After this long a server that was asked to stop is killed.
const STOP_WITHIN: Duration = Duration::from_secs(30);

impl Process {
    /// Starts `command` with its output in `log`.
    pub(crate) fn start(mut command: Command, log: PathBuf) -> Result<Self, Error> {
        let output = fs::OpenOptions::new().create(true).append(true).open(&log)?;
        command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output).kill_on_drop(true);
        let child = command.spawn().map_err(|error| format!("{:?}: {error}", command.as_std().get_program()))?;
        Ok(Self { child, log })
    }

    pub(crate) fn pid(&self) -> Result<u32, Error> {
        self.child.id().ok_or_else(|| "the process has ended".into())
    }

    /// Waits until `url` answers 200; how long that took since the call.
    pub(crate) async fn wait_for(&mut self, url: &str, within: Duration) -> Result<Duration, Error> {
        let began = Instant::now();
        let client = crate::http::client()?;
        loop {
            if let Ok(response) = client.get(url).send().await
                && response.status().is_success()
            {
                return Ok(began.elapsed());
            }
            if let Some(status) = self.child.try_wait()? {
                return Err(format!("ended at start with {status}; {}", self.last_words()).into());
            }
            if began.elapsed() > within {
                return Err(format!("{url} did not answer in time; {}", self.last_words()).into());
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// Asks it to stop (SIGTERM) and waits.
    pub(crate) async fn stop(mut self) -> Result<(), Error> {
        if let Some(pid) = self.child.id().and_then(|pid| Pid::from_raw(pid as i32)) {
            kill_process(pid, Signal::TERM)?;
        }
        match tokio::time::timeout(STOP_WITHIN, self.child.wait()).await {
            Ok(ended) => drop(ended?),
            Err(_) => self.child.kill().await?,
        }
        Ok(())
    }

    fn last_words(&self) -> String {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        let tail: Vec<&str> = text.lines().rev().take(10).collect();
        format!("its last words ({}):\n{}", self.log.display(), tail.into_iter().rev().collect::<Vec<_>>().join("\n"))
    }
}

/// Memory of a process and its children, in bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Memory {
    /// Resident set of the process itself.
    pub own_rss: u64,
    /// Proportional set of the process and its children: pages they share count once.
    pub tree_pss: u64,
}

pub(crate) fn memory(pid: u32) -> Result<Memory, Error> {
    let own_rss = kib_line(&format!("/proc/{pid}/status"), "VmRSS:")?;
    let mut tree_pss = 0;
    for member in tree(pid) {
        tree_pss += kib_line(&format!("/proc/{member}/smaps_rollup"), "Pss:").unwrap_or(0);
    }
    Ok(Memory { own_rss, tree_pss })
}

/// The largest resident set of the process since the last [`forget_peak`], in bytes.
pub(crate) fn peak_rss(pid: u32) -> Result<u64, Error> {
    kib_line(&format!("/proc/{pid}/status"), "VmHWM:")
}

/// Makes [`peak_rss`] start again from now (proc(5), `clear_refs`).
pub(crate) fn forget_peak(pid: u32) -> Result<(), Error> {
    Ok(fs::write(format!("/proc/{pid}/clear_refs"), "5")?)
}

fn tree(pid: u32) -> Vec<u32> {
    let mut all = vec![pid];
    let mut next = 0;
    while next < all.len() {
        let of = all[next];
        next += 1;
        for thread in fs::read_dir(format!("/proc/{of}/task")).into_iter().flatten().flatten() {
            let children = fs::read_to_string(thread.path().join("children")).unwrap_or_default();
            all.extend(children.split_whitespace().filter_map(|id| id.parse::<u32>().ok()));
        }
    }
    all
}

fn kib_line(path: &str, name: &str) -> Result<u64, Error> {
    let text = fs::read_to_string(path)?;
    let line = text.lines().find_map(|line| line.strip_prefix(name)).ok_or_else(|| format!("{path} has no {name}"))?;
    let kib: u64 = line.trim().trim_end_matches("kB").trim().parse()?;
    Ok(kib * 1024)
}

/// A port that was free a moment ago.
pub(crate) fn free_port() -> Result<u16, Error> {
    Ok(std::net::TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}

pub(crate) fn let_others_read(dir: &Path) -> Result<(), Error> {
    use std::os::unix::fs::PermissionsExt;
    Ok(fs::set_permissions(dir, fs::Permissions::from_mode(0o755))?)
}

/// Runs a command to its end; its standard output.
pub(crate) async fn output(command: &mut Command) -> Result<String, Error> {
    let done = command.stdin(Stdio::null()).output().await?;
    if !done.status.success() {
        let program = command.as_std().get_program().to_owned();
        return Err(format!("{program:?}: {}: {}", done.status, String::from_utf8_lossy(&done.stderr)).into());
    }
    Ok(String::from_utf8(done.stdout)?)
}

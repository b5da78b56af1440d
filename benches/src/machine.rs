//! On what, when and of what a measurement was made.

use std::{fs, process::Command, time::Duration};

use serde::{Deserialize, Serialize};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use crate::Plan;

/// What a number means nothing without.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Circumstances {
    /// RFC 3339, UTC.
    pub measured_at: String,
    pub took_seconds: u64,
    pub commit: String,
    pub processor: String,
    pub cores: usize,
    pub memory_gib: u64,
    pub kernel: String,
    pub nginx: String,
    pub wrk: String,
    pub verdaccio: String,
    #[serde(default)]
    pub distribution: String,
    #[serde(default)]
    pub python: String,
    pub node: String,
    pub rounds: u32,
    pub turn_seconds: u64,
}

pub(crate) fn describe(plan: &Plan, took: Duration) -> Circumstances {
    let installed =
        |tool: &str| fs::read_to_string(plan.tools.join(tool).join(".installed")).unwrap_or_default().trim().to_owned();
    let now = OffsetDateTime::now_utc().replace_nanosecond(0).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    Circumstances {
        measured_at: now.format(&Rfc3339).unwrap_or_default(),
        took_seconds: took.as_secs(),
        commit: first_line("git", &["describe", "--always", "--dirty", "--exclude=*"]),
        processor: field("/proc/cpuinfo", "model name").trim_start_matches([' ', ':']).to_owned(),
        cores: std::thread::available_parallelism().map_or(1, Into::into),
        memory_gib: field("/proc/meminfo", "MemTotal:")
            .split_whitespace()
            .next()
            .and_then(|kib| kib.parse::<u64>().ok())
            .map_or(0, |kib| kib.div_ceil(1 << 20)),
        kernel: first_line("uname", &["-sr"]),
        nginx: first_line("nginx", &["-v"]),
        wrk: first_line("wrk", &["-v"]),
        verdaccio: installed("verdaccio"),
        distribution: first_line("docker-registry", &["--version"]),
        python: installed("python"),
        node: first_line("node", &["--version"]),
        rounds: plan.rounds,
        turn_seconds: plan.turn.as_secs(),
    }
}

/// The first line a program prints, on whichever stream: several print their version as an error.
fn first_line(program: &str, arguments: &[&str]) -> String {
    let Ok(done) = Command::new(program).args(arguments).output() else { return "unknown".to_owned() };
    let text = [done.stdout, done.stderr].concat();
    String::from_utf8_lossy(&text).lines().next().unwrap_or_default().trim().to_owned()
}

fn field(path: &str, name: &str) -> String {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default().trim().to_owned()
}

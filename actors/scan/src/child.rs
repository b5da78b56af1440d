//! The child side of the pool: a single-threaded process that limits itself, then scans what comes on stdin.

use std::{
    io::{self, BufReader, Read, Write},
    process::ExitCode,
};

use rustix::process::{Resource, Rlimit, setrlimit};

use crate::{
    run::{ScannerFault, Scanners, ruleset, run},
    scanner::{ScanJob, Scanner},
    spool::Spool,
    wire::{self, ABORT, Answer, END, Hello, MAX_ANSWER_BYTES, MAX_CHUNK_BYTES, MAX_JOB_BYTES, Setup},
};

/// Open files a scanner needs: three pipes, a spool file, and some to spare.
const MAX_OPEN_FILES: u64 = 32;

/// Runs the hidden `scan-worker` subcommand until stdin closes.
///
/// Call it before any other thread exists: the CPU limit counts the main thread, and a panic must end the process.
/// Nothing but frames is written to stdout; stderr ends up in the parent's log.
pub fn main(scanners: Scanners) -> ExitCode {
    let input = BufReader::with_capacity(64 << 10, io::stdin().lock());
    match serve(&scanners, input, io::stdout().lock()) {
        Ok(()) => ExitCode::SUCCESS,
        // The parent went away in the middle of something; nobody is left to tell.
        Err(e) if e.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("scan worker stops: {e}");
            ExitCode::FAILURE
        }
    }
}

fn serve(scanners: &[Box<dyn Scanner>], mut input: impl Read, mut output: impl Write) -> io::Result<()> {
    let Some(setup) = wire::read_document::<Setup>(&mut input, MAX_JOB_BYTES)? else { return Ok(()) };
    limit(Resource::As, setup.memory_bytes, Some(setup.memory_bytes))?;
    limit(Resource::Nofile, MAX_OPEN_FILES, Some(MAX_OPEN_FILES))?;
    limit(Resource::Core, 0, Some(0))?;
    wire::write_document(&mut output, &Hello { ruleset: ruleset(scanners) })?;
    while let Some(job) = wire::read_document::<ScanJob>(&mut input, MAX_JOB_BYTES)? {
        if let Some(used) = cpu_seconds_used() {
            // Counts the whole life of the process; beyond it comes SIGXCPU.
            limit(Resource::Cpu, used + 1 + setup.cpu_seconds, None)?;
        }
        match answer(scanners, &job, &mut input)? {
            Some(answer) => send(&answer, &mut output)?,
            None => continue,
        }
    }
    Ok(())
}

/// Takes in the artifact and scans it; `None` if the parent aborted the job.
fn answer(scanners: &[Box<dyn Scanner>], job: &ScanJob, input: &mut impl Read) -> io::Result<Option<Answer>> {
    let mut spool = Spool::new();
    let mut trouble = None;
    let mut chunk = vec![0; MAX_CHUNK_BYTES];
    loop {
        match wire::read_length(input)?.ok_or(io::ErrorKind::BrokenPipe)? {
            END => break,
            ABORT => return Ok(None),
            length if length as usize > MAX_CHUNK_BYTES => return Err(io::Error::other("a data frame is too long")),
            length => {
                let data = &mut chunk[..length as usize];
                input.read_exact(data)?;
                // What is too much or cannot be held is still read, so that the next job starts in step.
                if trouble.is_none() && spool.size_bytes() + u64::from(length) > job.artifact.size_bytes {
                    trouble = Some(Answer::WrongBytes);
                } else if trouble.is_none() {
                    trouble = spool.push(data).err().map(|e| Answer::Spool(e.to_string()));
                }
            }
        }
    }
    drop(chunk);
    if trouble.is_some() {
        return Ok(trouble);
    }
    Ok(Some(match spool.finish(&job.artifact) {
        None => Answer::WrongBytes,
        Some(input) => match run(scanners, job, &input) {
            Ok(report) => Answer::Report(report),
            Err(fault) => Answer::Fault(fault),
        },
    }))
}

fn send(answer: &Answer, output: &mut impl Write) -> io::Result<()> {
    let mut frame = wire::encode(answer)?;
    if frame.len() > MAX_ANSWER_BYTES as usize {
        let message = format!("the findings take more than {MAX_ANSWER_BYTES} bytes");
        frame = wire::encode(&Answer::Fault(ScannerFault { scanner: "all".to_owned(), message }))?;
    }
    output.write_all(&frame)?;
    output.flush()
}

fn limit(resource: Resource, current: u64, maximum: Option<u64>) -> io::Result<()> {
    // An inherited hard limit may be lower than ours; it stays.
    let inherited = rustix::process::getrlimit(resource).maximum;
    let lower = |wanted: u64| inherited.map_or(wanted, |hard| hard.min(wanted));
    Ok(setrlimit(resource, Rlimit { current: Some(lower(current)), maximum: maximum.map(lower).or(inherited) })?)
}

/// CPU time of the main thread so far, from the kernel's own account. `None` without procfs: then the parent's
/// watchdog alone bounds the job.
fn cpu_seconds_used() -> Option<u64> {
    let account = std::fs::read_to_string("/proc/self/schedstat").ok()?;
    let nanoseconds: u64 = account.split_ascii_whitespace().next()?.parse().ok()?;
    Some(nanoseconds / 1_000_000_000)
}

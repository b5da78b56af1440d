//! The pool against real child processes: this executable, started as `scan-worker`, is the child.

use std::{
    process::ExitCode,
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures::{FutureExt, stream};
use publaryn_core::{
    ArtifactId, ArtifactKind, Digest, Ecosystem,
    finding::{Category, Severity},
};
use publaryn_scan::{
    ArchiveRules, Findings, RootRule, ScanArtifact, ScanError, ScanFailure, ScanInput, ScanJob, ScanLimits, ScanMode,
    Scanner, ScannerPool, Scanners, corpus, walk_targz,
};
use sha2::{Digest as _, Sha256};

/// Does what the package name of the job says, after walking the archive.
struct Actor;

impl Scanner for Actor {
    fn id(&self) -> &'static str {
        "actor"
    }
    fn version(&self) -> u32 {
        3
    }
    fn applies(&self, _: &ScanJob) -> bool {
        true
    }
    fn scan(&self, job: &ScanJob, input: &dyn ScanInput, out: &mut Findings) -> Result<(), ScanError> {
        match job.package.as_str() {
            "panic" => panic!("a parser met its end"),
            "exit" => std::process::exit(3),
            "sleep" => std::thread::sleep(Duration::from_secs(600)),
            "spin" => loop {
                std::hint::spin_loop();
            },
            "memory" => {
                let mut hoard = Vec::new();
                for _ in 0..1024 {
                    hoard.push(vec![1_u8; 1 << 20]);
                }
                assert!(hoard.len() > 2048, "the memory limit does not hold");
            }
            "fault" => return Err(ScanError::Io(std::io::Error::other("no"))),
            "pid" => out.add("PID", Category::License, Severity::Info, std::process::id().to_string(), ""),
            "environment" => {
                let names = std::env::vars().map(|(name, _)| name).collect::<Vec<_>>().join(",");
                out.add("ENV", Category::License, Severity::Info, names, "");
            }
            "size" => {
                let mut reader = input.open()?;
                let size = std::io::copy(&mut reader, &mut std::io::sink())?;
                out.add("SIZE", Category::License, Severity::Info, size.to_string(), "");
            }
            _ => {
                let summary = walk_targz(input.open()?, &ArchiveRules::new(RootRule::Single), &mut |_| Ok(()))?;
                out.extend(summary.notes);
            }
        }
        Ok(())
    }
}

fn scanners() -> Scanners {
    vec![Box::new(Actor)]
}

fn job(package: &str, bytes: &[u8]) -> ScanJob {
    ScanJob {
        ecosystem: Ecosystem::Npm,
        package: package.into(),
        version: "1.0.0".into(),
        artifact: ScanArtifact {
            id: ArtifactId::new(),
            kind: ArtifactKind::Tarball,
            filename: "a.tgz".into(),
            sha256: Digest::from_bytes(Sha256::digest(bytes).into()),
            size_bytes: bytes.len() as u64,
        },
        metadata: serde_json::json!({"name": package}),
    }
}

fn pool(workers: usize, limits: ScanLimits) -> ScannerPool {
    ScannerPool::new(ScanMode::Child { exe: std::env::current_exe().unwrap(), workers }, limits)
}

/// Scans `bytes`, sent in pieces.
async fn scan(pool: &ScannerPool, package: &str, bytes: &[u8]) -> Result<Vec<(String, String)>, ScanFailure> {
    let pieces: Vec<Result<Bytes, std::io::Error>> =
        bytes.chunks(10_000).map(|c| Ok(Bytes::copy_from_slice(c))).collect();
    let report = pool.scan(job(package, bytes), stream::iter(pieces)).await?;
    Ok(report.findings.into_iter().map(|f| (f.rule_id, f.title)).collect())
}

async fn pid(pool: &ScannerPool) -> u32 {
    scan(pool, "pid", b"").await.unwrap()[0].1.parse().unwrap()
}

fn package() -> Vec<u8> {
    corpus::targz(&[("package/package.json", b"{}")])
}

async fn good_and_bad_archives_are_told_apart() {
    let pool = pool(1, ScanLimits::default());
    assert_eq!(scan(&pool, "x", &package()).await.unwrap(), []);
    let link = corpus::tar(&[]).special(b'2', "package/l", "/etc/passwd").targz();
    assert_eq!(scan(&pool, "x", &link).await.unwrap()[0].0, "ARC-L");
    let report =
        pool.scan(job("x", &package()), stream::iter([Ok::<_, std::io::Error>(package().into())])).await.unwrap();
    assert_eq!(report.ruleset, pool.ruleset().await.unwrap());
    assert_eq!(report.ruleset, publaryn_scan::run::ruleset(&scanners()));
    assert_eq!((report.runs[0].scanner.as_str(), report.runs[0].version), ("actor", 3));
}

async fn one_process_serves_many_jobs_and_is_then_recycled() {
    let pool = pool(1, ScanLimits { recycle_after: 3, ..ScanLimits::default() });
    let mut pids = Vec::new();
    for _ in 0..6 {
        pids.push(pid(&pool).await);
    }
    assert!(pids[0] == pids[1] && pids[1] == pids[2] && pids[2] != pids[3] && pids[3] == pids[5], "{pids:?}");
}

async fn a_crash_costs_one_job_and_says_why() {
    let pool = pool(1, ScanLimits::default());
    let before = pid(&pool).await;
    let failure = scan(&pool, "panic", b"").await.unwrap_err();
    assert!(matches!(&failure, ScanFailure::Crashed(why) if why.contains("panicked")), "{failure}");
    let failure = scan(&pool, "exit", b"").await.unwrap_err();
    assert!(matches!(&failure, ScanFailure::Crashed(why) if why.contains('3')), "{failure}");
    assert_ne!(pid(&pool).await, before);
    assert_eq!((pool.stats().scanned, pool.stats().failed, pool.stats().replaced), (2, 2, 2));
}

async fn the_memory_limit_holds() {
    let pool = pool(1, ScanLimits::default());
    let failure = scan(&pool, "memory", b"").await.unwrap_err();
    assert!(matches!(failure, ScanFailure::OutOfMemory), "{failure}");
    assert_eq!(scan(&pool, "x", &package()).await.unwrap(), []);
}

async fn a_sleeping_scanner_is_killed() {
    let pool = pool(1, ScanLimits { timeout: Duration::from_millis(300), ..ScanLimits::default() });
    let before = pid(&pool).await;
    let failure = scan(&pool, "sleep", b"").await.unwrap_err();
    assert!(matches!(failure, ScanFailure::TimedOut), "{failure}");
    gone(before).await;
}

async fn the_cpu_limit_holds() {
    let pool = pool(1, ScanLimits { cpu_seconds: 1, ..ScanLimits::default() });
    let failure = scan(&pool, "spin", b"").await.unwrap_err();
    assert!(matches!(failure, ScanFailure::CpuLimit), "{failure}");
}

async fn a_scanner_that_fails_fails_the_job_and_keeps_the_process() {
    let pool = pool(1, ScanLimits::default());
    let before = pid(&pool).await;
    let failure = scan(&pool, "fault", b"").await.unwrap_err();
    assert!(matches!(&failure, ScanFailure::Scanner(f) if f.scanner == "actor"), "{failure}");
    assert_eq!(failure.to_finding().rule_id, "scan_failed");
    assert_eq!(pid(&pool).await, before);
}

async fn other_bytes_than_promised_are_refused() {
    let pool = pool(1, ScanLimits::default());
    let before = pid(&pool).await;
    for sent in [&b"other"[..], b"", b"promised and more", b"promise!"] {
        let bytes = stream::iter([Ok::<_, std::io::Error>(Bytes::copy_from_slice(sent))]);
        let failure = pool.scan(job("size", b"promised"), bytes).await.unwrap_err();
        assert!(matches!(failure, ScanFailure::WrongBytes), "{failure}");
    }
    assert_eq!(pid(&pool).await, before);
}

async fn a_failing_upload_aborts_the_job_and_keeps_the_process() {
    let pool = pool(1, ScanLimits::default());
    let before = pid(&pool).await;
    let broken = stream::iter([Ok(Bytes::from_static(b"half")), Err(std::io::Error::other("store is gone"))]);
    let failure = pool.scan(job("size", b"half and half"), broken).await.unwrap_err();
    assert!(matches!(failure, ScanFailure::Input(_)), "{failure}");
    assert_eq!(pid(&pool).await, before);
}

async fn large_artifacts_are_spooled_within_the_memory_limit() {
    let pool = pool(1, ScanLimits { memory_bytes: 256 << 20, ..ScanLimits::default() });
    let bytes = vec![7; 300 << 20];
    assert_eq!(scan(&pool, "size", &bytes).await.unwrap(), [("SIZE".to_owned(), bytes.len().to_string())]);
}

async fn the_environment_stays_outside() {
    let pool = pool(1, ScanLimits::default());
    assert_eq!(scan(&pool, "environment", b"").await.unwrap(), [("ENV".to_owned(), "TMPDIR".to_owned())]);
}

async fn jobs_beyond_the_workers_wait_their_turn() {
    let pool = pool(2, ScanLimits::default());
    pool.warm().await.unwrap();
    assert_eq!((pool.stats().idle, pool.stats().busy), (2, 0));
    let package = package();
    let all = futures::future::join_all((0..50).map(|_| scan(&pool, "x", &package))).await;
    assert!(all.into_iter().all(|r| r.unwrap().is_empty()));
    assert_eq!((pool.stats().idle, pool.stats().scanned, pool.stats().replaced), (2, 50, 0));
}

async fn an_abandoned_scan_kills_its_process() {
    let pool = pool(1, ScanLimits::default());
    let before = pid(&pool).await;
    {
        let sleeping = std::pin::pin!(scan(&pool, "sleep", b""));
        tokio::select! {
            biased;
            result = sleeping => panic!("{result:?}"),
            () = tokio::time::sleep(Duration::from_millis(50)) => {}
        }
    }
    gone(before).await;
    assert_eq!(scan(&pool, "x", &package()).await.unwrap(), []);
}

async fn closing_and_dropping_end_the_processes() {
    let closed = pool(1, ScanLimits::default());
    let first = pid(&closed).await;
    closed.close().await;
    gone(first).await;
    assert!(matches!(scan(&closed, "x", &package()).await, Err(ScanFailure::Closed)));
    let dropped = pool(1, ScanLimits::default());
    let second = pid(&dropped).await;
    drop(dropped);
    gone(second).await;
}

async fn a_killed_idle_process_is_noticed() {
    let pool = pool(1, ScanLimits::default());
    let before = pid(&pool).await;
    let victim = rustix::process::Pid::from_raw(before as i32).unwrap();
    rustix::process::kill_process(victim, rustix::process::Signal::KILL).unwrap();
    gone(before).await;
    assert_ne!(pid(&pool).await, before);
}

async fn a_program_that_is_no_scanner_is_unavailable() {
    for exe in ["/does/not/exist", "/bin/true"] {
        let pool = ScannerPool::new(ScanMode::Child { exe: exe.into(), workers: 1 }, ScanLimits::default());
        assert!(pool.warm().await.is_err(), "{exe}");
        assert!(scan(&pool, "x", &package()).await.is_err(), "{exe}");
    }
}

async fn in_process_mode_gives_the_same_answers() {
    let limits = ScanLimits { timeout: Duration::from_secs(20), ..ScanLimits::default() };
    let pool = ScannerPool::new(ScanMode::InProcess { scanners: scanners() }, limits);
    assert_eq!(scan(&pool, "x", &package()).await.unwrap(), []);
    assert!(matches!(scan(&pool, "fault", b"").await, Err(ScanFailure::Scanner(_))));
    assert!(matches!(scan(&pool, "panic", b"").await, Err(ScanFailure::Crashed(_))));
    assert_eq!(pool.ruleset().await.unwrap(), publaryn_scan::run::ruleset(&scanners()));
}

/// Not a test of time, only a figure for the reader: what a warm scan of 50 kB costs.
async fn a_warm_scan_is_cheap() {
    let pool = pool(1, ScanLimits::default());
    let noise: Vec<u8> = (0..13_000_u32).flat_map(|i| i.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    let bytes = corpus::targz(&[("package/noise", &noise)]);
    assert_eq!(scan(&pool, "x", &bytes).await.unwrap(), []);
    let started = Instant::now();
    for _ in 0..100 {
        scan(&pool, "x", &bytes).await.unwrap();
    }
    println!("    {} bytes: {:?} per warm scan", bytes.len(), started.elapsed() / 100);
}

/// Waits until a process no longer runs (it may remain a zombie until it is reaped).
async fn gone(pid: u32) {
    loop {
        match std::fs::read_to_string(format!("/proc/{pid}/stat")) {
            Ok(stat) if !stat.contains(") Z ") => tokio::time::sleep(Duration::from_millis(5)).await,
            Ok(_) | Err(_) => return,
        }
    }
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.first().is_some_and(|a| a == "scan-worker") {
        return publaryn_scan::child::main(scanners());
    }
    macro_rules! tests {
        ($($name:ident)+) => { [$((stringify!($name), $name().boxed())),+] };
    }
    let tests = tests! {
        good_and_bad_archives_are_told_apart
        one_process_serves_many_jobs_and_is_then_recycled
        a_crash_costs_one_job_and_says_why
        the_memory_limit_holds
        a_sleeping_scanner_is_killed
        the_cpu_limit_holds
        a_scanner_that_fails_fails_the_job_and_keeps_the_process
        other_bytes_than_promised_are_refused
        a_failing_upload_aborts_the_job_and_keeps_the_process
        large_artifacts_are_spooled_within_the_memory_limit
        the_environment_stays_outside
        jobs_beyond_the_workers_wait_their_turn
        an_abandoned_scan_kills_its_process
        closing_and_dropping_end_the_processes
        a_killed_idle_process_is_noticed
        a_program_that_is_no_scanner_is_unavailable
        in_process_mode_gives_the_same_answers
        a_warm_scan_is_cheap
    };
    if arguments.iter().any(|a| a == "--list") {
        tests.iter().for_each(|(name, _)| println!("{name}: test"));
        return ExitCode::SUCCESS;
    }
    let filter = arguments.iter().find(|a| !a.starts_with('-'));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let mut failed = 0;
    for (name, test) in tests {
        if filter.is_some_and(|part| !name.contains(part.as_str())) {
            continue;
        }
        let outcome = runtime.block_on(std::panic::AssertUnwindSafe(test).catch_unwind());
        println!("test {name} ... {}", if outcome.is_ok() { "ok" } else { "FAILED" });
        failed += u32::from(outcome.is_err());
    }
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
